"""Which parts of the warehouse a run concerns."""

from __future__ import annotations

import dagster as dg

from rcs_assets.sessions import PARTITION, RANGE_END, RANGE_START, Parts, touched_units

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
