"""A package with a figure in a hidden row is refused: nothing is made of it.

Reports and explorers are made of a package's rows alone. So no coordinate, alternative text,
comment, order, count or sentence can hold a hidden figure: the rows hold none, and a package
whose rows do has no page.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rcs_assets.errors import InputError
from rcs_assets.reporting import render_package
from rcs_assets.reporting.package import read_package
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
    *((CPP, "recipients", column) for column in ("n", "not_responded_pct")),
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


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One package of each kind, none of which has a figure in a hidden row."""
    root = tmp_path_factory.mktemp("packages")
    return {name: write(root / name) for name, write in WRITERS.items()}


def leaking(package: Path, folder: Path, table: str, column: str) -> Path:
    """A copy of a package with one figure in one hidden row of one table."""
    shutil.copytree(package, folder)
    file = folder / "parquet" / f"{table}.parquet"
    if file.is_file():
        columns = pq.read_table(file).to_pydict()
    else:
        file = folder / ("table.csv" if table == "estimates" else f"{table}.csv")
        with file.open(encoding="utf-8", newline="") as stream:
            head, *rows = csv.reader(stream)
        columns = {
            name: list(cells) for name, cells in zip(head, zip(*rows, strict=True), strict=True)
        }
    hidden = columns["status"].index("c")
    assert not columns[column][hidden]
    columns[column] = ["" if cell is None else str(cell) for cell in columns[column]]
    columns[column][hidden] = SECRET
    if file.suffix == ".parquet":
        pq.write_table(pa.table(columns), file)
    else:
        with file.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return folder


@pytest.mark.parametrize(("name", "table", "column"), CASES)
def test_a_figure_in_a_hidden_row_is_refused_and_not_told(
    packages, tmp_path, name, table, column
) -> None:
    folder = leaking(packages[name], tmp_path / "leaking", table, column)
    with pytest.raises(InputError, match=f"holds a figure in column {column}") as refused:
        render_package(folder, name)
    assert SECRET not in str(refused.value) and ", row " in str(refused.value)


def test_none_of_them_is_refused_without_that_figure(packages) -> None:
    for name, folder in packages.items():
        assert read_package(folder, name).name == name


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
