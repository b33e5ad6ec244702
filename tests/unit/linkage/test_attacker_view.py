"""The intruder's table: the council's payload under a salted id, and nothing that names."""

from __future__ import annotations

import hashlib
import hmac
import json

import duckdb
import pytest

from rcs_assets.linkage.attacker_view import write_attacker_view

KEY = b"a" * 32
# Record ids, project ids and days are the only things in the warehouse that could name a pupil.
CANARIES = ("CANARYSAMPLE", "CANARYEDU", "CANARYCASE", "CANARYPROJECT", "2017-03-0")


@pytest.fixture
def warehouse():
    con = duckdb.connect()
    con.execute("create schema intake")
    con.execute("create schema linkage")
    con.execute("""
        create table intake.sample as
        select 'CANARYSAMPLE' || i as record_id, if(i < 4, 't1-a', 't2-b') as engagement,
            'F' as sex, '5203821' as seed_code, 'P6' as stage from range(6) as t(i)
    """)
    con.execute("""
        create table intake.education as
        select 'CANARYEDU' || i as record_id, if(i < 4, 't1-a', 't2-b') as engagement,
            '5203821' as seed_code, 'P6' as stage, 'F' as sex,
            if(i = 0, null, 'S01') as datazone, '01' as ethnic_background,
            'FIRST' as level_of_english, i = 1 as free_school_meal, '1' as asn_types,
            '10' as asn_needs, false as looked_after, 90.0 + i as attendance_pct,
            0 as exclusions_n
        from range(6) as t(i)
    """)
    con.execute("""
        create table intake.social_work as
        select 'CANARYCASE1' as record_id, 't1-a' as engagement,
            'currently_away' as looked_after_status, 'secure' as placement,
            false as child_protection_12m, true as open_case, true as childs_plan,
            date '2017-03-01' as opened_on, date '2017-03-02' as closed_on
    """)
    con.execute(
        "create table intake.simd as select 'S01' as datazone, quintile, vintage "
        "from (values (2, '2016'), (5, '2020')) as t(quintile, vintage)"
    )
    # Pupil 3 opted out: no project id. Pupil 2 has no education record.
    con.execute("""
        create table linkage.project_ids as
        select dataset, engagement, record_id, 'CANARYPROJECT' || right(record_id, 1) as project_id
        from (
            select 'sample' as dataset, engagement, record_id from intake.sample
            union all
            select 'education', engagement, record_id from intake.education
            where record_id <> 'CANARYEDU2'
            union all
            select 'social_work', engagement, record_id from intake.social_work
        )
        where right(record_id, 1) <> '3'
    """)
    yield con
    con.close()


def rows(con):
    return con.execute("from linkage.attacker_view").to_arrow_table().to_pylist()


def salted(pupil):
    return hmac.new(KEY, f"CANARYPROJECT{pupil}".encode(), hashlib.sha256).hexdigest()


def test_a_row_a_pupil_with_what_the_council_supplied(warehouse):
    assert write_attacker_view(warehouse, KEY, ["t1-a"]) == 3
    found = {row["salted_id"]: row for row in rows(warehouse)}
    assert set(found) == {salted(0), salted(1), salted(2)}
    known = found[salted(1)]
    assert known["attendance_pct"] == 91 and known["free_school_meal"] is True
    assert known["placement"] == "secure" and known["has_social_work"] is True
    assert known["simd_quintile"] == 2
    assert found[salted(0)]["simd_quintile"] is None
    assert found[salted(2)]["has_education"] is False
    assert found[salted(2)]["seed_code"] == "5203821"


def test_no_identifier_and_no_day_stands_in_it(warehouse):
    write_attacker_view(warehouse, KEY, ["t1-a", "t2-b"])
    text = json.dumps(rows(warehouse), default=str)
    assert "currently_away" in text
    assert not [canary for canary in CANARIES if canary in text]
    kinds = warehouse.execute(
        "select data_type from information_schema.columns where table_name = 'attacker_view'"
    ).fetchall()
    assert {kind for (kind,) in kinds} <= {"VARCHAR", "BOOLEAN", "DOUBLE", "INTEGER"}


def test_another_key_gives_other_ids_and_a_rerun_the_same_rows(warehouse):
    write_attacker_view(warehouse, KEY, ["t1-a", "t2-b"])
    first = rows(warehouse)
    write_attacker_view(warehouse, KEY, ["t2-b"])
    write_attacker_view(warehouse, KEY, ["t1-a"])
    assert sorted(map(str, rows(warehouse))) == sorted(map(str, first))
    write_attacker_view(warehouse, b"b" * 32, ["t1-a", "t2-b"])
    assert not {row["salted_id"] for row in first} & {row["salted_id"] for row in rows(warehouse)}


def test_an_engagement_without_approval_leaves_it(warehouse):
    write_attacker_view(warehouse, KEY, ["t1-a", "t2-b"])
    warehouse.execute("delete from linkage.project_ids where engagement = 't1-a'")
    assert write_attacker_view(warehouse, KEY, ["t1-a"]) == 0
    assert {row["engagement"] for row in rows(warehouse)} == {"t2-b"}
