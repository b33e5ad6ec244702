"""The same answers by other definitions: the 2020 report's, those of the HWB Census.

Belongs here: totals of every indicator by each frozen definition set of the codebook. Does
not belong here: what a set says (`codebook/data/definition_sets.csv`), the SQL of scores and
indicators (dbt_project/macros, rendered here a second time with another rule).
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.codebook.model import Codebook, DefinitionSet
from rcs_assets.wellbeing.breakdowns import PUPIL_SURVEYS
from rcs_assets.wellbeing.scoring import indicator_sql, scoring_sql


def write_definition_sets(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, engagements: Sequence[str]
) -> int:
    """Make wellbeing.definition_sets anew.

    A row a definition set, engagement (null: all of these), survey and indicator: `n` pupils in
    the denominator, `estimate` in per cent or scores, null without pupils.

    Args:
        con: a writing connection to the warehouse.
        codebook: its definition sets, instruments and indicators.
        engagements: the engagements that enter.

    Returns:
        Number of rows written.
    """
    con.register("set_scope", pa.table({"engagement": pa.array(list(engagements), pa.string())}))
    con.execute("""
        create or replace temp table set_answers as
        select answers.*, weights.weight
        from wellbeing.item_answers as answers
        inner join wellbeing.weights as weights using (engagement, record_id)
        where engagement in (from set_scope)
    """)
    con.unregister("set_scope")
    con.execute("""
        create or replace temp table set_rows (
            definition_set varchar, engagement varchar, survey varchar, indicator varchar,
            statistic varchar, n bigint, estimate double
        )
    """)
    for chosen in codebook.definition_sets.values():
        _values(con, codebook, chosen)
        for survey in PUPIL_SURVEYS:
            _add_rows(con, codebook, chosen, survey)
    con.execute("create or replace table wellbeing.definition_sets as from set_rows order by all")
    return int(con.execute("select count(*) from wellbeing.definition_sets").fetchall()[0][0])


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


def _add_rows(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, chosen: DefinitionSet, survey: str
) -> None:
    """Totals of a survey; decimals, whose sums no order of threads changes."""
    indicators = [i for i in codebook.indicators.values() if i.survey == survey]
    for indicator in indicators:
        factor = 100 if indicator.statistic == "pct" else 1
        con.execute(
            f"""
            insert into set_rows
            select
                ?, engagement, survey, ?, ?, count({indicator.name}),
                {factor} * sum((weight * {indicator.name})::decimal(38, 15))::double
                / sum(weight::decimal(38, 15)) filter ({indicator.name} is not null)::double
            from set_values
            where survey = ?
            group by grouping sets ((engagement, survey), (survey))
            """,
            [chosen.name, indicator.name, indicator.statistic, survey],
        )
