"""A model formula and a DuckDB table: the outcome, the model matrix, the design columns.

Belongs here: reading the rows that a model needs, in an order of their own, and the matrix
with R's names of coefficients. Does not belong here: fitting (`glm`). The formula language
is that of the package formulaic, which follows R: `y ~ a + C(b) + a:b`. That package runs
whatever Python a formula holds: nothing reaches it but columns, numbers and what is named here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats
from rcs_assets.estimation.design import Design
from rcs_assets.estimation.relation import Relation, profile, quote

_FUNCTIONS: Final = (
    *("C", "I", "bs", "center", "exp", "log", "log10", "log2", "poly", "scale"),
    *("np.abs", "np.exp", "np.log", "np.sqrt"),
)
# What formulaic lets through from Python where a term has no meaning.
_UNREADABLE: Final = (AttributeError, LookupError, SyntaxError, NameError, TypeError, ValueError)
_WORDS: Final = (
    r"\s+",
    r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])",
    r"[<>=!]=|[-+*/:^()<>~]",
    rf"(?<![\w.])(?:{'|'.join(map(re.escape, _FUNCTIONS))})\s*(?=\()",
    # A second argument is a number: a column there would be written to.
    r",\s*(?:(?:df|degree)\s*=\s*)?\d+(?=\s*[,)])",
)


@dataclass(frozen=True)
class ModelData:
    """What a model is fitted to.

    `rows` holds the design columns of every row of the table; `is_complete` says which of
    them have every variable and a weight: those are the rows of `outcome`, `matrix`,
    `weight` and `frame` (the variables themselves, under `aliases`).
    """

    rows: pa.Table
    is_complete: np.typing.NDArray[np.bool_]
    outcome: Floats
    matrix: Floats
    weight: Floats
    names: tuple[str, ...]
    frame: pd.DataFrame
    aliases: Mapping[str, str]
    spec: Any

    def matrices_of(self, frames: Sequence[pd.DataFrame]) -> list[Floats]:
        """The model matrix of each frame of as many rows, with other values of the variables.

        All at once: the package takes nearly as long for one of them.
        """
        every = pd.concat(frames, ignore_index=True)
        return np.split(_dense(self.spec.get_model_matrix(every)), len(frames))


def read_model(
    con: duckdb.DuckDBPyConnection, relation: Relation, design: Design, formula: str
) -> ModelData:
    """Rows, outcome and model matrix of a formula.

    Rows are sorted by all that is read, so that no order of rows or threads shows.

    Raises:
        InputError: the formula cannot be read or names no column; a variable holds what is not
            finite; the outcome is no number; the design as `profile`.
    """
    aliases = _aliases(relation, formula)
    relation.need_single_values(list(aliases), "formula")
    profile(con, relation, design, [name for name in aliases if relation.is_number(name)])
    columns = list(dict.fromkeys([*design.columns, *aliases]))
    names = ", ".join(quote(name) for name in columns)
    table = con.execute(f"select {names} from {relation.sql} order by all").to_arrow_table()
    frame = _frame(table, aliases, relation)
    weight = _weights(table, design)
    is_complete = frame.notna().to_numpy().all(axis=1) & (weight > 0)
    kept = frame.loc[is_complete].reset_index(drop=True)
    outcome, matrix, spec, found = _matrices(_with_aliases(formula, aliases), kept, formula)
    named = tuple(_r_name(name, aliases) for name in found)
    rows = table.select(list(design.columns)) if design.columns else table
    return ModelData(
        rows, is_complete, outcome, matrix, weight[is_complete], named, kept, aliases, spec
    )


def _aliases(relation: Relation, formula: str) -> dict[str, str]:
    """Columns that the formula names, each with a name that the formula language can read."""
    if formula.count("~") != 1:
        raise InputError(
            f"'{formula}' is no model formula",
            where="argument formula",
            fix="write outcome ~ terms, such as y ~ age + C(sex)",
        )
    found = [name for name in relation.types if re.search(_pattern(name), formula)]
    left, right = formula.split("~")
    outcomes = [name for name in found if re.search(_pattern(name), left)]
    if not outcomes:
        relation.need([left.strip()], "formula")
    _check_words(formula, found)
    both = [name for name in outcomes if re.search(_pattern(name), right)]
    if both:
        raise InputError(
            f"The outcome explains itself: {', '.join(both)}",
            where=f"formula {formula}",
            why="a column stands on both sides of ~",
            fix="leave it out of the terms",
        )
    return {name: f"rcs_v{number}" for number, name in enumerate(found)}


def _check_words(formula: str, columns: Sequence[str]) -> None:
    """Refuse all that is no column, number, operator or function of formulas."""
    word, at = re.compile("|".join([*map(_pattern, columns), *_WORDS])), 0
    while at < len(formula):
        found = word.match(formula, at)
        if not found or found.end() == at:
            raise InputError(
                f"The formula '{formula}' cannot be used",
                where=f"argument formula, from character {at + 1} on",
                why="it is no column of the table, no number and nothing that formulas know: "
                f"+ - * / : ^ ( ), comparisons, {', '.join(_FUNCTIONS)}",
                fix="make a column of it in a view, and name that",
            )
        at = found.end()


def _pattern(name: str) -> str:
    """A column name in a formula, in backticks or not, and no part of a longer one."""
    return rf"`{re.escape(name)}`|(?<![\w.`]){re.escape(name)}(?![\w.`(])"


def _with_aliases(formula: str, aliases: Mapping[str, str]) -> str:
    every = re.compile("|".join(f"({_pattern(name)})" for name in aliases))
    known = list(aliases.values())
    return every.sub(lambda match: known[(match.lastindex or 1) - 1], formula)


def _frame(table: pa.Table, aliases: Mapping[str, str], relation: Relation) -> pd.DataFrame:
    """The variables: numbers as doubles, all else as categories in sorted order."""
    columns: dict[str, Any] = {}
    for name, alias in aliases.items():
        column = table.column(name)
        if relation.is_number(name):
            numbers = column.cast(pa.float64()) if not pa.types.is_boolean(column.type) else column
            columns[alias] = numbers.cast(pa.float64()).to_numpy()
        else:
            texts = column.cast(pa.string())
            levels = sorted(value for value in texts.unique().to_pylist() if value is not None)
            columns[alias] = pd.Categorical(texts.to_pylist(), categories=levels)
    return pd.DataFrame(columns)


def _weights(table: pa.Table, design: Design) -> Floats:
    if design.weight is None:
        return np.ones(table.num_rows)
    return np.asarray(table.column(design.weight).cast(pa.float64()).to_numpy(), dtype=np.float64)


def _matrices(
    formula: str, frame: pd.DataFrame, written: str
) -> tuple[Floats, Floats, Any, Sequence[str]]:
    # formulaic takes a second to import: only those who fit models pay.
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    used = frame.copy()
    for name in used.select_dtypes("category"):
        used[name] = used[name].cat.remove_unused_categories()
    try:
        made = Formula(formula).get_model_matrix(used)
        outcome, matrix = made.lhs, made.rhs
    except (FormulaicError, *_UNREADABLE) as error:
        raise InputError(
            f"The formula '{written}' cannot be used",
            where="argument formula",
            why=type(error).__name__,
            fix="name columns of the table: outcome ~ term + term, C(x) for a category, a:b",
        ) from None
    y = _dense(outcome)
    if y.shape[1] != 1:
        raise InputError(
            "The outcome of a model is one number a row",
            where=f"formula {written}",
            fix="make a 0/1 column of the category first",
        )
    x = _dense(matrix)
    # Rows of which a term makes no number are left out there, and stand here.
    without_n = len(used) - int(np.isfinite(x).all(axis=1).sum())
    if without_n:
        raise InputError(
            f"A term of the model has no finite value in {without_n} rows",
            where=f"formula {written}",
            why="a logarithm, a root or a quotient is not there for every number",
            fix="make a column of it first, null where it is not there",
        )
    return y[:, 0], x, matrix.model_spec, list(matrix.columns)


def _dense(matrix: Any) -> Floats:
    return np.ascontiguousarray(np.asarray(matrix, dtype=np.float64))


def _r_name(name: str, aliases: Mapping[str, str]) -> str:
    """`Intercept`, `rcs_v1[T.H]` as R writes them: `(Intercept)`, `stypeH`."""
    if name == "Intercept":
        return "(Intercept)"
    readable = re.sub(r"C\((rcs_v\d+)\)", r"\1", name)
    for column, alias in aliases.items():
        readable = re.sub(rf"{alias}(?!\d)", column.replace("\\", r"\\"), readable)
    return re.sub(r"\[(?:T\.)?([^\]]*)\]", r"\1", readable)
