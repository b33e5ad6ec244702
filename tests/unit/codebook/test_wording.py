"""Licensed wording: from the licensee's files, shown where the licence permits, nowhere else."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path

import pytest

from rcs_assets.cli import main
from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.tables import codebook_tables
from rcs_assets.codebook.wording import SAFE_HAVEN, load_wording
from rcs_assets.errors import ConfigurationError
from rcs_assets.reporting.examine import form_problems, outside_problems
from rcs_assets.storage import Home
from tests.acceptance.documentation import blocks, commands

DAY = date(2020, 6, 30)
MADE_UP = "Made-up words of the first item"
LICENCE = "wemwbs,Example University,LIC-0001,safe_haven,2016-01-01,2021-12-31"


def written(config: Path, licences: str = LICENCE, wording: str = "") -> Path:
    config.mkdir(parents=True, exist_ok=True)
    head = "instrument,holder,reference,permits,valid_from,valid_until\n"
    (config / "licences.csv").write_text(f"{head}{licences}\n")
    text = wording or f"wemwbs,wemwbs_1,{MADE_UP}"
    (config / "wording.csv").write_text(f"instrument,variable,wording\n{text}\n")
    return config


def test_the_project_holds_no_wording() -> None:
    found = load_wording(load_codebook(), None)
    assert (dict(found.licences), dict(found.texts)) == ({}, {})


def test_the_how_to_is_carried_out_and_nothing_else_changes(
    repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = repo_root / "docs" / "how-to" / "load-licensed-wording.md"
    home, out = tmp_path / "home", tmp_path / "codebook.html"
    Home.open(home)
    licences, wording = blocks(page, "csv")
    (home / "config" / "licences.csv").write_text(licences)
    (home / "config" / "wording.csv").write_text(wording)
    ((_, *words),) = commands(page, "rcs")
    typed = [str(out) if word == out.name else word for word in words]
    assert main([*typed, "--home", str(home), "--as-of", DAY.isoformat()]) == 0
    shown = out.read_bytes()
    assert capsys.readouterr().out.strip() == str(out)
    assert (form_problems(shown), outside_problems(shown)) == ((), ())
    assert MADE_UP in shown.decode() and "2 of 14 items" in shown.decode()
    assert out.stat().st_mode & 0o077 == 0
    # The codebook does not know that there is wording: nothing that is made of it can hold any.
    plain, own = load_codebook(), load_codebook(home / "config")
    assert own.version == plain.version
    told = json.dumps([t.to_pylist() for t in codebook_tables(own).values()], default=str)
    assert MADE_UP not in told and MADE_UP not in str(asdict(own))


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        (LICENCE.replace("2021-12-31", "2020-06-29"), "ended on 2020-06-29"),
        (LICENCE.replace("2016-01-01", "2020-07-01"), "begins on 2020-07-01"),
        (LICENCE.replace("safe_haven", ""), "does not permit it"),
    ],
)
def test_only_while_a_licence_permits_it(
    tmp_path: Path, licence: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(Home.open(tmp_path / "home").config, licence)
    assert load_wording(load_codebook(), config).of("wemwbs", SAFE_HAVEN, DAY) == {}
    home = str(tmp_path / "home")
    assert main(["codebook", "page", "--home", home, "--as-of", DAY.isoformat()]) == 0
    shown = Path(capsys.readouterr().out.strip()).read_text()
    assert said in shown and MADE_UP not in shown


@pytest.mark.parametrize(
    ("licences", "wording", "column"),
    [
        (LICENCE, "nobodys,wemwbs_1,Hidden words", "instrument"),
        (LICENCE, "wemwbs,sdq_1,Hidden words", "variable"),
        (LICENCE, "wemwbs,wemwbs_1,", "wording"),
        (LICENCE, f"wemwbs,wemwbs_1,{'Hidden ' * 100}", "wording"),
        (LICENCE, "sdq_self,sdq_1,Hidden words", "instrument"),
        (LICENCE.replace("safe_haven", "public"), "", "permits"),
        (LICENCE.replace("2021-12-31", "2015-12-31"), "", "valid_until"),
        (LICENCE.replace("LIC-0001", ""), "", "reference"),
    ],
)
def test_a_wrong_file_is_refused_by_row_and_column(
    tmp_path: Path, licences: str, wording: str, column: str
) -> None:
    config = written(tmp_path / "config", licences, wording)
    with pytest.raises(ConfigurationError, match=f"row 2, column {column}") as raised:
        load_wording(load_codebook(), config)
    assert "Hidden" not in str(raised.value)
