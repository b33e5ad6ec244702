"""The profile of pupils with complex ASN: off until defined, then counted a second time here."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.model import VersionChange
from rcs_assets.errors import ConfigurationError
from rcs_assets.services.complex_asn import load_complex_asn, write_complex_asn
from tests.acceptance.documentation import blocks

FULL = load_codebook()
NAMES = ("primary_lonely", "primary_mood_mean")
CODEBOOK = replace(FULL, indicators={name: FULL.indicators[name] for name in NAMES})
AREAS = {"t1-many": 16, "t2-few": 4}
DEFINED = """
conditions:
  - {types: ["1"]}
  - {types: ["2"], needs: ["25", "22"]}
  - {least_needs: 3}
source: the council's own definition
dated: 2026-11-28
reason: made for this test
"""


def overlay(folder: Path, text: str = DEFINED) -> Path:
    (folder / "complex_asn.yaml").write_text(text, encoding="utf-8")
    return folder


def pupils() -> pd.DataFrame:
    """Pupils on the roll of two areas, every fourth without an answer, some without a record."""
    random = np.random.default_rng(11)
    rows = []
    for area, schools_n in AREAS.items():
        for school in range(schools_n):
            for number in range(40):
                types = random.choice(["", "1", "2", "02;5", "5", "4"], p=[0.5, 0.1, *[0.1] * 4])
                coded = ["", "25", "22;10", "10", "11;12;13", "11;11; 12"]
                needs = random.choice(coded, p=[0.5, *[0.1] * 5])
                lonely = 0.2 + 0.2 * (types == "1") if area != "t2-few" or types or needs else 0.0
                rows.append(
                    {
                        "project_id": f"{area}-{school}-{number}", "engagement": area,
                        "seed_code": f"{area[:2]}-{school}", "stage": f"P{5 + number % 3}",
                        "sex": "FM"[number % 2], "asn_types": types,
                        "asn_needs": needs, "has_record": number % 10 != 9,
                        "has_answered": number % 4 != 3, "weight": 1 + number % 3 / 4,
                        "simd_quintile": 1 + school % 5,
                        "primary_lonely": float(random.random() < lonely),
                        "primary_mood_mean": float(random.integers(2, 11)) / 2,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def group_of(row: pd.Series) -> str:
    """The definition above, written out."""
    types = {code.strip().lstrip("0") for code in row["asn_types"].split(";")} - {""}
    needs = {code.strip() for code in row["asn_needs"].split(";")} - {""}
    if "1" in types or ("2" in types and needs & {"25", "22"}) or len(needs) >= 3:
        return "complex"
    return "other_asn" if types | needs else "no_asn"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    made = pupils()
    return made.assign(group=made.apply(group_of, axis=1))


@pytest.fixture(scope="module")
def con(frame) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    for schema in ("programme", "intake", "linkage", "wellbeing"):
        con.execute(f"create schema {schema}")
    con.register("frame", frame.drop(columns="group"))
    con.execute("""
        create table programme.waves as
        select unnest(['t1-many', 't2-few', 't9-out']) as engagement, 'primary' as survey,
            ['P5', 'P6', 'P7'] as stages;
        create table intake.sample as
        select engagement, 's' || project_id as record_id, seed_code, stage from frame;
        create table intake.education as
        select engagement, 'e' || project_id as record_id, nullif(asn_types, '') as asn_types,
            nullif(asn_needs, '') as asn_needs
        from frame
        where has_record;
        create table linkage.project_ids as
        select engagement, 'sample' as dataset, 's' || project_id as record_id, project_id
        from frame
        union all
        select engagement, 'education', 'e' || project_id, project_id from frame where has_record;
        create table linkage.linked as
        select engagement, 'r' || project_id as record_id, project_id, 'primary' as survey,
            sex = 'F' as looked_after, 'Y' as free_school_meal, stage = 'P5' as has_asn_support,
            false as has_social_work, null::boolean as has_childs_plan
        from frame where has_answered;
        create table wellbeing.indicator_values as
        select engagement, left(engagement, 2) as tranche, 'r' || project_id as record_id,
            'primary' as survey, seed_code, stage, sex, simd_quintile, primary_lonely,
            primary_mood_mean
        from frame where has_answered;
        create table wellbeing.weights as
        select engagement, 'r' || project_id as record_id, weight from frame where has_answered;
    """)
    return con


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    return load_complex_asn(CODEBOOK, overlay(tmp_path_factory.mktemp("config")))


@pytest.fixture(scope="module")
def found(con, rules) -> dict:
    write_complex_asn(con, [*AREAS], rules, CODEBOOK)
    rows = con.execute("from services.complex_asn").to_arrow_table().to_pylist()
    return {(r["engagement"], r["part"], r["measure"], r["group"]): r for r in rows}


def test_without_a_definition_there_is_no_profile(con) -> None:
    shipped = load_complex_asn(FULL)
    assert not shipped.is_on
    own = con.cursor()
    assert write_complex_asn(own, [*AREAS], shipped, CODEBOOK) == 0
    own.execute("drop table services.complex_asn")


def test_every_area_measure_and_group_has_a_row(found) -> None:
    assert {key[0] for key in found} == {*AREAS, None}
    assert {key[3] for key in found} == {"complex", "other_asn", "no_asn"}
    parts = {part: {k[2] for k in found if k[1] == part} for part in {k[1] for k in found}}
    assert parts["answers"] == {*NAMES}
    assert parts["response"] == {"responded"}
    assert {"girls", "stage P5", "simd quintile 5", "looked after"} <= parts["who"]
    assert len(found) == 3 * 3 * sum(map(len, parts.values()))


@pytest.mark.parametrize("area", [*AREAS, None])
@pytest.mark.parametrize("group", ["complex", "other_asn", "no_asn"])
def test_groups_are_those_of_the_definition(frame, found, area, group) -> None:
    mine = frame[frame["has_record"] & (frame["group"] == group)]
    mine = mine if area is None else mine[mine["engagement"] == area]
    response = found[area, "response", "responded", group]
    assert response["n"] == len(mine) > 20
    assert response["numerator_n"] == mine["has_answered"].sum()
    assert response["estimate"] == pytest.approx(100 * mine["has_answered"].mean())
    low, high = wilson(mine["has_answered"].mean(), len(mine))
    assert (response["ci_low"], response["ci_high"]) == pytest.approx((low, high))
    answered = mine[mine["has_answered"]]
    for column, measure in (("primary_lonely",) * 2, ("primary_mood_mean",) * 2, ("sex", "girls")):
        row = found[area, "who" if measure == "girls" else "answers", measure, group]
        y = (answered[column] == "F").astype(float) if measure == "girls" else answered[column]
        factor = 1 if measure == "primary_mood_mean" else 100
        assert (row["n"], row["schools_n"]) == (len(y), answered["seed_code"].nunique())
        assert row["estimate"] == pytest.approx(factor * np.average(y, weights=answered["weight"]))
        assert row["ci_low"] <= row["estimate"] < row["ci_high"]
        assert row["numerator_n"] == (None if factor == 1 else y.sum())
        assert (row["difference"] is None) == (group != "complex")


def wilson(p: float, n: float) -> tuple[float, float]:
    z = stats.norm.ppf(0.975)
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (100 * (centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return low, high


def linearised(frame: pd.DataFrame, y: pd.Series, domain: pd.Series) -> tuple[float, float, int]:
    """Weighted mean of a domain, its error over school clusters of the whole design, df."""
    w = frame["weight"] * domain
    mean = float((w * y).sum() / w.sum())
    score = (w * (y - mean) / w.sum()).groupby([frame["engagement"], frame["seed_code"]]).sum()
    variance = sum(
        len(z) / (len(z) - 1) * ((z - z.mean()) ** 2).sum()
        for _, z in score.groupby(level="engagement")
    )
    return mean, math.sqrt(variance), len(score) - score.index.get_level_values(0).nunique()


def test_intervals_have_schools_as_clusters_or_the_pooled_effect(frame, found) -> None:
    people = frame[frame["has_record"] & frame["has_answered"]]
    many = people[people["engagement"] == "t1-many"]
    p, se, df = linearised(many, many["primary_lonely"], many["group"] == "complex")
    half = stats.t.ppf(0.975, df) * se / (p * (1 - p))
    row = found["t1-many", "answers", "primary_lonely", "complex"]
    centre = math.log(p / (1 - p))
    assert row["method"] == "logit"
    assert row["ci_low"] == pytest.approx(100 / (1 + math.exp(half - centre)), rel=1e-9)
    assert row["ci_high"] == pytest.approx(100 / (1 + math.exp(-half - centre)), rel=1e-9)
    # Four schools: Wilson on n over a design effect of at least 1, so never narrower than Wilson.
    few = found["t2-few", "answers", "primary_lonely", "complex"]
    low, high = wilson(few["estimate"] / 100, few["n"])
    assert few["method"] == "wilson"
    assert few["ci_low"] <= low + 1e-9 and few["ci_high"] >= high - 1e-9
    mean = found["t2-few", "answers", "primary_mood_mean", "complex"]
    assert mean["method"] == "t"


def test_the_difference_is_from_all_other_pupils(frame, found) -> None:
    people = frame[frame["has_record"] & frame["has_answered"]]
    y, is_complex = people["primary_mood_mean"], people["group"] == "complex"
    (own, *_), (rest, *_) = (linearised(people, y, d) for d in (is_complex, ~is_complex))
    row = found[None, "answers", "primary_mood_mean", "complex"]
    assert row["difference"] == pytest.approx(own - rest, rel=1e-9)
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    few = found["t2-few", "answers", "primary_mood_mean", "complex"]
    assert few["difference"] is not None
    assert few["difference_low"] is few["difference_high"] is None


def test_what_nobody_has_on_record_and_what_changed_have_a_reason(con, rules, found) -> None:
    row = found["t1-many", "support", "child's plan of social work", "complex"]
    assert (row["n"], row["estimate"], row["reason"]) == (0, None, "no_data")
    none = found["t1-many", "support", "social work", "complex"]
    assert (none["estimate"], none["numerator_n"], none["reason"]) == (0, 0, "all_equal")
    assert found["t1-many", "answers", "primary_lonely", "complex"]["reason"] == ""
    change = VersionChange(
        "t2-primary", FULL.indicators["primary_lonely"].rule.variables[0], "reworded", True,
        "made for this test", "test",
    )  # fmt: skip
    own = con.cursor()
    write_complex_asn(own, [*AREAS], rules, replace(CODEBOOK, version_changes=(change,)))
    told = own.execute(
        "select distinct engagement is null, reason, estimate is null, estimate = 0 "
        "from services.complex_asn where measure = 'primary_lonely' order by all"
    ).fetchall()
    # What the engine says of a figure is told with it: here that nobody in a group said so.
    assert told == [
        (False, "", False, False), (False, "all_equal", False, True),
        (True, "not_comparable", True, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("conditions: [{types: ['1']}]", "source, dated and reason"),
        (DEFINED.replace('["1"]', '["7"]'), "asn_types has no code 7"),
        (DEFINED.replace('"22"', '"77"'), "asn_needs has no code 77"),
        (DEFINED.replace('{types: ["1"]}', "{}"), "gives types, needs or least_needs"),
        (DEFINED.replace('{types: ["1"]}', "{plans: [1]}"), "unknown: plans"),
        ("confidence: 2", "confidence"),
        ("conditons: []", "Unknown keys"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(tmp_path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_complex_asn(CODEBOOK, overlay(tmp_path, text))


def test_the_definition_of_the_how_to_is_taken_as_it_stands(repo_root, tmp_path, con) -> None:
    """docs/how-to/define-complex-asn.md, but for its command (tests/integration/
    test_second_wave.py releases a profile)."""
    page = repo_root / "docs" / "how-to" / "define-complex-asn.md"
    (example,) = blocks(page, "yaml")
    (query,) = blocks(page, "sql")
    rules = load_complex_asn(CODEBOOK, overlay(tmp_path, example))
    assert len(rules.conditions) == 3
    own = con.cursor()
    write_complex_asn(own, [*AREAS], rules, CODEBOOK)
    rows = own.execute(query.replace("complex_asn_profile", "services.complex_asn")).fetchall()
    assert [row[1] for row in rows] == sorted(NAMES)
    assert all(row[5] < row[4] < row[6] for row in rows)
