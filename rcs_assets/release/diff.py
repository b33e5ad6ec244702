"""What changed between two releases, as the public may know it.

Belongs here: counting cells of the public packages that came, went, were shown, hidden or
moved, by area of CPPs and above. Does not belong here: figures, and anything finer than a
CPP: how a small group changed can be one child's answer (policy.md, change between releases).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from rcs_assets.storage import sql_literal

ESTIMATES = Path("public") / "parquet" / "estimates.parquet"
LEVELS = ("all", "tranche", "cpp")


@dataclass(frozen=True)
class AreaChange:
    """Cells of one area and survey: how many are there now, and what became of them.

    `shown_now`, `hidden_now`: cells that were there before the other way round; `moved`: shown
    in both with another figure, number of pupils or interval; `new`, `gone`: only in one.
    """

    geography_level: str
    geography_code: str
    geography_name: str
    survey: str
    cells_n: int
    moved_n: int
    shown_now_n: int
    hidden_now_n: int
    new_n: int
    gone_n: int

    @property
    def is_changed(self) -> bool:
        """Whether anything differs."""
        return any((self.moved_n, self.shown_now_n, self.hidden_now_n, self.new_n, self.gone_n))


# A council can have been asked in two tranches.
_KEY = (
    "survey, tranche, engagement, geography_level, geography_code, breakdown, "
    '"group", indicator, statistic'
)
# An area above the engagements has none.
_NAMED = "* replace (coalesce(tranche, '') as tranche, coalesce(engagement, '') as engagement)"
_SHOWN = "{0}.status in ('published', 'u')"
_DIFF = f"""
with old as (select {_NAMED} from read_parquet({{old}}) where geography_level in {LEVELS}),
new as (select {_NAMED} from read_parquet({{new}}) where geography_level in {LEVELS})
select
    coalesce(any_value(geography_level), '') as geography_level, geography_code,
    any_value(coalesce(new.geography_name, old.geography_name)) as geography_name, survey,
    count(*) filter (new.status is not null),
    count(*) filter (
        {_SHOWN.format("old")} and {_SHOWN.format("new")}
        and (old.n, old.estimate, old.ci_low, old.ci_high)
            is distinct from (new.n, new.estimate, new.ci_low, new.ci_high)
    ),
    count(*) filter (not {_SHOWN.format("old")} and {_SHOWN.format("new")}),
    count(*) filter ({_SHOWN.format("old")} and not {_SHOWN.format("new")}),
    count(*) filter (old.status is null),
    count(*) filter (new.status is null),
from old
full join new using ({_KEY})
group by geography_code, survey
order by list_position({list(LEVELS)}, any_value(geography_level)), geography_code, survey
"""


def compare(older: Path, newer: Path) -> tuple[AreaChange, ...]:
    """Compare two releases.

    Args:
        older: folder of the release before (or of a candidate).
        newer: folder of the release after.
    """
    sql = _DIFF.format(old=sql_literal(older / ESTIMATES), new=sql_literal(newer / ESTIMATES))
    with duckdb.connect() as con:
        return tuple(AreaChange(*row) for row in con.execute(sql).fetchall())


def change_table(changes: Sequence[AreaChange]) -> str:
    """The areas that changed, as a table in Markdown; a sentence where none did."""
    rows = [
        f"| {c.geography_name} | {c.survey} | {c.cells_n:,} | {c.moved_n:,} | {c.shown_now_n:,} "
        f"| {c.hidden_now_n:,} | {c.new_n:,} | {c.gone_n:,} |"
        for c in changes
        if c.is_changed
    ]
    if not rows:
        return "No cell of an area changed.\n"
    head = "| area | survey | cells | moved | shown now | hidden now | new | gone |"
    return "\n".join((head, "|---|---|" + "---:|" * 6, *rows)) + "\n"
