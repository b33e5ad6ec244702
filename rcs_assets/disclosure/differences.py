"""Finished rows beside those of each release before: whose answers does the difference tell?

Belongs here: the audit's own comparison of a release that is to be made with every earlier
one, audience by audience, cell by cell. Does not belong here: holding cells back
(`earlier.py`, of which nothing is used but the reading), the attack by linear programs.

policy.md, How protection is judged, Change between releases; Table A, change between waves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.cells import SMALL_SUFFIX
from rcs_assets.disclosure.earlier import CELL, KEYED, read_told

# Of a mean: pupils who must have another score beside those who joined or left, whose scores lie
# between the lowest and the highest; by how much sum and base have changed.
_RESCORED = """
create or replace temp macro sdc_rescored(points, pupils, low, high) as
ceil(
    greatest(
        points - greatest(pupils * low, pupils * high),
        least(pupils * low, pupils * high) - points,
        0
    ) / nullif(high - low, 0) - 1e-6
)
"""
# The most answers of so many pupils that are a share below `high`, or all.
_BELOW = """
create or replace temp macro sdc_below(high, pupils) as
if(high < 1, ceil(high * pupils - 1e-9) - 1, pupils)
"""
_FOUND = """
create or replace temp table sdc_difference as
with now as (
    select
        r.audience, r.survey, r.indicator, coalesce(r.tranche, '') as tranche,
        coalesce(r.engagement, '') as engagement, r.geography_level, r.geography_code,
        r.breakdown, r."group", r.status, r.n, r.estimate, r.ci_low, r.ci_high,
        c.base_n, c.numerator_n, c.sum_x, c.sd, c.answers_mark, r.statistic,
        i.score_low, i.score_high,
    from {released} as r
    left join {estimates} as c
        on c.survey = r.survey and c.indicator = r.indicator
        and c.tranche is not distinct from r.tranche
        and c.engagement is not distinct from r.engagement
        and c.geography_level = r.geography_level and c.geography_code = r.geography_code
        and c.breakdown = r.breakdown and c."group" = r."group"
    left join {indicators} as i on i.indicator = r.indicator
    where r.status in ('published', 'u')
),
pairs as (
    select
        then_.release, now.audience, now.survey, now.indicator, now.geography_level,
        now.geography_code, now.breakdown, now."group",
        now.geography_code like '%{small}' as is_together,
        then_.status = 'c' as was_hidden,
        then_.n is distinct from now.n or then_.estimate is distinct from now.estimate
        or then_.ci_low is distinct from now.ci_low
        or then_.ci_high is distinct from now.ci_high as is_moved,
        now.n as now_n, then_.n as then_n, now.estimate, then_.estimate as then_estimate,
        now.base_n, now.numerator_n, now.sum_x, now.sd, now.answers_mark, then_.old_yes,
        then_.old_sum, then_.old_sd, then_.old_mark, now.statistic, now.tranche,
        now.engagement, now.score_low, now.score_high,
        now.base_n - then_.old_base as base_change, then_.old_base,
        abs(now.base_n - then_.old_base) as joined,
        abs(now.numerator_n - then_.old_yes) as yes,
        abs((now.base_n - now.numerator_n) - (then_.old_base - then_.old_yes)) as no,
        sdc_rescored(
            now.sum_x - then_.old_sum, base_change, now.score_low, now.score_high
        ) as rescored,
        -- Answers that add up to the same are others. In releases without marks: of a mean that no
        -- weight moves another spread is of other scores.
        coalesce(
            now.answers_mark <> then_.old_mark,
            now.statistic = 'mean' and now.geography_level in ('school', 'cluster')
            and coalesce(
                abs(coalesce(now.sd, 0) - then_.old_sd) > 1e-6, is_moved and not was_hidden
            )
        ) as is_other,
    from now
    inner join sdc_told as then_
        on then_.audience = now.audience and then_.survey = now.survey
        and then_.indicator = now.indicator and then_.tranche = now.tranche
        and then_.engagement = now.engagement
        and then_.geography_level = now.geography_level
        and then_.geography_code = now.geography_code
        and then_.breakdown = now.breakdown and then_."group" = now."group"
    where then_.status in ('published', 'u', 'c')
)
select
    *,
    -- Of small schools together no exact number of then is kept: the shown ones must do.
    if(
        is_together,
        if(was_hidden or is_moved, greatest(1, coalesce(abs(now_n - then_n), 0) - 5), 0),
        greatest(
            joined + coalesce(rescored, 0), coalesce(yes, 0), coalesce(no, 0), is_other::int
        )
    ) as changed_n,
from pairs
"""
# Of every cell and release before, how many have changed at least.
_CHANGE = """
create or replace temp table sdc_change as
select
    t.release, e.survey, e.indicator, t.tranche, t.engagement, e.geography_level,
    e.geography_code, e.breakdown, e."group",
    coalesce(e.base_n, 0) - t.old_base as base_change,
    greatest(
        coalesce(e.answers_mark <> t.old_mark, false)::int,
        if(
            e.statistic = 'mean',
            abs(base_change) + coalesce(
                sdc_rescored(
                    coalesce(e.sum_x, 0) - t.old_sum, base_change, i.score_low, i.score_high
                ),
                0
            ),
            greatest(
                abs(base_change),
                abs(coalesce(e.numerator_n, 0) - t.old_yes),
                abs(coalesce(e.base_n - e.numerator_n, 0) - (t.old_base - t.old_yes))
            )
        )
    ) as changed_n,
from {estimates} as e
left join {indicators} as i on i.indicator = e.indicator
inner join sdc_then as t
    on t.survey = e.survey and t.indicator = e.indicator
    and t.tranche = coalesce(e.tranche, '') and t.engagement = coalesce(e.engagement, '')
    and t.geography_level = e.geography_level and t.geography_code = e.geography_code
    and t.breakdown = e.breakdown and t."group" = e."group"
"""
# Whose cells have changed, as everybody sees them and as the holder of a CPP's package does.
_ASTIR = """
create or replace temp table sdc_astir as
select distinct release, survey, indicator, 'public' as audience
from sdc_change where changed_n > 0 and geography_level = 'cpp'
union
select distinct release, survey, indicator, 'cpp/' || engagement
from sdc_change where changed_n > 0 and geography_level in ('cpp', 'cluster', 'school')
"""
# Shown now, not then, and (nearly) nobody in it has changed: a figure of then, which with others of
# then tells what was hidden beside it and has changed since.
_FREED = f"""
create or replace temp table sdc_freed as
with told as (
    from sdc_told where status in ('published', 'u')
),
-- Told already by some release.
known as (
    select audience, {CELL},
    from told inner join sdc_change using (release, {CELL})
    where has_counts and changed_n = 0
),
shown as (
    select audience, {KEYED} from {{released}} where status in ('published', 'u')
)
select sdc_change.release, shown.*
from shown
inner join sdc_change using ({CELL})
inner join sdc_astir using (release, survey, indicator, audience)
anti join told using (release, audience, {CELL})
anti join known using (audience, {CELL})
where changed_n < $least
"""
# A note that was not there then, of a cell in which (nearly) nobody has changed: what it says of
# now it says of then, up to those who have changed.
_NOTED = f"""
create or replace temp table sdc_noted as
with said as (
    select audience, {KEYED}, note from {{released}} where status = 'c' and note in ('low', 'high')
)
select sdc_change.release, said.* exclude (note)
from said
inner join sdc_change using ({CELL})
inner join sdc_astir using (release, survey, indicator, audience)
inner join sdc_told as t using (release, audience, {CELL})
where
    changed_n < $least and t.status in ('published', 'u', 'c')
    and t.note is distinct from said.note
"""
# The node of a row, for its steps and thresholds.
_NODE_OF = """inner join sdc_node as node
        on if(node.view = 'own', 'cpp/' || node.engagement, 'public') = {row}.audience
        and node.survey = {row}.survey and node.indicator = {row}.indicator
        and coalesce(node.tranche, '') = {row}.tranche
        and coalesce(node.engagement, '') = {row}.engagement
        and node.geography_level = {row}.geography_level
        and node.geography_code = {row}.geography_code
        and node.breakdown = {row}.breakdown and node."group" = {row}."group"
"""
# An area's figure that is the same though a few have changed: some answer of one of them can be
# ruled out, whatever the others said, since it would have made another figure.
_STILL = """
create or replace temp table sdc_still as
with cells as (
    select
        row_number() over () as cell, d.*, node.n_step, k_numerator, k_complement,
        d.statistic = 'mean' as is_mean,
        if(is_mean, coalesce(d.score_low, 0), 0) as one_low,
        if(is_mean, d.score_high, 1) as one_high,
        if(is_mean, d.estimate - mean_step / 2, (d.estimate - pct_step / 2) / 100) as low,
        if(is_mean, d.estimate + mean_step / 2, (d.estimate + pct_step / 2) / 100) as high,
        (changed_n - abs(base_change)) * (one_high - one_low) as others,
        least(base_change * one_low, base_change * one_high) - others as fewest,
        greatest(base_change * one_low, base_change * one_high) + others as highest,
        if(others > 0, 2, 1) * (one_high - one_low) as one_answer,
        -- A number that was kept is off by fewer pupils than a change needs to be told.
        $least - 1 as off_now,
        if(old_base >= then_n - n_step / 2 and old_base < then_n + n_step / 2, 0, off_now)
            as off_then,
    from sdc_difference as d
    {node}
    where changed_n between 1 and $least - 1 and not (was_hidden or is_moved)
        and d.geography_level not in ('school', 'cluster')
),
numbers as (
    select
        *, unnest(generate_series(
            greatest(ceil(then_n - n_step / 2) - off_then, 0)::bigint,
            ceil(then_n + n_step / 2)::bigint - 1 + off_then
        )) as old_n,
        old_n + base_change as new_n,
    from cells
),
pairs as (
    select
        cell,
        -- Answers are whole, as pupils are, and halves are rounded up.
        if(is_mean, low * old_n, greatest(ceil(low * old_n - 1e-9), k_numerator)) as old_low,
        if(is_mean, high * old_n, least(sdc_below(high, old_n), old_n - k_complement)) as old_high,
        if(is_mean, low * new_n, greatest(ceil(low * new_n - 1e-9), k_numerator)) as new_low,
        if(is_mean, high * new_n, least(sdc_below(high, new_n), new_n - k_complement)) as new_high,
    from numbers
    where
        new_n >= greatest(now_n - n_step / 2 - off_now, 0)
        and new_n < now_n + n_step / 2 + off_now
),
answers as (
    select
        *, unnest([[fewest, highest - one_answer], [fewest + one_answer, highest]]) as moved,
    from cells
)
select distinct {place}
from (
    select cell, {place}, moved,
        bool_or(
            greatest(old_low, new_low - moved[2]) <= least(old_high, new_high - moved[1]) + 1e-9
            and old_low <= old_high + 1e-9 and new_low <= new_high + 1e-9
        ) as can_be,
    from answers left join pairs using (cell)
    group by all
)
where not coalesce(can_be, false)
"""
# The same beside all that was shown of the cell before: each of the figures narrows down what those
# said who changed between two of them, and the last one must not settle it.
_STORY = """
create or replace temp table sdc_story as
with recursive asked as (
    select {cell}
    from sdc_difference
    where not was_hidden and old_base is not null and geography_level not in ('school', 'cluster')
    group by all
    having count(*) > 1
),
told as (
    select {cell}, list_position($releases::varchar[], release) as place, then_n as n,
        then_estimate as shown, old_base as base, old_yes as yes, old_sum as total,
        old_sd as spread, old_mark as mark, true as is_before,
    from sdc_difference semi join asked using ({cell})
    where not was_hidden and old_base is not null
    union all by name
    select distinct {cell}, len($releases) + 1 as place, now_n as n, estimate as shown,
        base_n as base, numerator_n as yes, sum_x as total, sd as spread, answers_mark as mark,
        false as is_before,
    from sdc_difference semi join asked using ({cell})
),
figure as (
    select
        told.*, dense_rank() over (order by {told_cell}) as cell,
        row_number() over of_cell as no, statistic = 'mean' as is_mean,
        if(is_mean, coalesce(score_low, 0), 0) as one_low, if(is_mean, score_high, 1) as one_high,
        if(is_mean, shown - mean_step / 2, (shown - pct_step / 2) / 100) as low,
        if(is_mean, shown + mean_step / 2, (shown + pct_step / 2) / 100) as high,
        k_numerator as k_yes, k_complement as k_no,
        if(is_before and base >= n - n_step / 2 and base < n + n_step / 2, 0, $least - 1) as off,
        ceil(n - n_step / 2) - off as n_least, ceil(n + n_step / 2) - 1 + off as n_most,
        coalesce(base - lag(base) over of_cell, 0) as more,
        sdc_rescored(total - lag(total) over of_cell, more, score_low, score_high) as rescored,
        greatest(
            abs(more) + if(is_mean, coalesce(rescored, 0), 0),
            if(is_mean, 0, coalesce(abs(yes - lag(yes) over of_cell), 0)),
            if(is_mean, 0, coalesce(abs(base - yes - lag(base - yes) over of_cell), 0)),
            coalesce(mark <> lag(mark) over of_cell, false)::int,
            coalesce(is_mean and abs(spread - lag(spread) over of_cell) > 1e-6, false)::int
        ) as moved_n,
        (moved_n - abs(more)) * (one_high - one_low) as others,
        least(more * one_low, more * one_high) - others as fewest,
        greatest(more * one_low, more * one_high) + others as highest,
        if(others > 0, 2, 1) * (one_high - one_low) as one_answer,
    from told
    {node}
    window of_cell as (partition by {told_cell} order by place)
),
-- Whose answer, of those who changed before the figure `step`, and at which end of the scale.
one as (
    select cell, no as step, unnest([1, 2]) as side
    from figure
    where no > 1 and moved_n between 1 and $least - 1
),
question as (
    from one
    union all
    select distinct cell, 0 as step, 0 as side from one
),
walk as (
    select cell, step, side, no, pupils, least_sum, most_sum
    from (
        select cell, step, side, no, pupils, {sums}
        from (
            select *, unnest(generate_series(
                greatest(n_least, 0)::bigint, n_most::bigint
            )) as pupils,
            from figure inner join question using (cell)
            where no = 1
        )
    )
    where least_sum <= most_sum + 1e-9
    union all
    select cell, step, side, no, pupils, least_sum, most_sum
    from (
        select
            * exclude (least_sum, most_sum),
            greatest(
                least_sum, low_then + fewest + if(step = no and side = 2, one_answer, 0)
            ) as least_sum,
            least(
                most_sum, high_then + highest - if(step = no and side = 1, one_answer, 0)
            ) as most_sum,
        from (
            select *, {sums}
            from (
                select
                    figure.*, step, side, pupils + more as pupils,
                    walk.least_sum as low_then, walk.most_sum as high_then,
                from walk
                inner join figure on figure.cell = walk.cell and figure.no = walk.no + 1
            )
        )
    )
    where pupils between n_least and n_most and least_sum <= most_sum + 1e-9
),
reached as (
    select cell, step, max(no) as no from walk group by cell, step, side
)
select {place}
from sdc_difference
semi join (
    select figure.* from figure
    inner join reached as every on every.cell = figure.cell and every.step = 0
    inner join reached as one on one.cell = figure.cell and one.step > 0
    where not is_before and every.no = figure.no and one.no = figure.no - 1
) as last using ({cell})
where not was_hidden and old_base is not null
-- Of the releases that tell it together, the last is named.
qualify row_number() over (
    partition by {cell} order by list_position($releases::varchar[], release) desc
) = 1
"""
# Least and most answers (points of a score) of so many pupils, shown as they are.
_SUMS = """
if(is_mean, low * pupils, greatest(ceil(low * pupils - 1e-9), k_yes)) as least_sum,
if(
    is_mean, least(high, one_high) * pupils, least(sdc_below(high, pupils), pupils - k_no)
) as most_sum
"""
_PLACE = 'release, audience, survey, indicator, geography_level, geography_code, breakdown, "group"'
_UNSAFE = f"""
select {_PLACE} from sdc_difference
where changed_n between 1 and $least - 1
    -- In a school who changed is known, and figures that tell nothing by themselves may together.
    and (was_hidden or is_moved or geography_level in ('school', 'cluster'))
union
select {_PLACE} from sdc_still
union
select {_PLACE} from sdc_story
union
select {_PLACE} from sdc_freed
union
select {_PLACE} from sdc_noted
order by all
"""
_TABLES = ("difference", "change", "astir", "freed", "noted", "still", "story", "told", "then")
_COUNTED = """
select release, count(*) as compared_n from sdc_difference group by release
"""


@dataclass(frozen=True)
class Differences:
    """What the releases before and this one tell together.

    `table`: one row an earlier release: release, compared_n, unsafe_n. `places`: the cells whose
    change is told, or that tell what was hidden beside them; they stay in the warehouse.
    """

    table: pa.Table
    places: pa.Table


def find_differences(
    con: duckdb.DuckDBPyConnection,
    *,
    released: str,
    estimates: str,
    indicators: str,
    earlier: Sequence[Path],
    least: int,
) -> Differences:
    """Compare released rows with each release before.

    Args:
        con: a connection that sees the relations, and `sdc_node` for steps and thresholds.
        released: relation in the columns of `disclosure.estimates`.
        estimates: the unprotected counts of now.
        indicators: indicator, score_low, score_high.
        earlier: folders of releases.
        least: contributors that a change needs to be told.

    Raises:
        StorageError: a release cannot be read.
    """
    read_told(con, earlier)
    con.execute(_RESCORED + ";" + _BELOW)
    con.execute(
        _FOUND.format(
            released=released, estimates=estimates, indicators=indicators, small=SMALL_SUFFIX
        )
    )
    con.execute(_CHANGE.format(estimates=estimates, indicators=indicators))
    con.execute(_ASTIR)
    for sql in (_FREED, _NOTED):
        con.execute(sql.format(released=released), {"least": least})
    con.execute(_STILL.format(place=_PLACE, node=_NODE_OF.format(row="d")), {"least": least})
    story = _STORY.format(
        place=_PLACE,
        cell=f"audience, {CELL}",
        told_cell=", ".join(f"told.{name}" for name in f"audience, {CELL}".split(", ")),
        sums=_SUMS,
        node=_NODE_OF.format(row="told"),
    )
    con.execute(story, {"least": least, "releases": [folder.name for folder in earlier]})
    compared = {name: int(n) for name, n in con.execute(_COUNTED).fetchall()}
    places = con.execute(_UNSAFE, {"least": least}).to_arrow_table()
    for name in _TABLES:
        con.execute(f"drop table sdc_{name}")
    unsafe = Counter(places["release"].to_pylist())
    # A release that shares no cell with this one was compared as well.
    names = [folder.name for folder in earlier]
    return Differences(
        pa.table(
            {
                "release": pa.array(names, pa.string()),
                "compared_n": pa.array([compared.get(name, 0) for name in names], pa.int64()),
                "unsafe_n": pa.array([unsafe[name] for name in names], pa.int64()),
            }
        ),
        places,
    )
