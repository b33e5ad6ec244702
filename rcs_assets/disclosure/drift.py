"""How far what stands ready for release has moved from the release before.

Belongs here: one frame, a row an audience and survey, that the candidate suite judges. Does not
belong here: limits (`data_quality/thresholds.csv`), whose change a figure tells
(`differences.py`), what the notes say of it (`release/diff.py`).

Drift is not wrong by itself: corrected deliveries move figures. A share of cells or a size of
movement beyond the limits points to a cut file, a changed coding or a rule that was changed
unseen, and a person should look first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from rcs_assets.disclosure.earlier import CELL, read_told

if TYPE_CHECKING:
    import pandas as pd

_DRIFT = f"""
with now as (
    select
        audience, survey, indicator, coalesce(tranche, '') as tranche,
        coalesce(engagement, '') as engagement, geography_level, geography_code, breakdown,
        "group", status in ('published', 'u') as is_shown, estimate::double as now_estimate,
        statistic,
    from disclosure.estimates
),
pairs as (
    select now.*, told.status in ('published', 'u') as was_shown, told.estimate as then_estimate
    from now inner join sdc_told as told using (audience, {CELL})
),
rows as (
    select
        audience, survey,
        100.0 * avg((was_shown and not is_shown)::integer) as hidden_since_pct,
        median(abs(now_estimate - then_estimate)) filter (
            statistic = 'pct' and breakdown = 'total' and was_shown and is_shown
        ) as moved_points,
    from pairs
    group by all
)
select
    audience, survey, coalesce(rows.hidden_since_pct, 0) as hidden_since_pct,
    coalesce(rows.moved_points, 0) as moved_points,
from (select distinct audience, survey from now)
left join rows using (audience, survey)
order by all
"""


def drift_profile(con: duckdb.DuckDBPyConnection, earlier: Sequence[Path]) -> pd.DataFrame:
    """One row an audience and survey, beside the newest release before; 0 where there is none.

    Args:
        con: a connection that sees `disclosure.estimates`.
        earlier: folders of releases, oldest first.

    Returns:
        `audience, survey, hidden_since_pct` (cells shown then and hidden now, per cent of the
        cells of both) and `moved_points` (median distance of shown percentages of totals).

    Raises:
        StorageError: the release before cannot be read.
    """
    read_told(con, earlier[-1:])
    frame = con.execute(_DRIFT).df()
    con.execute("drop table sdc_told")
    return frame
