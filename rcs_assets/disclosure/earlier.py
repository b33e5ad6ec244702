"""What earlier releases told: cells that are known already, cells that must wait, and what stays.

Belongs here: reading the packages of earlier releases, withdrawn ones included, beside the
exact counts that stood behind them, and what follows for protection. Does not belong here:
judging a finished release (`differences.py`), which shares nothing with this but the reading.

policy.md, How protection is judged, Change between releases: if the contributors of a cell in
two releases differ by 1-9, the old value is kept or both are suppressed. Values stay as they
are where the change moves no figure; elsewhere the cell is hidden, the earlier release being
superseded. What was shown before and has not changed is known to every reader: the attack
counts it as shown, so that two releases with different cells hidden do not fill each other.

What has not changed at all since the last release is hidden as it was, if the same rules made
that: its readers learn nothing from where a new search would have ended, and nothing is asked that
was answered then.

Contributors are compared by counts: at least so many pupils must have changed for base,
numerator and complement to differ so. Joiners and leavers who cancel out look like fewer: a
cell waits too long rather than too short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from rcs_assets.disclosure.grid import Bools, Grid, Shown, as_released
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.suppress import HIGH, LOW
from rcs_assets.errors import StorageError
from rcs_assets.storage import sql_literal
from rcs_assets.storage.code import code_version

# Who reads a withdrawn release has it still (release/withdraw.py keeps the files).
WITHDRAWN_FOLDER = ".withdrawn"
_ESTIMATES = Path("parquet") / "estimates.parquet"
_MANIFEST = "manifest.json"
_COUNTS = Path("safe_haven") / "parquet" / "estimates_unrounded.parquet"
_NAMES = (
    "survey",
    "indicator",
    "tranche",
    "engagement",
    "geography_level",
    "geography_code",
    "breakdown",
    '"group"',
)
CELL = ", ".join(_NAMES)
_KEYED = ", ".join(
    f"coalesce({name}, '') as {name}" if name in ("tranche", "engagement") else name
    for name in _NAMES
)

_TOLD = """
create or replace temp table sdc_told (
    release varchar, audience varchar, survey varchar, indicator varchar, tranche varchar,
    engagement varchar, geography_level varchar, geography_code varchar, breakdown varchar,
    "group" varchar, status varchar, note varchar, n double, estimate double, ci_low double,
    ci_high double, old_base double, old_yes double, old_sum double, has_counts boolean
)
"""
_TOLD_BY = """
insert into sdc_told by name
with counts as (
    select {keyed}, coalesce(base_n, 0) as old_base, coalesce(numerator_n, 0) as old_yes,
        coalesce(sum_x, 0) as old_sum, true as has_counts,
    from read_parquet({counts})
)
select
    {release} as release, {audience} as audience, {cell}, status, note, n, estimate, ci_low,
    ci_high, old_base, old_yes, old_sum, coalesce(has_counts, false) as has_counts,
from (
    select {keyed}, status, note, n, estimate, ci_low, ci_high from read_parquet({file})
) as shown
left join counts using ({cell})
where {own}
"""

# Columns: base_n, y_n, sum_x, statistic, score_low, score_high, n_step of now; sdc_told's.
CHANGED_LEAST = """
case
    when statistic = 'pct' then greatest(
        abs(base_n - old_base), abs(y_n - old_yes), abs((base_n - y_n) - (old_base - old_yes))
    )
    else greatest(
        abs(base_n - old_base),
        ceil(abs(sum_x - old_sum) / greatest(score_high - score_low, 1e-9) - 1e-6)
    )
end
"""
# Without counts of then (small schools together have no row there), the shown n is all.
SHOWN_CHANGED_LEAST = "ceil(abs(base_n - n) - n_step / 2 - 1e-9)"
# The same place in another release: what the figures say is the same or not.
FIGURES_DIFFER = """
(now_n, now_estimate, now_low, now_high) is distinct from (n, estimate, ci_low, ci_high)
"""

_COMPARED = f"""
create or replace temp table sdc_compared as
with now as (
    select
        survey, indicator, place_id, coalesce(tranche, '') as tranche,
        coalesce(engagement, '') as engagement, geography_level, geography_code, breakdown,
        "group", base_n, y_n, coalesce(sum_x, 0) as sum_x, statistic, score_low, score_high,
        n_step, empty_status is null as is_asked,
        empty_status is null and withheld_status is null as is_showable,
        if(view = 'own', 'cpp/' || engagement, 'public') as audience,
    from sdc_node
    where is_released
),
figures as (
    select audience, {_KEYED}, n as now_n, estimate as now_estimate, ci_low as now_low,
        ci_high as now_high,
    from sdc_figure
)
select
    survey, indicator, place_id, is_asked, is_showable, release, has_counts,
    status in ('published', 'u') as was_shown,
    status = 'c' as was_c,
    if(status = 'c', coalesce(note, ''), '') as was_noted,
    {FIGURES_DIFFER} as differs,
    -- A figure that moved was moved by somebody; of what is not known, the least is feared.
    case
        when has_counts then {CHANGED_LEAST}
        when was_c then 1
        when differs then greatest(1, {SHOWN_CHANGED_LEAST})
        else 0
    end as changed_n,
from now
inner join figures using (audience, {CELL})
left join sdc_told using (audience, {CELL})
"""
_EARLIER = """
create or replace temp table sdc_earlier as
select
    survey, indicator, place_id,
    bool_or(
        changed_n between 1 and $least - 1 and (was_c or (was_shown and differs))
    ) as is_held,
    bool_or(was_shown and has_counts and changed_n = 0) as is_known,
from sdc_compared
-- What is withheld now and was shown then is known all the same.
where is_asked and release is not null
group by all
"""
# Small schools together have no counts of their own: they change with those of the schools.
_BEFORE = """
create or replace temp table sdc_before as
with last as (
    select
        survey, indicator, place_id, coalesce(was_c, false) as was_hidden, was_noted,
        is_showable = (was_c or was_shown)
        and if(has_counts, changed_n = 0, was_c or not differs) as is_same,
    from sdc_compared
    where release is null or release = $release
)
select
    survey, indicator, place_id, was_hidden, was_noted, coalesce(is_same, false) as is_as_before,
from last
"""
_MASKS = f"""
select
    coalesce(is_held, false) as is_held, coalesce(is_known, false) as is_known,
    coalesce(was_hidden, false) as was_hidden,
    case was_noted when 'low' then {LOW} when 'high' then {HIGH} else 0 end as was_noted,
    bool_and(coalesce(is_as_before, not is_released)) over (partition by indicator)
        as is_as_before,
from sdc_node
left join sdc_earlier using (survey, indicator, place_id)
left join sdc_before using (survey, indicator, place_id)
where survey = $survey
order by indicator, place_id
"""


@dataclass(frozen=True)
class Earlier:
    """Of one survey's nodes, indicators × places.

    `held`: not shown now, since 1-9 pupils' change would be told; `known`: shown before, and
    nobody's answer has changed since. `is_as_before` (indicators): nothing of it has changed since
    the last release, which `was_hidden` and `was_noted` (as `Suppression.note`) speak of.
    """

    held: Bools
    known: Bools
    is_as_before: Bools
    was_hidden: Bools
    was_noted: NDArray[np.int8]

    @staticmethod
    def none(grid: Grid) -> Earlier:
        """There was no release before."""
        nothing = np.zeros(grid.base.shape, dtype=bool)
        return Earlier(nothing, nothing, nothing[:, 0], nothing, nothing.astype(np.int8))


def with_known(grid: Grid, shown: Shown, earlier: Earlier) -> Shown:
    """What a reader of this release and of those before has: a cell that has not changed stands."""
    # What is small by the rules of today was shown by others: no reader can hold it to these.
    known = earlier.known & ~grid.is_empty & ~grid.is_primary
    if not known.any():
        return shown
    told = as_released(grid, np.zeros_like(known), shown.note)
    more = known & ~shown.is_shown
    bounds = {
        name: np.where(more, getattr(told, name), getattr(shown, name))
        for name in ("low_n", "high_n", "low_p", "high_p")
    }
    return replace(shown, is_shown=shown.is_shown | known, was_shown=known, **bounds)


def earlier_releases(releases: Path) -> tuple[Path, ...]:
    """Folders of all releases that were ever published from an installation, oldest first.

    Args:
        releases: the folder `releases/` of the home.
    """
    found = {}
    for place in (releases, releases / WITHDRAWN_FOLDER):
        if place.is_dir():
            # A withdrawn release has a tombstone in its place, without tables.
            for folder in place.iterdir():
                if (
                    not folder.is_symlink()
                    and not folder.name.startswith(".")
                    and (folder / "public" / _ESTIMATES).is_file()
                ):
                    found[folder.name] = folder
    return tuple(found[name] for name in sorted(found, key=_order))


def _order(version: str) -> tuple[int, ...]:
    """Ten comes after nine."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def read_told(con: duckdb.DuckDBPyConnection, earlier: Sequence[Path]) -> None:
    """Make `sdc_told`: each cell that a release before showed or hid, with the counts behind.

    Args:
        con: any connection.
        earlier: folders of releases.

    Raises:
        StorageError: a package or the counts behind it cannot be read: nothing is compared then,
            so nothing may be published.
    """
    con.execute(_TOLD)
    for folder in earlier:
        for audience, file in _packages(folder):
            own = "true" if audience == "public" else "engagement <> ''"
            try:
                con.execute(
                    _TOLD_BY.format(
                        keyed=_KEYED,
                        cell=CELL,
                        counts=sql_literal(folder / _COUNTS),
                        file=sql_literal(file),
                        release=sql_literal(folder.name),
                        audience=sql_literal(audience),
                        own=own,
                    )
                )
            except duckdb.Error:
                raise StorageError(
                    f"What release {folder.name} told cannot be read",
                    where=f"{folder.name}/{file.relative_to(folder)} and {_COUNTS}",
                    why="a release is attacked together with all before it; without one of them "
                    "nobody knows what the two tell together",
                    fix="run: rcs release verify; restore the folder from its backup",
                ) from None


def _packages(folder: Path) -> Iterator[tuple[str, Path]]:
    yield "public", folder / "public" / _ESTIMATES
    for package in sorted((folder / "cpp").glob("*")):
        if (package / _ESTIMATES).is_file():
            yield f"cpp/{package.name}", package / _ESTIMATES


def compare_with_earlier(
    con: duckdb.DuckDBPyConnection, earlier: Sequence[Path], policy: Policy
) -> None:
    """Make `sdc_earlier`, nodes that are held or known, and `sdc_before`, what the last one hid.

    Args:
        con: a connection with `sdc_node` and `sdc_figure` (what each cell shows if it is shown).
        earlier: folders of releases, oldest first.
        policy: contributors that a change needs to be told (policy.yaml, releases); its version.
    """
    read_told(con, earlier)
    con.execute(_COMPARED)
    con.execute(_EARLIER, {"least": policy.changed_least})
    last = earlier[-1]
    con.execute(_BEFORE, {"release": last.name if _is_made_alike(last, policy) else ""})


def _is_made_alike(release: Path, policy: Policy) -> bool:
    """Whether today's rules, in policy and code, made a release.

    One that is withdrawn, or does not say what made it, is no model: all is hidden anew then.
    """
    if release.parent.name == WITHDRAWN_FOLDER:
        return False
    try:
        made_by = json.loads((release / _MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    now = {"policy_version": policy.version, "code_version": code_version()}
    return all(made_by.get(name) == version for name, version in now.items())


def read_earlier(con: duckdb.DuckDBPyConnection, grid: Grid) -> Earlier:
    """What the releases before mean for one survey, from `sdc_earlier` and `sdc_before`."""
    found = con.execute(_MASKS, {"survey": grid.survey}).fetchnumpy()
    shape = grid.base.shape

    def flags(name: str) -> Bools:
        return np.asarray(found[name], dtype=bool).reshape(shape)

    return Earlier(
        flags("is_held"),
        flags("is_known"),
        # The same in every place.
        flags("is_as_before")[:, 0],
        flags("was_hidden"),
        np.asarray(found["was_noted"], dtype=np.int8).reshape(shape),
    )
