"""How far what stands ready for release has moved from the release before.

Belongs here: one frame, a row an audience and survey, that the candidate suite judges. Does not
belong here: limits (`data_quality/thresholds.csv`), whose change a figure tells
(`differences.py`), what the notes say of it (`release/diff.py`).

Drift is not wrong by itself: corrected deliveries move figures. A share of cells or a size of
movement beyond the limits points to a cut file, a changed coding or a rule that was changed
unseen, and a person should look first.

A batch of withdrawals hides cells too, and must: where 1 to 9 contributors of a cell left, policy
(Change between releases) has the old value kept or both hidden, and the old value counts children
who have withdrawn. Such cells are no drift. They are counted apart (`held_for_batch_pct`), and only
as far as the opt-outs since that release explain them:

- what left a cell, with each answer and without, is no more than the children of its area who have
  withdrawn since, what came no more than those whose opt-out was taken back;
- no total of the area's survey lost or won more than that, else a file was cut as well and nothing
  of that survey is explained there;
- where such a total is missing nothing of that survey is explained there either;
- a cell that is hidden for another's sake counts where it shares a line with an explained cell of
  the indicator: another group of the same area, or the same group elsewhere in the engagement and
  in the areas above. A cell that is small itself always is drift.

How much a batch may hide has a limit of its own (`data_quality/thresholds.csv`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.earlier import CELL, read_told
from rcs_assets.intake.opt_outs import OPT_OUTS, Moved, moved_since
from rcs_assets.intake.vault import ANSWERS, RECORDS
from rcs_assets.storage import Home
from rcs_assets.wellbeing.breakdowns import ROLL_BREAKDOWNS, listed

if TYPE_CHECKING:
    import pandas as pd

_AREAS = """
create or replace temp table sdc_moved_areas as
with engagements as (
    select distinct tranche, engagement from disclosure.estimates where engagement is not null
),
areas as (
    select engagement, tranche as area_tranche, engagement as area_engagement from engagements
    union all
    select engagement, tranche, '' from engagements
    union all
    select engagement, '', '' from engagements
)
select
    areas.area_tranche as tranche, areas.area_engagement as engagement, moved.by_records,
    sum(moved.left_n) as left_n, sum(moved.came_n) as came_n,
from areas
inner join sdc_moved as moved using (engagement)
group by all
"""

_DRIFT = f"""
with now as (
    select
        cells.audience, cells.survey, cells.indicator, coalesce(cells.tranche, '') as tranche,
        coalesce(cells.engagement, '') as engagement, cells.geography_level, cells.geography_code,
        cells.breakdown, cells."group", cells.statistic,
        cells.status in ('published', 'u') as is_shown,
        cells.status_inside = 'secondary' as is_secondary, cells.estimate::double as now_estimate,
        counts.base_n, counts.numerator_n,
    from disclosure.estimates as cells
    left join wellbeing.estimates as counts
        on
            counts.survey = cells.survey
            and counts.indicator = cells.indicator
            and counts.tranche is not distinct from cells.tranche
            and counts.engagement is not distinct from cells.engagement
            and counts.geography_level = cells.geography_level
            and counts.geography_code = cells.geography_code
            and counts.breakdown = cells.breakdown
            and counts."group" = cells."group"
),
pairs as (
    select
        now.*, told.status in ('published', 'u') as was_shown, told.estimate as then_estimate,
        was_shown and not is_shown as is_hidden_since,
        coalesce(areas.left_n, 0) as left_n, coalesce(areas.came_n, 0) as came_n,
        if(told.has_counts, told.old_base - now.base_n, null) as gone_n,
        if(told.has_counts and statistic = 'pct', told.old_yes - now.numerator_n, null) as gone_yes,
        gone_n - gone_yes as gone_no,
    from now
    inner join sdc_told as told using (audience, {CELL})
    left join sdc_moved_areas as areas
        on
            areas.tranche = now.tranche
            and areas.engagement = now.engagement
            and areas.by_records = (now.breakdown not in ({listed(ROLL_BREAKDOWNS)}))
),
-- More changed than the opt-outs can have changed: something else happened to the survey. Where
-- no total is there to be asked nothing is explained.
totals_explained as (
    select tranche, engagement, survey
    from pairs
    where geography_level in ('cpp', 'tranche', 'all') and breakdown = 'total'
    group by all
    having bool_and(coalesce(gone_n between -came_n and left_n, false))
),
explained as (
    select
        *,
        is_hidden_since and is_secondary
        and greatest(abs(gone_n), abs(coalesce(gone_yes, 0)), abs(coalesce(gone_no, 0)))
            between 1 and $least - 1
        and gone_n between -came_n and left_n
        and coalesce(gone_yes between -came_n and left_n, statistic = 'mean')
        and coalesce(gone_no between -came_n and left_n, statistic = 'mean')
        and (tranche, engagement, survey)
            in (select (tranche, engagement, survey) from totals_explained)
        as is_owed,
    from pairs
),
owed as (
    select survey, indicator, engagement, geography_level, geography_code, breakdown, "group"
    from explained
    where is_owed
),
-- The lines of an owed cell, in its engagement and in the areas above: all groups of its area, and
-- its group in the other areas.
owed_areas as (
    select distinct survey, indicator, engagement, geography_level, geography_code from owed
),
owed_groups as (
    select survey, indicator, engagement, breakdown, "group" from owed
    union
    select survey, indicator, '', breakdown, "group" from owed
),
judged as (
    select
        explained.*,
        coalesce(is_owed, false)
        or (
            is_hidden_since and is_secondary
            and (owed_areas.indicator is not null or owed_groups.indicator is not null)
        ) as is_held,
    from explained
    left join owed_areas using (survey, indicator, engagement, geography_level, geography_code)
    left join owed_groups using (survey, indicator, engagement, breakdown, "group")
),
rows as (
    select
        audience, survey,
        100.0 * avg((is_hidden_since and not is_held)::integer) as hidden_since_pct,
        100.0 * avg(is_held::integer) as held_for_batch_pct,
        median(abs(now_estimate - then_estimate)) filter (
            statistic = 'pct' and breakdown = 'total' and was_shown and is_shown
        ) as moved_points,
    from judged
    group by all
)
select
    audience, survey, coalesce(rows.hidden_since_pct, 0) as hidden_since_pct,
    coalesce(rows.held_for_batch_pct, 0) as held_for_batch_pct,
    coalesce(rows.moved_points, 0) as moved_points,
from (select distinct audience, survey from now)
left join rows using (audience, survey)
order by all
"""


@dataclass(frozen=True)
class Since:
    """Children whom opt-outs moved since a release, by engagement: answers, councils' records."""

    answers: Mapping[str, Moved] = field(default_factory=dict)
    records: Mapping[str, Moved] = field(default_factory=dict)


def since_last_release(home: Home, earlier: Sequence[Path]) -> Since:
    """Who withdrew, or took it back, since the newest of the releases before.

    Where its manifest cannot be read nobody is known to have withdrawn, and nothing is explained.

    Args:
        home: the installation.
        earlier: folders of releases, oldest first.
    """
    try:
        manifest = json.loads((earlier[-1] / "manifest.json").read_text(encoding="utf-8"))
        lists = {d["sha256"] for d in manifest["deliveries"] if d["dataset"] == OPT_OUTS}
    except (IndexError, OSError, ValueError, KeyError, TypeError):
        return Since()
    return Since(moved_since(home, lists, ANSWERS), moved_since(home, lists, RECORDS))


def drift_profile(
    con: duckdb.DuckDBPyConnection, earlier: Sequence[Path], since: Since, least: int
) -> pd.DataFrame:
    """One row an audience and survey, beside the newest release before; 0 where there is none.

    Args:
        con: a connection that sees `disclosure.estimates` and the counts `wellbeing.estimates`.
        earlier: folders of releases, oldest first.
        since: whom opt-outs moved since the newest of them.
        least: contributors that a change needs to be told (policy.yaml, releases).

    Returns:
        `audience, survey`; of the cells of both releases, in per cent, those shown then and hidden
        now: `held_for_batch_pct` as withdrawals explain, `hidden_since_pct` the others; and
        `moved_points` (median distance of shown percentages of totals).

    Raises:
        StorageError: the release before cannot be read.
    """
    read_told(con, earlier[-1:])
    con.register("sdc_moved", _moved_table(since))
    con.execute(_AREAS)
    con.unregister("sdc_moved")
    frame = con.execute(_DRIFT, {"least": least}).df()
    con.execute("drop table sdc_moved_areas")
    con.execute("drop table sdc_told")
    con.execute("drop table sdc_then")
    return frame


def _moved_table(since: Since) -> pa.Table:
    rows = [
        {"engagement": name, "by_records": by_records, **vars(moved)}
        for by_records, found in ((False, since.answers), (True, since.records))
        for name, moved in sorted(found.items())
    ]
    columns = {"engagement": pa.string(), "by_records": pa.bool_()}
    counts = {"left_n": pa.int64(), "came_n": pa.int64()}
    return pa.Table.from_pylist(rows, pa.schema({**columns, **counts}))
