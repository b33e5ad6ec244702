"""What the UI shows of a partition is that engagement's own, though one run takes several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rcs_assets.build import build_defs
from rcs_assets.codebook import load_codebook
from rcs_assets.intake.drop import deliver
from rcs_assets.programme import load_programme
from rcs_assets.programme.provenance import write_simulated_manifest
from rcs_assets.runs import Launcher, dagster_instance
from rcs_assets.sessions import RANGE_END, RANGE_START
from rcs_assets.storage import Home
from rcs_assets.storage.home import DEMO_SEED
from tests.conftest import ReleasedHome
from tests.integration.installation import ENGAGEMENT

TRANCHE = [key for key in load_programme().engagement_keys if key.startswith("t1-")]
EMPTY = TRANCHE[1]


def _run(home: Home, instance: dg.DagsterInstance, monkeypatch: Any, *assets: str) -> None:
    """One run of a whole tranche."""
    monkeypatch.setenv("RCS_HOME", str(home.path))
    tags = {RANGE_START: TRANCHE[0], RANGE_END: TRANCHE[-1]}
    keys = {dg.AssetKey(asset.split("/")) for asset in assets}
    launcher = Launcher(home, build_defs(), instance, lambda _: None)
    assert launcher.run("tranche", "everything", keys, tags).error == ""


def _figures(instance: dg.DagsterInstance, asset: str) -> dict[str, dict[str, Any]]:
    """Partition → figures of its last materialisation."""
    found: dict[str, dict[str, Any]] = {}
    key = dg.AssetKey(asset.split("/"))
    for record in instance.fetch_materializations(key, limit=len(TRANCHE)).records:
        made = record.asset_materialization
        assert made and made.partition
        found[made.partition] = {name: value.value for name, value in made.metadata.items()}
    return found


def test_what_one_engagement_delivered_is_not_shown_of_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.open(tmp_path / "home", profile="demo")
    file = home.incoming / f"{ENGAGEMENT}_opt-outs.csv"
    rows = [f"T1AA{number:04d},survey,2016-01-01" for number in range(12)]
    file.write_text("\n".join(["survey_uid,scope,received_on", *rows, ""]), encoding="utf-8")
    write_simulated_manifest(home.incoming, [file], DEMO_SEED)
    deliver(home, [file], load_programme(), load_codebook())
    with dagster_instance(home) as instance:
        _run(home, instance, monkeypatch, "intake/opt_outs")
        figures = _figures(instance, "intake/opt_outs")
    received = {key: figures[key]["received"] for key in TRANCHE}
    assert received == {key: 12 if key == ENGAGEMENT else 0 for key in TRANCHE}
    assert figures[EMPTY]["deliveries"] == 0


@pytest.mark.slow
def test_figures_of_linkage_and_wellbeing_are_of_the_partition(
    released_home: ReleasedHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.open(released_home.copy(tmp_path / "home"))
    monkeypatch.setenv("RCS_HOME", str(home.path))
    made = ("linkage/link_rates", "linkage/flow", "wellbeing/item_answers", "wellbeing/weights")
    with dagster_instance(home) as instance:
        launcher = Launcher(home, build_defs(), instance, lambda _: None)
        # The step of link_rates makes five more assets, that of flow one: they come along.
        (done,) = launcher.select(" or ".join(f"key:{asset}" for asset in made), TRANCHE)
        assert done.error == ""
        figures = {asset: _figures(instance, asset) for asset in made}
    for asset in ("wellbeing/item_answers", "wellbeing/weights"):
        rows = {key: figures[asset][key]["dagster/row_count"] for key in TRANCHE}
        assert rows[ENGAGEMENT] > 1000
        assert rows[EMPTY] == 0
    assert "education_linked_pct" in figures["linkage/link_rates"][ENGAGEMENT]
    assert "education_linked_pct" not in figures["linkage/link_rates"][EMPTY]
    assert not figures["linkage/flow"][EMPTY].get("usable")
