"""Each Python check passes on what the platform made, and fails on what it is there to find."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyreadstat
import pytest

from rcs_assets.disclosure import checks as disclosure
from rcs_assets.intake import checks as intake
from rcs_assets.linkage import checks as linkage
from rcs_assets.release import checks as release
from rcs_assets.storage import Home, open_warehouse
from rcs_assets.storage.checks import Bench, PythonCheck
from rcs_assets.wellbeing import checks as wellbeing

WAREHOUSE_CHECKS = {
    check.name: check
    for check in (
        *intake.PYTHON_CHECKS,
        *linkage.PYTHON_CHECKS,
        *linkage.FLOW_CHECKS,
        *wellbeing.PUPIL_CHECKS,
        *wellbeing.ESTIMATE_CHECKS,
        *disclosure.PYTHON_CHECKS,
        *disclosure.CHANGES_CHECKS,
    )
}
RELEASE_CHECKS = {check.name: check for check in release.PYTHON_CHECKS}

OpenBench = Callable[[duckdb.DuckDBPyConnection], Bench]

FIRST_LINK = "(select min(rowid) from linkage.project_ids where dataset = 'secondary_survey')"
FIRST_MODEL_LINK = "(select min(rowid) from linkage.project_ids where weight_band = 'auto')"
# A cell that the public sees, in the middle of its table.
SHOWN = """
    rowid = (
        select min(rowid) from disclosure.estimates
        where audience = '{audience}' and status = 'published' and statistic = 'pct'
            and breakdown = '{breakdown}' and geography_level = 'cpp' and survey = 'secondary'
    )
"""


def shown(audience: str = "public", breakdown: str = "sex") -> str:
    return SHOWN.format(audience=audience, breakdown=breakdown)


HIDE = "status = 'c', n = null, estimate = null, ci_low = null, ci_high = null"

# Check → ways to spoil the warehouse; each alone must make it fail.
DAMAGE: dict[str, tuple[str, ...]] = {
    "receipts_add_up": (
        "update intake.receipts set accepted_n = accepted_n + 1 where dataset = 'sample_file'",
        "delete from intake.secondary_survey where rowid = 0",
        "delete from intake.quarantine",
        "delete from intake.receipts",
    ),
    "required_deliveries_are_there": (
        "update intake.receipts set status = 'missing' where dataset = 'service_map'",
        "delete from intake.receipts where dataset = 'simd'",
        "delete from intake.receipts where dataset = 'parent_survey'",
    ),
    "no_delivery_is_rejected": (
        "update intake.receipts set status = 'rejected' where dataset = 'opt_outs'",
    ),
    "no_uids_wait": (
        "insert into intake.quarantine select engagement, dataset, sha256, 1, 'seed_code', "
        "'uids_of_similar_school' from intake.receipts where dataset = 'sample_file' limit 1",
    ),
    "flow_adds_up": (
        "update linkage.flow set n = n + 1 where step = 'usable' and survey = 'primary'",
        "delete from linkage.flow where step = 'linked'",
        "delete from linkage.flow",
    ),
    "response_fits_the_flow": (
        "update linkage.response set completed_n = invited_n + 1",
        "delete from linkage.response where rowid = 0",
    ),
    "approvals_hold": (
        "update intake.receipts set engagement = 't9-nowhere' where dataset = 'sample_file'",
    ),
    "surveys_follow_readiness": (
        "update intake.receipts set engagement = 't9-nowhere' where dataset = 'sample_file'",
    ),
    "withdrawn_children_are_in_no_zone": (
        "update intake.sample set record_id = 'r0' where rowid = 0",
        "insert into intake.education select * replace ('r1' as record_id) from intake.education "
        "where rowid = 0",
    ),
    "schools_have_one_cluster": (
        "delete from intake.clusters where rowid = 0",
        "update intake.clusters set is_sdc_cluster = not is_sdc_cluster where rowid = 3",
        "delete from intake.roll_counts",
    ),
    "no_identifier_columns": (
        "alter table linkage.linked add column surname varchar",
        "create schema elsewhere; create table elsewhere.notes (Date_Of_Birth date)",
    ),
    "no_identifier_values": (
        "alter table intake.sample add column note varchar; "
        "update intake.sample set note = 'AB12345678' where rowid = 0",
        "update wellbeing.scores set record_id = '040001239' where rowid = 0",
        "update linkage.linked set datazone = 'FK10 1AB' where rowid = 0",
    ),
    "records_have_one_project_id": (
        "insert into linkage.project_ids select * replace ('another' as project_id) "
        f"from linkage.project_ids where rowid = {FIRST_LINK}",
        "delete from linkage.project_ids",
    ),
    "links_are_one_to_one": (
        "insert into linkage.project_ids select * replace ('another' as record_id) "
        f"from linkage.project_ids where rowid = {FIRST_LINK}",
    ),
    "project_ids_have_records": (
        "delete from intake.secondary_survey where record_id = "
        f"(select record_id from linkage.project_ids where rowid = {FIRST_LINK})",
    ),
    "links_start_at_the_sample": (
        "delete from linkage.project_ids where dataset = 'sample' and project_id = "
        f"(select project_id from linkage.project_ids where rowid = {FIRST_LINK})",
    ),
    "link_bands_are_valid": (
        f"update linkage.project_ids set weight_band = 'clerical' where rowid = {FIRST_LINK}",
        f"update linkage.project_ids set weight = 20 where rowid = {FIRST_LINK}",
        f"update linkage.project_ids set weight = 1 where rowid = {FIRST_MODEL_LINK}",
    ),
    "link_rates_add_up": (
        f"delete from linkage.project_ids where rowid = {FIRST_MODEL_LINK}",
        "update linkage.link_rates set records_n = records_n - 1 where dataset = 'social_work'",
        "delete from linkage.link_rates where dataset = 'education'",
    ),
    "rates_by_group_are_complete": (
        "delete from linkage.link_rates_by_group where breakdown = 'sex' "
        "and dataset = 'social_work'",
        "delete from linkage.link_rates_by_group where breakdown = 'stage' and \"group\" = 'S3'",
        "update linkage.link_rates_by_group set records_n = 9 where rowid = 0",
        "update linkage.link_rates_by_group set linked_n = linked_n - 1 "
        "where breakdown = 'total' and dataset = 'social_work'",
    ),
    "estimates_hold_themselves": (
        "update linkage.link_rates set recall_low = 1 where dataset = 'education'",
        "update linkage.link_rates_by_group set missed_high = missed_pct - 1 where rowid = 0",
    ),
    "sensitivities_fit_the_links": (
        "update linkage.link_sensitivity set linked_n = linked_n - 1 where breakdown = 'total'",
        "update linkage.link_sensitivity set pupils_n = 9 where breakdown = 'total'",
        "update linkage.link_sensitivity set ci_high = 101 where breakdown = 'total'",
        "delete from linkage.link_sensitivity where dataset = 'education'",
    ),
    "link_weights_add_up": (
        "delete from linkage.link_weights where rowid = 0",
        "update linkage.link_weights set link_weight = 20 where rowid = 0",
    ),
    "link_flow_adds_up": (
        "update linkage.link_flow set n = n + 1 where step = 'not linked'",
        "delete from linkage.link_flow where step = 'linked: scn'",
    ),
    "links_are_of_this_model": (
        "update linkage.link_rates set model_id = 'other' where dataset = 'social_work'",
        "update linkage.model set definition = replace(definition, '0.92', '0.93')",
        "update linkage.model set rules_id = 'other'",
        "delete from linkage.model",
    ),
    "linkage_has_no_identifiers": (
        "alter table linkage.project_ids add column index_no varchar",
        "alter table linkage.linked add column postcode varchar",
    ),
    "scores_lie_on_their_scale": (
        "update wellbeing.scores set wemwbs_total = 71 where wemwbs_total = 70 or rowid = "
        "(select min(rowid) from wellbeing.scores where wemwbs_total is not null)",
        "delete from wellbeing.scores",
    ),
    "weights_sum_to_the_roll": (
        "update wellbeing.weights set weight = weight * 1.01 where survey = 'primary'",
        "delete from wellbeing.weights where survey = 'secondary'",
    ),
    "estimates_grid_is_complete": (
        "delete from wellbeing.estimates where rowid = 100",
        "insert into wellbeing.estimates select * from wellbeing.estimates where rowid = 100",
        "delete from wellbeing.estimates where geography_level = 'tranche'",
        "delete from wellbeing.estimates where rowid = "
        "(select min(rowid) from wellbeing.estimates where geography_level = 'school')",
        "delete from wellbeing.estimates where geography_level = 'cluster'",
        "delete from wellbeing.estimates where breakdown = 'looked_after'",
    ),
    "schools_add_up": (
        "update wellbeing.estimates set base_n = base_n + 1 where rowid = (select min(rowid) "
        "from wellbeing.estimates where geography_level = 'school' and breakdown = 'stage:sex')",
        "update wellbeing.estimates set sum_x = sum_x + 1 where rowid = (select min(rowid) "
        "from wellbeing.estimates where geography_level = 'cluster' and sum_x is not null)",
        "update intake.clusters set cluster_code = (select max(cluster_code) from intake.clusters)",
    ),
    "respondents_are_counted": (
        "update wellbeing.respondents set respondents_n = respondents_n - 1 where rowid = "
        "(select min(rowid) from wellbeing.respondents where geography_level = 'school')",
        "delete from wellbeing.respondents where geography_level = 'cluster'",
        "update wellbeing.respondents set schools_n = schools_n + 1 where geography_level = 'cpp'",
        "update wellbeing.respondents set roll_n = 1 where geography_level = 'cpp'",
    ),
    "comparisons_cover_the_estimates": (
        "delete from wellbeing.comparisons where rowid = 0",
        "insert into wellbeing.comparisons select * from wellbeing.comparisons where rowid = 0",
        "update wellbeing.comparisons set rest_n = rest_n + 1 where geography_level = 'cluster'",
    ),
    "verdicts_follow_the_rule": (
        "update wellbeing.comparisons set is_marked = true, verdict = 'better' where rowid = "
        "(select max_by(rowid, p_value) from wellbeing.comparisons where verdict is not null)",
        "update wellbeing.comparisons set verdict = 'worse' where verdict = 'similar'",
        "update wellbeing.comparisons set difference = - difference where is_marked",
    ),
    "estimates_count_the_pupils": (
        "update wellbeing.estimates set base_n = base_n + 1 where survey = 'primary' "
        "and geography_level = 'cpp' and breakdown = 'total' "
        "and indicator = 'primary_happy_at_school'",
    ),
    "estimates_lie_in_their_interval": (
        "update wellbeing.estimates set estimate = 101, ci_high = 102 where rowid = "
        "(select min(rowid) from wellbeing.estimates where statistic = 'pct' and reason = '')",
        "update wellbeing.estimates set ci_low = estimate + 1 where rowid = "
        "(select min(rowid) from wellbeing.estimates where ci_low is not null)",
    ),
    "every_estimate_is_judged": (
        f"delete from disclosure.estimates where {shown()}",
        f"insert into disclosure.estimates select * from disclosure.estimates where {shown()}",
        "delete from disclosure.estimates where audience like 'cpp/%'",
    ),
    "shown_cells_obey_table_a": (
        "update disclosure.estimates set status = 'u' where status = 'c' and audience = 'public'",
        "update wellbeing.estimates set numerator_n = 9 where numerator_n > 9",
        "update wellbeing.estimates set numerator_n = base_n - 4 where numerator_n is not null",
        "delete from wellbeing.estimates where breakdown = 'sex'",
    ),
    "shown_values_are_rounded": (
        f"update disclosure.estimates set n = n + 1 where {shown()}",
        f"update disclosure.estimates set n = n + 20 where {shown()}",
        f"update disclosure.estimates set estimate = estimate + 0.5 where {shown()}",
        f"update disclosure.estimates set estimate = estimate + 2 where {shown()}",
        f"update disclosure.estimates set ci_high = ci_high + 0.3 where {shown()}",
    ),
    "hidden_cells_say_nothing": (
        "update disclosure.estimates set n = 40 where rowid = "
        "(select min(rowid) from disclosure.estimates where status = 'c')",
        "update disclosure.estimates set note = 'low' where status = 'c'",
        "update disclosure.estimates set note = 'high' where status = 'c'",
        "update disclosure.estimates set note = 'secondary' where rowid = "
        "(select min(rowid) from disclosure.estimates where status = 'c')",
        f"update disclosure.estimates set {HIDE} where {shown()}; "
        "update disclosure.estimates set status = 'x' where status = 'c'",
    ),
    "groups_are_shown_together": (
        "update disclosure.estimates set status = 'u' where status = 'c' "
        "and rowid % 2 = 0 and breakdown = 'ethnicity'",
        "update disclosure.estimates set status = 'published' where status = 'c' "
        "and rowid % 2 = 0 and breakdown <> 'total'",
        "update wellbeing.estimates set base_n = 4 where breakdown = 'sex' and \"group\" = 'F'",
    ),
    "public_shows_no_more_than_the_area": (
        f"update disclosure.estimates set {HIDE} where {shown('cpp/{engagement}')}",
        f"update disclosure.estimates set {HIDE} where audience like 'cpp/%' "
        "and geography_level = 'cpp' and breakdown = 'total'",
    ),
    "one_hidden_group_stays_open": (
        "update disclosure.estimates set status = 'published' where status_inside = 'secondary'",
        "update disclosure.estimates set status = 'u' where status_inside = 'secondary' "
        "and geography_level = 'school' and breakdown = 'sex'",
    ),
    "no_cell_is_unsafe": (
        "update disclosure.audit set unsafe_n = 1 where rowid = 0",
        "delete from disclosure.audit where coalition = 'public'",
        "delete from disclosure.audit where rowid = 0",
        "delete from disclosure.audit",
        "update disclosure.audit set audited = 'other rows' where rowid = 0",
        f"update disclosure.estimates set n = n + 10 where {shown()}",
        f"update disclosure.estimates set {HIDE} where {shown('cpp/{engagement}')}",
    ),
    "no_difference_is_told": (
        "insert into disclosure.differences values ('2020.01.01', 9, 1)",
        "insert into disclosure.difference_places values ('2020.01.01', 'public', 'primary', "
        "'primary_low_mood', 'cpp', 'S12000014', 'total', 'all')",
    ),
    "current_definitions_give_the_estimates": (
        "delete from wellbeing.definition_sets where definition_set = 'current' and n > 0",
        "update wellbeing.definition_sets set estimate = estimate + 0.1 "
        "where definition_set = 'current'",
        "update wellbeing.definition_sets set n = n + 1 where definition_set = 'current'",
    ),
    "nonresponse_adds_up": (
        "delete from wellbeing.unit_nonresponse where breakdown = 'stage' and rowid % 2 = 0",
        "update wellbeing.unit_nonresponse set respondents_n = respondents_n + 1 "
        "where breakdown = 'total'",
        "update wellbeing.item_nonresponse set valid_n = valid_n + 1 where rowid = 0",
        "delete from wellbeing.item_nonresponse where breakdown = 'sex'",
        "delete from wellbeing.unit_nonresponse",
    ),
    "salsus_contrasts_cancel_out": (
        "update wellbeing.salsus_contrasts set change = 3 where rowid = 0",
        "update wellbeing.salsus_contrasts set rcs_contrast = 1 where rowid = 0",
        "delete from wellbeing.salsus_contrasts",
    ),
    "changes_cover_the_waves": (
        "delete from wellbeing.changes where rowid = 0",
        "insert into wellbeing.changes from wellbeing.changes limit 1",
        "update wellbeing.changes set difference = 3 where rowid = 0",
        "update wellbeing.changes set reason = '' where rowid = 0",
    ),
    "changes_follow_the_rule": (
        "update wellbeing.changes set is_marked = true where rowid = 0",
        "update wellbeing.changes set verdict = 'better' where rowid = 0",
    ),
    "changes_obey_table_a": (
        "update disclosure.changes set change = 5, status = 'published' where rowid = 0",
        "delete from disclosure.changes",
    ),
    "changes_tell_nothing_new": (
        "update disclosure.changes set change = 5, status = 'published' where rowid = 0",
        "update disclosure.changes set n = 300 where rowid = 0",
        "delete from disclosure.changes",
    ),
    "warehouse_has_no_identifier_columns": (
        "alter table disclosure.estimates add column scn varchar",
    ),
}


def test_every_check_of_the_warehouse_can_fail() -> None:
    assert set(DAMAGE) == set(WAREHOUSE_CHECKS)


def test_all_pass_on_what_the_platform_made(
    spoilt: duckdb.DuckDBPyConnection, open_bench: OpenBench
) -> None:
    bench = open_bench(spoilt)
    verdicts = {name: check.judge(bench) for name, check in WAREHOUSE_CHECKS.items()}
    assert {name: v.observed for name, v in verdicts.items() if not v.passed} == {}


@pytest.mark.parametrize(
    ("name", "damage"), [(name, sql) for name, ways in DAMAGE.items() for sql in ways]
)
def test_a_damaged_warehouse_fails(
    name: str,
    damage: str,
    spoilt: duckdb.DuckDBPyConnection,
    open_bench: OpenBench,
    engagement: str,
) -> None:
    spoilt.execute(damage.replace("{engagement}", engagement))
    assert not WAREHOUSE_CHECKS[name].judge(open_bench(spoilt)).passed


def test_what_the_operator_left_out_is_not_required(
    spoilt: duckdb.DuckDBPyConnection, open_bench: OpenBench, engagement: str
) -> None:
    spoilt.execute(
        "update intake.receipts set status = 'rejected' where dataset = 'sample_file' "
        "and engagement = ?",
        [engagement],
    )
    bench = open_bench(spoilt)
    left_out = replace(bench, left_out=frozenset({engagement}))
    for check in (intake.required_deliveries_are_there, intake.no_delivery_is_rejected):
        assert not check(bench).passed
        assert check(left_out).passed


@pytest.fixture
def candidate(released_home: Any, tmp_path: Path) -> Home:
    """A home whose candidate is a copy of the packages that were published."""
    home = Home.open(tmp_path / "home", profile="demo")
    shutil.copytree(released_home.release, home.releases / ".candidate", symlinks=False)
    return home


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def in_database(sql: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with duckdb.connect(str(folder / "public" / "rcs.duckdb")) as con:
            con.execute(sql)

    return change


def unmarked_parquet(folder: Path) -> None:
    file = folder / "public" / "parquet" / "estimates.parquet"
    with duckdb.connect() as con:
        con.execute(f"copy (from read_parquet('{file}')) to '{file}.new' (format parquet)")
    Path(f"{file}.new").replace(file)


def unmarked_manifest(folder: Path) -> None:
    rewrite(folder / "public" / "manifest.json", '"simulated": true', '"simulated": false')


def nameless_answers(folder: Path) -> None:
    """A datapackage that speaks of another column than the file of answers has."""
    rewrite(folder / "safe_haven" / "datapackage.json", '"happy_at_school"', '"happy"')


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def no_package(folder: Path) -> None:
    shutil.rmtree(folder / "public")


def added_file(folder: Path) -> None:
    (folder / "public" / "notes.txt").write_text("a stray file", encoding="utf-8")


def changed_file(folder: Path) -> None:
    with (folder / "public" / "certificate.json").open("a", encoding="utf-8") as stream:
        stream.write(" ")


def microdata(folder: Path, suffix: str) -> Path:
    """One anonymised file of one deposit."""
    return sorted(folder.glob(f"archive/*/microdata/secondary.{suffix}"))[0]


def in_microdata(columns: str) -> Callable[[Path], None]:
    """Write one deposit's Parquet file anew with other columns."""

    def change(folder: Path) -> None:
        file = microdata(folder, "parquet")
        with duckdb.connect() as con:
            con.execute(
                f"copy (select {columns} from read_parquet('{file}', file_row_number = true)) "
                f"to '{file}.new' (format parquet)"
            )
        Path(f"{file}.new").replace(file)

    return change


def missing_extract(folder: Path) -> None:
    """Take away every form of an extract: what is left agrees with itself."""
    for file in microdata(folder, "parquet").parent.glob("salsus.*"):
        file.unlink()


def shorter_tab(folder: Path) -> None:
    file = microdata(folder, "tab")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:-1]), encoding="utf-8")


def in_parquet(
    name: str, columns: str, condition: str = "true", package: str = "public"
) -> Callable[[Path], None]:
    """Write one Parquet file of a package anew with other columns or rows."""

    def change(folder: Path) -> None:
        file = folder / package / name
        with duckdb.connect() as con:
            con.execute(
                f"copy (select {columns} from read_parquet('{file}') where {condition}) "
                f"to '{file}.new' (format parquet)"
            )
        Path(f"{file}.new").replace(file)

    return change


def other_dta(folder: Path) -> None:
    file = microdata(folder, "dta")
    frame, _ = pyreadstat.read_dta(file)
    pyreadstat.write_dta(frame.iloc[:-1], file)


TABLES, CELLS = "certificate/tables.parquet", "certificate/cells.parquet"
ESTIMATES, COUNTS = "parquet/estimates.parquet", "parquet/counts_behind.parquet"


def unsafe_certificate(folder: Path) -> None:
    rewrite(folder / "public" / "certificate.json", '"unsafe": 0', '"unsafe": 1')


def changed_school(folder: Path) -> None:
    table = sorted(folder.glob("school/*/table.csv"))[0]
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join([lines[0], *lines[2:]]), encoding="utf-8")


SPOIL: dict[str, tuple[Callable[[Path], None], ...]] = {
    "certificates_state_a_clean_audit": (unsafe_certificate,),
    "microdata_forms_agree": (shorter_tab, other_dta, missing_extract),
    "microdata_has_coarse_keys_only": (
        in_microdata("* exclude (file_row_number), '9240014' as seed_code"),
    ),
    "microdata_is_k_anonymous": (
        in_microdata(
            "* exclude (file_row_number) replace (if(file_row_number = 0, 'S9', stage) as stage)"
        ),
    ),
    "microdata_is_l_diverse": (
        in_microdata("* exclude (file_row_number) replace (1::tinyint as sdq_1)"),
        # Withheld, and told by the question that is asked of who cares only.
        in_microdata("* exclude (file_row_number) replace (-7::tinyint as care_for_someone)"),
    ),
    # Of one class more the answer is withheld: the tables tell it by all others.
    "tables_tell_nothing_withheld": (
        in_microdata(
            "* exclude (file_row_number) replace (if(stage = 'S2' and sex = 'F' and "
            "simd_group = '2-4' and any_support = 'N', -7, drank_last_week)::tinyint "
            "as drank_last_week)"
        ),
    ),
    "no_row_tells_a_difference": (
        # Nobody knows whose the figures are: the next release could not be compared.
        in_parquet(COUNTS, "*", "table_name <> 'participation'", "safe_haven"),
        remove(f"safe_haven/{COUNTS}"),
    ),
    "schools_hold_their_own_cells": (changed_school,),
    "witnesses_keep_hidden_cells_open": (
        # A hidden cell that no table stands for, or that is not hidden.
        in_parquet(CELLS, "*", "\"group\" <> 'asian'"),
        in_parquet(ESTIMATES, "* replace (if(status = 'c', 'x', status) as status)"),
        # Both tables tell the same.
        in_parquet(CELLS, "* replace (low_table as high_table)"),
        # Tables that do not fit what is shown, do not add up, or lack cells.
        in_parquet(TABLES, "* replace ((n + 20)::decimal(12, 4) as n)"),
        in_parquet(TABLES, "* replace (0::decimal(14, 4) as positive)"),
        in_parquet(TABLES, "* replace ((n + 1)::decimal(14, 4) as positive)"),
        in_parquet(TABLES, "* replace (if(breakdown = 'sex', n + 1, n)::decimal(12, 4) as n)"),
        in_parquet(
            TABLES, "* replace (if(geography_level = 'cpp', n + 1, n)::decimal(12, 4) as n)"
        ),
        in_parquet(TABLES, "*", "breakdown <> 'total'"),
        in_parquet(ESTIMATES, "* replace (if(status = 'c', 'low', note) as note)"),
        remove(f"public/{TABLES}"),
    ),
    "manifests_are_complete": (
        remove("public/parquet/indicators.parquet"),
        no_package,
        added_file,
        changed_file,
    ),
    "packages_open_and_explain_themselves": (
        in_database("comment on table estimates is null"),
        in_database("comment on column estimates.n is null"),
        in_database("delete from indicators"),
        in_database("drop table dictionary"),
        nameless_answers,
        remove("safe_haven/datapackage.json"),
    ),
    "simulated_is_stated": (
        in_database("comment on table estimates is 'Estimates'"),
        unmarked_parquet,
        unmarked_manifest,
    ),
    "packages_hold_no_inside_columns": (
        in_database("alter table estimates add column status_inside varchar"),
        in_database("alter table geographies add column postcode varchar"),
    ),
    "packages_hold_the_protected_cells": (
        in_database("delete from estimates where rowid = 0"),
        in_database(
            "update estimates set estimate = estimate + 1 "
            "where rowid = (select min(rowid) from estimates where estimate is not null)"
        ),
    ),
}


def judge(check: PythonCheck, platform: Any, home: Home) -> bool:
    with open_warehouse(platform.home, read_only=True) as con:
        bench = Bench(con, home, platform.programme, platform.codebook, frozenset())
        return check.judge(bench).passed


def test_every_check_of_the_release_can_fail() -> None:
    assert set(SPOIL) == set(RELEASE_CHECKS)


@pytest.mark.parametrize("name", RELEASE_CHECKS)
def test_the_release_passes(name: str, platform: Any, candidate: Home) -> None:
    assert judge(RELEASE_CHECKS[name], platform, candidate)


@pytest.mark.parametrize(
    ("name", "number"), [(name, n) for name, ways in SPOIL.items() for n in range(len(ways))]
)
def test_a_spoilt_release_fails(name: str, number: int, platform: Any, candidate: Home) -> None:
    SPOIL[name][number](candidate.releases / ".candidate")
    try:
        assert not judge(RELEASE_CHECKS[name], platform, candidate)
    except FileNotFoundError:
        pytest.fail("a check must say what is missing, not break")
