"""Numbers of pupils that stay as a release before showed them.

Belongs here: for which cells of CPPs and above the number of before is shown again, and by how
much it may be off. Does not belong here: the figure and its range, which are always made of those
who are counted now, and whether the cell may be shown at all (`earlier.py`).

policy.md, How protection is judged, Change between releases: if the contributors of a cell in two
releases differ by 1-9, the old value is kept or both are suppressed. Where a few of 20,000 pupils
have left, nearly always nothing but the number would move, by one step of its rounding. So the
number of before stays, and with it the cell. Which numbers are kept is in no table: a reader must
think that any number of an area may be off by up to nine pupils beyond its rounding.
"""

from __future__ import annotations

import duckdb
import numpy as np

from rcs_assets.disclosure.earlier import CELL, CHANGED_LEAST, KEYED
from rcs_assets.disclosure.grid import INSIDE, Floats, Grid
from rcs_assets.disclosure.policy import Policy

_KEPT = f"""
create or replace temp table sdc_kept as
with now as (
    select
        {KEYED}, place_id, if(view = 'own', 'cpp/' || engagement, 'public') as audience, base_n,
        y_n, coalesce(sum_x, 0) as sum_x, coalesce(sd, 0) as sd, answers_mark, statistic,
        score_low, score_high, n_step, k_base,
    from sdc_node
    where is_showable and geography_level not in {INSIDE}
)
select survey, indicator, place_id, any_value(n) as n
from now
inner join sdc_told using (audience, {CELL})
where
    sdc_told.status in ('published', 'u') and has_counts and {CHANGED_LEAST} < $least
    -- Rules that have changed since may round otherwise, or ask for more: a number that no cell
    -- can have now would say that it is one of then.
    and n % n_step = 0 and n >= round(k_base / n_step) * n_step
    and base_n >= n - n_step / 2 - $slack and base_n < n + n_step / 2 + $slack
group by survey, indicator, place_id
-- Two releases that showed different ones cannot both be right again.
having min(n) = max(n)
"""
_READ = """
select kept.n
from sdc_node
left join sdc_kept as kept using (survey, indicator, place_id)
where survey = $survey
order by indicator, place_id
"""


def keep_none(con: duckdb.DuckDBPyConnection) -> None:
    """Make `sdc_kept` of a first release: survey, indicator, place_id, n, without a row."""
    con.execute(
        "create or replace temp table sdc_kept "
        "(survey varchar, indicator varchar, place_id integer, n double)"
    )


def keep_numbers(con: duckdb.DuckDBPyConnection, policy: Policy) -> None:
    """Make `sdc_kept`, the numbers that stay.

    Args:
        con: a connection with `sdc_node` and `sdc_told` (`earlier.read_told`).
        policy: contributors that a change needs to be told (policy.yaml, releases).
    """
    con.execute(_KEPT, {"least": policy.changed_least, "slack": policy.n_slack})


def read_kept(con: duckdb.DuckDBPyConnection, grid: Grid) -> Floats:
    """The numbers that stay of one survey, indicators × places; nan where there is none."""
    found = con.execute(_READ, {"survey": grid.survey}).fetchnumpy()["n"]
    values = np.ma.filled(np.ma.asarray(found, dtype=np.float64), np.nan)
    return np.asarray(values, dtype=np.float64).reshape(grid.base.shape)
