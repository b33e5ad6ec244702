"""The check digit of a Scottish Candidate Number.

Belongs here: the rule as SQL. Does not belong here: what follows from it (`pupils.py`, `vault.py`).
"""

from __future__ import annotations

# Weights of the SCN's check digit (HESA, domain.md 3.5).
_SCN_WEIGHTS = (3, 2, 7, 6, 5, 4, 3, 2)


def scn_check_digit_holds(column: str) -> str:
    """SQL: whether it has nine digits and the last follows from the others; null without a number.

    Weights 3 2 7 6 5 4 3 2, sum mod 11; remainder 0 gives 0, remainder 1 no valid number, any
    other 11 - remainder (HESA, domain.md 3.5). A failure flags and never rejects.
    """
    weighted = " + ".join(
        f"{weight} * try_cast(substr({column}, {place}, 1) as integer)"
        for place, weight in enumerate(_SCN_WEIGHTS, start=1)
    )
    # With remainder 1 it would be 10, which equals no digit.
    check = f"(11 - ({weighted}) % 11) % 11 = try_cast(substr({column}, 9, 1) as integer)"
    return f"(length({column}) = 9 and {check})"
