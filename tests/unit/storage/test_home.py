"""The home: profiles, keys, markers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rcs_assets.errors import ConfigurationError, StorageError
from rcs_assets.storage import Home


def test_default_profile_is_production_with_random_keys(tmp_path: Path) -> None:
    first = Home.open(tmp_path / "a")
    second = Home.open(tmp_path / "b")
    assert first.profile == "production"
    assert first.key("project_id") != second.key("project_id")


def test_demo_keys_follow_the_seed(tmp_path: Path) -> None:
    first = Home.open(tmp_path / "a", profile="demo", seed=1)
    second = Home.open(tmp_path / "b", profile="demo", seed=1)
    other = Home.open(tmp_path / "c", profile="demo", seed=2)
    assert first.key("project_id") == second.key("project_id")
    assert first.key("project_id") != other.key("project_id")
    assert first.key("project_id") != first.key("record_id")


def test_key_files_and_folders_are_private(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "a")
    home.key("vault")
    assert (home.keys / "vault.key").stat().st_mode & 0o777 == 0o600
    assert home.path.stat().st_mode & 0o777 == 0o700


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "a")
    home.key("vault")
    (home.keys / "vault.key").chmod(0o644)
    with pytest.raises(StorageError, match="can be read by others"):
        home.key("vault")


def test_a_damaged_key_is_refused(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "a")
    home.key("vault")
    (home.keys / "vault.key").write_text("not hexadecimal\n")
    with pytest.raises(StorageError, match="damaged"):
        home.key("vault")


def test_a_lost_vault_key_is_not_replaced_silently(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "a")
    home.vault.write_bytes(b"an existing vault")
    with pytest.raises(StorageError, match="vault's key is missing"):
        home.key("vault")


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
