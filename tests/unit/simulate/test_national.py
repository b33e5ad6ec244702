"""The generated register of all councils."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from rcs_assets.errors import InputError
from rcs_assets.programme import load_programme
from rcs_assets.programme.tracking import load_tracking, readiness_problems
from rcs_assets.simulate.national import write_register
from rcs_assets.simulate.places import read_places
from rcs_assets.simulate.public import write_fictitious


def test_register_has_32_councils_with_waves_and_approvals(tmp_path: Path) -> None:
    write_register(tmp_path)
    programme = load_programme(tmp_path)
    assert len(programme.cpps) == 32
    assert len({cpp.council_code for cpp in programme.cpps.values()}) == 32
    for engagement in programme.engagements.values():
        assert {"primary", "secondary"} <= {wave.survey for wave in engagement.waves}
        assert engagement.key in programme.approvals
    assert set(load_programme().engagements) <= set(programme.engagements)
    tracking = load_tracking(tmp_path)
    assert set(tracking.cut_offs) == set(programme.engagements)
    for key in programme.engagements:
        day = date(2020, 6, 30)
        assert not readiness_problems(programme, tracking, key, day, placeholders_allowed=True)


def test_national_schools_have_national_size(tmp_path: Path) -> None:
    write_register(tmp_path / "config")
    programme = load_programme(tmp_path / "config")
    write_fictitious(tmp_path, programme, 3)
    places = read_places(tmp_path, programme, 3)
    assert 370_000 < places.pupils_n < 400_000
    assert places.schools["seed_code"].is_unique
    assert places.schools["name"].is_unique


def test_an_overlay_of_somebodys_own_is_not_overwritten(tmp_path: Path) -> None:
    own = tmp_path / "engagements.csv"
    own.write_text("key,tranche,cpp,source\nt3-x,t3,x,own\n", encoding="utf-8")
    with pytest.raises(InputError, match="overwrite an overlay"):
        write_register(tmp_path)
    assert own.read_text(encoding="utf-8").endswith("t3-x,t3,x,own\n")
    (tmp_path / "again").mkdir()
    assert write_register(tmp_path / "again") == write_register(tmp_path / "again")
