import csv
import hashlib
import json
import math

import duckdb
import pyreadstat
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure.anonymise import KEYS
from rcs_assets.disclosure.policy import load_policy

RULE = load_policy().microdata


@pytest.fixture(scope="module")
def files(built):
    return built.path / "archive" / "t2-falkirk" / "microdata"


def test_each_survey_has_four_forms_with_the_same_rows(files):
    assert {p.name for p in files.iterdir()} == {
        "secondary.sav", "secondary.dta", "secondary.tab", "secondary.parquet",
        "data_dictionary.csv", "README.md", "derive_secondary.sps", "derive_secondary.do",
        "derive_secondary.R", "derive_salsus.sps", "derive_salsus.do", "derive_salsus.R",
        "salsus.sav", "salsus.dta", "salsus.tab", "salsus.parquet",
    }  # fmt: skip
    parquet = duckdb.execute(f"select * from '{files / 'secondary.parquet'}'").fetchall()
    tab = duckdb.execute(
        f"select * from read_csv('{files / 'secondary.tab'}', delim='\t', all_varchar=true)"
    ).fetchall()
    assert [tuple(str(v) for v in row) for row in parquet] == [
        tuple("None" if v is None else v for v in row) for row in tab
    ]
    frame, _ = pyreadstat.read_sav(files / "secondary.sav", user_missing=True)
    assert frame["happy_at_school"].astype(int).tolist() == [
        row[0]
        for row in duckdb.execute(
            f"select happy_at_school from '{files / 'secondary.parquet'}'"
        ).fetchall()
    ]


def test_dta_holds_the_same_rows_with_labels_and_a_fixed_stamp(files):
    frame, meta = pyreadstat.read_dta(files / "secondary.dta")
    sav, _ = pyreadstat.read_sav(files / "secondary.sav", user_missing=True)
    with (files / "data_dictionary.csv").open(encoding="utf-8", newline="") as stream:
        named = {row["variable"]: row["stata_name"] for row in csv.DictReader(stream)}
    assert [named[name] for name in sav.columns] == list(frame.columns)
    assert len(set(named.values())) == len(named) and max(map(len, named.values())) <= 28
    assert len(frame) == len(sav) > 1000
    for name in ("happy_at_school", "weight", "sex"):
        assert frame[name].tolist() == sav[name].tolist()
    assert meta.file_label.startswith("SIMULATED")
    assert meta.variable_value_labels["happy_at_school"][-7] == "Withheld to protect children"
    assert b"01 Jan 2000 00:00" in (files / "secondary.dta").read_bytes()[:500]


def test_every_combination_of_keys_has_k_pupils(files):
    keys = ", ".join(KEYS)
    smallest = duckdb.execute(
        f"select min(n) from (select count(*) as n from '{files / 'secondary.parquet'}' "
        f"group by {keys})"
    ).fetchall()[0][0]
    assert smallest >= RULE.k


def test_who_was_asked_about_substances_is_in_a_class_of_k(built):
    """Of tranche 1 a tenth of S2 and S4 were asked: the others of their keys do not hide them."""
    file = built.path / "archive" / "t1-clackmannanshire" / "microdata" / "secondary.parquet"
    keys = ", ".join(KEYS)
    asked = duckdb.execute(
        f"select frequency_smoking <> -5 as is_asked, min(n) from (select {keys}, "
        f"frequency_smoking, count(*) over (partition by {keys}, frequency_smoking = -5) as n "
        f"from '{file}') group by is_asked order by is_asked"
    ).fetchall()
    assert [is_asked for is_asked, _ in asked] == [False, True]
    assert min(smallest for _, smallest in asked) >= RULE.k


def test_the_extract_is_a_part_of_the_file_in_whole_classes(files):
    """What the two files together tell is what the larger one tells."""
    held, part = f"'{files / 'secondary.parquet'}'", f"'{files / 'salsus.parquet'}'"
    names = [row[0] for row in duckdb.execute(f"describe from {part}").fetchall()]
    themes = {v.name: v.theme for v in load_codebook().variables_of("secondary")}
    asked = [name for name in names if name in themes]
    assert {themes[name] for name in asked} == {"sdq", "wemwbs", "substances"}
    assert len(asked) == 25 + 14 + 10 and names[: len(KEYS) + 2] == ["data_source", *KEYS, "weight"]
    shown = duckdb.execute(
        f"select {', '.join(names)} from {held} where stage in ('S2', 'S4')"
    ).fetchall()
    assert duckdb.execute(f"from {part}").fetchall() == shown
    assert len(shown) > 100 and {row[names.index("stage")] for row in shown} == {"S2", "S4"}
    keys = ", ".join(KEYS)
    sizes = duckdb.execute(f"select count(*) from {part} group by {keys}").fetchall()
    assert min(size for (size,) in sizes) >= RULE.k
    frame, meta = pyreadstat.read_sav(files / "salsus.sav", user_missing=True)
    assert len(frame) == len(shown) and meta.column_names == names


def test_the_file_holds_keys_weight_and_answers_only(files):
    columns = [
        row[0]
        for row in duckdb.execute(f"describe from '{files / 'secondary.parquet'}'").fetchall()
    ]
    asked = [variable.name for variable in load_codebook().variables_of("secondary")]
    assert columns == ["data_source", *KEYS, "weight", *asked]


def test_sav_has_labels_missing_ranges_and_a_fixed_stamp(files):
    _, meta = pyreadstat.read_sav(files / "secondary.sav", metadataonly=True, user_missing=True)
    assert meta.file_label.startswith("SIMULATED")
    assert meta.column_names_to_labels["happy_at_school"] == "Happy at school"
    labels = meta.variable_value_labels["happy_at_school"]
    assert labels[-7.0] == "Withheld to protect children" and -4.0 not in labels
    assert meta.missing_ranges["happy_at_school"] == [{"lo": -9, "hi": -1}]
    header = (files / "secondary.sav").read_bytes()[92:109]
    assert header == b"01 Jan 2000:00:00"


def test_sav_says_which_answers_have_an_order(files):
    _, meta = pyreadstat.read_sav(files / "secondary.sav", metadataonly=True)
    assert {name: meta.variable_measure[name] for name in (
        "happy_at_school", "sdq_1", "frequency_alcohol",
        "alcohol_ever", "adults_listening", "expected_destination_after_school",
        "stage", "weight",
    )} == {
        "happy_at_school": "ordinal", "sdq_1": "ordinal", "frequency_alcohol": "ordinal",
        "alcohol_ever": "nominal", "adults_listening": "nominal",
        "expected_destination_after_school": "nominal", "stage": "ordinal", "weight": "scale",
    }  # fmt: skip


def test_the_dictionary_explains_every_column(files):
    with (files / "data_dictionary.csv").open(encoding="utf-8", newline="") as stream:
        said = list(csv.DictReader(stream))
    columns = [
        row[0]
        for row in duckdb.execute(f"describe from '{files / 'secondary.parquet'}'").fetchall()
    ]
    own = [row for row in said if row["file"] == "secondary"]
    assert list(dict.fromkeys(row["variable"] for row in own)) == columns
    positions = {row["variable"]: int(row["position"]) for row in own}
    assert [positions[name] for name in columns] == list(range(1, len(columns) + 1))
    extract = list(dict.fromkeys(row["variable"] for row in said if row["file"] == "salsus"))
    held = duckdb.execute(f"describe from '{files / 'salsus.parquet'}'").fetchall()
    assert extract == [row[0] for row in held]
    withheld = [row for row in said if row["code"] == "-7"]
    assert withheld and {row["missing"] for row in withheld} == {"yes"}


def test_archive_and_cpp_get_the_same_bytes(built):
    def digests(kind):
        folder = built.path / kind / "t2-falkirk" / "microdata"
        return {p.name: hashlib.sha256(p.read_bytes()).digest() for p in folder.iterdir()}

    assert digests("archive") == digests("cpp")


def test_the_note_says_what_was_done_and_asked(files):
    text = (files / "README.md").read_text()
    assert "SIMULATED" in text and f"At least\n  {RULE.k} pupils" in text and "agreement" in text


@pytest.mark.parametrize("engagement", ["t1-clackmannanshire", "t2-falkirk"])
def test_the_note_says_how_far_shares_of_sensitive_answers_are_off(built, engagement):
    """Counted here pupil by pupil, of questions that 100 or more answered."""
    files = built.path / "archive" / engagement / "microdata"
    variables = [v.name for v in load_codebook().variables_of("secondary") if v.is_sensitive]
    with duckdb.connect(str(built.home.warehouse), read_only=True) as con:
        told = con.execute(
            "select * from wellbeing.item_answers where engagement = ? and survey = 'secondary'",
            [engagement],
        ).df()
    shown, off = duckdb.execute(f"from '{files / 'secondary.parquet'}'").df(), [0.0]
    for name in variables:
        every, some = (frame.loc[frame[name] >= 0, name] for frame in (told, shown))
        if len(every) >= 100 and len(some):
            shares = some.value_counts(normalize=True), every.value_counts(normalize=True)
            off.append(100 * shares[0].sub(shares[1], fill_value=0.0).abs().max())
    assert max(off) > 0
    most = 5 * math.ceil(max(off) / 5)
    assert f"at most {most} points in `secondary`" in (files / "README.md").read_text()


def test_without_the_purpose_a_package_has_no_microdata(home, build):
    home.config.mkdir(parents=True, exist_ok=True)
    (home.config / "policy.yaml").write_text("microdata:\n  purposes: {archive: no, cpp: no}\n")
    made = build(home)
    assert not any(name.startswith("archive") for name in made.packages)
    own = made.path / "cpp" / "t2-falkirk"
    assert not (own / "microdata").exists()
    assert "microdata" not in json.loads((own / "certificate.json").read_text())
