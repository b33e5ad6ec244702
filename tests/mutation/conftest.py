"""What mutation tests share: a platform that ran, copied, and ways to spoil what it was given.

Belongs here: the copied installation, reading and writing of delivered files, and the
names of failing expectations. Does not belong here: a mutation; those stand in the tests,
one an expectation or check.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pandas as pd
import pyreadstat
import pytest

from data_quality import ExpectationOutcome
from rcs_assets.codebook import Codebook, load_codebook
from rcs_assets.intake.desk import Desk, open_desk
from rcs_assets.intake.drop import deliver
from rcs_assets.intake.receipts import Receipt
from rcs_assets.intake.take import (
    take,
    take_education,
    take_reference,
    take_social_work,
)
from rcs_assets.programme import Programme, load_programme
from rcs_assets.simulate import sign_files
from rcs_assets.storage import Home, Settings, open_warehouse
from rcs_assets.storage.checks import Bench
from tests.drop import plain_copy

DAY = date(2020, 6, 30)
KEPT = (
    "config",
    "drop",
    "keys",
    "receipts",
    "tmp",
    "home.json",
    "vault.duckdb",
    "warehouse.duckdb",
)
CHANGING = ("vault.duckdb", "warehouse.duckdb", "drop/register.jsonl")
# Files that are taken in together.
EXTRACTS = (
    (
        frozenset({"education_ids", "education_payload", "attendance", "exclusions", "cfe_levels"}),
        take_education,
    ),
    (
        frozenset({"social_work_ids", "social_work_payload", "child_protection", "looked_after"}),
        take_social_work,
    ),
)
SHEETS = {"service-map.xlsx": "services", "budgets.xlsx": "budgets"}

Change = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Platform:
    """A copy of an installation that ran; tests may spoil it, `restore` brings it back."""

    home: Home
    untouched: Path
    programme: Programme
    codebook: Codebook

    def restore(self) -> None:
        """Undo deliveries; tests that change tables roll back instead."""
        for name in CHANGING:
            shutil.copy2(self.untouched / name, self.home.path / name)
        shutil.rmtree(self.home.receipts)
        shutil.copytree(self.untouched / "receipts", self.home.receipts)

    def delivered(self, dataset: str, engagement: str | None) -> Path:
        """A plain copy of the delivered file."""
        return plain_copy(self.home.path, dataset, engagement)

    def redeliver(self, folder: Path, changes: dict[str, Change], engagement: str | None) -> None:
        """Deliver changed files (dataset → change) and take them in, as a run would.

        Reference data have no engagement.
        """
        settings = Settings.from_environment(as_of=DAY.isoformat())
        files = []
        for dataset, change in changes.items():
            source = self.delivered(dataset, engagement)
            files.append(folder / source.name)
            write_file(change(read_file(source)), source, folder / source.name)
        if "sample_file" in changes:
            # A decision on UIDs holds for exactly the file that was judged.
            decisions = self.delivered("uid_decisions", engagement)
            judged = next(file for file in files if "_sample-file" in file.name)
            files.append(folder / decisions.name)
            frame = read_file(decisions).assign(
                sample_sha256=hashlib.sha256(judged.read_bytes()).hexdigest()
            )
            write_file(frame, decisions, folder / decisions.name)
        sign_files(files, self.home.seed or 0)
        outcomes = deliver(self.home, files, self.programme, self.codebook, received_on=DAY)
        assert [o.status for o in outcomes] == ["registered"] * len(files), outcomes
        with open_desk(self.home, self.programme, self.codebook, settings) as desk:
            again = {*changes, *(["uid_decisions"] if "sample_file" in changes else [])}
            receipts = take_again(desk, again, engagement)
        refused = [receipt for receipt in receipts if receipt and receipt.reason]
        assert not refused, refused


def take_again(desk: Desk, datasets: set[str], engagement: str | None) -> list[Receipt | None]:
    """Take in what was delivered again; both files of an extract, whichever it was."""
    if engagement is None:
        return [take_reference(desk, dataset) for dataset in sorted(datasets)]
    receipts: list[Receipt | None] = []
    for files, take_extract in EXTRACTS:
        if datasets & files:
            receipts += take_extract(desk, engagement)
            datasets = datasets - files
    # What was decided comes before the sample file that it is about.
    order = sorted(datasets, key=lambda dataset: (dataset != "uid_decisions", dataset))
    return receipts + [take(desk, dataset, engagement) for dataset in order]


def sheet_of(path: Path) -> str:
    """The sheet of a delivered workbook."""
    return SHEETS[path.name.rpartition("_")[2]]


def read_file(path: Path) -> pd.DataFrame:
    """A delivered file as it stands: text cells of .csv and .xlsx, numeric codes of .sav."""
    if path.suffix == ".sav":
        frame: pd.DataFrame = pyreadstat.read_sav(
            str(path), user_missing=True, disable_datetime_conversion=True
        )[0]
        return frame
    if path.suffix == ".xlsx":
        return pd.read_excel(path, sheet_name=sheet_of(path))
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def write_file(frame: pd.DataFrame, source: Path, target: Path) -> None:
    """Write it back in the form of the source."""
    if source.suffix == ".sav":
        _, metadata = pyreadstat.read_sav(str(source), metadataonly=True)
        days = {n: f for n, f in metadata.original_variable_types.items() if f.startswith("DATE")}
        pyreadstat.write_sav(frame, str(target), variable_format=days)
    elif source.suffix == ".xlsx":
        book = openpyxl.load_workbook(source)
        sheet = book[sheet_of(source)]
        sheet.delete_rows(2, sheet.max_row)
        for row in frame.astype(object).where(frame.notna(), None).to_numpy().tolist():
            sheet.append(row)
        book.save(target)
    else:
        frame.to_csv(target, index=False)


@pytest.fixture(scope="module")
def platform(released_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A copy of the small demonstration, without its release."""
    folder = tmp_path_factory.mktemp("mutation") / "home"
    folder.mkdir(mode=0o700)
    for name in KEPT:
        source = released_home.path / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True)
        elif source.exists():
            shutil.copy2(source, folder / name)
    home = Home.open(folder)
    return Platform(
        home, released_home.path, load_programme(home.config), load_codebook(home.config)
    )


@pytest.fixture(scope="module")
def engagement(platform: Platform) -> str:
    """An engagement that held all surveys, the parents' too."""
    with open_warehouse(platform.home, read_only=True) as con:
        rows = con.execute("select min(engagement) from intake.parent_survey").fetchall()
    return str(rows[0][0])


@pytest.fixture(scope="module")
def open_bench(platform: Platform) -> Callable[[duckdb.DuckDBPyConnection], Bench]:
    """A bench of checks over a given connection."""

    def make(con: duckdb.DuckDBPyConnection) -> Bench:
        return Bench(con, platform.home, platform.programme, platform.codebook, frozenset())

    return make


@pytest.fixture
def spoilt(platform: Platform) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose changes are rolled back."""
    with open_warehouse(platform.home) as con:
        con.execute("begin")
        yield con
        con.execute("rollback")


def failing(outcomes: list[ExpectationOutcome]) -> set[str]:
    """Names of the expectations that failed."""
    return {outcome.name for outcome in outcomes if not outcome.passed}


@pytest.fixture(scope="session")
def failed() -> Callable[[list[ExpectationOutcome]], set[str]]:
    """Names of the expectations that failed."""
    return failing
