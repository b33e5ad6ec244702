"""Clerks' decisions on doubtful links: a real vault, its queue, its log, and the next run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest

from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake.vault import prepare_vault
from rcs_assets.linkage import LinkKeys, link_engagements
from rcs_assets.linkage.agreement import agreement
from rcs_assets.linkage.clerical import clerical_input, pairs_query, refuse_other_log
from rcs_assets.linkage.engagements import DATASETS
from rcs_assets.linkage.review import Seat, progress, verified_decisions
from rcs_assets.storage import Home, Settings, hmac_expression, open_vault
from rcs_assets.storage.decision_log import (
    forget,
    forget_engagement,
    head_file,
    log_file,
    settled_marks,
)
from rcs_assets.storage.settings import parse_day

KEYS = LinkKeys(project=b"p" * 32, index={name: name.encode().ljust(32, b"i") for name in DATASETS})
ENGAGEMENT = "t1-a"
SETTINGS = Settings(1, "1GB", parse_day("2020-06-30"))
# Enough pupils that one in a hundred records is more than a few, and a few doubtful records.
PUPILS_N, DOUBTFUL_N = 800, 6
CANARIES = ("QWYXCANARY", "VUZCANARY", "FK10 9ZQ", "2003-11-27")


def run(home: Home):
    """What the asset does in the vault, without Dagster."""
    queue.cache_clear()
    with open_vault(home, settings=SETTINGS, purpose="test") as con:
        given = clerical_input(home)
        rows = link_engagements(con, KEYS, [ENGAGEMENT], None, None, given)
    for engagement, case in rows.forgotten:
        forget(home, engagement, [case])
    return rows


def linked(rows) -> dict[str, str]:
    return {
        row["record_id"]: row["weight_band"]
        for row in rows.project_ids.to_pylist()
        if row["dataset"] == "social_work"
    }


@cache
def queue(home: Home) -> dict[str, tuple[str, str]]:
    """Case → social work record and queue."""
    with open_vault(home, read_only=True, settings=SETTINGS, purpose="test") as con:
        rows = con.execute("select case_id, right_id, queue_id from clerical_queue order by 1")
        return {case: (right, name) for case, right, name in rows.fetchall()}


def change(home: Home, statement: str) -> None:
    with open_vault(home, settings=SETTINGS, purpose="test") as con:
        con.execute(statement)


@cache
def seat(home: Home, name: str, *, adjudicates: bool = False) -> Seat:
    return Seat(home, ENGAGEMENT, name, adjudicates, SETTINGS)


def decide(home: Home, name: str, case: str, verdict: str, *, adjudicates: bool = False) -> None:
    seat(home, name, adjudicates=adjudicates).decide(queue(home)[case][1], case, verdict)


def make_home(folder: Path) -> Home:
    """A home with a queue: children of whom social work knows no forename, and one canary."""
    home = Home.open(folder, profile="demo")
    with open_vault(home, settings=SETTINGS, purpose="test") as con:
        prepare_vault(con)
        con.execute(f"""
            insert into sample_identifiers by name
            select '{ENGAGEMENT}' as engagement, 's' || i as record_id, 'U' || i as uid,
                chr((65 + i % 23)::integer) || 'ILK' || chr((65 + i % 19)::integer) as surname,
                chr((65 + i % 17)::integer) || 'OL' || chr((65 + i % 13)::integer)
                    as first_forename,
                if(i % 2 = 0, 'F', 'M') as sex, date '2003-01-01' + i::integer as date_of_birth,
                'FK1 ' || (i % 9) || 'ZZ' as postcode
            from range({PUPILS_N}) as t(i)
        """)
        con.execute(
            "update sample_identifiers set surname = 'Qwyxcanary', first_forename = 'Vuzcanary', "
            "date_of_birth = '2003-11-27', postcode = 'FK10 9ZQ' where record_id = 's0'"
        )
        con.execute(f"""
            insert into social_work_identifiers by name
            select engagement, replace(record_id, 's', 'w') as record_id, surname, sex,
                date_of_birth, postcode
            from sample_identifiers
            where record_id in ({", ".join(f"'s{k * 7}'" for k in range(DOUBTFUL_N))})
        """)
    assert linked(run(home)) == {}
    return home


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_home(tmp_path_factory.mktemp("clerical") / "home").path


@pytest.fixture
def home(made, tmp_path) -> Home:
    return Home.open(shutil.copytree(made, tmp_path / "home"))


def test_the_queue_is_capped_and_holds_no_weight(home):
    assert (PUPILS_N + DOUBTFUL_N) // 200 == len(queue(home)) == 4 < DOUBTFUL_N
    told = progress(home, SETTINGS)[0]
    assert (told.records_n, told.grey_n, told.queue_n) == (PUPILS_N + DOUBTFUL_N, DOUBTFUL_N, 4)
    with open_vault(home, read_only=True, settings=SETTINGS, purpose="test") as con:
        names = {row[0] for row in con.execute("describe clerical_queue").fetchall()}
    assert names == {"engagement", "queue_id", "case_id", "left_id", "right_id"}


def test_two_alike_settle_a_pair_and_a_third_person_settles_the_others(home):
    """Queue, blind decisions, adjudication, the next run: links change as decided, only those."""
    first, second, third, _ = queue(home)
    records = {case: record for case, (record, _) in queue(home).items()}
    for name, verdicts in {
        "clerk-a": ("same", "different", "same"), "clerk-b": ("same", "different", "unsure"),
    }.items():  # fmt: skip
        for case, verdict in zip((first, second, third), verdicts, strict=True):
            decide(home, name, case, verdict)
    assert seat(home, "clerk-c", adjudicates=True).next_case().case_id == third
    assert linked(run(home)) == {records[first]: "decided"}
    # What was decided counts towards the share; the pair that waits for a third person stays.
    assert third in queue(home) and len(queue(home)) == 2 and second not in queue(home)
    decide(home, "clerk-c", third, "same", adjudicates=True)
    rows = run(home)
    assert linked(rows) == {records[first]: "decided", records[third]: "decided"}
    rate = next(row for row in rows.link_rates.to_pylist() if row["dataset"] == "social_work")
    assert (rate["decided_n"], rate["linked_n"], rate["exact_n"]) == (2, 2, 0)
    told = progress(home, SETTINGS)[0]
    assert told.settled == {"same": 2, "different": 1, "unsure": 0}
    assert told.outcomes == {"applied": 3}
    assert (told.agreement.pairs_n, told.agreement.agreed_n) == (3, 2)


def test_a_clerk_sees_both_records_and_nothing_that_another_said(home):
    shown = seat(home, "clerk-a").next_case()
    assert [field.label for field in shown.fields][:3] == [
        "First forename", "Second forename", "Surname",
    ]  # fmt: skip
    levels = {field.label: field.level for field in shown.fields}
    assert levels["Surname"] == levels["Date of birth"] == "same"
    assert levels["First forename"] == "blank"
    before = seat(home, "clerk-b").next_case()
    assert before is not None
    for case in list(queue(home))[1:]:
        decide(home, "clerk-a", case, "different")
    assert seat(home, "clerk-b").next_case() == before
    assert seat(home, "clerk-a").next_case() == replace(before, left_n=1)


@pytest.mark.parametrize("reviewer", ["Anne Moray", "a", "clerk_a", ""])
def test_a_clerk_has_the_name_of_a_role(home, reviewer):
    with pytest.raises(InputError, match="clerk's name"):
        seat(home, reviewer)


def test_one_person_one_seat_one_decision(home, monkeypatch):
    case = next(iter(queue(home)))
    decide(home, "clerk-a", case, "same")
    log = log_file(home).read_bytes()
    for name, verdict, adjudicates, why in (
        ("clerk-a", "same", False, "decided the pair already"),
        ("clerk-a", "different", True, "decided the pair already"),
        ("clerk-b", "same", True, "does not wait for this seat"),
        ("clerk-b", "perhaps", False, "no such verdict"),
    ):
        with pytest.raises(InputError, match=why):
            decide(home, name, case, verdict, adjudicates=adjudicates)
    production = replace(home, profile="production")
    with pytest.raises(InputError, match="decided the pair already"):  # under another name
        Seat(production, ENGAGEMENT, "clerk-b", False, SETTINGS)._refuse(
            [replace(e, account=_account(production)) for e in verified_decisions(home, SETTINGS)],
            case,
        )
    assert log_file(home).read_bytes() == log
    decide(home, "clerk-b", case, "different")
    with pytest.raises(InputError, match="does not wait"):
        decide(home, "clerk-d", case, "same")
    for name in ("clerk-a", "clerk-b"):
        with pytest.raises(InputError, match="decided the pair already"):
            decide(home, name, case, "same", adjudicates=True)


def _account(home: Home) -> str:
    from rcs_assets.storage.settings import operator_name

    return operator_name(home)


def test_a_decision_on_records_that_changed_is_not_applied_and_says_so(home):
    """… and one for the queue of another run is refused."""
    case, (record, _) = next(iter(queue(home).items()))
    for name in ("clerk-a", "clerk-b"):
        decide(home, name, case, "same")
    before = queue(home)
    log = log_file(home).read_bytes()
    change(
        home,
        f"update social_work_identifiers set surname = surname || 'x' where record_id = '{record}'",
    )
    rows = run(home)
    assert record not in linked(rows)
    assert rows.not_applied == [(ENGAGEMENT, "changed", 1)]
    assert progress(home, SETTINGS)[0].outcomes == {"changed": 1}
    other, (_, old) = list(before.items())[1]
    with pytest.raises(InputError, match="queue of another run"):
        seat(home, "clerk-a").decide(old, other, "same")
    assert log_file(home).read_bytes() == log
    with pytest.raises(InputError, match="There is no queue"):
        Seat(home, "t9-nowhere", "clerk-a", False, SETTINGS)


def test_decided_pairs_respect_one_to_one(home):
    """An exact link that came since goes before."""
    case, (record, _) = next(iter(queue(home).items()))
    for name in ("clerk-a", "clerk-b"):
        decide(home, name, case, "same")
    pupil = record.replace("w", "s")
    change(home, f"update sample_identifiers set scn = '040001239' where record_id = '{pupil}x'")
    change(
        home,
        "insert into social_work_identifiers by name select engagement, 'exact' as record_id, "
        "surname, first_forename, sex, date_of_birth, postcode from sample_identifiers "
        f"where record_id = '{pupil}'",
    )
    rows = run(home)
    assert linked(rows) == {"exact": "exact"}
    assert rows.not_applied == [(ENGAGEMENT, "overtaken", 1)]


def followed(home: Home, pairs: list[tuple[str, str]], accepted: pa.Table | None = None):
    """A run with exactly these pairs decided as one child."""
    given = clerical_input(home)
    with open_vault(home, settings=SETTINGS, purpose="test") as con:
        hmac_expression(con, "case", given.key)
        con.execute(
            "create temp table wanted (engagement varchar, left_id varchar, right_id varchar)"
        )
        con.executemany(f"insert into wanted values ('{ENGAGEMENT}', ?, ?)", pairs)
        decisions = con.execute(
            "select *, 'same' as verdict, true as is_settled, true as is_readable "
            f"from ({pairs_query('wanted')})"
        ).to_arrow_table()
        chosen = replace(given, decisions=decisions.select(given.decisions.column_names))
        return link_engagements(con, KEYS, [ENGAGEMENT], None, accepted, chosen)


def test_of_two_decisions_for_one_pupil_neither_is_followed(home):
    change(
        home,
        "insert into social_work_identifiers by name select * replace ('twin' as record_id) "
        "from social_work_identifiers where record_id = 'w7'",
    )
    rows = followed(home, [("s7", "w7"), ("s7", "twin"), ("s14", "w14")])
    assert linked(rows) == {"w14": "decided"}
    assert rows.not_applied == [(ENGAGEMENT, "overtaken", 2)]


def test_a_decision_on_a_record_without_payload_waits(home):
    accepted = pa.table({"dataset": ["social_work"], "record_id": ["w14"]})
    rows = followed(home, [("s7", "w7"), ("s14", "w14")], accepted)
    assert linked(rows) == {"w14": "decided"}
    assert rows.not_applied == [(ENGAGEMENT, "overtaken", 1)]


def test_a_withdrawn_child_disappears_from_queue_and_log(home):
    kept, gone, *_ = queue(home)
    records = {case: record for case, (record, _) in queue(home).items()}
    for case in (kept, gone):
        decide(home, "clerk-a", case, "same")
    uid = records[gone].replace("w", "U")
    change(
        home,
        "insert into opt_outs (engagement, uid, scope, received_on) "
        f"values ('{ENGAGEMENT}', '{uid}', 'linkage', '2019-01-01')",
    )
    run(home)
    assert gone not in queue(home) and kept in queue(home)
    text = log_file(home).read_text("utf-8")
    assert kept in text and gone not in text and records[gone] not in text
    assert '"forgotten"' in text
    entries = verified_decisions(home, SETTINGS)
    assert [entry.content is None for entry in entries] == [False, True, True]
    # A file that is gone as a whole says nothing of its children: nothing is forgotten.
    change(home, "delete from social_work_identifiers")
    run(home)
    assert kept in log_file(home).read_text("utf-8")
    assert forget_engagement(home, ENGAGEMENT) == 1
    assert kept not in log_file(home).read_text("utf-8")


def test_a_log_that_was_changed_cut_or_replaced_is_found_and_stops_the_run(home):
    cases = list(queue(home))[:3]
    for name in ("clerk-a", "clerk-b"):
        for case in cases:
            decide(home, name, case, "different")
    run(home)
    whole, head = log_file(home).read_text("utf-8"), head_file(home).read_text("utf-8")
    lines = whole.splitlines(keepends=True)
    erased = json.loads(lines[2]) | {"content": None}
    for text, top in (
        (whole.replace('"different"', '"same"', 1), head),
        (whole.replace("clerk-b", "clerk-c", 1), head),
        ("".join(lines[:-1]), head),
        ("".join([*lines[:2], *lines[3:]]), head),
        ("".join([*lines[:2], json.dumps(erased, sort_keys=True) + "\n", *lines[3:]]), head),
        ("", head),
        (whole + "no entry\n", head),
        (whole, '{"n": 2}'),
        ("", ""),
    ):
        log_file(home).write_text(text, "utf-8")
        head_file(home).unlink() if not top else head_file(home).write_text(top, "utf-8")
        with pytest.raises(StorageError, match="log of decisions"):
            verified_decisions(home, SETTINGS)
    # A process that was killed between the log and its head leaves the head one entry behind.
    with pytest.raises(StorageError, match="log of decisions"):
        seat(home, "clerk-d").next_case()
    log_file(home).write_text(whole, "utf-8")
    before = json.loads(lines[-2])
    head_file(home).write_text(json.dumps({"n": 5, "sha256": before["sha256"]}), "utf-8")
    assert len(verified_decisions(home, SETTINGS)) == 6
    with (
        open_vault(home, read_only=True, settings=SETTINGS, purpose="test") as con,
        pytest.raises(StorageError, match="not the one that the last run saw"),
    ):
        refuse_other_log(con, [])


def test_only_what_settles_a_case_makes_links_stale_and_the_log_names_nobody(home):
    assert settled_marks(home) == {}
    case = next(iter(queue(home)))
    decide(home, "clerk-a", case, "same")
    assert settled_marks(home) == {}
    decide(home, "clerk-b", case, "same")
    mark = settled_marks(home)
    assert mark.keys() == {ENGAGEMENT}
    while shown := seat(home, "clerk-c").next_case():
        seat(home, "clerk-c").decide(shown.queue_id, shown.case_id, "unsure")
    assert settled_marks(home) == mark
    outside = [f for f in home.path.rglob("*") if f.is_file() and f.name != "vault.duckdb"]
    for file in outside:
        content = file.read_bytes().upper()
        assert not [name for name in CANARIES if name.encode() in content], file
    assert log_file(home) in outside
    assert log_file(home).stat().st_mode & 0o077 == 0


def test_agreement_is_cohens_kappa_with_an_interval_that_covers():
    """Cohen (1960): the worked example of a 3 × 3 table, kappa 0.492 (his table 1, 200 pairs)."""
    table = {("a", "a"): 88, ("a", "b"): 14, ("a", "c"): 18, ("b", "a"): 10, ("b", "b"): 40,
             ("b", "c"): 10, ("c", "a"): 2, ("c", "b"): 6, ("c", "c"): 12}  # fmt: skip
    told = agreement([pair for pair, n in table.items() for _ in range(n)], 0.95)
    assert (told.pairs_n, told.agreed_n, told.agreed_pct) == (200, 140, 70.0)
    assert told.kappa == pytest.approx(0.4915, abs=5e-4)
    assert told.kappa_low == pytest.approx(0.379, abs=0.01)
    assert told.kappa_high == pytest.approx(0.589, abs=0.01)
    assert agreement([], 0.95).kappa is None
    assert agreement([("same", "same")] * 5, 0.95).kappa is None
    whole = agreement([("same", "same")] * 5 + [("different", "different")] * 5, 0.95)
    assert whole.kappa == whole.kappa_high == 1.0 and 0.3 < whole.kappa_low < 0.5
