"""Checks of the findings: groups add up, models use whom they say.

Belongs here: rules in Python on `research.*`, counted again from the pupils. Does not belong
here: making them (`findings.py`), protection (`disclosure`).
"""

from __future__ import annotations

from rcs_assets.research.rules import load_findings_rules
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks

FINDINGS = ("research", "findings")


def groups_count_every_pupil(bench: Bench) -> Verdict:
    """The groups of each factor hold each pupil who answered its question, once."""
    rules = load_findings_rules(bench.codebook, bench.home.config)
    wrong, looked_at = [], 0
    for survey, outcomes in rules.outcomes.items():
        for factor in rules.factors_of(survey):
            for outcome in outcomes:
                expected = bench.con.execute(
                    f"select count(*) from wellbeing.indicator_values as v "
                    f"inner join wellbeing.weights using (engagement, record_id) "
                    f"inner join wellbeing.item_answers as a using (engagement, record_id) "
                    f"where v.survey = '{survey}' and v.{outcome} is not null "
                    f"and a.{factor.variable} >= 0 and v.engagement not in "
                    f"(select unnest(?::varchar[]))",
                    [sorted(bench.left_out)],
                ).fetchall()
                found = bench.con.execute(
                    "select coalesce(sum(n), 0) from research.risks where kind = 'factor' "
                    "and factor = ? and outcome = ?",
                    [factor.name, outcome],
                ).fetchall()
                looked_at += 1
                wrong += [] if found == expected else [f"{outcome}/{factor.name}"]
    return Verdict.of(wrong, looked_at, "splits")


def every_outcome_has_its_model(bench: Bench) -> Verdict:
    """Each outcome has a term for each of its survey's factors asked alike, and three figures."""
    rules = load_findings_rules(bench.codebook, bench.home.config)
    wrong = []
    for survey, outcomes in rules.outcomes.items():
        rows = bench.con.execute(
            "select distinct tranche from wellbeing.indicator_values where survey = ? "
            "and engagement not in (select unnest(?::varchar[]))",
            [survey, sorted(bench.left_out)],
        ).fetchall()
        unlike = rules.unlike(survey, bench.codebook, [row[0] for row in rows])
        factors = {factor.name for factor in rules.factors_of(survey)} - unlike
        for outcome in sorted(set(outcomes) - unlike):
            rows = bench.con.execute(
                "select kind, factor from research.models where survey = ? and outcome = ?",
                [survey, outcome],
            ).fetchall()
            terms = {factor for kind, factor in rows if kind == "term"}
            checks = sum(kind == "check" for kind, _ in rows)
            wrong += [] if factors <= terms and checks == 3 else [outcome]
    return Verdict(not wrong, places(wrong, f"{sum(map(len, rules.outcomes.values()))} models"))


PYTHON_CHECKS = (
    PythonCheck(
        FINDINGS,
        "groups_count_every_pupil",
        "The groups of each factor hold each pupil who answered its question, once",
        "domain.md 1.4: each question is split into two",
        "run: rcs materialise",
        groups_count_every_pupil,
    ),
    PythonCheck(
        FINDINGS,
        "every_outcome_has_its_model",
        "Each outcome has a term for each factor of its survey, and three figures of the model",
        "research/data/findings.yaml",
        "run: rcs materialise",
        every_outcome_has_its_model,
    ),
)

research_checks = room_checks("research_checks", PYTHON_CHECKS)
