"""Commands that are used wrongly: the exit status says so, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rcs_assets.cli import main

# Each needs an installation that is there.
READING = [
    "status", "status --json", "status --page {folder}/page.html", "doctor", "report", "explore",
    "tableau --out {folder}/out", "materialise", "materialise --publish", "monitor",
    "errors --engagement t2-falkirk",
    "release list", "release show", "release verify", "release verify --certificate",
    "release publish", "keys list", "keys rotate", "access", "retention", "extras",
    "codebook page --out {folder}/codebook.html", "clerical queue", "clerical status",
    "exchange --engagement t2-falkirk --out {folder}/out",
]  # fmt: skip


@pytest.mark.parametrize("command", READING)
def test_a_command_that_needs_an_installation_makes_none(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder := tmp_path / "elsewhere").mkdir()
    arguments = command.format(folder=folder).split()
    assert main([*arguments, "--home", str(tmp_path / "new")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "There is no installation here" in said.err
    assert str(tmp_path / "new") in said.err
    assert sorted(tmp_path.rglob("*")) == [folder]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("simulate --scale small", "name both folders"),
        ("simulate --scale small --out somewhere", "name both folders"),
        ("materialise --select group:intake --publish", "do not go together"),
        ("materialise --nothing", "unrecognized arguments"),
    ],
)
def test_wrong_use_exits_with_2(
    command: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(command.split())
    except SystemExit as error:  # argparse's own
        status = int(error.code or 0)
    assert status == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
