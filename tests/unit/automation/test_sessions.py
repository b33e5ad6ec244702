"""Which parts of the warehouse a run concerns, and in which installation."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from rcs_assets.build import build_defs
from rcs_assets.sessions import PARTITION, RANGE_END, RANGE_START, Parts, touched_units
from rcs_assets.storage import Home

READ, MADE, AFTER, ASIDE = (dg.AssetKey(["a", n]) for n in ("read", "made", "after", "aside"))
CHECK = dg.AssetCheckKey(MADE, "is_right")
PARTS = Parts(frozenset({READ}), frozenset({MADE, CHECK}), frozenset({AFTER}), frozenset({ASIDE}))
ORDER = ("t1-a", "t1-b", "t2-c")


def touched(*planned, **tags):
    named = {"first": RANGE_START, "last": RANGE_END, "only": PARTITION}
    return touched_units(frozenset(planned), {named[k]: v for k, v in tags.items()}, PARTS, ORDER)


def test_an_engagement_leaves_what_follows_behind():
    assert touched(MADE, only="t1-b") == ["t1-b", "outputs"]


def test_a_range_holds_its_ends_and_what_lies_between():
    assert touched(MADE, first="t1-a", last="t1-b") == ["t1-a", "t1-b", "outputs"]


def test_without_a_partition_every_engagement_is_concerned():
    assert touched(MADE) == ["t1-a", "t1-b", "t2-c", "outputs"]


def test_reference_data_concern_themselves_and_what_sees_all():
    assert touched(READ) == ["reference", "outputs"]
    assert touched(READ, MADE, only="t2-c") == ["reference", "t2-c", "outputs"]


def test_a_run_of_checks_or_of_publishing_alone_concerns_nothing():
    assert touched() == []
    assert touched(dg.AssetKey(["release", "published"])) == []
    assert touched(AFTER) == ["outputs"]


def test_tracking_leaves_every_figure_as_it_is():
    assert touched(ASIDE) == ["tracking"]
    assert PARTS.of("tracking") == {ASIDE}


def test_a_part_is_its_assets_with_their_checks():
    assert PARTS.of("reference") == {READ}
    assert PARTS.of("t1-a") == {MADE, CHECK}
    assert PARTS.of("outputs") == {AFTER}


def test_a_path_typed_into_the_launchpad_makes_no_other_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Home.open(tmp_path / "home", profile="demo")
    monkeypatch.setenv("RCS_HOME", str(tmp_path / "home"))
    typed = {"resources": {"home": {"config": {"path": str(tmp_path / "hone")}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            build_defs()
            .resolve_job_def("reference")
            .execute_in_process(instance=instance, run_config=typed, raise_on_error=False)
        )
        said = " ".join(str(event.event_specific_data) for event in result.all_events)
    assert not result.success
    assert "names another installation" in said
    assert not (tmp_path / "hone").exists()
