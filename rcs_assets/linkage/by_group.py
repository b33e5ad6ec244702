"""How well the councils' records were linked, group by group: tables of the safe haven.

Belongs here: link rates, both error rates and who is linked against who is not, by what the
payload tells of a record; the share of links found by what the sample file tells of a pupil.
Computed in the warehouse after project ids have left the vault, with the counts that only
the vault could make. Does not belong here: identifiers (no query here could see one), rates of
whole files (`engagements.py`), weights (`link_weights.py`), anything that is released.

Linkage errors fall on the children of interest (methods.md A): a rate that differs between
groups biases every table made from the links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import duckdb
import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute

import rcs_assets
from rcs_assets.linkage.engagements import (
    COUNCIL_DATASETS,
    LinkedRows,
    add_columns,
    replace_engagements,
    wrong_share,
)
from rcs_assets.linkage.quality import poisson
from rcs_assets.linkage.settings import Groups, LinkRules
from rcs_assets.programme.datafile import read_keys
from rcs_assets.storage import sql_list, sql_literal

TABLE = "link_rates_by_group"
SENSITIVITY = "link_sensitivity"
BREAKDOWNS = {
    "primary_survey": ("total",),
    "secondary_survey": ("total",),
    "education": (
        "total", "sex", "has_scn", "stage", "simd_quintile", "looked_after", "ethnicity",
        "asn", "school",
    ),
    "social_work": (
        "total", "sex", "has_scn", "looked_after_status", "open_case", "child_protection_12m",
    ),
}  # fmt: skip
# Breakdowns that the vault counts, since only identifiers tell them.
IDENTIFIED = ("sex", "has_scn")
# Of a pupil of the sample file; what stands on the education record is known where it is linked.
PUPIL_BREAKDOWNS = (
    "total", "sex", "stage", "stage:sex", "school", "simd_quintile", "looked_after", "ethnicity",
    "asn",
)  # fmt: skip
_ON_EDUCATION = ("simd_quintile", "looked_after", "ethnicity", "asn")
_ENDS = ("pct", "low", "high")
_COLUMNS = {
    "engagement": "varchar not null",
    "dataset": "varchar not null",
    "breakdown": "varchar not null",
    "group": "varchar not null",
    "records_n": "integer not null",
    "linked_n": "integer not null",
    "linked_pct": "double not null",
    "ci_low": "double not null",
    "ci_high": "double not null",
    **{f"{error}_{end}": "double" for error in ("false", "missed") for end in _ENDS},
    "linked_share_pct": "double",
    "unlinked_share_pct": "double",
    "std_difference": "double",
}
_SENSITIVITY_COLUMNS = {
    "engagement": "varchar not null",
    "dataset": "varchar not null",
    "breakdown": "varchar not null",
    "group": "varchar not null",
    "pupils_n": "integer not null",
    "linked_n": "integer not null",
    "missed_n": "double not null",
    "sensitivity_pct": "double not null",
    "ci_low": "double not null",
    "ci_high": "double not null",
}


def write_link_rates_by_group(
    con: duckdb.DuckDBPyConnection, rows: LinkedRows, engagements: Sequence[str], rules: LinkRules
) -> int:
    """Replace the given engagements in linkage.link_rates_by_group.

    Args:
        con: a writing connection to the warehouse, where `linkage.project_ids` and
            `linkage.link_rates` are current.
        rows: what left the vault.
        engagements: partition keys.
        rules: how often each pass is right; smallest group, in records, and confidence of the
            intervals. Smaller groups are joined as `other`, which is left out too where it
            stays small.

    Returns:
        Number of rows written.

    All in per cent: `linked_*` of the records, with Wilson's interval; `false_*` of the links,
    expected to be wrong; `missed_*` of the pairs of one child, expected not to be linked;
    `linked_share_pct` and `unlinked_share_pct`, the group's part of the linked and of the other
    records, with their standardised difference. The error rates are null where an outside
    indexer linked.
    """
    table = _table(con, TABLE, _COLUMNS)
    chosen = sql_list(engagements)
    con.register("identified_groups", rows.identified_groups)
    load_chances(con, rows)
    counts = con.execute(_rates(_counts(chosen, wrong_share(rules)), rules.groups))
    rates = _with_errors(counts.to_arrow_table(), rules.groups)
    con.unregister("identified_groups")
    con.execute("begin")
    replace_engagements(con, table, rates.select(list(_COLUMNS)), engagements)
    con.execute("commit")
    return int(rates.num_rows)


def write_link_sensitivity(
    con: duckdb.DuckDBPyConnection, rows: LinkedRows, engagements: Sequence[str], rules: LinkRules
) -> int:
    """Replace the given engagements in linkage.link_sensitivity.

    For each group of pupils of the sample file, of those who have a record of a council's file
    the share whose record was found: links that are right against those and the missed. One
    row an engagement, dataset, breakdown and group of ten or more pupils: `pupils_n`, `linked_n`,
    `missed_n` (expected), `sensitivity_pct` with its interval. Groups without any pair, and
    files that an outside indexer linked, have no row; nor have education's own links by what
    only a linked education record tells.

    Args: as for `write_link_rates_by_group`.

    Returns:
        Number of rows written.
    """
    table = _table(con, SENSITIVITY, _SENSITIVITY_COLUMNS)
    chosen = sql_list(engagements)
    load_chances(con, rows)
    counts = con.execute(_pupil_counts(chosen, wrong_share(rules), rules.groups.min_records))
    found = _with_errors(counts.to_arrow_table(), rules.groups)
    found = found.filter(pa.compute.is_valid(found["missed_pct"]))
    ends = {
        name: pa.compute.subtract(100.0, found[f"missed_{end}"])
        for name, end in (("sensitivity_pct", "pct"), ("ci_low", "high"), ("ci_high", "low"))
    }
    kept = found.drop_columns(["missed_low", "missed_high"])
    for name, values in (*ends.items(), ("missed_n", pa.compute.round(found["missed"], 6))):
        kept = kept.append_column(name, values)
    con.execute("begin")
    replace_engagements(con, table, kept.select(list(_SENSITIVITY_COLUMNS)), engagements)
    con.execute("commit")
    return int(kept.num_rows)


def _table(con: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, str]) -> str:
    """Make the table where it is not there; one of an older installation gets what it lacks."""
    listed = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
    con.execute(f"create table if not exists linkage.{name} ({listed})")
    add_columns(con, f"linkage.{name}", {f'"{key}"': kind for key, kind in columns.items()})
    return name


def load_chances(con: duckdb.DuckDBPyConnection, rows: LinkedRows) -> None:
    """Make the temp table `chances` of `rows.chances`: for sums by group, on this connection."""
    con.register("chance_rows", rows.chances)
    con.execute("create or replace temp table chances as from chance_rows")
    con.unregister("chance_rows")


def _with_errors(counts: pa.Table, groups: Groups) -> pa.Table:
    """Add both error rates with their ends, from expected counts.

    Wrong links: Poisson. Missed pairs: Poisson, and at least as wide as the estimate of the
    whole file, whose low end goes by the group's part of the missed pairs, its high end by that
    of the records without a link.
    """
    tail = (1 - groups.confidence) / 2
    columns = {
        name: counts[name].to_numpy(zero_copy_only=False).astype(np.float64)
        for name in ("linked_n", "others_n", "wrong", "missed", *_WHOLE)
    }
    linked, wrong, missed = (columns[name] for name in ("linked_n", "wrong", "missed"))
    whole, low, high, others = (columns[name] for name in _WHOLE)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(whole > 0, missed / whole, 0)
        room = np.where(others > 0, columns["others_n"] / others, 0)
        fewest = np.minimum(part * low, poisson(missed, tail))
        most = np.maximum(missed + room * (high - whole), poisson(missed, 1 - tail))
        pairs = linked - wrong
        rates = {
            "false_pct": wrong / linked,
            "false_low": poisson(wrong, tail) / linked,
            "false_high": np.minimum(poisson(wrong, 1 - tail) / linked, 1),
            "missed_pct": missed / (pairs + missed),
            "missed_low": fewest / (pairs + fewest),
            "missed_high": most / (pairs + most),
        }
    # An interval holds its own estimate, also where fewer than one pair is expected.
    for error in ("false", "missed"):
        rates[f"{error}_low"] = np.fmin(rates[f"{error}_low"], rates[f"{error}_pct"])
        rates[f"{error}_high"] = np.fmax(rates[f"{error}_high"], rates[f"{error}_pct"])
    for name, rate in rates.items():
        known = np.isfinite(rate) & ~np.isnan(whole)
        counts = counts.append_column(name, pa.array(np.round(100 * rate, 4), mask=~known))
    return counts


# Of the whole file: expected missed pairs with their ends, records without a link.
_WHOLE = ("all_missed", "all_missed_low", "all_missed_high", "all_others")


def _counts(chosen: str, wrong: str) -> str:
    """Counts of records, linked ones, wrong and missed pairs, by dataset, breakdown and group."""
    parts = [
        _grouped(dataset, table, BREAKDOWNS[dataset], chosen, wrong)
        for dataset, table in (
            ("primary_survey", "intake.primary_survey"),
            ("secondary_survey", "intake.secondary_survey"),
            ("education", f"({education_groups()})"),
            ("social_work", f"({SOCIAL_WORK_GROUPS})"),
        )
    ]
    parts.append(
        'select engagement, dataset, breakdown, "group", records_n, linked_n, wrong, missed '
        "from identified_groups"
    )
    return " union all ".join(parts)


SOCIAL_WORK_GROUPS = """
    select
        engagement,
        record_id,
        looked_after_status,
        if(open_case, 'Y', 'N') as open_case,
        if(child_protection_12m, 'Y', 'N') as child_protection_12m
    from intake.social_work
"""


def education_groups() -> str:
    """SQL: the groups that an education record tells of, as text."""
    macros = census_macros()
    has_need = macros.has_additional_support_need("payload.asn_types", "payload.asn_needs")
    return f"""
    select
        payload.engagement,
        payload.record_id,
        payload.stage,
        payload.seed_code as school,
        coalesce(zones.quintile::varchar, 'not known') as simd_quintile,
        if(payload.looked_after, 'Y', 'N') as looked_after,
        {macros.ethnicity_group("payload.ethnic_background")} as ethnicity,
        if({has_need}, 'Y', 'N') as asn
    from intake.education as payload
    left join intake.simd as zones
        on payload.datazone = zones.datazone and zones.vintage = {sql_literal(simd_vintage())}
    """


def _grouped(dataset: str, table: str, breakdowns: Sequence[str], chosen: str, wrong: str) -> str:
    columns = [name for name in breakdowns if name not in IDENTIFIED]
    values = ", ".join("'all' as total" if name == "total" else name for name in columns)
    return f"""
        select
            engagement,
            '{dataset}' as dataset,
            breakdown,
            "group",
            count(*)::integer as records_n,
            count(project_id)::integer as linked_n,
            sum(wrong::decimal(18, 9))::double as wrong,
            sum(chance::decimal(18, 9))::double as missed
        from (
            unpivot (
                select
                    records.engagement, ids.project_id, chances.chance,
                    if(ids.project_id is null, null, {wrong}) as wrong,
                    {values}
                from {table} as records
                left join linkage.project_ids as ids
                    on
                        ids.dataset = '{dataset}'
                        and records.engagement = ids.engagement
                        and records.record_id = ids.record_id
                left join chances
                    on
                        chances.dataset = '{dataset}'
                        and chances.side = 'record'
                        and records.engagement = chances.engagement
                        and records.record_id = chances.record_id
                where records.engagement in ({chosen})
            )
            on {", ".join(columns)}
            into name breakdown value "group"
        )
        group by all
    """


def _pupil_counts(chosen: str, wrong: str, smallest: int) -> str:
    """Counts of pupils of the sample file by council's dataset, breakdown and group."""
    columns = ", ".join(
        "'all' as total" if name == "total" else f'"{name}"' for name in PUPIL_BREAKDOWNS
    )
    named = ", ".join("total" if name == "total" else f'"{name}"' for name in PUPIL_BREAKDOWNS)
    datasets = ", ".join(sql_literal(dataset) for dataset in COUNCIL_DATASETS)
    return f"""
        with ids as (from linkage.project_ids where engagement in ({chosen})),
        pupils as (
            select
                sample.engagement, sample.record_id, ids.project_id,
                sample.sex, sample.stage, sample.seed_code as school,
                sample.stage || ':' || sample.sex as "stage:sex",
                groups.simd_quintile, groups.looked_after, groups.ethnicity, groups.asn
            from intake.sample as sample
            inner join ids
                on
                    ids.dataset = 'sample'
                    and sample.engagement = ids.engagement
                    and sample.record_id = ids.record_id
            left join ids as education
                on
                    education.dataset = 'education'
                    and ids.engagement = education.engagement
                    and ids.project_id = education.project_id
            left join ({education_groups()}) as groups
                on
                    education.engagement = groups.engagement
                    and education.record_id = groups.record_id
        ),
        pairs as (
            select
                pupils.*, council.dataset, found.project_id is not null as is_linked,
                found.wrong, chances.chance
            from pupils
            cross join (select unnest([{datasets}]) as dataset) as council
            left join (
                select dataset, engagement, project_id, {wrong} as wrong from ids
            ) as found
                on
                    council.dataset = found.dataset
                    and pupils.engagement = found.engagement
                    and pupils.project_id = found.project_id
            left join chances
                on
                    chances.side = 'pupil'
                    and council.dataset = chances.dataset
                    and pupils.engagement = chances.engagement
                    and pupils.record_id = chances.record_id
        ),
        counted as (
            select
                engagement, dataset, breakdown, "group",
                count(*)::integer as pupils_n,
                count_if(is_linked)::integer as linked_n,
                (count(*) - count_if(is_linked))::integer as others_n,
                coalesce(sum(wrong::decimal(18, 9)), 0)::double as wrong,
                coalesce(sum(chance::decimal(18, 9)), 0)::double as missed
            from (
                unpivot (
                    select engagement, dataset, is_linked, wrong, chance, {columns} from pairs
                )
                on {named}
                into name breakdown value "group"
            )
            group by all
            having
                count(*) >= {smallest}
                and not (dataset = 'education' and breakdown in {_ON_EDUCATION})
        )
        select
            counted.*,
            rates.missed_n as all_missed, rates.missed_low as all_missed_low,
            rates.missed_high as all_missed_high,
            max(counted.others_n) over (partition by counted.engagement, counted.dataset)
                as all_others
        from counted
        inner join linkage.link_rates as rates using (engagement, dataset)
        order by engagement, dataset, breakdown, "group"
    """


def _rates(counts: str, groups: Groups) -> str:
    smallest, z = groups.min_records, NormalDist().inv_cdf(0.5 + groups.confidence / 2)
    z2 = z**2
    return f"""
        with joined as (
            select
                engagement,
                dataset,
                breakdown,
                if(records_n >= {smallest} or breakdown = 'total', "group", 'other') as "group",
                sum(records_n)::integer as records_n,
                sum(linked_n)::integer as linked_n,
                coalesce(sum(wrong::decimal(18, 9)), 0)::double as wrong,
                coalesce(sum(missed::decimal(18, 9)), 0)::double as missed
            from ({counts})
            group by all
        ),
        shares as (
            select
                *,
                records_n - linked_n as others_n,
                linked_n / records_n as p,
                records_n::double as n,
                (p + {z2 / 2} / n) / (1 + {z2} / n) as centre,
                {z} * sqrt(p * (1 - p) / n + {z2 / 4} / n ** 2) / (1 + {z2} / n) as half,
                -- Of all records: groups that are too small for a row, and what has none, count.
                linked_n / nullif(max(linked_n) filter (breakdown = 'total') over whole, 0)
                    as linked_share,
                others_n / nullif(max(others_n) filter (breakdown = 'total') over whole, 0)
                    as other_share,
                linked_share * (1 - linked_share) + other_share * (1 - other_share) as spread
            from joined
            window whole as (partition by engagement, dataset)
        )
        select
            shares.* exclude (p, n, centre, half, linked_share, other_share, spread),
            round(100 * p, 4) as linked_pct,
            round(100 * greatest(0, least(p, centre - half)), 4) as ci_low,
            round(100 * least(1, greatest(p, centre + half)), 4) as ci_high,
            round(100 * linked_share, 4) as linked_share_pct,
            round(100 * other_share, 4) as unlinked_share_pct,
            round((linked_share - other_share) / sqrt(nullif(spread, 0) / 2), 4) as std_difference,
            rates.missed_n as all_missed,
            rates.missed_low as all_missed_low,
            rates.missed_high as all_missed_high,
            (rates.records_n - rates.linked_n)::double as all_others
        from shares
        left join linkage.link_rates as rates using (engagement, dataset)
        where shares.records_n >= {smallest}
        order by engagement, dataset, breakdown, "group"
    """


def _dbt_project() -> Path:
    return Path(rcs_assets.__file__).resolve().parents[1] / "dbt_project"


@cache
def simd_vintage() -> str:
    """One vintage for all tranches, as the dbt models use it (domain.md 4.1)."""
    project = read_keys("dbt_project/dbt_project.yml", _dbt_project() / "dbt_project.yml")
    return str(project["vars"]["simd_vintage"])


@cache
def census_macros() -> Any:
    """The census groups stand once, in the dbt project's macros."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_dbt_project() / "macros"), undefined=jinja2.StrictUndefined
    )
    return environment.get_template("pupil_census.sql").module
