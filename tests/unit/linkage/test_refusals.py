"""A linkage that cannot be done says so, and leaves the vault as it was."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from rcs_assets.errors import RcsError, StorageError
from rcs_assets.intake.vault import prepare_vault
from rcs_assets.linkage import LinkSettings, engagements, link_engagements, link_keys
from rcs_assets.storage import Home, open_vault

ENGAGEMENT = "t1-a"
SETTINGS = LinkSettings(training="fixed", threads=1)
TABLES = ("index_numbers", "read_through")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A vault with one pupil, his answer and his two records, linked."""
    home = Home.open(tmp_path / "home", profile="demo")
    with open_vault(home) as con:
        prepare_vault(con)
        add(con, "")
        link_engagements(con, link_keys(home), [ENGAGEMENT], SETTINGS)
    assert all(rows(home).values())
    return home


def add(con: duckdb.DuckDBPyConnection, mark: str) -> None:
    person = "'040001239', 'Moray', 'Anne', null, 'F', date '2004-01-31', 'FK10 1AA'"
    key = f"'{ENGAGEMENT}'"
    con.execute(
        f"insert into sample_identifiers values ({key}, 's{mark}', 'U1', {person}, '1', null, null)"
    )
    con.execute(f"insert into survey_identifiers values ({key}, 'primary', 'a{mark}', 'U1')")
    con.execute(
        f"insert into education_identifiers values ({key}, 'e{mark}', 'sup', 'U1', {person}, "
        "null, null, null)"
    )
    con.execute(
        f"insert into social_work_identifiers values ({key}, 'w{mark}', 'sup', '040001239', "
        "'Moray', null, 'Anne', null, 'F', date '2004-01-31', 'FK10 1AA', null, null, null)"
    )


def rows(home: Home) -> dict[str, list[tuple[object, ...]]]:
    with open_vault(home, read_only=True) as con:
        return {table: con.execute(f"from {table} order by all").fetchall() for table in TABLES}


def test_an_error_in_the_middle_leaves_the_vault_as_it_was(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(home)

    def broken(*_: object) -> None:
        raise StorageError("The engine broke")

    monkeypatch.setattr(engagements, "link_social_work", broken)
    with pytest.raises(StorageError, match="engine broke"), open_vault(home) as con:
        con.execute("delete from education_identifiers")
        link_engagements(con, link_keys(home), [ENGAGEMENT], SETTINGS)
    monkeypatch.undo()
    assert rows(home) == before


def test_a_record_id_that_stands_twice_is_refused_and_nothing_is_written(home: Home) -> None:
    before = rows(home)
    with open_vault(home) as con:
        add(con, "")
    with pytest.raises(RcsError, match="stands twice") as caught, open_vault(home) as con:
        link_engagements(con, link_keys(home), [ENGAGEMENT], SETTINGS)
    assert "Moray" not in str(caught.value)
    assert rows(home) == before


@pytest.mark.parametrize("damage", ["cut", "overwritten", "empty", "other key"])
def test_a_vault_that_cannot_be_read_is_refused_and_left_alone(home: Home, damage: str) -> None:
    content = home.vault.read_bytes()
    changed = {
        "cut": content[: len(content) // 3],
        "overwritten": b"\xff" * 4096 + content[4096:],
        "empty": b"x",
        "other key": content,
    }[damage]
    home.vault.write_bytes(changed)
    if damage == "other key":
        (home.keys / "vault.key").write_text("ab" * 32)
    with pytest.raises(StorageError) as caught, open_vault(home, read_only=True) as con:
        link_engagements(con, link_keys(home), [ENGAGEMENT], SETTINGS)
    assert "Moray" not in str(caught.value) and "What to do" in str(caught.value)
    assert home.vault.read_bytes() == changed


@pytest.mark.parametrize("side", ["sample_identifiers", "social_work_identifiers"])
def test_an_engagement_with_an_empty_side_links_nothing_there_and_loses_old_links(
    home: Home, side: str
) -> None:
    with open_vault(home) as con:
        con.execute(f"delete from {side}")
        found = link_engagements(con, link_keys(home), [ENGAGEMENT], SETTINGS)
    assert "social_work" not in found.project_ids["dataset"].to_pylist()
    assert all(row[3] is None for row in rows(home)["read_through"])
