"""Which unknowns the tables of a survey have, and which sums hold whatever the counts are.

Belongs here: the variables of an attack (pupils and positive answers of each area's groups), the
places that each cell is the sum of, equations between areas and groups, and who sees which of
them. Does not belong here: what a release tells (`told.py`), what is asked (`asked.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
from scipy.sparse import csr_array, vstack

from rcs_assets.disclosure.cells import PARTIAL
from rcs_assets.disclosure.grid import Floats, Grid, Ints, Texts
from rcs_assets.disclosure.rows import Rows

PUBLIC_COALITION = "public"

# Variables: stage by sex where an area has it, else every cell of the area; the groups of
# the breakdowns that leave pupils out, always.
_VARIABLES = """
create or replace temp table sdc_variable as
with detailed as (
    select distinct survey, unit from sdc_place where breakdown = 'stage:sex'
),
cells as (
    select
        p.survey, p.unit, p.breakdown, p."group", min(p.place_id) as place_id,
        any_value(p.geography_level) as level, any_value(p.engagement) as engagement,
    from sdc_place as p
    left join detailed as d on d.survey = p.survey and d.unit = p.unit
    where p.unit not like '%-small'
        and (p.breakdown in {partial} or p.breakdown = 'stage:sex' or d.unit is null)
    group by p.survey, p.unit, p.breakdown, p."group"
)
select
    cells.*,
    (row_number() over (partition by cells.survey order by place_id) - 1)::bigint as variable_id,
    -- Only its own coalition sees into a CPP.
    if(level in ('school', 'cluster'), engagement, '') as owner,
from cells
"""

_EXPRESSIONS = """
select p.place_id as row, v.variable_id as variable
from sdc_place as p
inner join sdc_variable as v on v.survey = p.survey and v.unit = p.unit
where p.survey = $survey and (
    (v.breakdown = p.breakdown and v."group" = p."group")
    or (v.breakdown = 'stage:sex' and (
        p.breakdown = 'total'
        or (p.breakdown = 'stage' and split_part(v."group", ':', 1) = p."group")
        or (p.breakdown = 'sex' and split_part(v."group", ':', 2) = p."group")
    ))
)
union all
select p.place_id, v.variable_id
from sdc_place as p
inner join sdc_school as s
    on s.survey = p.survey and s.parent || '-small' = p.unit and s.is_small
inner join sdc_variable as v on v.survey = s.survey and v.unit = s.unit
where p.survey = $survey and v.breakdown in ('stage:sex', 'total')
"""

# Weights of the variables that a place's figure is a weighted sum of.
_WEIGHTS = """
select p.place_id as row, v.variable_id as variable, p.weight
from sdc_weighted as p
inner join sdc_variable as v
    on v.survey = p.survey and v.unit = 'cpp:' || p.engagement and v.breakdown = 'stage:sex'
    and v."group" = p.stage || ':' || p.sex
where p.survey = $survey
"""

# Equations: an area is its parts; the groups of a breakdown are its total.
_EQUATIONS = """
with areas as (
    select
        'area ' || w.variable_id as name, w.variable_id as whole, v.variable_id as part,
        v.owner,
    from sdc_variable as v
    inner join sdc_parent as u on u.survey = v.survey and u.child = v.unit
    inner join sdc_variable as w
        on w.survey = v.survey and w.unit = u.parent and w.breakdown = v.breakdown
        and w."group" = v."group"
    where v.survey = $survey
),
detail as (
    select unit from sdc_variable
    where survey = $survey and breakdown in ('stage:sex', 'total')
    group by unit
),
groups as (
    select v.unit || ' ' || v.breakdown as name, v.variable_id, 1.0 as coefficient, v.owner,
        v.unit, v.breakdown,
    from sdc_variable as v
    semi join detail using (unit)
    where v.survey = $survey and v.breakdown not in ('stage:sex', 'total')
),
totals as (
    select distinct g.name, v.variable_id, -1.0 as coefficient, v.owner
    from groups as g
    inner join sdc_variable as v
        on v.survey = $survey and v.unit = g.unit and v.breakdown in ('stage:sex', 'total')
),
pairs as (
    select name, part as variable_id, 1.0 as coefficient, owner from areas
    union all
    select distinct name, whole, -1.0, owner from areas
    union all
    select name, variable_id, coefficient, owner from groups
    union all
    from totals
)
select (dense_rank() over (order by name) - 1)::bigint as row, variable_id as variable,
    coefficient, owner,
from pairs
order by row, variable
"""


@dataclass(frozen=True)
class Structure:
    """Sums that hold whatever the counts are, of one survey.

    `expression` (places × variables): what each cell is the sum of. `weighted` (places ×
    variables): of what its figure is the share, each row in a unit of its own. `equations` (rows ×
    variables): sums that are zero.
    `equation_owner`, `owner`: the engagement whose coalition alone sees a row or variable;
    empty for everybody's. `place`: a place of each variable.
    """

    expression: csr_array
    weighted: csr_array
    equations: csr_array
    equation_owner: Texts
    owner: Texts
    place: Ints

    @cached_property
    def cells(self) -> csr_array:
        """What figures and notes are told of (`told_of`): `expression`, then `weighted`."""
        return csr_array(vstack([self.expression, self.weighted], format="csr"))


def read_structure(con: duckdb.DuckDBPyConnection, grid: Grid) -> Structure:
    """The sums of one survey, from `sdc_place`, `sdc_parent` and `sdc_school`."""
    con.execute(_VARIABLES.format(partial=PARTIAL))
    survey = {"survey": grid.survey}
    variables = con.execute(
        "select place_id, owner from sdc_variable where survey = $survey order by variable_id",
        survey,
    ).fetchnumpy()
    place = np.asarray(variables["place_id"], dtype=np.int64)
    pairs = con.execute(_EXPRESSIONS, survey).fetchnumpy()
    equations = con.execute(_EQUATIONS, survey).fetchnumpy()
    rows = np.asarray(equations["row"], dtype=np.int64)
    owners = np.full(int(rows.max(initial=-1)) + 1, "", dtype=object)
    named = _texts(equations["owner"])
    owners[rows[named != ""]] = named[named != ""]
    expression = csr_array(
        (np.ones(len(pairs["row"])), (pairs["row"], pairs["variable"])),
        shape=(len(grid.view), len(place)),
    )
    return Structure(
        expression=expression,
        weighted=_weighted(con, grid, expression),
        equations=csr_array(
            (equations["coefficient"], (rows, equations["variable"])),
            shape=(len(owners), len(place)),
        ),
        equation_owner=owners,
        owner=_texts(variables["owner"]),
        place=place,
    )


def _weighted(con: duckdb.DuckDBPyConnection, grid: Grid, expression: csr_array) -> csr_array:
    """Rows of `expression`, and weights in their place where these differ: the largest is 1."""
    found = con.execute(_WEIGHTS, {"survey": grid.survey}).fetchnumpy()
    row = np.asarray(found["row"], dtype=np.int64)
    weight = np.asarray(found["weight"], dtype=np.float64)
    largest = np.zeros(len(grid.spread))
    np.maximum.at(largest, row, weight)
    is_weighted = grid.spread < 1
    at = is_weighted[row]
    pairs = row[at], np.asarray(found["variable"], dtype=np.int64)[at]
    weights = csr_array((weight[at] / largest[row[at]], pairs), shape=expression.shape)
    alike = csr_array(expression.multiply(~is_weighted[:, None]))
    alike.eliminate_zeros()
    return csr_array(weights + alike)


def coalitions(grid: Grid) -> list[str]:
    """The public, and the holder of each CPP's package that exists beside it."""
    own = sorted({str(e) for e, v in zip(grid.engagement, grid.view, strict=True) if v == "own"})
    return [PUBLIC_COALITION, *own]


def both(sums: csr_array, at: Ints, pupils: Floats, positive: Floats) -> Rows:
    """Rows of sums over pupils, so often, and over positive answers, so often."""
    chosen = Rows(sums.indptr, sums.indices, sums.data, sums.shape[1]).some(at)
    size, row = np.diff(chosen.starts), chosen.row
    # What counts no times is left out.
    size_n, size_p = np.where(pupils != 0, size, 0), np.where(positive != 0, size, 0)
    starts = np.r_[0, np.cumsum(size_n + size_p)].astype(np.int32)
    within = np.arange(len(row)) - chosen.starts[row]
    index, value = np.empty(starts[-1], dtype=np.int32), np.empty(starts[-1])
    for times, begin, column in (
        (pupils, starts[:-1], 0),
        (positive, starts[:-1] + size_n, chosen.columns_n),
    ):
        has = times[row] != 0
        to = (begin[row] + within)[has]
        index[to] = chosen.index[has] + column
        value[to] = chosen.value[has] * times[row[has]]
    return Rows(starts, index, value, 2 * chosen.columns_n)


def identity(size: int) -> csr_array:
    """Each variable by itself."""
    return csr_array((np.ones(size), (np.arange(size), np.arange(size))), shape=(size, size))


def _texts(values: Any) -> Texts:
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=object), ""), dtype=object)
