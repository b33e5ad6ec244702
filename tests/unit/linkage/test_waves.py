"""Waves: what changed is linked anew, and the result is that of linking everything.

Candidate pairs never join two engagements: an engagement is a union of connected components of
them, and the unit that is linked anew. Every parameter is the shipped one or comes from the
engagement's own files.
"""

from __future__ import annotations

import random
from typing import Any

import duckdb
import pytest

from rcs_assets.intake.vault import prepare_vault
from rcs_assets.linkage import LinkKeys, LinkSettings, link_engagements, write_linkage
from rcs_assets.linkage.engagements import DATASETS

KEYS = LinkKeys(project=b"p" * 32, index={name: name.encode().ljust(32, b"i") for name in DATASETS})
AREAS = ("t1-a", "t1-b", "t2-c")
NAMES = ("MORAY", "ROSS", "MACKAY", "SMITH", "ONEIL", "GRANT", "BAIN", "CRAIG")
FORENAMES = ("ANNE", "EWAN", "ISLA", "JACK", "LIZZIE", "ELIZABETH", "MAIRI", "RORY", "KATE")
PUPILS = 30
Person = dict[str, Any]
Files = dict[str, list[Person]]
PERSON = ("scn", "surname", "first_forename", "sex", "date_of_birth", "postcode")


def child(dice: random.Random, number: int) -> Person:
    return {
        "uid": f"U{number}",
        "scn": f"{number:09d}" if dice.random() < 0.9 else None,
        "surname": dice.choice(NAMES),
        "first_forename": dice.choice(FORENAMES),
        "sex": dice.choice("FM"),
        "date_of_birth": f"200{dice.randint(2, 6)}-0{dice.randint(1, 9)}-{dice.randint(10, 28)}",
        "postcode": f"FK{dice.randint(1, 9)} {dice.randint(1, 9)}AA",
    }


def council_record(dice: random.Random, pupil: Person) -> Person:
    """What a service holds of the child: often without SCN, sometimes with another spelling."""
    record = dict(pupil)
    if dice.random() < 0.4:
        record["scn"] = None
    if dice.random() < 0.3:
        record["first_forename"] = record["first_forename"][:-1] + "X"
    if dice.random() < 0.3:
        record["postcode"] = "EH1 1AA"
    return record


def deliveries(dice: random.Random, area: str, known: list[Person]) -> Files:
    """An engagement's files; some pupils of other areas have moved here."""
    first = 1000 * (AREAS.index(area) + 1)
    pupils = [child(dice, first + number) for number in range(PUPILS)]
    movers = dice.sample(known, min(3, len(known)))
    pupils += [{**mover, "uid": f"{mover['uid']}m"} for mover in movers]
    return {
        "sample": pupils,
        "education": [council_record(dice, p) | {"scn": p["scn"]} for p in pupils[2:]],
        "social_work": [council_record(dice, p) for p in dice.sample(pupils, 12)],
        "answers": [{"uid": p["uid"]} for p in pupils if dice.random() < 0.8],
    }


def fill(con: duckdb.DuckDBPyConnection, area: str, files: Files, dice: random.Random) -> None:
    """Replace an engagement's rows, in any order."""

    def put(table: str, rows: list[dict[str, Any]]) -> None:
        con.execute(f"delete from {table} where engagement = ?", [area])
        for row in dice.sample(rows, len(rows)):
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            con.execute(
                f"insert into {table} (engagement, {names}) values (?, {marks})",
                [area, *row.values()],
            )

    def named(kind: str, rows: list[Person]) -> list[dict[str, Any]]:
        return [
            {"record_id": f"{kind}-{area}-{row['uid']}"} | {name: row[name] for name in PERSON}
            for row in rows
        ]

    sample = named("s", files["sample"])
    issued = [{"uid": pupil["uid"]} for pupil in files["sample"]]
    put("sample_identifiers", [a | b for a, b in zip(sample, issued, strict=True)])
    put("education_identifiers", named("e", files["education"]))
    put("social_work_identifiers", named("w", files["social_work"]))
    answers = [
        {"record_id": f"a-{area}-{row['uid']}", "uid": row["uid"]} for row in files["answers"]
    ]
    put("survey_identifiers", [{"survey": "primary"} | answer for answer in answers])


def change(dice: random.Random, world: dict[str, Files]) -> str:
    """A new engagement, a new delivery of one file, or a child withdrawn; which area it touches."""
    missing = [area for area in AREAS if area not in world]
    kind = dice.choice(["redeliver", "withdraw", *(["new"] if missing else [])])
    if kind == "new":
        known = [pupil for files in world.values() for pupil in files["sample"]]
        world[missing[0]] = deliveries(dice, missing[0], known)
        return missing[0]
    area = dice.choice(sorted(world))
    files = world[area]
    if kind == "redeliver":
        pupils = files["sample"]
        files["social_work"] = [council_record(dice, p) for p in dice.sample(pupils, 14)]
    else:
        gone = dice.choice(files["sample"])["uid"]
        for name, rows in files.items():
            files[name] = [row for row in rows if row["uid"] != gone]
    return area


def vault() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    prepare_vault(con)
    return con


def link_and_write(
    con: duckdb.DuckDBPyConnection,
    warehouse: duckdb.DuckDBPyConnection,
    areas: list[str],
    threads: int,
) -> None:
    settings = LinkSettings(training="fixed", threads=threads)
    write_linkage(warehouse, link_engagements(con, KEYS, areas, settings), areas)


def state(con: duckdb.DuckDBPyConnection, warehouse: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    tables = dict.fromkeys(("index_numbers", "read_through"), con)
    tables |= {f"linkage.{name}": warehouse for name in ("project_ids", "link_rates")}
    return {name: c.execute(f"from {name} order by all").fetchall() for name, c in tables.items()}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))]
)
def test_linking_what_changed_is_linking_everything(seed: int) -> None:
    """Over random changes; the full run on two threads, with the rows in another order."""
    dice = random.Random(seed)
    world = {AREAS[0]: deliveries(dice, AREAS[0], [])}
    wave, warehouse = vault(), duckdb.connect()
    touched = AREAS[0]
    for _ in range(5):
        fill(wave, touched, world[touched], dice)
        link_and_write(wave, warehouse, [touched], threads=1)
        touched = change(dice, world)
    fill(wave, touched, world[touched], dice)
    link_and_write(wave, warehouse, [touched], threads=1)
    everything, whole = vault(), duckdb.connect()
    for area in sorted(world, reverse=True):
        fill(everything, area, world[area], dice)
    link_and_write(everything, whole, sorted(world, reverse=True), threads=2)
    found = state(wave, warehouse)
    assert found == state(everything, whole)
    assert len(found["linkage.project_ids"]) > 50
    datasets = {row[0] for row in found["linkage.project_ids"]}
    assert datasets == {"sample", "primary_survey", "education", "social_work"}


def test_children_who_move_between_areas_keep_one_project_id() -> None:
    dice = random.Random(1)
    world: dict[str, Files] = {}
    for area in AREAS:
        known = [pupil for files in world.values() for pupil in files["sample"] if pupil["scn"]]
        world[area] = deliveries(dice, area, known)
    con, warehouse = vault(), duckdb.connect()
    for area in AREAS:
        fill(con, area, world[area], dice)
        link_and_write(con, warehouse, [area], threads=1)
    movers = {
        pupil["uid"] for files in world.values() for pupil in files["sample"] if "m" in pupil["uid"]
    }
    assert len(movers) >= 5
    for uid in movers:
        same = warehouse.execute(
            "select count(distinct project_id), count(distinct engagement) "
            "from linkage.project_ids where dataset = 'sample' "
            "and list_contains(?::varchar[], record_id.string_split('-')[-1])",
            [[uid, uid.rstrip("m")]],
        ).fetchall()[0]
        assert same[0] == 1 and same[1] >= 2, uid


def _project_ids(pupils: list[Person]) -> dict[str, str]:
    """UID → project id of an engagement whose sample file holds these pupils."""
    con, warehouse = vault(), duckdb.connect()
    files: Files = {"sample": pupils, "education": [], "social_work": [], "answers": []}
    fill(con, AREAS[0], files, random.Random(0))
    link_and_write(con, warehouse, [AREAS[0]], threads=1)
    rows = warehouse.execute(
        "select record_id.string_split('-')[-1], project_id from linkage.project_ids "
        "where dataset = 'sample'"
    ).fetchall()
    assert len(rows) == len(pupils)
    return dict(rows)


@pytest.mark.parametrize(
    ("column", "cell", "stays"),
    [
        ("postcode", "EH9 9ZZ", True),
        ("surname", "mac-donald ", True),  # the same name as it is standardised
        ("surname", "FERGUSON", False),
        ("first_forename", "SHONA", False),
        ("sex", "M", False),
        ("date_of_birth", "2004-05-13", False),
        ("scn", "000001234", False),
    ],
)
def test_an_id_without_a_number_stays_until_what_it_is_made_of_is_corrected(
    column: str, cell: str, stays: bool
) -> None:
    """Name, sex and birth date (linkage.md, Waves); of the other children none is touched."""
    dice = random.Random(2)
    pupils = [child(dice, number) | {"scn": None} for number in range(8)]
    pupils[0] |= {"surname": "MACDONALD", "first_forename": "SHEENA", "sex": "F"}
    pupils[0] |= {"date_of_birth": "2004-05-12"}
    before = _project_ids(pupils)
    corrected = [{**pupils[0], column: cell}, *pupils[1:]]
    after = _project_ids(corrected)
    own = pupils[0]["uid"]
    assert (after.pop(own) == before.pop(own)) is stays
    assert after == before
    # Corrected back, the id is the first one again.
    assert _project_ids(pupils)[own] not in before.values()


def test_two_children_written_alike_have_ids_of_their_own_rows() -> None:
    """Nobody is taken for the other."""
    dice = random.Random(3)
    one = child(dice, 1) | {"scn": None, "date_of_birth": "2004-05-12"}
    alike = _project_ids([one, {**one, "uid": "U2"}])
    assert alike["U1"] != alike["U2"]
    new_year = {**one, "date_of_birth": "2004-01-01"}
    # 1 January may stand for a year alone: the row itself makes the id, whatever the name.
    assert _project_ids([new_year]) == _project_ids([{**new_year, "surname": "FERGUSON"}])
