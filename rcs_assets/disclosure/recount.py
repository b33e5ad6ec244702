"""Table A counted again: what the checks of `disclosure.estimates` find wrong.

Belongs here: rules that judge the protected rows against `wellbeing.estimates`, derived from
policy.md again. Does not belong here: protection (`cells.py`, `suppress.py`, `rounding.py`),
none of whose code is used but the reading of releases before, the attack
(`estimates_audit.py`), and the wiring (`checks.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from rcs_assets.disclosure.earlier import CELL, KEYED, read_told
from rcs_assets.disclosure.policy import OutputClass, Policy
from rcs_assets.storage import sql_literal

# Who is how large; what each size shows; schools too small for figures, by cluster.
_SIZES = """
sizes as (
    select
        r.survey, r.engagement, r.geography_code, r.respondents_n, c.cluster_code,
        coalesce((
            select arg_max(b.size_class, b.least) from bands as b where b.least <= r.respondents_n
        ), 'none') as size_class,
        coalesce((
            select arg_max(b.breakdowns, b.least) from bands as b where b.least <= r.respondents_n
        ), []) as breakdowns,
    from wellbeing.respondents as r
    left join intake.clusters as c
        on c.engagement = r.engagement and c.seed_code = r.geography_code and c.is_sdc_cluster
        and list_contains({cluster_surveys}, r.survey)
    where r.geography_level = 'school'
),
cluster_sizes as (
    select
        survey, engagement, cluster_code,
        count_if(respondents_n > 0) >= {least_schools}
        and 100 * max(respondents_n) <= {largest_pct} * sum(respondents_n) as is_shown,
        count_if(respondents_n > 0 and size_class = 'none') >= {small_schools}
        and coalesce(sum(respondents_n) filter (where size_class = 'none'), 0) >= {small_pupils}
            as is_small_shown,
    from sizes
    where cluster_code is not null
    group by all
),
"""

# The unprotected cells, with those of small schools together.
_TRUTH = """
truth as (
    select
        tranche, engagement, survey, geography_level, geography_code, breakdown, "group",
        indicator, statistic, coalesce(base_n, 0) as base_n, coalesce(numerator_n, 0) as yes_n,
        estimate, reason,
    from wellbeing.estimates
    union all
    select
        any_value(e.tranche), e.engagement, e.survey, 'cluster', s.cluster_code || '-small',
        'total', 'all', e.indicator, any_value(e.statistic), sum(coalesce(e.base_n, 0)),
        sum(coalesce(e.numerator_n, 0)),
        coalesce(
            100.0 * sum(e.numerator_n) / nullif(sum(e.base_n), 0),
            sum(e.sum_x) / nullif(sum(e.base_n), 0)
        ),
        if(bool_and(e.reason = 'not_asked'), 'not_asked', ''),
    from wellbeing.estimates as e
    inner join sizes as s
        on s.survey = e.survey and s.engagement = e.engagement
        and s.geography_code = e.geography_code and s.size_class = 'none'
    where e.geography_level = 'school' and e.breakdown = 'total' and s.cluster_code is not null
    group by e.engagement, e.survey, s.cluster_code, e.indicator
),
"""

# Each audience's cells as policy.md wants them.
_WANTED = """
wanted as (
    select
        a.audience, t.*,
        case when t.geography_level = 'school' then s.size_class else t.geography_level end
            as level_class,
    from truth as t
    inner join audiences as a
        on
            (a.audience = 'public' and t.geography_level in ('cpp', 'tranche', 'all'))
            or (
                a.audience = 'cpp/' || t.engagement
                and t.geography_level in ('cpp', 'cluster', 'school')
            )
    left join sizes as s
        on t.geography_level = 'school' and s.survey = t.survey
        and s.engagement = t.engagement and s.geography_code = t.geography_code
    left join cluster_sizes as k
        on t.geography_level = 'cluster' and k.survey = t.survey
        and k.engagement = t.engagement
        and k.cluster_code = replace(t.geography_code, '-small', '')
    where case
        when t.geography_level = 'school' then list_contains(s.breakdowns, t.breakdown)
        when t.geography_code like '%-small' then k.is_small_shown
        when t.geography_level = 'cluster' then k.is_shown
        else true
    end
)
"""

_CELLS = """
cells as (
    select
        r.audience, r.tranche, r.engagement, r.survey, r.geography_level, r.geography_code,
        r.breakdown, r."group", r.indicator, r.statistic, r.n, r.estimate, r.ci_low, r.ci_high,
        r.status, r.note, r.status in ('published', 'u') as is_shown,
        w.base_n, w.yes_n, w.base_n - w.yes_n as no_n, w.estimate as true_estimate,
        w.reason, w.audience is not null as is_wanted,
        k.* exclude (level_class, view, breakdown_kind, is_sensitive),
    from disclosure.estimates as r
    left join wanted as w
        on w.audience = r.audience and w.survey = r.survey
        and w.geography_level = r.geography_level and w.geography_code = r.geography_code
        and w.tranche is not distinct from r.tranche
        and w.engagement is not distinct from r.engagement
        and w.breakdown = r.breakdown and w."group" = r."group" and w.indicator = r.indicator
    left join codebook.indicators as i on i.name = r.indicator
    left join thresholds as k
        on k.level_class = w.level_class and k.view = split_part(r.audience, '/', 1)
        and k.is_sensitive = i.is_sensitive
        and k.breakdown_kind = case
            when r.breakdown in {special} then r.breakdown
            when r.breakdown = 'total' then 'total'
            when r.breakdown like '%:%' then 'pair'
            else 'single'
        end
)
"""

# Numbers of pupils that a release before showed, and fewer than so many have changed since: what
# they are off is no error of rounding.
_KEPT = f"""
create or replace temp table recount_kept as
with now as (
    select rowid as cell, audience, {KEYED}, n as now_n, n_step, base_n
    from recount_cells
    where is_shown and geography_level in ('cpp', 'tranche', 'all')
)
select distinct cell
from now
inner join sdc_told using (audience, {CELL})
where
    sdc_told.status in ('published', 'u') and sdc_told.n = now_n
    and abs(base_n - old_base) < $least and abs(base_n - now_n) < n_step / 2 + $least
"""

_PLACE = (
    "audience || ' ' || geography_level || ' ' || geography_code || ' ' || indicator || ' ' "
    "|| breakdown"
)


def recount(con: duckdb.DuckDBPyConnection, policy: Policy, earlier: Sequence[Path] = ()) -> None:
    """Make the temporary tables `recount_wanted`, `_cells` and `_kept` that the rules judge.

    Args:
        con: a warehouse connection, reading.
        policy: Table A, whose rows are combined here anew.
        earlier: folders of all releases before.

    Raises:
        StorageError: a release before cannot be read.
    """
    con.execute(f"create or replace temp table recount_wanted as {_wanted(con, policy)}")
    con.execute(f"create or replace temp table recount_cells as {_cells(policy)}")
    read_told(con, earlier)
    con.execute(_KEPT, {"least": policy.changed_least})
    for name in ("told", "then"):
        con.execute(f"drop table temp.sdc_{name}")


def is_recounted(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether `recount` ran on this connection."""
    found = con.execute(
        "select count(*) from duckdb_tables() where temporary and table_name = 'recount_cells'"
    ).fetchall()
    return bool(found[0][0])


def wrong_cells(con: duckdb.DuckDBPyConnection, rule: str) -> list[str]:
    """Places of `disclosure.estimates` that break one of `RULES`.

    Args:
        con: a connection on which `recount` ran.
        rule: a name in `RULES`.
    """
    return [str(row[0]) for row in con.execute(RULES[rule]).fetchall()]


def _where(condition: str) -> str:
    return f"select distinct {_PLACE} from recount_cells where {condition} order by all"


_STEP = "if(statistic = 'pct', pct_step, mean_step)"
RULES = {
    "complete": f"""
        select distinct place from (
            select {_PLACE} as place from (
                select audience, geography_level, geography_code, indicator, breakdown, "group",
                    survey
                from recount_wanted
                except all
                select audience, geography_level, geography_code, indicator, breakdown, "group",
                    survey
                from disclosure.estimates
            )
            union all
            select {_PLACE} from (
                select audience, geography_level, geography_code, indicator, breakdown, "group",
                    survey
                from disclosure.estimates
                except all
                select audience, geography_level, geography_code, indicator, breakdown, "group",
                    survey
                from recount_wanted
            )
        )
        order by all
    """,
    "thresholds": _where(
        "is_shown and (not is_wanted or reason <> '' or k_base is null or base_n < k_base "
        "or (statistic = 'pct' and (yes_n < k_yes or no_n < k_no)))"
    ),
    "rounding": _where(
        f"""
        is_shown and (
            abs(n - round(n / n_step) * n_step) > 1e-6
            or (
                abs(n - base_n) > n_step / 2 + 1e-6
                and rowid not in (from recount_kept)
            )
            or abs(estimate - round(estimate / {_STEP}) * {_STEP}) > 1e-6
            or abs(estimate - true_estimate) > {_STEP} / 2 + 1e-6
            or abs(ci_low - round(ci_low / {_STEP}) * {_STEP}) > 1e-6
            or abs(ci_high - round(ci_high / {_STEP}) * {_STEP}) > 1e-6
        )
        """
    ),
    "silence": _where(
        """
        not is_shown and (
            n is not null or estimate is not null or ci_low is not null or ci_high is not null
            or (
                status <> 'c'
                and (note is not null or (base_n > 0 and reason <> 'not_comparable'))
            )
            or (note = 'low' and (base_n < k_base or yes_n >= k_yes))
            or (note = 'high' and (base_n < k_base or no_n >= k_no))
            or note not in ('low', 'high')
        )
        """
    ),
    # Every group of a breakdown must reach the group's base.
    "groups": f"""
        select distinct {_PLACE} from (
            select
                audience, geography_level, geography_code, indicator, breakdown,
            from recount_cells
            where breakdown <> 'total' and reason not in ('not_asked', 'no_roll')
            group by all
            having bool_or(is_shown) and bool_or(base_n < k_base)
        )
        order by all
    """,
    # The public sees nothing of an area that the area's own package hides.
    "public": """
        select distinct p.geography_code || ' ' || p.indicator || ' ' || p.breakdown
        from recount_cells as p
        inner join recount_cells as o
            on o.audience = 'cpp/' || p.engagement and o.survey = p.survey
            and o.geography_level = 'cpp' and o.breakdown = p.breakdown and o."group" = p."group"
            and o.indicator = p.indicator
        where p.audience = 'public' and p.geography_level = 'cpp'
            and p.is_shown and o.status = 'c'
        order by all
    """,
    # One hidden group beside shown ones and a shown total: rounding must leave it open. Schools
    # and clusters, whose shown figures are the counts' own; areas above are weighted.
    "one_hidden": f"""
        select distinct {_PLACE} from (
            select
                c.audience, c.geography_level, c.geography_code, c.indicator, c.breakdown,
            from recount_cells as c
            inner join recount_cells as t
                on t.audience = c.audience and t.survey = c.survey
                and t.geography_level = c.geography_level
                and t.geography_code = c.geography_code
                and t.indicator = c.indicator and t.breakdown = 'total' and t.is_shown
            where
                c.breakdown in ('sex', 'stage') and c.statistic = 'pct'
                and c.geography_level in ('school', 'cluster')
            group by
                c.audience, c.survey, c.geography_level, c.geography_code, c.indicator,
                c.breakdown
            having count_if(c.status = 'c') = 1 and (
                -- The most that the hidden group's answers can be.
                any_value((t.estimate + t.pct_step / 2) / 100 * (t.n + t.n_step / 2))
                - sum(greatest(
                    c.k_yes, (c.estimate - c.pct_step / 2) / 100 * (c.n - c.n_step / 2)
                )) filter (where c.is_shown)
                < least(max(c.k_yes) filter (where c.status = 'c'),
                    max(c.base_n) filter (where c.status = 'c')) - 1e-6
                and max(c.yes_n < c.k_yes) filter (where c.status = 'c')
                and max(c.note is null) filter (where c.status = 'c')
            )
        )
        order by all
    """,
}


def _wanted(con: duckdb.DuckDBPyConnection, policy: Policy) -> str:
    rule = policy.clusters
    engagements = con.execute(
        "select distinct engagement from wellbeing.estimates where engagement is not null"
    ).fetchall()
    audiences = ["public", *(f"cpp/{row[0]}" for row in sorted(engagements))]
    listed = ", ".join(f"({sql_literal(audience)})" for audience in audiences)
    return (
        f"with bands as ({' union all '.join(_band_rows(policy))}), "
        f"audiences as (select * from (values {listed}) as a (audience)), "
        + _SIZES.format(
            cluster_surveys=list(rule.surveys),
            least_schools=rule.least_schools,
            largest_pct=rule.largest_school_pct,
            small_schools=rule.small_schools_least,
            small_pupils=rule.small_pupils_least,
        )
        + _TRUTH
        + _WANTED
        + "from wanted"
    )


def _cells(policy: Policy) -> str:
    thresholds = " union all ".join(_threshold_rows(policy))
    return (
        f"with thresholds as ({thresholds}), wanted as (from recount_wanted), "
        + _CELLS.format(special=(*policy.special, ""))
        + " from cells"
    )


def _band_rows(policy: Policy) -> Iterable[str]:
    for size in policy.school_sizes:
        yield (
            f"select {size.respondents} as least, "
            f"{sql_literal(size.output_class)} as size_class, {list(size.breakdowns)} as breakdowns"
        )


def _threshold_rows(policy: Policy) -> Iterable[str]:
    """Table A by level, audience, kind of breakdown and sensitivity; the strictest entry wins."""
    classes = [
        (level, view, name)
        for view, audience in policy.audiences.items()
        for level, name in audience.output_classes.items()
        if level != "school"
    ]
    classes += [(size.output_class, "cpp", size.output_class) for size in policy.school_sizes]
    for level, view, name in sorted(set(classes)):
        own = policy.output_classes[name]
        for kind in ("total", "single", "pair", *policy.special):
            special = (
                [policy.output_classes[policy.special[kind]]] if kind in policy.special else []
            )
            for is_sensitive in (False, True):
                extra = [policy.output_classes["sensitive"]] if is_sensitive else []
                yield _threshold_row(level, view, kind, is_sensitive, own, [*special, *extra])


def _threshold_row(
    level: str,
    view: str,
    kind: str,
    is_sensitive: bool,
    own: OutputClass,
    others: list[OutputClass],
) -> str:
    base = own.base
    if kind == "pair" and own.pair_base:
        base = own.pair_base
    elif kind != "total" and own.group_base:
        base = own.group_base
    rows = [own, *others]
    pct_steps = [r.pct_step for r in rows]
    if level.startswith("school"):
        pct_steps += [r.school_pct_step for r in rows]
    return (
        f"select {sql_literal(level)} as level_class, {sql_literal(view)} as view, "
        f"{sql_literal(kind)} as breakdown_kind, {is_sensitive} as is_sensitive, "
        f"{max([base, *(r.base for r in others)]) + sum(r.base_plus for r in rows)} as k_base, "
        f"{max(r.numerator for r in rows)} as k_yes, {max(r.complement for r in rows)} as k_no, "
        f"{max(pct_steps)} as pct_step, {max(r.mean_step for r in rows)} as mean_step, "
        f"{max(r.n_step for r in rows)} as n_step"
    )
