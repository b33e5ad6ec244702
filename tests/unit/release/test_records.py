"""The one wrapper around Dagster's check storage, on a real instance."""

import dagster as dg
import pytest

from rcs_assets.release.assets import check_records, refusal
from rcs_assets.release.gate import CheckStatus, Decision, RequiredCheck
from rcs_assets.runs import first_error

KEY = dg.AssetKey(["room", "thing"])
REQUIRED = [RequiredCheck("all", "room/thing", "holds", "test")]


def graph(passed=True, severity=dg.AssetCheckSeverity.ERROR):
    @dg.asset(key=KEY)
    def thing():
        return None

    @dg.asset_check(asset=KEY, name="holds")
    def holds():
        return dg.AssetCheckResult(
            passed=passed, severity=severity, metadata={"expected": "none", "observed": 3}
        )

    return thing, holds


@pytest.fixture
def instance():
    with dg.instance_for_test() as found:
        yield found


def record(instance):
    (found,) = check_records(instance, REQUIRED)
    return found


def test_never_run(instance):
    found = record(instance)
    assert found.status == CheckStatus.NEVER_RUN and found.latest_id is None


def test_passed_on_the_latest_materialisation(instance):
    dg.materialize([*graph()], instance=instance)
    found = record(instance)
    assert found.status == CheckStatus.PASSED and found.evaluated_id == found.latest_id
    assert (found.expected, found.observed) == ("none", "3")


def test_failed_and_warned(instance):
    dg.materialize([*graph(passed=False)], instance=instance)
    assert record(instance).status == CheckStatus.FAILED
    dg.materialize([*graph(passed=False, severity=dg.AssetCheckSeverity.WARN)], instance=instance)
    assert record(instance).status == CheckStatus.WARNED


def test_stale_after_another_materialisation(instance):
    thing, holds = graph()
    dg.materialize([thing, holds], instance=instance)
    dg.materialize([thing], instance=instance)
    found = record(instance)
    assert found.status == CheckStatus.PASSED and found.evaluated_id < found.latest_id
    dg.materialize(
        [thing, holds], instance=instance, selection=dg.AssetSelection.checks_for_assets(KEY)
    )
    assert record(instance).evaluated_id == record(instance).latest_id


def test_a_check_that_crashed_has_not_finished(instance):
    thing, _ = graph()

    @dg.asset_check(asset=KEY, name="holds")
    def holds():
        raise ValueError("no")

    dg.materialize([thing, holds], instance=instance, raise_on_error=False)
    assert record(instance).status == CheckStatus.NOT_FINISHED


def test_a_check_beside_its_asset_in_one_step(instance):
    @dg.asset(key=KEY, check_specs=[dg.AssetCheckSpec("holds", asset=KEY)])
    def thing():
        yield dg.MaterializeResult()
        yield dg.AssetCheckResult(passed=True, check_name="holds")

    for _ in range(2):
        dg.materialize([thing], instance=instance)
        assert record(instance).evaluated_id == record(instance).latest_id


def test_of_a_partitioned_asset_the_newest_run_counts(instance):
    parts = dg.StaticPartitionsDefinition(["a", "b"])

    @dg.asset(key=KEY, partitions_def=parts)
    def thing():
        return None

    @dg.asset_check(asset=KEY, name="holds")
    def holds():
        return dg.AssetCheckResult(passed=True)

    for part in ("a", "b"):
        dg.materialize([thing, holds], instance=instance, partition_key=part)
        assert record(instance).evaluated_id == record(instance).latest_id
    dg.materialize([thing], instance=instance, partition_key="a")
    assert record(instance).evaluated_id < record(instance).latest_id


def reported_check(passed=True):
    return dg.AssetCheckEvaluation(
        asset_key=KEY, check_name="holds", passed=passed, metadata={"observed": "reported"}
    )


def test_a_check_that_was_reported_from_outside_has_never_run(instance):
    """The UI's port takes events without a run from whoever reaches it."""
    dg.materialize([*graph(passed=False)], instance=instance)
    instance.report_runless_asset_event(reported_check())
    assert record(instance).status == CheckStatus.NEVER_RUN
    dg.materialize([*graph()], instance=instance)
    assert record(instance).status == CheckStatus.PASSED


def test_a_materialisation_that_was_reported_from_outside_is_none(instance):
    dg.materialize([*graph()], instance=instance)
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
    instance.report_runless_asset_event(reported_check())
    found = record(instance)
    assert (found.status, found.latest_id) == (CheckStatus.NEVER_RUN, None)
    dg.materialize([*graph()], instance=instance)
    assert record(instance).evaluated_id == record(instance).latest_id


def test_a_refusal_lists_its_reasons_where_the_ui_shows_them(instance):
    decision = Decision(tuple(f"check {n} failed" for n in range(1, 13)), ("it has 0",))

    @dg.asset(key=KEY)
    def thing():
        raise refusal(decision)

    result = dg.materialize([thing], instance=instance, raise_on_error=False)
    (failed,) = result.get_step_failure_events()
    told = {
        name: str(value.value)
        for name, value in failed.step_failure_data.user_failure_data.metadata.items()
    }
    assert (told["state"], told["reason_1"], told["reason_10"]) == (
        "candidate", "check 1 failed", "check 10 failed",
    )  # fmt: skip
    assert "reason_11" not in told and told["more"].startswith("3 reasons; run: rcs release show")
    assert told["what_to_do"].endswith("rcs materialise --publish")
    # The command line tells all of them in one line.
    said = first_error(result)
    assert said.startswith("The gate refused to publish. ") and "it has 0" in said
    assert "check 12 failed" in said
    signed = refusal(Decision((), ("it has 0",)))
    assert "rcs release approve" in signed.metadata["what_to_do"].value
