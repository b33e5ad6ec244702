"""Planted leaks: does the audit find each, and does it cry wolf?

Run from the top of the project: `python -m benchmarks.leaks [--leaks 1000] [--clean 1000]`.

A leak is made from a safe table by showing what should be hidden, in one of ten ways;
plain arithmetic on the shown values proves that it is one. A clean table is a protected one;
where the audit still complains, scipy's solver judges whether it is right. Belongs here: the
leaks and the count of those found. Does not belong here: finding them (`leaks.py` of the
platform).
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linprog

from benchmarks.disclosure import with_totals
from rcs_assets.disclosure import Hierarchy, Rule, Structure, protect
from rcs_assets.disclosure.given import as_tables
from rcs_assets.disclosure.leaks import find_leaks
from rcs_assets.disclosure.structure import read_cells

K, STEP = 10, 5
SCHOOLS = {"s1": "c1", "s2": "c1", "s3": "c1", "s4": "c2", "s5": "c2"}
AREAS = ["a1", "a2", "a3", "a4", "a5", "a6"]


@dataclass(frozen=True)
class Case:
    """Linked tables as shown, and the cells (table, row) that a reader works out."""

    tables: list[pd.DataFrame]
    structures: list[Structure]
    rule: Rule
    answers: str | None = None
    planted: tuple[int, int] = (0, 0)


def counts(rng: np.random.Generator, structure: Structure) -> pd.DataFrame:
    """A table whose leaves are 1 … 60, a quarter of them small."""
    names = list(structure.dimensions)
    leaves = [
        [code for code in codes if code not in set(codes.values())]
        for codes in structure.dimensions.values()
    ]
    frame = pd.MultiIndex.from_product(leaves, names=names).to_frame(index=False)
    small = rng.random(len(frame)) < 0.25
    frame["n"] = np.where(small, rng.integers(1, K, len(frame)), rng.integers(K, 61, len(frame)))
    return with_totals(frame, structure)


def by_school(second: str, codes: list[str]) -> Structure:
    """Schools in clusters × one flat dimension."""
    parents = SCHOOLS | dict.fromkeys(sorted(set(SCHOOLS.values())), "Total")
    return Structure({"school": Hierarchy(parents), second: Hierarchy.flat(codes)})


def shown_line(
    rng: np.random.Generator, structure: Structure, axis: str, rule: Rule
) -> Case | None:
    """A safe table of which one line is shown but for its one small cell; None: no such line."""
    table = counts(rng, structure)
    (other,) = [name for name in structure.dimensions if name != axis]
    parents = structure.dimensions[axis]
    marked = protect(table, structure, rule).to_pandas()
    for row in rng.permutation(np.flatnonzero(marked.n < K)).tolist():
        code = marked[axis].iat[row]
        if code == "Total":
            continue
        family = [parents[code], *[c for c in parents if parents[c] == parents[code]]]
        is_line = marked[axis].isin(family) & (marked[other] == marked[other].iat[row])
        line = marked[is_line].drop(index=row)
        if (line.n < K).any():
            continue
        if rule.rounding is not None and not _is_narrow(line, axis, parents[code]):
            continue
        marked.loc[line.index, "status"] = "published"
        return Case([marked], [structure], rule, planted=(0, row))
    return None


def _is_narrow(line: pd.DataFrame, axis: str, total: str) -> bool:
    """Whether rounded values of a line leave out 1 or k for the cell that is missing."""
    middle = STEP * np.floor(line.n / STEP + 0.5)
    low, high = (middle - STEP // 2).clip(lower=0), middle + STEP // 2
    is_total = line[axis] == total
    least = low[is_total].sum() - high[~is_total].sum()
    most = high[is_total].sum() - low[~is_total].sum()
    return bool(least > 1 or most < K)


def margin(rng: np.random.Generator) -> Case | None:
    """A row's total less its other cells."""
    return shown_line(rng, by_school("stage", ["P5", "P6", "P7"]), "stage", Rule(k=K))


def complement(rng: np.random.Generator) -> Case | None:
    """The base less the other answer."""
    return shown_line(rng, by_school("answer", ["yes", "no"]), "answer", Rule(k=K))


def hierarchy(rng: np.random.Generator) -> Case | None:
    """A cluster less its other schools."""
    return shown_line(rng, by_school("stage", ["P5", "P6", "P7"]), "school", Rule(k=K))


def rounding(rng: np.random.Generator) -> Case | None:
    """The same with rounded values, where rounding leaves less than 1 … k."""
    structure = by_school("answer", ["yes", "no"])
    return shown_line(rng, structure, "answer", Rule(k=K, rounding=STEP))


def overlap(rng: np.random.Generator) -> Case | None:
    """Catchments less zones: two groupings whose groups differ by one small area."""
    last = int(rng.integers(2, 5))
    groupings = [
        {area: ("x" if i < last + extra else "y") for i, area in enumerate(AREAS)}
        for extra in (0, 1)
    ]
    n = rng.integers(20, 60, len(AREAS))
    n[last] = rng.integers(1, K)
    tables, structures = [], []
    for groups in groupings:
        parents = groups | dict.fromkeys(["x", "y"], "Total")
        # The groups of the two have the same names and are not the same.
        tag = f"{len(tables)}"
        parents = {k + tag * (k in "xy"): v + tag * (v in "xy") for k, v in parents.items()}
        structure = Structure({"area": Hierarchy(parents)})
        table = with_totals(pd.DataFrame({"area": AREAS, "n": n}), structure)
        tables.append(table.assign(status=np.where(table.area.isin(AREAS), "hidden", "published")))
        structures.append(structure)
    row = int(np.flatnonzero(tables[0].area == AREAS[last])[0])
    return Case(tables, structures, Rule(k=K), planted=(0, row))


def releases(rng: np.random.Generator) -> Case | None:
    """This release less the last: 1 to 9 have joined a school since."""
    structure = by_school("release", ["last", "joined"])
    schools = list(SCHOOLS)
    joined = rng.integers(K, 40, len(schools))
    at = int(rng.integers(len(schools)))
    joined[at] = rng.integers(1, K)
    leaves = pd.concat(
        [
            pd.DataFrame({"school": schools, "release": "last", "n": rng.integers(40, 90, 5)}),
            pd.DataFrame({"school": schools, "release": "joined", "n": joined}),
        ]
    )
    table = with_totals(leaves, structure)
    is_hidden = table.release == "joined"
    table["status"] = np.where(is_hidden, "hidden", "published")
    row = np.flatnonzero(is_hidden & (table.school == schools[at]))[0]
    return Case([table], [structure], Rule(k=K), planted=(0, int(row)))


def group(rng: np.random.Generator) -> Case | None:
    """Nobody of the whole council gave an answer: nobody of any school did."""
    structure = by_school("answer", ["yes", "no", "unsure"])
    table = counts(rng, structure)
    nobody = str(rng.choice(["yes", "no", "unsure"]))
    leaves = table[table.school.isin(SCHOOLS) & (table.answer != "Total")]
    table = with_totals(leaves.assign(n=leaves.n.where(leaves.answer != nobody, 0)), structure)
    is_shown = (table.school == "Total") | (table.answer == "Total")
    table["status"] = np.where(is_shown, "published", "hidden")
    is_one = (table.answer == nobody) & (table.school == str(rng.choice(list(SCHOOLS))))
    # Zeros may be shown by this rule: what they tell of a group is still a leak.
    rule = Rule(k=K, zeros=False)
    return Case([table], [structure], rule, "answer", (0, int(np.flatnonzero(is_one)[0])))


def triangle(rng: np.random.Generator) -> Case | None:
    """Three groupings, each of which shows the sum of two of three areas: no line tells, all do."""
    n = rng.integers(12, 60, len(AREAS))
    at = int(rng.integers(3))
    n[at] = rng.integers(1, K)
    tables, structures = [], []
    for left_out in range(3):
        pair = [i for i in range(3) if i != left_out]
        groups = {area: f"{left_out}{'p' if i in pair else 'q'}" for i, area in enumerate(AREAS)}
        parents = groups | dict.fromkeys(sorted(set(groups.values())), "Total")
        structure = Structure({"area": Hierarchy(parents)})
        table = with_totals(pd.DataFrame({"area": AREAS, "n": n}), structure)
        tables.append(table.assign(status=np.where(table.area.isin(AREAS), "hidden", "published")))
        structures.append(structure)
    row = int(np.flatnonzero(tables[0].area == AREAS[at])[0])
    return Case(tables, structures, Rule(k=K), planted=(0, row))


def rolls(rng: np.random.Generator) -> Case | None:
    """All schools are hidden, and the public rolls of the others leave too little for one."""
    schools = list(SCHOOLS)
    n = rng.integers(15, 40, len(schools))
    at = int(rng.integers(len(schools)))
    n[at] = rng.integers(3, K)
    # The others can be more than they are by less than would leave only 1 here.
    roll, spare = n.copy(), int(n[at]) - 2
    for one in np.delete(np.arange(len(schools)), at).tolist():
        more = int(rng.integers(0, spare + 1))
        roll[one], spare = roll[one] + more, spare - more
    roll[at] = n[at] + rng.integers(K, 30)
    leaves = pd.DataFrame({"school": schools, "n": n})
    structure = Structure({"school": Hierarchy.flat(schools)}, known_high="roll")
    table = with_totals(leaves, structure)
    table["roll"] = table.school.map(dict(zip(schools, roll.astype(float), strict=True)))
    table["status"] = np.where(table.school == "Total", "published", "hidden")
    row = int(np.flatnonzero(table.school == schools[at])[0])
    return Case([table], [structure], Rule(k=K), planted=(0, row))


def partners(rng: np.random.Generator) -> Case | None:
    """Two small cells hide each other, and together are fewer than k."""
    codes = ["g1", "g2", "g3", "g4"]
    n = rng.integers(K, 60, len(codes))
    first, second = rng.permutation(len(codes))[:2].tolist()
    n[first] = rng.integers(1, K - 2)
    n[second] = rng.integers(1, K - n[first])
    structure = Structure({"group": Hierarchy.flat(codes)})
    table = with_totals(pd.DataFrame({"group": codes, "n": n}), structure)
    table["status"] = np.where(
        table.group.isin([codes[first], codes[second]]), "hidden", "published"
    )
    row = int(np.flatnonzero(table.group == codes[first])[0])
    return Case([table], [structure], Rule(k=K), planted=(0, row))


KINDS = (
    margin, complement, hierarchy, rounding, overlap, releases, group, triangle, rolls, partners,
)  # fmt: skip


def plant(kind_at: int, seed: int) -> Case:
    """A leak of one kind; tables are drawn until one holds it."""
    rng = np.random.default_rng([kind_at, seed])
    while True:
        case = KINDS[kind_at](rng)
        if case is not None:
            return case


def is_found(case: Case) -> bool:
    """Whether the planted cell is among the leaks that the audit lists."""
    table_at, row = case.planted
    found = find_leaks(case.tables, case.structures, case.rule, answers=case.answers)
    names = list(case.structures[table_at].dimensions)
    listed = found[table_at].select(names).to_pandas()
    wanted = case.tables[table_at][names].iloc[row]
    return bool((listed == wanted).all(axis=1).any())


def clean(seed: int) -> Case:
    """A protected table, exact or rounded in turn."""
    rng = np.random.default_rng([99, seed])
    structure = by_school("stage", ["P5", "P6", "P7"])
    rule = Rule(k=K, rounding=STEP if seed % 2 else None)
    table = counts(rng, structure)
    return Case([protect(table, structure, rule).to_pandas()], [structure], rule)


def is_safe(case: Case) -> bool:
    """The same question put to scipy's solver: two programs a hidden cell, and no shortcut."""
    (table,), (structure,) = case.tables, case.structures
    (arrow,) = as_tables(table)
    cells = read_cells([arrow], [structure])
    n, hidden = table.n.to_numpy(), (table.status != "published").to_numpy()
    step = case.rule.rounding or 1
    middle = step * np.floor(n / step + 0.5)
    half = step // 2
    bounds = [
        (0, None) if is_hidden else (max(0, m - half), m + half)
        for is_hidden, m in zip(hidden, middle, strict=True)
    ]
    order = cells.rows[0]
    a = cells.equations.toarray()[:, order]
    for row in np.flatnonzero(hidden).tolist():
        ends = []
        for sign in (1.0, -1.0):
            c = np.zeros(len(n))
            c[row] = sign
            got = linprog(c, A_eq=a, b_eq=np.zeros(len(a)), bounds=bounds, method="highs")
            ends.append(sign * got.fun if got.status == 0 else np.inf)
        least, most = np.ceil(ends[0] - 1e-6), np.floor(ends[1] + 1e-6)
        if most - least < 1 or (n[row] < K and (least > 1 or most < K)):
            return False
    return True


def main() -> None:
    """Plant as many leaks as asked, in turn of each kind, and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leaks", type=int, default=1000)
    parser.add_argument("--clean", type=int, default=1000)
    chosen = parser.parse_args()
    planted, found = Counter[str](), Counter[str]()
    for at in range(chosen.leaks):
        kind_at, seed = at % len(KINDS), at // len(KINDS)
        name = KINDS[kind_at].__name__
        planted[name] += 1
        found[name] += is_found(plant(kind_at, seed))
    for name, planted_n in planted.items():
        print(f"{name:>10}: {found[name]} of {planted_n} found")
    print(f"{found.total()} of {planted.total()} leaks found", flush=True)
    cases = [clean(seed) for seed in range(chosen.clean)]
    alarms = [c for c in cases if len(find_leaks(c.tables, c.structures, c.rule)[0])]
    false = sum(is_safe(case) for case in alarms)
    print(f"{len(alarms)} alarms in {len(cases)} protected tables, {false} of them false")


if __name__ == "__main__":
    main()
