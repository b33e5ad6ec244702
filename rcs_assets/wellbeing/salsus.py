"""RCS against SALSUS as contrasts: is a council as far from the others as it was then?

Belongs here: contrasts of the councils of both, their change and its test, for the inside. Does
not belong here: levels (SALSUS was asked years earlier: domain.md §12), the table as published
(`intake.salsus`), what may be shown.

A contrast is a council's figure less the mean of the councils that both surveys have, each
counting alike: what all of them have in common, the years between among it, falls out. Surveys
and councils are taken as independent, so that variances add up. Of a CPP with several waves the
latest stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.estimation import Design, corrected_query, estimate_each
from rcs_assets.estimation.intervals import floats_or_null, normal_quantile
from rcs_assets.programme.datafile import DataFolder, read_rules
from rcs_assets.wellbeing.comparisons import two_sided
from rcs_assets.wellbeing.estimators import Estimators

FILE = "salsus.yaml"
WHY = "domain.md, sections 2 and 12; see the comments of the platform's own file"
# Borderline and abnormal of the three bands (codebook, bands.csv).
_RAISED = "(2, 3)"
_DESIGN = Design(strata="engagement", clusters="seed_code", weight="weight", nest=True)
_KEY = "stage, sex, measure"


@dataclass(frozen=True)
class Measure:
    """A measure of both surveys: `published` names it in SALSUS, `score` in RCS."""

    statistic: str
    score: str
    published: str


def load_measures(overlay: Path | None = None) -> Mapping[str, Measure]:
    """The measures by name, with the overlay's in their place.

    Raises:
        ConfigurationError: an unknown key, or a value that makes no sense.
    """
    folder = DataFolder("wellbeing", Path(__file__).parent / "data", overlay)
    return read_rules(folder, FILE, _build, _problems, WHY)


def _build(rules: Mapping[str, Any]) -> Mapping[str, Measure]:
    return {name: Measure(**values) for name, values in rules["measures"].items()}


def _problems(measures: Mapping[str, Measure]) -> Iterator[str]:
    for name, measure in measures.items():
        if not (name.isidentifier() and measure.score.isidentifier()):
            yield f"{name} or its score is no name"
        if measure.statistic not in ("pct", "mean"):
            yield f"the statistic of {name} is pct or mean"


def write_salsus_contrasts(
    con: duckdb.DuckDBPyConnection,
    engagements: Sequence[str],
    measures: Mapping[str, Measure],
    rules: Estimators,
) -> int:
    """Make wellbeing.salsus_contrasts anew, unrounded.

    A row a CPP, stage (S2, S4), sex (F, M) and measure: engagement, council_code, statistic,
    councils_n (that both surveys have), period (of SALSUS), rcs_n, rcs_estimate, rcs_contrast,
    salsus_estimate, salsus_contrast, change (RCS's contrast less SALSUS's), se, ci_low, ci_high,
    p_value, corrected_p (Benjamini-Hochberg over the table), is_marked, reason: empty, or no_data
    (nobody has the score), no_salsus (the council has no figure there, or the reference file was
    not delivered), one_council (nobody to stand against).

    Args:
        con: a writing connection to the warehouse.
        engagements: the engagements that enter.
        measures: what both surveys have.
        rules: policy.md, Table B: confidence, and what a marked difference needs.

    Returns:
        Number of rows written.
    """
    con.register("scope_list", pa.table({"engagement": pa.array(list(engagements), pa.string())}))
    con.execute("create or replace temp table scope as from scope_list")
    con.unregister("scope_list")
    con.execute(_LATEST)
    _figures(con, measures, rules)
    _published(con, measures)
    con.execute("create or replace temp table salsus_compared as " + _contrasts_sql())
    _test(con, rules)
    con.execute("create or replace table wellbeing.salsus_contrasts as " + _rows_sql(rules))
    return int(con.execute("select count(*) from wellbeing.salsus_contrasts").fetchall()[0][0])


_LATEST = """
    create or replace temp table salsus_cpps as
    select arg_max(engagement, tranches.number) as engagement, engagements.council_code
    from programme.waves as waves
    inner join programme.engagements as engagements using (engagement)
    inner join programme.tranches as tranches on engagements.tranche = tranches.key
    where
        waves.survey = 'secondary' and list_has_any(waves.stages, ['S2', 'S4'])
        and engagement in (from scope)
    group by engagements.council_code
"""


def _figures(
    con: duckdb.DuckDBPyConnection, measures: Mapping[str, Measure], rules: Estimators
) -> None:
    """Make `salsus_own`: RCS's figures with the standard errors of school clusters."""
    columns = ", ".join(
        f"scores.{m.score}::double as {name}"
        if m.statistic == "mean"
        else f"100.0 * (scores.{m.score}_band3 in {_RAISED})::int as {name}"
        for name, m in measures.items()
    )
    con.execute(f"""
        create or replace temp table salsus_pupils as
        select
            pupils.engagement, pupils.seed_code, pupils.stage, pupils.sex, weights.weight,
            {columns}
        from wellbeing.indicator_values as pupils
        inner join salsus_cpps using (engagement)
        inner join wellbeing.weights as weights using (engagement, record_id)
        inner join wellbeing.scores as scores using (engagement, record_id)
        where pupils.survey = 'secondary'
    """)
    found = estimate_each(
        con,
        "salsus_pupils",
        _DESIGN,
        list(measures),
        statistic="mean",
        by_sets=[("engagement", "stage", "sex")],
        level=rules.confidence,
    )[0]
    con.register("found", found)
    con.execute("""
        create or replace temp table salsus_own as
        select engagement, stage, sex, variable as measure, estimate, se, n from found
    """)
    con.unregister("found")


def _published(con: duckdb.DuckDBPyConnection, measures: Mapping[str, Measure]) -> None:
    """Make `salsus_theirs`: the published figures, with a standard error from their interval."""
    con.register(
        "salsus_measures",
        pa.Table.from_pylist(
            [
                {"measure": name, "statistic": m.statistic, "published": m.published}
                for name, m in measures.items()
            ],
            pa.schema([(c, pa.string()) for c in ("measure", "statistic", "published")]),
        ),
    )
    con.execute(f"""
        create or replace temp table salsus_theirs as
        select
            known.council_code, known.stage, groups.sex, measures.measure, known.period,
            known.measure as estimate,
            (known.ci_high - known.ci_low) / (2 * {normal_quantile(0.95)!r}) as se
        from intake.salsus as known
        inner join (values ('F', 'girls'), ('M', 'boys')) as groups (sex, word)
            on contains(known.indicator, ' ' || groups.word || ' ')
        inner join salsus_measures as measures
            on known.indicator = known.stage || ' ' || groups.word || ' ' || measures.published
    """)
    con.execute("create or replace temp table salsus_kinds as from salsus_measures")
    con.unregister("salsus_measures")


def _contrasts_sql() -> str:
    """Contrasts of both surveys over the councils that both have, in one row a council."""

    def variance(se: str) -> str:
        """Of a figure less the mean of all, its own among them."""
        return f"""
            (
                {se} * {se} * (councils_n - 2) / councils_n
                + sum({se} * {se} order by council_code) over here / (councils_n * councils_n)
            )
        """

    return f"""
        with grid as (
            select cpps.engagement, cpps.council_code, stages.stage, sexes.sex, kinds.*
            from salsus_cpps as cpps
            cross join (values ('S2'), ('S4')) as stages (stage)
            cross join (values ('F'), ('M')) as sexes (sex)
            cross join salsus_kinds as kinds
        ),
        joined as (
            select
                grid.*, theirs.period, coalesce(own.n, 0)::integer as rcs_n,
                own.estimate as rcs_estimate, own.se as rcs_se,
                theirs.estimate as salsus_estimate, theirs.se as salsus_se,
                case
                    when own.estimate is null then 'no_data'
                    when theirs.estimate is null then 'no_salsus'
                    else ''
                end as reason
            from grid
            left join salsus_own as own using (engagement, {_KEY})
            left join salsus_theirs as theirs using (council_code, {_KEY})
        ),
        matched as (
            select *, count(*) over (partition by {_KEY})::integer as councils_n
            from joined
            where reason = ''
        ),
        contrasted as (
            select
                *,
                rcs_estimate - avg(rcs_estimate order by council_code) over here as rcs_contrast,
                salsus_estimate - avg(salsus_estimate order by council_code) over here
                    as salsus_contrast,
                sqrt({variance("rcs_se")} + {variance("salsus_se")}) as se
            from matched
            window here as (partition by {_KEY})
        )
        select
            joined.* exclude (reason), contrasted.councils_n,
            if(contrasted.councils_n > 1, contrasted.rcs_contrast, null) as rcs_contrast,
            if(contrasted.councils_n > 1, contrasted.salsus_contrast, null) as salsus_contrast,
            if(contrasted.councils_n > 1, contrasted.se, null) as se,
            if(contrasted.councils_n = 1, 'one_council', joined.reason) as reason
        from joined
        left join contrasted using (engagement, {_KEY})
        order by all
    """


def _test(con: duckdb.DuckDBPyConnection, rules: Estimators) -> None:
    """Make `salsus_tested`: the change of each contrast with its interval and p value."""
    found = con.execute(
        "select *, rcs_contrast - salsus_contrast as change from salsus_compared order by all"
    ).to_arrow_table()
    change, se = (
        np.asarray(found[name].cast(pa.float64()).to_numpy(), dtype=np.float64)
        for name in ("change", "se")
    )
    score = np.abs(change) / np.where(se > 0, se, 1.0)
    p_value = np.where(se > 0, two_sided(score, np.full_like(score, np.nan)), np.nan)
    half = normal_quantile(rules.confidence) * se
    table = found.append_column("half_width", floats_or_null(half))
    con.register("found", table.append_column("p_value", floats_or_null(p_value)))
    con.execute("create or replace temp table salsus_tested as from found")
    con.unregister("found")


def _rows_sql(rules: Estimators) -> str:
    corrected = corrected_query(
        "salsus_tested", "'bh'", family=[], tie=["engagement", "stage", "sex", "measure"]
    )
    return f"""
        select
            engagement, council_code, stage, sex, measure, statistic, councils_n, period, rcs_n,
            rcs_estimate, rcs_contrast, salsus_estimate, salsus_contrast, change, se,
            change - half_width as ci_low, change + half_width as ci_high, p_value, corrected_p,
            coalesce(
                corrected_p < {rules.comparison_alpha}
                and (statistic = 'mean' or abs(change) >= {rules.comparison_least_points}),
                false
            ) as is_marked,
            reason
        from ({corrected})
        order by all
    """
