"""The home: profiles, markers, who may enter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from rcs_assets.doctor import Finding, examine
from rcs_assets.errors import ConfigurationError, StorageError
from rcs_assets.storage import Home, Settings, open_memory


def test_the_default_profile_is_production(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "a")
    assert home.profile == "production"
    assert home.path.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def open_mask() -> Iterator[None]:
    """The mask of most accounts, under which others may read what is made."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_mask")
def test_every_folder_of_a_home_is_its_owners(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "a")
    assert [f for f in home.path.rglob("*") if f.is_dir() and f.stat().st_mode & 0o077] == []


@pytest.mark.usefixtures("open_mask")
def test_a_command_makes_no_file_that_others_may_read(rcs, tmp_path: Path) -> None:
    assert rcs("keys", "new", "--home", tmp_path / "a").status == 0
    made = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
    assert len(made) > 10
    assert [file for file in made if file.stat().st_mode & 0o077] == []


@pytest.mark.usefixtures("open_mask")
def test_a_run_of_the_ui_makes_no_file_that_others_may_read() -> None:
    tell_mask = "import os, rcs_assets.definitions; print(oct(os.umask(0)))"
    told = subprocess.run(
        [sys.executable, "-c", tell_mask], capture_output=True, text=True, check=True
    )
    assert told.stdout == "0o77\n"


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701])
def test_the_doctor_names_a_home_that_others_can_enter(tmp_path: Path, mode: int) -> None:
    home = Home.open(tmp_path / "a")

    def finding() -> Finding:
        return next(finding for finding in examine(home) if finding.what == "home")

    assert finding().is_ok
    home.path.chmod(mode)
    assert not finding().is_ok
    assert f"chmod 700 {home.path}" in finding().detail


def test_an_existing_home_keeps_its_profile_and_seed(tmp_path: Path) -> None:
    Home.open(tmp_path / "a", profile="demo", seed=7)
    assert Home.open(tmp_path / "a").profile == "demo"
    with pytest.raises(ConfigurationError, match="profile demo, not production"):
        Home.open(tmp_path / "a", profile="production")
    with pytest.raises(ConfigurationError, match="seed 7, not 8"):
        Home.open(tmp_path / "a", seed=8)


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Unknown profile"):
        Home.open(tmp_path / "a", profile="staging")


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="no folder"):
        Home.open(tmp_path / "home")


@pytest.mark.parametrize(
    "limit", ["lots", "2", "-1GB", "0%", "50%", "0GB", "1KB", "63MB", "99999999999999TB", "²GB"]
)
def test_a_limit_of_memory_that_is_no_size_is_refused(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv("RCS_MEMORY_LIMIT", limit)
    with pytest.raises(ConfigurationError, match="RCS_MEMORY_LIMIT"):
        Settings.from_environment()


@pytest.mark.parametrize("limit", ["64MB", "2GB", " 1.5 gib "])
def test_a_size_that_is_taken_opens_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv("RCS_MEMORY_LIMIT", limit)
    with open_memory(Home.open(tmp_path)) as con:
        assert con.execute("select count(*) from range(10)").fetchall() == [(10,)]


@pytest.mark.parametrize("threads", ["0", "-1", "²", "two", "1.5", "1025", "99999999999"])
def test_what_is_no_number_of_threads_is_refused(
    monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    monkeypatch.setenv("RCS_THREADS", threads)
    with pytest.raises(ConfigurationError, match=r"RCS_THREADS.*1 to 1024"):
        Settings.from_environment()


def test_a_home_to_be_read_must_be_there_and_of_the_profile(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no installation here"):
        Home.existing(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    made = Home.open(tmp_path / "a", profile="demo", seed=7)
    assert Home.existing(tmp_path / "a") == Home.existing(tmp_path / "a", profile="demo") == made
    with pytest.raises(ConfigurationError, match="profile demo, not production"):
        Home.existing(tmp_path / "a", profile="production")


def test_what_is_permitted_must_hold_today_in_production(tmp_path: Path) -> None:
    """An earlier day would bring back an approval that has ended, and a key that is revoked."""
    then, ahead, today = date(2020, 1, 2), date(2999, 1, 2), date.today()
    demo = Home.open(tmp_path / "demo", profile="demo")
    production = Home.open(tmp_path / "production")
    assert (demo.permission_day(then), demo.permission_day(ahead)) == (then, ahead)
    assert production.permission_day(then) >= today
    assert production.permission_day(ahead) == ahead
