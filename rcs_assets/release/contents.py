"""Which rows go into which package.

Belongs here: the kinds of packages, one query a table and package, areas and schools with
their parents. Does not belong here: what a table looks like (`tables.py`), writing
(`candidate.py`, `schools.py`, `deposit.py`), protecting (`disclosure`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook
from rcs_assets.codebook.versions import comparability
from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.disclosure.beside import COUNTS, counts_sql
from rcs_assets.disclosure.geographies import geography_table
from rcs_assets.disclosure.policy import Policy
from rcs_assets.errors import InputError
from rcs_assets.programme import Programme
from rcs_assets.release.audit_log import published
from rcs_assets.release.packages import HISTORY_COLUMNS, KINDS, read_manifest
from rcs_assets.release.tables import TableSpec, specs_of
from rcs_assets.storage import Home, sql_literal

PUBLIC = "public"


@dataclass(frozen=True)
class Package:
    """One package: `name` is its folder, `kind` the part of it before the slash.

    `geography_code` is the area or school that it is about, where it is about one.
    """

    name: str
    kind: str
    engagement: str | None = None
    geography_code: str | None = None

    @property
    def has_database(self) -> bool:
        """A school package is for reading; every other has `rcs.duckdb` (interfaces.md)."""
        return self.kind != "school"

    @property
    def has_csv(self) -> bool:
        """What everyone may read can be read with anything."""
        return self.kind == PUBLIC


@dataclass(frozen=True)
class Sources:
    """What a candidate is made from, beside the warehouse; `author` is who computes it."""

    programme: Programme
    codebook: Codebook
    policy: Policy
    as_of: date
    left_out: tuple[str, ...] = ()
    author: str = ""


def packages_due(
    con: duckdb.DuckDBPyConnection, programme: Programme, policy: Policy
) -> tuple[Package, ...]:
    """The packages of a release, in the order of who reads them.

    Public, one a CPP, one a school with protected rows, one a deposit (where the policy
    wants it), the safe haven.

    Raises:
        InputError: there are no protected estimates.
    """
    audiences = [
        row[0]
        for row in con.execute(
            "select distinct audience from disclosure.estimates order by audience"
        ).fetchall()
    ]
    if PUBLIC not in audiences:
        raise InputError(
            "There are no protected estimates",
            where="disclosure.estimates",
            why="a release is made of what disclosure protected",
            fix="run: rcs materialise",
        )
    engagements = [name.partition("/")[2] for name in audiences if name != PUBLIC]
    return (
        Package(PUBLIC, PUBLIC),
        *(_of_engagement("cpp", key, programme) for key in engagements),
        *_schools(con),
        *(
            _of_engagement("archive", key, programme)
            for key in engagements
            if "archive" in policy.microdata.purposes
        ),
        Package(SAFE_HAVEN, SAFE_HAVEN),
    )


def _of_engagement(kind: str, engagement: str, programme: Programme) -> Package:
    code = programme.engagements[engagement].cpp.council_code
    return Package(f"{kind}/{engagement}", kind, engagement, code)


def _schools(con: duckdb.DuckDBPyConnection) -> list[Package]:
    rows = con.execute(
        """
        select geography_code, max(engagement)
        from disclosure.estimates
        where audience like 'cpp/%' and geography_level = 'school'
        group by geography_code
        order by geography_code
        """
    ).fetchall()
    return [Package(f"school/{code}", "school", engagement, code) for code, engagement in rows]


def register_sources(
    con: duckdb.DuckDBPyConnection, sources: Sources, engagements: Sequence[str]
) -> None:
    """Make what queries need beside the warehouse: areas, indicators, dictionary."""
    con.register("release_geographies", geography_table(sources.programme, engagements))
    councils = [sources.programme.engagements[key].cpp for key in engagements]
    con.register(
        "release_councils",
        pa.table(
            {
                "engagement": pa.array(engagements, pa.string()),
                "geography_code": pa.array([c.council_code for c in councils], pa.string()),
                "council_name": pa.array([c.council_name for c in councils], pa.string()),
            }
        ),
    )
    con.register("release_indicators", _indicator_table(sources.codebook))
    rows = [
        {"kind": kind, "table_name": spec.name, "column_name": column.name}
        | {key: value for key, value in asdict(column).items() if key != "name"}
        for kind in KINDS
        for spec in specs_of(kind)
        for column in spec.columns
    ]
    con.register("release_dictionary", pa.Table.from_pylist(rows))
    con.execute(_PLACES_SQL)


def register_history(
    con: duckdb.DuckDBPyConnection, home: Home, sources: Sources, version: str
) -> None:
    """Make the table of releases: those published before, and this one."""
    own = (version, sources.as_of.isoformat(), sources.policy.version, sources.codebook.version)
    past = [row for row in _history(home) if row[0] != version]
    columns = zip(*[*past, own], strict=True)
    table = {
        name: pa.array(list(values), pa.string())
        for name, values in zip(HISTORY_COLUMNS, columns, strict=True)
    }
    con.register("release_history", pa.table(table))


def _history(home: Home) -> list[tuple[str, ...]]:
    """Rows of the table of releases, oldest first."""
    manifests = {version: read_manifest(home, version) for version in published(home)}
    return [
        (version, *(str(manifest[name]) for name in HISTORY_COLUMNS[1:]))
        for version, manifest in manifests.items()
    ]


def _indicator_table(codebook: Codebook) -> Any:
    flags = comparability(codebook)
    return pa.Table.from_pylist(
        [
            {
                "indicator": i.name,
                "title": i.title,
                "domain": i.domain,
                "direction": i.direction,
                "definition": i.definition,
                "denominator": i.denominator,
                "stages": ", ".join(i.stages),
                "instrument": i.instrument,
                "source": i.source,
                "is_sensitive": i.is_sensitive,
                "survey": i.survey,
                "sentence": i.sentence,
                "is_core": i.is_core,
                "comparability": flags[i.name],
                "who": i.who,
            }
            for i in codebook.indicators.values()
        ]
    )


# Areas, clusters and every mainstream school in scope, whether or not it has figures. A
# school lies in the cluster that counts it (`is_sdc_cluster`), a cluster in its CPP.
_PLACES_SQL = """
create or replace temp table release_places as
with clusters as (
    select distinct engagement, cluster_code, cluster_name from intake.clusters
),
members as (
    select engagement, seed_code, min(cluster_code) as cluster_code
    from intake.clusters
    where is_sdc_cluster
    group by engagement, seed_code
)
select engagement, geography_level, geography_code, geography_name, parent_level, parent_code
from release_geographies
union all
select councils.engagement, 'cluster', clusters.cluster_code, clusters.cluster_name,
    'cpp', councils.geography_code
from clusters
inner join release_councils as councils using (engagement)
union all
select councils.engagement, 'school', schools.seed_code, schools.school_name,
    if(members.cluster_code is null, 'cpp', 'cluster'),
    coalesce(members.cluster_code, councils.geography_code)
from intake.school_list as schools
inner join release_councils as councils using (council_name)
left join members
    on members.engagement = councils.engagement and members.seed_code = schools.seed_code
where lower(schools.has_primary::varchar) in ('yes', 'true')
    or lower(schools.has_secondary::varchar) in ('yes', 'true')
"""


def rows_sql(spec: TableSpec, package: Package, version: str) -> str:
    """The rows of a table in a package, typed and ordered."""
    return f"{typed_sql(spec, package, version)} order by {spec.order_list}"


def typed_sql(spec: TableSpec, package: Package, version: str) -> str:
    """The rows of a table in a package, typed, in no order."""
    source = with_release(spec, _source_sql(spec.name, package), version)
    return f"select {spec.select_list} from ({source})"


def with_release(spec: TableSpec, source: str, version: str) -> str:
    """A source with the column `release`, where the table has one that is not its own."""
    if spec.name == "releases" or all(column.name != "release" for column in spec.columns):
        return source
    return f"select {sql_literal(version)} as release, source.* from ({source}) as source"


# The model as a table: each level of each compared field, from the content under its hash.
_MODEL_SQL = """
    with fields as (
        select
            model_id, origin, splink_version,
            unnest(from_json(definition -> '$.splink.comparisons', '["json"]')) as comparison
        from linkage.model
    ),
    levels as (
        select
            * exclude (comparison), comparison ->> '$.output_column_name' as field,
            from_json(comparison -> '$.comparison_levels', '["json"]') as found
        from fields
    ),
    numbered as (
        select * exclude (found), unnest(found) as level_json, unnest(range(len(found))) as level_no
        from levels
    )
    select
        model_id, origin, splink_version, field, level_no,
        level_json ->> '$.label_for_charts' as level,
        (level_json ->> '$.m_probability')::double as m,
        (level_json ->> '$.u_probability')::double as u,
        log2(m / u) as match_weight,
        (level_json ->> '$.tf_adjustment_column') is not null as has_term_frequency
    from numbered
    where m is not null
"""

_PLAIN = {
    "indicators": "select * from release_indicators",
    "releases": "select * from release_history",
    "definition_sets": "select * from wellbeing.definition_sets",
    "unit_nonresponse": "select * from wellbeing.unit_nonresponse",
    "item_nonresponse": "select * from wellbeing.item_nonresponse",
    "salsus_contrasts": "select * from wellbeing.salsus_contrasts",
    "estimates_unrounded": "select * from wellbeing.estimates",
    "link_rates": "select * from linkage.link_rates "
    "where engagement in (select engagement from release_geographies)",
    **{
        name: f"select * from {room}.{name} "
        "where engagement in (select engagement from release_geographies)"
        for room, name in (
            ("linkage", "link_rates_by_group"),
            ("linkage", "link_sensitivity"),
            ("linkage", "link_flow"),
            ("services", "link_effects"),
        )
    },
    "link_items": "select * from services.link_items",
    COUNTS: counts_sql(),
    "complex_asn_profile": "select * from services.complex_asn",
    "link_model": _MODEL_SQL,
}


def _source_sql(table: str, package: Package) -> str:
    audience = package.name if package.kind == "cpp" else PUBLIC
    if table == "estimates":
        return _estimates_sql(package, audience)
    if table == "geographies":
        return _geographies_sql(package, audience)
    if table == "dictionary":
        return f"select * from release_dictionary where kind = {sql_literal(package.kind)}"
    if table == "participation":
        # How a school took part stands in its own package only (policy.md, Table A).
        return (
            f"select * from disclosure.participation where audience = {sql_literal(audience)} "
            "and geography_level <> 'school'"
        )
    if table == "outcomes":
        return _outcomes_sql(audience)
    if table in ("risks", "models"):
        return f"select * from disclosure.{table}"
    if table == "recipients":
        own = f"where engagement = {sql_literal(package.engagement or '')}"
        return f"select * from disclosure.recipients {own if package.engagement else ''}"
    if table == "changes":
        return _changes_sql(package)
    if table in ("reach", "spend", "comparisons"):
        return f"select * from disclosure.{table} where audience = {sql_literal(audience)}"
    return _PLAIN[table]


def _estimates_sql(package: Package, audience: str) -> str:
    """The protected rows of the audience.

    A CPP's package has the public rows of its tranche and of all areas as well, which its
    figures are read beside; a deposit has what is public about its area.
    """
    rows = "select * exclude (audience, release, status_inside) from disclosure.estimates "
    if package.kind == "archive":
        return f"{rows} where audience = 'public' and {_about(package.engagement)}"
    beside = f"or (audience = 'public' and engagement is null and {_about(package.engagement)})"
    own = f"where audience = {sql_literal(audience)}"
    return f"{rows} {own} {beside if package.kind == 'cpp' else ''}"


def _outcomes_sql(audience: str) -> str:
    """Totals of CPPs by domain, each with its sentence: from protected rows alone."""
    value = (
        "if(estimates.statistic = 'pct', round(estimates.estimate)::integer || '%', "
        "format('{:.1f}', estimates.estimate::double))"
    )
    return f"""
        select
            estimates.engagement, estimates.geography_name, indicators.domain, estimates.survey,
            indicators.indicator, indicators.title, indicators.is_core, indicators.direction,
            estimates.estimate, estimates.ci_low, estimates.ci_high, estimates.status,
            coalesce(
                replace(
                    replace(indicators.sentence, '{{value}}', {value}), '{{who}}', indicators.who
                ),
                ''
            ) as sentence
        from disclosure.estimates as estimates
        inner join release_indicators as indicators using (indicator)
        where
            estimates.audience = {sql_literal(audience)}
            and estimates.geography_level = 'cpp'
            and estimates.breakdown = 'total'
    """


def _changes_sql(package: Package) -> str:
    """Public changes; a CPP's package has those of its own area, whichever wave it is of."""
    own = f"where geography_code = {sql_literal(package.geography_code or '')}"
    return f"select * from disclosure.changes {own if package.engagement else ''}"


def _about(engagement: str | None) -> str:
    """Rows about an engagement, the tranche that it is in, or all areas."""
    own = sql_literal(engagement or "")
    return (
        f"(engagement = {own} or geography_level = 'all' or (geography_level = 'tranche' and "
        "geography_code in (select parent_code from release_geographies "
        f"where engagement = {own})))"
    )


def _geographies_sql(package: Package, audience: str) -> str:
    """Areas, clusters and schools; a package about one area holds its own.

    Small schools of a cluster together are a geography where the audience has its figures.
    """
    own = f"where {_about(package.engagement)}" if package.engagement else ""
    return f"""
        select * exclude (engagement) from release_places {own}
        union
        select estimates.geography_level, estimates.geography_code,
            min(estimates.geography_name), 'cpp', min(councils.geography_code)
        from disclosure.estimates as estimates
        inner join release_councils as councils using (engagement)
        where estimates.audience = {sql_literal(audience)}
            and estimates.geography_level = 'cluster'
            and estimates.geography_code not in
                (select geography_code from release_places where geography_level = 'cluster')
        group by all
    """
