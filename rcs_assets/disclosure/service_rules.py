"""The blocks `spend` and `reach` of the policy as typed data.

Belongs here: the rules for few providers and for need × reach, and refusing a block that
protects nobody. Does not belong here: applying them (`spend.py`, `reach.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Columns of the release's table `spend` that a table of it may be broken down by.
SPEND_COLUMNS = ("sector", "tier", "age_band", "funding_origin", "domain")


@dataclass(frozen=True)
class SpendRule:
    """When a cell of spend tells too much of a provider (policy.md, Table A, row spend).

    `least_holdings`: providers a cell needs; `p_pct`: the second largest holding may not know
    the largest to within so many per cent; `dominance_holdings`, `dominance_pct`: the so many
    largest may not be more than so many per cent of a cell. `gbp_step`, `n_step`: multiples
    that are shown. `open_provider_types`: whose money is public anyway. `tables`: the columns
    of each table that is made.
    """

    least_holdings: int
    p_pct: float
    dominance_holdings: int
    dominance_pct: float
    gbp_step: float
    n_step: float
    open_provider_types: tuple[str, ...]
    tables: tuple[tuple[str, ...], ...]
    source: str
    dated: str
    reason: str


@dataclass(frozen=True)
class ReachRule:
    """What a row of need × reach must hold (policy.md, Table A, row need × reach).

    `base`: pupils of a need row; `numerator`, `complement`: pupils with a service, and
    without; the steps are the multiples that are shown.
    """

    base: int
    numerator: int
    complement: int
    pct_step: float
    interval_step: float
    n_step: float
    source: str
    dated: str
    reason: str


@dataclass(frozen=True)
class ModelRule:
    """Table A, row models: groups of each term, and of tables behind them."""

    cell: int
    numerator: int
    least_df: int
    decimals: int
    pct_step: float
    n_step: float
    sensitive_plus: int
    source: str
    dated: str
    reason: str


def spend_rule(block: Mapping[str, Any]) -> SpendRule:
    """The rule from the policy's block.

    Raises:
        KeyError, TypeError, ValueError: the block is not in its form, or protects nobody.
    """
    rule = SpendRule(
        least_holdings=int(block["least_holdings"]),
        p_pct=float(block["p_pct"]),
        dominance_holdings=int(block["dominance"]["holdings"]),
        dominance_pct=float(block["dominance"]["above_pct"]),
        gbp_step=float(block["gbp_step"]),
        n_step=float(block["n_step"]),
        open_provider_types=tuple(block["open_provider_types"]),
        tables=tuple(tuple(columns) for columns in block["tables"]),
        **_origin(block),
    )
    for problem in _spend_problems(rule):
        raise ValueError(f"spend: {problem}")
    return rule


def reach_rule(block: Mapping[str, Any]) -> ReachRule:
    """The rule from the policy's block.

    Raises:
        KeyError, TypeError, ValueError: the block is not in its form, or protects nobody.
    """
    rule = ReachRule(
        base=int(block["base"]),
        numerator=int(block["numerator"]),
        complement=int(block["complement"]),
        pct_step=float(block["pct_step"]),
        interval_step=float(block["interval_step"]),
        n_step=float(block["n_step"]),
        **_origin(block),
    )
    for problem in _reach_problems(rule):
        raise ValueError(f"reach: {problem}")
    return rule


def model_rule(block: Mapping[str, Any]) -> ModelRule:
    """The rule from the policy's block.

    Raises:
        KeyError, TypeError, ValueError: the block is not in its form, or protects nobody.
    """
    rule = ModelRule(
        cell=int(block["cell"]),
        numerator=int(block["numerator"]),
        least_df=int(block["least_df"]),
        decimals=int(block["decimals"]),
        pct_step=float(block["pct_step"]),
        n_step=float(block["n_step"]),
        sensitive_plus=int(block["sensitive_plus"]),
        **_origin(block),
    )
    if rule.numerator < 2 or rule.cell < 2 * rule.numerator or rule.least_df < 1:
        raise ValueError("models: a threshold protects nobody")
    if rule.pct_step <= 0 or rule.n_step <= 0 or rule.decimals < 0:
        raise ValueError("models: a step must be above 0")
    return rule


def _origin(block: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(block[name]) for name in ("source", "dated", "reason")}


def _spend_problems(rule: SpendRule) -> Iterable[str]:
    if rule.least_holdings < 3:
        yield "with two holdings each knows the other's: at least 3 are needed"
    if rule.p_pct <= 0 or rule.dominance_holdings < 1 or not 0 < rule.dominance_pct < 100:
        yield "p or dominance protects nobody"
    if rule.gbp_step <= 0 or rule.n_step <= 0:
        yield "a step must be above 0"
    if not rule.tables or not all(set(columns) <= set(SPEND_COLUMNS) for columns in rule.tables):
        yield f"tables are made of {', '.join(SPEND_COLUMNS)}"


def _reach_problems(rule: ReachRule) -> Iterable[str]:
    if min(rule.numerator, rule.complement) < 2:
        yield "a threshold below 2 protects nobody"
    if rule.base < rule.numerator + rule.complement:
        yield "base is less than numerator and complement together"
    if min(rule.pct_step, rule.interval_step, rule.n_step) <= 0:
        yield "a step must be above 0"
