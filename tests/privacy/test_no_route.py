"""There is no route from a score to a name (policy.md, Protection by design).

Belongs here: that no command takes or gives an identifier of a child, that no function of the
vault hands one out to intake, and that ids in a release are not those of the vault. Does not
belong here: columns and values that may not stand somewhere (`test_separation.py`,
`test_canaries.py`).
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator

import duckdb

from rcs_assets.cli import build_parser
from rcs_assets.intake import vault
from rcs_assets.storage import Home, open_vault

CHILD_WORDS = ("uid", "scn", "name", "surname", "forename", "pupil", "child", "record", "person")
# Words of commands that are about something else; each was looked at.
NOT_A_CHILD = {
    ("rcs keys rotate", "names"): "names of keys",
    ("rcs codebook freeze", "name"): "the name of a codebook",
    ("rcs encodings make", "--pupils"): "the sample file as a whole, at its council",
    ("rcs encodings make", "pupils"): "the same",
    ("rcs uids", "uids"): "files of a whole school in, files out; none is asked for by its UID",
}


def _actions(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, own in action.choices.items():
                yield f"{path} {name}", action
                yield from _actions(own, f"{path} {name}")
        else:
            yield path, action


def test_no_command_asks_for_a_child() -> None:
    asked = []
    for command, action in _actions(build_parser(), "rcs"):
        words = [*action.option_strings, str(action.dest)]
        if isinstance(action, argparse._SubParsersAction):
            words = [command.rpartition(" ")[2]]
        asked += [
            (command, word)
            for word in words
            if (command, word) not in NOT_A_CHILD
            and any(part in word.lower() for part in CHILD_WORDS)
        ]
    assert asked == []


def test_the_vault_answers_intake_with_counts_and_row_numbers_only() -> None:
    functions = inspect.getmembers(vault, inspect.isfunction)
    own = {n: f for n, f in functions if f.__module__ == vault.__name__ and not n.startswith("_")}
    assert len(own) >= 8
    returned = {name: inspect.signature(f).return_annotation for name, f in own.items()}
    # Yes or no, of an engagement as a whole, is less than a count.
    allowed = ("None", "int", "list[int]", "bool", "bool | None")
    assert {n: r for n, r in returned.items() if r not in allowed} == {}


def test_ids_of_a_release_are_not_those_of_vault_or_warehouse(released_home) -> None:
    home = Home.open(released_home.path)
    file = released_home.release / "safe_haven" / "microdata" / "linked.parquet"
    with duckdb.connect() as con:
        released = {
            value
            for row in con.execute(
                f"select response_id, person_id, school_id from read_parquet('{file}')"
            ).fetchall()
            for value in row
            if value
        }
    inside: set[str] = set()
    with open_vault(home, read_only=True) as con:
        for table in vault.TABLES:
            columns = [row[0] for row in con.execute(f"describe {table}").fetchall()]
            for column in columns:
                query = f"select distinct {column}::varchar from {table}"
                inside |= {value for (value,) in con.execute(query).fetchall() if value}
    with duckdb.connect(str(home.warehouse), read_only=True) as con:
        query = "select record_id, project_id from linkage.project_ids"
        inside |= {value for row in con.execute(query).fetchall() for value in row if value}
    assert len(released) > 2000 and len(inside) > 2000
    assert not released & inside
