"""A package with a figure in a hidden row is refused: nothing is made of it.

Reports and explorers are made of a package's rows alone. So no coordinate, alternative text,
comment, order, count or sentence can hold a hidden figure: the rows hold none, and a package
whose rows do has no page.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rcs_assets.errors import InputError
from rcs_assets.reporting import render_package
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP, SCHOOL

# Table and column that protection empties in a row that is not shown.
CASES = [
    *((name, "estimates", column) for name in (SCHOOL, CPP, "public")
      for column in ("n", "estimate", "ci_low", "ci_high")),
    (SCHOOL, "comparisons", "verdict"),
    (CPP, "comparisons", "verdict"),
    *((CPP, "reach", column) for column in (
        "n", "observed_pct", "ci_low", "ci_high", "corrected_pct", "bound_low", "bound_high")),
    *((CPP, "spend", column) for column in ("gbp", "children_n")),
    *((CPP, "outcomes", column) for column in ("estimate", "ci_low", "ci_high", "sentence")),
    *(("public", "changes", column) for column in (
        "n", "earlier_estimate", "later_estimate", "change", "ci_low", "ci_high", "verdict")),
    *(("public", "models", column) for column in ("effect_points", "effect_low", "effect_high")),
    *(("public", "risks", column) for column in ("n", "share_pct", "outcome_pct")),
]  # fmt: skip
WRITERS: dict[str, Callable[[Path], Path]] = {
    SCHOOL: lambda folder: made.write_school(folder, statuses=made.some_hidden),
    CPP: lambda folder: made.write_cpp(folder, statuses=made.some_hidden),
    "public": lambda folder: made.write_public(folder, waves=2),
}
SECRET = "13.7"


@pytest.mark.parametrize(("name", "table", "column"), CASES)
def test_a_figure_in_a_hidden_row_is_refused_and_not_told(
    tmp_path, monkeypatch, name, table, column
) -> None:
    filled = []
    for writer in ("_csv", "_parquet"):
        write = getattr(made, writer)

        def leaking(file, columns, rows, write=write):
            rows = [dict(row) for row in rows]
            if file.stem in (table, "table" if table == "estimates" else table):
                hidden = next(row for row in rows if row["status"] == "c")
                assert not hidden[column]
                hidden[column] = SECRET
                filled.append(file)
            write(file, columns, rows)

        monkeypatch.setattr(made, writer, leaking)
    folder = WRITERS[name](tmp_path)
    assert len(filled) == 1
    with pytest.raises(InputError, match=f"holds a figure in column {column}") as refused:
        render_package(folder, name)
    assert SECRET not in str(refused.value) and ", row " in str(refused.value)


def test_a_figure_that_is_shown_does_change_them(tmp_path, monkeypatch) -> None:
    """The measure of the test above: a shown figure is seen in page and PDF."""
    clean = render_package(made.write_school(tmp_path / "a"), SCHOOL)
    figures = made._figures

    def other(indicator, *rest):
        return figures(indicator, *rest) | (
            {"estimate": "1.0"} if "lonely" in indicator.name else {}
        )

    monkeypatch.setattr(made, "_figures", other)
    changed = render_package(made.write_school(tmp_path / "b"), SCHOOL)
    assert [path for path in clean if clean[path] != changed[path]] == list(clean)
