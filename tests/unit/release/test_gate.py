import itertools
from dataclasses import replace

import pytest

from rcs_assets.disclosure.policy import load_policy
from rcs_assets.errors import ConfigurationError
from rcs_assets.release.gate import (
    Approval,
    CandidateFacts,
    CheckRecord,
    CheckStatus,
    RequiredCheck,
    decide,
    load_required_checks,
    parse_required_checks,
)
from rcs_assets.release.states import ReleaseState, may_follow

POLICY = load_policy()
REQUIRED = (
    RequiredCheck("all", "intake/receipts", "receipts_add_up", "nothing is lost"),
    RequiredCheck("cpp", "release/candidate", "cells_protected", "policy"),
    RequiredCheck("public", "release/candidate", "cells_protected", "policy"),
)
RECORDS = (
    CheckRecord("intake/receipts", "receipts_add_up", CheckStatus.PASSED, 5, 5, "0", "0"),
    CheckRecord("release/candidate", "cells_protected", CheckStatus.PASSED, 9, 9, "0", "0"),
)
FACTS = CandidateFacts(
    content_hash="abc",
    recorded_hash="abc",
    storage_id=9,
    upstream_ids={"intake/receipts": 5},
    output_classes=frozenset({"public", "cpp"}),
    policy_version=POLICY.version,
    candidate_hash="bytes",
    sealed_hash="bytes",
)


def ask(*, required=REQUIRED, records=RECORDS, approvals=(), profile="demo", **facts):
    return decide(
        required, records, approvals, profile, candidate=replace(FACTS, **facts), policy=POLICY
    )


def with_record(**change):
    return (replace(RECORDS[0], **change), RECORDS[1])


def test_all_proven_is_published():
    assert ask() == ask() and ask().publish and ask().reasons == ()


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (RECORDS[1:], "never run"),  # the check was deleted from the code
        (with_record(status=CheckStatus.NEVER_RUN), "never run"),
        (with_record(status=CheckStatus.FAILED, observed="7"), "observed 7"),
        (with_record(status=CheckStatus.WARNED), "warning"),
        (with_record(status=CheckStatus.NOT_FINISHED), "did not finish"),
        (with_record(evaluated_id=4), "stale"),
        (with_record(evaluated_id=None), "stale"),
        (with_record(latest_id=None, evaluated_id=None), "never materialised"),
    ],
)
def test_a_required_check_that_proves_nothing_refuses(records, words):
    decision = ask(records=records)
    assert not decision.publish and len(decision.reasons) == 1
    assert words in decision.reasons[0] and "intake/receipts" in decision.reasons[0]


def test_a_check_that_is_not_required_may_fail():
    extra = CheckRecord("intake/receipts", "other", CheckStatus.FAILED, 5, 5)
    assert ask(records=(*RECORDS, extra)).publish


def test_an_empty_list_of_required_checks_refuses():
    assert "nothing proves it" in " ".join(ask(required=()).reasons)


def test_a_class_of_packages_without_a_required_check_refuses():
    facts = {"output_classes": frozenset({"school"})}
    decision = ask(required=REQUIRED[1:], **facts)
    assert decision.reasons == ("no check is required for school: nothing proves it",)


def test_checks_of_another_class_are_not_asked_for():
    assert ask(records=RECORDS[:1], output_classes=frozenset({"safe_haven"})).publish


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"storage_id": None}, "never materialised"),
        ({"recorded_hash": "other"}, "is not what release/candidate made"),
        ({"content_hash": "", "recorded_hash": ""}, "is not what"),
        ({"upstream_ids": {"intake/receipts": 10}}, "newer than the candidate"),
        ({"upstream_ids": {"intake/receipts": None}}, "never materialised"),
        ({"downstream_ids": {"reporting/pages": None}}, "reporting/pages is not made of this"),
        ({"downstream_ids": {"reporting/pages": 8}}, "reporting/pages is not made of this"),
        ({"page_problems": ("public: report.html is missing",)}, "1 packages lack their pages"),
        ({"policy_version": "old"}, "another version of the policy"),
        ({"incomplete": {"t1-moray": ("no sample file.",)}}, "t1-moray is incomplete"),
        ({"unsigned_deliveries": ("a.sav", "b.sav")}, "2 deliveries are not signed"),
        ({"candidate_hash": "edited"}, "files of the candidate were changed"),
        ({"sealed_hash": ""}, "files of the candidate were changed"),
        ({"withdrawn_as": "2020.06.30"}, "which was withdrawn"),
        ({"release_problems": ("public/x is missing",)}, "not as it was: public/x is missing"),
        ({"notes_problem": "an erratum was recorded after"}, "erratum"),
        ({"day_problem": "the clock was set back"}, "clock"),
    ],
)
def test_a_candidate_that_is_not_proven_refuses(facts, words):
    decision = ask(**facts)
    assert not decision.publish and words in " ".join(decision.reasons)
    assert decision.state == ReleaseState.CANDIDATE


def test_what_is_missing_is_named_before_what_follows_of_it():
    decision = ask(
        incomplete={"t1-moray": ("no sample file.",)},
        upstream_ids={"intake/receipts": 10, "intake/sample": 10},
    )
    assert "t1-moray is incomplete" in decision.reasons[0]
    assert len(decision.reasons) == 3


def test_an_incomplete_engagement_that_is_named_as_left_out_passes():
    facts = {"incomplete": {"t1-moray": ("no sample file.",)}, "left_out": frozenset({"t1-moray"})}
    assert ask(**facts).publish


def test_production_refuses_without_two_approvers_of_this_candidate():
    def approved(*names, signed="bytes"):
        return ask(approvals=[Approval(n, signed) for n in names], profile="production")

    assert approved("ann", "bob").publish
    assert "needs 2 signatures" in approved().reasons[0]
    assert not approved("ann", "ann").publish
    assert not approved("ann", "bob", signed="another").publish
    assert approved("ann").state == ReleaseState.CHECKED
    assert approved("ann", "bob").state == ReleaseState.APPROVED


def test_a_signature_that_does_not_count_is_named():
    problems = ("the key of ann is revoked since 2020-01-01: lost",)
    decision = ask(profile="production", approval_problems=problems)
    assert "revoked" in decision.reasons[0] and decision.state == ReleaseState.CHECKED


def test_production_takes_deliveries_that_the_simulator_did_not_sign():
    approvals = [Approval("ann", "bytes"), Approval("bob", "bytes")]
    assert ask(approvals=approvals, profile="production", unsigned_deliveries=("a.sav",)).publish


def test_an_unknown_profile_refuses():
    assert "profile test" in ask(profile="test").reasons[0]


def test_every_reason_is_named():
    decision = ask(records=(), profile="production", storage_id=None)
    assert len(decision.reasons) == 5


def test_the_committed_list_can_be_read():
    required = load_required_checks()
    assert all(check.asset_key.count("/") == 1 for check in required)


@pytest.mark.parametrize(
    "text",
    [
        "asset,check\n",
        "output_class,asset_key,check_name,reason\nall,a/b,c,\n",
        "output_class,asset_key,check_name,reason\nnobody,a/b,c,why\n",
        "output_class,asset_key,check_name,reason\nall,a/b,c,why\nall,a/b,c,again\n",
    ],
)
def test_a_broken_list_is_refused(text):
    with pytest.raises(ConfigurationError, match="required checks"):
        parse_required_checks(text)


def test_parts_that_are_behind_what_holds_now_refuse():
    decision = ask(stale=("reference", "t2-falkirk"))
    assert not decision.publish and len(decision.reasons) == 2
    assert decision.reasons[1].startswith("t2-falkirk is not computed from")


def test_states_follow_in_one_direction():
    order = [ReleaseState(name) for name in ("candidate", "checked", "approved", "published")]
    for before, after in itertools.pairwise(order):
        assert may_follow(before, after) and not may_follow(after, before)
    assert not may_follow(ReleaseState.CANDIDATE, ReleaseState.PUBLISHED)
    assert may_follow(ReleaseState.PUBLISHED, ReleaseState.SUPERSEDED)
    assert not any(may_follow(ReleaseState.WITHDRAWN, state) for state in ReleaseState)
