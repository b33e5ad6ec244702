"""What the documentation says, a newcomer can do."""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import duckdb
import pytest

from rcs_assets.doctor import FREE_BYTES_NEEDED
from tests.acceptance.documentation import blocks, commands, pages


def _is_understood(words: list[str]) -> bool:
    """Whether the command line takes these words (`…` and names in capitals stand for values)."""
    from rcs_assets.cli import build_parser

    try:
        build_parser().parse_args([word for word in words if word != "…"])
    except SystemExit as end:
        # `--help` ends well.
        return end.code == 0
    except argparse.ArgumentError:
        return False
    return True


def test_every_rcs_command_in_the_documentation_is_understood(repo_root: Path) -> None:
    named = [(page.name, words[1:]) for page in pages(repo_root) for words in commands(page, "rcs")]
    assert len(named) >= 8
    assert [entry for entry in named if not _is_understood(entry[1])] == []


def test_every_make_command_in_the_documentation_exists(repo_root: Path) -> None:
    makefile = (repo_root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages(repo_root))
    typed = {words[1] for page in pages(repo_root) for words in commands(page, "make")}
    named = typed | set(re.findall(r"`make ([a-z-]+)", text))
    assert named >= {"demo", "test", "ui"}
    assert named <= targets


def test_readme_names_the_debian_packages(repo_root: Path) -> None:
    readme = (repo_root / "README.md").read_text(encoding="utf-8")
    assert {"python3.11-venv", "make", "git", "chromium"} <= set(re.findall(r"[\w.-]+", readme))


def test_analysts_queries_of_the_readme_run(repo_root: Path, released_home) -> None:
    queries = blocks(repo_root / "README.md", "sql")
    assert len(queries) == 3
    database = released_home.release / "public" / "rcs.duckdb"
    with duckdb.connect(str(database), read_only=True) as con:
        assert all(con.sql(query).fetchall() for query in queries)


def test_tutorials_python_runs(repo_root: Path, released_home) -> None:
    """The lines between `python - <<'END'` and `END`, on this session's home."""
    page = repo_root / "docs" / "tutorial" / "first-release.md"
    code = next(block for block in blocks(page, "console") if "<<'END'" in block)
    lines = code.splitlines()[1:-1]
    shown: list[str] = []
    text = "\n".join(lines).replace(".rcs-tutorial", str(released_home.path))
    exec(compile(text, str(page), "exec"), {"print": lambda value: shown.append(str(value))})
    assert "Clackmannanshire" in shown[0]


@pytest.mark.parametrize(
    "words",
    [["status"], ["release", "list"], ["release", "show"], ["release", "verify"]],
    ids=" ".join,
)
def test_commands_that_only_read(rcs, released_home, words: list[str]) -> None:
    done = rcs(*words, "--home", released_home.path)
    assert done.status == 0, done.output
    assert done.stdout.strip()


def test_the_doctor_finds_nothing_but_what_the_machine_lacks(rcs, released_home) -> None:
    is_disk_short = shutil.disk_usage(released_home.path).free < FREE_BYTES_NEEDED
    done = rcs("doctor", "--home", released_home.path)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == is_disk_short and all("disk" in line for line in failed), done.output
    assert done.status == (1 if is_disk_short else 0), done.output


def test_demo_says_what_was_published_where_and_what_next(released_home) -> None:
    said = released_home.stdout
    assert "SIMULATED" in said
    assert str(released_home.path / "releases") in said
    assert {"public", "safe_haven"} <= set(said.split())
    assert "Next:" in said
    assert len(said.splitlines()) <= 20


@pytest.mark.parametrize("words", [["no-such-command"], ["demo", "--scale", "huge"], []])
def test_wrong_use_is_status_2(rcs, words: list[str]) -> None:
    assert rcs(*words).status == 2


def test_a_refusal_is_status_1_with_the_reason_last(rcs, tmp_path: Path) -> None:
    done = rcs("materialise", "--home", tmp_path / "empty")
    assert done.status == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("rcs: ")
    assert "What to do:" in last
