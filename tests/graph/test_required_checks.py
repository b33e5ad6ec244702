"""The committed list of required checks is the checks of the graph: none missing, none dead.

The gate refuses when a check of the list has no record; this test refuses when a check of
the graph is not on the list, so that a new check cannot be forgotten there. Only checks that
say of themselves that they warn stay off it: those of how a CPP is led.
"""

from __future__ import annotations

from rcs_assets.build import build_defs
from rcs_assets.programme.checks import PYTHON_CHECKS, TRACKING
from rcs_assets.release.gate import load_required_checks


def test_every_check_of_the_graph_is_required_and_no_other() -> None:
    graph = build_defs().resolve_asset_graph()
    existing = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    required = {(check.asset_key, check.check_name) for check in load_required_checks()}
    warnings = {("/".join(TRACKING), check.name) for check in PYTHON_CHECKS if not check.gates}
    assert existing - required == warnings, "add the others to required_checks.csv"
    assert required - existing == set(), "these are required but do not exist"
