"""Finished rows beside those of each release before: whose change is told by the difference?

Belongs here: the audit's own comparison of a release that is to be made with every earlier
one, audience by audience, cell by cell. Does not belong here: holding cells back
(`earlier.py`, of which nothing is used but the reading), the attack by linear programs.

policy.md, How protection is judged, Change between releases; Table A, change between waves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.cells import SMALL_SUFFIX
from rcs_assets.disclosure.earlier import read_told

_FOUND = """
create or replace temp table sdc_difference as
with now as (
    select
        r.audience, r.survey, r.indicator, coalesce(r.tranche, '') as tranche,
        coalesce(r.engagement, '') as engagement, r.geography_level, r.geography_code,
        r.breakdown, r."group", r.status, r.n, r.estimate, r.ci_low, r.ci_high,
        c.base_n, c.numerator_n, c.sum_x, r.statistic,
        i.score_high - i.score_low as scale,
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
        now.n as now_n, then_.n as then_n,
        abs(now.base_n - then_.old_base) as joined,
        abs(now.numerator_n - then_.old_yes) as yes,
        abs((now.base_n - now.numerator_n) - (then_.old_base - then_.old_yes)) as no,
        abs(now.sum_x - then_.old_sum) / nullif(now.scale, 0) as points,
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
        greatest(joined, coalesce(yes, 0), coalesce(no, 0), ceil(coalesce(points, 0) - 1e-6))
    ) as changed_n,
from pairs
"""
_UNSAFE = """
select release, audience, survey, indicator, geography_level, geography_code, breakdown, "group"
from sdc_difference
where changed_n between 1 and $least - 1 and (was_hidden or is_moved)
order by all
"""
_COUNTED = """
select release, count(*) as compared_n,
    count(*) filter (
        changed_n between 1 and $least - 1 and (was_hidden or is_moved)
    ) as unsafe_n,
from sdc_difference
group by release
order by release
"""


@dataclass(frozen=True)
class Differences:
    """What the releases before and this one tell together.

    `table`: one row an earlier release: release, compared_n, unsafe_n. `places`: the cells whose
    change is told; they stay in the warehouse.
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
        con: a connection that sees the relations.
        released: relation in the columns of `disclosure.estimates`.
        estimates: the unprotected counts of now.
        indicators: indicator, score_low, score_high.
        earlier: folders of releases.
        least: contributors that a change needs to be told.

    Raises:
        StorageError: a release cannot be read.
    """
    read_told(con, earlier)
    con.execute(
        _FOUND.format(
            released=released, estimates=estimates, indicators=indicators, small=SMALL_SUFFIX
        )
    )
    counted = con.execute(_COUNTED, {"least": least}).to_arrow_table()
    places = con.execute(_UNSAFE, {"least": least}).to_arrow_table()
    con.execute("drop table sdc_difference")
    con.execute("drop table sdc_told")
    return Differences(_every_release(counted, earlier), places)


def _every_release(counted: pa.Table, earlier: Sequence[Path]) -> pa.Table:
    """A release that shares no cell with this one was compared as well."""
    found = {row["release"]: row for row in counted.to_pylist()}
    names = [folder.name for folder in earlier]
    return pa.table(
        {
            "release": pa.array(names, pa.string()),
            **{
                column: pa.array(
                    [int(found.get(name, {}).get(column, 0)) for name in names], pa.int64()
                )
                for column in ("compared_n", "unsafe_n")
            },
        }
    )
