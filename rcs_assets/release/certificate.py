"""The certificate of a package: which rules were applied, and what they did.

Belongs here: thresholds and steps in force, counts of cells by status. Does not belong
here: anything that tells which hidden cells are really small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rcs_assets.disclosure.policy import Policy

_RULES = (
    "A cell is hidden if its base, numerator or complement is below the threshold; zero is small.",
    "A breakdown with one hidden group is hidden whole, in every table that holds it: for the "
    "CPP, its tranche and all areas together; what a CPP's own package hides is hidden in public.",
    "Pupils whose group is not known, and groups bounded by the public roll, are protected like "
    "hidden cells.",
    "Percentages, means and n are rounded to the nearest multiple, halves away from zero. A "
    "Wilson interval is computed from rounded values, any other is rounded outward.",
)
_NO_CELL_CERTIFICATES = (
    "Certificates of single cells (two synthetic feasible tables for each hidden cell) are made "
    "when secondary suppression exists; this release hides breakdowns whole instead."
)
_SAFE_HAVEN = (
    "Not for handing out: holds unrounded estimates and linked microdata for approved analysts. "
    "The table estimates is the public one; whatever else leaves goes through the policy's rules."
)


def certificate(
    package: str,
    kind: str,
    version: str,
    policy: Policy,
    counts: Sequence[tuple[str, str, int]],
    is_simulated: bool,
) -> dict[str, Any]:
    """The content of `certificate.json`.

    Args:
        package: its folder.
        kind: public, cpp or safe_haven.
        version: of the release.
        policy: the policy that protected the estimates.
        counts: status, note (or empty), number of cells.
        is_simulated: whether the deliveries were.
    """
    output_class = policy.audiences["cpp" if kind == "cpp" else "public"].output_class
    content: dict[str, Any] = {
        "package": package,
        "release": version,
        "simulated": is_simulated,
        "policy_version": policy.version,
        "policy_source": policy.source,
        "output_class": output_class,
        "thresholds": {
            name: asdict(policy.rule_for(output_class, is_sensitive=is_sensitive))
            for name, is_sensitive in (("default", False), ("sensitive", True))
        },
        "rules": list(_RULES),
        "cells_by_status": [
            {"status": status, "note": note, "cells": cells} for status, note, cells in counts
        ],
        "cell_certificates": _NO_CELL_CERTIFICATES,
    }
    if kind == "safe_haven":
        content["safe_haven"] = _SAFE_HAVEN
    return content
