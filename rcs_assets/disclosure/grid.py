"""One survey's nodes as arrays: indicators down, places across.

Belongs here: fetching `sdc_node` into numpy, what rounding leaves open of a shown figure,
and which places are parts of which (lines). Does not belong here: deciding what is hidden
(`suppress.py`) and what follows from what is shown (`attack.py`).

The grid of estimates is complete: every indicator of a survey has the same places. So what
is part of what is worked out once a survey, and rules are array operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from rcs_assets.disclosure.cells import HOLDS_AREA, HOLDS_GROUP
from rcs_assets.disclosure.secondary import counts_behind
from rcs_assets.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Texts = NDArray[np.object_]

# Stands for "no public roll": larger than any count, and sums of it stay exact.
NO_LIMIT = 1e9
# So few cells (indicators × places) are protected, or attacked, before a worker has begun.
LITTLE = 10_000
# Decimals of shown values: more than any step has, so that noise of the arithmetic goes.
DECIMALS = 6
QUANTITIES = ("base", "numerator", "complement")
# Levels that only a CPP's own package shows.
INSIDE = ("school", "cluster")

_PLACES = """
create or replace temp table sdc_place as
select
    survey, place_id::integer as place_id, view, unit, geography_level, engagement, tranche,
    breakdown, "group", is_released,
from sdc_node
where (survey, indicator) in (select (survey, min(indicator)) from sdc_node group by survey)
order by survey, place_id
"""

# The CPPs, stages and sexes of which a place's figure is a weighted sum.
_WEIGHTED = f"""
create or replace temp table sdc_weighted as
select e.survey, e.place_id, w.engagement, w.stage, w.sex, w.weight,
from sdc_place as e
inner join sdc_weight as w
    on w.survey = e.survey and ({HOLDS_AREA}) and ({HOLDS_GROUP})
"""

# Lines: a place (the total) and the places that it is the sum of. `kind` names the line.
_GROUPS = """
select t.place_id as total, p.place_id as part, p.breakdown as kind
from sdc_place as p
inner join sdc_place as t
    on t.survey = p.survey and t.view = p.view and t.unit = p.unit and t.breakdown = 'total'
where p.survey = $survey and p.breakdown not in ('total', 'stage:sex')
union all
select t.place_id, p.place_id, 'sexes'
from sdc_place as p
inner join sdc_place as t
    on t.survey = p.survey and t.view = p.view and t.unit = p.unit and t.breakdown = 'stage'
    and t."group" = split_part(p."group", ':', 1)
where p.survey = $survey and p.breakdown = 'stage:sex'
union all
select t.place_id, p.place_id, 'stages'
from sdc_place as p
inner join sdc_place as t
    on t.survey = p.survey and t.view = p.view and t.unit = p.unit and t.breakdown = 'sex'
    and t."group" = split_part(p."group", ':', 2)
where p.survey = $survey and p.breakdown = 'stage:sex'
"""

# Areas: within a CPP by its own package; above it by what the public sees, and once more for
# each CPP that sees its own package beside the public one.
_AREAS = """
select t.place_id as total, p.place_id as part, 'areas' as kind
from sdc_place as p
inner join sdc_parent as u on u.survey = p.survey and u.child = p.unit
inner join sdc_place as t
    on t.survey = p.survey and t.unit = u.parent and t.view = p.view
    and t.breakdown = p.breakdown and t."group" = p."group"
where p.survey = $survey
union all
select t.place_id, p.place_id, 'CPPs'
from sdc_place as p
inner join sdc_place as t
    on t.survey = p.survey and t.geography_level = 'all' and t.view = p.view
    and t.breakdown = p.breakdown and t."group" = p."group"
where p.survey = $survey and p.view = 'public' and p.geography_level = 'cpp'
union all
select t.place_id, if(p.engagement = h.engagement, o.place_id, p.place_id),
    'seen by ' || h.engagement
from sdc_place as p
inner join (
    select distinct survey, engagement, tranche from sdc_place where geography_level = 'cpp'
) as h on h.survey = p.survey
inner join sdc_place as t
    on t.survey = p.survey and t.view = p.view
    and t.breakdown = p.breakdown and t."group" = p."group"
    and (t.unit = 'all' or (t.unit = 'tranche:' || p.tranche and h.tranche = p.tranche))
left join sdc_place as o
    on o.survey = p.survey and o.view = 'own' and o.unit = p.unit
    and o.breakdown = p.breakdown and o."group" = p."group"
where p.survey = $survey and p.view = 'public' and p.geography_level = 'cpp'
"""

# A cluster less its reported schools is its small schools together.
_SMALL = """
with small as (
    select t.place_id as total, s.place_id as together, t.unit
    from sdc_place as t
    inner join sdc_place as s
        on s.survey = t.survey and s.unit = t.unit || '-small' and s.breakdown = 'total'
    where t.survey = $survey and t.breakdown = 'total' and t.view = 'own'
),
schools as (
    select p.place_id, k.parent, k.is_small
    from sdc_place as p
    inner join sdc_school as k on k.survey = p.survey and k.unit = p.unit
    where p.survey = $survey and p.breakdown = 'total'
)
select small.total, small.together as part, 'reported' as kind from small
union all
select small.total, schools.place_id, 'reported'
from small inner join schools on schools.parent = small.unit and not schools.is_small
union all
select small.together, schools.place_id, 'small'
from small inner join schools on schools.parent = small.unit and schools.is_small
"""


@dataclass(frozen=True)
class Lines:
    """Pairs of a line and its parts, ordered by line: `total[line]`, `line[pair]`, `part[pair]`.

    `start[line]` is the line's first pair. `is_private[line]`: the holder of one CPP's package
    alone reads it, with his own figures in the place of the public ones.
    """

    total: Ints
    line: Ints
    part: Ints
    start: Ints
    is_private: Bools


@dataclass(frozen=True)
class Grid:
    """The nodes of one survey.

    One entry a place: `view`, `unit`, `level`, `engagement`, `breakdown`, `group`,
    `is_released` (its package has a row for it), `spread` (the least weight in it over the
    largest; 1 where its figures are not weighted, or all weigh the same). One row an indicator,
    one column a place:
    counts (`base`, `numerator`, `complement`, `score_sum`), `estimate` as the wellbeing room made
    it, `roll` (of a school's total no more
    than its size class has, of a holder's own total no more than those of its schools), thresholds
    (`k_*`), steps,
    `k_base` is what a shown cell reaches, `k_protected` what a hidden base is kept below;
    `is_showable` (released, asked, not withheld), `is_empty` (not asked or nobody on the roll),
    `is_primary`. `kept_n`: the number of pupils that a release before showed and that stays
    (`kept.py`), nan where there is none. One entry an indicator: `indicators`, `is_mean`,
    `score_low`, `score_high`. `n_slack`: how many pupils a kept number may be off beyond its
    rounding, 0 in a first release.
    """

    survey: str
    indicators: Texts
    is_mean: Bools
    score_low: Floats
    score_high: Floats
    view: Texts
    unit: Texts
    level: Texts
    engagement: Texts
    breakdown: Texts
    group: Texts
    is_released: Bools
    spread: Floats
    base: Floats
    numerator: Floats
    complement: Floats
    score_sum: Floats
    estimate: Floats
    roll: Floats
    k_base: Floats
    k_protected: Floats
    k_numerator: Floats
    k_complement: Floats
    pct_step: Floats
    mean_step: Floats
    n_step: Floats
    is_showable: Bools
    is_empty: Bools
    is_primary: Bools
    kept_n: Floats
    n_slack: int = 0

    def small(self, quantity: str) -> Bools:
        """Where a quantity is below its k: what an attacker may not learn."""
        return self._small[quantity]

    @cached_property
    def total_at(self) -> Ints:
        """Of each place the total of its area in the same view: every area has one (`cells.py`)."""
        area = self.unit.astype(str) + " " + self.view.astype(str)
        totals = np.flatnonzero(self.breakdown == "total")
        names, first = np.unique(area[totals], return_index=True)
        return np.asarray(totals[first][np.searchsorted(names, area)], dtype=np.int64)

    @cached_property
    def _small(self) -> dict[str, Bools]:
        """Asked anew by every attack on every indicator."""
        return {quantity: self._is_small(quantity) for quantity in QUANTITIES}

    def _is_small(self, quantity: str) -> Bools:
        judged = self.base >= 0 if quantity == "base" else ~self.is_mean[:, None]
        return np.asarray(judged & ~self.is_empty & (getattr(self, quantity) < self.k(quantity)))

    def k(self, quantity: str) -> Floats:
        """The number below which a quantity must not be worked out."""
        if quantity == "base":
            return self.k_protected
        return self.k_numerator if quantity == "numerator" else self.k_complement


@dataclass(frozen=True)
class Shown:
    """What a release tells of each node: whether it is shown, what rounding leaves open, notes.

    `low_n`, `high_n`: pupils; `low_p`, `high_p`: the proportion (0 to 1) or mean. `note`:
    0 none, 1 low, 2 high. `was_shown`: releases before showed it and nobody has changed since;
    `was_noted`: so with a note. All of shape indicators × places.
    """

    is_shown: Bools
    low_n: Floats
    high_n: Floats
    low_p: Floats
    high_p: Floats
    note: NDArray[np.int8]
    was_shown: Bools
    was_noted: NDArray[np.int8]

    def only(self, places: Bools) -> Shown:
        """What it tells at some places."""
        note = np.where(places, self.note, 0).astype(np.int8)
        return replace(self, is_shown=self.is_shown & places, note=note)

    def before(self) -> Shown:
        """What releases before tell alone."""
        return replace(self, is_shown=self.was_shown, note=self.was_noted)

    def was_told(self, row: int, places: Bools) -> NDArray[np.int8]:
        """What releases before tell of some places: 2 × note, and 1 more where shown."""
        return np.asarray(
            2 * self.was_noted[row, places] + self.was_shown[row, places], dtype=np.int8
        )


def surveys(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Surveys that have nodes; makes `sdc_place` and `sdc_weighted`."""
    con.execute(_PLACES)
    con.execute(_WEIGHTED)
    return [
        str(row[0])
        for row in con.execute("select distinct survey from sdc_node order by survey").fetchall()
    ]


def read_grid(con: duckdb.DuckDBPyConnection, survey: str) -> Grid:
    """The arrays of one survey from `sdc_node`.

    Raises:
        InputError: an indicator lacks cells that another one of its survey has.
    """
    found = con.execute(
        "select *, "
        "    sum_x as score_sum, "
        "    empty_status is not null as is_empty "
        "from sdc_node where survey = $survey order by indicator, place_id",
        {"survey": survey},
    ).fetchnumpy()
    names = np.asarray(found["indicator"], dtype=object)
    indicators = np.array(sorted(set(names)), dtype=object)
    places_n = len(names) // len(indicators)
    shape = (len(indicators), places_n)
    places = np.asarray(found["place_id"], dtype=np.int64)
    template = _texts(found, "unit")[:places_n] + "|" + _texts(found, "breakdown")[:places_n]
    template = template + "|" + _texts(found, "group")[:places_n]
    all_places = _texts(found, "unit") + "|" + _texts(found, "breakdown")
    all_places = all_places + "|" + _texts(found, "group")
    if (
        len(names) != shape[0] * shape[1]
        or (places.reshape(shape) != np.arange(places_n)).any()
        or (all_places.reshape(shape) != template).any()
    ):
        raise InputError(
            "The grid of estimates is not complete",
            where=f"estimates of the {survey} survey",
            why="every indicator of a survey has a row for every geography and group",
            fix="run: rcs materialise (wellbeing.estimates)",
        )

    def numbers(name: str) -> Floats:
        values = np.ma.filled(np.ma.asarray(found[name], dtype=np.float64), np.nan)
        return np.asarray(values, dtype=np.float64).reshape(shape)

    def flags(name: str) -> Bools:
        return np.asarray(np.ma.filled(found[name], False), dtype=bool).reshape(shape)

    def texts(name: str) -> Texts:
        return _texts(found, name)[:places_n]

    roll = numbers("roll_n")
    return Grid(
        survey=survey,
        indicators=indicators,
        is_mean=(_texts(found, "statistic") == "mean").reshape(shape)[:, 0],
        score_low=np.nan_to_num(numbers("score_low")[:, 0]),
        score_high=np.nan_to_num(numbers("score_high")[:, 0]),
        view=texts("view"),
        unit=texts("unit"),
        level=texts("geography_level"),
        engagement=texts("engagement"),
        breakdown=texts("breakdown"),
        group=texts("group"),
        is_released=flags("is_released")[0],
        spread=_spread(con, survey, places_n),
        base=numbers("base_n"),
        numerator=numbers("y_n"),
        complement=numbers("c_n"),
        score_sum=np.nan_to_num(numbers("score_sum")),
        estimate=numbers("estimate"),
        roll=np.where(np.isnan(roll), NO_LIMIT, roll),
        k_base=numbers("k_base"),
        k_protected=numbers("k_protected"),
        k_numerator=numbers("k_numerator"),
        k_complement=numbers("k_complement"),
        pct_step=numbers("pct_step"),
        mean_step=numbers("mean_step"),
        n_step=numbers("n_step"),
        is_showable=flags("is_showable"),
        is_empty=flags("is_empty"),
        is_primary=flags("is_primary"),
        kept_n=np.full(shape, np.nan),
    )


def _spread(con: duckdb.DuckDBPyConnection, survey: str, places_n: int) -> Floats:
    found = con.execute(
        "select place_id, min(weight) / max(weight) as spread from sdc_weighted "
        "where survey = ? group by place_id",
        [survey],
    ).fetchnumpy()
    spread = np.ones(places_n)
    spread[np.asarray(found["place_id"], dtype=np.int64)] = np.asarray(found["spread"])
    return spread


def _texts(found: Mapping[str, Any], name: str) -> Texts:
    return np.asarray(np.ma.filled(np.ma.asarray(found[name], dtype=object), ""), dtype=object)


def read_lines(con: duckdb.DuckDBPyConnection, survey: str) -> Lines:
    """The lines of one survey over its places (`sdc_place`)."""
    found = con.execute(
        f"""
        with pairs as (({_GROUPS}) union all ({_AREAS}) union all (from ({_SMALL})))
        select (dense_rank() over (order by total, kind) - 1)::bigint as line, total, part,
            kind like 'seen by %' as is_private,
        from pairs
        order by line, part
        """,
        {"survey": survey},
    ).fetchnumpy()
    line = np.asarray(found["line"], dtype=np.int64)
    start = np.flatnonzero(np.r_[True, line[1:] != line[:-1]]) if len(line) else line
    total = np.asarray(found["total"], dtype=np.int64)
    private = np.asarray(found["is_private"], dtype=bool)
    return Lines(
        total[start], line, np.asarray(found["part"], dtype=np.int64), start, private[start]
    )


def own_of_public(grid: Grid) -> tuple[Ints, Ints]:
    """Places of a CPP's cell in its own package, and the same cell's in the public one."""
    keys = grid.unit + "|" + grid.breakdown + "|" + grid.group
    own = {key: i for i, key in enumerate(keys) if grid.view[i] == "own"}
    public = [i for i in range(len(keys)) if grid.view[i] == "public" and keys[i] in own]
    return (
        np.array([own[keys[i]] for i in public], dtype=np.int64),
        np.array(public, dtype=np.int64),
    )


def what_rounding_leaves(
    grid: Grid, n: Floats, proportion: Floats, *, tells_kept: bool = True
) -> tuple[Floats, Floats, Floats, Floats]:
    """Bounds of base and proportion that shown values leave: low_n, high_n, low_p, high_p.

    Args:
        grid: its steps and thresholds.
        n: shown numbers of pupils.
        proportion: shown percentages or means.
        tells_kept: for who knows which numbers were kept; every other reader must think that, if
            one is, any number of an area may be.
    """
    step = _figure_step(grid)
    scale = np.where(grid.is_mean[:, None], 1.0, 100.0)
    low_n, high_n = counts_behind(n, grid.n_step)
    is_area = ~np.isin(grid.level, INSIDE)
    is_kept = is_area & ((grid.base < low_n) | (grid.base > high_n))
    may_be_kept = is_kept if tells_kept or not is_kept.any() else is_area
    slack = np.where(may_be_kept, grid.n_slack, 0)
    # A shown cell reaches its k: everybody knows the rule.
    low_n, high_n = low_n - slack, high_n + slack
    low_n, high_n = np.maximum(low_n, grid.k_base), np.minimum(high_n, grid.roll)
    low_p = np.maximum((proportion - step / 2) / scale, np.where(grid.is_mean[:, None], -np.inf, 0))
    high_p = np.minimum((proportion + step / 2) / scale, np.where(grid.is_mean[:, None], np.inf, 1))
    return low_n, high_n, low_p, high_p


def rounded(value: Floats, step: Floats) -> Floats:
    """Nearest multiple, halves away from zero, noise of binary fractions taken away first."""
    ratio = np.round(value / step, 9)
    return np.asarray(np.round(np.sign(ratio) * np.floor(np.abs(ratio) + 0.5) * step, DECIMALS))


def as_released(grid: Grid, hidden: Bools, note: NDArray[np.int8]) -> Shown:
    """What a release with these hidden nodes and notes would tell."""
    n = np.where(np.isnan(grid.kept_n), rounded(grid.base, grid.n_step), grid.kept_n)
    bounds = what_rounding_leaves(grid, n, figures(grid))
    nothing = np.zeros_like(hidden)
    return Shown(grid.is_showable & ~hidden, *bounds, note, nothing, nothing.astype(np.int8))


def figures(grid: Grid) -> Floats:
    """Each cell's percentage or mean as it is shown."""
    return rounded(proportions(grid), _figure_step(grid))


def proportions(grid: Grid) -> Floats:
    """Each cell's percentage or mean before its figure is rounded.

    The groups of SIMD, looked after, ethnicity and ASN are taken as if the unweighted figure were
    shown, rounded alike: how their pupils spread over stages and sexes, which weigh, nobody knows.
    """
    is_weighted = (grid.spread < 1) & ~np.isnan(grid.estimate)
    return np.where(is_weighted, grid.estimate, _unweighted(grid))


def unweighted(grid: Grid) -> Floats:
    """Each cell's unweighted percentage or mean, rounded as its figure would be."""
    return rounded(_unweighted(grid), _figure_step(grid))


def _unweighted(grid: Grid) -> Floats:
    count = np.where(grid.is_mean[:, None], grid.score_sum, 100 * grid.numerator)
    return np.divide(count, grid.base, out=np.zeros_like(count), where=grid.base > 0)


def _figure_step(grid: Grid) -> Floats:
    return np.where(grid.is_mean[:, None], grid.mean_step, grid.pct_step)


_RELEASED = """
select
    n.indicator, n.place_id,
    coalesce(r.status in ('published', 'u'), false) as is_shown,
    r.n::double as n, r.estimate::double as estimate,
    case r.note when 'low' then 1 when 'high' then 2 else 0 end as note,
from sdc_node as n
left join {released} as r
    on r.audience = if(n.view = 'own', 'cpp/' || n.engagement, 'public')
    and r.survey = n.survey and r.indicator = n.indicator
    and r.geography_level = n.geography_level and r.geography_code = n.geography_code
    and r.tranche is not distinct from n.tranche
    and r.breakdown = n.breakdown and r."group" = n."group"
where n.survey = $survey
order by n.indicator, n.place_id
"""


def from_release(
    con: duckdb.DuckDBPyConnection, grid: Grid, released: str, *, tells_kept: bool = True
) -> Shown:
    """What released rows tell: every row counts, whether or not it should be there.

    Args:
        con: a connection with `sdc_node`.
        grid: its nodes.
        released: relation in the columns of `disclosure.estimates`.
        tells_kept: whether the reader knows which numbers of pupils were kept.
    """
    found = con.execute(_RELEASED.format(released=released), {"survey": grid.survey}).fetchnumpy()
    shape = grid.base.shape

    def numbers(name: str) -> Floats:
        values = np.ma.filled(np.ma.asarray(found[name], dtype=np.float64), 0.0)
        return np.asarray(values, dtype=np.float64).reshape(shape)

    # Schools and clusters are unweighted, of others it is known what is weighted: there the shown
    # figure itself is the bound.
    is_exact = np.isin(grid.level, INSIDE) | (grid.spread < 1)
    proportion = np.where(is_exact, np.round(numbers("estimate"), DECIMALS), unweighted(grid))
    note = numbers("note").astype(np.int8)
    is_shown = np.asarray(numbers("is_shown") > 0, dtype=bool)
    n = np.where(is_shown, numbers("n"), rounded(grid.base, grid.n_step))
    bounds = what_rounding_leaves(grid, n, proportion, tells_kept=tells_kept)
    return Shown(is_shown, *bounds, note, np.zeros_like(is_shown), np.zeros_like(note))
