"""Survey estimation on any DuckDB table: designs, estimates, intervals, weights.

Belongs here: an engine that knows nothing of the programme: a declared design, point
estimates with linearised variances, intervals, raking and post-stratification. Does not
belong here: which estimate is published how (room wellbeing, policy.md Table B),
rounding and suppression (room disclosure), anything of Dagster.
"""

from rcs_assets.estimation.design import Design
from rcs_assets.estimation.engine import estimate, estimate_each
from rcs_assets.estimation.intervals import (
    INTERVALS,
    add_wilson,
    pooled_design_effect,
    wilson_interval,
    wilson_sql,
)
from rcs_assets.estimation.request import STATISTICS
from rcs_assets.estimation.weights import Margin, WeightReport, Weights, post_stratify, rake

__all__ = [
    "INTERVALS",
    "STATISTICS",
    "Design",
    "Margin",
    "WeightReport",
    "Weights",
    "add_wilson",
    "estimate",
    "estimate_each",
    "pooled_design_effect",
    "post_stratify",
    "rake",
    "wilson_interval",
    "wilson_sql",
]
