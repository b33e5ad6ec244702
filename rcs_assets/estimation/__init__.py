"""Survey estimation on any DuckDB table: designs, estimates, intervals, weights, models.

Belongs here: an engine that knows nothing of the programme: a declared design, point
estimates with linearised or replicate variances, intervals, tests, models, standardisation,
funnels, shrinkage, raking and post-stratification. Does not
belong here: which estimate is published how (room wellbeing, policy.md Table B),
rounding and suppression (room disclosure), anything of Dagster.
"""

from rcs_assets.estimation.design import Design
from rcs_assets.estimation.engine import estimate, estimate_each
from rcs_assets.estimation.funnel import binomial_limits, funnel
from rcs_assets.estimation.glm import coefficient_table, fit_glm, glm
from rcs_assets.estimation.independence import independence_test
from rcs_assets.estimation.intervals import (
    INTERVALS,
    add_wilson,
    pooled_design_effect,
    wilson_interval,
    wilson_sql,
)
from rcs_assets.estimation.margins import marginal_effects
from rcs_assets.estimation.model_checks import model_checks
from rcs_assets.estimation.multiplicity import adjust, corrected_query
from rcs_assets.estimation.replicates import Replicates
from rcs_assets.estimation.request import STATISTICS
from rcs_assets.estimation.shrinkage import Shrunken, shrink
from rcs_assets.estimation.standardise import standardised
from rcs_assets.estimation.weights import (
    Margin,
    NotConvergedError,
    WeightReport,
    Weights,
    post_stratify,
    rake,
)

__all__ = [
    "INTERVALS",
    "STATISTICS",
    "Design",
    "Margin",
    "NotConvergedError",
    "Replicates",
    "Shrunken",
    "WeightReport",
    "Weights",
    "add_wilson",
    "adjust",
    "binomial_limits",
    "coefficient_table",
    "corrected_query",
    "estimate",
    "estimate_each",
    "fit_glm",
    "funnel",
    "glm",
    "independence_test",
    "marginal_effects",
    "model_checks",
    "pooled_design_effect",
    "post_stratify",
    "rake",
    "shrink",
    "standardised",
    "wilson_interval",
    "wilson_sql",
]
