"""Schools by name, special schools, UIDs of one school under another; on the published schools.

Belongs here: the rules measured on every real confusable pair and every real rename. Does not
belong here: what the simulator plants (tests/unit/simulate/test_catch.py).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.intake import mixed, schools, uids
from rcs_assets.intake.contracts import start_states
from rcs_assets.intake.removals import settle_states
from rcs_assets.simulate.identifiers import UID_LETTERS, is_valid_uid
from rcs_assets.storage import Home

STAGES = ("P5", "P6", "P7", "S1", "S2", "S3", "S4")
# Columns of the published files that the tables of intake have, by our names.
ROLL = {"seed_code": "SeedCode", "council_name": "Local Authority", "school_name": "School Name",
        "school_type": "School Type", "female_n": "Female", "male_n": "Male"}  # fmt: skip
ROLL |= {
    f"{s.lower()}_n": s for s in (*(f"P{n}" for n in range(1, 8)), *(f"S{n}" for n in range(1, 7)))
}
LIST = {"seed_code": "seed_code", "council_name": "la_name", "school_name": "school_name"}
Pair = tuple[str, str]


@pytest.fixture(scope="module")
def warehouse(shared_reference: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables of published schools as intake makes them."""
    con = duckdb.connect()
    folder = shared_reference / "schools"

    def read(file: str) -> str:
        return f"read_csv('{folder / file}', header = true, all_varchar = true)"

    cells = ", ".join(
        f'try_cast("{column}" as integer) as {name}'
        if name.endswith("_n")
        else f'"{column}" as {name}'
        for name, column in ROLL.items()
    )
    flags = ", ".join(
        f"{d}_department = 'Yes' as has_{d}" for d in ("primary", "secondary", "special")
    )
    listed = ", ".join(f"{column} as {name}" for name, column in LIST.items())
    con.execute("create schema intake")
    con.execute(
        f"create table intake.school_roll as select {cells} "
        f"from {read('school_level_summary_2019.csv')}"
    )
    con.execute(
        f"create table intake.school_list as select {listed}, {flags} "
        f"from {read('schools_open_2024-10-31.csv')}"
    )
    con.execute(f"create table intake.school_names as from {read('schools_renamed.csv')}")
    con.execute(f"create table intake.school_changes as from {read('schools_opened_closed.csv')}")
    yield con
    con.close()


@pytest.fixture(scope="module")
def known(warehouse: duckdb.DuckDBPyConnection) -> schools.Schools:
    return schools.known_schools(warehouse, "t1-west-lothian", None)


@pytest.fixture(scope="module")
def pairs(shared_reference: Path) -> dict[str, list[Pair]]:
    """The published confusable pairs by council."""
    path = shared_reference / "schools" / "similar_school_names_same_authority.csv"
    found: dict[str, list[Pair]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["la_name"], []).append((row["seed_a"], row["seed_b"]))
    return found


def _council(known: schools.Schools, seed_code: str) -> str:
    place = known.places["seed_code"].to_pylist().index(seed_code)
    return str(known.places["council_name"][place])


def _checked(
    rows: Sequence[tuple[str | None, str | None, str, str, str]],
) -> duckdb.DuckDBPyConnection:
    """A scratch connection with `checked` rows: SEED code, name, stage, sex, UID."""
    con = duckdb.connect()
    columns = list(zip(*rows, strict=True))
    names = ("seed_code", "school_name", "stage", "sex", "survey_uid")
    table = pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, columns, strict=True)})
    con.register("made", table)
    con.execute("create table checked as select row_number() over () as row_number, * from made")
    start_states(con)
    return con


def _violations(con: duckdb.DuckDBPyConnection) -> dict[int, str]:
    return dict(con.execute("select row_number, rule from violations").fetchall())


def test_every_published_confusable_pair_is_found(
    known: schools.Schools, pairs: dict[str, list[Pair]]
) -> None:
    missed, found_n = [], 0
    for council, wanted in pairs.items():
        con = duckdb.connect()
        # The publisher of the roll writes some councils differently.
        own = _council(known, wanted[0][0])
        schools.confusable(con, known, own)
        found = set(con.execute("from confusable").fetchall())
        found_n += len(found) // 2
        missed += [(council, pair) for pair in wanted if pair not in found]
    assert sum(map(len, pairs.values())) == 115
    assert missed == []
    # Not everything is alike: 2,440 schools make some 100,000 pairs inside councils.
    assert found_n < 500


def test_every_rename_leads_to_its_school_or_is_left_open(
    known: schools.Schools, shared_reference: Path
) -> None:
    with (shared_reference / "schools" / "schools_renamed.csv").open(encoding="utf-8") as stream:
        renamed = [row for row in csv.DictReader(stream) if row["old_school_name"].strip()]
    held = set(known.places["seed_code"].to_pylist())
    by_council: dict[str, list[tuple[str, str]]] = {}
    for row in renamed:
        if row["seed_code"] in held:
            council = _council(known, row["seed_code"])
            by_council.setdefault(council, []).append((row["seed_code"], row["old_school_name"]))
    outcome: Counter[str] = Counter()
    for council, wanted in by_council.items():
        con = _checked([(None, name.upper(), "", "F", "") for _, name in wanted])
        con.execute("update checked set stage = null")
        schools.resolve_names(con, known, council)
        got = con.execute("select seed_code from checked order by row_number").fetchall()
        rules = _violations(con)
        for number, ((seed_code, _), (found,)) in enumerate(zip(wanted, got, strict=True), start=1):
            outcome["right" if found == seed_code else rules.get(number, "wrong")] += 1
    assert outcome["wrong"] == 0
    assert outcome["school_name_unknown"] == 0
    # Units of one name in one city are not guessed.
    assert outcome["right"] >= 60 > 10 > outcome["school_name_ambiguous"]


def _sample(
    warehouse: duckdb.DuckDBPyConnection, council: str, drift: float
) -> list[tuple[str | None, str | None, str, str, str]]:
    """A council's pupils as its sample file would list them, each stage `drift` off the roll."""
    rows = warehouse.execute(
        "select seed_code, cell, n from published join intake.school_list using (seed_code) "
        "where council_name = ? and cell <> 'F' and cell <> 'M' order by all",
        [council],
    ).fetchall()
    places = {code: place for place, code in enumerate(sorted({row[0] for row in rows}))}
    made: list[tuple[str | None, str | None, str, str, str]] = []
    serial: Counter[str] = Counter()
    for index, (seed_code, stage, n) in enumerate(rows):
        wanted = round((2 if n is None else n) * (1 + drift * (-1) ** index))
        for k in range(wanted if stage in STAGES else 0):
            serial[seed_code] += 1
            uid = f"BB{places[seed_code]:03d}{serial[seed_code]:05d}"
            made.append((seed_code, None, stage, "FM"[k % 2], uid))
    return made


def _judged(
    warehouse: duckdb.DuckDBPyConnection,
    known: schools.Schools,
    rows: Sequence[tuple[str | None, str | None, str, str, str]],
    council: str,
    decisions: Sequence[tuple[str, str, str]] = (),
) -> tuple[duckdb.DuckDBPyConnection, tuple[mixed.Proposal, ...]]:
    con = _checked(rows)
    schools.confusable(con, known, council)
    con.execute("create table issued_parts (seed_code varchar, part varchar)")
    columns = list(zip(*decisions, strict=True)) or [(), (), ()]
    names = ("seed_code_delivered", "seed_code_right", "decision")
    decided = pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, columns, strict=True)})
    roll = schools.published_roll(warehouse)
    return con, mixed.judge_groups(con, known.rules, roll, STAGES, decided)


def test_uids_under_a_similar_school_are_found_by_profile_on_the_published_rolls(
    warehouse: duckdb.DuckDBPyConnection, known: schools.Schools, pairs: dict[str, list[Pair]]
) -> None:
    """Each published pair of the eight councils; rolls a tenth off; and nothing else is doubted."""
    warehouse.register("published", schools.published_roll(warehouse))
    found, asked, wrong = 0, 0, []
    eight = ("Clackmannanshire", "West Lothian", "South Lanarkshire", "North Lanarkshire",
             "Falkirk", "Moray", "Dumfries and Galloway", "South Ayrshire")  # fmt: skip
    for council in eight:
        own = _council(known, pairs[council][0][0]) if council in pairs else council
        clean = _sample(warehouse, council, 0.1)
        _, proposals = _judged(warehouse, known, clean, own)
        wrong += [(council, proposal) for proposal in proposals]
        for one, other in pairs.get(council, [])[:2]:
            moved_n = sum(row[0] == other for row in clean)
            if moved_n < known.rules.least_group or not any(row[0] == one for row in clean):
                continue
            asked += 1
            moved = [(one if r[0] == other else r[0], *r[1:]) for r in clean]
            _, proposals = _judged(warehouse, known, moved, own)
            found += [
                (p.seed_code_delivered, p.seed_code_right, p.pupils_n) for p in proposals
            ] == [(one, other, moved_n)]
    assert wrong == []
    assert asked >= 10
    assert found == asked


def test_nothing_moves_until_an_operator_decides(
    warehouse: duckdb.DuckDBPyConnection, known: schools.Schools
) -> None:
    """St Mary's RC Primary and St Mary's Primary of West Lothian, the published example."""
    warehouse.register("published", schools.published_roll(warehouse))
    one, other, council = "5501822", "5505321", "West Lothian"
    clean = _sample(warehouse, council, 0.05)
    moved = [(one if r[0] == other else r[0], *r[1:]) for r in clean]
    moved_n = sum(r[0] == other for r in clean)
    states = {}
    for decision in ("open", "repair", "keep"):
        decided = [] if decision == "open" else [(one, other, decision)]
        con, proposals = _judged(warehouse, known, moved, council, decided)
        assert [p.decision for p in proposals] == [decision]
        settle_states(con, "null", [])
        states[decision] = (
            dict(con.execute("select state, count(*) from states group by all").fetchall()),
            con.execute(f"select count(*) from accepted where seed_code = '{other}'").fetchall()[0][
                0
            ],
        )
    assert states["open"] == (
        {"uids_of_similar_school": moved_n, "usable": len(moved) - moved_n},
        0,
    )
    assert states["repair"] == ({"usable": len(moved)}, moved_n)
    assert states["keep"] == ({"usable": len(moved)}, 0)


def test_issued_uids_cannot_be_another_schools(
    tmp_path: Path, known: schools.Schools, warehouse: duckdb.DuckDBPyConnection
) -> None:
    """Keyed on SEED code: the first signs of a UID say whose it is."""
    home = Home.open(tmp_path / "home", profile="demo", seed=1)
    con = duckdb.connect()
    council = [
        code
        for code, name in zip(
            *(known.places[c].to_pylist() for c in ("seed_code", "council_name")), strict=True
        )
        if name == "West Lothian"
    ]
    uids.school_parts(con, home, "t1-west-lothian", council)
    parts = dict(con.execute("from issued_parts").fetchall())
    assert len(set(parts.values())) == len(council) == len(parts)
    uids.school_parts(con, home, "t1-falkirk", council)
    assert dict(con.execute("from issued_parts").fetchall()) != parts
    # One school's issued UIDs under its neighbour: told by the signs, whatever the profile.
    uids.school_parts(con, home, "t1-west-lothian", council)
    rows = [(code, None, "P6", "F", f"{parts[code]}00010") for code in council[:6]]
    rows += [(council[1], None, "P6", "F", f"{parts[council[0]]}0002{k}") for k in range(4)]
    scratch = _checked(rows)
    schools.confusable(scratch, known, "West Lothian")
    scratch.register("issued_parts", con.execute("from issued_parts").to_arrow_table())
    empty = pa.table(
        {
            n: pa.array([], pa.string())
            for n in ("seed_code_delivered", "seed_code_right", "decision")
        }
    )
    proposals = mixed.judge_groups(
        scratch, known.rules, schools.published_roll(warehouse), STAGES, empty
    )
    assert [
        (p.seed_code_delivered, p.seed_code_right, p.pupils_n, p.evidence) for p in proposals
    ] == [(council[1], council[0], 4, "issued")]


def test_check_digit_shows_every_wrong_sign() -> None:
    con = duckdb.connect()

    def holds(uid: str) -> bool:
        query = f"select {uids.check_digit_holds('uid')} from (select ? as uid)"
        return bool(con.execute(query, [uid]).fetchall()[0][0])

    good = "FG99669819"
    assert is_valid_uid(good)
    assert holds(good)
    letters = "".join(UID_LETTERS)
    wrong = [
        good[:at] + sign + good[at + 1 :]
        for at in range(10)
        for sign in (letters if at < 2 else "0123456789")
        if sign != good[at]
    ]
    assert len(wrong) == 90
    assert not any(map(holds, wrong))
    assert not holds("AA00000001")


def test_rules_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    (tmp_path / "schools.yaml").write_text("similar_from: 1.4\n")
    with pytest.raises(ConfigurationError, match="similar_from"):
        schools.load_school_rules(tmp_path)


def test_special_schools_are_out_of_scope_and_the_adapted_mode_is_counted_apart(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    special = warehouse.execute(
        "select seed_code from intake.school_roll where school_type = 'Special' "
        "and council_name = 'North Lanarkshire' order by all limit 2"
    ).fetchall()
    one, other = special[0][0], special[1][0]
    (tmp_path / "special_schools.csv").write_text(
        f"engagement,seed_code,agreed_on,source\nt2-north-lanarkshire,{one},2016-10-01,letter\n"
    )
    known = schools.known_schools(warehouse, "t2-north-lanarkshire", tmp_path)
    con = _checked(
        [
            (one, None, "SP", "F", "a"),
            (other, None, "SP", "M", "b"),
            ("8355525", None, "P6", "M", "c"),
        ]
    )
    schools.quarantine_special(con, known)
    assert _violations(con) == {1: schools.ADAPTED, 2: schools.OUT_OF_SCOPE}


def test_a_roll_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no school roll"):
        schools.known_schools(duckdb.connect(), "t1-west-lothian", None)
