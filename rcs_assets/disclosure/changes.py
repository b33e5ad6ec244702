"""Changes between waves as everybody may see them, and the same counted again.

Belongs here: protecting `wellbeing.changes` (policy.md, Table A, row change between waves) and the
rules that judge the result. Does not belong here: the changes themselves (`wellbeing`), the
waves' own figures (`rules.py`), Dagster.

A change is made of two figures that the public package shows: it is their difference as they are
shown, never that of the unrounded ones, which would tell what rounding hides. Its likely range
follows from their ranges as they are shown (square and add: Newcombe 1998, Zou and Donner 2008)
and from their correlation, rounded down to 0.1 (a negative one, which makes the range wider, away
from 0). So nothing in a row tells more than the package does, but for one digit of the
correlation; `tells_nothing_new` proves that of the rows as they stand. A CPP's own package has
the public rows: figures that only it sees make no change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from rcs_assets.codebook.model import Codebook
from rcs_assets.disclosure.beside import PUBLIC
from rcs_assets.disclosure.held import NO_HOLDS, Holds, is_held
from rcs_assets.disclosure.policy import CHANGE, CellRule, Policy
from rcs_assets.disclosure.rounding import register_rounding

# The least correlation of estimates that is told apart.
CORRELATION_STEP = 0.1
# Why there is no change, as `note` says it; an empty cell's own reason has its status.
NO_CHANGE = ("one_wave", "stages_differ", "not_comparable")

_PARTS = """
create or replace temp table sdc_changes as
with figures as (
    from disclosure.estimates where audience = 'public' and geography_level = 'cpp'
)
select
    changes.*, flags.is_sensitive, later.geography_name,
    earlier.estimate::double as shown_earlier, later.estimate::double as shown_later,
    earlier.ci_low::double as low_earlier, earlier.ci_high::double as high_earlier,
    later.ci_low::double as low_later, later.ci_high::double as high_later,
    earlier.n::double as shown_n_earlier, later.n::double as shown_n_later,
    earlier.status as status_earlier, later.status as status_later
from wellbeing.changes as changes
inner join sdc_change_flags as flags using (indicator)
inner join figures as later using (engagement, survey, indicator, breakdown, "group")
left join figures as earlier
    on
        changes.earlier_engagement = earlier.engagement
        and changes.survey = earlier.survey
        and changes.indicator = earlier.indicator
        and changes.breakdown = earlier.breakdown
        and changes."group" = earlier."group"
"""

_SHOWN = """
with judged as (
    select
        *,
        rcs_round_down(coalesce(correlation, 0), {correlation_step}) as r,
        least(shown_n_earlier, shown_n_later) as least_n,
        case
            when reason in ({no_change}) then 'x'
            when 'z' in (status_earlier, status_later) then 'z'
            when 'c' in (status_earlier, status_later) then 'c'
            when 'x' in (status_earlier, status_later) or reason <> '' then 'x'
            when {is_held} then 'c'
            when
                least(earlier_n, later_n) < if(is_sensitive, {sensitive_base}, {base})
                or changed_n < {contributors}
                or (
                    statistic = 'pct'
                    and least(
                        earlier_numerator_n, later_numerator_n,
                        earlier_n - earlier_numerator_n, later_n - later_numerator_n
                    ) < if(is_sensitive, {sensitive_numerator}, {numerator})
                )
                then 'c'
            when 'u' in (status_earlier, status_later) then 'u'
            else 'published'
        end as stated
    from sdc_changes
),
ranged as (
    select
        *,
        shown_later - shown_earlier as change,
        if(statistic = 'pct', {pct_step}, {mean_step}) as step,
        {low} as range_low,
        {high} as range_high
    from judged
),
rounded as (
    select
        *,
        rcs_round_down(range_low, step) as low,
        rcs_round_up(range_high, step) as high,
        case
            when stated <> 'published' then stated
            when low is null or (statistic = 'pct' and high - low > {wide}) then 'u'
            else 'published'
        end as status,
        status in ('published', 'u') as is_shown
    from ranged
)
select
    engagement, earlier_engagement, survey, geography_code, geography_name, breakdown, "group",
    indicator, statistic,
    if(is_shown, least_n, null)::decimal(9, 0) as n,
    if(is_shown, shown_earlier, null)::decimal(7, 1) as earlier_estimate,
    if(is_shown, shown_later, null)::decimal(7, 1) as later_estimate,
    if(is_shown, change, null)::decimal(7, 1) as change,
    if(is_shown, low, null)::decimal(7, 1) as ci_low,
    if(is_shown, high, null)::decimal(7, 1) as ci_high,
    if(is_shown, verdict, null) as verdict,
    status,
    if(reason in ({no_change}), reason, null) as note
from rounded
order by all
"""


def _range(way: str, r: str = "r") -> str:
    """One end of the range of a difference from the ranges of its parts (square and add)."""
    later, earlier = ("low", "high") if way == "-" else ("high", "low")
    own = f"abs(shown_later - {later}_later)"
    other = f"abs(shown_earlier - {earlier}_earlier)"
    return (
        f"shown_later - shown_earlier {way} "
        f"sqrt(greatest({own} * {own} + {other} * {other} - 2 * {r} * {own} * {other}, 0))"
    )


def protect_changes(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    codebook: Codebook,
    holds: Holds = NO_HOLDS,
) -> pa.Table:
    """Changes of CPPs between waves, as everybody may see them.

    Args:
        con: a connection that sees `wellbeing.changes` and `disclosure.estimates`; the temporary
            table `sdc_changes` is made.
        policy: Table A, row change between waves.
        codebook: which indicators are sensitive.
        holds: rows that releases before forbid.

    Returns:
        The columns of the release's table `changes`, ordered by all. `n` is the smaller of the
        two that are shown, `note` the reason where waves cannot be compared. `status` is the
        worst of the two figures', `c` too where a base, numerator, complement or the pupils who
        are in one wave alone are fewer than the row wants, `u` where the range is wide.
    """
    register_rounding(con)
    _register_flags(con, codebook)
    con.execute(_PARTS)
    con.unregister("sdc_change_flags")
    ordinary, sensitive = (_rule(policy, is_sensitive) for is_sensitive in (False, True))
    holds.register(con)
    sql = _SHOWN.format(
        is_held=is_held("changes", f"'{PUBLIC}'"),
        correlation_step=CORRELATION_STEP,
        no_change=", ".join(f"'{reason}'" for reason in NO_CHANGE),
        base=ordinary.base,
        sensitive_base=sensitive.base,
        numerator=_least_count(ordinary),
        sensitive_numerator=_least_count(sensitive),
        contributors=policy.least_changed_contributors,
        pct_step=ordinary.pct_step,
        mean_step=ordinary.mean_step,
        wide=policy.unreliable_interval_wider_than,
        low=_range("-"),
        high=_range("+"),
    )
    shown = con.execute(sql).to_arrow_table()
    con.execute("drop table temp.sdc_changes")
    return shown


def _register_flags(con: duckdb.DuckDBPyConnection, codebook: Codebook) -> None:
    indicators = codebook.indicators.values()
    con.register(
        "sdc_change_flags",
        pa.table(
            {
                "indicator": pa.array([i.name for i in indicators], pa.string()),
                "is_sensitive": pa.array([i.is_sensitive for i in indicators], pa.bool_()),
            }
        ),
    )


def _rule(policy: Policy, is_sensitive: bool) -> CellRule:
    return policy.rule_for(CHANGE, is_sensitive=is_sensitive)


def _least_count(rule: CellRule) -> int:
    return max(rule.numerator, rule.complement)


@dataclass(frozen=True)
class ChangeRule:
    """A rule on `disclosure.changes`: its name, sentence, source, and the rows that break it."""

    name: str
    sentence: str
    source: str
    wrong: Callable[[duckdb.DuckDBPyConnection, Policy, Codebook], list[str]]


_PLACE = (
    "changes.engagement || ' ' || changes.indicator || ' ' || changes.breakdown || ' ' "
    '|| changes."group"'
)
# Counted again from the pupils' figures: bases, numerators, and who is in one wave alone.
_COUNTED = f"""
with cells as (
    from wellbeing.estimates where geography_level = 'cpp'
),
answers as (
    select engagement, survey, indicator, project_id, stage, sex
    from (
        unpivot (
            select
                pupils.* exclude (
                    record_id, tranche, council_code, seed_code, simd_quintile
                ),
                linked.project_id
            from wellbeing.indicator_values as pupils
            inner join wellbeing.weights as weights using (engagement, record_id)
            inner join linkage.linked as linked using (engagement, record_id)
            where engagement in (
                select engagement from disclosure.changes where change is not null
                union all
                select earlier_engagement from disclosure.changes where change is not null
            )
        )
        on columns(* exclude (engagement, survey, project_id, stage, sex))
        into name indicator value answer
    )
),
known as (
    select engagement, survey, indicator, project_id,
        unnest(['all', stage, sex]) as "group"
    from answers
),
shared as (
    select
        changes.engagement, changes.survey, changes.indicator, changes."group",
        count(*) as shared_n
    from disclosure.changes as changes
    inner join known as later using (engagement, survey, indicator, "group")
    inner join known as earlier
        on
            changes.earlier_engagement = earlier.engagement
            and later.survey = earlier.survey
            and later.indicator = earlier.indicator
            and later."group" = earlier."group"
            and later.project_id = earlier.project_id
    group by all
)
select
    {_PLACE} as place, flags.is_sensitive, changes.statistic, changes.status,
    changes.change is not null as is_shown,
    least(earlier.base_n, later.base_n) as base_n,
    least(
        earlier.numerator_n, later.numerator_n, earlier.base_n - earlier.numerator_n,
        later.base_n - later.numerator_n
    ) as count_n,
    earlier.base_n + later.base_n - 2 * coalesce(shared.shared_n, 0) as changed_n
from disclosure.changes as changes
inner join sdc_change_flags as flags using (indicator)
inner join cells as later using (engagement, survey, indicator, breakdown, "group")
left join cells as earlier
    on
        changes.earlier_engagement = earlier.engagement
        and changes.survey = earlier.survey
        and changes.indicator = earlier.indicator
        and changes.breakdown = earlier.breakdown
        and changes."group" = earlier."group"
left join shared
    on
        changes.engagement = shared.engagement
        and changes.survey = shared.survey
        and changes.indicator = shared.indicator
        and changes."group" = shared."group"
"""


def obeys_table_a(con: duckdb.DuckDBPyConnection, policy: Policy, codebook: Codebook) -> list[str]:
    """Shown changes whose base, counts or contributors are fewer than Table A wants."""
    _register_flags(con, codebook)
    row = policy.output_classes[CHANGE]
    extra = policy.output_classes["sensitive"]
    rows = con.execute(
        f"""
        select place from ({_COUNTED})
        where is_shown and not coalesce(
            base_n >= $base + if(is_sensitive, $plus, 0)
            and (statistic = 'mean' or count_n >= if(is_sensitive, $high, $low))
            and changed_n >= $changed,
            false
        )
        order by all
        """,
        {
            "base": row.base,
            "plus": extra.base_plus,
            "low": max(row.numerator, row.complement),
            "high": max(row.numerator, row.complement, extra.numerator, extra.complement),
            "changed": policy.least_changed_contributors,
        },
    ).fetchall()
    con.unregister("sdc_change_flags")
    return [row[0] for row in rows]


def tells_nothing_new(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    codebook: Codebook,  # noqa: ARG001
) -> list[str]:
    """Rows that do not follow from what the public package shows beside them.

    Each shown change is the difference of the two shown figures, its range the one that their
    ranges give for one of the 21 correlations from -1 to 1; a hidden row holds nothing.
    """
    row = policy.output_classes[CHANGE]
    register_rounding(con)
    step = f"if(changes.statistic = 'pct', {row.pct_step}, {row.mean_step})"
    low, high = (_range(way, "rs.r") for way in "-+")
    rows = con.execute(
        f"""
        with figures as (
            select
                engagement, survey, indicator, breakdown, "group", n::double as n,
                estimate::double as estimate, ci_low::double as low, ci_high::double as high
            from disclosure.estimates
            where audience = 'public' and geography_level = 'cpp' and estimate is not null
        ),
        rs as (select i * {CORRELATION_STEP} as r from range(-10, 11) as t(i)),
        tried as (
            select
                {_PLACE} as place, changes.*,
                earlier.estimate as shown_earlier, later.estimate as shown_later,
                earlier.low as low_earlier, earlier.high as high_earlier,
                later.low as low_later, later.high as high_later,
                least(earlier.n, later.n) as least_n,
                rcs_round_down({low}, {step}) as low, rcs_round_up({high}, {step}) as high
            from disclosure.changes as changes
            cross join rs
            left join figures as later using (engagement, survey, indicator, breakdown, "group")
            left join figures as earlier
                on
                    changes.earlier_engagement = earlier.engagement
                    and changes.survey = earlier.survey
                    and changes.indicator = earlier.indicator
                    and changes.breakdown = earlier.breakdown
                    and changes."group" = earlier."group"
        )
        select place
        from tried
        group by place, survey
        having not coalesce(
            bool_or(
                if(
                    status in ('published', 'u'),
                    abs(change::double - (shown_later - shown_earlier)) < 1e-6
                    and abs(earlier_estimate::double - shown_earlier) < 1e-6
                    and abs(later_estimate::double - shown_later) < 1e-6
                    and n::double = least_n
                    and (abs(ci_low::double - low) < 1e-6 and abs(ci_high::double - high) < 1e-6
                        or low is null and ci_low is null and ci_high is null),
                    coalesce(
                        n, earlier_estimate, later_estimate, change, ci_low, ci_high
                    ) is null and verdict is null
                )
            ),
            false
        )
        order by all
        """
    ).fetchall()
    return [row[0] for row in rows]


RULES = (
    ChangeRule(
        "changes_obey_table_a",
        "Each change that is shown has its bases, numerators and changed contributors",
        "policy.md, Table A, change between waves; counted again from wellbeing",
        obeys_table_a,
    ),
    ChangeRule(
        "changes_tell_nothing_new",
        "Each change follows from two figures that the public package shows, which are audited",
        "policy.md, How protection is judged (an interval gives away its inputs)",
        tells_nothing_new,
    ),
)
