"""What was planted is caught: the table of the documentation, measured anew."""

from __future__ import annotations

from pathlib import Path

from benchmarks import catch


def test_every_planted_defect_is_caught_and_the_page_says_so(
    tmp_path: Path,
) -> None:
    found = catch.measure(tmp_path, "small")
    measured = [one for one in found if one.by != catch.KEPT]
    assert {one.kind for one in measured if one.unaccounted_n} == set()
    assert len({(one.dataset, one.kind) for one in measured}) >= 20
    assert all(one.caught_n > 0 for one in measured)
    assert catch.PAGE.read_text(encoding="utf-8") == catch.page(found)
