"""A profile of pupils with complex additional support needs (ASN), by an installation's rule.

Belongs here: the rule (`data/complex_asn.yaml` and its overlay), who those pupils are, what they
answered, what support is on record and how many of them answered at all, beside pupils with other
ASN and without. Does not belong here: what may be shown. The policy has no row for this group, so
the table stays in the safe haven.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.codebook.model import PUPIL_SURVEYS, Codebook
from rcs_assets.codebook.versions import not_poolable, variables_of
from rcs_assets.estimation import Design, estimate_each, pooled_design_effect, wilson_sql
from rcs_assets.estimation.intervals import floats_or_null, t_quantile
from rcs_assets.linkage.by_group import census_macros
from rcs_assets.programme.datafile import DataFolder, read_rules

TABLE = "services.complex_asn"
FILE = "complex_asn.yaml"
WHY = "the installation defines complex ASN; domain.md 4.1 lists types and categories"
GROUPS = ("complex", "other_asn", "no_asn")
_DATASET = "education_payload"
_DESIGN = Design(strata="engagement", clusters="seed_code", weight="weight", nest=True)
_COLUMNS = """
    engagement varchar, survey varchar, part varchar, measure varchar, "group" varchar,
    statistic varchar, n bigint, numerator_n bigint, schools_n bigint, estimate double,
    ci_low double, ci_high double, method varchar, difference double, difference_low double,
    difference_high double, reason varchar
"""


@dataclass(frozen=True)
class Condition:
    """What must be on record, all of it: one of `types`, one of `needs`, so many categories."""

    types: tuple[str, ...]
    needs: tuple[str, ...]
    least_needs: int


@dataclass(frozen=True)
class ComplexAsn:
    """The definition; without conditions there is none and no profile is made."""

    conditions: tuple[Condition, ...]
    source: str
    dated: str
    reason: str
    schools_for_clusters: int
    confidence: float

    @property
    def is_on(self) -> bool:
        """Whether the installation has defined complex ASN."""
        return bool(self.conditions)


def load_complex_asn(codebook: Codebook, overlay: Path | None = None) -> ComplexAsn:
    """The definition of the installation; off without one.

    Args:
        codebook: which ASN types and categories there are (contract of the education payload).
        overlay: folder that may hold a `complex_asn.yaml` with some of the keys.

    Raises:
        ConfigurationError: an unknown key or code, an empty condition, no source, date, reason.
    """
    folder = DataFolder("services", Path(__file__).parent / "data", overlay)
    return read_rules(folder, FILE, _build, lambda rules: _problems(rules, codebook), WHY)


def _build(found: Mapping[str, Any]) -> ComplexAsn:
    return ComplexAsn(
        conditions=tuple(_condition(row) for row in found["conditions"]),
        source=str(found["source"]),
        dated=str(found["dated"]),
        reason=str(found["reason"]),
        schools_for_clusters=int(found["schools_for_clusters"]),
        confidence=float(found["confidence"]),
    )


def _condition(row: Mapping[str, Any]) -> Condition:
    if unknown := sorted(set(row) - {"types", "needs", "least_needs"}):
        raise ValueError(f"unknown: {', '.join(unknown)}")
    return Condition(
        tuple(map(str, row.get("types", ()))),
        tuple(map(str, row.get("needs", ()))),
        int(row.get("least_needs", 0)),
    )


def _problems(rules: ComplexAsn, codebook: Codebook) -> Iterator[str]:
    allowed = {field.name: field.allowed for field in codebook.datasets[_DATASET].fields}
    if not 0 < rules.confidence < 1 or rules.schools_for_clusters < 2:
        yield "confidence lies between 0 and 1, schools_for_clusters is at least 2"
    if rules.is_on and not (rules.source and rules.dated and rules.reason):
        yield "a definition needs source, dated and reason"
    for condition in rules.conditions:
        if not (condition.types or condition.needs or condition.least_needs > 0):
            yield "a condition gives types, needs or least_needs"
        for name, codes in (("asn_types", condition.types), ("asn_needs", condition.needs)):
            if wrong := sorted(set(codes) - set(allowed[name])):
                yield f"{name} has no code {', '.join(wrong)}"


def write_complex_asn(
    con: duckdb.DuckDBPyConnection,
    engagements: Sequence[str],
    rules: ComplexAsn,
    codebook: Codebook,
) -> int:
    """Make services.complex_asn anew; it has no row where the installation has no definition.

    A row an engagement (null: all of these), survey, part, measure and group (complex | other_asn |
    no_asn). Parts: `response` (pupils on the roll of the stages asked with an education record: who
    answered), `who` (share of the group that is of a stage, girls, …), `answers` (every indicator),
    `support` (support on record). All but `response` are of respondents with an education record,
    raked. `n` pupils with a value, `numerator_n` of them counted (null for a mean), `estimate` in
    per cent or scores, `method` of the interval (logit, t, wilson, none), `difference` of the group
    complex from all other pupils with its interval (null where an area has too few schools for
    one), `reason`: empty, no_data, not_comparable (all areas: not asked alike), or what
    the engine says of the figure (lonely_psu, no_df, all_equal).

    Args:
        con: a writing connection to the warehouse.
        engagements: the engagements that enter.
        rules: the definition.
        codebook: indicators, and what changed between versions of a questionnaire.

    Returns:
        Number of rows written.
    """
    con.execute(f"create or replace temp table complex_rows ({_COLUMNS})")
    if rules.is_on:
        con.register("complex_list", pa.table({"engagement": pa.array(engagements, pa.string())}))
        con.execute("create or replace temp table complex_scope as from complex_list")
        con.unregister("complex_list")
        con.execute(_records_sql(rules))
        for survey in PUPIL_SURVEYS:
            con.execute(_response_sql(survey, rules))
            _estimate(con, survey, rules, codebook)
    con.execute("create schema if not exists services")
    con.execute(f"create or replace table {TABLE} as from complex_rows order by all")
    return int(con.execute(f"select count(*) from {TABLE}").fetchall()[0][0])


def _records_sql(rules: ComplexAsn) -> str:
    """Children with an education record, by the definition; ASN as the census counts it."""

    def codes(column: str) -> str:
        split = f"string_split(coalesce({column}, ''), ';')"
        bare = f"list_transform({split}, lambda code: ltrim(trim(code), '0'))"
        return f"list_distinct(list_filter({bare}, lambda code: code <> ''))"

    def holds(condition: Condition) -> str:
        parts = [
            f"list_has_any({column}, {list(wanted)})"
            for column, wanted in (("types", condition.types), ("needs", condition.needs))
            if wanted
        ]
        if condition.least_needs:
            parts.append(f"len(needs) >= {condition.least_needs}")
        return " and ".join(parts)

    defined = " or ".join(f"({holds(condition)})" for condition in rules.conditions)
    macros = census_macros()
    has_need = macros.has_additional_support_need("payload.asn_types", "payload.asn_needs")
    return f"""
        create or replace temp table complex_records as
        with records as (
            select
                links.engagement, links.project_id,
                {codes("payload.asn_types")} as types, {codes("payload.asn_needs")} as needs,
                {has_need} as has_asn
            from intake.education as payload
            inner join linkage.project_ids as links
                on
                    payload.engagement = links.engagement
                    and payload.record_id = links.record_id
                    and links.dataset = 'education'
            where payload.engagement in (from complex_scope)
        )
        select
            engagement, project_id,
            case
                when {defined} then 'complex'
                when has_asn then 'other_asn'
                else 'no_asn'
            end as "group"
        from records
    """


def _response_sql(survey: str, rules: ComplexAsn) -> str:
    """How many of each group on the roll answered: counts, so Wilson, no weights."""
    wilson = wilson_sql("n", "estimate", "1.0", rules.confidence)
    return f"""
        insert into complex_rows by name
        with roll as (
            select sample.engagement, links.project_id, sample.seed_code, records."group"
            from intake.sample as sample
            inner join linkage.project_ids as links
                on
                    sample.engagement = links.engagement
                    and sample.record_id = links.record_id
                    and links.dataset = 'sample'
            inner join complex_records as records
                on links.engagement = records.engagement and links.project_id = records.project_id
            inner join programme.waves as waves
                on
                    sample.engagement = waves.engagement
                    and waves.survey = '{survey}'
                    and list_contains(waves.stages, sample.stage)
        ),
        answered as (
            select distinct engagement, project_id
            from linkage.linked
            where survey = '{survey}' and project_id is not null
        ),
        counted as (
            select
                roll.engagement, "group", count(*) as n, count(answered.project_id) as numerator_n,
                count(distinct (roll.engagement, seed_code)) as schools_n
            from roll
            left join answered using (engagement, project_id)
            group by grouping sets ((roll.engagement, "group"), ("group"))
        ),
        rated as (
            select *, 100.0 * numerator_n / n as estimate from counted
        )
        select
            engagement, '{survey}' as survey, 'response' as part, 'responded' as measure, "group",
            'pct' as statistic, n, numerator_n, schools_n, estimate,
            wilson.low as ci_low, wilson.high as ci_high, 'wilson' as method, '' as reason
        from (select *, {wilson} as wilson from rated)
    """


@dataclass(frozen=True)
class _Measure:
    """A column of the pupils: 0/1 or a score."""

    part: str
    name: str
    column: str
    sql: str
    statistic: str


def _measures(con: duckdb.DuckDBPyConnection, survey: str, codebook: Codebook) -> list[_Measure]:
    stages = con.execute(
        "select distinct unnest(stages) as stage from programme.waves "
        "where survey = ? and engagement in (from complex_scope) order by stage",
        [survey],
    ).fetchall()
    shares = [
        *(("who", f"stage {stage}", f"pupils.stage = '{stage}'") for (stage,) in stages),
        ("who", "girls", "pupils.sex = 'F'"),
        *(("who", f"simd quintile {q}", f"pupils.simd_quintile = {q}") for q in range(1, 6)),
        ("who", "looked after", "linked.looked_after"),
        ("who", "free school meal", "linked.free_school_meal = 'Y'"),
        ("support", "additional support at school", "linked.has_asn_support"),
        ("support", "social work", "linked.has_social_work"),
        ("support", "child's plan of social work", "linked.has_childs_plan"),
    ]
    made = [
        _Measure(part, name, f"m{number}", f"({sql})::integer::double", "pct")
        for number, (part, name, sql) in enumerate(shares)
    ]
    answers = [
        _Measure("answers", i.name, i.name, f"pupils.{i.name}", i.statistic)
        for i in codebook.indicators.values()
        if i.survey == survey
    ]
    return [*made, *answers]


def _estimate(
    con: duckdb.DuckDBPyConnection, survey: str, rules: ComplexAsn, codebook: Codebook
) -> None:
    """Add who, answers and support of one survey, for each engagement and for all."""
    measures = _measures(con, survey, codebook)
    columns = ", ".join(f"{m.sql} as {m.column}" for m in measures)
    con.execute(f"""
        create or replace temp table complex_pupils as
        select
            pupils.engagement, pupils.tranche, pupils.seed_code, weights.weight,
            records."group", if(records."group" = 'complex', 1, 0) as is_complex, {columns}
        from wellbeing.indicator_values as pupils
        inner join wellbeing.weights as weights using (engagement, record_id)
        inner join linkage.linked as linked using (engagement, record_id)
        inner join complex_records as records
            on linked.engagement = records.engagement and linked.project_id = records.project_id
        where pupils.survey = '{survey}' and pupils.engagement in (from complex_scope)
    """)
    if con.execute("select count(*) from complex_pupils").fetchall() == [(0,)]:
        return
    tranches = con.execute("select distinct tranche from complex_pupils order by all").fetchall()
    made_of = {m.name: variables_of(codebook, m.name) for m in measures if m.part == "answers"}
    unlike = not_poolable(codebook, survey, made_of, [row[0] for row in tranches])
    con.register("complex_measures", _measure_table(measures, unlike))
    con.execute(_counts_sql([m.column for m in measures]))
    for statistic, ci in (("pct", "logit"), ("mean", "t")):
        names = [m.column for m in measures if m.statistic == statistic]
        if names:
            _add(con, survey, names, ci, rules)
    con.unregister("complex_measures")


def _measure_table(measures: Sequence[_Measure], unlike: frozenset[str]) -> Any:
    return pa.table(
        {
            "variable": [m.column for m in measures],
            "part": [m.part for m in measures],
            "measure": [m.name for m in measures],
            "statistic": [m.statistic for m in measures],
            "is_unlike": [m.part == "answers" and m.name in unlike for m in measures],
        }
    )


def _counts_sql(columns: Sequence[str]) -> str:
    """Schools of each area, and the pupils that a share counts, by area, group and column."""
    return f"""
        create or replace temp table complex_counts as
        select
            engagement, "group", variable, count(*) as n, sum(value) as counted,
            count(distinct (engagement, seed_code)) as schools_n
        from (
            unpivot (
                select * exclude (tranche, weight, is_complex) from complex_pupils
            )
            on {", ".join(columns)}
            into name variable value value
        )
        group by grouping sets ((engagement, "group", variable), ("group", variable))
    """


def _add(
    con: duckdb.DuckDBPyConnection,
    survey: str,
    names: Sequence[str],
    ci: str,
    rules: ComplexAsn,
) -> None:
    """Rows of the measures of one statistic: figures of each group, differences from the rest."""
    asked: dict[str, Any] = {"level": rules.confidence}
    own, every = estimate_each(
        con, "complex_pupils", _DESIGN, names, statistic="mean",
        by_sets=[("engagement", "group"), ("group",)], ci=ci, **asked,
    )  # fmt: skip
    apart, apart_all = estimate_each(
        con, "complex_pupils", _DESIGN, names, statistic="difference",
        by_sets=[("engagement", "is_complex"), ("is_complex",)], **asked,
    )  # fmt: skip
    pooled = pooled_design_effect(con, own, by=("variable", "group"))
    con.register("complex_own", _with_t(own, pooled, rules.confidence))
    con.register("complex_every", every)
    con.register("complex_apart", apart)
    con.register("complex_apart_all", apart_all)
    con.execute(_rows_sql(survey, names, ci, rules))
    for view in ("own", "every", "apart", "apart_all"):
        con.unregister(f"complex_{view}")


def _with_t(own: pa.Table, pooled: pa.Table, confidence: float) -> pa.Table:
    """Estimates of areas with the pooled design effect, and t on n / effect less one."""
    joined = own.join(
        pooled.select(["variable", "group", "design_effect"]), keys=["variable", "group"]
    )
    effect = joined["design_effect"].fill_null(1.0).to_numpy()
    df = joined["n"].to_numpy() / effect - 1.0
    t = np.where(df > 0, t_quantile(np.maximum(df, 1e-9), confidence), np.nan)
    return joined.append_column("t_pooled", floats_or_null(t))


def _rows_sql(survey: str, names: Sequence[str], ci: str, rules: ComplexAsn) -> str:
    wilson = wilson_sql(
        "n", "case when part is not null then 100 * least(1, estimate) end",
        "coalesce(design_effect, 1)", rules.confidence,
    )  # fmt: skip
    listed = ", ".join(f"'{name}'" for name in names)
    # Wilson is for shares; a mean of few schools takes the pooled effect of its own error.
    few_low, few_high = (
        ("wilson.low / 100", "wilson.high / 100")
        if ci == "logit"
        else (f"estimate {sign} t_pooled * se * sqrt(design_effect / deff)" for sign in "-+")
    )
    return f"""
        insert into complex_rows by name
        with measures as (from complex_measures where variable in ({listed})),
        groups as (select unnest({list(GROUPS)}) as "group"),
        areas as (
            select engagement, count(distinct seed_code) as area_schools_n
            from complex_pupils group by engagement
            union all
            select null, count(distinct (engagement, seed_code)) from complex_pupils
        ),
        found as (
            select
                engagement, "group", variable, estimate, se, ci_low, ci_high, deff, design_effect,
                t_pooled, reason
            from complex_own
            union all by name
            select null as engagement, "group", variable, estimate, se, ci_low, ci_high, reason
            from complex_every
        ),
        apart as (
            select engagement, variable, estimate, ci_low, ci_high from complex_apart
            union all
            select null, variable, estimate, ci_low, ci_high from complex_apart_all
        ),
        joined as (
            select
                areas.engagement, measures.*, groups."group", areas.area_schools_n,
                coalesce(counts.n, 0) as n, counts.counted,
                coalesce(counts.schools_n, 0) as schools_n,
                found.* exclude (engagement, variable, "group", reason),
                found.reason as found_reason,
                apart.estimate as apart, apart.ci_low as apart_low, apart.ci_high as apart_high,
                areas.engagement is null
                or area_schools_n >= {rules.schools_for_clusters} as has_clusters
            from areas
            cross join measures
            cross join groups
            left join complex_counts as counts
                on
                    counts.engagement is not distinct from areas.engagement
                    and counts.variable = measures.variable
                    and counts."group" = groups."group"
            left join found
                on
                    found.engagement is not distinct from areas.engagement
                    and found.variable = measures.variable
                    and found."group" = groups."group"
            left join apart
                on
                    apart.engagement is not distinct from areas.engagement
                    and apart.variable = measures.variable
                    and groups."group" = 'complex'
        ),
        chosen as (
            select
                *,
                case
                    when n = 0 then 'no_data'
                    when is_unlike and engagement is null then 'not_comparable'
                    else ''
                end as why,
                if(statistic = 'pct', 100, 1) as factor,
                has_clusters and ci_low is not null and se > 0 as is_designed,
                {wilson} as wilson
            from joined
        )
        select
            engagement, '{survey}' as survey, part, measure, "group", statistic, n,
            if(statistic = 'pct' and n > 0, counted::bigint, null) as numerator_n, schools_n,
            if(why = '', factor * estimate, null) as estimate,
            if(why = '', factor * if(is_designed, ci_low, {few_low}), null) as ci_low,
            if(why = '', factor * if(is_designed, ci_high, {few_high}), null) as ci_high,
            case
                when why <> '' then 'none'
                when statistic = 'mean' then 't'
                when is_designed then 'logit'
                else 'wilson'
            end as method,
            if(why = '', factor * apart, null) as difference,
            if(why = '' and has_clusters, factor * apart_low, null) as difference_low,
            if(why = '' and has_clusters, factor * apart_high, null) as difference_high,
            coalesce(nullif(why, ''), found_reason, '') as reason
        from chosen
    """
