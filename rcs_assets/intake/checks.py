"""Checks of intake: the ledger, what is missing or rejected, what must not be in the warehouse.

Belongs here: rules in Python that judge the tables of schema `intake` as they are, and
the expectations of the boundary intake. Does not belong here: the profile queries
(`profile.py`), limits (`data_quality`), taking files in (`take.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from data_quality import intake_suite, load_thresholds
from rcs_assets.codebook import Codebook
from rcs_assets.intake import tombstones, vault
from rcs_assets.intake.mixed import RULE as UIDS_OF_OTHER
from rcs_assets.intake.profile import intake_profiles
from rcs_assets.programme import approval_problems
from rcs_assets.programme.tracking import load_tracking, readiness_problems
from rcs_assets.storage import home_path, open_vault
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks
from rcs_assets.storage.counts import public_count
from rcs_assets.storage.guard import identifier_columns

if TYPE_CHECKING:
    import pandas as pd

RECEIPTS = ("intake", "receipts")
# Rows of a warehouse table that stand for the accepted rows of a dataset.
_LEDGER = """
with held as (
    select engagement, 'sample_file' as dataset, count(*) as n from intake.sample group by all
    union all
    select engagement, 'primary_survey', count(*) from intake.primary_survey group by all
    union all
    select engagement, 'secondary_survey', count(*) from intake.secondary_survey group by all
    union all
    select engagement, 'parent_survey', count(*) from intake.parent_survey group by all
    union all
    select engagement, 'education_payload', count(*) from intake.education group by all
    union all
    select engagement, 'social_work_payload', count(*) from intake.social_work group by all
    union all
    select engagement, 'attendance', count(*) from intake.attendance group by all
    union all
    select engagement, 'exclusions', count(*) from intake.exclusions group by all
    union all
    select engagement, 'cfe_levels', count(*) from intake.cfe_levels group by all
    union all
    select engagement, 'child_protection', count(*) from intake.child_protection group by all
    union all
    select engagement, 'looked_after', count(*) from intake.looked_after group by all
    union all
    select engagement, 'clusters', count(*) from intake.clusters group by all
    union all
    select engagement, 'service_map', count(*) from intake.service_map group by all
    union all
    select engagement, 'budgets', count(*) from intake.budgets group by all
),
aside as (
    select engagement, dataset, count(distinct row_number) as n
    from intake.quarantine
    group by all
)
select distinct coalesce(receipts.engagement, 'reference') || ' ' || receipts.dataset
from intake.receipts as receipts
left join held
    on receipts.engagement = held.engagement and receipts.dataset = held.dataset
left join aside
    on
        receipts.engagement is not distinct from aside.engagement
        and receipts.dataset = aside.dataset
where
    receipts.received_n <> receipts.accepted_n + receipts.quarantined_n + receipts.withdrawn_n
    or receipts.quarantined_n <> coalesce(aside.n, 0)
    or (
        receipts.dataset in (
            'sample_file', 'primary_survey', 'secondary_survey', 'parent_survey',
            'education_payload', 'social_work_payload', 'attendance', 'exclusions', 'cfe_levels',
            'child_protection', 'looked_after', 'clusters', 'service_map', 'budgets'
        )
        and receipts.accepted_n <> coalesce(held.n, 0)
    )
order by all
"""


def receipts_add_up(bench: Bench) -> Verdict:
    """Received = accepted + quarantined + withdrawn, counted again from the tables."""
    wrong = [row[0] for row in bench.con.execute(_LEDGER).fetchall()]
    deliveries = bench.con.execute("select count(*) from intake.receipts").fetchall()[0][0]
    if not deliveries:
        return Verdict(False, "there is no receipt")
    return Verdict(not wrong, places(wrong, f"{deliveries} receipts"))


def required_deliveries_are_there(bench: Bench) -> Verdict:
    """Each engagement with a delivery has an accepted receipt of every required dataset."""
    rows = bench.con.execute(
        "select coalesce(engagement, ''), dataset, status from intake.receipts"
    ).fetchall()
    accepted = {
        (engagement, dataset) for engagement, dataset, status in rows if status == "accepted"
    }
    engagements = sorted({engagement for engagement, _, _ in rows} - {""} - bench.left_out)
    wanted = {("", name) for name in _required(bench.codebook, "reference")}
    for key in engagements:
        held = {wave.survey for wave in bench.programme.engagements[key].waves}
        for name in _required(bench.codebook, "engagement"):
            survey = bench.codebook.datasets[name].survey
            if not survey or survey in held:
                wanted.add((key, name))
        if "parent" in held:
            wanted.add((key, "parent_survey"))
    missing = [f"{key or 'reference'} {name}" for key, name in sorted(wanted - accepted)]
    if not engagements:
        return Verdict(False, "no engagement has a delivery")
    return Verdict(not missing, places(missing, f"{len(wanted)} required deliveries"))


def _required(codebook: Codebook, level: str) -> list[str]:
    return [d.name for d in codebook.datasets.values() if d.level == level and d.is_required]


def no_delivery_is_rejected(bench: Bench) -> Verdict:
    """No delivery of an engagement that takes part stands rejected, required or not."""
    rows = bench.con.execute(
        "select coalesce(engagement, 'reference'), dataset from intake.receipts "
        "where status = 'rejected' order by all"
    ).fetchall()
    rejected = [f"{key} {dataset}" for key, dataset in rows if key not in bench.left_out]
    return Verdict(not rejected, places(rejected, "all deliveries"))


def no_uids_wait(bench: Bench) -> Verdict:
    """No UIDs that seem to stand under another school wait for an operator's decision."""
    rows = bench.con.execute(
        "select engagement, count(*) from intake.quarantine where rule = ? group by all "
        "order by all",
        [UIDS_OF_OTHER],
    ).fetchall()
    waiting = [f"{key} {public_count(n)} UIDs" for key, n in rows if key not in bench.left_out]
    return Verdict(not waiting, places(waiting, "all sample files"))


def surveys_follow_readiness(bench: Bench) -> Verdict:
    """No survey of an engagement that delivered began before its CPP was assessed as ready."""
    register = load_tracking(bench.home.config)
    keys = _delivered(bench)
    found = [
        f"{key}: {problem}"
        for key in keys
        for problem in readiness_problems(
            bench.programme,
            register,
            key,
            bench.as_of,
            placeholders_allowed=bench.home.profile == "demo",
        )
    ]
    return Verdict(not found, places(found, f"{len(keys)} engagements"))


def approvals_hold(bench: Bench) -> Verdict:
    """Every engagement that delivered may be taken in and linked on the day of the run."""
    keys, day = _delivered(bench), bench.home.permission_day(bench.as_of)
    found = [
        f"{key}: {problem}"
        for key in keys
        for problem in approval_problems(
            bench.programme, key, day, placeholders_allowed=bench.home.profile == "demo"
        )
    ]
    return Verdict(not found, places(found, f"{len(keys)} engagements"))


def _delivered(bench: Bench) -> list[str]:
    rows = bench.con.execute(
        "select distinct engagement from intake.receipts where engagement is not null order by all"
    ).fetchall()
    return [key for (key,) in rows if key not in bench.left_out]


def schools_have_one_cluster(bench: Bench) -> Verdict:
    """Every school of the sample files is in exactly one cluster that reports use."""
    rows = bench.con.execute(
        "with schools as (select distinct engagement, seed_code from intake.roll_counts), "
        "mapped as (select engagement, seed_code, count(*) filter (where is_sdc_cluster) as n "
        "from intake.clusters group by all) "
        "select engagement, count(*), count(*) filter (where coalesce(n, 0) <> 1) "
        "from schools left join mapped using (engagement, seed_code) group by all order by all"
    ).fetchall()
    wrong = [f"{key} {n} schools" for key, _, n in rows if n and key not in bench.left_out]
    return Verdict.of(wrong, sum(r[1] for r in rows), "schools")


def withdrawn_children_are_in_no_zone(bench: Bench) -> Verdict:
    """No tombstone's child stands in the vault, and the warehouse has no record that is not there.

    Record ids are asked of the vault, table by table; an identifier is compared inside it only.
    """
    keys = sorted({stone.engagement for stone in tombstones.read_tombstones(bench.home)})
    found, asked = [], 0
    with open_vault(bench.home, read_only=True, purpose="checking withdrawals") as secret:
        for key in keys:
            returned = vault.count_returned(secret, bench.home, key)
            found += [f"{key}: {public_count(returned)} rows in the vault"] if returned else []
        for table, identified in _IDENTIFIED_IN.items():
            rows = bench.con.execute(
                "select row_number() over () as row_number, engagement, record_id as asked_key "
                f"from intake.{table}"
            ).to_arrow_table()
            asked += rows.num_rows
            unknown = vault.ask_unknown_records(secret, identified, rows)
            if unknown:
                found.append(f"{table}: {public_count(len(unknown))} rows that the vault lacks")
    stones = len([stone for stone in tombstones.read_tombstones(bench.home) if stone.holds])
    return Verdict(not found, places(found, f"{public_count(stones)} opt-outs, {asked:,} rows"))


# Tables of children in the warehouse → the vault's table of their identifiers.
_IDENTIFIED_IN = {
    "sample": "sample_identifiers",
    "primary_survey": "survey_identifiers",
    "secondary_survey": "survey_identifiers",
    "education": "education_identifiers",
    "attendance": "education_identifiers",
    "exclusions": "education_identifiers",
    "cfe_levels": "education_identifiers",
    "social_work": "social_work_identifiers",
    "child_protection": "social_work_identifiers",
    "looked_after": "social_work_identifiers",
}


def no_identifier_columns(bench: Bench) -> Verdict:
    """No table or view of the warehouse has a column named like an identifier."""
    forbidden = identifier_columns(bench.codebook)
    columns = bench.con.execute(
        "select table_schema || '.' || table_name, lower(column_name) "
        "from information_schema.columns order by all"
    ).fetchall()
    found = [f"{table}.{column}" for table, column in columns if column in forbidden]
    return Verdict(not found, places(found, f"{len(columns)} columns"))


def no_identifier_values(bench: Bench) -> Verdict:
    """No text column of a pupil's table holds values in the form of a UID, SCN or postcode."""
    found = []
    tables = bench.con.execute(
        "select table_schema, table_name, list(column_name order by column_name) "
        "from information_schema.columns "
        "where data_type = 'VARCHAR' and table_schema in ('intake', 'linkage', 'wellbeing') "
        "and table_name in (select table_name from information_schema.columns "
        "where column_name = 'record_id') "
        "group by all order by all"
    ).fetchall()
    for schema, table, columns in tables:
        tests = ", ".join(
            f"bool_or(regexp_full_match(\"{c}\", '{IDENTIFIER_FORM}'))" for c in columns
        )
        row = bench.con.execute(f"select {tests} from {schema}.{table}").fetchall()[0]
        found += [f"{schema}.{table}.{c}" for c, hit in zip(columns, row, strict=True) if hit]
    return Verdict(not found, places(found, f"text columns of {len(tables)} tables"))


# UID; SCN; a full postcode. Forms: codebook contracts and domain.md 3.5.
IDENTIFIER_FORM = r"[A-Z]{2}[0-9]{8}|[0-9]{9}|[A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2}"

PYTHON_CHECKS = (
    PythonCheck(
        RECEIPTS,
        "receipts_add_up",
        "Of every delivery, received rows = accepted + quarantined + withdrawn, as the tables hold",
        "design.md, The way of the data; rcs_assets/intake/receipts.py",
        "run: rcs materialise for the engagements named; if it stays, report a defect of intake",
        receipts_add_up,
    ),
    PythonCheck(
        RECEIPTS,
        "required_deliveries_are_there",
        "Every required delivery of every engagement that takes part was accepted",
        "codebook, datasets.yaml (required); programme, waves.csv",
        "deliver the files named (rcs deliver), or name the engagement as left out",
        required_deliveries_are_there,
    ),
    PythonCheck(
        RECEIPTS,
        "no_delivery_is_rejected",
        "No delivery stands rejected",
        "codebook, datasets.yaml",
        "run: rcs status, which says what is wrong; then deliver a corrected file",
        no_delivery_is_rejected,
    ),
    PythonCheck(
        ("intake", "sample"),
        "no_uids_wait",
        "No UIDs that seem to be another school's wait for a decision",
        "domain.md 1.1 (known ID defect) and 12; intake/data/schools.yaml",
        "run: rcs uids list, ask both schools, then: rcs uids decide, rcs materialise",
        no_uids_wait,
    ),
    PythonCheck(
        RECEIPTS,
        "approvals_hold",
        "Every engagement that delivered has the approvals for intake and linkage",
        "policy.md, Protection by design; programme, privacy.csv",
        "renew the row in config/privacy.csv, or name the engagement as left out",
        approvals_hold,
    ),
    PythonCheck(
        RECEIPTS,
        "surveys_follow_readiness",
        "No survey of an engagement that delivered began before its CPP was assessed as ready",
        "domain.md 10.2; programme, readiness.csv",
        "enter the assessment in config/readiness.csv, or name the engagement as left out",
        surveys_follow_readiness,
    ),
    PythonCheck(
        ("intake", "clusters"),
        "schools_have_one_cluster",
        "Every school of the sample files is in exactly one cluster that reports use",
        "policy.md, Clusters",
        "ask the council for a cluster map of all its schools, deliver it, run: rcs materialise",
        schools_have_one_cluster,
    ),
    PythonCheck(
        RECEIPTS,
        "withdrawn_children_are_in_no_zone",
        "No child whose opt-out holds stands in a table that it closes, in vault or warehouse",
        "policy.md, Protection by design; drop/tombstones.jsonl",
        "run: rcs materialise for the engagements named; if it stays, delete warehouse.duckdb and "
        "vault.duckdb and run it again: both are rebuilt from the drop without these children",
        withdrawn_children_are_in_no_zone,
    ),
    PythonCheck(
        RECEIPTS,
        "no_identifier_columns",
        "No table of the warehouse has a column for a name, birth date, postcode, SCN, UID or "
        "supplier's id",
        "design.md, Zones; codebook, datasets.yaml (sensitivity)",
        "stop; delete warehouse.duckdb, correct the table's definition, run: rcs materialise",
        no_identifier_columns,
    ),
    PythonCheck(
        RECEIPTS,
        "no_identifier_values",
        "No text column of a pupils' table holds a UID, an SCN or a postcode",
        "design.md, Zones",
        "stop; delete warehouse.duckdb, correct the table's definition, run: rcs materialise",
        no_identifier_values,
    ),
)


def profiles(bench: Bench) -> Mapping[str, pd.DataFrame]:
    """The frames of the boundary intake."""
    return intake_profiles(bench.con, bench.codebook)


SUITE = intake_suite(load_thresholds(home_path() / "config"))

intake_checks = room_checks(
    "intake_checks",
    PYTHON_CHECKS,
    SUITE,
    profiles,
    assets=tuple(dict.fromkeys(e.asset for e in SUITE.expectations)),
)
