"""The cells of a release: what is counted where, and which row of Table A judges it.

Belongs here: reading estimates into temporary tables `sdc_*` (nodes, the schools'
sizes) and refusing input that does not add up. Does not belong here: which cells are hidden
for another's sake (`suppress.py`), what an attacker can derive (`attack.py`), rounding.

A *cell* is one group of one breakdown of one indicator in one geography (a *unit*). A *node*
is a cell as one package shows it: `own` in the package of its CPP, `public` in the public
one; its *place* (`place_id`) is the same for every indicator of a survey. Not every node is
released: schools below a size have no figures, yet a sum less its shown parts could give
them. Pupils whose group is not known are the cell of group `?`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.disclosure.policy import Policy
from rcs_assets.errors import InputError
from rcs_assets.estimation.intervals import t_quantile

# Confidence level of every interval (policy.md, Table B).
CONFIDENCE = 0.95
OWN, PUBLIC = "own", "public"
UNKNOWN_GROUP = "?"
SMALL_SUFFIX = "-small"
# Breakdowns whose groups leave out pupils of unknown group.
PARTIAL = ("simd_quintile", "looked_after", "ethnicity", "asn")

_INPUT = """
create or replace temp table sdc_input as
select
    e.* exclude (base_n, estimate, ci_low, ci_high),
    e.estimate, e.ci_low, e.ci_high,
    case e.geography_level
        when 'cpp' then 'cpp:' || e.engagement
        when 'school' then 'school:' || e.engagement || '/' || e.geography_code
        when 'cluster' then 'cluster:' || e.engagement || '/' || e.geography_code
        when 'tranche' then 'tranche:' || e.tranche
        else 'all'
    end as unit,
    coalesce(e.base_n, 0) as base_n,
    coalesce(e.numerator_n, 0) as y_n,
    if(e.statistic = 'pct', coalesce(e.base_n, 0) - y_n, 0) as c_n,
    e.base_n is null as has_no_base,
    i.is_sensitive, i.score_low, i.score_high,
    -- A group that has answers is never "not asked" or "not on the roll".
    if(r.status in ('x', 'z') and coalesce(e.base_n, 0) = 0, r.status, null) as empty_status,
    -- Counted, since its parts are, but no figure is made of it: hidden without being small.
    if(r.status in ('x', 'z') and e.base_n > 0 and e.estimate is null, r.status, null)
        as withheld_status,
from {estimates} as e
left join {indicators} as i on i.indicator = e.indicator
left join sdc_reason as r on r.reason = e.reason
"""

_PROBLEMS = (
    (
        "An indicator has no disclosure class",
        "the codebook says whether it is sensitive",
        "select indicator as place from sdc_input where is_sensitive is null",
    ),
    (
        "A breakdown is not in the policy",
        "policy.yaml, breakdowns: what is not listed at a level has no rule",
        "select geography_level || ' ' || breakdown as place from sdc_input "
        "where (geography_level, breakdown) not in (select (level, breakdown) from sdc_breakdown)",
    ),
    (
        "A reason for an empty cell is not in the policy",
        "policy.yaml, empty_reasons",
        "select indicator || ' ' || unit as place from sdc_input "
        "where reason <> '' and reason not in (select reason from sdc_reason)",
    ),
    (
        "A count is missing or impossible",
        "0 <= numerator <= base, and a percentage with a base has a numerator",
        "select indicator || ' ' || unit || ' ' || breakdown as place from sdc_input "
        "where (has_no_base and empty_status is null) or base_n < 0 or y_n < 0 or c_n < 0 "
        "or (statistic = 'pct' and base_n > 0 and (numerator_n is null "
        "or (estimate is null and withheld_status is null))) "
        "or (statistic = 'mean' and (numerator_n is not null or (base_n > 0 and sum_x is null)))",
    ),
    (
        "A cell stands twice",
        "one row a survey, geography, breakdown, group and indicator",
        "select any_value(indicator || ' ' || unit || ' ' || breakdown) as place from sdc_input "
        'group by survey, indicator, unit, breakdown, "group" having count(*) > 1',
    ),
    (
        "A breakdown has no total, or its groups are more than its total",
        "protection needs the total that the groups are subtracted from",
        """
        select g.indicator || ' ' || g.unit || ' ' || g.breakdown as place
        from (
            select survey, indicator, unit, breakdown,
                sum(base_n) as n, sum(y_n) as y, sum(c_n) as c
            from sdc_input where breakdown <> 'total' group by all
        ) as g
        left join sdc_input as t
            on t.survey = g.survey and t.indicator = g.indicator and t.unit = g.unit
            and t.breakdown = 'total'
        where t.base_n is null or g.n > t.base_n or g.y > t.y_n or g.c > t.c_n
            or (g.breakdown not in {partial} and g.n <> t.base_n)
        """,
    ),
    (
        "The parts of an area do not add up to it",
        "protection follows who is counted where",
        """
        select u.indicator || ' ' || u.unit || ' ' || u.breakdown as place
        from sdc_input as u
        inner join (
            select parents.parent, c.geography_level, c.survey, c.indicator, c.breakdown, c."group",
                sum(c.base_n) as n, sum(c.y_n) as y
            from sdc_input as c
            inner join sdc_parent as parents
                on parents.survey = c.survey and parents.child = c.unit
            group by all
        ) as s
            on s.parent = u.unit and s.survey = u.survey and s.indicator = u.indicator
            and s.breakdown = u.breakdown and s."group" = u."group"
        where s.n <> u.base_n or s.y <> u.y_n
        """,
    ),
    (
        "Weights differ within a stage and sex of a CPP, or are none",
        "weights are a roll over its respondents, stage by sex (policy.md, Table B)",
        "select engagement || ' ' || survey || ' ' || stage || ' ' || sex as place "
        "from sdc_weight where not (weight > 0 and most <= weight * (1 + 1e-9))",
    ),
    (
        "A CPP has no weights",
        "other CPPs of the survey have: what is above them is weighted",
        """
        select engagement || ' ' || survey as place from sdc_input
        semi join (select distinct survey from sdc_weight) using (survey)
        anti join sdc_weight using (survey, engagement)
        where geography_level = 'cpp' and breakdown = 'stage:sex' and base_n > 0
        """,
    ),
    (
        "A figure is not the weighted one of its stages and sexes",
        "the attack takes it as their weighted sum: other weights made it",
        """
        select any_value(e.indicator || ' ' || e.unit || ' ' || e.breakdown) as place
        from sdc_input as e
        inner join sdc_input as c
            on c.survey = e.survey and c.indicator = e.indicator and c.geography_level = 'cpp'
            and c.breakdown = 'stage:sex'
        inner join sdc_weight as w
            on w.survey = c.survey and w.engagement = c.engagement
            and c."group" = w.stage || ':' || w.sex
        where e.estimate is not null and e.base_n > 0
            and ({holds_area}) and ({holds_group})
        group by e.survey, e.indicator, e.unit, e.breakdown, e."group"
        having abs(any_value(e.estimate) - sum(if(
            e.statistic = 'pct', 100.0 * c.y_n, c.sum_x
        ) * w.weight) / sum(c.base_n * w.weight)) > 1e-6
        """,
    ),
)

# Which unit is part of which. A school is part of its cluster where the survey has clusters,
# else of its CPP; a school without a cluster, of its CPP beside the clusters.
_PARENT = """
create or replace temp table sdc_parent as
select distinct
    s.survey, s.unit as child,
    if(c.cluster_code is null, 'cpp:' || s.engagement,
        'cluster:' || s.engagement || '/' || c.cluster_code) as parent,
from sdc_input as s
left join {clusters} as c
    on c.engagement = s.engagement and c.seed_code = s.geography_code
    and list_contains({cluster_surveys}, s.survey)
where s.geography_level = 'school'
union all
select distinct survey, unit, 'cpp:' || engagement from sdc_input where geography_level = 'cluster'
union all
select distinct survey, unit, 'tranche:' || tranche from sdc_input where geography_level = 'cpp'
union all
select distinct survey, unit, 'all' from sdc_input where geography_level = 'tranche'
"""

# Whether area and group `e` hold a CPP's stage and sex `w`.
HOLDS_AREA = (
    "e.geography_level = 'all' or e.geography_level = 'tranche' and e.tranche = w.tranche "
    "or e.geography_level = 'cpp' and e.engagement = w.engagement"
)
HOLDS_GROUP = (
    "e.breakdown = 'total' or e.breakdown = 'stage' and e.\"group\" = w.stage "
    "or e.breakdown = 'sex' and e.\"group\" = w.sex "
    "or e.breakdown = 'stage:sex' and e.\"group\" = w.stage || ':' || w.sex"
)
# A CPP's stage and sex without respondents counts as the heaviest: whoever knows more is right.
_WEIGHT = """
create or replace temp table sdc_weight as
with made as (
    select engagement, survey, stage, sex, min(weight) as weight, max(weight) as most,
    from {weights}
    group by all
)
select
    e.survey, e.engagement, e.tranche, split_part(e."group", ':', 1) as stage,
    split_part(e."group", ':', 2) as sex,
    coalesce(any_value(w.weight), max(h.weight)) as weight,
    coalesce(any_value(w.most), max(h.weight)) as most,
from (
    select distinct survey, engagement, tranche, "group" from sdc_input
    where geography_level = 'cpp' and breakdown = 'stage:sex'
) as e
inner join made as h on h.engagement = e.engagement and h.survey = e.survey
left join made as w
    on w.engagement = e.engagement and w.survey = e.survey
    and w.stage = split_part(e."group", ':', 1) and w.sex = split_part(e."group", ':', 2)
group by all
"""

_SCHOOL = """
create or replace temp table sdc_school as
select
    r.survey, r.engagement, r.geography_code as seed_code,
    'school:' || r.engagement || '/' || r.geography_code as unit,
    r.respondents_n,
    p.parent,
    z.output_class, z.breakdowns,
    z.output_class is null as is_small,
    -- What a school shows tells how many answered at most.
    (select min(respondents) - 1 from sdc_size where respondents > r.respondents_n) as most_n,
from {respondents} as r
left join sdc_parent as p
    on p.survey = r.survey
    and p.child = 'school:' || r.engagement || '/' || r.geography_code
left join lateral (
    select output_class, breakdowns from sdc_size
    where sdc_size.respondents <= r.respondents_n
    order by sdc_size.respondents desc limit 1
) as z on true
where r.geography_level = 'school'
"""

_CLUSTER = """
create or replace temp table sdc_cluster as
select
    survey, engagement, parent as unit,
    count(*) filter (where respondents_n > 0) >= {least_schools}
    and max(respondents_n) <= {largest_school_pct} / 100.0 * sum(respondents_n) as is_shown,
    count(*) filter (where is_small and respondents_n > 0) >= {small_schools_least}
    and sum(respondents_n) filter (where is_small) >= {small_pupils_least} as is_small_shown,
    count(*) filter (where is_small and respondents_n > 0) as small_schools_n,
from sdc_school
where parent like 'cluster:%'
group by survey, engagement, parent
"""

# The small schools of a cluster together: a row of its own, made of its schools' totals.
_SMALL = """
insert into sdc_input by name
select
    any_value(s.tranche) as tranche, s.engagement, s.survey, 'cluster' as geography_level,
    any_value(split_part(k.unit, '/', 2)) || '{suffix}' as geography_code,
    'total' as breakdown, 'all' as "group", s.indicator, any_value(s.statistic) as statistic,
    sum(s.roll_n) as roll_n, sum(s.base_n) as base_n,
    if(any_value(s.statistic) = 'pct', sum(s.numerator_n), null) as numerator_n,
    sum(s.sum_x::decimal(38, 9))::double as sum_x,
    case any_value(s.statistic)
        when 'pct' then 100.0 * sum(s.numerator_n) / nullif(sum(s.base_n), 0)
        else sum(s.sum_x::decimal(38, 9)) / nullif(sum(s.base_n), 0)
    end as estimate,
    -- Of the schools' own deviations and those of their means from the common mean.
    sqrt(greatest(0, (
        sum((
            (s.base_n - 1) * s.sd * s.sd + s.sum_x * s.sum_x / nullif(s.base_n, 0)
        )::decimal(38, 9))
        - sum(s.sum_x::decimal(38, 9)) * sum(s.sum_x::decimal(38, 9)) / nullif(sum(s.base_n), 0)
    ) / nullif(sum(s.base_n) - 1, 0))) as sd,
    if(any_value(s.statistic) = 'mean', 't', 'wilson') as method,
    k.unit || '{suffix}' as unit,
    sum(s.y_n) as y_n, sum(s.c_n) as c_n, any_value(s.is_sensitive) as is_sensitive,
    any_value(s.score_low) as score_low, any_value(s.score_high) as score_high,
    if(bool_and(s.empty_status is not null), max(s.empty_status), null) as empty_status,
    '' as reason,
from sdc_input as s
inner join sdc_school as p on p.survey = s.survey and p.unit = s.unit
inner join sdc_cluster as k on k.survey = p.survey and k.unit = p.parent
where p.is_small and s.breakdown = 'total'
group by s.engagement, s.survey, s.indicator, k.unit
"""

_UNKNOWN = """
insert into sdc_input by name
select
    any_value(t.tranche) as tranche, any_value(t.engagement) as engagement, t.survey,
    any_value(t.geography_level) as geography_level, any_value(t.geography_code) as geography_code,
    b.breakdown, '{unknown}' as "group", t.indicator, any_value(t.statistic) as statistic,
    any_value(t.base_n) - coalesce(sum(g.base_n), 0) as base_n,
    (any_value(t.sum_x)::decimal(38, 9) - coalesce(sum(g.sum_x::decimal(38, 9)), 0))::double
        as sum_x,
    any_value(t.y_n) - coalesce(sum(g.y_n), 0) as y_n,
    any_value(t.c_n) - coalesce(sum(g.c_n), 0) as c_n,
    t.unit, any_value(t.is_sensitive) as is_sensitive,
    any_value(t.score_low) as score_low, any_value(t.score_high) as score_high,
    any_value(t.empty_status) as empty_status, '' as reason,
from sdc_input as t
inner join (
    select distinct survey, indicator, unit, breakdown from sdc_input
    where breakdown in {partial}
) as b on b.survey = t.survey and b.indicator = t.indicator and b.unit = t.unit
inner join sdc_input as g
    on g.survey = b.survey and g.indicator = b.indicator and g.unit = b.unit
    and g.breakdown = b.breakdown
where t.breakdown = 'total'
group by t.survey, t.indicator, t.unit, b.breakdown
"""


_NODE = """
create or replace temp table sdc_node as
with size_tells as (
    -- How many answered in an area at most, as the size classes of its schools tell who has all.
    select
        areas.survey, areas.area, i.indicator, sum(least(i.roll_n, areas.most_n)) as most_n,
    from (
        select survey, unit, most_n, parent as area from sdc_school where parent like 'cluster:%'
        union all
        select survey, unit, most_n, 'cpp:' || engagement from sdc_school
    ) as areas
    inner join sdc_input as i
        on i.survey = areas.survey and i.unit = areas.unit and i.breakdown = 'total'
    group by all
    having bool_and(i.roll_n is not null or areas.most_n is not null)
),
seen as (
    select
        c.*, view.name as view, coalesce(s.most_n, size_tells.most_n) as most_n,
        case
            when c."group" = '{unknown}' then false
            when c.geography_level = 'school' then list_contains(s.breakdowns, c.breakdown)
            when c.unit like '%{suffix}' then k.is_small_shown
            when c.geography_level = 'cluster' then k.is_shown
            else true
        end as is_released,
        -- A school without figures of its own is judged by the row of the smallest that has.
        case
            when c.geography_level = 'school' then coalesce(s.output_class, '{smallest_class}')
            else level.output_class
        end as output_class,
    from sdc_input as c
    inner join sdc_level as level on level.level = c.geography_level
    inner join (select unnest(['own', 'public']) as name) as view on view.name = level.view
    left join sdc_school as s on s.survey = c.survey and s.unit = c.unit
    left join sdc_cluster as k
        on k.survey = c.survey and k.unit = replace(c.unit, '{suffix}', '')
    left join size_tells
        on size_tells.survey = c.survey and size_tells.indicator = c.indicator
        and size_tells.area = c.unit and view.name = 'own'
)
select
    (row_number() over places - 1)::integer as place_id,
    seen.* exclude (roll_n),
    if(seen.breakdown = 'total', least(seen.roll_n, seen.most_n), seen.roll_n) as roll_n,
    -- A cluster without figures has no cells; its schools are judged each for itself.
    coalesce(seen.is_released, false) or seen.geography_level <> 'cluster' as is_judged,
    if(is_judged, r.k_base, 0) as k_base,
    -- How many of a group without figures answered is in no table; what they answered is kept.
    if(
        is_judged and (seen.is_released or seen.breakdown = 'total' or seen."group" = '{unknown}'),
        r.k_protected, 0
    ) as k_protected,
    if(is_judged, r.k_numerator, 0) as k_numerator,
    if(is_judged, r.k_complement, 0) as k_complement,
    r.pct_step, r.mean_step, r.interval_step, r.n_step,
    coalesce(seen.is_released, false)
    and seen.empty_status is null and seen.withheld_status is null as is_showable,
    is_judged and seen.base_n < r.k_base as is_small_base,
    is_judged and seen.statistic = 'pct' and seen.y_n < r.k_numerator as is_small_numerator,
    is_judged and seen.statistic = 'pct' and seen.c_n < r.k_complement as is_small_complement,
    seen.empty_status is null
    and (is_small_base or is_small_numerator or is_small_complement) as is_primary,
from seen
inner join sdc_rule as r
    on r.output_class = seen.output_class and r.is_sensitive = seen.is_sensitive
    and r.breakdown = seen.breakdown
window places as (
    partition by seen.survey, seen.indicator
    order by seen.unit, seen.breakdown, seen."group", seen.view
)
order by seen.survey, seen.indicator, place_id
"""

TEMPORARY = (
    "reason", "breakdown", "level", "size", "rule", "input", "parent", "school", "cluster",
    "node", "place", "variable", "hidden", "setting", "figure", "kept", "told", "then",
    "compared", "telling", "telling_story", "earlier", "before", "weight", "weighted",
)  # fmt: skip


@dataclass(frozen=True)
class Sources:
    """Relations on the connection that protection reads.

    `estimates` and `respondents` in the columns of `wellbeing.estimates` and
    `wellbeing.respondents`; `indicators`: indicator, is_sensitive, score_low, score_high;
    `clusters`: engagement, seed_code, cluster_code, the one cluster of a school;
    `geographies`: geography_level, geography_code, geography_name; `weights`: engagement, survey,
    stage, sex, weight, the same for all pupils of a CPP, stage and sex. What has none there counts
    alike.
    """

    estimates: str
    indicators: str
    respondents: str
    clusters: str
    geographies: str
    weights: str


def read_cells(con: duckdb.DuckDBPyConnection, policy: Policy, sources: Sources) -> None:
    """Make the temporary tables `sdc_node`, `_parent`, `_school`, `_cluster` and `_weight`.

    Args:
        con: a connection that sees the relations.
        policy: Table A.
        sources: the relations.

    Raises:
        InputError: cells missing, twice, impossible or not adding up; nothing is protected
            then, since protection follows who is counted where.
    """
    _register_policy(con, policy)
    rule, surveys = policy.clusters, list(policy.clusters.surveys)
    con.execute(_INPUT.format(estimates=sources.estimates, indicators=sources.indicators))
    con.execute(_PARENT.format(clusters=sources.clusters, cluster_surveys=surveys))
    con.execute(_WEIGHT.format(weights=sources.weights))
    _refuse_bad_input(con)
    con.execute(_SCHOOL.format(respondents=sources.respondents))
    con.execute(
        _CLUSTER.format(
            least_schools=rule.least_schools,
            largest_school_pct=rule.largest_school_pct,
            small_schools_least=rule.small_schools_least,
            small_pupils_least=rule.small_pupils_least,
        )
    )
    con.execute(_SMALL.format(suffix=SMALL_SUFFIX))
    _ranges_of_small_schools(con)
    con.execute(_UNKNOWN.format(unknown=UNKNOWN_GROUP, partial=PARTIAL))
    con.execute(
        _NODE.format(
            unknown=UNKNOWN_GROUP,
            suffix=SMALL_SUFFIX,
            smallest_class=policy.smallest_school.output_class,
        )
    )


def _ranges_of_small_schools(con: duckdb.DuckDBPyConnection) -> None:
    """Mean scores of small schools together: t with the pupils' SD (policy.md, Table B)."""
    small = f"unit like '%{SMALL_SUFFIX}' and statistic = 'mean' and base_n > 1"
    sizes = con.execute(f"select distinct base_n from sdc_input where {small}").fetchnumpy()
    n = np.asarray(sizes["base_n"], dtype=np.float64)
    con.register("sdc_t", pa.table({"n": n, "t": t_quantile(n - 1, CONFIDENCE)}))
    con.execute(
        "update sdc_input set ci_low = estimate - t * sd / sqrt(n), "
        f"ci_high = estimate + t * sd / sqrt(n) from sdc_t where n = base_n and {small}"
    )
    con.unregister("sdc_t")


def drop_cells(con: duckdb.DuckDBPyConnection) -> None:
    """Drop what `read_cells` made."""
    for name in TEMPORARY:
        con.execute(f"drop table if exists temp.sdc_{name}")


def _register_policy(con: duckdb.DuckDBPyConnection, policy: Policy) -> None:
    """The policy as temporary tables, so that the rules are joins."""
    _table(con, "sdc_reason", "reason varchar, status varchar", policy.empty_reasons.items())
    _table(
        con,
        "sdc_breakdown",
        "level varchar, breakdown varchar",
        [(level, name) for level, names in policy.breakdowns.items() for name in names],
    )
    _table(
        con,
        "sdc_level",
        "view varchar, level varchar, output_class varchar",
        [
            (OWN if audience == "cpp" else PUBLIC, level, output_class)
            for audience, entry in policy.audiences.items()
            for level, output_class in entry.output_classes.items()
        ],
    )
    _table(
        con,
        "sdc_size",
        "respondents integer, output_class varchar, breakdowns varchar[]",
        [(s.respondents, s.output_class, list(s.breakdowns)) for s in policy.school_sizes],
    )
    _table(
        con,
        "sdc_rule",
        "output_class varchar, breakdown varchar, is_sensitive boolean, "
        "k_base integer, k_protected integer, k_numerator integer, k_complement integer, "
        "pct_step double, mean_step double, interval_step double, n_step double",
        _rule_rows(policy),
    )


def _rule_rows(policy: Policy) -> Iterable[tuple[object, ...]]:
    classes = {c for entry in policy.audiences.values() for c in entry.output_classes.values()}
    classes |= {size.output_class for size in policy.school_sizes}
    breakdowns = {name for names in policy.breakdowns.values() for name in names}
    for name in sorted(classes):
        for breakdown in sorted(breakdowns):
            for is_sensitive in (False, True):
                rule = policy.rule_for(name, is_sensitive=is_sensitive, breakdown=breakdown)
                yield (
                    name,
                    breakdown,
                    is_sensitive,
                    rule.base,
                    policy.protected_base(name, is_sensitive=is_sensitive, breakdown=breakdown),
                    rule.numerator,
                    rule.complement,
                    rule.pct_step,
                    rule.mean_step,
                    rule.interval_step,
                    rule.n_step,
                )


def _table(
    con: duckdb.DuckDBPyConnection, name: str, columns: str, rows: Iterable[Sequence[object]]
) -> None:
    con.execute(f"create or replace temp table {name} ({columns})")
    values = [list(row) for row in rows]
    if values:
        # As one statement: one a row takes as long as the protection of a small programme.
        marks = ", ".join("?" for _ in values[0])
        every = ", ".join(f"({marks})" for _ in values)
        con.execute(f"insert into {name} values {every}", [cell for row in values for cell in row])


def _refuse_bad_input(con: duckdb.DuckDBPyConnection) -> None:
    for what, why, sql in _PROBLEMS:
        text = sql.format(partial=PARTIAL, holds_area=HOLDS_AREA, holds_group=HOLDS_GROUP)
        found = con.execute(f"select min(place), count(*) from ({text})").fetchall()[0]
        if found[1]:
            raise InputError(
                what,
                where=f"estimates, {found[0]} (and {found[1] - 1} more)",
                why=why,
                fix="correct the estimates or the policy; nothing is protected until then",
            )
