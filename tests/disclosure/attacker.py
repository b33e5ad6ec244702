"""An attacker: everything released, the public roll, and linear programming.

Belongs here: what follows for each hidden count from what is shown (policy.md, "How
protection is judged"). Does not belong here: anything of `rcs_assets.disclosure`; the
attacker reads the policy's numbers as published and shares no code with the rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

Row = Mapping[str, Any]
UNKNOWN = "not known"
TOLERANCE = 1e-6
# Table A of policy.md: base, numerator and complement, step of %, step of n.
TABLE_A = {
    ("public", False): (30, 10, 1.0, 10.0),
    ("public", True): (40, 10, 1.0, 10.0),
    ("cpp", False): (10, 5, 1.0, 5.0),
    ("cpp", True): (20, 10, 1.0, 10.0),
}


@dataclass(frozen=True)
class Finding:
    """A hidden count of which the attacker knows more than policy.md allows."""

    place: str
    quantity: str
    truth: int
    lower: float
    upper: float


class Attacker:
    """Knows all released rows of one indicator and the public rolls.

    `truth` (unprotected cells) is used for two things only: the public roll, and to judge
    in the end which hidden counts are below their k. What the holder of a CPP package knows
    of his own CPP is his: against the tables of tranche, all and the other CPPs it counts as
    knowledge without the release ([L, U]).
    """

    def __init__(
        self, released: Sequence[Row], truth: Sequence[Row], *, is_sensitive: bool
    ) -> None:
        self.released = released
        self.truth = truth
        self.is_sensitive = is_sensitive
        self.cells = sorted({(_unit(r), r["breakdown"], r["group"]) for r in truth})
        self.roll = {(_unit(r), r["breakdown"], r["group"]): r["roll_n"] for r in truth}
        self.parent = {_unit(r): r["tranche"] for r in truth if r["geography_level"] == "cpp"}
        blocks = sorted({(unit, breakdown) for unit, breakdown, _ in self.cells})
        self.residuals = [(u, b, UNKNOWN) for u, b in blocks if b == "simd_quintile"]
        self.index = {key: i for i, key in enumerate([*self.cells, *self.residuals])}
        self.size = 2 * len(self.index)  # every cell: base, then numerator
        self.upper: list[tuple[dict[int, float], float]] = []
        self.equal: list[tuple[dict[int, float], float]] = []
        self.system: dict[str, Any] | None = None
        self._structure()
        for row in released:
            self._learn(row)

    def _base(self, key: tuple[str, str, str]) -> int:
        return 2 * self.index[key]

    def _structure(self) -> None:
        """Sums over groups and geographies; numerators within bases; the public roll."""
        for key in self.index:
            base = self._base(key)
            self.upper.append(({base + 1: 1, base: -1}, 0))
            if self.roll.get(key) is not None:
                self.upper.append(({base: 1}, self.roll[key]))
        for unit, breakdown in {(u, b) for u, b, _ in self.index if b != "total"}:
            parts = [k for k in self.index if k[0] == unit and k[1] == breakdown]
            self._sum((unit, "total", "all"), parts)
        for key in self.index:
            unit, breakdown, group = key
            children = [c for c in self._children(unit) if (c, breakdown, group) in self.index]
            if children:
                self._sum(key, [(c, breakdown, group) for c in children])

    def _children(self, unit: str) -> Iterable[str]:
        tranches = sorted(set(self.parent.values()))
        if unit == "all":
            return tranches
        return [cpp for cpp, tranche in self.parent.items() if tranche == unit]

    def _sum(self, whole: tuple[str, str, str], parts: Sequence[tuple[str, str, str]]) -> None:
        for offset in (0, 1):
            terms = {self._base(part) + offset: 1.0 for part in parts}
            terms[self._base(whole) + offset] = -1.0
            self.equal.append((terms, 0))

    def _learn(self, row: Row) -> None:
        base = self._base((_unit(row), row["breakdown"], row["group"]))
        kind = row["audience"].split("/")[0]
        k_base, k, pct_step, n_step = TABLE_A[kind, self.is_sensitive]
        if row["status"] in ("z", "x"):
            self.upper.append(({base: 1}, 0))
        elif row["status"] in ("published", "u"):
            n, p = float(row["n"]), float(row["estimate"])
            self._between({base: 1}, max(n - n_step / 2, k_base), n + n_step / 2)
            if row["statistic"] == "pct":
                low, high = (p - pct_step / 2) / 100, (p + pct_step / 2) / 100
                self.upper.append(({base: low, base + 1: -1}, 0))
                self.upper.append(({base: -high, base + 1: 1}, 0))
                self.upper.append(({base + 1: -1}, -k))
                self.upper.append(({base + 1: 1, base: -1}, -k))
        elif row["note"] == "low":
            self.upper.append(({base: -1}, -k_base))
            self.upper.append(({base + 1: 1}, k - 1))
        elif row["note"] == "high":
            self.upper.append(({base: -1}, -k_base))
            self.upper.append(({base: 1, base + 1: -1}, k - 1))

    def _between(self, terms: dict[int, float], low: float, high: float) -> None:
        self.upper.append((terms, high))
        self.upper.append(({i: -v for i, v in terms.items()}, -low))

    def interval(self, terms: Mapping[int, float]) -> tuple[float, float]:
        """What the released rows leave possible for a sum of counts."""
        cost = np.zeros(self.size)
        for position, value in terms.items():
            cost[position] = value
        ends = []
        for sign in (1, -1):
            found = linprog(sign * cost, bounds=(0, None), method="highs", **self._system())
            if found.status == 3:  # unbounded: nothing limits it
                ends.append(math.inf)
            elif found.status == 0:
                ends.append(sign * found.fun)
            else:
                raise AssertionError(f"the released rows contradict each other: {found.message}")
        return ends[0], ends[1]

    def _system(self) -> dict[str, Any]:
        """The constraints as linprog takes them; made once."""
        if self.system is None:
            self.system = {
                "A_ub": _matrix(self.upper, self.size),
                "b_ub": [bound for _, bound in self.upper],
                "A_eq": _matrix(self.equal, self.size),
                "b_eq": [bound for _, bound in self.equal],
            }
        return self.system

    def findings(self) -> list[Finding]:
        """Every count below its k that the release says too much of."""
        holders = {row["engagement"] for row in self.released if row["audience"] != "public"}
        own = [row for row in self.released if row["engagement"] in holders]
        before = {
            "cpp": Attacker([], self.truth, is_sensitive=self.is_sensitive),
            "public": Attacker(own, self.truth, is_sensitive=self.is_sensitive),
        }
        return [finding for cell in self._hidden() for finding in self._judge(cell, before)]

    def _hidden(self) -> list[dict[str, Any]]:
        """Hidden cells, each with its own row of Table A, and groups that are not known."""
        best: dict[tuple[str, str, str], Row] = {}
        for row in self.released:
            key = (_unit(row), row["breakdown"], row["group"])
            if key not in best or row["audience"] != "public":
                best[key] = row
        by_key = {(_unit(r), r["breakdown"], r["group"]): r for r in self.truth}
        hidden = [
            {
                "key": key,
                "row": row,
                "n": by_key[key]["base_n"],
                "y": by_key[key]["numerator_n"] or 0,
            }
            for key, row in best.items()
            if row["status"] == "c"
        ]
        for key in self.residuals:
            unit, breakdown, _ = key
            groups = [k for k in best if k[0] == unit and k[1] == breakdown]
            if any(best[k]["status"] == "c" for k in groups):
                continue
            total = by_key[unit, "total", "all"]
            n = total["base_n"] - sum(by_key[k]["base_n"] for k in groups)
            y = (total["numerator_n"] or 0) - sum(by_key[k]["numerator_n"] or 0 for k in groups)
            if n > 0:
                row = {**best[groups[0]], "note": None}
                hidden.append({"key": key, "row": row, "n": n, "y": y})
        return hidden

    def _judge(self, cell: Mapping[str, Any], before: Mapping[str, Attacker]) -> Iterable[Finding]:
        kind = cell["row"]["audience"].split("/")[0]
        k_base, k, _, _ = TABLE_A[kind, self.is_sensitive]
        base = self._base(cell["key"])
        note = cell["row"]["note"]
        n, y = cell["n"], cell["y"]
        quantities: list[tuple[str, int, int, dict[int, float], bool]] = [
            ("base", n, k_base, {base: 1.0}, False)
        ]
        if cell["row"]["statistic"] == "pct":
            quantities += [
                ("numerator", y, k, {base + 1: 1.0}, note == "low"),
                (
                    "complement",
                    cell["n"] - cell["y"],
                    k,
                    {base: 1.0, base + 1: -1.0},
                    note == "high",
                ),
            ]
        for name, truth, threshold, terms, is_noted in quantities:
            if truth >= threshold:
                continue
            lower, upper = self.interval(terms)
            inward = _inward(lower, upper)
            needed = (0, threshold - 1) if is_noted else (1, threshold)
            if inward[0] <= needed[0] and inward[1] >= needed[1]:
                continue
            known = _inward(*before[kind].interval(terms))
            if inward[0] > max(needed[0], known[0]) or inward[1] < min(needed[1], known[1]):
                yield Finding("/".join(cell["key"]), name, truth, lower, upper)


def _inward(lower: float, upper: float) -> tuple[int, int]:
    return math.ceil(lower - TOLERANCE), math.floor(min(upper, 1e9) + TOLERANCE)


def _matrix(constraints: Sequence[tuple[dict[int, float], float]], size: int) -> csr_array:
    data = [v for terms, _ in constraints for v in terms.values()]
    columns = [i for terms, _ in constraints for i in terms]
    rows = [r for r, (terms, _) in enumerate(constraints) for _ in terms]
    return csr_array((data, (rows, columns)), shape=(len(constraints), size))


def _unit(row: Row) -> str:
    return str(row["engagement"] or row["tranche"] or "all")
