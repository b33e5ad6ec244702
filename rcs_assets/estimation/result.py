"""The long table that every statistic ends in.

Belongs here: columns, their types, nulls and reasons. Does not belong here: where the
numbers come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rcs_assets.estimation.compilation import Floats
from rcs_assets.estimation.intervals import floats_or_null
from rcs_assets.estimation.variance import Estimates

RESULT_COLUMNS: Final = (
    "variable",
    "level",
    "estimate",
    "se",
    "ci_low",
    "ci_high",
    "n",
    "df",
    "deff",
    "reason",
)


def assemble(
    domains: pa.Table,
    labels: Sequence[tuple[str, str | None]],
    values: Estimates,
    se: Floats,
    interval: tuple[Floats, Floats],
    why: npt.NDArray[np.str_],
) -> pa.Table:
    """The long table: a row a domain and (variable, level), domains first.

    Args:
        domains: the by-columns, a row a domain.
        labels: variable and level of each measure.
        values: estimates, D x M as all that follow.
        se: standard errors.
        interval: lower and upper bounds.
        why: reasons.
    """
    domains_n, measures_n = values.estimate.shape
    repeated = pa.array(np.repeat(np.arange(domains_n), measures_n))
    columns: dict[str, Any] = {
        name: domains.column(name).take(repeated) for name in domains.column_names
    }
    columns |= {
        "variable": pa.array([name for name, _ in labels] * domains_n, type=pa.string()),
        "level": pa.array([level for _, level in labels] * domains_n, type=pa.string()),
        "estimate": floats_or_null(values.estimate.ravel()),
        "se": floats_or_null(se.ravel()),
        "ci_low": floats_or_null(interval[0].ravel()),
        "ci_high": floats_or_null(interval[1].ravel()),
        "n": pa.array(values.n.ravel().astype(np.int64)),
        "df": pa.array(np.repeat(values.df, measures_n).astype(np.int64)),
        "deff": floats_or_null(values.deff.ravel()),
        "reason": pa.array(why.ravel().tolist(), type=pa.string()),
    }
    return pa.table(columns)


def reasons(values: Estimates, se: Floats) -> npt.NDArray[np.str_]:
    """Why a number is missing or special, most telling first."""
    df = np.broadcast_to(values.df[:, None], se.shape)
    return np.select(
        [np.isnan(values.estimate), values.is_lonely, df < 1, se == 0],
        ["no_data", "lonely_psu", "no_df", "all_equal"],
        default="",
    )
