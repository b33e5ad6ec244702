"""Wellbeing: item answers, scores, indicator values, weights and estimates.

Belongs here: the public scoring function, weights and estimates as plain functions, and
the wiring of the one dbt build. Does not belong here: the SQL of scoring and indicators
(dbt_project/macros holds it once), variance estimation (`estimation`), and any rule of
what may be shown (`disclosure`).
"""

from rcs_assets.wellbeing.scoring import score

__all__ = ["score"]
