"""The protected spend and need × reach, counted again from services.

Belongs here: rules that find what is wrong in `disclosure.spend` and `disclosure.reach`, as
plain functions with what a check has to say of each. Does not belong here: telling Dagster
(`checks.py`), and protection (`spend.py`, `reach.py`), none of whose code is used: what is
looked for is derived from policy.md and the unprotected tables again. The linear programs of
`spend_audit.py` are the attacker's, and are asked about the table as it would be released.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import duckdb

from rcs_assets.disclosure.beside import BESIDE
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.row_differences import money_known
from rcs_assets.disclosure.spend_audit import unsafe_spend
from rcs_assets.storage import sql_literal

SPEND = ("disclosure", "spend")
REACH = ("disclosure", "reach")
NO_RELEASE = "do not publish; report the check and its places as a defect of disclosure"


@dataclass(frozen=True)
class Look:
    """What a rule may look at: the warehouse, the policy, and which indicators count a need.

    `left_out` names the engagements that the operator left out, `earlier` the folders of all
    releases before.
    """

    con: duckdb.DuckDBPyConnection
    policy: Policy
    needs: Mapping[str, Sequence[str]]
    left_out: Set[str]
    earlier: Sequence[Path] = ()


@dataclass(frozen=True)
class Found:
    """The places that break a rule, what was looked at, and whether there was anything."""

    places: list[str]
    looked_at: str
    is_any: bool


@dataclass(frozen=True)
class Recount:
    """A rule: the table that it judges, its name and sentence, and how it looks."""

    asset: tuple[str, str]
    name: str
    sentence: str
    source: str
    fix: str
    look: Callable[[Look], Found]


# Each released cell of spend with whose money is in it. `all` matches every group.
_SPEND = """
with cells as (
    select
        row_number() over (order by audience, engagement, sector, tier, age_band,
            funding_origin, domain) as cell_id,
        *,
        gbp::double as shown_gbp,
    from disclosure.spend
    where audience = 'public'
),
money as (
    select
        *,
        not list_contains({open}, provider_type) as is_closed_provider,
        is_closed_provider or is_confidential as is_closed,
        if(is_closed_provider, provider_name, provider_type) as body,
    from services.spend
),
holdings as (
    select
        cells.cell_id, cells.engagement, cells.sector, cells.tier, cells.age_band,
        cells.funding_origin, cells.domain,
        body, is_closed, is_closed_provider, sum(money.gbp) as gbp,
    from cells
    inner join money
        on
            cells.engagement = money.engagement
            and cells.sector in (money.sector, 'all')
            and cells.tier in (money.tier, 'all')
            and cells.age_band in (money.age_band, 'all')
            and cells.funding_origin in (money.funding_origin, 'all')
            and cells.domain in (money.domain, 'all')
    group by all
    having sum(money.gbp) > 0
),
ranked as (
    select
        *,
        row_number() over (partition by cell_id, is_closed order by gbp desc) as place,
    from holdings
),
truth as (
    select
        cell_id,
        sum(gbp) as total_gbp,
        count(distinct body) as bodies_n,
        bool_or(is_closed_provider) as has_closed_provider,
        coalesce(max(gbp) filter (is_closed and place = 1), 0) as first_gbp,
        coalesce(max(gbp) filter (is_closed and place = 2), 0) as second_gbp,
        coalesce(sum(gbp) filter (is_closed and place <= {top}), 0) as top_gbp,
    from ranked
    group by cell_id
),
judged as (
    select
        cells.*, coalesce(total_gbp, 0) as total_gbp,
        coalesce(bodies_n, 0) as bodies_n,
        coalesce(has_closed_provider, false) as has_closed_provider,
        coalesce(first_gbp, 0) as first_gbp, coalesce(second_gbp, 0) as second_gbp,
        coalesce(top_gbp, 0) as top_gbp,
        cells.engagement || ' ' || cells.sector || ' ' || tier || ' ' || age_band || ' '
        || funding_origin || ' ' || domain as place,
    from cells
    left join truth using (cell_id)
)
"""


def _spend_sql(look: Look) -> str:
    rule = look.policy.spend
    listed = ", ".join(sql_literal(name) for name in rule.open_provider_types)
    return _SPEND.format(open=f"[{listed}]::varchar[]", top=rule.dominance_holdings)


def _wrong_spend(look: Look, condition: str) -> Found:
    rows = look.con.execute(
        f"{_spend_sql(look)} select place from judged where {condition} order by all"
    ).fetchall()
    total = look.con.execute("select count(*) from disclosure.spend").fetchall()[0][0]
    return Found([row[0] for row in rows], f"{total} cells", total > 0)


def shown_spend_has_its_holdings(look: Look) -> Found:
    """No shown cell tells a closed holding: few providers, p per cent, dominance."""
    rule = look.policy.spend
    return _wrong_spend(
        look,
        f"""
        status <> 'c' and first_gbp > 0 and (
            (has_closed_provider and bodies_n < {rule.least_holdings})
            or total_gbp - first_gbp - second_gbp < {rule.p_pct} / 100 * first_gbp
            or top_gbp > {rule.dominance_pct} / 100 * total_gbp
        )
        """,
    )


def shown_spend_is_rounded(look: Look) -> Found:
    """Shown pounds and children are multiples of their step, pounds nearest to the true sum."""
    rule = look.policy.spend
    return _wrong_spend(
        look,
        f"""
        status not in ('published', 'c')
        or (status = 'c' and (gbp is not null or children_n is not null))
        or (status = 'published' and not coalesce(
            gbp % {rule.gbp_step:.0f} = 0
            and abs(gbp::double - total_gbp) <= {rule.gbp_step / 2} + 1e-3
            and coalesce(children_n % {rule.n_step:.0f}, 0) = 0,
            false
        ))
        """,
    )


def hidden_spend_is_not_recovered(look: Look) -> Found:
    """No attacker works out a closed holding from what is shown, or was and has not changed."""
    rule = look.policy.spend
    con = look.con
    sql = _spend_sql(look)
    line_key, row_key = BESIDE["spend"].keys
    con.register("known_spend", money_known(con, look.earlier, look.policy))
    con.execute(
        f"create or replace temp table audited_spend as {sql} "
        "select judged.* exclude (shown_gbp), 0 as moved_gbp, "
        "coalesce(told_gbp, shown_gbp) as shown_gbp, told_gbp is not null as is_told "
        "from judged left join known_spend as known "
        f"on known.line_key = {line_key} and known.row_key = {row_key}"
    )
    con.unregister("known_spend")
    con.execute(f"create or replace temp table audited_holdings as {sql} from holdings")
    cells = "(select * exclude (gbp), total_gbp as gbp from audited_spend)"
    con.register("found_spend", unsafe_spend(con, cells, "audited_holdings", rule))
    rows = con.execute(
        "select place from audited_spend semi join found_spend using (cell_id) order by all"
    ).fetchall()
    con.unregister("found_spend")
    hidden = con.execute("select count(*) from audited_spend where status = 'c'").fetchall()[0][0]
    total = con.execute("select count(*) from audited_spend").fetchall()[0][0]
    return Found([row[0] for row in rows], f"{hidden} hidden cells", total > 0)


def spend_is_alike_for_all(look: Look) -> Found:
    """Every engagement with spend has its total, and its CPP sees what the public sees."""
    left_out = ", ".join(sql_literal(key) for key in sorted(look.left_out)) or "null"
    rows = look.con.execute(f"""
        with wanted as (
            select distinct engagement from services.spend
            where coalesce(engagement not in ({left_out}), true)
        ),
        seen as (
            select engagement, count_if(
                sector = 'all' and tier = 'all' and age_band = 'all'
                and funding_origin = 'all' and domain = 'all'
            ) as totals_n
            from disclosure.spend
            where audience = 'public'
            group by engagement
        ),
        differing as (
            (select * exclude (audience) from disclosure.spend where audience = 'public'
             except all
             select * exclude (audience) from disclosure.spend where audience <> 'public')
            union all
            (select * exclude (audience) from disclosure.spend where audience <> 'public'
             except all
             select * exclude (audience) from disclosure.spend where audience = 'public')
            union all
            select * exclude (audience) from disclosure.spend
            where audience <> 'public' and audience <> 'cpp/' || engagement
        )
        select engagement || ' has no total' from wanted left join seen using (engagement)
        where coalesce(totals_n, 0) <> 1
        union all
        select distinct engagement || ' differs' from differing
        order by all
    """).fetchall()
    total = look.con.execute("select count(*) from disclosure.spend").fetchall()[0][0]
    return Found([row[0] for row in rows], f"{total} cells", total > 0)


# Each released row of need × reach beside its counts.
_REACH = """
with cells as (
    select
        shown.*,
        truth.* exclude (engagement, breakdown, "group", need, need_level, service,
            observed_pct, ci_low, ci_high, corrected_pct, bound_low, bound_high),
        truth.observed_pct as true_observed,
        truth.bound_low as true_low,
        truth.bound_high as true_high,
        shown.status in ('published', 'u') as is_shown,
        shown.audience || ' ' || shown.engagement || ' ' || shown.need || ' '
        || shown.breakdown || ' ' || shown.service as place,
    from disclosure.reach as shown
    left join services.reach as truth
        using (engagement, breakdown, "group", need, need_level, service)
)
"""
# The first holds every pupil of the second: what is left over is a count too.
_WITHIN = (
    ("asn_support", "both"),
    ("social_work", "both"),
    ("any_service", "both"),
    ("any_service", "asn_support"),
    ("any_service", "social_work"),
    ("any_asn", "asn_support"),
)


def _wrong_reach(look: Look, sql: str) -> Found:
    rows = look.con.execute(f"{_REACH} {sql} order by all").fetchall()
    total = look.con.execute("select count(*) from disclosure.reach").fetchall()[0][0]
    return Found([row[0] for row in rows], f"{total} cells", total > 0)


def shown_reach_obeys_table_a(look: Look) -> Found:
    """Need row, pupils with a service and without reach Table A, and so do their differences."""
    rule = look.policy.reach
    least = max(rule.numerator, rule.complement)
    pairs = ", ".join(f"('{whole}', '{part}')" for whole, part in _WITHIN)
    return _wrong_reach(
        look,
        f"""
        select distinct place from cells
        where is_shown and not coalesce(
            need_n >= {rule.base} and served_n >= {rule.numerator}
            and need_n - served_n >= {rule.complement},
            false
        )
        union
        select distinct whole.place || ' less ' || part.service
        from cells as whole
        inner join (values {pairs}) as within (whole, part) on within.whole = whole.service
        inner join cells as part
            on
                part.service = within.part
                and part.audience = whole.audience
                and part.engagement = whole.engagement
                and part.need = whole.need
                and part.need_level = whole.need_level
                and part.breakdown = whole.breakdown
                and part."group" = whole."group"
        where whole.is_shown and part.is_shown and whole.served_n - part.served_n < {least}
        """,
    )


def shown_reach_is_rounded(look: Look) -> Found:
    """Shown figures are multiples of their steps and near the truth; hidden rows have none."""
    rule = look.policy.reach
    figures = ("n", "observed_pct", "ci_low", "ci_high", "corrected_pct", "bound_low", "bound_high")
    empty = " and ".join(f"{name} is null" for name in figures)
    whole = " and ".join(
        f"{name}::double % {rule.pct_step} = 0"
        for name in figures
        if name not in ("n", "ci_low", "ci_high")
    )
    return _wrong_reach(
        look,
        f"""
        select distinct place from cells
        where status not in ('published', 'c', 'x', 'u') or (not is_shown and not ({empty}))
        or (is_shown and not coalesce(
            {whole} and n::double % {rule.n_step} = 0
            and ci_low::double % {rule.interval_step} = 0
            and ci_high::double % {rule.interval_step} = 0
            and abs(n - need_n) <= {rule.n_step / 2}
            and abs(observed_pct::double - true_observed) <= {rule.pct_step / 2} + 1e-6
            and bound_low <= bound_high
            and observed_pct between bound_low and bound_high
            and corrected_pct between bound_low and bound_high
            -- Rounding moves a bound by half a step at most, and only outward beyond.
            and bound_low::double <= true_low + {rule.pct_step / 2} + 1e-6
            and bound_high::double >= true_high - {rule.pct_step / 2} - 1e-6,
            false
        ))
        """,
    )


def reach_hides_with_its_indicator(look: Look) -> Found:
    """Where an indicator that counts the same pupils is hidden, so is the need."""
    needs = [
        (need, indicator) for need, indicators in look.needs.items() for indicator in indicators
    ]
    listed = ", ".join(f"('{need}', '{indicator}')" for need, indicator in needs)
    return _wrong_reach(
        look,
        f"""
        select distinct cells.place || ' beside ' || hidden.indicator
        from cells
        inner join (values {listed}) as needs (need, indicator) using (need)
        inner join disclosure.estimates as hidden
            on
                hidden.audience in (cells.audience, 'cpp/' || cells.engagement)
                and hidden.geography_level = 'cpp'
                and hidden.engagement = cells.engagement
                and hidden.indicator = needs.indicator
                and hidden.status = 'c'
                and (
                    hidden.breakdown = cells.breakdown
                    or (cells.service = 'any_asn' and hidden.breakdown = 'asn')
                )
        where cells.is_shown
        """,
    )


def reach_cannot_be_subtracted(look: Look) -> Found:
    """Rows of a need are shown alike: no level, group or total is left to work out."""
    return _wrong_reach(
        look,
        """
        , blocks as (
            select
                audience, engagement, need, breakdown, service,
                bool_or(is_shown) as is_shown, bool_or(status = 'c') as is_hidden,
            from cells
            group by all
        )
        select audience || ' ' || engagement || ' ' || need || ' ' || breakdown as place
        from blocks where is_shown and is_hidden
        union
        select own.audience || ' ' || own.engagement || ' ' || own.need || ' ' || own.breakdown
        from blocks as own
        inner join blocks as total using (audience, engagement, need, service)
        where total.breakdown = 'total' and own.is_shown and total.is_hidden
        union
        select public.engagement || ' ' || public.need || ' shown to the public only'
        from blocks as public
        inner join blocks as own using (engagement, need, breakdown, service)
        where public.audience = 'public' and own.audience <> 'public'
        and public.is_shown and own.is_hidden
        """,
    )


def every_reach_row_is_judged(look: Look) -> Found:
    """Each audience has each row of services.reach that it may know exactly once."""
    key = 'engagement, breakdown, "group", need, need_level, service'
    rows = look.con.execute(f"""
        with audiences as (
            select distinct 'cpp/' || engagement as audience from services.reach
            union all
            select 'public'
        ),
        wanted as (
            select audience, {key} from services.reach
            inner join audiences on audience in ('public', 'cpp/' || engagement)
        ),
        held as (select audience, {key} from disclosure.reach)
        select distinct audience || ' ' || engagement
        from (
            (from wanted except all from held) union all (from held except all from wanted)
        )
        order by all
    """).fetchall()
    total = look.con.execute("select count(*) from disclosure.reach").fetchall()[0][0]
    return Found([row[0] for row in rows], f"{total} cells", total > 0)


SPEND_RULES = (
    Recount(
        SPEND,
        "spend_is_alike_for_all",
        "Every engagement has its total, and a CPP sees of its own spend what the public sees",
        "disclosure policy, spend",
        "run: rcs materialise (disclosure is older than spend)",
        spend_is_alike_for_all,
    ),
    Recount(
        SPEND,
        "shown_spend_has_its_holdings",
        "No shown sum tells a confidential holding: 3 providers, p per cent, (2, 90)",
        "policy.md, Table A, row spend; counted again from services.spend",
        NO_RELEASE,
        shown_spend_has_its_holdings,
    ),
    Recount(
        SPEND,
        "shown_spend_is_rounded",
        "Pounds are multiples of 1,000 nearest to the true sum, and a hidden sum has no figure",
        "policy.md, Table A, row spend",
        NO_RELEASE,
        shown_spend_is_rounded,
    ),
    Recount(
        SPEND,
        "hidden_spend_is_not_recovered",
        "No attacker works out a confidential holding to within p per cent from what is shown",
        "policy.md, Table A, row spend; linear programs of spend_audit.py",
        NO_RELEASE,
        hidden_spend_is_not_recovered,
    ),
)
REACH_RULES = (
    Recount(
        REACH,
        "every_reach_row_is_judged",
        "Each audience has each row of need × reach that it may know exactly once",
        "disclosure policy, reach",
        "run: rcs materialise (disclosure is older than services)",
        every_reach_row_is_judged,
    ),
    Recount(
        REACH,
        "shown_reach_obeys_table_a",
        "Need rows, services and what is left between two services reach the row of Table A",
        "policy.md, Table A, row need × reach; counted again from services.reach",
        NO_RELEASE,
        shown_reach_obeys_table_a,
    ),
    Recount(
        REACH,
        "shown_reach_is_rounded",
        "Shown figures are multiples of their steps, nearest to the truth, bounds around them",
        "policy.md, Tables A and B",
        NO_RELEASE,
        shown_reach_is_rounded,
    ),
    Recount(
        REACH,
        "reach_hides_with_its_indicator",
        "Where an indicator that counts the same pupils is hidden, its need is hidden",
        "services, reach.yaml (indicators); policy.md, How protection is judged",
        NO_RELEASE,
        reach_hides_with_its_indicator,
    ),
    Recount(
        REACH,
        "reach_cannot_be_subtracted",
        "Rows of a need are shown alike, so that none is left to work out",
        "policy.md, How protection is judged",
        NO_RELEASE,
        reach_cannot_be_subtracted,
    ),
)
