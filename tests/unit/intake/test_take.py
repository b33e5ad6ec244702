"""Deliveries taken in: zones, opt-outs, what is missing or rejected, and where values end."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from datetime import date

import pytest

from rcs_assets.errors import StorageError
from rcs_assets.intake.receipts import (
    Receipt,
    ReceiptStatus,
    incomplete_engagements,
    read_receipts,
)
from rcs_assets.intake.take import check_ledger, take, take_education, take_social_work
from rcs_assets.programme import Approval, Programme
from rcs_assets.storage.keyring import rotate_keys
from tests.unit.intake.conftest import (
    CANARIES,
    ENGAGEMENT,
    SECONDARY,
    World,
    budgets,
    clusters,
    education_ids,
    education_payload,
    pupils,
    services,
    social_work_ids,
    social_work_payload,
    survey_frame,
    write_csv,
    write_sav,
    write_sheet,
    write_xlsx,
)

PARTNERSHIP = ("clusters", "service_map", "budgets")
IN_ORDER = ("sample_file", "primary_survey", "secondary_survey", "parent_survey", *PARTNERSHIP)


def take_all(world: World) -> dict[str, Receipt]:
    """Every dataset of the engagement on one desk, opt-outs first."""
    with world.desk() as desk:
        found = [take(desk, name, ENGAGEMENT) for name in ("opt_outs", *IN_ORDER)]
        found += [*take_education(desk, ENGAGEMENT), *take_social_work(desk, ENGAGEMENT)]
    return {receipt.dataset: receipt for receipt in found if receipt is not None}


def incomplete(world: World) -> Mapping[str, tuple[str, ...]]:
    return incomplete_engagements(world.home, world.programme, world.codebook)


def opt_out(world: World, **scopes: str) -> None:
    """Deliver opt-outs by pupil, `p2="all"`."""
    rows = [
        {"survey_uid": f"CA{int(who[1:]):08d}", "scope": scope, "received_on": "2015-09-01"}
        for who, scope in scopes.items()
    ]
    world.deliver(write_csv(world.path("opt_outs"), rows))


def sample_with(world: World, number: int, **changes: str) -> None:
    rows = pupils()
    rows[number - 1] |= changes
    world.deliver(write_csv(world.path("sample_file"), rows))


def test_every_dataset_goes_where_it_belongs(delivered: World) -> None:
    world = delivered
    receipts = take_all(world)
    assert {name: (r.received_n, r.accepted_n) for name, r in receipts.items()} == {
        "sample_file": (6, 6),
        "primary_survey": (3, 3),
        "secondary_survey": (3, 3),
        "parent_survey": (2, 2),
        "service_map": (2, 2),
        "clusters": (2, 2),
        "budgets": (2, 2),
        "education_ids": (6, 6),
        "education_payload": (6, 6),
        "social_work_ids": (4, 4),
        "social_work_payload": (4, 4),
    }
    assert incomplete(world) == {}
    with world.desk() as desk:
        assert len(check_ledger(desk, ENGAGEMENT)) == 11
    # Identifiers and payload meet only by record id.
    vault = world.vault_rows("select record_id from education_identifiers order by all")
    assert vault == world.rows("select record_id from intake.education order by all")
    vault = world.vault_rows("select record_id from social_work_identifiers order by all")
    assert vault == world.rows("select record_id from intake.social_work order by all")
    assert world.rows("select sum(roll_n) from intake.roll_counts") == [(6,)]
    assert world.vault_rows(
        "select survey, count(*) from survey_identifiers group by 1 order by 1"
    ) == [
        ("primary", 3),
        ("secondary", 3),
    ]
    assert world.rows("select distinct vintage, quintile from intake.simd") == [("2016", 4)]
    assert world.rows("select distinct postcode_district from intake.school_list") == [("FK10",)]


def test_no_identifier_leaves_the_vault(delivered: World) -> None:
    """Canaries stand in drop and vault (encrypted) only, not in warehouse, receipts or tmp."""
    world = delivered
    take_all(world)
    tables = world.rows(
        "select table_schema || '.' || table_name from information_schema.tables order by 1"
    )
    warehouse = "".join(str(world.rows(f"from {table[0]}")) for table in tables)
    assert len(tables) > 10
    files = [
        p for p in world.home.path.rglob("*") if p.is_file() and world.home.drop not in p.parents
    ]
    everything = warehouse.encode() + b"".join(path.read_bytes() for path in files)
    assert [canary for canary in CANARIES if canary.encode() in everything] == []
    held = str(world.vault_rows("from sample_identifiers")) + str(
        world.vault_rows(
            "from education_identifiers union all by name from social_work_identifiers"
        )
    )
    assert [c for c in CANARIES if c not in held and c != "2009-02-28"] == []


def test_record_ids_are_keyed_and_stable(delivered: World) -> None:
    world = delivered
    query = "select record_id from intake.sample order by all"
    world.take("sample_file")
    first = world.rows(query)
    world.take("sample_file")
    assert world.rows(query) == first
    assert all(len(row[0]) == 17 and row[0].startswith("r") for row in first)
    world.take("primary_survey")
    assert not set(first) & set(world.rows("select record_id from intake.primary_survey"))


def test_opt_outs_apply_before_the_vault(delivered: World) -> None:
    """survey and all: neither answers nor education; linkage: answers but no education."""
    world = delivered
    # The third pupil stands in the council's file without UID: known by SCN alone.
    opt_out(world, p1="survey", p2="linkage", p3="all")
    receipts = take_all(world)
    withdrawn = {name: r.withdrawn_n for name, r in receipts.items() if r.withdrawn_n}
    assert withdrawn == {
        "sample_file": 2,
        "primary_survey": 2,
        "education_ids": 3,
        "education_payload": 3,
        "social_work_ids": 3,
        "social_work_payload": 3,
    }
    assert world.rows("select sum(roll_n) from intake.roll_counts") == [(6,)]
    uids = world.vault_rows("select uid from survey_identifiers where survey = 'primary'")
    assert uids == [("CA00000002",)]
    known = world.vault_rows("select supplier_id from education_identifiers order by all")
    assert [row[0] for row in known] == ["sup-4", "sup-5", "sup-6"]
    assert world.vault_rows("select supplier_id from social_work_identifiers") == [("sw-4",)]
    assert world.rows("select count(*) from intake.social_work") == [(1,)]


def test_an_opt_out_that_cannot_be_read_stops_the_engagement(delivered: World) -> None:
    world = delivered
    opt_out(world, p1="everything")
    receipts = take_all(world)
    assert "cannot be honoured" in receipts["opt_outs"].reason
    assert "row 1, column scope" in receipts["opt_outs"].reason
    about_pupils = {r.status for name, r in receipts.items() if name not in PARTNERSHIP}
    assert about_pupils == {ReceiptStatus.REJECTED}
    assert world.rows("select count(*) from intake.sample") == [(0,)]
    assert any("cannot be honoured" in reason for reason in incomplete(world)[ENGAGEMENT])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"seed_code": "5799999"}, "school_not_on_roll"),
        ({"stage": "P4"}, "out_of_scope_stage"),
    ],
)
def test_sample_rows_outside_the_programme(
    delivered: World, changes: dict[str, str], rule: str
) -> None:
    world = delivered
    sample_with(world, 2, **changes)
    receipt = world.take("sample_file")
    assert (receipt.accepted_n, receipt.quarantined_n, dict(receipt.reasons)) == (5, 1, {rule: 1})
    column = next(iter(changes))
    place = world.rows("select row_number, column_name, rule from intake.quarantine")
    assert place == [(2, column, rule)]
    assert incomplete(world).get(ENGAGEMENT, ()) != ()  # the other datasets are not taken in yet


def test_a_school_of_another_council(delivered: World) -> None:
    world = delivered
    for name in ("school_level_summary_2019.csv", "schools_open_2024-10-31.csv"):
        path = world.folder / name
        lines = path.read_text().replace(f"Clackmannanshire,{SECONDARY}", f"Fife,{SECONDARY}")
        lines = lines.replace(f"{SECONDARY},Clackmannanshire", f"{SECONDARY},Fife")
        path.write_text(lines)
    world.deliver()
    world.take_reference()
    assert dict(world.take("sample_file").reasons) == {"school_of_other_council": 3}


def test_payload_follows_its_identifiers(delivered: World) -> None:
    world = delivered
    rows = education_ids()
    rows[1]["date_of_birth"] = "unknown"
    rows[3] |= {"survey_uid": "XX00000009", "scn": "999999999"}
    world.deliver(write_csv(world.path("education_ids"), rows))
    payload = education_payload()
    payload.append({**payload[0], "record_id": "sup-nobody"})
    world.deliver(write_csv(world.path("education_payload"), payload))
    receipts = take_all(world)
    assert dict(receipts["education_ids"].reasons) == {"uid_not_issued": 1, "wrong_type": 1}
    assert dict(receipts["education_payload"].reasons) == {"identifiers_not_accepted": 3}
    assert receipts["education_payload"].accepted_n == 4


@pytest.mark.parametrize("title", ["education", "social work"])
def test_extracts_wait_for_the_sample_file(delivered: World, title: str) -> None:
    taken = delivered.take_education if title == "education" else delivered.take_social_work
    ids, payload = taken()
    assert f"The {title} extract cannot be checked" in ids.reason
    assert "sample file, which is missing or was rejected" in ids.reason
    assert f"the {title} identifiers of this engagement are missing" in payload.reason


def test_social_work_payload_is_judged_by_row(delivered: World) -> None:
    world = delivered
    rows = social_work_payload()
    rows[1]["looked_after_status"] = "respite"
    rows[2] |= {"opened_on": "2015-03-02", "closed_on": "2015-03-01"}
    rows.append({**rows[0], "record_id": "sw-nobody"})
    world.deliver(write_csv(world.path("social_work_payload"), rows))
    receipts = take_all(world)
    receipt = receipts["social_work_payload"]
    assert dict(receipt.reasons) == {
        "closed_before_opened": 1,
        "identifiers_not_accepted": 1,
        "value_not_allowed": 1,
    }
    assert (receipt.received_n, receipt.accepted_n, receipt.quarantined_n) == (5, 2, 3)
    kept = "select looked_after_status, open_case, closed_on from intake.social_work order by all"
    assert world.rows(kept) == [("currently_away", True, None), ("never", False, date(2015, 1, 31))]


@pytest.mark.parametrize(
    ("name", "extra", "held"),
    [("social_work_ids", "open_case", 0), ("social_work_payload", "surname", 4)],
)
def test_identifiers_and_payload_in_one_file_are_refused(
    delivered: World, name: str, extra: str, held: int
) -> None:
    world = delivered
    both = [a | b for a, b in zip(social_work_ids(), social_work_payload(), strict=True)]
    world.deliver(write_csv(world.path(name), both))
    receipt = take_all(world)[name]
    assert receipt.status == ReceiptStatus.REJECTED
    assert "not in the contract" in receipt.reason and extra in receipt.reason
    assert world.vault_rows("select count(*) from social_work_identifiers") == [(held,)]
    assert world.rows("select count(*) from intake.social_work") == [(0,)]


def test_every_school_has_one_cluster_or_none_is_guessed(delivered: World) -> None:
    world = delivered
    rows = clusters()
    rows[0]["seed_code"] = "5799999"
    world.deliver(write_csv(world.path("clusters"), rows))
    assert dict(world.take("clusters").reasons) == {"school_not_on_roll": 1}
    other = {"cluster_code": "C5700009", "cluster_name": "Other cluster"}
    rows = [*clusters(), {**clusters()[0], **other}]
    world.deliver(write_csv(world.path("clusters"), rows))
    assert dict(world.take("clusters").reasons) == {"not_one_sdc_cluster": 2}
    assert world.rows("select seed_code from intake.clusters") == [(SECONDARY,)]
    rows[2]["is_sdc_cluster"] = "N"
    world.deliver(write_csv(world.path("clusters"), rows))
    assert world.take("clusters").accepted_n == 3


@pytest.mark.parametrize(("tier", "accepted_n"), [(50.4, 2), (50.6, 1), (49.4, 1)])
def test_tier_shares_sum_to_100_within_half_a_point(
    delivered: World, tier: float, accepted_n: int
) -> None:
    world = delivered
    rows = services()
    rows[0]["tier_universal_pct"] = tier
    world.deliver(write_xlsx(world.path("service_map"), rows))
    receipt = world.take("service_map")
    assert receipt.accepted_n == accepted_n
    assert dict(receipt.reasons) == ({} if accepted_n == 2 else {"tiers_off_100": 1})


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"share": 1.2}, "out_of_range"),
        ({"share": 0.5}, "direct_share_is_not_1"),
        ({"method": "guess"}, "value_not_allowed"),
    ],
)
def test_budgets_outside_their_rules(
    delivered: World, changes: dict[str, object], rule: str
) -> None:
    world = delivered
    rows = budgets()
    rows[0] |= changes
    world.deliver(write_xlsx(world.path("budgets"), rows, sheet="budgets"))
    receipt = world.take("budgets")
    assert (receipt.accepted_n, dict(receipt.reasons)) == (1, {rule: 1})
    assert world.rows("select budget_id, share from intake.budgets") == [("b2", 0.25)]


def test_a_rejected_delivery_leaves_nothing_stale(delivered: World) -> None:
    world = delivered
    take_all(world)
    frame = survey_frame(world.questionnaire("primary"), ["CA00000001"])
    frame[world.questionnaire("primary").wave_name] = 2.0
    world.deliver(write_sav(world.path("primary_survey"), frame))
    receipt = world.take("primary_survey")
    assert receipt.status == ReceiptStatus.REJECTED
    assert "another tranche" in receipt.reason
    assert (receipt.received_n, receipt.quarantined_n) == (1, 1)
    assert world.rows("select count(*) from intake.primary_survey") == [(0,)]
    assert world.vault_rows("select count(*) from survey_identifiers where survey = 'primary'") == [
        (0,)
    ]
    assert world.rows("select count(*) from intake.secondary_survey") == [(3,)]
    assert incomplete(world) == {ENGAGEMENT: (receipt.reason,)}


def test_a_missing_column_rejects_the_file_and_the_rest_goes_on(delivered: World) -> None:
    world = delivered
    rows = [{k: v for k, v in row.items() if k != "attendance_pct"} for row in education_payload()]
    world.deliver(write_csv(world.path("education_payload"), rows))
    receipts = take_all(world)
    reason = receipts["education_payload"].reason
    assert "education-payload.csv" in reason and "missing: attendance_pct" in reason
    # Nothing is lost: every row of the refused file is counted, and in quarantine.
    assert receipts["education_payload"].received_n == 6
    assert dict(receipts["education_payload"].reasons) == {"file_rejected": 6}
    assert world.rows("select row_number, column_name, rule from intake.quarantine") == [
        (number, None, "file_rejected") for number in range(1, 7)
    ]
    assert receipts["education_ids"].status == ReceiptStatus.ACCEPTED
    assert incomplete(world) == {ENGAGEMENT: (reason,)}


@pytest.mark.parametrize("ending", ["csv", "xlsx", "zip"])
@pytest.mark.parametrize(
    ("name", "fault"), [("postcode", "twice: postcode"), (None, "without a name")]
)
def test_a_header_that_no_table_can_have_rejects_the_file_and_the_rest_goes_on(
    delivered: World, ending: str, name: str | None, fault: str
) -> None:
    """The last column twice, or one more without a name: both happen in Excel."""
    world = delivered
    rows: list[list[str | None]] = [[*row.values(), "x"] for row in education_ids()]
    rows.insert(0, [*education_ids()[0], name])
    path = world.path("education_ids")
    if ending == "csv":
        path.write_text("".join(",".join(cell or "" for cell in row) + "\n" for row in rows))
    else:
        path = write_sheet(path.with_suffix(".xlsx"), rows)
    if ending == "zip":
        packed = world.path("sample_file").with_name("education.zip")
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(path, path.name)
        path = packed
    world.deliver(path)
    receipts = take_all(world)
    refused = receipts["education_ids"]
    assert refused.status == ReceiptStatus.REJECTED
    assert fault in refused.reason and "education-identifiers" in refused.reason
    counts = (refused.received_n, refused.accepted_n, refused.quarantined_n, refused.withdrawn_n)
    assert counts == (6, 0, 6, 0)
    assert len(receipts) == 11
    assert receipts["social_work_payload"].accepted_n == 4


def test_a_file_refused_at_delivery_counts_as_rejected(delivered: World) -> None:
    world = delivered
    take_all(world)
    path = world.path("service_map")
    path.write_bytes(write_xlsx(path, services()).read_bytes()[:-300])
    world.deliver(path)
    assert any("truncated" in reason for reason in incomplete(world)[ENGAGEMENT])
    assert world.take("service_map").status == ReceiptStatus.REJECTED
    assert world.rows("select count(*) from intake.service_map") == [(0,)]


def test_a_missing_delivery_says_how_to_name_it(world: World) -> None:
    world.deliver(write_csv(world.path("sample_file"), pupils()))
    receipt = world.take("secondary_survey")
    assert receipt.status == ReceiptStatus.MISSING
    assert f"{ENGAGEMENT}_secondary-survey.sav" in receipt.reason
    assert receipt.reason in incomplete(world)[ENGAGEMENT]
    assert "no school roll" in world.take("sample_file").reason


def test_an_engagement_of_which_nothing_came_has_no_receipts(delivered: World) -> None:
    world = delivered
    with world.desk() as desk:
        assert take(desk, "sample_file", "t2-falkirk") is None
        assert take_education(desk, "t2-falkirk") == ()
        assert take_social_work(desk, "t2-falkirk") == ()
    assert {r.engagement for r in read_receipts(world.home)} == {None}
    assert "t2-falkirk" not in incomplete(world)


def test_not_taken_in_yet_is_incomplete(delivered: World) -> None:
    assert any("not taken in yet" in reason for reason in incomplete(delivered)[ENGAGEMENT])


def _with_approval(programme: Programme, **changes: object) -> Programme:
    approval: Approval = dataclasses.replace(programme.approvals[ENGAGEMENT], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(programme, approvals={ENGAGEMENT: approval})


def test_an_expired_approval_blocks_intake(delivered: World) -> None:
    world = delivered
    blocked = dataclasses.replace(
        world, programme=_with_approval(world.programme, expires_on=date(2019, 12, 31))
    )
    receipt = blocked.take("sample_file")
    assert receipt.status == ReceiptStatus.REJECTED
    assert "Intake is blocked" in receipt.reason and "2019-12-31" in receipt.reason
    # Without approval the file is not even read.
    assert receipt.received_n == 0
    assert world.vault_rows("select count(*) from sample_identifiers") == [(0,)]


def test_receipts_are_exact_json_without_values(delivered: World) -> None:
    world = delivered
    sample_with(world, 1, date_of_birth="28.02.2009")
    world.take("sample_file")
    path = world.home.receipts / f"{ENGAGEMENT}__sample_file.json"
    content = json.loads(path.read_text())
    assert (content["accepted_n"], content["reasons"]) == (5, {"wrong_type": 1})
    assert "28.02.2009" not in path.read_text() and "Zyxwvut" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len([r for r in read_receipts(world.home) if r.engagement == ENGAGEMENT]) == 1


def test_a_receipt_that_does_not_add_up_is_an_error() -> None:
    with pytest.raises(StorageError, match="does not add up"):
        Receipt(None, "simd", "f", "s", 3, 1, 1, 0, ReceiptStatus.ACCEPTED, "", True)


def test_the_ledger_notices_rows_that_are_gone(delivered: World) -> None:
    world = delivered
    world.take("sample_file")
    with world.desk() as desk:
        desk.warehouse.execute("delete from intake.sample where stage = 'P6'")
        with pytest.raises(StorageError, match="does not hold what its receipt says"):
            check_ledger(desk, ENGAGEMENT)


def test_a_damaged_receipt_says_what_to_do(world: World) -> None:
    (world.home.receipts / "t1-x__simd.json").write_text("{")
    with pytest.raises(StorageError, match="rcs materialise"):
        read_receipts(world.home)


def test_a_list_without_an_earlier_opt_out_is_refused(delivered: World) -> None:
    world = delivered
    first = {"survey_uid": "CA00000002", "scope": "survey", "received_on": "2015-09-01"}
    second = {**first, "survey_uid": "CA00000005"}
    path = world.path("opt_outs")
    world.deliver(write_csv(path, [first]))
    assert world.take("opt_outs").status == "accepted"
    world.deliver(write_csv(path, [second]))
    refused = world.take("opt_outs")
    assert refused.status == "rejected" and "1 opt-outs" in refused.reason
    assert "CA0000" not in refused.reason
    assert world.take("sample_file").status == "rejected"
    world.deliver(write_csv(path, [second, first]))
    assert world.take("opt_outs").accepted_n == 2
    log = (world.home.drop / "tombstones.jsonl").read_text(encoding="utf-8")
    assert len(log.splitlines()) == 2 and "CA0000" not in log
    rotate_keys(world.home, ["tombstone"])
    world.deliver(write_csv(path, [second]))
    assert "1 opt-outs" in world.take("opt_outs").reason
    world.deliver(write_csv(path, [second, first]))
    assert world.take("opt_outs").accepted_n == 2
    world.deliver(write_csv(path, [second]))
    assert "1 opt-outs" in world.take("opt_outs").reason
    hashes = (world.home.drop / "tombstones.jsonl").read_text(encoding="utf-8").splitlines()
    assert hashes[:2] == log.splitlines() and len(set(hashes)) == 4


def test_a_form_that_the_pupils_stage_is_not_given_is_set_aside(delivered: World) -> None:
    """Three pupils of S2 by the sample; one is made a pupil of S3, who has the main form alone."""
    world = delivered
    sample_with(world, 6, stage="S3")
    uids = [row["survey_uid"] for row in pupils()[3:]]
    world.survey("secondary", uids, forms=["main", "combined", "combined"])
    world.deliver(world.path("secondary_survey"))
    world.take("sample_file")
    receipt = world.take("secondary_survey")
    assert receipt.reasons == {"form_not_of_stage": 1}
    assert receipt.flags["form_main"] == 1
    assert receipt.flags["form_combined"] == 1
    assert world.rows("select form from intake.secondary_survey order by form") == [
        ("combined",),
        ("main",),
    ]
    assert world.rows(
        "select column_name, rule from intake.quarantine where dataset = 'secondary_survey'"
    ) == [("FORM", "form_not_of_stage")]
    assert world.rows(
        "select step, reason from intake.removals where dataset = 'secondary_survey'"
    ) == [(11, "form_not_of_stage")]
