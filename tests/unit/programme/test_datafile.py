"""YAML as the platform reads it: as the safe loader does, and nothing that is read in two ways."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import rcs_assets
from rcs_assets.errors import ConfigurationError
from rcs_assets.programme.datafile import (
    MALFORMED,
    DataFolder,
    Nonsense,
    parse_yaml,
    read_rows,
    read_rules,
    sound,
)

PACKAGE = Path(rcs_assets.__file__).parent


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("*/data/*.yaml")), ids=lambda file: file.name)
def test_the_platform_s_own_files_say_what_they_said(file: Path) -> None:
    assert parse_yaml(file.read_bytes(), file.name) == yaml.safe_load(file.read_bytes())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: {c: 2026-02-30}", "file x, row 2, key b.c. Why: there is no such day"),
        ("a: [{b: 2026-13-01 10:00:00}]", "key a.1.b. Why: there is no such day"),
        ("a: 1\n'a': 2", "row 2, key a. Why: the key stands twice"),
        ("a: {b: 1, c: {d: 1, d: 1}}", "key a.c.d. Why: the key stands twice"),
        ("yes: 1\non: 2", "key on. Why: the key stands twice"),
        ("1: a\n0x1: b", "key 0x1. Why: the key stands twice"),
        ("a: [1, -.inf]", "key a.2. Why: a number is needed"),
        ("a: 1.0e+400", "key a. Why: a number is needed"),
        ("a: 0b_", "key a. Why: a number is needed"),
        (f"a: {'9' * 5000}", "key a. Why: a number is needed"),
        ("a: !!int ''", "is not"),
        ("a: &a {b: *a, c: .nan}", "key a.c. Why: a number is needed"),
        ("a: 1\n\tb: 2", "not YAML. Where: file x, row 2"),
        ("a: !!python/name:os.system", "not YAML"),
        ("a: 1\n---\na: 2", "not YAML"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_yaml(text, "x")
    assert said in str(refused.value)
    assert refused.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: " + "[" * 100_000,
        "a: 1\nb: " + "[" * 100_000 + "]" * 100_000,
        "a: 1\nb: " + "{a: " * 100_000 + "}" * 100_000,
        "a: 1\nb:\n" + "- " * 100_000 + "x",
        "a: 1\n" + "? " * 100_000 + "x",
    ],
)
def test_a_text_too_deep_to_be_read_is_refused_and_ends_no_process(text: str) -> None:
    """In a process of its own: the library would overflow the stack of this one."""
    code = "import sys; from rcs_assets.programme.datafile import parse_yaml\n"
    code += "try: parse_yaml(sys.stdin.read(), 'x')\nexcept Exception as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "x is not YAML. Where: file x, row " in done.stdout
    assert "more than 100 levels deep" in done.stdout


def test_a_text_of_a_hundred_levels_is_read() -> None:
    read = parse_yaml("[" * 100 + "]" * 100, "x")
    for _ in range(99):
        (read,) = read
    assert read == []
    with pytest.raises(ConfigurationError, match="more than 100 levels deep"):
        parse_yaml("[" * 101 + "]" * 101, "x")
    # Beside one another they may be as many as they like.
    assert len(parse_yaml("[" + "[[]]," * 5_000 + "]", "x")) == 5_000


def test_bytes_are_utf_8_with_or_without_a_mark() -> None:
    assert parse_yaml("a: \u00e9".encode("utf-8-sig"), "x") == {"a": "\u00e9"}
    for encoding in ("latin-1", "utf-16"):
        with pytest.raises(ConfigurationError, match="x is not UTF-8"):
            parse_yaml("a: \u00e9".encode(encoding), "x")


def test_a_merged_key_may_be_given_anew() -> None:
    text = "a: &a {b: 1, c: 1}\nd: {e: &e {<<: *a, b: 2}}\nf: {<<: *e, c: 3}"
    assert parse_yaml(text, "x") == yaml.safe_load(text)


@dataclass(frozen=True)
class Rules:
    """Of a file with three keys."""

    few: float
    many: float
    steps: tuple[float, ...]


def _load(folder: Path, text: str) -> Rules:
    for name, content in (("data", "few: 1\nmany: 5\nsteps: [1]"), ("config", text)):
        (folder / name).mkdir()
        (folder / name / "r.yaml").write_text(content, encoding="utf-8")

    def problems(rules: Rules) -> Iterator[str]:
        if rules.few > rules.many:
            yield "few are more than many"

    return read_rules(
        DataFolder("room", folder / "data", folder / "config"),
        "r.yaml",
        lambda raw: Rules(float(raw["few"]), float(raw["many"]), tuple(map(float, raw["steps"]))),
        problems,
        "the rule",
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("few: 2\nmany: several", "key many"),
        ("many: 9\nsteps:", "key steps"),
        ("steps: [1, 'nan']", "key steps"),
        ("many: 0\nsteps: [2]", "key many"),
        # Neither is wrong beside the platform's own.
        ("few: 4\nmany: 3", "key few, many"),
    ],
)
def test_what_is_wrong_in_rules_is_told_with_its_key(text: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _load(tmp_path, text)
    assert refused.value.where == f"file config/r.yaml, {where}"
    assert refused.value.why == "the rule"


def test_rules_that_are_right_are_taken(tmp_path: Path) -> None:
    assert _load(tmp_path, "few: 3\nsteps: [1, 2]") == Rules(3, 5, (1, 2))


def test_a_number_is_one_wherever_it_stands() -> None:
    assert issubclass(Nonsense, MALFORMED)
    for number in (float("nan"), float("inf"), 2**63):
        with pytest.raises(Nonsense, match="few is no number"):
            sound(Rules(number, 1, ()), lambda _: ())


@pytest.mark.parametrize("cell", ["nan", "inf", "1e999", "much"])
def test_a_decimal_of_a_row_is_a_number(cell: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(f"key,share\na,{cell}\n", encoding="utf-8")
    (row,) = read_rows(DataFolder("room", tmp_path), "r.csv", ("key", "share"), ("key",))
    with pytest.raises(ConfigurationError, match="row 2, column share"):
        row.decimal("share")
