"""An accidental change of a key, owner, dependency, check or job is seen in review."""

from __future__ import annotations

import pytest

from tests.graph import snapshot


@pytest.mark.parametrize("part", snapshot.PARTS)
def test_graph_is_as_committed(part: str) -> None:
    committed = (snapshot.SNAPSHOTS / f"{part}.json").read_text(encoding="utf-8")
    assert snapshot.as_text(part) == committed, (
        "the graph has changed; if that is meant, run `make snapshots` and review the difference"
    )
