"""The findings on made pupils, counted and fitted a second time; what of them is shown."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.model import VersionChange
from rcs_assets.codebook.versions import variables_of
from rcs_assets.disclosure.models import protect_models, protect_risks
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.errors import ConfigurationError
from rcs_assets.research import load_findings_rules, write_findings
from rcs_assets.wellbeing.estimators import load_estimators

CODEBOOK = load_codebook()
RULES = load_findings_rules(CODEBOOK)
ESTIMATORS = load_estimators()
Z = stats.norm.ppf(0.975)
OUTCOME = "secondary_sdq_very_high_emotional"
TITLES = {factor.name: factor.title for factor in RULES.factors}


def make(n: int = 3000, schools_n: int = 60) -> duckdb.DuckDBPyConnection:
    """Pupils of two surveys in so many schools of two areas; lonely ones do worse."""
    rng = np.random.default_rng(20)
    con = duckdb.connect()
    con.execute("create schema wellbeing")
    frames = []
    for survey, stages in (
        ("primary", ["P5", "P6", "P7"]),
        ("secondary", ["S1", "S2", "S3", "S4"]),
    ):
        frame = pd.DataFrame({"record_id": [f"{survey}{i}" for i in range(n)], "survey": survey})
        school = rng.integers(0, schools_n, n)
        frame["engagement"] = np.where(school < schools_n / 2, "t1-one", "t2-two")
        frame["tranche"] = frame["engagement"].str[:2]
        frame["council_code"] = frame["engagement"].str[3:]
        frame["seed_code"] = school
        frame["stage"] = rng.choice(stages, n)
        frame["sex"] = rng.choice(["F", "M"], n)
        frame["simd_quintile"] = rng.integers(1, 6, n)
        frame["weight"] = rng.uniform(1, 2, n)
        for factor in RULES.factors:
            variable = CODEBOOK.variables[factor.variable]
            codes = sorted(CODEBOOK.value_sets[variable.value_set].values)
            answers = rng.choice(codes, n)
            frame[factor.variable] = np.where(rng.random(n) < 0.01, -9, answers)
        lonely = frame["frequency_feeling_lonely"] == 3
        for s, outcomes in RULES.outcomes.items():
            for outcome in outcomes:
                share = 0.15 + 0.3 * lonely + 0.05 * (frame["sex"] == "F")
                value = (rng.random(n) < share).astype(float)
                frame[outcome] = value if s == survey else np.nan
        frames.append(frame)
    con.register("made", pd.concat(frames))
    con.execute("create table pupils as from made")
    items = sorted({factor.variable for factor in RULES.factors})
    con.execute(
        f"create view wellbeing.item_answers as select engagement, record_id, {', '.join(items)} "
        "from pupils"
    )
    con.execute("create view wellbeing.weights as select engagement, record_id, weight from pupils")
    con.execute(
        f"create view wellbeing.indicator_values as select * exclude (weight, {', '.join(items)}) "
        "from pupils"
    )
    return con


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    made = make()
    write_findings(made, ["t1-one", "t2-two"], RULES, CODEBOOK, ESTIMATORS)
    return made


def rows(con, query: str) -> list[dict]:
    return con.execute(query).to_arrow_table().to_pylist()


def test_groups_of_a_factor_are_counted_and_weighted(con) -> None:
    frame = con.sql("select * from pupils where survey = 'secondary'").df()
    asked = frame[frame["frequency_feeling_lonely"] >= 0]
    for level, mine in (
        ("risk", asked[asked["frequency_feeling_lonely"] == 3]),
        ("protective", asked[asked["frequency_feeling_lonely"] != 3]),
    ):
        (row,) = rows(
            con,
            f"from research.risks where factor = 'often_lonely' and outcome = '{OUTCOME}' "
            f"and level = '{level}'",
        )
        assert (row["n"], row["with_outcome_n"]) == (len(mine), mine[OUTCOME].sum())
        assert row["share_pct"] == pytest.approx(100 * mine.weight.sum() / asked.weight.sum())
        assert row["outcome_pct"] == pytest.approx(
            100 * np.average(mine[OUTCOME], weights=mine.weight)
        )
        assert row["ci_low"] < row["outcome_pct"] < row["ci_high"]


def test_counts_of_risks_need_every_answer_and_are_of_the_secondary_survey(con) -> None:
    frame = con.sql("select * from pupils where survey = 'secondary'").df()
    risks = pd.DataFrame(
        {
            f.name: np.where(frame[f.variable] >= 0, frame[f.variable].isin(f.risk), np.nan)
            for f in RULES.factors_of("secondary", "peer")
        }
    ).astype(float)
    total = risks.sum(axis=1, skipna=False)
    counted = rows(
        con,
        f"from research.risks where kind = 'count' and domain = 'peer' and outcome = '{OUTCOME}'",
    )
    found = {row["level"]: row["n"] for row in counted}
    assert found == {str(k): (total == k).sum() for k in range(3)} | {"3+": (total >= 3).sum()}
    assert rows(con, "from research.risks where kind = 'count' and survey = 'primary'") == []


@pytest.mark.parametrize("domain", ["area", "health"])
def test_a_count_has_no_group_that_nobody_can_be_in(con, domain: str) -> None:
    """Of two factors nobody has three: an empty group would hide the domain for ever."""
    where = f"where kind = 'count' and domain = '{domain}' and outcome = '{OUTCOME}'"
    counted = rows(con, f"from research.risks {where}")
    assert len(RULES.factors_of("secondary", domain)) == 2
    assert {row["level"] for row in counted} == {"0", "1", "2"}
    assert all(row["n"] > 100 for row in counted)
    shown = protect_risks(con, load_policy(), CODEBOOK, TITLES).to_pylist()
    own = [r for r in shown if (r["kind"], r["domain"], r["outcome"]) == ("count", domain, OUTCOME)]
    assert {row["status"] for row in own} <= {"published", "u"}


def test_adjusted_odds_are_those_of_a_general_optimiser(con) -> None:
    frame = con.sql("select * from pupils where survey = 'secondary'").df()
    factors = RULES.factors_of("secondary")
    kept = np.logical_and.reduce([frame[f.variable] >= 0 for f in factors])
    frame = frame[kept]
    x = [np.ones(len(frame)), *(frame[f.variable].isin(f.risk) for f in factors)]
    x += [frame.sex == "F", *(frame.stage == s for s in ("S2", "S3", "S4"))]
    x += [frame.simd_quintile == q for q in (1, 2, 3, 4)]
    design, y, w = np.column_stack(x).astype(float), frame[OUTCOME].to_numpy(), frame.weight

    def score(beta):
        return (w.to_numpy() * (y - 1 / (1 + np.exp(-design @ beta)))) @ design

    beta = optimize.root(score, np.zeros(design.shape[1]), tol=1e-12).x
    terms = rows(con, f"from research.models where kind = 'term' and outcome = '{OUTCOME}'")
    odds = {(row["factor"], row["level"]): row["odds_ratio"] for row in terms}
    names = [(f.name, "risk") for f in factors] + [("sex", "F")]
    names += [("stage", s) for s in ("S2", "S3", "S4")]
    names += [("simd_quintile", q) for q in "1234"]
    assert set(odds) == set(names)
    assert [odds[name] for name in names] == pytest.approx(np.exp(beta[1:]), rel=1e-6)
    lonely = next(row for row in terms if row["factor"] == "often_lonely")
    assert lonely["corrected_p"] < 0.001
    assert 20 < lonely["effect_points"] < 40
    assert lonely["n"] == len(frame)


def test_a_model_shows_what_its_groups_allow(con) -> None:
    policy = load_policy().models
    shown = protect_models(con, policy, CODEBOOK, 0.05).to_pylist()
    assert {row["status"] for row in shown if row["kind"] == "term"} == {"published"}
    exact = {
        (row["outcome"], row["factor"], row["level"]): row
        for row in rows(con, "from research.models where kind = 'term'")
    }
    for row in (row for row in shown if row["kind"] == "term"):
        true = exact[row["outcome"], row["factor"], row["level"]]
        # Outward: no range narrows by rounding, nor widens by more than it has to.
        assert 0 <= true["ci_low"] - row["ci_low"] < 0.01
        assert 0 <= row["ci_high"] - true["ci_high"] < 0.01
    con.execute("create or replace temp table kept as from research.models")
    con.execute(
        "update research.models set least_cell_n = 39 where factor = 'often_lonely' "
        f"and outcome = '{OUTCOME}'"
    )
    hidden = [
        r for r in protect_models(con, policy, CODEBOOK, 0.05).to_pylist() if r["status"] == "c"
    ]
    assert [(row["factor"], row["odds_ratio"], row["n"]) for row in hidden] == [
        ("often_lonely", None, None)
    ]
    con.execute("create or replace table research.models as from kept")


def test_groups_are_shown_together_or_not_at_all(con) -> None:
    policy = load_policy()
    con.execute("create or replace temp table kept as from research.risks")
    con.execute(
        "update research.risks set with_outcome_n = 9 where factor = 'often_lonely' "
        f"and level = 'risk' and outcome = '{OUTCOME}'"
    )
    shown = protect_risks(con, policy, CODEBOOK, TITLES).to_pylist()
    hidden = [
        (r["factor"], r["level"]) for r in shown if r["status"] == "c" and r["kind"] == "factor"
    ]
    assert hidden == [("often_lonely", "protective"), ("often_lonely", "risk")]
    assert all(r["outcome_pct"] is None for r in shown if r["status"] == "c")
    published = next(r for r in shown if r["status"] == "published")
    assert published["n"] % 10 == 0
    assert published["title"]
    con.execute("create or replace table research.risks as from kept")


def test_a_range_of_few_schools_is_wilsons_on_what_is_shown() -> None:
    """Two schools an area: what they differ by is no width, and would tell of them."""
    few = make(schools_n=4)
    write_findings(few, ["t1-one", "t2-two"], RULES, CODEBOOK, ESTIMATORS)
    effects = {row["outcome"]: row["design_effect"] for row in rows(few, "from research.risks")}
    assert len(effects) == sum(map(len, RULES.outcomes.values()))
    assert min(effects.values()) >= 1
    shown = protect_risks(few, load_policy(), CODEBOOK, TITLES).to_pylist()
    told = [row for row in shown if row["status"] in ("published", "u")]
    assert len(told) > 100
    for row in told:
        # Where the score test just rejects: (share - p)² n = z² p (1 - p).
        share, size = row["outcome_pct"] / 100, row["n"] / effects[row["outcome"]]
        high, low = np.roots([size + Z**2, -2 * size * share - Z**2, size * share**2])
        assert (row["ci_low"], row["ci_high"]) == (round(100 * low), round(100 * high))
        assert row["status"] == ("u" if row["ci_high"] - row["ci_low"] > 30 else "published")


@pytest.mark.parametrize("schools_n", [3, 39])
def test_a_school_that_is_alone_in_its_area_takes_no_range_away(schools_n: int) -> None:
    made = make(schools_n=schools_n)
    made.execute(
        "update pupils set engagement = 't2-alone', council_code = 'alone' "
        f"where seed_code = {schools_n - 1}"
    )
    write_findings(made, ["t1-one", "t2-two", "t2-alone"], RULES, CODEBOOK, ESTIMATORS)
    found = rows(made, "from research.risks where n >= 20")
    assert {row["reason"] for row in found} == {""} and len(found) > 150
    assert all(row["ci_low"] < row["outcome_pct"] < row["ci_high"] for row in found)
    # Groups that nobody of the lonely school is in have a range from schools, if there are enough.
    effects = [row["design_effect"] for row in found if row["design_effect"] is not None]
    assert len(effects) > 150 and min(effects) >= 1 and max(effects) > 1
    shown = protect_risks(made, load_policy(), CODEBOOK, TITLES).to_pylist()
    assert len([row for row in shown if row["status"] in ("published", "u")]) > 100


def test_a_range_wider_than_the_policy_is_shown_as_unreliable(con) -> None:
    con.execute("create or replace temp table kept as from research.risks")
    con.execute(
        "update research.risks set ci_low = 10, ci_high = 40.5 where factor = 'no_trusted_adult'"
    )
    shown = protect_risks(con, load_policy(), CODEBOOK, TITLES).to_pylist()
    assert {row["status"] for row in shown if row["factor"] == "no_trusted_adult"} == {"u"}
    assert all(row["n"] and row["outcome_pct"] for row in shown if row["status"] == "u")
    assert {row["status"] for row in shown if row["factor"] == "often_lonely"} == {"published"}
    con.execute("create or replace table research.risks as from kept")


def test_an_area_without_a_survey_has_rows_without_figures() -> None:
    con = make(200)
    write_findings(con, ["t9-nobody"], RULES, CODEBOOK, ESTIMATORS)
    assert {row["reason"] for row in rows(con, "from research.risks")} == {"no_data"}
    assert rows(con, "from research.models where odds_ratio is not null") == []


def factor_text(domain: str, variable: str, risk: str, survey: str) -> str:
    return (
        f"factors: [{{name: a, domain: {domain}, variable: {variable}, risk: {risk}, "
        f"surveys: [{survey}], title: a}}]"
    )


@pytest.mark.parametrize(
    "text",
    [
        "confidence: 2",
        "outcomes: {secondary: [secondary_sdq_total_mean]}",
        "adjusted_for: {ethnicity: []}",
        factor_text("family", "time_bed", "[1]", "primary"),
        factor_text("home", "time_bed", "[1]", "secondary"),
        factor_text("family", "adult_to_trust", "[0, 1, 2]", "primary"),
        "unknown: 1",
    ],
)
def test_rules_that_make_no_sense_are_refused(tmp_path, text: str) -> None:
    (tmp_path / "findings.yaml").write_text(text)
    with pytest.raises(ConfigurationError):
        load_findings_rules(CODEBOOK, tmp_path)


def test_a_question_that_changed_between_tranches_is_not_pooled() -> None:
    """One factor and one outcome are asked in other words from the second tranche on."""
    factor = next(f for f in RULES.factors_of("secondary") if f.name != "often_lonely")
    item = sorted(variables_of(CODEBOOK, OUTCOME))[0]
    changes = tuple(
        VersionChange("t2-secondary", variable, "reworded", True, "made for this test", "test")
        for variable in (factor.variable, item)
    )
    unlike = replace(CODEBOOK, version_changes=changes)
    barred = RULES.unlike("secondary", unlike, ["t1", "t2"])
    assert {factor.name, OUTCOME} <= barred
    others = [f for f in RULES.factors_of("secondary") if f.domain == factor.domain]
    outcomes = (OUTCOME, "secondary_sdq_very_high_conduct")
    few = replace(RULES, factors=tuple(others), outcomes={"secondary": outcomes})
    assert len(others) > 1
    assert not {"secondary_sdq_very_high_conduct"} & barred
    con = make(600)
    write_findings(con, ["t1-one", "t2-two"], few, unlike, ESTIMATORS)
    found = rows(con, "from research.risks where survey = 'secondary' and kind = 'factor'")
    for row in found:
        if {row["factor"], row["outcome"]} & barred:
            assert (row["reason"], row["outcome_pct"], row["ci_low"]) == (
                "not_comparable", None, None,
            )  # fmt: skip
            assert row["n"] > 0
        else:
            assert row["outcome_pct"] is not None
    modelled = rows(con, "from research.models where survey = 'secondary'")
    assert {row["outcome"] for row in modelled} == set(outcomes) - barred
    assert factor.name not in {row["factor"] for row in modelled}
    # One tranche alone asked one question.
    write_findings(con, ["t1-one"], few, unlike, ESTIMATORS)
    assert not rows(con, "from research.risks where reason = 'not_comparable'")
