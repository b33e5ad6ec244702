"""Services for children: what is spent on whom, and whether need and support meet.

Belongs here: need × reach from scores and links, its rules as data, the asset and checks of
spend. Does not belong here: scores (`wellbeing`), links (`linkage`), the SQL of spend
(dbt_project), rounding and suppression (`disclosure`).
"""

from rcs_assets.services.reach import write_reach
from rcs_assets.services.rules import ReachRules, load_reach_rules

__all__ = ["ReachRules", "load_reach_rules", "write_reach"]
