"""Factors affecting children's mental health and wellbeing, from the pupils who answered.

Belongs here: the tables `research.risks` and `research.models`. Does not belong here: what is
analysed (`data/findings.yaml`), protection (`disclosure`).

All areas together, raked, schools as clusters within CPPs (policy.md, Table B, "all"): eight
volunteering areas, not Scotland. What goes together with an outcome need not cause it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.codebook.model import Codebook
from rcs_assets.estimation import (
    Design,
    adjust,
    coefficient_table,
    estimate,
    fit_glm,
    marginal_effects,
    model_checks,
    pooled_design_effect,
)
from rcs_assets.estimation.intervals import wilson_interval
from rcs_assets.research.rules import DOMAINS, FindingsRules
from rcs_assets.wellbeing.estimators import Estimators

# A school that was asked in two waves is one cluster.
DESIGN = Design(strata="council_code", clusters="seed_code", weight="weight", nest=True)
# Where an area has one school alone: for a design effect its square is better than no variance.
_WITH_LONELY = replace(DESIGN, lonely_psu="adjust")
RISKS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("survey", "kind", "domain", "factor", "level")),
        ("outcome", pa.string()),
        ("n", pa.int64()),
        ("with_outcome_n", pa.int64()),
        *((name, pa.float64()) for name in ("share_pct", "outcome_pct", "ci_low", "ci_high")),
        ("design_effect", pa.float64()),
        ("reason", pa.string()),
    ]
)
MODELS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("survey", "outcome", "kind", "factor", "level")),
        *(
            (name, pa.float64())
            for name in (
                "odds_ratio", "ci_low", "ci_high", "p_value", "corrected_p", "effect_points",
                "effect_low", "effect_high", "value",
            )
        ),
        *((name, pa.int64()) for name in ("n", "least_cell_n", "least_outcome_n", "df")),
        ("reason", pa.string()),
    ]
)  # fmt: skip


def write_findings(
    con: duckdb.DuckDBPyConnection,
    engagements: Sequence[str],
    rules: FindingsRules,
    codebook: Codebook,
    estimators: Estimators,
) -> tuple[int, int]:
    """Make research.risks and research.models anew.

    `risks`: a row a factor (kind `factor`, level `risk` or `protective`) or count of risks of
    a domain or of all (kind `count`, level `0` … `3+`, as far as it has so many factors) and
    outcome: pupils, their share of those who answered, how many have the outcome, with its
    interval: from school clusters, or, of too few schools, Wilson's on n / `design_effect` (null
    otherwise). `models`: logistic models of each outcome on all factors, adjusted: adjusted odds
    (kind `term`), average marginal effects in points, and figures of the model (kind `check`).

    Pooled are answers to the same question only: an outcome or factor whose question changed
    between the tranches has its counts with the reason `not_comparable`, and stands in no count
    of risks and no model.

    Args:
        con: a writing connection to the warehouse.
        engagements: the engagements that enter.
        rules: what is analysed.
        codebook: what changed between versions of a questionnaire.
        estimators: from how many schools on an interval is made from them (policy.md, Table B).

    Returns:
        Numbers of rows of both.
    """
    con.register("scope_list", pa.table({"engagement": pa.array(list(engagements), pa.string())}))
    risks: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    for survey, outcomes in rules.outcomes.items():
        unlike = rules.unlike(survey, codebook, tranches_of(con, survey))
        alike = rules.without(unlike)
        con.execute(_pupils_sql(survey, rules, alike))
        rates = _rates(con, survey, rules, alike, estimators)
        for outcome in outcomes:
            risks += _factor_rows(con, survey, outcome, rules, unlike, rates)
            if outcome in unlike:
                continue
            if survey in rules.counted_surveys:
                risks += _count_rows(con, survey, outcome, alike, rates)
            models += _model_rows(con, survey, outcome, alike)
    con.unregister("scope_list")
    con.execute("create schema if not exists research")
    made = {
        "risks": pa.Table.from_pylist(risks, RISKS_SCHEMA),
        "models": _corrected(pa.Table.from_pylist(models, MODELS_SCHEMA)),
    }
    for name, table in made.items():
        con.register("made", table)
        con.execute(f"create or replace table research.{name} as from made order by all")
        con.unregister("made")
    return made["risks"].num_rows, made["models"].num_rows


def _corrected(models: pa.Table) -> pa.Table:
    """Holm over the factors of one model: its terms are its headlines."""
    return (
        adjust(models.drop_columns(["corrected_p"]), "holm", by=["survey", "outcome"])
        .select(MODELS_SCHEMA.names)
        .cast(MODELS_SCHEMA)
    )


def tranches_of(con: duckdb.DuckDBPyConnection, survey: str) -> list[str]:
    """Tranches whose pupils are analysed together; reads `scope_list`."""
    rows = con.execute(
        "select distinct tranche from wellbeing.indicator_values "
        "where survey = ? and engagement in (from scope_list) order by all",
        [survey],
    ).fetchall()
    return [str(row[0]) for row in rows]


def _pupils_sql(survey: str, rules: FindingsRules, alike: FindingsRules) -> str:
    """Weighted pupils of a survey: outcomes, each factor as 1, 0 or null, counts of risks."""
    factors = ", ".join(
        f"case when answers.{f.variable} >= 0 then "
        f"(answers.{f.variable} in ({', '.join(map(str, f.risk))}))::int end as {f.name}"
        for f in rules.factors_of(survey)
    )
    counts = ", ".join(
        f"{_count_sql(names, rules.most_risks)} as risks_{domain}"
        for domain, names in _counted(survey, alike).items()
    )
    outcomes = ", ".join(f"values_.{name}" for name in rules.outcomes[survey])
    return f"""
        create or replace temp table research_pupils as
        with factors as (
            select
                values_.record_id, values_.council_code, values_.seed_code, values_.stage,
                values_.sex, values_.simd_quintile, weights.weight, {outcomes}, {factors},
            from wellbeing.indicator_values as values_
            inner join wellbeing.weights as weights using (engagement, record_id)
            inner join wellbeing.item_answers as answers using (engagement, record_id)
            where values_.survey = '{survey}' and values_.engagement in (from scope_list)
        )
        select *, {counts} from factors
    """


def _counted(survey: str, rules: FindingsRules) -> dict[str, list[str]]:
    """Factors of each domain that has two at least, and of all."""
    domains = {domain: [f.name for f in rules.factors_of(survey, domain)] for domain in DOMAINS}
    found = {domain: names for domain, names in domains.items() if len(names) > 1}
    return found | {"all": [f.name for f in rules.factors_of(survey)]}


def _count_sql(names: Sequence[str], most: int) -> str:
    """Number of risks, `3+` from the most on; null unless every question is answered."""
    total = " + ".join(names)
    return f"case when {total} >= {most} then '{most}+' else ({total})::varchar end"


# Column of a factor or count → (outcome, value) → the engine's row.
Rates = dict[str, dict[tuple[str, Any], dict[str, Any]]]


def _rates(
    con: duckdb.DuckDBPyConnection,
    survey: str,
    rules: FindingsRules,
    alike: FindingsRules,
    estimators: Estimators,
) -> Rates:
    """All outcomes in each group of every factor and count: one pass a column."""
    columns = [factor.name for factor in rules.factors_of(survey)]
    if survey in rules.counted_surveys:
        columns += [f"risks_{domain}" for domain in _counted(survey, alike)]

    def estimated(design: Design) -> dict[str, pa.Table]:
        return {
            column: estimate(
                con, "research_pupils", design, rules.outcomes[survey], by=column, ci="logit",
                level=rules.confidence,
            )
            for column in columns
        }  # fmt: skip

    found = estimated(DESIGN)
    has_lonely = any("lonely_psu" in table["reason"].to_pylist() for table in found.values())
    spread = estimated(_WITH_LONELY) if has_lonely else found
    effects = _design_effects(con, list(spread.values()), estimators)
    sql = "select count(distinct (council_code, seed_code)) from research_pupils"
    has_clusters = con.execute(sql).fetchall()[0][0] >= estimators.schools_for_clusters
    rates: Rates = {}
    for column, table in found.items():
        rates[column] = {
            (row["variable"], row[column]): row | {"design_effect": None}
            if has_clusters and row["ci_low"] is not None
            else _with_wilson(row, effects[row["variable"]], rules.confidence)
            for row in table.to_pylist()
        }
    return rates


def _design_effects(
    con: duckdb.DuckDBPyConnection, found: Sequence[pa.Table], estimators: Estimators
) -> dict[str, float]:
    """Outcome → design effect, pooled over all groups that have a variance."""
    floor, step = estimators.design_effect_floor, estimators.design_effect_step
    told = pa.concat_tables(table.select(["variable", "n", "se", "deff", "df"]) for table in found)
    return {
        row["variable"]: round((row["design_effect"] or floor) / step) * step
        for row in pooled_design_effect(con, told, floor=floor).to_pylist()
    }


def _with_wilson(row: dict[str, Any], effect: float, confidence: float) -> dict[str, Any]:
    """A rate with Wilson's interval, where few schools, or one alone in its area, make none."""
    if row["estimate"] is None:
        return row | {"design_effect": None}
    share, n = np.array([row["estimate"]]), np.array([row["n"]], dtype=np.float64)
    (low,), (high,) = wilson_interval(share, n, confidence, effect)
    own = {"ci_low": float(low), "ci_high": float(high), "design_effect": effect, "reason": ""}
    return row | own


def _factor_rows(
    con: duckdb.DuckDBPyConnection,
    survey: str,
    outcome: str,
    rules: FindingsRules,
    unlike: frozenset[str],
    rates: Rates,
) -> list[dict[str, Any]]:
    withheld = dict.fromkeys(("share_pct", "outcome_pct", "ci_low", "ci_high", "design_effect"))
    rows = []
    for factor in rules.factors_of(survey):
        levels = {1: "risk", 0: "protective"}
        place = {"kind": "factor", "domain": factor.domain, "factor": factor.name}
        found = _group_rows(con, survey, outcome, factor.name, levels, place, rates)
        if {outcome, factor.name} & unlike:
            found = [row | withheld | {"reason": "not_comparable"} for row in found]
        rows += found
    return rows


def _count_rows(
    con: duckdb.DuckDBPyConnection,
    survey: str,
    outcome: str,
    rules: FindingsRules,
    rates: Rates,
) -> list[dict[str, Any]]:
    rows = []
    for domain, names in _counted(survey, rules).items():
        levels = {label: label for label in _levels(len(names), rules.most_risks)}
        place = {"kind": "count", "domain": domain, "factor": "risks"}
        rows += _group_rows(con, survey, outcome, f"risks_{domain}", levels, place, rates)
    return rows


def _levels(factors_n: int, most: int) -> list[str]:
    """Numbers of risks that can be: of two factors nobody has three."""
    levels = [str(number) for number in range(min(most, factors_n + 1))]
    return [*levels, f"{most}+"] if factors_n >= most else levels


def _group_rows(
    con: duckdb.DuckDBPyConnection,
    survey: str,
    outcome: str,
    column: str,
    levels: dict[Any, str],
    place: dict[str, str],
    rates: Rates,
) -> list[dict[str, Any]]:
    """The outcome in each group of a column, with the group's share of pupils."""
    known = f"from research_pupils where {outcome} is not null and {column} is not null"
    counted = {
        row[0]: row[1:]
        for row in con.execute(
            f"select {column}, count(*), sum({outcome})::int, "
            f"100 * sum(weight::decimal(18, 9))::double / "
            f"sum(sum(weight::decimal(18, 9))) over ()::double {known} group by all"
        ).fetchall()
    }
    rows = []
    for value, label in levels.items():
        n, with_outcome, share = counted.get(value, (0, 0, None))
        rate = rates[column].get((outcome, value), {})
        rows.append(
            {
                "survey": survey, "outcome": outcome, "level": label, **place,
                "n": n, "with_outcome_n": with_outcome, "share_pct": share,
                "outcome_pct": _percent(rate.get("estimate")),
                "ci_low": _percent(rate.get("ci_low")),
                "ci_high": _percent(rate.get("ci_high")),
                "design_effect": rate.get("design_effect"),
                "reason": rate.get("reason", "no_data") if n else "no_data",
            }
        )  # fmt: skip
    return rows


def _percent(share: float | None) -> float | None:
    return None if share is None else 100.0 * share


def _model_rows(
    con: duckdb.DuckDBPyConnection, survey: str, outcome: str, rules: FindingsRules
) -> list[dict[str, Any]]:
    """One model: every factor of the survey together, adjusted."""
    adjusted = _adjusted_view(con, outcome, rules)
    factors = [f.name for f in rules.factors_of(survey)]
    formula = f"{outcome} ~ {' + '.join([*factors, *adjusted])}"
    model = fit_glm(con, "research_model", DESIGN, formula, "binomial")
    terms = {row["variable"]: row for row in coefficient_table(model, rules.confidence).to_pylist()}
    complete = " and ".join(f"{name} is not null" for name in [outcome, *factors, *adjusted])
    rows = []
    for effect in marginal_effects(con, DESIGN, model, rules.confidence).to_pylist():
        factor, level = effect["variable"], effect["level"]
        term = terms[f"{factor}{level or ''}"]
        cells = _least_cells(con, outcome, factor, level, complete)
        rows.append(
            {
                "survey": survey, "outcome": outcome, "kind": "term", "factor": factor,
                "level": _plain(level) or "risk", "n": model.n, "df": int(max(model.df, 0)),
                "odds_ratio": _exp(term["estimate"]), "ci_low": _exp(term["ci_low"]),
                "ci_high": _exp(term["ci_high"]), "p_value": term["p_value"],
                "effect_points": _percent(effect["estimate"]),
                "effect_low": _percent(effect["ci_low"]),
                "effect_high": _percent(effect["ci_high"]),
                "least_cell_n": cells[0], "least_outcome_n": cells[1],
                "reason": term["reason"],
            }
        )  # fmt: skip
    least = [min((row[k] for row in rows), default=0) for k in ("least_cell_n", "least_outcome_n")]
    rows += [
        {
            "survey": survey, "outcome": outcome, "kind": "check", "factor": check["check"],
            "level": "all", "n": model.n, "df": int(max(model.df, 0)),
            "value": check["p_value" if check["check"] == "fit" else "value"],
            "least_cell_n": least[0], "least_outcome_n": least[1],
            "reason": "" if check["value"] is not None else "no_data",
        }
        for check in model_checks(con, DESIGN, model).to_pylist()
    ]  # fmt: skip
    return rows


def _adjusted_view(con: duckdb.DuckDBPyConnection, outcome: str, rules: FindingsRules) -> list[str]:
    """The pupils with categories in the order that is wanted: the reference sorts first.

    A category of which only one level has the outcome says nothing and is left out.
    """
    columns = []
    kept = []
    for name, levels in rules.adjusted_for.items():
        place = " ".join(
            f"when {name}::varchar = '{level}' then '{number}:{level}'"
            for number, level in enumerate(levels)
        )
        other = f"{name}::varchar"
        columns.append(
            f"case {place} else {other} end as {name}" if place else f"{other} as {name}"
        )
        held = con.execute(
            f"select count(distinct {name}) from research_pupils where {outcome} is not null"
        ).fetchall()[0][0]
        kept += [name] if held > 1 else []
    con.execute(
        f"create or replace temp view research_model as "
        f"select * replace ({', '.join(columns)}) from research_pupils"
    )
    return kept


def _least_cells(
    con: duckdb.DuckDBPyConnection, outcome: str, factor: str, level: str | None, complete: str
) -> tuple[int, int]:
    """Smallest group of a term's two, and the smallest number with or without the outcome."""
    if level is None:
        groups = factor
    else:
        others = f"(select min({factor}) from research_model where {complete})"
        groups = f"case {factor} when '{level}' then 1 when {others} then 0 end"
    rows = con.execute(
        f"select count(*), sum({outcome})::int from research_model where {complete} "
        f"and ({groups}) is not null group by {groups}"
    ).fetchall()
    if len(rows) < 2:
        return 0, 0
    return min(n for n, _ in rows), min(min(with_it, n - with_it) for n, with_it in rows)


def _plain(level: str | None) -> str | None:
    return level.split(":")[-1] if level else level


def _exp(value: float | None) -> float | None:
    return None if value is None else float(np.exp(value))
