"""The checks of release find what they are for: each on files that were spoilt by hand."""

import shutil
from dataclasses import replace

import duckdb
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.release.examine import (
    answer_files,
    audit_problems,
    csv_columns,
    description_problems,
    form_problems,
    k_problems,
    key_problems,
    l_problems,
    part_problems,
    school_problems,
    told_problems,
    unmarked,
)
from rcs_assets.storage import open_warehouse

RULE = load_policy().microdata
CODEBOOK = load_codebook()


@pytest.fixture
def con():
    with duckdb.connect() as found:
        yield found


@pytest.fixture
def package(built, tmp_path):
    return shutil.copytree(built.path / "archive" / "t2-falkirk", tmp_path / "package")


def spoilt(con, package, change):
    """Rewrite the Parquet file of answers through a query over it."""
    file = package / "microdata" / "secondary.parquet"
    con.execute(f"create table changed as {change.format(file)}")
    con.execute(f"copy changed to '{file}' (format parquet)")
    return file


def test_written_files_have_no_problems(con, package):
    files = answer_files(package)
    assert [file.stem for file in files] == ["salsus", "secondary"]
    for file in files:
        assert k_problems(con, file, RULE) == []
        assert l_problems(con, file, RULE, CODEBOOK) == []
        assert told_problems(con, file, RULE, CODEBOOK) == []
        assert key_problems(con, file, RULE, CODEBOOK) == []
        assert form_problems(con, file) == []
        assert part_problems(con, file, RULE, CODEBOOK) == []
    assert unmarked(package) == []
    assert description_problems(con, package) == []


def test_a_file_of_answers_that_is_not_described_is_found(con, package):
    spoilt(con, package, "select *, 1 as another from '{}'")
    shutil.copy(package / "microdata" / "salsus.tab", package / "microdata" / "other.tab")
    shutil.copy(package / "microdata" / "salsus.parquet", package / "microdata" / "other.parquet")
    assert description_problems(con, package) == [
        f"microdata/{name} is not described"
        for name in ("other.parquet", "other.tab", "secondary.parquet", "secondary.tab")
    ]
    dictionary = package / "microdata" / "data_dictionary.csv"
    dictionary.write_text(dictionary.read_text().replace("code_label", "words", 1))
    assert "microdata/data_dictionary.csv is not described" in description_problems(con, package)
    (package / "datapackage.json").unlink()
    assert description_problems(con, package) == ["datapackage.json is not there"]


def test_an_extract_holds_its_own_stages_and_questions_only(con, package):
    """What the survey's file may hold, the file of a part of it may not."""
    (part,) = RULE.extracts
    extract, survey = (package / "microdata" / f"{n}.parquet" for n in (part.name, part.survey))
    shutil.copy(survey, extract)
    found = key_problems(con, extract, RULE, CODEBOOK)
    assert "a value of stage" in found
    assert any(problem.startswith("column ") for problem in found)


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (
            "select * from '{}' limit (select count(*) - 1 from '{}')",
            ["salsus.parquet has not all of its rows"],
        ),
        (
            "select * from '{}' union all (select * from '{}' limit 1)",
            ["salsus.parquet has a row that is not of the survey"],
        ),
        (
            "select * replace (1 - sdq_1 as sdq_1) from '{}'",
            [
                "salsus.parquet has a row that is not of the survey",
                "salsus.parquet has not all of its rows",
            ],
        ),
        (
            "select *, 1 as shoe_size from '{}'",
            ["salsus.parquet has column shoe_size beside those of the survey"],
        ),
        (
            "select * exclude (sdq_1, weight) from '{}'",
            [
                "salsus.parquet lacks column weight of the survey",
                "salsus.parquet lacks column sdq_1 of the survey",
            ],
        ),
    ],
)
def test_an_extract_that_is_no_part_of_the_survey_is_found(con, package, change, problems):
    survey, extract = (
        package / "microdata" / f"{name}.parquet" for name in ("secondary", "salsus")
    )
    con.execute(f"create table changed as {change.format(extract, extract)}")
    con.execute(f"copy changed to '{extract}' (format parquet)")
    assert part_problems(con, survey, RULE, CODEBOOK) == problems
    assert part_problems(con, extract, RULE, CODEBOOK) == []


def test_one_without_the_other_is_found(con, package):
    survey, extract = (
        package / "microdata" / f"{name}.parquet" for name in ("secondary", "salsus")
    )
    moved = extract.rename(package / "moved")
    assert part_problems(con, survey, RULE, CODEBOOK) == ["salsus.parquet is missing"]
    moved.rename(extract)
    survey.unlink()
    assert part_problems(con, extract, RULE, CODEBOOK) == [
        "there is no secondary.parquet that it could be a part of"
    ]


def test_a_stage_that_is_withheld_has_no_place_in_an_extract(con, package):
    extract = package / "microdata" / "salsus.parquet"
    con.execute(f"create table changed as select * replace (null as stage) from '{extract}'")
    con.execute(f"copy changed to '{extract}' (format parquet)")
    assert "a value of stage" in key_problems(con, extract, RULE, CODEBOOK)


def test_a_class_that_is_too_small_is_found(con, package):
    change = "select * replace (if(row_number() over () < 10, null, stage) as stage) from '{}'"
    assert k_problems(con, spoilt(con, package, change), RULE) == [
        "a class of keys has fewer than 10 records"
    ]


def test_one_answer_for_a_whole_class_is_found(con, package):
    sensitive = next(v.name for v in CODEBOOK.variables_of("secondary") if v.is_sensitive)
    change = f"select * replace (if(sex = 'F', 1, {sensitive})::tinyint as {sensitive}) from '{{}}'"
    file = spoilt(con, package, change)
    assert l_problems(con, file, RULE, CODEBOOK) == [
        f"{sensitive} has one value in a class of the keys"
    ]


def test_who_alone_gave_an_answer_is_no_second_value_where_the_policy_says_so(con, package):
    sensitive = next(v.name for v in CODEBOOK.variables_of("secondary") if v.is_sensitive)
    alone = "row_number() over (partition by stage, sex, simd_group, any_support) = 1"
    change = f"select * replace (({alone})::tinyint as {sensitive}) from '{{}}'"
    file = spoilt(con, package, change)
    assert l_problems(con, file, RULE, CODEBOOK) == []
    strict = replace(RULE, l_beside_own_record=True)
    assert f"{sensitive} has one value in a class of the keys" in l_problems(
        con, file, strict, CODEBOOK
    )


def test_missing_answers_are_no_second_value(con, package):
    sensitive = next(v.name for v in CODEBOOK.variables_of("secondary") if v.is_sensitive)
    change = f"select * replace (if({sensitive} = 0, -1, 1)::tinyint as {sensitive}) from '{{}}'"
    assert len(l_problems(con, spoilt(con, package, change), RULE, CODEBOOK)) == 1
    con.execute("drop table changed")
    unasked = f"select * replace (-5::tinyint as {sensitive}) from '{{}}'"
    assert l_problems(con, spoilt(con, package, unasked), RULE, CODEBOOK) == []


@pytest.mark.parametrize(
    ("withheld", "teller"), [("alcohol_ever", "drunk_ever"), ("drugs_ever", "drugs_last_month")]
)
def test_an_answer_that_tells_what_is_withheld_is_found(con, package, withheld, teller):
    """Routed past tells who did not; and who did in the last month has."""
    gone = RULE.withheld_code
    change = f"{gone} as {withheld}, if({teller} = {gone}, -1, {teller})::tinyint as {teller}"
    file = spoilt(con, package, f"select * replace ({change}) from '{{}}'")
    assert f"{teller} tells what {withheld} withholds" in told_problems(con, file, RULE, CODEBOOK)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("select *, '5500001' as seed_code from '{}'", "column seed_code"),
        ("select * replace ('2' as simd_group) from '{}'", "a value of simd_group"),
        ("select * replace (-4::tinyint as happy_at_school) from '{}'", "tells the questionnaire"),
        ("select * replace (weight + 0.01 as weight) from '{}'", "weight that is not rounded"),
        (
            "select * replace (if(happy_at_school = 1, 1.0, 1.2) as weight) from '{}'",
            "weights within a stage and sex",
        ),
    ],
)
def test_what_the_policy_does_not_allow_is_found(con, package, change, words):
    problems = key_problems(con, spoilt(con, package, change), RULE, CODEBOOK)
    assert len(problems) == 1 and words in problems[0]


def test_forms_that_differ_are_found(con, package):
    change = "select * replace (1 - happy_at_school as happy_at_school) from '{}'"
    assert form_problems(con, spoilt(con, package, change)) == ["secondary.tab differs"]
    con.execute("drop table changed")
    file = spoilt(con, package, "select * exclude (happy_at_school) from '{}'")
    assert "secondary.sav differs" in form_problems(con, file)


def test_a_file_without_its_mark_is_found(built, package, tmp_path):
    tab = package / "microdata" / "secondary.tab"
    tab.write_text(tab.read_text().replace("SIMULATED", "delivered", 1))
    assert unmarked(package) == ["microdata/secondary.tab"]
    sav = package / "microdata" / "secondary.sav"
    sav.write_bytes(sav.read_bytes().replace(b"SIMULATED RCS", b"delivered RCS", 1))
    assert unmarked(package) == ["microdata/secondary.sav", "microdata/secondary.tab"]
    school = shutil.copytree(built.path / "school" / "5500001", tmp_path / "school")
    table = school / "table.csv"
    table.write_text(table.read_text().replace(",SIMULATED", ","))
    assert unmarked(school) == ["table.csv"]


def test_columns_of_text_files_are_told(built):
    school = set(csv_columns(built.path / "school" / "5500001"))
    assert {("table.csv", "estimate"), ("participation.csv", "roll_n")} <= school
    assert ("secondary.tab", "weight") in set(csv_columns(built.path / "cpp" / "t2-falkirk"))


@pytest.fixture
def candidate(built, tmp_path):
    return shutil.copytree(built.path, tmp_path / "candidate")


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("table.csv", ",120,40.0,", ",120,41.0,"),
        ("table.csv", ",,,,,c,low", ",3,2.0,,,c,low"),
        ("table.csv", ",cpp,S12000005,", ",cpp,S12000014,"),
        ("comparisons.csv", ",5500001,", ",5500002,"),
        ("participation.csv", ",5500001,", ",5500002,"),
    ],
)
def test_a_school_with_other_rows_is_found(built, candidate, file, before, after):
    with open_warehouse(built.home, read_only=True) as con:
        assert school_problems(con, candidate) == []
        path = candidate / "school" / "5500001" / file
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after, 1))
        assert school_problems(con, candidate) == ["school/5500001"]


def test_a_missing_row_of_a_school_is_found(built, candidate):
    path = candidate / "school" / "5500001" / "table.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]))
    with open_warehouse(built.home, read_only=True) as con:
        assert school_problems(con, candidate) == ["school/5500001"]


def test_an_audit_that_is_not_clean_is_told():
    wanted = {"cells": 5, "suppressed": 1, "attacked": 2, "unsafe": 0}
    assert audit_problems(wanted, wanted) == []
    assert audit_problems({**wanted, "cells": 4}, wanted) == ["cells"]
    assert audit_problems({**wanted, "unsafe": 1}, {**wanted, "unsafe": 1}) == ["unsafe cells"]
    assert "unsafe cells" in audit_problems({}, wanted)
