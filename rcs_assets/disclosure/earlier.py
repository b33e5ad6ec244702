"""What earlier releases told: cells that are known already, cells that must wait, and what stays.

Belongs here: reading the packages of earlier releases, withdrawn ones included, beside the
exact counts that stood behind them, and what follows for protection. Does not belong here:
judging a finished release (`differences.py`), which shares nothing with this but the reading.

policy.md, How protection is judged, Change between releases: if the contributors of a cell in
two releases differ by 1-9, the old value is kept or both are suppressed. In a CPP or above the
number of pupils is kept (`kept.py`), and the cell shown where the change moves neither figure nor
range, and could have moved none (`unmoved.py`); elsewhere the cell is hidden, the earlier release
being superseded. What was shown before and has not changed is known to every reader, notes too, and
what has no row any more: the attack counts it as shown, with the rounding of then, so that two
releases with different cells hidden do not fill each other. What was not shown then stays hidden
while fewer than ten have changed in it, if anything of the indicator has: it would be a figure of
then, and tell what was hidden beside it then and is another now. So would a note that was not there
then: it is not written.

What has not changed at all since the last release is hidden as it was, if the same rules made
that: its readers learn nothing from where a new search would have ended, and nothing is asked that
was answered then.

Contributors are compared by counts: at least so many pupils must have changed for base, numerator
and complement to differ so, and one at least where the marks of who answered what differ though
the counts do not. Joiners and leavers who cancel out look like fewer: a cell waits too long rather
than too short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.disclosure.beside import unreadable
from rcs_assets.disclosure.grid import (
    INSIDE,
    Bools,
    Floats,
    Grid,
    Shown,
    as_released,
    figures,
    proportions,
    rounded,
    what_rounding_leaves,
)
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.secondary import counts_behind
from rcs_assets.disclosure.story import COLUMNS, Stories
from rcs_assets.disclosure.suppress import HIGH, LOW, NOISE
from rcs_assets.disclosure.unmoved import Unmoved
from rcs_assets.storage import sql_literal
from rcs_assets.storage.code import code_version
from rcs_assets.storage.home import TOMBSTONE, WITHDRAWN_FOLDER

_ESTIMATES = Path("parquet") / "estimates.parquet"
# Kinds of packages whose tables are compared.
_TELLING = ("public", "cpp", "school")
_MANIFEST = "manifest.json"
_COUNTS = Path(SAFE_HAVEN) / "parquet" / "estimates_unrounded.parquet"
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
KEYED = ", ".join(
    f"coalesce({name}, '') as {name}" if name in ("tranche", "engagement") else name
    for name in _NAMES
)

_TOLD = """
create or replace temp table sdc_told (
    release varchar, audience varchar, survey varchar, indicator varchar, tranche varchar,
    engagement varchar, geography_level varchar, geography_code varchar, breakdown varchar,
    "group" varchar, status varchar, note varchar, n double, estimate double, ci_low double,
    ci_high double, old_base double, old_yes double, old_sum double, old_sd double,
    old_mark bigint, has_counts boolean
)
"""
_TOLD_BY = """
insert into sdc_told by name
select
    {release} as release, {audience} as audience, {cell}, status, note, n, estimate, ci_low,
    ci_high, old_base, old_yes, old_sum, old_sd, old_mark,
    coalesce(has_counts, false) as has_counts,
from (
    select {keyed}, status, note, n, estimate, ci_low, ci_high from read_parquet({file})
) as shown
left join (from sdc_then where release = {release}) as counts using ({cell})
where {own}
"""
# All counts behind a release, of cells without a row too.
_THEN = """
create or replace temp table sdc_then (
    release varchar, survey varchar, indicator varchar, tranche varchar, engagement varchar,
    geography_level varchar, geography_code varchar, breakdown varchar, "group" varchar,
    old_base double, old_yes double, old_sum double, old_sd double, old_mark bigint,
    has_counts boolean
)
"""
_THEN_BY = """
insert into sdc_then by name
select
    {release} as release, {keyed}, coalesce(base_n, 0) as old_base,
    coalesce(numerator_n, 0) as old_yes, coalesce(sum_x, 0) as old_sum, coalesce(sd, 0) as old_sd,
    answers_mark::bigint as old_mark, true as has_counts,
from (
    from read_parquet({counts})
    -- Releases of before this column have none.
    union all by name (select null::bigint as answers_mark limit 0)
)
"""

# Columns: base_n, y_n, sum_x, sd, answers_mark, statistic, score_low, score_high of now, and those
# of sdc_then.
CHANGED_LEAST = """
greatest(
    if(
        statistic = 'pct',
        greatest(
            abs(base_n - old_base), abs(y_n - old_yes), abs((base_n - y_n) - (old_base - old_yes))
        ),
        -- Who leaves takes his whole score along, who changes it no more than the scale is long.
        abs(base_n - old_base) + ceil(
            greatest(
                (sum_x - old_sum)
                - (base_n - old_base) * if(base_n > old_base, score_high, score_low),
                (base_n - old_base) * if(base_n > old_base, score_low, score_high)
                - (sum_x - old_sum),
                0
            ) / greatest(score_high - score_low, 1e-9) - 1e-6
        )
    ),
    -- Changes that cancel out in all sums are changes; scores that lie otherwise, in releases that
    -- kept no marks.
    if(answers_mark <> old_mark or (statistic <> 'pct' and abs(sd - old_sd) > 1e-6), 1, 0)
)
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
        "group", base_n, y_n, coalesce(sum_x, 0) as sum_x, coalesce(sd, 0) as sd, answers_mark,
        statistic, score_low, score_high, n_step,
        if(statistic = 'mean', mean_step, pct_step) as step, k_numerator, k_complement,
        is_released, empty_status is null as is_asked,
        empty_status is null and withheld_status is null as is_showable,
        if(view = 'own', 'cpp/' || engagement, 'public') as audience,
        if(view = 'own', engagement, '') as holder,
        view = 'own' or geography_level = 'cpp' as is_inside,
        -- What a note of then says by the rules of today, if it says so still.
        case
            when statistic <> 'pct' or base_n < k_base then ''
            when y_n < k_numerator then 'low'
            when c_n < k_complement then 'high'
            else ''
        end as may_note,
    from sdc_node
),
figures as (
    select audience, {KEYED}, n as now_n, estimate as now_estimate, ci_low as now_low,
        ci_high as now_high,
    from sdc_figure
),
compared as (
    select
        survey, indicator, place_id, holder, is_inside, is_released, is_asked, is_showable,
        may_note, release, coalesce(then_.has_counts, false) as has_counts, n,
        estimate, coalesce(status in ('published', 'u'), false) as was_shown,
        coalesce(status = 'c', false) as was_c,
        if(status = 'c', coalesce(note, ''), '') as was_noted,
        {FIGURES_DIFFER} as differs, statistic, score_low, score_high, n_step, step,
        -- Who changed is known there, and figures that tell nothing by themselves may together.
        geography_level in ('school', 'cluster') as is_small_area, k_numerator, k_complement,
        base_n - old_base as joined_n, old_base,
        -- A figure that moved was moved by somebody; of what is not known, the least is feared.
        case
            when then_.has_counts then {CHANGED_LEAST}
            when was_c then 1
            when was_shown and differs then greatest(1, {SHOWN_CHANGED_LEAST})
            else 0
        end as changed_n,
    from now
    cross join (select unnest($releases::varchar[]) as release) as releases
    left join figures using (audience, {CELL})
    left join (
        select * exclude (old_base, old_yes, old_sum, old_sd, old_mark, has_counts) from sdc_told
    ) using (release, audience, {CELL})
    left join sdc_then as then_ using (release, {CELL})
)
select
    *,
    -- Somebody's answer has changed, in a CPP for its holder, in any for everybody.
    bool_or(has_counts and is_inside and changed_n > 0)
        over (partition by release, survey, indicator, holder) as is_astir,
from compared
"""
# Areas' figures that are as they were, though a few have changed.
_UNMOVED = """
select
    release, survey, indicator, place_id, n, n_step,
    if(statistic = 'mean', estimate - step / 2, (estimate - step / 2) / 100) as low,
    if(statistic = 'mean', estimate + step / 2, (estimate + step / 2) / 100) as high,
    if(statistic = 'mean', 0, k_numerator) as k_numerator,
    if(statistic = 'mean', 0, k_complement) as k_complement,
    coalesce(score_low, 0) as one_low, coalesce(score_high, 1) as one_high,
    joined_n as joined, changed_n as changed,
    if(old_base >= n - n_step / 2 and old_base < n + n_step / 2, 0, $slack) as slack_then,
    $slack as slack_now, statistic <> 'mean' as is_share,
from sdc_compared
where was_shown and has_counts and not differs and not is_small_area
    and changed_n between 1 and $least - 1
"""
# All figures of areas' cells that were shown, and the one of now, in the order of their releases:
# of cells with two before this one, if fewer than ten changed between two that follow each other.
_STORIES = f"""
with asked as (
    select survey, indicator, place_id
    from sdc_compared
    where was_shown and has_counts and is_showable and not is_small_area
    group by all
    having count(*) > 1
),
nodes as (
    select
        survey, indicator, place_id, if(view = 'own', 'cpp/' || engagement, 'public') as audience,
        {KEYED}, base_n, y_n, coalesce(sum_x, 0) as sum_x, coalesce(sd, 0) as sd, answers_mark,
        statistic, score_low, score_high, n_step, k_numerator, k_complement,
        if(statistic = 'mean', mean_step, pct_step) as step,
    from sdc_node semi join asked using (survey, indicator, place_id)
),
figures as (
    select
        nodes.* replace (
            old_base as base_n, old_yes as y_n, old_sum as sum_x, old_sd as sd,
            old_mark as answers_mark
        ),
        n, estimate, list_position($releases::varchar[], release) as place,
    from nodes inner join sdc_told using (audience, {CELL})
    where status in ('published', 'u') and has_counts
    union all by name
    select nodes.*, f.n::double as n, f.estimate::double as estimate, len($releases) + 1 as place,
    from nodes inner join (select audience, {KEYED}, n, estimate from sdc_figure) as f
        using (audience, {CELL})
    where f.n is not null
),
ordered as (
    select
        *, lag(base_n) over story as old_base, lag(y_n) over story as old_yes,
        lag(sum_x) over story as old_sum, lag(sd) over story as old_sd,
        lag(answers_mark) over story as old_mark,
        row_number() over story as figure_no,
        count(*) over (partition by survey, indicator, place_id) as figures_n,
    from figures
    window story as (partition by survey, indicator, place_id order by place)
)
select
    survey, indicator, place_id, figure_no, figures_n, n, n_step,
    if(statistic = 'mean', estimate - step / 2, (estimate - step / 2) / 100) as low,
    if(statistic = 'mean', estimate + step / 2, (estimate + step / 2) / 100) as high,
    if(statistic = 'mean', 0, k_numerator) as k_numerator,
    if(statistic = 'mean', 0, k_complement) as k_complement,
    coalesce(score_low, 0) as one_low, coalesce(score_high, 1) as one_high,
    statistic <> 'mean' as is_share,
    if(figure_no < figures_n and base_n >= n - n_step / 2 and base_n < n + n_step / 2, 0, $slack)
        as slack,
    coalesce(base_n - old_base, 0) as joined, coalesce({CHANGED_LEAST}, 0) as changed,
from ordered
window cell_ as (partition by survey, indicator, place_id)
-- It is asked whether the figure of now tells: there must be one.
qualify max(place) over cell_ > len($releases)
    and bool_or(changed between 1 and $least - 1) over cell_
order by figures_n, survey, indicator, place_id, figure_no
"""
_EARLIER = """
create or replace temp table sdc_earlier as
select
    survey, indicator, place_id,
    bool_or(was_shown and has_counts and changed_n = 0) as is_known,
    bool_or(
        changed_n between 1 and $least - 1
        and (
            was_c
            or (
                was_shown
                and (differs or is_small_area or coalesce(tells, false))
            )
        )
    )
    -- Ten may have changed since the last release, and two between those before.
    or bool_or(coalesce(tells_with_all, false))
    -- What was not shown then and is no other now would tell what was hidden beside it then.
    or (
        bool_or(changed_n < $least and not was_shown and has_counts and is_astir)
        and not is_known
    ) as is_held,
    -- A note that was not there would say what a few of then and those who changed are together.
    bool_or(was_noted <> may_note and changed_n < $least and is_astir and (was_c or was_shown))
        as is_silent,
    any_value(was_noted) filter (
        was_noted <> '' and was_noted = may_note and has_counts and changed_n = 0
    ) as known_note,
    arg_max(n, release) filter (was_shown and has_counts and changed_n = 0) as known_n,
    arg_max(estimate, release) filter (was_shown and has_counts and changed_n = 0)
        as known_estimate,
from sdc_compared
left join (select *, true as tells from sdc_telling)
    using (release, survey, indicator, place_id)
left join (select *, true as tells_with_all from sdc_telling_story)
    using (survey, indicator, place_id)
-- What is withheld now, or has no row (a school has become smaller), and was shown then is known
-- all the same.
where is_asked
group by all
"""
# Small schools together have no counts of their own: they change with those of the schools.
_BEFORE = """
create or replace temp table sdc_before as
with last as (
    select
        survey, indicator, place_id, was_c as was_hidden, was_noted,
        is_showable = (was_c or was_shown)
        and if(has_counts, changed_n = 0, was_c or not differs) as is_as_before,
    from sdc_compared
    where is_released and release = $release
)
from last
"""
_CODE = f"case {{}} when 'low' then {LOW} when 'high' then {HIGH} else 0 end"
_MASKS = f"""
select
    coalesce(is_held, false) as is_held, coalesce(is_silent, false) as is_silent,
    coalesce(is_known, false) as is_known,
    {_CODE.format("known_note")} as known_note, known_n, known_estimate,
    coalesce(was_hidden, false) as was_hidden,
    {_CODE.format("was_noted")} as was_noted,
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

    `held`: not shown now, since it would tell what 1-9 pupils changed, or what was hidden then;
    `silent`: without a note, since there was none and fewer than ten have changed in it;
    `known`: shown before, and nobody's answer has changed since, as `known_n` pupils and
    `known_estimate` (0 elsewhere); `known_note` (as `Suppression.note`): so with a note.
    `is_as_before` (indicators): nothing of it has changed since the last release, which
    `was_hidden` and `was_noted` speak of.
    """

    held: Bools
    silent: Bools
    known: Bools
    known_note: NDArray[np.int8]
    known_n: Floats
    known_estimate: Floats
    is_as_before: Bools
    was_hidden: Bools
    was_noted: NDArray[np.int8]

    @staticmethod
    def none(grid: Grid) -> Earlier:
        """There was no release before."""
        nothing = np.zeros(grid.base.shape, dtype=bool)
        no_note, no_figure = nothing.astype(np.int8), nothing.astype(np.float64)
        return Earlier(
            held=nothing,
            silent=nothing,
            known=nothing,
            known_note=no_note,
            known_n=no_figure,
            known_estimate=no_figure,
            is_as_before=nothing[:, 0],
            was_hidden=nothing,
            was_noted=no_note,
        )


def with_known(grid: Grid, shown: Shown, earlier: Earlier) -> Shown:
    """What a reader of this release and of those before has: a cell that has not changed stands."""
    known = earlier.known & ~grid.is_empty
    # What is small by the rules of today was shown by others: no reader can hold it to these.
    k_base = np.where(grid.is_primary, 0.0, grid.k_base)
    # Protection knows which numbers stay, the audit does not: both go by what was shown.
    stays = _stays(grid, earlier)
    grid = replace(grid, k_base=k_base, kept_n=np.where(stays, earlier.known_n, np.nan))
    now, then = as_released(grid, np.zeros_like(known), shown.note), _left_open(grid, earlier)
    bounds = {
        name: np.where(known, closest(getattr(now, name), bound), getattr(shown, name))
        for name, closest, bound in zip(
            ("low_n", "high_n", "low_p", "high_p"),
            (np.maximum, np.minimum, np.maximum, np.minimum),
            then,
            strict=True,
        )
    }
    return with_notes(
        replace(
            shown,
            is_shown=shown.is_shown | known,
            was_shown=known,
            was_noted=earlier.known_note,
            **bounds,
        )
    )


def _stays(grid: Grid, earlier: Earlier) -> Bools:
    """Known cells whose number had stayed from a release before: it says no more than it did then.

    To round what is counted now would be to know more of them than any release has told.
    """
    low, high = counts_behind(earlier.known_n, grid.n_step)
    is_off = (grid.base < low) | (grid.base > high)
    is_near = (grid.base >= low - grid.n_slack) & (grid.base <= high + grid.n_slack)
    is_area = ~np.isin(grid.level, INSIDE)
    is_rounded = earlier.known_n % grid.n_step == 0
    return np.asarray(earlier.known & is_area & is_off & is_near & is_rounded)


def _left_open(grid: Grid, earlier: Earlier) -> tuple[Floats, Floats, Floats, Floats]:
    """What the rounding of then left open of known cells: low_n, high_n, low_p, high_p."""
    is_mean = grid.is_mean[:, None]
    # Weights move figures of which nobody has changed: the one of today stands for all.
    is_area = ~np.isin(grid.level, INSIDE)
    shown = np.where(is_area, figures(grid), earlier.known_estimate)
    today = np.where(is_mean, grid.mean_step, grid.pct_step)
    step = _step_behind(shown, proportions(grid), today, is_mean)
    n_step = _step_behind(earlier.known_n, grid.base, grid.n_step, np.ones_like(is_mean))
    n_step = np.where(np.isnan(grid.kept_n), n_step, grid.n_step)
    then = replace(grid, n_step=n_step, pct_step=step, mean_step=step)
    return what_rounding_leaves(then, earlier.known_n, shown)


def _step_behind(shown: Floats, true: Floats, step: Floats, alike: Bools) -> Floats:
    """To what a shown figure was rounded: as today if that says the same, else finer.

    Rules change, and a school's follow its size. The finest of today's steps that can have made
    the figure is taken, or else about what it is off the truth: no reader knows more.

    Args:
        shown, true: figures of then, unrounded ones.
        step: today's steps.
        alike: rows that have figures of the same kind.
    """
    off = np.abs(shown - true)
    found = np.where(rounded(true, step) == shown, step, 2 * off + 1)
    is_other = found != step
    for among in (alike, ~alike):
        for one in np.unique(step[among[:, 0]])[::-1]:
            fits = is_other & among & (off <= one / 2 + NOISE)
            found = np.where(fits, one, found)
    return found


def with_notes(shown: Shown) -> Shown:
    """What notes of releases before say where this one says nothing."""
    is_silent = ~shown.is_shown & (shown.note == 0)
    return replace(shown, note=np.where(is_silent, shown.was_noted, shown.note))


def earlier_releases(releases: Path) -> tuple[Path, ...]:
    """Folders of all releases that were ever published from an installation, oldest first.

    Who read a withdrawn release has it still. What lacks its tables is named too: whoever reads
    them is told then, and nothing is published as if it had never been.

    Args:
        releases: the folder `releases/` of the home.

    Raises:
        StorageError: a release has lost a whole package: what it told would be taken as unsaid.
    """
    kept, found = releases / WITHDRAWN_FOLDER, {}
    for place in (releases, kept):
        for folder in place.iterdir() if place.is_dir() else ():
            if folder.is_dir() and not (folder.is_symlink() or folder.name.startswith(".")):
                is_tombstone = (folder / TOMBSTONE).is_file()
                found[folder.name] = kept / folder.name if is_tombstone else folder
    for folder in found.values():
        _refuse_lost_packages(folder)
    return tuple(found[name] for name in sorted(found, key=_order))


def _refuse_lost_packages(folder: Path) -> None:
    """A package that is gone with its folder leaves no table behind that could not be read."""
    try:
        listed = json.loads((folder / _MANIFEST).read_text(encoding="utf-8")).get("packages", {})
    except (FileNotFoundError, ValueError):
        return  # its tables are asked for one by one
    for name in sorted(listed):
        if name.split("/")[0] in _TELLING and not (folder / name).is_dir():
            raise unreadable(folder, name)


def _order(version: str) -> tuple[int, ...]:
    """Ten comes after nine."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def read_told(con: duckdb.DuckDBPyConnection, earlier: Sequence[Path]) -> None:
    """Make `sdc_told`: each cell that a release before showed or hid, with the counts behind.

    `sdc_then` holds all counts behind each release.

    Args:
        con: any connection.
        earlier: folders of releases.

    Raises:
        StorageError: a package or the counts behind it cannot be read: nothing is compared then,
            so nothing may be published.
    """
    con.execute(_TOLD + ";" + _THEN)
    for folder in earlier:
        name, counts = sql_literal(folder.name), sql_literal(folder / _COUNTS)
        _read(con, folder, _COUNTS, _THEN_BY.format(keyed=KEYED, release=name, counts=counts))
        for audience, file in _packages(folder):
            sql = _TOLD_BY.format(
                keyed=KEYED,
                cell=CELL,
                file=sql_literal(file),
                release=name,
                audience=sql_literal(audience),
                own="true" if audience == "public" else "engagement <> ''",
            )
            _read(con, folder, file.relative_to(folder), sql)


def _read(con: duckdb.DuckDBPyConnection, folder: Path, file: Path, sql: str) -> None:
    """Read a file of a release."""
    try:
        con.execute(sql)
    except duckdb.Error:
        raise unreadable(folder, str(file)) from None


def _packages(folder: Path) -> Iterator[tuple[str, Path]]:
    yield "public", folder / "public" / _ESTIMATES
    for package in sorted((folder / "cpp").glob("*")):
        yield f"cpp/{package.name}", package / _ESTIMATES


def compare_with_earlier(
    con: duckdb.DuckDBPyConnection, earlier: Sequence[Path], policy: Policy
) -> None:
    """Make `sdc_earlier`, nodes that are held or known, and `sdc_before`, what the last one hid.

    Args:
        con: a connection with `sdc_node`, `sdc_told` (`read_told`) and `sdc_figure` (what each cell
            shows if it is shown).
        earlier: folders of releases, oldest first.
        policy: contributors that a change needs to be told (policy.yaml, releases); its version.
    """
    con.execute(_COMPARED, {"releases": [folder.name for folder in earlier]})
    _find_telling(con, policy)
    _find_telling_stories(con, [folder.name for folder in earlier], policy)
    con.execute(_EARLIER, {"least": policy.changed_least})
    last = earlier[-1]
    con.execute(_BEFORE, {"release": last.name if _is_made_alike(last, policy) else ""})


def _find_telling(con: duckdb.DuckDBPyConnection, policy: Policy) -> None:
    """Make `sdc_telling`: cells whose figure is the same, and tells for that very reason."""
    limits = {"least": policy.changed_least, "slack": policy.n_slack}
    unmoved = con.execute(_UNMOVED, limits).to_arrow_table()
    names = [each.name for each in fields(Unmoved)]
    cells = Unmoved(*(unmoved[name].to_numpy().astype(np.float64) for name in names))
    telling = unmoved.select(["release", "survey", "indicator", "place_id"])
    con.register("telling_rows", telling.filter(pa.array(cells.tells())))
    con.execute("create or replace temp table sdc_telling as from telling_rows")
    con.unregister("telling_rows")


def _find_telling_stories(
    con: duckdb.DuckDBPyConnection, releases: list[str], policy: Policy
) -> None:
    """Make `sdc_telling_story`: cells whose figure tells beside all that were shown before."""
    limits = {"least": policy.changed_least, "slack": policy.n_slack}
    rows = con.execute(_STORIES, limits | {"releases": releases}).to_arrow_table()
    lengths = rows["figures_n"].to_numpy()
    telling = []
    for length in np.unique(lengths):
        some = rows.filter(pa.array(lengths == length))
        figures = {
            name: some[name].to_numpy().astype(np.float64).reshape(-1, length) for name in COLUMNS
        }
        cells = some.select(["survey", "indicator", "place_id"]).take(
            pa.array(np.arange(0, len(some), length))
        )
        telling.append(cells.filter(pa.array(Stories(figures, policy.changed_least).tells())))
    names = rows.select(["survey", "indicator", "place_id"])
    con.register("telling_rows", pa.concat_tables(telling) if telling else names[:0])
    con.execute("create or replace temp table sdc_telling_story as from telling_rows")
    con.unregister("telling_rows")


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

    def numbers(name: str) -> Floats:
        values = np.ma.filled(np.ma.asarray(found[name], dtype=np.float64), 0.0)
        return np.asarray(values, dtype=np.float64).reshape(shape)

    def notes(name: str) -> NDArray[np.int8]:
        return np.asarray(found[name], dtype=np.int8).reshape(shape)

    return Earlier(
        flags("is_held"),
        flags("is_silent"),
        flags("is_known"),
        notes("known_note"),
        numbers("known_n"),
        numbers("known_estimate"),
        # The same in every place.
        flags("is_as_before")[:, 0],
        flags("was_hidden"),
        notes("was_noted"),
    )
