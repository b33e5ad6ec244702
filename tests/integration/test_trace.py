"""docs/how-to/trace-a-figure.md: one published number back to raw items, step by step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb

from tests.conftest import ReleasedHome
from tests.integration.installation import ENGAGEMENT, receipts


def _steps(page: Path) -> list[str]:
    return re.findall(r"```sql\n(.+?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def _asked(database: Path, sql: str) -> dict[str, Any]:
    with duckdb.connect(str(database), read_only=True) as con:
        rows = con.execute(sql).to_arrow_table().to_pylist()
    assert len(rows) == 1
    found: dict[str, Any] = rows[0]
    return found


def test_a_published_figure_leads_back_to_its_items(
    released_home: ReleasedHome, repo_root: Path
) -> None:
    published, *inside = _steps(repo_root / "docs" / "how-to" / "trace-a-figure.md")
    assert len(inside) == 4
    shown = _asked(released_home.release / "public" / "rcs.duckdb", published)
    warehouse = released_home.path / "warehouse.duckdb"
    estimate, weighed, scored, delivered = (_asked(warehouse, sql) for sql in inside)
    assert shown["status"] in ("published", "u")
    assert float(shown["estimate"]) == int(estimate["estimate"] + 0.5)
    assert abs(float(shown["n"]) - estimate["base_n"]) <= 5
    assert abs(weighed["estimate"] - estimate["estimate"]) < 1e-9
    counts = ("base_n", "numerator_n")
    assert {n: weighed[n] for n in counts} == {n: estimate[n] for n in counts}
    assert {n: scored[n] for n in counts} == {n: estimate[n] for n in counts}
    assert 0 < estimate["numerator_n"] < estimate["base_n"] <= delivered["pupils_n"]
    assert delivered["taken_in_n"] - delivered["unlinked_n"] == delivered["pupils_n"]
    files = {
        d["sha256"]
        for d in receipts(released_home.path)
        if (d["engagement"], d["dataset"]) == (ENGAGEMENT, "primary_survey")
    }
    assert files == {delivered["sha256"]}
