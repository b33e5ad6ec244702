"""Disclosure control: what may be shown to whom, and the tables made fit to be shown.

Belongs here: the policy as data, the rules that protect estimates, their asset and
checks, and an engine that protects and audits any additive tables. Does not belong here:
making estimates (`wellbeing`) and packaging (`release`).
"""

from typing import TYPE_CHECKING, Any

from rcs_assets.disclosure.policy import Policy, audience_names, load_policy

if TYPE_CHECKING:
    from rcs_assets.disclosure.rules import protect_estimates
    from rcs_assets.disclosure.structure import Hierarchy, Structure
    from rcs_assets.disclosure.tabular import Rule, audit, protect

__all__ = [
    "Hierarchy",
    "Policy",
    "Rule",
    "Structure",
    "audience_names",
    "audit",
    "load_policy",
    "protect",
    "protect_estimates",
]


def __getattr__(name: str) -> Any:
    """The engine's names, on first use: the solver behind them takes a second to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "protect_estimates":
        from rcs_assets.disclosure import rules

        return rules.protect_estimates
    from rcs_assets.disclosure import structure, tabular

    return getattr(structure if name in ("Hierarchy", "Structure") else tabular, name)
