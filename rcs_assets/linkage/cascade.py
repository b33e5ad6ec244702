"""Deterministic passes, in the order of the rules.

Belongs here: which pairs agree so fully that no model is asked, as set-based SQL on the
standardised tables `lhs` and `rhs`. Does not belong here: the passes themselves
(`data/linkage.yaml`), scoring, and what is written where.

A pair is linked only if no other record on either side has the same keys; earlier passes
take their records out of the later ones.
"""

from __future__ import annotations

import duckdb

from rcs_assets.linkage.settings import LinkRules, Pass, Siblings

_LINKS = "create or replace temp table exact_links (left_id varchar, right_id varchar, pass_no int)"
_RECORD_TAKEN = """
        anti join exact_links as taken_left on counted.left_id = taken_left.left_id
        anti join exact_links as taken_right on counted.right_id = taken_right.right_id
"""
_PAIR_TAKEN = """
        anti join exact_links as taken
            on counted.left_id = taken.left_id and counted.right_id = taken.right_id
"""


def run_cascade(con: duckdb.DuckDBPyConnection, rules: LinkRules, *, dedupe: bool = False) -> None:
    """Fill `exact_links(left_id, right_id, pass_no)` from `lhs` and `rhs`.

    Args:
        con: a connection with the standardised temp tables `lhs` and `rhs`, unique by
            `unique_id`, each with every field of the rules.
        rules: passes and the sibling rule.
        dedupe: find pairs within one table, where a record may have several duplicates.
    """
    con.execute(_LINKS)
    for entry in rules.passes:
        con.execute(f"insert into exact_links {pass_query(entry, rules.siblings, dedupe)}")


def pass_query(entry: Pass, siblings: Siblings, dedupe: bool) -> str:
    """The pairs of one pass: left_id, right_id, pass_no."""
    taken = _PAIR_TAKEN if dedupe else _RECORD_TAKEN
    alone = "l.unique_id < r.unique_id" if dedupe else "left_n = 1 and right_n = 1"
    directions = [_keys(entry, "l"), _keys(entry, "r")]
    # Without a former surname both directions are the same join.
    joins = directions if directions[0] != directions[1] else directions[:1]
    candidates = " union ".join(_candidates(left, right) for left, right in joins)
    conditions = [
        *(f"not coalesce(l.{field} <> r.{field}, false)" for field in entry.no_conflict),
        *(f"not (month(l.{field}) = 1 and day(l.{field}) = 1)" for field in entry.no_default),
        *_sibling_conditions(entry, siblings),
    ]
    if entry.any_of:
        agreed = " or ".join(f"coalesce(l.{field} = r.{field}, false)" for field in entry.any_of)
        conditions.append(f"({agreed})")
    return f"""
        with candidates as ({candidates}),
        counted as (
            select
                *,
                count(*) over (partition by left_id) as left_n,
                count(*) over (partition by right_id) as right_n
            from candidates
        )
        select counted.left_id, counted.right_id, {entry.pass_no} as pass_no
        from counted
        inner join lhs as l on counted.left_id = l.unique_id
        inner join rhs as r on counted.right_id = r.unique_id
        {taken}
        where {alone} {"".join(f" and {c}" for c in conditions)}
    """


def same_household(siblings: Siblings) -> str:
    """True where birth date and home agree and no surname contradicts: one child, or twins.

    A surname that is blank is no evidence against twins: a file without names would else take each
    for the other.
    """
    agreed = [f"coalesce(l.{field} = r.{field}, false)" for field in siblings.agree]
    near = [
        f"coalesce(jaro_winkler_similarity(l.{field}, r.{field}) >= {siblings.alike}, true)"
        for field in siblings.near
    ]
    return f"({' and '.join([*agreed, *near])})"


def forenames_differ(siblings: Siblings) -> str:
    """True where the forenames are not alike; null where one is missing.

    Alike: within one edit or swap, similar, one begins the other (Em, Emma), a form of it
    (Lizzie, Elizabeth), or the other record's second forename.
    """
    name = siblings.decide
    return f"""(not (
        jaro_winkler_similarity(l.{name}, r.{name}) >= {siblings.alike}
        or damerau_levenshtein(l.{name}, r.{name}) = 1
        or starts_with(l.{name}, r.{name}) or starts_with(r.{name}, l.{name})
        or coalesce(jaro_winkler_similarity(l.second_forename, r.{name}) >= {siblings.alike}, false)
        or coalesce(jaro_winkler_similarity(l.{name}, r.second_forename) >= {siblings.alike}, false)
        or coalesce(list_has_any(l.forename_forms, r.forename_forms), false)
    ))"""


def siblings_of_one_home(siblings: Siblings) -> str:
    """True where surname and home agree, while forename and birth date both differ."""
    home = " or ".join(f"coalesce(l.{f} = r.{f}, false)" for f in siblings.home)
    near = " and ".join(
        f"coalesce(jaro_winkler_similarity(l.{f}, r.{f}) >= {siblings.alike}, false)"
        for f in siblings.near
    )
    return f"""(
        ({home}) and {near} and coalesce({forenames_differ(siblings)}, false)
        and damerau_levenshtein(
            strftime(l.date_of_birth, '%Y%m%d'), strftime(r.date_of_birth, '%Y%m%d')
        ) > 1
        and not (
            year(l.date_of_birth) = year(r.date_of_birth)
            and month(l.date_of_birth) = day(r.date_of_birth)
            and day(l.date_of_birth) = month(r.date_of_birth)
        )
    )"""


def _keys(entry: Pass, former_side: str) -> tuple[list[str], list[str]]:
    """Key columns of the left and of the right record.

    `former_side` names the record whose former surname meets the other's surname.
    """
    left, right = list(entry.keys), list(entry.keys)
    for number, field in enumerate(entry.keys):
        if field == "previous_surname":
            (right if former_side == "l" else left)[number] = "surname"
    return left, right


def _candidates(left: list[str], right: list[str]) -> str:
    joined = " and ".join(f"l.{one} = r.{other}" for one, other in zip(left, right, strict=True))
    return (
        "select l.unique_id as left_id, r.unique_id as right_id "
        f"from lhs as l inner join rhs as r on {joined}"
    )


def _sibling_conditions(entry: Pass, siblings: Siblings) -> list[str]:
    """A number written down for a brother, sister or twin links nobody."""
    if entry.keys != ("scn",):
        return []
    household = " and ".join(f"coalesce(l.{f} = r.{f}, false)" for f in siblings.household)
    personal = " and ".join(f"coalesce(l.{f} <> r.{f}, false)" for f in siblings.personal)
    return [
        f"not ({household} and {personal})",
        f"not ({same_household(siblings)} and coalesce({forenames_differ(siblings)}, false))",
    ]
