"""The same answers by other definitions: the 2020 report's, those of the HWB Census.

Belongs here: totals of every indicator by each frozen definition set of the codebook, and by the
current set of each earlier codebook that is kept. Does not belong here: keeping one
(`codebook/frozen.py`), what a set says (`codebook/data/definition_sets.csv`), the SQL of scores and
indicators (dbt_project/macros, rendered here a second time with another rule).
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from rcs_assets.codebook.model import Codebook, DefinitionSet
from rcs_assets.codebook.versions import not_poolable, variables_of
from rcs_assets.wellbeing.breakdowns import PUPIL_SURVEYS
from rcs_assets.wellbeing.scoring import indicator_sql, scoring_sql

# The set of definitions that a codebook counts by.
CURRENT = "current"


def write_definition_sets(
    con: duckdb.DuckDBPyConnection,
    codebook: Codebook,
    engagements: Mapping[str, str],
    kept: Mapping[str, Codebook] | None = None,
) -> int:
    """Make wellbeing.definition_sets anew.

    A row a definition set, engagement (null: all of these), survey and indicator: `n` pupils in
    the denominator, `estimate` in per cent or scores, null without pupils, and for all of these
    where they were not asked alike. The set of a kept codebook is named `codebook:<name>`; a
    question that it asks and that the answers no longer have reads *data not collected*.

    Args:
        con: a writing connection to the warehouse.
        codebook: its definition sets, instruments and indicators.
        engagements: the engagements that enter, and the tranche of each.
        kept: earlier codebooks by name, each counted by its own current definition set.

    Returns:
        Number of rows written.
    """
    names = {"engagement": list(engagements), "tranche": list(engagements.values())}
    con.register("set_scope", pa.table({k: pa.array(v, pa.string()) for k, v in names.items()}))
    con.execute("""
        create or replace temp table set_answers as
        select answers.*, scope.tranche, weights.weight
        from wellbeing.item_answers as answers
        inner join wellbeing.weights as weights using (engagement, record_id)
        inner join set_scope as scope using (engagement)
    """)
    con.unregister("set_scope")
    con.execute("""
        create or replace temp table set_rows (
            definition_set varchar, engagement varchar, survey varchar, indicator varchar,
            statistic varchar, n bigint, estimate double
        )
    """)
    for name, chosen in codebook.definition_sets.items():
        _count_by(con, codebook, chosen, name)
    for name, earlier in (kept or {}).items():
        _add_questions(con, earlier)
        _count_by(con, earlier, earlier.definition_sets[CURRENT], f"codebook:{name}")
    con.execute("create or replace table wellbeing.definition_sets as from set_rows order by all")
    return int(con.execute("select count(*) from wellbeing.definition_sets").fetchall()[0][0])


def _add_questions(con: duckdb.DuckDBPyConnection, earlier: Codebook) -> None:
    """Questions that are no longer asked, as answers that were not collected."""
    held = {row[0] for row in con.execute("describe set_answers").fetchall()}
    code = next(m.code for m in earlier.missing.values() if m.name == "data_not_collected")
    for name, variable in earlier.variables.items():
        if name not in held and set(variable.surveys) & set(PUPIL_SURVEYS):
            con.execute(f"alter table set_answers add column {name} tinyint default {code}")


def _count_by(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, chosen: DefinitionSet, name: str
) -> None:
    """Add the totals of both surveys by one set under a name."""
    _values(con, codebook, chosen)
    for survey in PUPIL_SURVEYS:
        _add_rows(con, codebook, name, survey)


def _values(con: duckdb.DuckDBPyConnection, codebook: Codebook, chosen: DefinitionSet) -> None:
    """Pupils with every indicator's value by the set."""
    used = [instrument for instrument in codebook.instruments.values() if instrument.surveys]
    scores = " ".join(
        f"inner join ({scoring_sql('set_answers', instrument, codebook, chosen.missing_rule)}) "
        f"as scores_{instrument.name} using (record_id)"
        for instrument in used
    )
    kept = chosen.kept_missing(codebook.missing)
    values = ", ".join(
        f"{indicator_sql(indicator, codebook, kept)} as {name}"
        for name, indicator in codebook.indicators.items()
        if indicator.survey in PUPIL_SURVEYS
    )
    con.execute(f"""
        create or replace temp table set_values as
        select engagement, survey, {"weight" if chosen.is_weighted else "1.0"} as weight, {values}
        from set_answers
        {scores}
    """)


def _add_rows(con: duckdb.DuckDBPyConnection, codebook: Codebook, name: str, survey: str) -> None:
    """Totals of a survey; decimals, whose sums no order of threads changes."""
    indicators = {key: i for key, i in codebook.indicators.items() if i.survey == survey}
    held = con.execute(
        "select distinct tranche from set_answers where survey = ?", [survey]
    ).fetchall()
    made_of = {key: variables_of(codebook, key) for key in indicators}
    unlike = not_poolable(codebook, survey, made_of, [tranche for (tranche,) in held])
    sums = ", ".join(
        f"count({key}) as {key}_n, sum((weight * {key})::decimal(38, 15))::double as {key}_x, "
        f"sum(weight::decimal(38, 15)) filter ({key} is not null)::double as {key}_w"
        for key in indicators
    )
    triples = ", ".join(f"({key}_n, {key}_x, {key}_w) as '{key}'" for key in indicators)
    con.register(
        "set_statistics",
        pa.table(
            {
                "indicator": pa.array(list(indicators), pa.string()),
                "statistic": pa.array([i.statistic for i in indicators.values()], pa.string()),
                "is_unlike": pa.array([key in unlike for key in indicators], pa.bool_()),
            }
        ),
    )
    con.execute(
        f"""
        insert into set_rows
        with sums as (
            select engagement, survey, {sums}
            from set_values
            where survey = $survey
            group by grouping sets ((engagement, survey), (survey))
        )
        select
            $name, engagement, survey, indicator, statistic, n,
            if(engagement is null and is_unlike, null, if(statistic = 'pct', 100, 1) * x / w)
        from sums unpivot include nulls ((n, x, w) for indicator in ({triples}))
        inner join set_statistics using (indicator)
        """,
        {"name": name, "survey": survey},
    )
    con.unregister("set_statistics")
