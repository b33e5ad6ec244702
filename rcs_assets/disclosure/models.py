"""Findings behind the row of Table A for models: what of a model or its tables is shown.

Belongs here: protecting `research.risks` and `research.models`. Does not belong here: the
analysis (`research`), the thresholds (policy.yaml, `models`).

A split of pupils is shown whole or not at all: the groups of one factor, or the counts of one
domain, add up to those who answered. A term is hidden by the smaller of its two groups; the
others of its model stand, since odds ratios do not add up. What several splits tell together
is attacked (`findings_attack.py`), beside what releases before told of it, and of what tells too
much more is hidden. Of what they forbid a split goes whole, a term of a model alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb
import pyarrow as pa

from rcs_assets.codebook.model import Codebook
from rcs_assets.disclosure.beside import PUBLIC
from rcs_assets.disclosure.findings_attack import ALL, COUNT, FindingLeak, attack_findings
from rcs_assets.disclosure.held import NO_HOLDS, Holds, is_held
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.disclosure.service_rules import ModelRule
from rcs_assets.errors import ConfigurationError

SHOWN = ("published", "u")
# Survey, outcome, kind, domain, factor: the groups that are shown whole or not at all.
Split = tuple[str, str, str, str, str]


def protect_findings(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    codebook: Codebook,
    titles: Mapping[str, str],
    alpha: float,
    holds: Mapping[str, Holds] | None = None,
) -> dict[str, pa.Table]:
    """`risks` and `models` as everybody may see them, safe from what they tell together.

    Args:
        con: a connection that sees `research.*`, `wellbeing.estimates`, `disclosure.estimates`.
        policy: its row models of Table A, and what is unreliable.
        codebook: which outcomes are sensitive.
        titles: of the factors.
        alpha: the corrected p below which a term is clear.
        holds: rows of the two tables that releases before forbid, or told.

    Raises:
        ConfigurationError: hiding all does not help, since the estimates tell too much.
    """
    holds, rule = holds or {}, policy.models
    models = protect_models(con, rule, codebook, alpha, holds.get("models", NO_HOLDS))
    con.register("shown_models", models)
    of_risks = holds.get("risks", NO_HOLDS)
    hidden: set[Split] = set()
    while True:
        risks = protect_risks(con, policy, codebook, titles, hidden, of_risks)
        con.register("shown_risks", risks)
        leaks, _ = attack_findings(
            con,
            rule,
            risks="shown_risks",
            models="shown_models",
            estimates="disclosure.estimates",
        )
        more = _to_hide(risks, leaks) - hidden
        if leaks and not more:
            raise ConfigurationError(
                "The findings could not be made safe",
                where=leaks[0].place(),
                why="hiding every group beside it still tells too much",
                fix="leave the outcome out (findings.yaml)",
            )
        hidden |= more
        if not leaks:
            con.unregister("shown_risks")
            con.unregister("shown_models")
            return {"risks": risks, "models": models}


def _to_hide(risks: pa.Table, leaks: Iterable[FindingLeak]) -> set[Split]:
    """The groups that a leak is of or, where these are hidden, the smallest shown beside them."""
    least: dict[Split, float] = {}
    for row in risks.to_pylist():
        if row["status"] in SHOWN:
            key = (row["survey"], row["outcome"], row["kind"], row["domain"], row["factor"])
            least[key] = min(least.get(key, float("inf")), row["n"])
    found: set[Split] = set()
    for leak in leaks:
        own = (leak.survey, leak.outcome, *leak.split)
        same = [key for key in least if key[:2] == own[:2]]
        beside = [
            key for key in same if key[3] == own[3] or ALL in (key[3], own[3]) or key[2] == COUNT
        ]
        choice = [own] if own in least else beside or same
        if choice:
            found.add(min(choice, key=lambda key: (least[key], key)))
    return found


def protect_risks(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    codebook: Codebook,
    titles: Mapping[str, str],
    also_hidden: Iterable[Split] = (),
    holds: Holds = NO_HOLDS,
) -> pa.Table:
    """`research.risks` as everybody may see it, with the factors' titles; hidden is null.

    An interval that is not made from schools is made anew from what is shown: it would else tell
    what rounding hides.

    Args:
        con: a connection that sees the relation.
        policy: its row models of Table A, and what is unreliable.
        codebook: which outcomes are sensitive.
        titles: of the factors.
        also_hidden: splits that would tell too much.
        holds: rows that releases before forbid.
    """
    rule = policy.models
    register_rounding(con)
    holds.register(con)
    register_flags(con, codebook)
    hidden = sorted(also_hidden)
    names = ("survey", "outcome", "kind", "domain", "factor")
    con.register(
        "hidden_splits",
        pa.table(
            {
                name: pa.array([key[at] for key in hidden], pa.string())
                for at, name in enumerate(names)
            }
        ),
    )
    con.register(
        "factor_titles", pa.table({"factor": list(titles), "title": list(titles.values())})
    )
    shown = ", ".join(
        f"if(status in {SHOWN}, {name}, null) as {name}"
        for name in ("n", "share_pct", "outcome_pct", "ci_low", "ci_high")
    )
    return con.execute(
        f"""
        with judged as (
            select
                risks.*,
                bool_and(
                    n >= {rule.cell} + if(is_sensitive, {rule.sensitive_plus}, 0)
                    and with_outcome_n >= {rule.numerator}
                    and n - with_outcome_n >= {rule.numerator}
                    and not is_held
                ) over (partition by survey, outcome, kind, domain, factor) as is_safe,
                bool_or(outcome_pct is null or reason <> '') over (
                    partition by survey, outcome, kind, domain, factor
                ) as is_missing,
                titles.title
            from (
                select *, {is_held("risks", f"'{PUBLIC}'")} as is_held from research.risks
            ) as risks
            inner join outcome_flags using (outcome)
            left join factor_titles as titles using (factor)
        ),
        rounded as (
            select
                * replace (
                    {_step("n", rule.n_step)} as n,
                    {_step("share_pct", rule.pct_step)} as share_pct,
                    {_step("outcome_pct", rule.pct_step)} as outcome_pct
                )
            from judged
        ),
        ranged as (
            select * replace (
                if(
                    design_effect is null, {_out("floor", "ci_low", rule.pct_step)},
                    rcs_round(rcs_wilson(outcome_pct, n / design_effect, -1), {rule.pct_step})
                ) as ci_low,
                if(
                    design_effect is null, {_out("ceil", "ci_high", rule.pct_step)},
                    rcs_round(rcs_wilson(outcome_pct, n / design_effect, 1), {rule.pct_step})
                ) as ci_high
            )
            from rounded
        ),
        stated as (
            select *, case
                when not is_safe
                    or (survey, outcome, kind, domain, factor) in (
                        select (survey, outcome, kind, domain, factor) from hidden_splits
                    ) then 'c'
                when is_missing then 'x'
                when n < {policy.unreliable_n_below}
                    or ci_high - ci_low > {policy.unreliable_interval_wider_than} then 'u'
                else 'published' end
                as status
            from ranged
        )
        select
            survey, outcome, kind, domain, factor, coalesce(title, '') as title, level,
            {shown}, status
        from stated
        order by all
        """
    ).to_arrow_table()


def protect_models(
    con: duckdb.DuckDBPyConnection,
    rule: ModelRule,
    codebook: Codebook,
    alpha: float,
    holds: Holds = NO_HOLDS,
) -> pa.Table:
    """`research.models` as everybody may see it; hidden figures are null.

    Args:
        con: a connection that sees the relation.
        rule: Table A, row models.
        codebook: which outcomes are sensitive.
        alpha: the corrected p below which a term is clear (findings.yaml, 1 - confidence).
        holds: rows that releases before forbid.
    """
    holds.register(con)
    register_flags(con, codebook)
    decimals, points = rule.decimals, rule.pct_step
    shown = {
        "odds_ratio": f"round(odds_ratio, {decimals})",
        "ci_low": _out("floor", "ci_low", 10**-decimals),
        "ci_high": _out("ceil", "ci_high", 10**-decimals),
        "is_clear": f"corrected_p < {alpha}",
        "effect_points": _step("effect_points", points),
        "effect_low": _out("floor", "effect_low", points),
        "effect_high": _out("ceil", "effect_high", points),
        "value": f"round(value, {decimals})",
        "n": _step("n", rule.n_step),
    }
    columns = ", ".join(
        f"if(status = 'published', {sql}, null) as {name}" for name, sql in shown.items()
    )
    return con.execute(
        f"""
        with stated as (
            select
                *,
                case
                    when
                        least_cell_n < {rule.cell} + if(is_sensitive, {rule.sensitive_plus}, 0)
                        or least_outcome_n < {rule.numerator}
                        or df < {rule.least_df}
                        or {is_held("models", f"'{PUBLIC}'")}
                        then 'c'
                    when reason <> '' then 'x'
                    else 'published'
                end as status
            from research.models
            inner join outcome_flags using (outcome)
        )
        select survey, outcome, kind, factor, level, {columns}, status
        from stated
        order by all
        """
    ).to_arrow_table()


def register_flags(con: duckdb.DuckDBPyConnection, codebook: Codebook) -> None:
    """Make `outcome_flags`: outcome, is_sensitive."""
    flags = {name: i.is_sensitive for name, i in codebook.indicators.items()}
    con.register(
        "outcome_flags",
        pa.table({"outcome": list(flags), "is_sensitive": list(flags.values())}),
    )


def _step(column: str, step: float) -> str:
    """Nearest multiple, halves away from zero."""
    return f"round(round({column} / {step}, 9)) * {step}"


def _out(way: str, column: str, step: float) -> str:
    """Outward to a multiple: a range never narrows by rounding."""
    return f"{way}(round({column} / {step}, 9)) * {step}"
