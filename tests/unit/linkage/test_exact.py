"""Exact linkage on rows made by hand: who is linked, who is not, and whose id stays."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

import duckdb
import pytest

from rcs_assets.linkage import LinkKeys, link_engagements, write_linkage
from rcs_assets.linkage.engagements import DATASETS, drop_links

KEYS = LinkKeys(project=b"p" * 32, index={name: name.encode().ljust(32, b"i") for name in DATASETS})
NOBODY = ("MORAY", "ANNE", "2004-01-31", "FK10 1AA")


@pytest.fixture
def vault() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    con.execute(
        "create table sample_identifiers (engagement varchar, record_id varchar, uid varchar, "
        "scn varchar, surname varchar, first_forename varchar, second_forename varchar, "
        "sex varchar, date_of_birth date, postcode varchar, seed_code varchar)"
    )
    con.execute(
        "create table survey_identifiers "
        "(engagement varchar, survey varchar, record_id varchar, uid varchar)"
    )
    con.execute(
        "create table education_identifiers (engagement varchar, record_id varchar, "
        "supplier_id varchar, uid varchar, scn varchar, surname varchar, first_forename varchar, "
        "second_forename varchar, sex varchar, date_of_birth date, postcode varchar)"
    )
    con.execute(
        "create table social_work_identifiers (engagement varchar, record_id varchar, "
        "supplier_id varchar, scn varchar, surname varchar, previous_surname varchar, "
        "first_forename varchar, second_forename varchar, sex varchar, date_of_birth date, "
        "postcode varchar)"
    )
    con.execute(
        "create table opt_outs (engagement varchar, uid varchar, scope varchar, received_on date)"
    )
    yield con
    con.close()


def add_sample(con, record, *, scn, who=NOBODY, uid=None, engagement="t1-a"):
    surname, forename, born, postcode = who
    con.execute(
        "insert into sample_identifiers (engagement, record_id, uid, scn, surname, first_forename, "
        "sex, date_of_birth, postcode, seed_code) values (?, ?, ?, ?, ?, ?, 'F', ?, ?, '1')",
        [engagement, record, uid or f"U-{record}", scn, surname, forename, born, postcode],
    )


def add_education(con, record, *, scn, who=NOBODY, engagement="t1-a"):
    surname, forename, born, postcode = who
    con.execute(
        "insert into education_identifiers (engagement, record_id, supplier_id, scn, surname, "
        "first_forename, sex, date_of_birth, postcode) values (?, ?, ?, ?, ?, ?, 'F', ?, ?)",
        [engagement, record, f"sup-{record}", scn, surname, forename, born, postcode],
    )


def add_answer(con, record, uid, *, survey="secondary", engagement="t1-a"):
    con.execute(
        "insert into survey_identifiers values (?, ?, ?, ?)", [engagement, survey, record, uid]
    )


def links(con, *engagements):
    rows = link_engagements(con, KEYS, engagements or ("t1-a",)).project_ids.to_pylist()
    return {(row["dataset"], row["record_id"]): row["project_id"] for row in rows}


def test_answer_joins_by_uid_or_not_at_all(vault):
    add_sample(vault, "s1", scn="040001239")
    add_answer(vault, "a1", "U-s1")
    add_answer(vault, "a2", "U-unknown")
    found = links(vault)
    assert found["secondary_survey", "a1"] == found["sample", "s1"]
    assert ("secondary_survey", "a2") not in found


def test_answers_with_one_uid_twice_are_not_linked_and_counted(vault):
    add_sample(vault, "s1", scn="040001239")
    add_answer(vault, "a1", "U-s1")
    add_answer(vault, "a2", "U-s1")
    rows = link_engagements(vault, KEYS, ["t1-a"])
    assert rows.link_rates.to_pylist() == [
        {
            "engagement": "t1-a",
            "dataset": "secondary_survey",
            "records_n": 2,
            "linked_n": 0,
            "ambiguous_n": 2,
            "clerical_n": 0,
            "exact_n": 0,
            "decided_n": 0,
            "probabilistic_n": 0,
            "estimated_precision": None,
            "precision_low": None,
            "precision_high": None,
            # Nobody knows whether they are those of invited pupils.
            "estimated_recall": 0.0,
            "recall_low": 0.0,
            "recall_high": 1.0,
            "missed_n": 2.0,
            "missed_low": 0.0,
            "missed_high": 2.0,
            "model_id": None,
            "is_encoded": False,
        }
    ]


@pytest.mark.parametrize(
    ("who", "is_linked"),
    [
        (("Moray", "x", "2001-01-01", "EH1 1AA"), True),
        (("x", "Ánne", "2001-01-01", "EH1 1AA"), True),
        (("x", "y", "2004-01-31", "EH1 1AA"), True),
        (("x", "y", "2001-01-01", "fk101aa"), True),
        (("x", "y", "2001-01-01", "EH1 1AA"), False),
        ((None, None, None, None), False),
        (("", "", None, " "), False),
    ],
)
def test_education_needs_scn_and_one_agreement(vault, who, is_linked):
    add_sample(vault, "s1", scn="040001239")
    add_education(vault, "e1", scn="040 001 239", who=who)
    assert (("education", "e1") in links(vault)) is is_linked


def test_agreement_on_nothing_is_no_agreement(vault):
    add_sample(vault, "s1", scn="040001239", who=("", None, None, ""))
    add_education(vault, "e1", scn="040001239", who=("", None, None, ""))
    assert ("education", "e1") not in links(vault)


def test_wrong_or_missing_scn_is_not_linked(vault):
    add_sample(vault, "s1", scn="040001239")
    add_sample(vault, "s2", scn=None)
    add_education(vault, "e1", scn="040001238")
    add_education(vault, "e2", scn=None)
    add_education(vault, "e3", scn="04000123")
    assert not [key for key in links(vault) if key[0] == "education"]


def test_twins_keep_their_own_records(vault):
    boy = ("MORAY", "IAN", "2004-01-31", "FK10 1AA")
    add_sample(vault, "s1", scn="040001239")
    add_sample(vault, "s2", scn="112345671", who=boy)
    add_education(vault, "e1", scn="040001239")
    add_education(vault, "e2", scn="112345671", who=boy)
    found = links(vault)
    assert found["education", "e1"] == found["sample", "s1"]
    assert found["education", "e2"] == found["sample", "s2"]
    assert found["sample", "s1"] != found["sample", "s2"]


def test_twins_with_one_scn_in_the_sample_are_ambiguous(vault):
    add_sample(vault, "s1", scn="040001239")
    add_sample(vault, "s2", scn="040001239", who=("MORAY", "IAN", "2004-01-31", "FK10 1AA"))
    add_education(vault, "e1", scn="040001239")
    rows = link_engagements(vault, KEYS, ["t1-a"])
    ids = [r["project_id"] for r in rows.project_ids.to_pylist() if r["dataset"] == "sample"]
    assert len(set(ids)) == 2
    assert rows.link_rates.to_pylist()[0]["linked_n"] == 0
    assert rows.link_rates.to_pylist()[0]["ambiguous_n"] == 1


def test_one_scn_twice_in_education_is_ambiguous(vault):
    add_sample(vault, "s1", scn="040001239")
    add_education(vault, "e1", scn="040001239")
    add_education(vault, "e2", scn="040001239")
    assert not [key for key in links(vault) if key[0] == "education"]


def test_opt_out_of_linkage_keeps_the_answer_and_drops_education(vault):
    add_sample(vault, "s1", scn="040001239")
    add_answer(vault, "a1", "U-s1")
    add_education(vault, "e1", scn="040001239")
    vault.execute(
        "insert into opt_outs (engagement, uid, scope, received_on) "
        "values ('t1-a', 'U-s1', 'linkage', '2015-09-01')"
    )
    found = links(vault)
    assert ("secondary_survey", "a1") in found
    assert ("education", "e1") not in found


def test_a_mover_keeps_one_id_and_a_stranger_with_the_same_scn_gets_his_own(vault):
    add_sample(vault, "s1", scn="040001239")
    add_sample(
        vault, "s2", scn="040001239", engagement="t2-b", who=("NEW", "ANNE", "2004-01-31", "G1 1AA")
    )
    add_sample(
        vault, "s3", scn="040001239", engagement="t3-c", who=("X", "Y", "2005-05-05", "G1 1AA")
    )
    found = links(vault, "t1-a", "t2-b", "t3-c")
    assert found["sample", "s1"] == found["sample", "s2"]
    assert found["sample", "s3"] != found["sample", "s1"]


def test_ids_do_not_depend_on_which_engagement_runs_first(vault):
    add_sample(vault, "s1", scn="040001239")
    add_sample(vault, "s2", scn="040001239", engagement="t2-b")
    add_sample(vault, "s3", scn="112345671", engagement="t2-b")
    together = links(vault, "t1-a", "t2-b")
    later_first = {**links(vault, "t2-b"), **links(vault, "t1-a")}
    assert together == later_first


def test_rerun_of_one_engagement_changes_no_other(vault):
    add_sample(vault, "s1", scn="040001239")
    add_answer(vault, "a1", "U-s1")
    add_sample(vault, "s2", scn="040001239", engagement="t2-b")
    add_answer(vault, "a2", "U-s2", engagement="t2-b")
    warehouse = duckdb.connect()
    write_linkage(warehouse, link_engagements(vault, KEYS, ["t1-a", "t2-b"]), ["t1-a", "t2-b"])
    kept = "select * from linkage.project_ids where engagement = 't1-a' order by all"
    before = warehouse.execute(kept).fetchall()
    before_vault = vault.execute("select * from read_through order by all").fetchall()
    vault.execute("delete from survey_identifiers where engagement = 't2-b'")
    add_sample(vault, "s4", scn="040001239", engagement="t2-b")
    write_linkage(warehouse, link_engagements(vault, KEYS, ["t2-b"]), ["t2-b"])
    assert warehouse.execute(kept).fetchall() == before
    after_vault = vault.execute("select * from read_through order by all").fetchall()
    assert after_vault == [row for row in before_vault if row[0] == "t1-a"]


def test_links_of_an_engagement_that_may_not_be_linked_any_more_are_dropped(vault):
    for engagement, record in (("t1-a", "s1"), ("t2-b", "s2")):
        add_sample(vault, record, scn="040001239", engagement=engagement)
        add_answer(vault, f"a-{record}", f"U-{record}", engagement=engagement)
    link_engagements(vault, KEYS, ["t1-a", "t2-b"])
    drop_links(vault, {"t2-b"})
    for table in ("index_numbers", "read_through"):
        left = vault.execute(f"select distinct engagement from {table}").fetchall()
        assert left == [("t1-a",)], table
    # A vault in which nothing was linked yet has nothing to drop.
    with duckdb.connect() as bare:
        drop_links(bare, {"t1-a"})


def test_index_numbers_differ_by_dataset_and_are_hmacs_of_the_record_id(vault):
    add_sample(vault, "same", scn="040001239")
    add_education(vault, "same", scn="040001239")
    link_engagements(vault, KEYS, ["t1-a"])
    numbers = dict(vault.execute("select dataset, index_no from index_numbers").fetchall())
    expected = hmac.new(KEYS.index["education"], b"same", hashlib.sha256).hexdigest()
    assert numbers["education"] == expected
    assert numbers["sample"] != numbers["education"]


def test_read_through_has_the_published_layout_and_no_identifier(vault):
    add_sample(vault, "s1", scn="040001239")
    add_answer(vault, "a1", "U-s1")
    add_education(vault, "e1", scn="040001239")
    rows = link_engagements(vault, KEYS, ["t1-a"])
    found = vault.execute("select * from read_through").to_arrow_table().to_pylist()
    assert len(found) == 1
    assert found[0]["match_method"] == "uid+scn"
    assert found[0]["index_survey"] and found[0]["index_education"]
    assert found[0]["project_id"] == rows.project_ids.to_pylist()[0]["project_id"]
    assert set(rows.project_ids.column_names) == {
        "dataset",
        "engagement",
        "record_id",
        "project_id",
        "pass_no",
        "weight",
        "probability",
        "weight_band",
    }


def test_a_child_without_a_number_keeps_one_id_when_it_moves(vault):
    """Two areas write name, sex and birth date alike; 1 January stands for a year alone."""
    for engagement in ("t1-a", "t2-b"):
        for record, name, born in (
            ("moved", "O'Hara", "2004-05-06"),
            ("new_year", "Kerr", "2004-01-01"),
            ("twice_1", "Reid", "2005-06-07"),
            ("twice_2", "Reid", "2005-06-07"),
        ):
            vault.execute(
                "insert into sample_identifiers by name select ? as engagement, ? as record_id, "
                "? as uid, ? as surname, 'Isla' as first_forename, 'F' as sex, "
                "?::date as date_of_birth",
                [engagement, f"{engagement} {record}", f"{engagement} {record}", name, born],
            )
    rows = link_engagements(vault, KEYS, ["t1-a", "t2-b"]).project_ids.to_pylist()
    ids = {row["record_id"]: row["project_id"] for row in rows if row["dataset"] == "sample"}
    assert ids["t1-a moved"] == ids["t2-b moved"]
    for record in ("new_year", "twice_1", "twice_2"):
        assert ids[f"t1-a {record}"] != ids[f"t2-b {record}"]
    alone = link_engagements(vault, KEYS, ["t2-b"]).project_ids.to_pylist()
    assert {row["record_id"]: row["project_id"] for row in alone}.items() <= ids.items()
