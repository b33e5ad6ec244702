"""Birth dates that are years alone: what their agreement says then.

Belongs here: recognising such files, and the levels of the birth date for them. Does not belong
here: reading a year (`standardise.py`), and the numbers that nobody can count (`data/model.yaml`).

A year is read as 1 January. Where a few dates are such defaults, the shipped levels hold. Where a
file holds hardly anything else, two strangers share a "birth date" as often as a year, and years
one digit apart are no slip of the pen: u is then counted in the files themselves, as the
frequencies of names are, and m follows from how many dates of either file are years.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from rcs_assets.linkage.settings import LinkRules

FIELD = "date_of_birth"
_SMALLEST = 1e-5
_DIGITS = 5


def for_years_alone(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, comparisons: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Splink's comparisons, that of the birth date with other m and u where a file holds years.

    Args:
        con: the engine's connection with the standardised tables `lhs` and `rhs`.
        rules: from which share on a file counts as one of years, and the shares of true pairs.
        comparisons: of the model, those of fields that both files hold.
    """
    if not has_years_alone(con, rules):
        return list(comparisons)
    left, right = _shares_of_years(con)
    return [
        _counted(con, rules, entry, left, right) if entry["output_column_name"] == FIELD else entry
        for entry in comparisons
    ]


def has_years_alone(con: duckdb.DuckDBPyConnection, rules: LinkRules) -> bool:
    """Whether so many birth dates of either file are 1 January that they are years."""
    return max(_shares_of_years(con)) > float(rules.model["years_alone"]["from_share"])


def _shares_of_years(con: duckdb.DuckDBPyConnection) -> tuple[float, float]:
    left, right = (
        con.execute(
            f"select coalesce(avg((month({FIELD}) = 1 and day({FIELD}) = 1)::integer), 0) "
            f"from {table} where {FIELD} is not null"
        ).fetchall()[0][0]
        for table in ("lhs", "rhs")
    )
    return float(left), float(right)


def _counted(
    con: duckdb.DuckDBPyConnection,
    rules: LinkRules,
    comparison: Mapping[str, Any],
    left: float,
    right: float,
) -> dict[str, Any]:
    chosen = rules.model["years_alone"]
    blank, *levels = comparison["comparison_levels"]
    strangers = _strangers(con, levels, chosen["records"], chosen["pairs_seen"])
    both, one = left * right, left * (1 - right) + right * (1 - left)
    changed = []
    for level, u in zip(levels, strangers, strict=True):
        name = level["label_for_charts"]
        m = (
            (1 - both - one) * level["m_probability"]
            + both * chosen["both"].get(name, 0)
            + one * chosen["one"].get(name, 0)
        )
        changed.append(
            {
                **level,
                "m_probability": max(round(m, _DIGITS), _SMALLEST),
                "u_probability": max(round(u, _DIGITS), _SMALLEST),
            }
        )
    return {**comparison, "comparison_levels": [blank, *changed]}


def _strangers(
    con: duckdb.DuckDBPyConnection, levels: Sequence[Mapping[str, Any]], records: int, seen: int
) -> list[float]:
    """The share of pairs at each level, over some records of either file, chosen by their ids.

    As if `seen` pairs had been seen before at the model's own shares: few records show no more.
    """
    conditions = [level["sql_condition"] for level in levels[:-1]]
    cases = " ".join(f"when {condition} then {n}" for n, condition in enumerate(conditions))
    sides = [
        f"""(
            select {FIELD} as {FIELD}_{side}, count(*) as {side}_n
            from (
                select {FIELD} from {table} where {FIELD} is not null
                order by md5(unique_id), unique_id limit {records}
            )
            group by all
        )"""
        for table, side in (("lhs", "l"), ("rhs", "r"))
    ]
    rows = con.execute(
        f"select case {cases} else {len(conditions)} end, sum(l_n * r_n)::double "
        f"from {sides[0]} cross join {sides[1]} group by 1"
    ).fetchall()
    pairs = dict(rows)
    total = sum(pairs.values()) + seen
    return [
        (pairs.get(n, 0.0) + seen * level["u_probability"]) / total
        for n, level in enumerate(levels)
    ]
