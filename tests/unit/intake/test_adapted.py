"""The adapted mode of special schools: the steps of its how-to, and what it refuses.

Belongs here: opt-ins and answers from file to table, docs/how-to/take-in-an-adapted-survey.md. Does
not belong here: which schools are special (`test_schools.py`).
"""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from rcs_assets.codebook import Codebook
from rcs_assets.errors import ConfigurationError
from rcs_assets.intake.adapted import FILE, load_adapted_survey
from rcs_assets.intake.receipts import ReceiptStatus
from rcs_assets.intake.retention import rows_left
from rcs_assets.linkage.fieldwork import write_fieldwork
from tests.acceptance.documentation import blocks
from tests.unit.intake.conftest import ENGAGEMENT, World, pupils, write_csv

ONE, TWO, STRANGER = "ZZ00000010", "ZZ00000011", "ZZ00000012"
# The contract of the delivery names it, and what makes up such a delivery; nothing else does.
# The contract, the simulator, and two that read or name the file of rules, no answers.
KNOWN_READERS = {
    "rcs_assets/codebook/data/datasets.yaml",
    "rcs_assets/simulate/adapted.py",
    "rcs_assets/doctor.py",
    "rcs_assets/release/rules_in_force.py",
}
ANSWERS = "select item, answer from intake.adapted_survey order by all"


@pytest.fixture
def declared(delivered: World, repo_root: Path) -> World:
    """Steps 1 to 4 of the page, in a home that has sample file and opt-outs."""
    world = delivered
    page = repo_root / "docs" / "how-to" / "take-in-an-adapted-survey.md"
    schools, items, opt_ins, answers = blocks(page, "csv")
    world.home.config.mkdir(exist_ok=True)
    (world.home.config / "special_schools.csv").write_text(schools, encoding="utf-8")
    (world.home.config / FILE).write_text(items, encoding="utf-8")
    for name, text in (("adapted_opt_ins", opt_ins), ("adapted_survey", answers)):
        path = world.path("opt_outs").with_name(f"{ENGAGEMENT}_{name.replace('_', '-')}.csv")
        path.write_text(text, encoding="utf-8")
    world.deliver()
    world.take("sample_file")
    return world


def deliver(world: World, dataset: str, rows: list[dict[str, str]]) -> None:
    name = f"{ENGAGEMENT}_{dataset.replace('_', '-')}.csv"
    world.deliver(write_csv(world.path("opt_outs").with_name(name), rows))


def answer(uid: str, item: str = "sdq_1", code: str = "1", version: str = "adapted-2015"):
    return {"survey_uid": uid, "questionnaire": version, "item": item, "answer": code}


def opt_in(uid: str, school: str = "5700099") -> dict[str, str]:
    return {
        "survey_uid": uid, "seed_code": school, "agreed_on": "2015-09-10", "agreed_by": "pupil",
    }  # fmt: skip


def test_opt_ins_and_answers_are_taken_in_and_kept_apart(declared: World) -> None:
    world = declared
    assert world.take("adapted_opt_ins").accepted_n == 2
    taken = world.take("adapted_survey")
    assert (taken.accepted_n, taken.quarantined_n, taken.flags) == (3, 0, {"pupils": 2})
    assert world.rows(ANSWERS) == [("sdq_1", 0), ("sdq_1", 1), ("sdq_2", 2)]
    assert world.vault_rows("select uid from adapted_identifiers order by all") == [(ONE,), (TWO,)]
    assert world.vault_rows("select count(*) from survey_identifiers") == [(0,)]
    # No column of the warehouse holds a UID, and retention counts these rows too.
    left = {k.rpartition(".")[2]: n for k, n in rows_left(world.home, ENGAGEMENT).items()}
    assert (left["adapted_survey"], left["adapted_opt_ins"], left["adapted_identifiers"]) == (
        3,
        2,
        2,
    )


def readers(root: Path) -> set[str]:
    """Files outside intake that name the table of answers or its identifiers."""
    suffixes = (".py", ".sql", ".yaml", ".yml")
    found = {
        path.relative_to(root).as_posix()
        for folder in ("rcs_assets", "dbt_project/models", "data_quality")
        for path in (root / folder).rglob("*")
        if path.suffix in suffixes
        and re.search("adapted_(survey|identifiers)", path.read_text(encoding="utf-8"))
    }
    return {path for path in found if not path.startswith("rcs_assets/intake/")}


def test_nothing_but_intake_reads_the_answers(repo_root: Path, tmp_path: Path) -> None:
    """No estimate, no link, no release: the flow counts them by receipts and states."""
    assert readers(repo_root) == KNOWN_READERS
    model = tmp_path / "dbt_project" / "models" / "of_all.sql"
    model.parent.mkdir(parents=True)
    model.write_text("from {{ source('intake', 'adapted_survey') }}", encoding="utf-8")
    assert readers(tmp_path) == {"dbt_project/models/of_all.sql"}


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (answer(STRANGER), "no_opt_in"),
        (answer(ONE, item="sdq_3"), "item_not_in_adapted_survey"),
        (answer(ONE, version="t1-secondary"), "item_not_in_adapted_survey"),
        (answer(ONE, code="7"), "value_outside_codebook"),
        (answer(ONE, item=""), "blank"),
    ],
)
def test_what_was_not_agreed_or_declared_is_set_aside(
    declared: World, row: dict[str, str], rule: str
) -> None:
    declared.take("adapted_opt_ins")
    deliver(declared, "adapted_survey", [answer(TWO), row])
    taken = declared.take("adapted_survey")
    assert (taken.accepted_n, dict(taken.reasons)) == (1, {rule: 1})
    assert declared.rows(ANSWERS) == [("sdq_1", 1)]


def test_two_answers_to_one_item_are_not_guessed(declared: World) -> None:
    declared.take("adapted_opt_ins")
    deliver(declared, "adapted_survey", [answer(ONE), answer(ONE, code="2"), answer(TWO)])
    assert dict(declared.take("adapted_survey").reasons) == {"duplicate_answer": 2}
    assert declared.rows(ANSWERS) == [("sdq_1", 1)]


def test_only_pupils_of_schools_that_agreed_opt_in(declared: World) -> None:
    mainstream = pupils()[0]["survey_uid"]
    deliver(declared, "adapted_opt_ins", [opt_in(ONE), opt_in(TWO, "5700098"), opt_in(mainstream)])
    taken = declared.take("adapted_opt_ins")
    assert dict(taken.reasons) == {"school_not_in_adapted_mode": 1, "pupil_of_the_survey": 1}
    assert declared.vault_rows("select uid from adapted_opt_ins") == [(ONE,)]


def test_without_declaration_or_opt_ins_nothing_is_taken_in(declared: World) -> None:
    refused = declared.take("adapted_survey")
    assert refused.status == ReceiptStatus.REJECTED and "list of opt-ins" in refused.reason
    declared.take("adapted_opt_ins")
    (declared.home.config / FILE).unlink()
    refused = declared.take("adapted_survey")
    assert refused.status == ReceiptStatus.REJECTED and FILE in refused.reason
    assert declared.rows(ANSWERS) == []


def test_who_withdraws_is_gone_from_opt_ins_and_answers(declared: World) -> None:
    world = declared
    world.take("adapted_opt_ins")
    world.take("adapted_survey")
    out = {"survey_uid": ONE, "scope": "survey", "received_on": "2016-01-10"}
    world.deliver(write_csv(world.path("opt_outs"), [out]))
    for dataset in ("opt_outs", "sample_file", "adapted_opt_ins", "adapted_survey"):
        taken = world.take(dataset)
    assert (taken.accepted_n, taken.withdrawn_n) == (1, 2)
    assert world.vault_rows("select uid from adapted_opt_ins") == [(TWO,)]
    assert world.vault_rows("select uid from adapted_identifiers") == [(TWO,)]


def test_the_flow_counts_pupils_in_rows_of_their_own(declared: World) -> None:
    world = declared
    world.take("adapted_opt_ins")
    deliver(world, "adapted_survey", [answer(ONE), answer(ONE, "sdq_2"), answer(STRANGER)])
    world.take("adapted_survey")
    with world.desk() as desk:
        con: duckdb.DuckDBPyConnection = desk.warehouse
        con.execute("create schema if not exists linkage")
        con.execute(
            "create table linkage.project_ids "
            "(engagement varchar, dataset varchar, project_id varchar)"
        )
        write_fieldwork(con, world.home, world.programme, [ENGAGEMENT])
        rows = con.execute(
            "select step, reason, n from linkage.flow where survey = 'adapted' order by position"
        ).fetchall()
        others = con.execute("select count(*) from linkage.response where completed_n > 0")
        assert others.fetchall() == [(0,)]
    assert rows[:4] == [
        ("opted_in", None, 2), ("received", None, 2), ("removed", "no_opt_in", 1),
        ("usable", None, 1),
    ]  # fmt: skip
    assert ("linked", None, 0) in rows


def test_a_declaration_that_is_wrong_is_named(codebook: Codebook, tmp_path: Path) -> None:
    head = "engagement,questionnaire,item,source\n"
    for lines, said in (
        ("t1-x,a,no_such_item,b\n", "no such item"),
        ("t1-x,a,sdq_1,b\nt1-x,c,sdq_2,b\n", "one adapted questionnaire"),
        ("t1-x,a,sdq_1,\n", "source"),
    ):
        (tmp_path / FILE).write_text(head + lines, encoding="utf-8")
        with pytest.raises(ConfigurationError, match=said):
            load_adapted_survey("t1-x", codebook, tmp_path)
    assert load_adapted_survey("t2-x", codebook, None) is None


def test_who_opted_in_is_in_one_survey_alone(declared: World) -> None:
    """The list decides: the survey waits for it, and is taken in anew when it changes."""
    declared.deliver(declared.survey("secondary", [ONE, STRANGER]))
    waiting = declared.take("secondary_survey")
    assert waiting.status == ReceiptStatus.REJECTED
    assert "opted in to the adapted mode is not known" in waiting.reason
    for listed, held in (([ONE], [(STRANGER,)]), ([ONE, STRANGER], [])):
        deliver(declared, "adapted_opt_ins", [opt_in(uid) for uid in listed])
        assert declared.take("adapted_opt_ins").accepted_n == len(listed)
        taken = declared.take("secondary_survey")
        assert taken.reasons["pupil_of_the_adapted_mode"] == len(listed)
        assert declared.vault_rows("select uid from survey_identifiers order by all") == held


def test_only_special_schools_that_agreed_take_part(declared: World) -> None:
    """An agreement that names a school of another kind is a slip."""
    seed = pupils()[0]["seed_code"]
    file = declared.home.config / "special_schools.csv"
    row = f"{ENGAGEMENT},{seed},2015-08-20,letter"
    file.write_text(f"{file.read_text(encoding='utf-8').rstrip()}\n{row}\n", encoding="utf-8")
    deliver(declared, "adapted_opt_ins", [opt_in(ONE), opt_in(TWO, seed)])
    assert dict(declared.take("adapted_opt_ins").reasons) == {"school_not_in_adapted_mode": 1}
    file.unlink()
    assert declared.take("adapted_opt_ins").reasons["school_not_in_adapted_mode"] == 2


def test_without_a_sample_file_nobody_opts_in(declared: World) -> None:
    """Who was invited to the survey itself would not be told from the others."""
    declared.deliver(
        write_csv(declared.path("sample_file"), [row | {"sex": "?"} for row in pupils()[:1]])
    )
    taken = declared.take("adapted_opt_ins")
    assert taken.status == ReceiptStatus.REJECTED
    assert "The list of opt-ins cannot be checked" in taken.reason
