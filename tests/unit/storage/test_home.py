"""The home: profiles, markers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rcs_assets.errors import ConfigurationError
from rcs_assets.storage import Home


def test_the_default_profile_is_production(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "a")
    assert home.profile == "production"
    assert home.path.stat().st_mode & 0o777 == 0o700


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
