"""Commands that are used wrongly: the exit status says so, and nothing is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rcs_assets.cli import main
from rcs_assets.storage import Home

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
        ("materialise --select= ", "--select names nothing"),
        ("materialise --engagement t2-falkirk --leave-out t2-falkirk", "both chosen and left out"),
        ("materialise --nothing", "unrecognized arguments"),
        ("demo --scale small --profile production", "of the profile demo"),
        ("simulate --sign a.csv --out b", "--sign writes nothing"),
        ("simulate --seed -1", "no seed"),
        ("status --as-of tomorrow", "no day"),
        ("status --json --page page.html", "do not go together"),
        ("report --package public --engagement t2-falkirk", "do not go together"),
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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation without a delivery; what commands set of the environment is undone."""
    monkeypatch.setenv("RCS_HOME", "")
    monkeypatch.setenv("RCS_AS_OF", "")
    return Home.open(tmp_path / "home", profile="demo").path


@pytest.mark.parametrize(
    "command",
    [
        "report --out {home}/releases/2020.06.30", "tableau --out {home}", "monitor --out {home}/m",
        "status --page {home}/status/page.html", "codebook page --out {home}/page.html",
        "exchange --engagement t2-falkirk --out {home}/out",
        "errors --engagement t2-falkirk --out {home}/out",
    ],
)  # fmt: skip
def test_nothing_that_is_asked_for_lands_in_the_home(
    command: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(home.rglob("*"))
    assert main([*command.format(home=home).split(), "--home", str(home)]) == 1
    assert re.search("into the installation|(inside|into) the home", capsys.readouterr().err)
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        "status --page {folder}", "monitor --out {folder}/none/m.html", "deliver {folder}/none",
        "codebook contracts --out {folder}/file", "encodings key {folder}/none/key",
        "release new-key {folder}/none/key",
    ],
)  # fmt: skip
def test_a_path_that_cannot_be_used_is_named(
    command: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    arguments = command.format(folder=tmp_path).split()
    if "key" not in command:
        arguments += ["--home", str(home)]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert arguments[-3 if "key" not in command else -1].rpartition("/")[2] in said
    assert "What to do: " in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("uids list --engagement nowhere", "There is no engagement nowhere"),
        ("errors --engagement t2-falkirk --dataset nothing", "There is no dataset nothing"),
        ("release verify .", "no name of a release"),
        ("release show ../..", "no name of a release"),
    ],
)
def test_a_name_that_nothing_has_is_not_answered_with_nothing(
    command: str, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--home", str(home)]) == 1
    assert said in capsys.readouterr().err


def test_a_folder_of_something_else_is_not_made_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters").chmod(0o755)
    (tmp_path / "letters" / "a.txt").touch()
    monkeypatch.chdir(tmp_path / "letters")
    monkeypatch.setenv("RCS_HOME", "")
    assert main(["keys", "new", "--home", "."]) == 1
    assert "something else than an installation" in capsys.readouterr().err
    assert main(["release", "list"]) == 1  # an empty RCS_HOME is none, not the working folder
    assert str(tmp_path / "letters" / ".rcs") in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "letters", tmp_path / "letters" / "a.txt"]
    assert (tmp_path / "letters").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("command", ["codebook differences --json", "codebook --help"])
def test_who_reads_no_further_ends_a_command_without_a_trace(command: str) -> None:
    """As `rcs … | head` does."""
    read, write = os.pipe()
    os.close(read)
    rcs = Path(sys.executable).with_name("rcs")
    ended = subprocess.run(
        [rcs, *command.split()], stdout=write, stderr=subprocess.PIPE, check=False, timeout=120
    )
    os.close(write)
    assert b"Traceback" not in ended.stderr
    assert b"BrokenPipe" not in ended.stderr
