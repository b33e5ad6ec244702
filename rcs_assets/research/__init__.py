"""Research: what goes together with children's wellbeing, from linked answers.

Belongs here: risk and protective factors, counts of risks, models and their checks, and
what is analysed as data. Does not belong here: fitting and variances (`estimation`), what of
it may be shown (`disclosure`).
"""

from rcs_assets.research.findings import write_findings
from rcs_assets.research.rules import FindingsRules, load_findings_rules

__all__ = ["FindingsRules", "load_findings_rules", "write_findings"]
