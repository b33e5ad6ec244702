"""The encryption library: its signature is checked, once a process, and then no longer asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import duckdb
import pytest

from rcs_assets.errors import StorageError
from rcs_assets.storage import encryption

LIBRARY = Path("extensions") / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library in the place of the installed one."""
    own = tmp_path / LIBRARY
    own.parent.mkdir(parents=True)
    shutil.copyfile(str(resources.files("duckdb_extension_httpfs") / str(LIBRARY)), own)
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    return own


def change_a_byte(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(5_000_000)
        byte = stream.read(1)[0]
        stream.seek(5_000_000)
        stream.write(bytes([byte ^ 1]))


def test_the_library_encrypts(library: Path, tmp_path: Path) -> None:
    with encryption.connect_encrypting() as con:
        con.execute(f"attach '{tmp_path / 'a.duckdb'}' as a (encryption_key 'secret')")
        con.execute("create table a.t as select 'Qwyxcanary' as name from range(1000)")
        con.execute("detach a")
        assert con.execute("select current_setting('temp_file_encryption')").fetchall() == [(True,)]
    assert b"Qwyxcanary" not in (tmp_path / "a.duckdb").read_bytes()


@pytest.mark.parametrize("damage", [change_a_byte, lambda file: file.write_bytes(b"no library")])
def test_a_library_that_is_not_duckdbs_own_is_refused(
    library: Path, damage: Callable[[Path], object]
) -> None:
    damage(library)
    with pytest.raises(StorageError, match="cannot be loaded") as told:
        encryption.connect_encrypting()
    assert "signature is not DuckDB's" in str(told.value)


def test_a_library_that_was_changed_since_is_refused(library: Path) -> None:
    encryption.connect_encrypting().close()
    other = library.with_suffix(".other")
    shutil.copyfile(library, other)
    change_a_byte(other)
    other.replace(library)
    with pytest.raises(StorageError, match="cannot be loaded"):
        encryption.connect_encrypting()


def test_a_missing_library_says_what_to_install(library: Path) -> None:
    library.unlink()
    with pytest.raises(StorageError, match="is missing"):
        encryption.connect_encrypting()


def test_no_other_unsigned_library_can_be_loaded_beside_it(library: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb_extension"
    shutil.copyfile(library, other)
    change_a_byte(other)
    with encryption.connect_encrypting() as con:
        with pytest.raises(duckdb.Error, match="signature"):
            con.execute(f"load '{other}'")
        with pytest.raises(duckdb.Error):
            con.execute("set allow_unsigned_extensions = true")
