"""Findings behind the row of Table A for models: what of a model or its tables is shown.

Belongs here: protecting `research.risks` and `research.models`. Does not belong here: the
analysis (`research`), the thresholds (policy.yaml, `models`).

A split of pupils is shown whole or not at all: the groups of one factor, or the counts of one
domain, add up to those who answered. A term is hidden by the smaller of its two groups; the
others of its model stand, since odds ratios do not add up.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from rcs_assets.codebook.model import Codebook
from rcs_assets.disclosure.service_rules import ModelRule


def protect_risks(
    con: duckdb.DuckDBPyConnection,
    rule: ModelRule,
    codebook: Codebook,
    titles: Mapping[str, str],
) -> pa.Table:
    """`research.risks` as everybody may see it, with the factors' titles; hidden is null."""
    _register_flags(con, codebook)
    con.register(
        "factor_titles", pa.table({"factor": list(titles), "title": list(titles.values())})
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
                ) over (partition by survey, outcome, kind, domain, factor) as is_safe,
                bool_or(outcome_pct is null or reason <> '') over (
                    partition by survey, outcome, kind, domain, factor
                ) as is_missing,
                titles.title
            from research.risks as risks
            inner join outcome_flags using (outcome)
            left join factor_titles as titles using (factor)
        ),
        stated as (
            select *, case when not is_safe then 'c' when is_missing then 'x' else 'published' end
                as status
            from judged
        )
        select
            survey, outcome, kind, domain, factor, coalesce(title, '') as title, level,
            if(status = 'published', {_step("n", rule.n_step)}, null) as n,
            if(status = 'published', {_step("share_pct", rule.pct_step)}, null) as share_pct,
            if(status = 'published', {_step("outcome_pct", rule.pct_step)}, null) as outcome_pct,
            if(status = 'published', {_out("floor", "ci_low", rule.pct_step)}, null) as ci_low,
            if(status = 'published', {_out("ceil", "ci_high", rule.pct_step)}, null) as ci_high,
            status
        from stated
        order by all
        """
    ).to_arrow_table()


def protect_models(
    con: duckdb.DuckDBPyConnection, rule: ModelRule, codebook: Codebook, alpha: float
) -> pa.Table:
    """`research.models` as everybody may see it; hidden figures are null.

    Args:
        con: a connection that sees the relation.
        rule: Table A, row models.
        codebook: which outcomes are sensitive.
        alpha: the corrected p below which a term is clear (findings.yaml, 1 - confidence).
    """
    _register_flags(con, codebook)
    decimals, points = rule.decimals, rule.pct_step
    shown = {
        "odds_ratio": f"round(odds_ratio, {decimals})",
        "ci_low": f"round(ci_low, {decimals})",
        "ci_high": f"round(ci_high, {decimals})",
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


def _register_flags(con: duckdb.DuckDBPyConnection, codebook: Codebook) -> None:
    flags = {name: i.is_sensitive for name, i in codebook.indicators.items()}
    con.register(
        "outcome_flags",
        pa.table({"outcome": list(flags), "is_sensitive": list(flags.values())}),
    )


def _step(column: str, step: float) -> str:
    """Nearest multiple, halves away from zero."""
    return f"round({column} / {step}) * {step}"


def _out(way: str, column: str, step: float) -> str:
    """Outward to a multiple: a range never narrows by rounding."""
    return f"{way}({column} / {step}) * {step}"
