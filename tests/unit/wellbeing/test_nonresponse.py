"""Unit and item non-response counted a second time in plain Python."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.wellbeing.nonresponse import write_nonresponse

CODEBOOK = load_codebook()
STAGES = {"primary": ["P5", "P6", "P7"], "secondary": ["S1", "S2", "S3", "S4"]}
REASONS = {"prefer_not_to_say": -1, "dont_know": -2, "does_not_apply": -3, "not_answered": -9}
QUESTIONS = ("happy_at_school", "frequency_smoking", "bullied_last_year")


@pytest.fixture(scope="module")
def made():
    """Answers of two engagements, one of them out of scope; nobody of P7 answered."""
    rng = np.random.default_rng(5)
    names = [n for n, v in CODEBOOK.variables.items() if set(v.surveys) & set(STAGES)]
    pupils = [
        {
            "engagement": rng.choice(["t1-in", "t2-out"]),
            "survey": survey,
            "stage": rng.choice([s for s in STAGES[survey] if s != "P7"]),
            "sex": rng.choice(["F", "M"]),
            "simd_quintile": int(rng.integers(1, 6)) if rng.random() < 0.9 else None,
            "weight": float(rng.uniform(1, 3)),
        }
        | {name: int(rng.choice([1, 2, -1, -2, -3, -4, -5, -6, -9])) for name in names}
        for survey in rng.choice(["primary", "secondary"], 300)
    ]
    with duckdb.connect() as con:
        for schema in ("programme", "intake", "wellbeing"):
            con.execute(f"create schema {schema}")
        columns = ", ".join(f"{name} tinyint" for name in names)
        con.execute(
            "create table wellbeing.item_answers (engagement varchar, survey varchar, "
            f"stage varchar, sex varchar, simd_quintile integer, weight double, {columns})"
        )
        marks = ", ".join("?" * (6 + len(names)))
        con.executemany(
            f"insert into wellbeing.item_answers values ({marks})",
            [[str(v) if isinstance(v, np.str_) else v for v in p.values()] for p in pupils],
        )
        con.execute(
            "create table wellbeing.weights as "
            "select engagement, survey, stage, sex, weight from wellbeing.item_answers"
        )
        con.execute(
            "create table programme.waves (engagement varchar, survey varchar, stages varchar[])"
        )
        con.execute("create table intake.roll_counts (engagement varchar, stage varchar, "
                    "sex varchar, roll_n integer)")  # fmt: skip
        for engagement in ("t1-in", "t2-out"):
            for survey, stages in STAGES.items():
                con.execute(
                    "insert into programme.waves values (?, ?, ?)", [engagement, survey, stages]
                )
                for stage in stages:
                    for sex in "FM":
                        con.execute(
                            "insert into intake.roll_counts values (?, ?, ?, 60)",
                            [engagement, stage, sex],
                        )
        assert write_nonresponse(con, CODEBOOK, ["t1-in"]) > 100
        yield con, [p for p in pupils if p["engagement"] == "t1-in"]


def _rows(con, table):
    return con.execute(f"from wellbeing.{table}").to_arrow_table().to_pylist()


def _of(pupils, row):
    parts = dict(zip(row["breakdown"].split(":"), row["group"].split(":"), strict=True))
    own = [p for p in pupils if p["survey"] == row["survey"]]
    if row["breakdown"] == "total":
        return own
    return [p for p in own if all(str(p[name]) == value for name, value in parts.items())]


def test_units_by_subgroup_with_what_weights_cost(made):
    con, pupils = made
    rows = _rows(con, "unit_nonresponse")
    assert {r["engagement"] for r in rows} == {"t1-in"}
    assert {r["breakdown"] for r in rows} == {"total", "stage", "sex", "stage:sex"}
    for row in rows:
        own = _of(pupils, row)
        stages_n = {"total": len(STAGES[row["survey"]]) * 2, "sex": len(STAGES[row["survey"]])}
        roll = 60 * stages_n.get(row["breakdown"], 1 if ":" in row["breakdown"] else 2)
        assert (row["roll_n"], row["respondents_n"]) == (roll, len(own))
        assert row["nonresponse_pct"] == pytest.approx(100 * (1 - len(own) / roll))
        if not own:
            assert (row["group"].startswith("P7"), row["mean_weight"]) == (True, None)
            continue
        weights = [p["weight"] for p in own]
        effective = sum(weights) ** 2 / sum(w * w for w in weights)
        assert row["mean_weight"] == pytest.approx(sum(weights) / len(own))
        assert row["effective_n"] == pytest.approx(effective, rel=1e-6)
        assert row["weighting_effect"] == pytest.approx(len(own) / effective, rel=1e-6)


def test_items_by_reason_of_those_who_were_asked(made):
    con, pupils = made
    rows = [r for r in _rows(con, "item_nonresponse") if r["variable"] in QUESTIONS]
    assert {r["breakdown"] for r in rows} == {"total", "stage", "sex", "simd_quintile"}
    for row in rows:
        answers = [p[row["variable"]] for p in _of(pupils, row)]
        asked = [a for a in answers if a not in (-4, -5, -6)]
        assert row["asked_n"] == len(asked)
        assert row["valid_n"] == sum(a >= 0 for a in asked)
        for name, code in REASONS.items():
            assert row[f"{name}_n"] == asked.count(code)
        invalid = sum(a < 0 for a in asked)
        assert row["nonresponse_pct"] == pytest.approx(100 * invalid / len(asked))
