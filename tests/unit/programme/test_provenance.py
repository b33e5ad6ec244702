"""The signed list of simulated deliveries.

Belongs here: tests of `rcs_assets.programme.provenance`. Does not belong here: what the
demo profile refuses.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rcs_assets.errors import InputError
from rcs_assets.programme import read_simulated_manifest, write_simulated_manifest


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two small deliveries."""
    paths = [tmp_path / "b.csv", tmp_path / "a.csv"]
    for path in paths:
        path.write_text(f"content of {path.name}\n", encoding="utf-8")
    return paths


def test_what_is_written_is_read(tmp_path: Path, files: list[Path]) -> None:
    write_simulated_manifest(tmp_path, files, 7)
    assert read_simulated_manifest(tmp_path) == {
        hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in files
    }


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, files: list[Path]) -> None:
    first = write_simulated_manifest(tmp_path, files, 7).read_bytes()
    assert write_simulated_manifest(tmp_path, files[::-1], 7).read_bytes() == first
    assert write_simulated_manifest(tmp_path, files, 8).read_bytes() != first


def test_public_files_are_marked(tmp_path: Path, files: list[Path]) -> None:
    path = write_simulated_manifest(tmp_path, files, 7, public=[files[0]])
    listed = json.loads(path.read_text(encoding="utf-8"))["files"]
    assert {entry["name"]: entry["kind"] for entry in listed} == {
        "a.csv": "made",
        "b.csv": "public",
    }


def test_without_a_manifest_nothing_is_known_to_be_simulated(tmp_path: Path) -> None:
    assert read_simulated_manifest(tmp_path) == {}


@pytest.mark.parametrize("change", ["seed", "file", "kind", "unsigned", "added"])
def test_a_changed_manifest_is_refused(tmp_path: Path, files: list[Path], change: str) -> None:
    path = write_simulated_manifest(tmp_path, files, 7)
    content = json.loads(path.read_text(encoding="utf-8"))
    if change == "seed":
        content["seed"] = 8
    elif change == "file":
        content["files"][0]["sha256"] = "0" * 64
    elif change == "kind":
        content["files"][0]["kind"] = "public"
    elif change == "unsigned":
        del content["signature"]
    else:
        content["files"].append({"name": "c.csv", "sha256": "1" * 64, "kind": "made"})
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="signature"):
        read_simulated_manifest(tmp_path)


@pytest.mark.parametrize("content", ["not json", "[]"])
def test_an_unreadable_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "SIMULATED.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="JSON"):
        read_simulated_manifest(tmp_path)


def test_a_missing_delivery_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv"):
        write_simulated_manifest(tmp_path, [tmp_path / "gone.csv"], 7)


def test_two_deliveries_of_one_name_are_refused(tmp_path: Path, files: list[Path]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.csv").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="one file name"):
        write_simulated_manifest(tmp_path, [*files, other / "a.csv"], 7)
