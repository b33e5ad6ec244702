"""Small random programmes with known truth, for the attacks.

Belongs here: drawing pupils in schools and clusters, and counting them into the columns of
`wellbeing.estimates` and `wellbeing.respondents`. Does not belong here: protecting
(`rcs_assets.disclosure`) and attacking (`attacker.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

STAGES = {"primary": ("P5", "P6", "P7"), "secondary": ("S1", "S2", "S3")}
SCALE = (1.0, 5.0)
# What stands for the t of an interval of a mean: its exact size tells nothing.
ABOUT_TWO = 2.0


@dataclass(frozen=True)
class Measure:
    """An indicator: share of positive answers (or mean score), and its disclosure class.

    `parts`: into how many a point of the score is divided.
    """

    name: str
    rate: float = 0.15
    is_sensitive: bool = False
    statistic: str = "pct"
    parts: int = 10


@dataclass(frozen=True)
class Shape:
    """What is drawn.

    `tranches`: CPPs of each; `clusters` a CPP, `schools` a cluster (a CPP, in the secondary
    survey), pupils on the `roll` of a school (least and most; sizes are log-uniform).
    `linked`: add three measures, the first of which is the sum of the others and a rest.
    """

    measures: tuple[Measure, ...] = (Measure("some"),)
    survey: str = "primary"
    tranches: tuple[int, ...] = (1, 1)
    clusters: tuple[int, int] = (2, 2)
    schools: tuple[int, int] = (3, 5)
    roll: tuple[int, int] = (6, 260)
    response: float = 0.73
    valid: float = 0.97
    unknown_simd: float = 0.05
    linked: tuple[str, ...] = ()


def draw_schools(shape: Shape, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Schools with their places and sizes; secondary schools have no cluster."""
    schools = []
    for tranche, cpps in enumerate(shape.tranches, start=1):
        for cpp, cluster in product(range(cpps), range(int(rng.integers(*_to(shape.clusters))))):
            for school in range(int(rng.integers(*_to(shape.schools)))):
                low, high = np.log(shape.roll[0]), np.log(shape.roll[1])
                schools.append(
                    {
                        "tranche": f"t{tranche}",
                        "engagement": f"t{tranche}-cpp{cpp}",
                        "cluster_code": f"C{tranche}{cpp}{cluster}",
                        "seed_code": f"{tranche}{cpp}{cluster}{school:02d}",
                        "roll": int(np.exp(rng.uniform(low, high))),
                    }
                )
    return schools


def _to(ends: tuple[int, int]) -> tuple[int, int]:
    return ends[0], ends[1] + 1


def draw_pupils(shape: Shape, seed: int) -> pa.Table:
    """One row a pupil on the roll, and one that counts for nobody for each cell of a school.

    Columns: places, keys, `on_roll` (0 or 1), `answered`, and a `value_<measure>` (0 or 1, or
    a score; null where there is no valid answer).
    """
    rng = np.random.default_rng(seed)
    measures = [*shape.measures, *(Measure(name, is_sensitive=True) for name in shape.linked)]
    parts = []
    for school in draw_schools(shape, rng):
        n = school.pop("roll")
        stages = rng.choice(STAGES[shape.survey], n, p=rng.dirichlet([6.0] * 3))
        sexes = rng.choice(["F", "M"], n)
        nobody = list(product(sorted(set(stages)), ["F", "M"]))
        size = n + len(nobody)
        known = rng.random(size) >= shape.unknown_simd
        on_roll = np.r_[np.ones(n, int), np.zeros(len(nobody), int)]
        answered = (rng.random(size) < shape.response) & (on_roll == 1)
        simd = rng.choice(5, size, p=rng.dirichlet([2.0] * 5)) + 1
        columns = {name: [value] * size for name, value in school.items()} | {
            "sex": np.r_[sexes, [sex for _, sex in nobody]],
            "stage": np.r_[stages, [stage for stage, _ in nobody]],
            "simd": [str(q) if k else None for q, k in zip(simd, known, strict=True)],
            "looked_after": np.where(rng.random(size) < 0.04, "Y", "N"),
            "on_roll": on_roll,
            "answered": answered,
        }
        columns |= _values(shape, measures, answered, rng)
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def _values(
    shape: Shape, measures: list[Measure], answered: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """A column of values a measure, null where there is no valid answer."""
    size, found = len(answered), {}
    for measure in measures:
        is_valid = answered & (rng.random(size) < shape.valid)
        positive = rng.random(size) < np.clip(measure.rate * rng.uniform(0.4, 1.6), 0, 1)
        values = positive.astype(float)
        if measure.statistic == "mean":
            drawn = np.round(rng.normal(3.4, 0.9, size) * measure.parts) / measure.parts
            values = np.clip(drawn, *SCALE)
        found[f"value_{measure.name}"] = pa.array(values, mask=~is_valid)
    if shape.linked:
        band = rng.choice(4, size, p=[0.7, 0.06, 0.12, 0.12])
        is_valid = answered & (rng.random(size) < shape.valid)
        for name, bands in zip(shape.linked, ([1, 2, 3], [2], [3]), strict=True):
            values = np.isin(band, bands).astype(float)
            found[f"value_{name}"] = pa.array(values, mask=~is_valid)
    return found


# Level → its tranche, engagement, code; breakdown → its group, roll, levels that have it.
LEVELS = {
    "school": ("tranche", "engagement", "seed_code"),
    "cluster": ("tranche", "engagement", "cluster_code"),
    "cpp": ("tranche", "engagement", "engagement"),
    "tranche": ("tranche", "null", "tranche"),
    "all": ("null", "null", "'all'"),
}
ABOVE = ("cpp", "tranche", "all")
BREAKDOWNS: dict[str, tuple[str, bool, tuple[str, ...]]] = {
    "total": ("'all'", True, tuple(LEVELS)),
    "sex": ("sex", True, tuple(LEVELS)),
    "stage": ("stage", True, tuple(LEVELS)),
    "stage:sex": ("stage || ':' || sex", True, tuple(LEVELS)),
    "simd_quintile": ("simd", False, ABOVE),
    "looked_after": ("looked_after", False, ("cpp",)),
}

_CELLS = """
insert into estimates
with cells as (
    select
        {tranche} as tranche, {engagement} as engagement, {code} as code, {group} as "group",
        indicator, statistic, sum(on_roll) as roll_n, count(value) as base_n, sum(value) as total,
        sum(value * {weight}) / sum({weight}) filter (value is not null) as mean,
        stddev_samp(value) as sd, sum(mark)::bigint as mark,
        count(distinct seed_code) as schools_n,
    from answer where {group} is not null group by all
)
select
    tranche, engagement, '{survey}', '{level}', code, '{breakdown}', "group", indicator,
    statistic, {roll}, if({is_empty}, null, base_n),
    if(statistic = 'pct' and base_n > 0, total, null),
    if(statistic = 'pct', 100 * mean, mean),
    if(statistic = 'mean', mean - {about_two} * sd / sqrt(base_n), null),
    if(statistic = 'mean', mean + {about_two} * sd / sqrt(base_n), null),
    if(base_n = 0, 'none', if(statistic = 'mean', 't', 'wilson')),
    if('{level}' = 'school', null, 1.2), schools_n,
    case when {is_empty} then 'no_roll' when base_n = 0 then 'no_data' else '' end,
    if(statistic = 'mean' and not ({is_empty}), coalesce(total, 0), null),
    if(statistic = 'mean', sd, null), if({is_empty}, null, mark)
from cells
"""


def count_estimates(con: duckdb.DuckDBPyConnection, shape: Shape, seed: int) -> None:
    """Make the relations that protection reads, on `con`, from a drawn programme."""
    con.register("drawn", draw_pupils(shape, seed))
    con.execute("create or replace table pupil as from drawn")
    count_pupils(con, shape)


def count_pupils(con: duckdb.DuckDBPyConnection, shape: Shape, reweigh: str = "weight") -> None:
    """Count the table `pupil` of `con` as it stands.

    Args:
        con: it gets the relations that protection reads.
        shape: which was drawn.
        reweigh: SQL of another weight, of `stage`, `sex` and `weight`.
    """
    con.execute("""
        create or replace table estimates (
            tranche varchar, engagement varchar, survey varchar, geography_level varchar,
            geography_code varchar, breakdown varchar, "group" varchar, indicator varchar,
            statistic varchar, roll_n bigint, base_n bigint, numerator_n bigint, estimate double,
            ci_low double, ci_high double, method varchar, design_effect double,
            schools_n bigint, reason varchar, sum_x double, sd double, answers_mark bigint
        )
    """)
    # An area's pupils stand for those on the roll of their stage and sex in their CPP.
    con.execute(
        f"create or replace table weights as select engagement, '{shape.survey}' as survey, stage, "
        "sex, sum(on_roll) / count_if(answered) as weight from pupil group by all "
        "having count_if(answered) > 0"
    )
    con.execute(f"update weights set weight = {reweigh}")
    _count_indicators(con, shape)
    for breakdown, (group, has_roll, levels) in BREAKDOWNS.items():
        for level in levels:
            if level == "cluster" and shape.survey == "secondary":
                continue
            tranche, engagement, code = LEVELS[level]
            con.execute(
                _CELLS.format(
                    tranche=tranche,
                    engagement=engagement,
                    code=code,
                    group=group,
                    survey=shape.survey,
                    level=level,
                    breakdown=breakdown,
                    weight="weight" if level in ABOVE else "1.0",
                    roll="roll_n" if has_roll else "null",
                    is_empty="roll_n = 0" if has_roll else "false",
                    about_two=ABOUT_TWO,
                )
            )
    _count_places(con, shape)


def _count_indicators(con: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    measures = [*shape.measures, *(Measure(name, is_sensitive=True) for name in shape.linked)]
    con.execute(
        "create or replace table indicators (indicator varchar, is_sensitive boolean, "
        "statistic varchar, score_low double, score_high double)"
    )
    limits = {"pct": (None, None), "mean": SCALE}
    con.executemany(
        "insert into indicators values (?, ?, ?, ?, ?)",
        [[m.name, m.is_sensitive, m.statistic, *limits[m.statistic]] for m in measures],
    )
    keys = (
        "tranche, engagement, cluster_code, seed_code, sex, stage, simd, looked_after, on_roll, "
        "weight"
    )
    parts = [
        f"select {keys}, '{m.name}' as indicator, '{m.statistic}' as statistic, "
        f"value_{m.name} as value, if(value is null, null, "
        f"hash(pupil.rowid, value) % {2**31})::bigint as mark from pupil "
        "left join weights using (engagement, stage, sex)"
        for m in measures
    ]
    con.execute(f"create or replace table answer as {' union all '.join(parts)}")


def _count_places(con: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    """`respondents`, `clusters` and `geographies`."""
    levels = [level for level in ("school", "cluster", "cpp") if level in _levels(shape)]
    parts = [
        f"select tranche, engagement, '{shape.survey}' as survey, '{level}' as geography_level, "
        f"{LEVELS[level][2]} as geography_code, count_if(answered) as respondents_n, "
        "sum(on_roll) as roll_n, count(distinct seed_code) as schools_n from pupil group by all"
        for level in levels
    ]
    con.execute(f"create or replace table respondents as {' union all '.join(parts)}")
    con.execute(
        "create or replace table clusters as "
        "select distinct engagement, seed_code, cluster_code from pupil"
    )
    con.execute(
        "create or replace table geographies as select distinct geography_level, geography_code, "
        "geography_code as geography_name from estimates"
    )


def _levels(shape: Shape) -> set[str]:
    return set(LEVELS) - ({"cluster"} if shape.survey == "secondary" else set())


def rows(con: duckdb.DuckDBPyConnection, relation: str) -> list[dict[str, Any]]:
    """The rows of a small relation."""
    return list(con.execute(f"from {relation}").to_arrow_table().to_pylist())
