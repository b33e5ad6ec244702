"""What may be asked of `estimate`, checked before any estimating query runs.

Belongs here: the choices of statistics, the checked request, and the refusals in words.
Does not belong here: how a request is answered (`engine`, `quantiles`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import duckdb

from rcs_assets.errors import InputError
from rcs_assets.estimation.design import Design
from rcs_assets.estimation.intervals import INTERVALS, check_level
from rcs_assets.estimation.relation import Relation, open_relation, with_row_units
from rcs_assets.estimation.replicates import Replicates
from rcs_assets.estimation.result import RESULT_COLUMNS
from rcs_assets.given import need_kind

STATISTICS: Final = ("mean", "total", "proportion", "ratio", "quantile", "difference")

Variable = str | tuple[str, str]


@dataclass(frozen=True)
class Request:
    """A checked call of `estimate`."""

    relation: Relation
    design: Design
    variables: tuple[Variable, ...]
    statistic: str
    by: tuple[str, ...]
    ci: str
    level: float
    replicates: Replicates | None = None


def check_request(
    con: duckdb.DuckDBPyConnection,
    table: str,
    design: Design,
    asked: str | Iterable[Variable],
    statistic: str,
    by: tuple[str, ...],
    ci: str,
    level: float,
    replicates: Replicates | None = None,
) -> Request:
    """The request as a whole, or why it cannot be answered.

    Raises:
        InputError: an unknown column, statistic, interval or level; a variable, weight or
            fpc that is not numeric; arguments that do not go together.
    """
    need_kind(design, Design, "argument design", "give Design(…); Design() is a simple sample")
    if replicates is not None:
        need_kind(replicates, Replicates, "argument replicates", "give Replicates(…)")
    if not isinstance(asked, str):
        need_kind(asked, Iterable, "argument variables", "give the name of a column, or a list")
    variables: tuple[Variable, ...] = (asked,) if isinstance(asked, str) else tuple(asked)
    _need_choice(statistic, STATISTICS, "statistic")
    _need_choice(ci, INTERVALS, "ci")
    check_level(level)
    relation = open_relation(con, table)
    if statistic == "ratio":
        variables = tuple(_pair(relation, item) for item in variables)
    elif any(not isinstance(item, str) for item in variables):
        raise InputError(
            "A pair of variables needs statistic='ratio'",
            where="argument variables",
            why="variables of other statistics are named by texts",
            fix="give names of columns, or statistic='ratio' for pairs of them",
        )
    if not variables:
        raise InputError(
            "No variables to estimate",
            where="argument variables",
            fix="name at least one column of the table",
        )
    if statistic == "difference" and not by:
        raise InputError(
            "A difference needs groups to compare",
            where="argument by",
            fix="name at least one column; the last one's values are compared",
        )
    _check_columns(relation, design, columns_of(variables), statistic, by)
    if replicates is not None and statistic == "quantile":
        raise InputError(
            "Quantiles have no replicate variance",
            where="argument replicates",
            fix="leave it out: quantiles get Woodruff intervals",
        )
    if replicates is not None or design.calibrated_names:
        relation, design = with_row_units(relation, design)
    return Request(relation, design, variables, statistic, by, ci, level, replicates)


def _need_choice(value: str, choices: Sequence[str], argument: str) -> None:
    if value not in choices:
        raise InputError(
            f"{argument} '{value}' is not available",
            where=f"argument {argument}",
            fix=f"choose one of {', '.join(choices)}",
        )


def _check_columns(
    relation: Relation,
    design: Design,
    variables: Sequence[str],
    statistic: str,
    by: Sequence[str],
) -> None:
    relation.need(design.columns, "design")
    relation.need(variables, "variables")
    relation.need(by, "by")
    numbers = [name for name in (design.weight, *design.fpc_names) if name]
    relation.need_numbers(numbers, "design")
    if len(set(by)) < len(by):
        raise InputError(
            "A by-column is named twice",
            where="argument by",
            why="groups are told by different columns",
            fix="name each column once",
        )
    clash = sorted(set(by) & set(RESULT_COLUMNS))
    if clash:
        raise InputError(
            f"By-columns have names of result columns: {', '.join(clash)}",
            where="argument by",
            fix="give them other names in a view",
        )
    if statistic in ("difference", "quantile"):
        # Arrow neither sorts nor names the others.
        relation.need_single_values(by, "by", is_struct_taken=statistic == "quantile")
    if statistic != "proportion":
        relation.need_numbers(variables, "variables")


def _pair(relation: Relation, item: Variable) -> tuple[str, str]:
    """A ratio's numerator and denominator, from a pair or from "numerator/denominator"."""
    if isinstance(item, tuple) and len(item) == 2 and all(isinstance(n, str) for n in item):
        return item
    parts = item.split("/") if isinstance(item, str) else []
    if len(parts) == 2:
        return parts[0], parts[1]
    raise InputError(
        "A ratio needs a numerator and a denominator",
        where=f"table {relation.sql}, argument variables",
        fix='give pairs such as ("spend_gbp", "children_n") or "spend_gbp/children_n"',
    )


def columns_of(variables: Iterable[Variable]) -> list[str]:
    """Columns of single variables and pairs, each once."""
    names: list[str] = []
    for item in variables:
        names += [item] if isinstance(item, str) else list(item)
    return list(dict.fromkeys(names))
