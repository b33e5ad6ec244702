"""Records that Dagster has lost: what the gate asks for is computed again."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from rcs_assets.build import build_defs
from rcs_assets.runs import Launcher, Plan, dagster_instance
from rcs_assets.storage import Home
from tests.conftest import ReleasedHome
from tests.integration.installation import ENGAGEMENT, OTHER

NOTHING = Plan(reference=False, engagements=(), outputs=False)
ALL = (ENGAGEMENT, OTHER)


@pytest.mark.parametrize(
    ("wiped", "due"),
    [
        (None, NOTHING),
        ("wellbeing/estimates", Plan(reference=False, engagements=(), outputs=True)),
        ("linkage/linked", Plan(reference=False, engagements=ALL, outputs=False)),
    ],
)
def test_what_was_wiped_in_the_ui_is_computed_for_the_gate(
    released_home: ReleasedHome, tmp_path: Path, wiped: str | None, due: Plan
) -> None:
    """Nothing has changed, so without this the gate would refuse for ever."""
    home = Home.open(released_home.copy(tmp_path / "home"))
    with dagster_instance(home) as instance:
        if wiped:
            instance.wipe_assets([dg.AssetKey(wiped.split("/"))])
        launcher = Launcher(home, build_defs(), instance, lambda _: None)
        assert launcher.with_unrecorded(NOTHING, ALL) == due
