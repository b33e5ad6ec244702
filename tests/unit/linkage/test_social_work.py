"""Social work records of an engagement: found, opted out, counted, and written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest

from rcs_assets.linkage import LinkKeys, link_engagements, write_linkage
from rcs_assets.linkage.by_group import write_link_rates_by_group
from rcs_assets.linkage.engagements import DATASETS
from rcs_assets.linkage.settings import load_link_rules

KEYS = LinkKeys(project=b"p" * 32, index={name: name.encode().ljust(32, b"i") for name in DATASETS})
ANNE = ("Moray", "Anne", "2004-01-31", "FK10 1AA")
TWIN = ("Moray", "Bruce", "2004-01-31", "FK10 1AA")
MISSPELT = ("Moary", "Anne", "2004-01-31", "FK10 1AA")
PERSON = (
    "scn varchar, surname varchar, first_forename varchar, second_forename varchar, "
    "sex varchar, date_of_birth date, postcode varchar"
)


@pytest.fixture
def vault() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    for name, columns in {
        "sample_identifiers": f"record_id varchar, uid varchar, {PERSON}, seed_code varchar",
        "survey_identifiers": "survey varchar, record_id varchar, uid varchar",
        "education_identifiers": (f"record_id varchar, supplier_id varchar, uid varchar, {PERSON}"),
        "social_work_identifiers": (
            f"record_id varchar, supplier_id varchar, previous_surname varchar, {PERSON}"
        ),
        "opt_outs": "uid varchar, scope varchar, received_on date",
    }.items():
        con.execute(f"create table {name} (engagement varchar, {columns})")
    # Children about whom nobody asks: a council has more than one pupil.
    con.execute("""
        insert into sample_identifiers by name
        select 't1-a' as engagement, 'x' || i as record_id, 'X' || i as uid,
            chr((65 + i % 23)::integer) || 'ILK' || chr((65 + i % 19)::integer) as surname,
            chr((65 + i % 17)::integer) || 'OL' || chr((65 + i % 13)::integer) as first_forename,
            if(i % 2 = 0, 'F', 'M') as sex, date '2003-01-01' + i::integer as date_of_birth,
            'FK1 ' || (i % 9) || 'ZZ' as postcode
        from range(300) as t(i)
    """)
    yield con
    con.close()


def add(con, table, record, who, *, scn=None, engagement="t1-a", **more):
    surname, forename, born, postcode = who
    columns = {
        "engagement": engagement, "record_id": record, "scn": scn, "surname": surname,
        "first_forename": forename, "sex": "F", "date_of_birth": born, "postcode": postcode,
        **({"uid": f"U-{record}"} if table == "sample" else {}), **more,
    }  # fmt: skip
    con.execute(
        f"insert into {table}_identifiers ({', '.join(columns)}) "
        f"values ({', '.join('?' for _ in columns)})",
        list(columns.values()),
    )


def found(rows):
    return {
        (row["dataset"], row["record_id"]): row
        for row in rows.project_ids.to_pylist()
        if not row["record_id"].startswith("x")
    }


def rates(rows, dataset="social_work"):
    return next(row for row in rows.link_rates.to_pylist() if row["dataset"] == dataset)


def test_a_record_is_found_by_scn_by_names_and_by_the_model(vault):
    add(vault, "sample", "s1", ANNE, scn="040001239")
    add(vault, "sample", "s2", ("Craig", "Isla", "2005-02-03", "FK7 7AB"))
    add(vault, "sample", "s3", ("Orr", "Fiona", "2006-03-04", "FK9 9AB"))
    add(vault, "social_work", "w1", ("Smith", None, "2004-01-31", None), scn="040001239")
    add(vault, "social_work", "w2", ("Craig", "Isla", "2005-02-03", "FK7 7AB"))
    add(vault, "social_work", "w3", ("Orr", "Fionna", "2006-03-04", "FK9 9AB"))
    links = found(link_engagements(vault, KEYS, ["t1-a"]))
    for record, pupil, pass_no, band in (
        ("w1", "s1", 2, "exact"), ("w2", "s2", 3, "exact"), ("w3", "s3", 9, "auto"),
    ):  # fmt: skip
        link = links["social_work", record]
        assert link["project_id"] == links["sample", pupil]["project_id"]
        assert (link["pass_no"], link["weight_band"]) == (pass_no, band)
        assert (link["weight"] is None) == (band == "exact")


def test_a_link_to_a_pupil_who_opted_out_is_dropped_and_goes_to_nobody_else(vault):
    add(vault, "sample", "s1", ANNE)
    add(vault, "sample", "s2", TWIN)
    add(vault, "social_work", "w1", MISSPELT)
    assert ("social_work", "w1") in found(link_engagements(vault, KEYS, ["t1-a"]))
    vault.execute(
        "insert into opt_outs (engagement, uid, scope, received_on) "
        "values ('t1-a', 'U-s1', 'linkage', '2015-09-01')"
    )
    rows = link_engagements(vault, KEYS, ["t1-a"])
    assert ("social_work", "w1") not in found(rows)
    assert rates(rows)["linked_n"] == rates(rows)["probabilistic_n"] == 0
    assert rates(rows)["records_n"] == 1
    assert vault.execute("select count(*) from read_through").fetchall() == [(0,)]


def test_a_pair_for_the_clerk_is_counted_and_brings_no_project_id(vault):
    add(vault, "sample", "s1", ANNE)
    add(vault, "social_work", "w1", ("Moray", None, "2004-01-31", "FK10 1AA"))
    rows = link_engagements(vault, KEYS, ["t1-a"])
    assert ("social_work", "w1") not in found(rows)
    assert rates(rows)["clerical_n"] == 1
    assert rates(rows)["linked_n"] == 0


def test_a_record_without_payload_leaves_its_pupil_to_another(vault):
    add(vault, "sample", "s1", ANNE, scn="040001239")
    add(vault, "social_work", "w1", ANNE, scn="040001239")
    add(vault, "social_work", "w2", ANNE)
    accepted = pa.table({"dataset": ["social_work"], "record_id": ["w2"]})
    rows = link_engagements(vault, KEYS, ["t1-a"], accepted=accepted)
    links = found(rows)
    assert ("social_work", "w1") not in links
    assert ("social_work", "w2") in links
    assert rates(rows)["records_n"] == 1


def test_another_engagement_changes_nothing_in_this_one(vault):
    for engagement in ("t1-a", "t2-b"):
        add(vault, "sample", f"s-{engagement}", ANNE, engagement=engagement)
        add(vault, "social_work", f"w-{engagement}", MISSPELT, engagement=engagement)
    together = link_engagements(vault, KEYS, ["t1-a", "t2-b"]).project_ids.to_pylist()
    alone = link_engagements(vault, KEYS, ["t1-a"]).project_ids.to_pylist()
    assert [row for row in together if row["engagement"] == "t1-a"] == alone


def test_the_read_through_names_the_social_work_index_and_the_band(vault):
    add(vault, "sample", "s1", ANNE, scn="040001239")
    add(vault, "education", "e1", ANNE, scn="040001239")
    add(vault, "social_work", "w1", MISSPELT)
    link_engagements(vault, KEYS, ["t1-a"])
    row = vault.execute("select * from read_through").to_arrow_table().to_pylist()
    assert len(row) == 1
    assert row[0]["index_social_work"] and row[0]["index_education"] and not row[0]["index_survey"]
    assert row[0]["match_method"] == "social_work+scn"
    assert row[0]["weight_band"] == "auto"


def test_tables_of_an_older_installation_get_the_newer_columns(vault):
    vault.execute("create table read_through (engagement varchar, project_id varchar)")
    warehouse = duckdb.connect()
    warehouse.execute("create schema linkage")
    warehouse.execute(
        "create table linkage.project_ids as select 'sample' as dataset, 't2-b' as engagement, "
        "'r' as record_id, 'p' as project_id, 0::tinyint as pass_no, 'exact' as weight_band"
    )
    add(vault, "sample", "s1", ANNE)
    add(vault, "social_work", "w1", MISSPELT)
    write_linkage(warehouse, link_engagements(vault, KEYS, ["t1-a"]), ["t1-a"])
    weights = warehouse.execute(
        "select count(*), count(weight) from linkage.project_ids where record_id in ('r', 'w1')"
    ).fetchall()
    assert weights == [(2, 1)]
    assert vault.execute("select count(index_social_work) from read_through").fetchall() == [(1,)]


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    con.execute("create schema intake")
    for survey in ("primary", "secondary"):
        con.execute(f"create table intake.{survey}_survey (engagement varchar, record_id varchar)")
    con.execute("""
        create table intake.education (
            engagement varchar, record_id varchar, stage varchar, datazone varchar,
            looked_after boolean, ethnic_background varchar, seed_code varchar, asn_types varchar,
            asn_needs varchar
        )
    """)
    con.execute("create table intake.simd (vintage varchar, datazone varchar, quintile integer)")
    con.execute("""
        create table intake.social_work as
        select
            't1-a' as engagement,
            'w' || i as record_id,
            if(i < 12, 'currently_away', if(i < 15, 'previously', 'never')) as looked_after_status,
            i % 2 = 0 as open_case,
            i = 0 as child_protection_12m
        from range(40) as t(i)
    """)
    yield con
    con.close()


def test_rates_by_group_have_ten_records_or_more_and_true_counts(vault, warehouse):
    for number in range(40):
        who = ("Mor" + chr(65 + number % 20), "Anne", f"2004-01-{1 + number % 28:02}", "FK10 1AA")
        if number < 30:
            add(vault, "sample", f"s{number}", who, scn=f"0400012{number:02}")
        add(vault, "social_work", f"w{number}", who, scn=f"0400012{number:02}")
    rows = link_engagements(vault, KEYS, ["t1-a"])
    write_linkage(warehouse, rows, ["t1-a"])
    written = write_link_rates_by_group(warehouse, rows, ["t1-a"], load_link_rules())
    table = warehouse.execute(
        'select breakdown, "group", records_n, linked_n, linked_pct, ci_low, ci_high '
        "from linkage.link_rates_by_group where dataset = 'social_work'"
    ).fetchall()
    assert len(table) == written
    counts = {(row[0], row[1]): row[2:4] for row in table}
    assert counts["total", "all"] == (40, 30)
    assert counts["looked_after_status", "currently_away"] == (12, 12)
    assert counts["looked_after_status", "never"] == (25, 15)
    assert counts["has_scn", "Y"] == (40, 30)
    # Three records of one status and one child on the register are too few to stand alone.
    assert ("looked_after_status", "previously") not in counts
    assert ("child_protection_12m", "Y") not in counts
    assert min(n for n, _ in counts.values()) >= 10
    for _, _, records_n, linked_n, pct, low, high in table:
        assert pct == pytest.approx(100 * linked_n / records_n, abs=1e-3)
        assert 0 <= low <= pct <= high <= 100


def test_a_rerun_replaces_its_own_rates_alone(vault, warehouse):
    rows = link_engagements(vault, KEYS, ["t1-a"])
    write_linkage(warehouse, rows, ["t1-a"])
    rules = load_link_rules()
    write_link_rates_by_group(warehouse, rows, ["t1-a"], rules)
    kept = "select * from linkage.link_rates_by_group order by all"
    before = warehouse.execute(kept).fetchall()
    assert before
    none = replace(rows, identified_groups=rows.identified_groups.slice(0, 0))
    write_link_rates_by_group(warehouse, none, ["t2-b"], rules)
    write_link_rates_by_group(warehouse, rows, ["t1-a"], rules)
    assert warehouse.execute(kept).fetchall() == before
