"""What a reader counts in a file of answers, class by class of its keys.

Belongs here: scores and indicators derived of a file, as its own syntax does, and counted. Does not
belong here: what follows from the counts beside tables (`disclosure.withheld`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rcs_assets.codebook import Codebook
from rcs_assets.disclosure.anonymise import KEYS
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.withheld import Classes
from rcs_assets.release.syntax import AnswerFile, answers_behind, derived_indicators, sql_columns

_WITHIN = KEYS[2:]

# Who could have a record, and how many forms of the questionnaire there were.
_ANSWERED = """
select weights.engagement, count(*) as answered_n, count(distinct form) <= 1 as has_one_form
from wellbeing.weights as weights
inner join intake.{survey}_survey as answered using (record_id)
where weights.survey = $survey
group by weights.engagement
"""


@dataclass(frozen=True)
class Behind:
    """`of`: indicator → the answers that it is derived of; `gone`: engagement → those withheld."""

    of: Mapping[str, Sequence[str]]
    gone: Mapping[str, AbstractSet[str]]

    def withheld(self, engagement: str, indicator: str) -> list[str]:
        """The answers behind an indicator that an engagement's file withholds of somebody."""
        return [name for name in self.of[indicator] if name in self.gone[engagement]]


def read_classes(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    survey: str,
    codebook: Codebook,
    rule: MicrodataRule,
) -> tuple[dict[str, Classes], Behind]:
    """Engagement → the classes of a survey's file of answers; what is derived of what.

    Args:
        con: a connection to the warehouse that sees the relation.
        relation: the file, or some engagements' files, one below the other, as it stands in SQL.
        survey: of the file.
        codebook: scales, cut-offs and indicators.
        rule: of files of answers.
    """
    held = [name for name, *_ in con.execute(f"describe from {relation}").fetchall()]
    answers = [name for name in held if name in codebook.variables]
    file = AnswerFile(survey, survey, held, answers, rule.stage_bands)
    indicators = derived_indicators(codebook, file)
    counts = []
    not_asked = ", ".join(map(str, sorted({*rule.merged_missing, *rule.merged_missing.values()})))
    behind = {one.name: answers_behind(codebook, file, one) for one in indicators}
    for indicator in indicators:
        withheld = " or ".join(f"{name} = {rule.withheld_code}" for name in behind[indicator.name])
        asked = " or ".join(f"{name} not in ({not_asked})" for name in behind[indicator.name])
        counts += [
            f"count_if({asked}) as asked_{indicator.name}",
            f"count({indicator.name}) filter (not ({withheld})) as valid_{indicator.name}",
            f"coalesce(sum({indicator.name}) filter (not ({withheld})), 0) as sum_{indicator.name}",
            f"count_if({withheld}) as withheld_{indicator.name}",
        ]
    found = con.execute(
        f"""
        with derived as (select *, {", ".join(sql_columns(codebook, file))} from {relation})
        select {", ".join(KEYS)}, count(*) as n, {", ".join(counts)}
        from derived group by all order by all
        """
    ).to_arrow_table()
    answered = {
        str(name): (int(n), bool(one))
        for name, n, one in con.execute(
            _ANSWERED.format(survey=survey), {"survey": survey}
        ).fetchall()
    }
    files = {
        name: _classes(
            found.filter(pc.equal(found["engagement"], name)), [*behind], *answered[name]
        )
        for name in sorted(set(found["engagement"].to_pylist()))
    }
    return files, Behind(behind, _gone(con, relation, sorted(set().union(*behind.values())), rule))


def _gone(
    con: duckdb.DuckDBPyConnection, relation: str, answers: Sequence[str], rule: MicrodataRule
) -> dict[str, set[str]]:
    """Engagement → answers that are withheld of somebody."""
    flags = ", ".join(f"bool_or({name} = {rule.withheld_code}) as {name}" for name in answers)
    rows = con.execute(f"select engagement, {flags} from {relation} group by engagement").fetchall()
    return {
        str(engagement): {name for name, is_gone in zip(answers, gone, strict=True) if is_gone}
        for engagement, *gone in rows
    }


def _classes(
    counted: pa.Table, names: Sequence[str], answered_n: int, has_one_form: bool
) -> Classes:
    shown = [[text or "" for text in counted[key].to_pylist()] for key in _WITHIN]

    def each(what: str) -> NDArray[np.float64]:
        return np.array([counted[f"{what}_{name}"].to_numpy() for name in names], dtype=np.float64)

    return Classes(
        keys=list(zip(*shown, strict=True)),
        indicators=names,
        asked_n=each("asked"),
        valid_n=each("valid"),
        total=each("sum"),
        withheld_n=each("withheld"),
        left_out_n=answered_n - int(pc.sum(counted["n"]).as_py()),
        has_one_form=has_one_form,
    )
