"""Disclosure control: what may be shown to whom, and the tables made fit to be shown.

Belongs here: the policy as data, the rules that protect estimates, their asset and
checks. Does not belong here: making estimates (`wellbeing`) and packaging (`release`).
"""

from rcs_assets.disclosure.policy import Policy, audience_names, load_policy
from rcs_assets.disclosure.rules import protect_estimates

__all__ = ["Policy", "audience_names", "load_policy", "protect_estimates"]
