"""The likelihood interval of a share, step by step as R survey 4.1 makes it.

Belongs here: R's `svyciprop(method="likelihood")`, which fits a logistic model of the
constant, profiles its deviance on a grid of at most nine steps a side, lays a cubic spline
through the profile and reads the limits off straight lines between points of that spline;
also where R's fit begins and stops, since the width uses the variance of the fit's last
round but one. Does not belong here: intervals in closed form (`intervals`), models
(`glm`).

Shapes: D domains, M measures; S cells of both that have a variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.estimation.compilation import Floats, Measure, power_of_two
from rcs_assets.estimation.design import Design
from rcs_assets.estimation.intervals import t_quantile
from rcs_assets.estimation.relation import Relation, literal, quote

_TARGETS: Final = "rcs_likelihood_domains"
_ROUNDS: Final = 25  # of R's `glm.control`
_SETTLED: Final = 1e-8  # … and its epsilon: relative change of the deviance
_STEPS: Final = 9  # of R's `profile.glm`, on each side
_STEPS_TO_END: Final = 5  # a fifth of the end of the profile a step
_FINER: Final = 3  # points of R's `spline` for each point given
_PARABOLA: Final = 3  # points through which the end conditions need no cubic


def likelihood_starts(
    con: duckdb.DuckDBPyConnection,
    relation: Relation,
    design: Design,
    measures: Sequence[Measure],
    domains: pa.Table,
    top_weight: float,
) -> Floats:
    """The constant of each model after R's first round, D x M (NaN: no values).

    R begins at (w y + 1/2) / (w + 1) for each row, w its weight over the mean weight of
    the rows with a value: later rounds depend on the share alone, the first on all weights.
    """
    keys = [quote(name) for name in domains.column_names]
    # Without by-columns there is one domain, and a table without columns has no rows.
    rows = pa.array(np.arange(domains.num_rows if keys else 1))
    numbered = domains.append_column("rcs_row", rows) if keys else pa.table({"rcs_row": rows})
    weight = f"{quote(design.weight)}::double" if design.weight else "1::double"
    scale = literal(power_of_two(top_weight))
    con.register(_TARGETS, numbered)
    try:
        found = [
            con.execute(_start_sql(relation, measure, keys, weight, scale)).to_arrow_table()
            for measure in measures
        ]
    finally:
        con.unregister(_TARGETS)
    columns = [table.column("start").to_numpy() for table in found]
    return np.column_stack(columns).astype(np.float64)


def _start_sql(
    relation: Relation, measure: Measure, keys: Sequence[str], weight: str, scale: str
) -> str:
    over = f"partition by {', '.join(keys)}" if keys else ""
    joined = " and ".join(f"leant.{key} = domains.{key}" for key in keys) or "true"
    return f"""
        with
        weighed as (
            select
                {", ".join([*keys, f"({measure.y}) = 1 as is_one", f"{weight} as w"])},
                count(*)::hugeint as n,
            from {relation.sql}
            where ({measure.base}) is not null and {weight} > 0
            group by all
        ),
        scaled as (
            select
                {", ".join([*keys, "is_one", "n"])},
                w * {scale} * (sum(n) over ({over}))::double
                / (sum(n * (w * {scale})::bigint) over ({over}))::double as w,
            from weighed
        ),
        leant as (
            select
                {", ".join([*keys, "is_one", "w"])},
                n * w * (w + 0.5) / (2 * (w + 1) * (w + 1)) as lean,
                (case when is_one then 1 else -1 end)
                * (ln(2 * w + 1) + (w + 1) / (w + 0.5)) as target,
            from scaled
        )
        select
            rcs_row,
            sum(lean * target order by w, is_one) / sum(lean order by w, is_one) as start,
        from {_TARGETS} as domains
        left join leant on {joined}
        group by rcs_row
        order by rcs_row
    """


def likelihood_interval(
    share: Floats, se: Floats, df: Floats, n: Floats, starts: Floats, level: float
) -> tuple[Floats, Floats]:
    """Where the deviance has risen by t² x the design effect, D x M.

    A limit that the nine steps of the profile do not reach (R: NA) is 0 or 1: the answers
    do not speak against a share as low or as high as that. Null (NaN) without a standard
    error or degrees of freedom; not for shares of 0 and 1.

    Args:
        share: shares, 0..1.
        se: their standard errors.
        df: degrees of freedom.
        n: rows with a value and a weight.
        starts: of `likelihood_starts`.
        level: confidence level.
    """
    low, high = np.full(share.shape, np.nan), np.full(share.shape, np.nan)
    inside = (se > 0) & (share > 0) & (share < 1) & (df >= 1) & (n > 1) & np.isfinite(starts)
    if inside.any():
        low[inside], high[inside] = _profile_limits(
            share[inside], se[inside], df[inside], n[inside], starts[inside], level
        )
    # Of two or three answers the profile is so long that its spline may swing across.
    low, high = np.where(low > share, 0.0, low), np.where(high < share, 1.0, high)
    return low, high


def _profile_limits(
    share: Floats, se: Floats, df: Floats, n: Floats, starts: Floats, level: float
) -> tuple[Floats, Floats]:
    from scipy import special

    constant, variance_before = _fit(share, n, starts)
    se_constant = se / _binomial_variance(constant)
    limit = t_quantile(df, level) * se_constant * np.sqrt(n * variance_before)
    # R asks its profile for an eighth of what lies outside the limit, on each side.
    end = -special.stdtrit(n - 1.0, special.ndtr(-limit) / 4.0)
    step = end / _STEPS_TO_END * se_constant
    at = np.arange(-_STEPS, _STEPS + 1)
    rise = _deviance(constant + at[:, None] * step, share, n) - _deviance(constant, share, n)
    dispersion = n / (n - 1.0)
    z = np.sign(at)[:, None] * np.sqrt(np.maximum(rise, 0.0) / dispersion)
    steps_low = _first_beyond(-z[_STEPS - 1 :: -1], end)
    steps_high = _first_beyond(z[_STEPS + 1 :], end)
    low, high = np.empty_like(share), np.empty_like(share)
    for below, above in np.unique(np.column_stack([steps_low, steps_high]), axis=0):
        same = (steps_low == below) & (steps_high == above)
        profile = z[_STEPS - below : _STEPS + above + 1, same]
        steps = _read_off(profile, -int(below), limit[same])
        low[same], high[same] = (special.expit(constant[same] + s * step[same]) for s in steps)
    return low, high


def _fit(share: Floats, n: Floats, starts: Floats) -> tuple[Floats, Floats]:
    """The constant where R's rounds stop, and p (1 - p) of the round before (S each)."""
    from scipy import special

    constant, variance = starts, _binomial_variance(starts)
    open_ = np.ones(share.shape, dtype=bool)
    for _ in range(_ROUNDS - 1):
        variance = np.where(open_, _binomial_variance(constant), variance)
        moved = constant + (share - special.expit(constant)) / variance
        deviance = _deviance(moved, share, n)
        change = np.abs(deviance - _deviance(constant, share, n)) / (np.abs(deviance) + 0.1)
        constant = np.where(open_, moved, constant)
        open_ &= ~(change < _SETTLED)
        if not open_.any():
            break
    return constant, variance


def _binomial_variance(constant: Floats) -> Floats:
    from scipy import special

    return np.asarray(special.expit(constant) * special.expit(-constant))


def _deviance(constant: Floats, share: Floats, n: Floats) -> Floats:
    return np.asarray(-2.0 * n * (share * constant - np.logaddexp(0.0, constant)))


def _first_beyond(side: Floats, end: Floats) -> Floats:
    """The first step (1..9) at which each profile reaches its end; else the last."""
    reached = side >= end
    return np.where(reached.any(axis=0), reached.argmax(axis=0) + 1, _STEPS)


def _read_off(profile: Floats, first: int, limit: Floats) -> tuple[Floats, Floats]:
    """Steps at which the splined profiles (points x S) meet -limit and +limit."""
    from scipy import interpolate

    points_n = len(profile)
    at = np.arange(first, first + points_n, dtype=np.float64)
    bend = np.diff(profile, 3, axis=0) if points_n > _PARABOLA else np.zeros_like(profile)
    # The end pieces keep the third derivative of the cubic through the four end points.
    ends: Any = ([(3, bend[0])], [(3, bend[-1])])
    spline = interpolate.make_interp_spline(at, profile, k=3, bc_type=ends)
    fine = np.linspace(at[0], at[-1], _FINER * points_n)
    heights = spline(fine)
    return _between(fine, heights, -limit), _between(fine, heights, limit)


def _between(at: Floats, heights: Floats, wanted: Floats) -> Floats:
    """Linear interpolation of `at` where each column of rising heights meets its target."""
    below = np.clip((heights <= wanted).sum(axis=0) - 1, 0, len(at) - 2)
    column = np.arange(heights.shape[1])
    left, right = heights[below, column], heights[below + 1, column]
    met = at[below] + (wanted - left) / (right - left) * (at[1] - at[0])
    met = np.where(wanted < heights[0], -np.inf, met)
    return np.where(wanted > heights[-1], np.inf, met)
