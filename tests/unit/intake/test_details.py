"""Details that follow a council's extract: attendance, exclusions, CfE levels, histories of care.

Belongs here: their rules, and that they follow the identifiers of their extract. Does not
belong here: the extract itself (`test_take.py`).
"""

from __future__ import annotations

from datetime import date

import pytest

from rcs_assets.intake.receipts import Receipt, ReceiptStatus
from tests.unit.intake.conftest import ENGAGEMENT, World, education_ids, write_csv

Row = dict[str, str]
YEAR = {"school_year": "2014-15"}


def attendance(own: str, **changes: str) -> Row:
    classes = {"attended_n": "350", "authorised_n": "20", "unauthorised_n": "8", "excluded_n": "2"}
    return {"record_id": own, **YEAR, "possible_n": "380", **classes, **changes}


def exclusion(own: str, number: int, **changes: str) -> Row:
    days = {"started_on": "2015-01-12", "ended_on": "2015-01-13", "half_days_n": "3"}
    return {"record_id": own, "case_no": str(number), "kind": "temporary", **days, **changes}


def level(own: str, organiser: str, **changes: str) -> Row:
    return {"record_id": own, **YEAR, "stage": "P7", "organiser": organiser, "level": "second"} | (
        changes
    )


def event(own: str, number: int, kind: str, **changes: str) -> Row:
    blank = dict.fromkeys(
        (
            "conference_type", "is_registered", "is_deregistered", "is_previously_registered",
            "last_deregistered_on", "originating_la_code", "receiving_la_code",
            "has_sexual_exploitation", "has_trafficking", "has_forced_labour",
        ),
        "",
    )  # fmt: skip
    row = {"record_id": own, "event_no": str(number), "event": kind, "event_on": "2015-02-03"}
    return row | blank | changes


def care(own: str, number: int, what: str, first: str, last: str = "", **changes: str) -> Row:
    blank = dict.fromkeys(("placement", "legal_reason", "destination"), "")
    row = {"record_id": own, "row_no": str(number), "episode_no": "1", "what": what}
    return row | {"started_on": first, "ended_on": last} | blank | changes


def deliver(world: World, name: str, rows: list[Row]) -> None:
    world.deliver(write_csv(world.folder / f"{ENGAGEMENT}_{name}.csv", rows))


def take(world: World) -> dict[str, Receipt]:
    world.take("sample_file")
    receipts = (*world.take_education(), *world.take_social_work())
    return {receipt.dataset: receipt for receipt in receipts}


def test_nothing_is_awaited_that_is_optional(delivered: World) -> None:
    receipts = take(delivered)
    assert set(receipts) == {
        "education_ids",
        "education_payload",
        "social_work_ids",
        "social_work_payload",
    }
    assert delivered.rows("select count(*) from intake.attendance") == [(0,)]


def test_classes_of_attendance_sum_to_the_openings(delivered: World) -> None:
    rows = [
        attendance("sup-canary-1"),
        attendance("sup-2", possible_n="381"),
        attendance("sup-3", attended_n="-1"),
        attendance("sup-4"),
        attendance("sup-4"),
        attendance("sup-nobody"),
    ]
    deliver(delivered, "attendance", rows)
    receipt = take(delivered)["attendance"]
    assert dict(receipt.reasons) == {
        "duplicate_record_id": 1,
        "halves_off_possible": 1,
        "identifiers_not_accepted": 1,
        "out_of_range": 1,
    }
    assert (receipt.received_n, receipt.accepted_n) == (6, 2)
    same = "select count(*) from intake.attendance inner join intake.education using (record_id)"
    assert delivered.rows(same) == [(2,)]


def test_a_pupil_may_have_several_cases_and_levels(delivered: World) -> None:
    cases = [exclusion("sup-2", 1), exclusion("sup-2", 2, ended_on="2015-01-11")]
    removed = {"kind": "removed_from_register", "ended_on": "", "half_days_n": ""}
    deliver(delivered, "exclusions", [*cases, exclusion("sup-3", 1, **removed)])
    levels = [level("sup-2", o) for o in ("reading", "writing", "numeracy")]
    levels += [level("sup-3", "reading", level="Second Level"), level("sup-3", "maths")]
    levels += [level("sup-4", "reading", stage="P6")]
    deliver(delivered, "cfe-levels", levels)
    receipts = take(delivered)
    assert dict(receipts["exclusions"].reasons) == {"ended_before_started": 1}
    assert dict(receipts["cfe_levels"].reasons) == {"value_not_allowed": 3}
    kept = delivered.rows("select kind, ended_on from intake.exclusions order by all")
    assert kept == [("removed_from_register", None), ("temporary", date(2015, 1, 13))]
    pupils = delivered.rows("select count(*), count(distinct record_id) from intake.cfe_levels")
    assert pupils == [(3, 1)]


def test_child_protection_reads_the_mark_of_the_national_return(delivered: World) -> None:
    conference = {"conference_type": "initial", "is_registered": "Y"}
    missing = {**conference, "last_deregistered_on": "1900-01-02", "originating_la_code": "900"}
    rows = [
        event("sw-canary-1", 1, "investigation"),
        event("sw-canary-1", 2, "conference", **missing),
        event("sw-2", 1, "conference", conference_type="case discussion"),
        event("sw-3", 1, "transfer", receiving_la_code="Fife"),
    ]
    deliver(delivered, "child-protection", rows)
    receipt = take(delivered)["child_protection"]
    assert dict(receipt.reasons) == {"value_not_allowed": 1, "wrong_type": 1}
    kept = "select event, is_registered, last_deregistered_on, originating_la_code"
    assert delivered.rows(f"{kept} from intake.child_protection order by event_no") == [
        ("investigation", None, None, None),
        ("conference", True, None, "900"),
    ]


def test_contradictions_of_child_protection_are_noted_and_no_row_is_lost(delivered: World) -> None:
    first = {"conference_type": "initial", "is_registered": "Y", "is_previously_registered": "N"}
    left = {"conference_type": "review", "is_deregistered": "Y", "event_on": "2014-06-02"}
    rows = [
        event("sw-canary-1", 1, "investigation", event_on="2015-01-20"),
        event("sw-canary-1", 2, "conference", **first),
        event("sw-2", 1, "conference", **first),
        event("sw-3", 1, "investigation", event_on="2014-01-06"),
        event("sw-3", 2, "conference", **left),
        event("sw-3", 3, "conference", **first),
        event("sw-3", 4, "investigation", event_on="2013-01-06"),
    ]
    deliver(delivered, "child-protection", rows)
    receipt = take(delivered)["child_protection"]
    assert (receipt.accepted_n, receipt.quarantined_n) == (7, 0)
    assert {flag: n for flag, n in receipt.flags.items() if n} == {
        "conference_without_investigation": 1,
        "events_out_of_order": 1,
        "registered_before_but_not_said": 1,
    }


def test_episodes_placements_and_legal_reasons_of_looked_after_children(delivered: World) -> None:
    placed = {"placement": "kinship_carers"}
    rows = [
        care("sw-canary-1", 1, "episode", "2013-05-06"),
        care("sw-canary-1", 2, "legal_reason", "2013-05-06", legal_reason="cso_away_from_home"),
        care("sw-canary-1", 3, "placement", "2013-05-06", "2014-05-06", **placed),
        care("sw-canary-1", 4, "placement", "2014-03-06", placement="foster_provided"),
        care("sw-2", 1, "episode", "2014-05-06", "2014-08-01", destination="12"),
        care("sw-2", 2, "placement", "2014-05-06", "2014-09-01", **placed),
        care("sw-2", 3, "legal_reason", "2014-05-06", "2013-05-06"),
        care("sw-2", 4, "legal_reason", "2014-06-06", legal_reason="accommodated_section_25"),
        care("sw-3", 1, "placement", "2014-05-06", placement="with granny"),
        # Words could name somebody: a code alone is taken.
        care("sw-3", 2, "episode", "2014-05-06", "2014-08-01", destination="with granny"),
    ]
    deliver(delivered, "looked-after", rows)
    receipt = take(delivered)["looked_after"]
    assert dict(receipt.reasons) == {
        "ended_before_started": 1,
        "value_not_allowed": 1,
        "wrong_type": 1,
    }
    assert (receipt.received_n, receipt.accepted_n) == (10, 7)
    # What lasts still is outside of an episode that ended.
    noted = {"outside_its_episode": 2, "two_placements_at_once": 1}
    assert {flag: receipt.flags[flag] for flag in noted} == noted
    same = (
        "select count(*) from intake.looked_after inner join intake.social_work using (record_id)"
    )
    assert delivered.rows(same) == [(7,)]


@pytest.mark.parametrize("scope", ["linkage", "all"])
def test_details_of_a_child_who_opted_out_are_withdrawn(delivered: World, scope: str) -> None:
    uid = education_ids()[1]["survey_uid"]
    out = {"survey_uid": uid, "scope": scope, "received_on": "2015-08-01"}
    delivered.deliver(write_csv(delivered.path("opt_outs"), [out]))
    deliver(delivered, "attendance", [attendance("sup-2"), attendance("sup-4")])
    deliver(delivered, "child-protection", [event("sw-2", 1, "investigation")])
    deliver(delivered, "looked-after", [care("sw-2", 1, "episode", "2014-05-06")])
    delivered.take("opt_outs")
    receipts = take(delivered)
    found = receipts["attendance"]
    assert (found.accepted_n, found.withdrawn_n, found.quarantined_n) == (1, 1, 0)
    assert receipts["child_protection"].withdrawn_n == 1
    assert receipts["looked_after"].withdrawn_n == 1
    assert delivered.rows("select count(*) from intake.child_protection") == [(0,)]


def test_details_with_an_identifier_are_refused_and_leave_nothing(delivered: World) -> None:
    deliver(delivered, "attendance", [attendance("sup-2")])
    assert take(delivered)["attendance"].accepted_n == 1
    deliver(delivered, "attendance", [{**attendance("sup-2"), "scn": "123456785"}])
    receipt = take(delivered)["attendance"]
    assert receipt.status == ReceiptStatus.REJECTED
    assert "not in the contract: scn" in receipt.reason
    assert delivered.rows("select count(*) from intake.attendance") == [(0,)]
