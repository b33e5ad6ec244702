"""What a protected cell shows: rounding, interval, status, note.

Belongs here: the rounding of Table A, the interval from rounded values, and the final
select of the release's columns. Does not belong here: which cells are hidden (`rules.py`).

An interval gives away its inputs (policy.md), so a Wilson interval is computed from the
rounded n, the rounded percentage and the design effect rounded to 0.1; a design-based or
mean interval is rounded outward; a quota sample (`indicative`) has none.
"""

from __future__ import annotations

import duckdb

Z_95 = 1.959963984540054

_MACROS = f"""
-- Nearest multiple, halves away from zero. The inner round takes away the noise of binary
-- fractions, which would decide halves.
create or replace temp macro rcs_round(x, step) as round(round(x / step, 9)) * step;
create or replace temp macro rcs_round_down(x, step) as floor(round(x / step, 9)) * step;
create or replace temp macro rcs_round_up(x, step) as ceil(round(x / step, 9)) * step;
create or replace temp macro rcs_wilson(pct, n, sign) as
    100 * (
        pct / 100 + {Z_95} * {Z_95} / (2 * n)
        + sign * {Z_95}
        * sqrt(pct / 100 * (1 - pct / 100) / n + {Z_95} * {Z_95} / (4 * n * n))
    ) / (1 + {Z_95} * {Z_95} / n);
"""

SHOWN_SQL = """
with judged as (
    select
        c.*,
        if(c.view = 'own', 'cpp/' || c.engagement, 'public') as audience,
        coalesce(h.is_hidden, false) as is_hidden,
        nullif(h.note, '') as hidden_note,
        coalesce(kept.n, rcs_round(c.base_n, c.n_step)) as shown_n,
        rcs_round(c.estimate, if(c.statistic = 'pct', c.pct_step, c.mean_step)) as shown_estimate,
        shown_n / greatest(rcs_round(coalesce(c.design_effect, 1), 0.1), 0.1) as effective_n,
    from sdc_node as c
    left join sdc_hidden as h
        on h.survey = c.survey and h.indicator = c.indicator and h.place_id = c.place_id
    left join sdc_kept as kept
        on
            kept.survey = c.survey and kept.indicator = c.indicator
            and kept.place_id = c.place_id
    where c.is_released
),
ranged as (
    select
        *,
        case
            when method in ('indicative', 'none') then null
            when statistic = 'mean' then rcs_round_down(ci_low, mean_step)
            when method = 'wilson'
                then rcs_round(rcs_wilson(shown_estimate, effective_n, -1), interval_step)
            else greatest(rcs_round_down(ci_low, interval_step), 0)
        end as shown_low,
        case
            when method in ('indicative', 'none') then null
            when statistic = 'mean' then rcs_round_up(ci_high, mean_step)
            when method = 'wilson'
                then rcs_round(rcs_wilson(shown_estimate, effective_n, 1), interval_step)
            else least(rcs_round_up(ci_high, interval_step), 100)
        end as shown_high,
        is_showable and not is_hidden as is_shown,
    from judged
)
select
    r.audience,
    null::varchar as release,
    r.tranche,
    r.engagement,
    r.survey,
    r.geography_level,
    r.geography_code,
    g.geography_name,
    r.breakdown,
    r."group",
    r.indicator,
    r.statistic,
    if(r.is_shown, r.shown_n, null)::decimal(9, 0) as n,
    if(r.is_shown, r.shown_estimate, null)::decimal(7, 1) as estimate,
    if(r.is_shown, r.shown_low, null)::decimal(7, 1) as ci_low,
    if(r.is_shown, r.shown_high, null)::decimal(7, 1) as ci_high,
    case
        when not r.is_showable then coalesce(r.empty_status, r.withheld_status)
        when r.is_hidden then 'c'
        when r.shown_n < s.n_below then 'u'
        when r.statistic = 'pct' and r.shown_high - r.shown_low > s.wide then 'u'
        else 'published'
    end as status,
    case
        when r.is_hidden then r.hidden_note
        when r.is_shown and r.method = 'indicative' then 'indicative'
    end as note,
    case
        when 'x' in (r.empty_status, r.withheld_status) then 'not_available'
        when r.empty_status = 'z' then 'not_applicable'
        when r.is_primary then 'primary'
        when r.is_hidden then 'secondary'
        else 'published'
    end as status_inside,
from ranged as r
cross join sdc_setting as s
left join (
    select distinct geography_level, geography_code, geography_name from {geographies}
) as g
    on g.geography_level = r.geography_level and g.geography_code = r.geography_code
where r.audience in ({audiences})
order by
    r.audience, r.tranche, r.engagement nulls first, r.survey, r.geography_level,
    r.geography_code, r.indicator, r.breakdown, r."group"
"""


def register_rounding(con: duckdb.DuckDBPyConnection) -> None:
    """Register the temporary macros `rcs_round`, `_round_down`, `_round_up`, `rcs_wilson`.

    `rcs_wilson(pct, n, sign)`: one limit of Wilson's 95 % interval in per cent, for the
    effective n (Wilson 1927; policy.md, Table B).
    """
    con.execute(_MACROS)
