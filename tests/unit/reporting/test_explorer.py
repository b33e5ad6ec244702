"""The data of an explorer: released rows, packed; nothing where nothing is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from rcs_assets.reporting.examine import unpacked
from rcs_assets.reporting.explorer import explorer_files
from rcs_assets.reporting.package import read_package
from rcs_assets.reporting.settings import load_settings
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP


def site(folder: Path, out: Path) -> Path:
    files = explorer_files(folder, read_package(folder, CPP), load_settings())
    for path, content in files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(content)
    return out / "explorer"


@pytest.fixture
def folder(cpp_folder: Path, tmp_path: Path) -> Path:
    return site(cpp_folder, tmp_path)


def test_there_is_one_file_a_council_and_one_for_what_is_above(folder) -> None:
    assert {f.name for f in (folder / "data").iterdir()} == {
        "meta.js", "all.js", f"{made.COUNCIL}.js",
    }  # fmt: skip


def test_a_hidden_cell_is_a_key_and_a_mark_and_nothing_else(tmp_path) -> None:
    """All hidden: there is no figure in the data, in whatever list."""
    hidden = made.write_cpp(tmp_path / "cpp", statuses=made.all_hidden, services=False)
    out = site(hidden, tmp_path / "out")
    school = unpacked(out / "data" / f"{made.COUNCIL}.js")
    parts = [school[name] for name in ("n", "estimate", "down", "up")]
    shown = sum(mark in "pu" for mark in school["marks"])
    assert {len(part) for part in parts} == {shown}
    assert len(school["marks"]) == len(school["keys"]) > shown
    assert "c" in school["marks"]


def test_keys_are_unique_and_name_a_place_a_measure_and_a_group(folder) -> None:
    meta = unpacked(folder / "data" / "meta.js")
    unit = unpacked(folder / "data" / f"{made.COUNCIL}.js")
    size = len(meta["places"]) * len(meta["measures"]) * len(meta["groups"])
    assert all(step > 0 for step in unit["keys"][1:]) and unit["keys"][0] >= 0
    assert sum(unit["keys"]) < size


def test_the_same_package_gives_the_same_bytes(cpp_folder) -> None:
    package, settings = read_package(cpp_folder, CPP), load_settings()
    first = explorer_files(cpp_folder, package, settings)
    assert explorer_files(cpp_folder, package, settings) == first
    assert sum(map(len, first.values())) < 375_000


def test_the_tiles_are_the_32_councils_each_in_a_place_of_its_own(folder) -> None:
    tiles = unpacked(folder / "data" / "meta.js")["councils"]
    assert len({code for code, *_ in tiles}) == len({tuple(t[2:]) for t in tiles}) == 32


def test_words_of_the_explorer_judge_nobody(folder) -> None:
    said = (folder / "explorer.js").read_text("utf-8").lower()
    for word in ("over-reach", "failing", " poor ", "significant", "no difference", "league"):
        assert word not in said
