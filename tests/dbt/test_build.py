"""What the dbt build makes, compared with what Python makes of the same answers."""

from __future__ import annotations

import json
import shutil

import duckdb
import pyarrow as pa
import pytest

from rcs_assets.codebook.model import RuleKind
from rcs_assets.wellbeing import score
from rcs_assets.wellbeing.dbt_build import DbtBuildError
from rcs_assets.wellbeing.scoring import project_dir


@pytest.fixture(scope="session")
def tables(built):
    """Each model as a list of rows."""
    names = {
        "linked": "linkage.linked",
        "item_answers": "wellbeing.item_answers",
        "scores": "wellbeing.scores",
        "indicator_values": "wellbeing.indicator_values",
        "parents": "wellbeing.parent_indicator_values",
    }
    with duckdb.connect(str(built.home.warehouse), read_only=True) as con:
        return {
            key: {
                row["record_id"]: row
                for row in con.execute(f"select * from {name}").to_arrow_table().to_pylist()
            }
            for key, name in names.items()
        }


def test_every_model_is_made_and_every_test_passes(built):
    assert {result.status for result in built.results} == {"success", "pass"}
    assert sum(result.unique_id.startswith("model.") for result in built.results) == 8


def test_linked_holds_every_answer_and_marks_the_unlinked(tables, engagements):
    linked = tables["linked"]
    assert len(linked) == len(engagements) * 108
    numbers = {key: int(key.rsplit("-", 1)[1]) for key in linked}
    assert all(row["is_linked"] == (numbers[key] % 20 != 5) for key, row in linked.items())
    unlinked = [row for row in linked.values() if not row["is_linked"]]
    assert unlinked
    for row in unlinked:
        assert row["project_id"] is row["stage"] is row["sex"] is row["seed_code"] is None
        assert not row["has_education"]


def test_area_and_support_come_from_the_education_record(tables):
    for key, row in tables["linked"].items():
        number = int(key.rsplit("-", 1)[1])
        if not row["is_linked"] or number % 7 == 1:
            assert row["simd_quintile"] is None
            assert not row["has_education"]
            continue
        assert row["education_pass"] == 2
        assert row["simd_quintile"] == (None if number % 6 == 5 else number % 6 + 1)
        # Type 5 (other) is a recorded need as well.
        assert row["has_asn"] == (number % 4 in (0, 1))
        assert row["has_asn_but_other"] == (number % 4 == 0)
        assert row["ethnicity_group"] == "white_scottish"
        assert row["free_school_meal"] == (number % 5 == 0)


def test_receipt_comes_from_the_social_work_record(tables):
    """Every eighth pupil has a record; of these every second was closed 18 months before."""
    linked = [row for row in tables["linked"].items() if row[1]["is_linked"]]
    numbers = {key: int(key.rsplit("-", 1)[1]) for key, _ in linked}
    for key, row in linked:
        number = numbers[key]
        assert row["social_work_pass"] == (9 if number % 8 == 0 else None)
        assert row["has_social_work"] == (number % 16 == 0)
        assert row["has_open_case"] == row["has_social_work"]
        known = number % 24 == 0
        status = ("currently_away" if number % 16 == 0 else "previously") if known else "never"
        assert row["looked_after_status"] == status
        assert row["child_protection_12m"] == (number % 48 == 0)
    assert {"currently_away", "previously", "never"} == {
        r["looked_after_status"] for _, r in linked
    }


def test_a_survey_that_did_not_ask_has_the_code_for_it(built, tables):
    for row in tables["item_answers"].values():
        for variable in built.codebook.variables.values():
            if "parent" not in variable.surveys:
                assert (row[variable.name] == -5) == (row["survey"] not in variable.surveys)


def test_scores_are_those_of_the_public_function(built, tables):
    asked = {n: i for n, i in built.codebook.instruments.items() if i.surveys}
    for name, instrument in asked.items():
        items = [item.variable for scale in instrument.scales for item in scale.items]
        rows = [
            row for row in tables["item_answers"].values() if row["survey"] in instrument.surveys
        ]
        columns = {item: [r[item] if r[item] >= 0 else None for r in rows] for item in items}
        found = score(_table([r["record_id"] for r in rows], columns), name).to_pylist()
        for row in found:
            kept = tables["scores"][row["record_id"]]
            assert {column: kept[column] for column in row} == row


def _table(ids, columns):
    return pa.table(
        {"record_id": ids, **{name: pa.array(v, pa.int8()) for name, v in columns.items()}}
    )


def expected(codebook, indicator, answers, scores, stage):
    """One indicator of one record, from the codebook's rule, in plain Python."""
    rule = indicator.rule
    if answers["survey"] != indicator.survey or stage not in indicator.stages:
        return None
    if rule.kind in (RuleKind.CODES, RuleKind.ALL_OF, RuleKind.ANY_OF):
        given = [answers[name] for name in rule.variables]
        valid = [code >= 0 and (not rule.base_codes or code in rule.base_codes) for code in given]
        if not all(valid):
            return None
        hits = [code in rule.positive_codes for code in given]
        return float(any(hits) if rule.kind is RuleKind.ANY_OF else all(hits))
    if rule.kind is RuleKind.CUTOFF:
        cutoff = codebook.cutoff_sets[rule.cutoff_set]
        value = scores[cutoff.score]
        compare = {"<": float.__lt__, ">=": float.__ge__, ">": float.__gt__, "<=": float.__le__}
        return None if value is None else float(compare[cutoff.operator](float(value), cutoff.cut))
    value = scores[rule.score]
    if value is None or rule.kind is RuleKind.MEAN:
        return None if value is None else float(value)
    low = float("-inf") if rule.lower is None else rule.lower
    high = float("inf") if rule.upper is None else rule.upper
    return float(low <= value <= high)


def test_indicator_values_are_those_of_the_codebooks_rules(built, tables):
    found = tables["indicator_values"]
    assert set(found) == {key for key, row in tables["linked"].items() if row["is_linked"]}
    seen = set()
    for key, row in found.items():
        answers, scores = tables["item_answers"][key], tables["scores"][key]
        for indicator in built.codebook.indicators.values():
            if indicator.survey == "parent":
                continue
            wanted = expected(built.codebook, indicator, answers, scores, row["stage"])
            assert row[indicator.name] == wanted, indicator.name
            seen |= {(indicator.name, wanted is None)}
    kinds = {i.name for i in built.codebook.indicators.values() if i.survey != "parent"}
    assert {name for name, is_null in seen if not is_null} == kinds


def test_parent_values_stand_for_every_interview(built, tables, engagements):
    assert len(tables["parents"]) == 40 * len(engagements)
    names = [i.name for i in built.codebook.indicators.values() if i.survey == "parent"]
    assert names
    values = {row[name] for row in tables["parents"].values() for name in names}
    assert values == {0.0, 1.0, None}


def test_unit_tests_of_the_project_pass(built, dbt):
    statuses = dbt(built.home, "test", "--select", "test_type:unit")
    assert len(statuses) >= 2
    assert set(statuses.values()) == {"pass"}


def test_each_rule_that_is_broken_is_found(copy, dbt):
    """Tables changed by hand: exactly the tests that state the broken rules fail."""
    with duckdb.connect(str(copy.warehouse)) as con:
        for statement in (
            "update wellbeing.item_answers set bullied_last_year = 77 where survey = 'primary'",
            "update wellbeing.scores set sdq_conduct = 11 where survey = 'secondary'",
            "update wellbeing.indicator_values set primary_lonely = 0.5 where survey = 'primary'",
            "update wellbeing.parent_indicator_values set parent_reads_daily = 2",
            "update linkage.linked set simd_quintile = 6 where simd_quintile = 1",
            "update linkage.linked set sex = 'X' where sex = 'M'",
            "update linkage.linked set project_id = 'one' where survey = 'secondary' and is_linked",
            "delete from wellbeing.scores where record_id like '%-8'",
        ):
            con.execute(statement)
    statuses = dbt(copy, "test", "--select", "test_type:data")
    assert {name for name, status in statuses.items() if status != "pass"} == {
        "item_answers_in_codebook",
        "scores_in_range",
        "indicator_values_in_range",
        "parent_indicator_values_in_range",
        "accepted_range_linkage__linked_simd_quintile__5__1",
        "accepted_values_linkage__linked_sex__F__M",
        "linked_pupil_once_a_survey",
        "scores_hold_every_item_answers_record",
    }


def test_a_model_that_breaks_its_contract_stops(copy, dbt, tmp_path):
    """A column lost, and one of another type."""
    project = shutil.copytree(project_dir(), tmp_path / "project")
    for model, line, instead in (
        ("services/services__budget_gap", "    mapped_gbp,\nfrom compared", "from compared"),
        ("linkage/linkage__linked", "    is_linked,\n", "    is_linked::integer as is_linked,\n"),
    ):
        file = project / "models" / f"{model}.sql"
        before = file.read_text(encoding="utf-8")
        assert before.count(line) == 1
        file.write_text(before.replace(line, instead), encoding="utf-8")
    names = ("linkage__linked", "services__budget_gap", "services__spend")
    statuses = dbt(copy, "run", "--select", *names, project=project)
    assert statuses == dict(zip(names, ("error", "error", "success"), strict=True))
    ran = json.loads((copy.logs / "dbt" / "run_results.json").read_text(encoding="utf-8"))
    messages = [node["message"] for node in ran["results"] if node["status"] == "error"]
    assert all("enforced contract" in message for message in messages)


def test_a_rerun_replaces_its_engagement_and_knows_a_new_indicator(copy, build, engagements):
    """t1 has lost its answers, the codebook gained indicator and question: t2 is as it was."""
    first, second = engagements
    kept = f"select * from wellbeing.indicator_values where engagement = '{second}' order by 1"
    with duckdb.connect(str(copy.warehouse)) as con:
        before = con.execute(kept).to_arrow_table()
        for survey in ("primary", "secondary"):
            con.execute(
                f"delete from intake.{survey}_survey where engagement = '{first}' "
                f"and record_id not like '%2'"
            )
        con.execute("""
            insert into codebook.indicators by name
            select * replace ('primary_new' as name, 1000 as position)
            from codebook.indicators where name = 'primary_lonely';
            insert into codebook.variables by name
            select * replace ('walks' as name)
            from codebook.variables where name = 'happy_at_school';
            insert into codebook.variable_stages by name
            select * replace ('walks' as name)
            from codebook.variable_stages where name = 'happy_at_school'
        """)
        for survey in ("primary", "secondary"):
            con.execute(f"alter table intake.{survey}_survey add column walks tinyint")
            con.execute(f"update intake.{survey}_survey set walks = happy_at_school")
        con.execute(f"delete from intake.parent_survey where engagement = '{first}'")
    results = build(copy, (first,))
    assert {result.status for result in results} == {"success", "pass"}
    with duckdb.connect(str(copy.warehouse), read_only=True) as con:
        after = con.execute(kept).to_arrow_table()
        ids = con.execute(
            f"select record_id, primary_new is not distinct from primary_lonely "
            f"from wellbeing.indicator_values where engagement = '{first}'"
        ).fetchall()
        parents = con.execute(
            "select distinct engagement from wellbeing.parent_indicator_values"
        ).fetchall()
        walks = con.execute(
            "select engagement, bool_and(walks is not distinct from happy_at_school), "
            "count(walks) from wellbeing.item_answers group by all order by all"
        ).fetchall()
    # Their own run brings the others' answers: until then they are empty, and no test fails.
    assert walks == [(first, True, 12), (second, False, 0)]
    assert after.drop_columns(["primary_new"]).equals(before)
    assert after["primary_new"].null_count == after.num_rows
    assert len(ids) == 12
    assert all(is_equal for _, is_equal in ids)
    assert parents == [(second,)]


def test_a_failing_build_says_where_and_never_what(copy, build, engagements):
    with duckdb.connect(str(copy.warehouse)) as con:
        con.execute("drop table intake.simd")
        con.execute(
            "create table intake.simd as select '2016' as vintage, 'S01000001' as datazone, "
            "'canary-value' as quintile"
        )
    results = build(copy, engagements[:1])
    failed = [result for result in results if result.is_failed]
    assert [result.unique_id.split(".")[2] for result in failed] == ["linkage__linked"]
    assert "canary" not in failed[0].reason
    assert "Error" in failed[0].reason
    assert not any(
        b"canary" in file.read_bytes() for file in copy.logs.rglob("*") if file.is_file()
    )


def test_a_missing_source_is_an_error_of_its_own(copy, build, engagements):
    copy.warehouse.write_bytes(b"this is no database")
    with pytest.raises(DbtBuildError) as refused:
        build(copy, engagements[:1])
    assert "dbt" in str(refused.value)
