"""Wall times of the disclosure audit: one council's indicator, and any large table.

Run from the top of the project: `python -m benchmarks.disclosure [--schools 120 30 8]
[--systems 8] [--tables 14 40 200] [--groups 3] [--councils Falkirk all] [--records 1000000]
[--small 21] [--country 2400]`.

A system is one indicator of a made-up council: pupils of each school × stage × sex, positive
answers and complements unknown, bases shown to the nearest 5, percentages to the nearest
whole one, what is small hidden, rolls public. Prints milliseconds a system with one worker
and with two, and of processor time (which other work on the machine does not lengthen). A
table is school × stage × group with clusters and totals, protected line by line and at
least loss, beside the usual fixpoint of rows and columns, and audited; a council is the
published roll of its primary schools by stage, thinned to those expected to answer
(`--councils`, needs `--reference`). Small tables (`--small`, so many of each of six shapes) are
solved to the optimum; a country is school × stage × sex in clusters and CPPs (`--country`).
Records are counted with cell keys beside ONS's package.
Belongs here: timing. Does not belong here: whether answers are right
(`tests/unit/disclosure`).
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, hstack, vstack

from rcs_assets.disclosure import Hierarchy, Rule, Structure, audit
from rcs_assets.disclosure.alternatives import cell_key_table
from rcs_assets.disclosure.given import as_tables
from rcs_assets.disclosure.lp import System, Targets, reach_each
from rcs_assets.disclosure.secondary import Plan
from rcs_assets.disclosure.structure import read_cells
from rcs_assets.disclosure.tabular import needs_of, protect_with_bound

STAGES, SEXES, K = 3, 2, 10
# Of the 7,488 cells of 200 schools 2,219 are below it: as many as the reference measurement hid.
LESS = 4
# Schools, stages, groups of tables of 320 to 384 cells with their totals.
SHAPES = ((10, 7, 2), (12, 7, 2), (6, 7, 3), (8, 7, 3), (18, 4, 2), (11, 5, 3))
TINY = 1e-9
N_STEP, PCT_STEP, RESPONSE = 5, 0.01, 0.73


@dataclass(frozen=True)
class Council:
    """True counts of the leaves, and the cells (rows of 0/1) that a release shows."""

    pupils: np.ndarray
    positive: np.ndarray
    roll: np.ndarray
    cells: csr_array


def make_council(seed: int, schools_n: int) -> Council:
    """Leaves of uneven schools, and the cells of schools and council by stage and sex."""
    rng = np.random.default_rng(seed)
    shape = (schools_n, STAGES, SEXES)
    size = rng.lognormal(3.0, 0.9, schools_n) / 2
    pupils = rng.poisson(np.broadcast_to(size[:, None, None], shape)).ravel()
    share = np.clip(rng.beta(2, 6) + rng.normal(0, 0.08, pupils.size), 0.01, 0.99)
    leaf = np.arange(pupils.size).reshape(shape)
    groups = [
        [leaf[:, stage, sex] for stage in range(STAGES) for sex in range(SEXES)],
        [leaf[:, stage, :] for stage in range(STAGES)],
        [leaf[:, :, sex] for sex in range(SEXES)],
        [leaf],
    ]
    members = [cell.ravel() for kind in groups for cell in kind]
    members += [
        cell.reshape(schools_n, -1)[school]
        for school in range(schools_n)
        for kind in groups
        for cell in kind
    ]
    row = np.repeat(np.arange(len(members)), [len(cell) for cell in members])
    cells = csr_array(
        (np.ones(len(row)), (row, np.concatenate(members))), shape=(len(members), pupils.size)
    )
    roll = np.ceil(pupils / RESPONSE) + rng.integers(0, 3, pupils.size)
    return Council(pupils, rng.binomial(pupils, share), roll, cells)


def make_job(seed: int, schools_n: int) -> tuple[System, Targets]:
    """What the council's reader knows (unknowns: positives, then complements), and may not."""
    council = make_council(seed, schools_n)
    cells, leaves_n = council.cells, council.pupils.size
    base, positive = cells @ council.pupils, cells @ council.positive
    is_hidden = np.minimum(np.minimum(base, positive), base - positive) < K
    shown, both = cells[~is_hidden], hstack([cells, cells], format="csr")
    middle = N_STEP * np.floor(base / N_STEP + 0.5)[~is_hidden]
    rate = PCT_STEP * np.floor((positive / np.maximum(base, 1))[~is_hidden] / PCT_STEP + 0.5)
    leaf = csr_array(np.eye(leaves_n))
    # y - (rate ± half a step) × (y + c) lies on either side of 0.
    sides = [
        hstack([shown.multiply(1 - edge[:, None]), shown.multiply(-edge[:, None])])
        for edge in (rate + PCT_STEP / 2, rate - PCT_STEP / 2)
    ]
    a = csr_array(vstack([both[~is_hidden], *sides, hstack([leaf, leaf])]))
    none, free = np.zeros(len(middle)), np.full(len(middle), np.inf)
    system = System(
        lower=np.zeros(2 * leaves_n),
        upper=np.tile(council.roll, 2),
        starts=a.indptr.astype(np.int32),
        index=a.indices.astype(np.int32),
        value=a.data,
        row_lower=np.concatenate([middle - N_STEP / 2, -free, none, np.zeros(leaves_n)]),
        row_upper=np.concatenate([middle + N_STEP / 2, none, free, council.roll]),
    )
    empty = csr_array(cells.shape)
    t = csr_array(vstack([both, hstack([cells, empty]), hstack([empty, cells])]))
    count = np.concatenate([base, positive, base - positive])
    is_asked = (count < K) & np.tile(is_hidden, 3)
    t = t[is_asked]
    high = np.minimum(K, np.tile(cells @ council.roll, 3)[is_asked])
    targets = Targets(
        starts=t.indptr.astype(np.int32),
        index=t.indices.astype(np.int32),
        value=t.data,
        low_ok=np.ones(len(high)),
        high_ok=high,
    )
    return system, targets


def time_systems(schools_n: int, systems_n: int) -> None:
    """Milliseconds a system, by one worker and by two."""
    jobs = [make_job(seed, schools_n) for seed in range(systems_n)]
    asked = sum(len(targets.low_ok) for _, targets in jobs)
    for workers in (1, 2):
        started, cpu = time.perf_counter(), time.process_time()
        found = reach_each(jobs, workers=workers)
        each = (time.perf_counter() - started) / systems_n
        cpu_each = (time.process_time() - cpu) / systems_n
        unsafe = sum(r.unsafe(t).sum() for r, (_, t) in zip(found, jobs, strict=True))
        programs = sum(reached.programs_n for reached in found)
        print(
            f"{schools_n:4d} schools, {workers} worker(s): {1000 * each:6.0f} ms a system "
            f"of which {1000 * cpu_each:.0f} ms of processor "
            f"({asked // systems_n} targets, {unsafe // systems_n} unsafe, "
            f"{programs // systems_n} programs)"
        )


def with_totals(leaves: pd.DataFrame, structure: Structure) -> pd.DataFrame:
    """Every cell of a table from its leaves, added up along each hierarchy."""
    table = leaves
    for name, parents in structure.dimensions.items():
        levels = [table]
        while (levels[-1][name] != "Total").any():
            below = levels[-1][levels[-1][name] != "Total"]
            levels.append(below.assign(**{name: below[name].map(parents)}))
        keys = list(structure.dimensions)
        table = pd.DataFrame(pd.concat(levels).groupby(keys, sort=False)["n"].sum().reset_index())
    return table


def make_table(schools_n: int, groups_n: int = 2) -> tuple[pd.DataFrame, Structure]:
    """Counts by school (in clusters), 7 stages and groups (the first large), with all totals."""
    rng = np.random.default_rng(1)
    stages, groups = [f"P{i}" for i in range(1, 8)], [f"g{i}" for i in range(groups_n)]
    cluster = {f"s{i}": f"c{i % max(3, schools_n // 6)}" for i in range(schools_n)}
    structure = Structure(
        {
            "school": Hierarchy(cluster | dict.fromkeys(sorted(set(cluster.values())), "Total")),
            "stage": Hierarchy.flat(stages),
            "group": Hierarchy.flat(groups),
        }
    )
    leaves = pd.DataFrame(
        itertools.product(cluster, stages, groups), columns=list(structure.dimensions)
    )
    share = np.array([0.85, *[0.15 / (groups_n - 1)] * (groups_n - 1)])
    size = np.repeat(rng.lognormal(3.3, 0.8, schools_n), len(stages))
    leaves["n"] = rng.poisson(np.outer(size, share)).ravel()
    return with_totals(leaves, structure), structure


def time_table(schools_n: int, groups_n: int) -> None:
    """Seconds to protect a table, to audit it, and to audit it with small cells hidden only."""
    table, structure = make_table(schools_n, groups_n)
    compare(f"{schools_n} made-up schools", table, structure)
    for below in (LESS, K):
        bare = table.assign(status=np.where(table.n < below, "primary", "published"))
        took = Stopwatch()
        open_n = sum(audit(bare, structure).column("exact").to_pylist())
        print(f"  audit of {(table.n < below).sum()} cells below {below}: {took}, {open_n} open")


def compare(title: str, table: pd.DataFrame, structure: Structure) -> None:
    """Pupils hidden beside the small cells: row and column, quick, cheapest; all audited."""
    print(f"{title}: {len(table)} cells, {(table.n < K).sum()} below {K}")
    took = Stopwatch()
    fixpoint = by_row_and_column(table, structure)
    print(f"  row and column: {secondary_pupils(fixpoint)} pupils, {took}")
    for search in ("quick", "optimal"):
        took = Stopwatch()
        found = protect_with_bound(table, structure, Rule(k=K, search=search))
        marked = found.tables[0].to_pandas()
        less = 1 - secondary_pupils(marked) / max(1, secondary_pupils(fixpoint))
        print(
            f"  {search}: {secondary_pupils(marked)} pupils ({100 * less:.1f} % fewer), "
            f"gap {100 * found.gap:.2f} %, {took}",
            flush=True,
        )
    took = Stopwatch()
    intervals = audit(marked, structure)
    print(f"  audit of {len(intervals)} hidden: {took}")
    for name, one in (("row and column", fixpoint), ("optimal", marked)):
        print(f"  unsafe after {name}: {unsafe_n(one, structure)}", flush=True)


def secondary_pupils(marked: pd.DataFrame) -> int:
    """Pupils in cells that are hidden for another's sake, each cell once."""
    return int(marked.n[marked.status == "secondary"].sum())


def unsafe_n(marked: pd.DataFrame, structure: Structure) -> int:
    """Hidden cells that are exact, or small and not open from 1 to k."""
    keys = list(structure.dimensions)
    found = audit(marked, structure).to_pandas().merge(marked, on=keys)
    is_small = (found.status == "primary") & ((found.lower > 1) | (found.upper < K))
    return int((found.exact | is_small).sum())


def by_row_and_column(table: pd.DataFrame, structure: Structure) -> pd.DataFrame:
    """The usual fixpoint, made as safe as the others.

    In each line with a hidden cell the next smallest is hidden until two are, and the others
    hidden beside each small cell leave it open from 1 to k; lines again until nothing changes;
    then what an audit of the whole finds is mended line by line, and audited again.
    """
    (arrow,) = as_tables(table)
    cells = read_cells([arrow], [structure])
    plan = Plan(cells, needs_of([arrow], cells, Rule(k=K)), None)
    value, small = cells.value, plan.need.is_primary
    before = -1
    while before != (before := int(plan.is_hidden.sum())):
        for line in range(plan.lines.shape[0]):
            start, end = plan.lines.indptr[line : line + 2]
            members = plan.lines.indices[start:end]
            for cell in members[small[members]]:
                others = members[members != cell]
                shown = others[~plan.is_hidden[others]]
                # What the others hold can flow into the small cell, up to k.
                room = value[cell] + value[others[plan.is_hidden[others]]].sum()
                is_open = plan.is_hidden[others].any() and room >= K
                if not is_open and len(shown):
                    plan.is_hidden[shown[np.argmin(value[shown])]] = True
            hidden = members[plan.is_hidden[members]]
            shown = members[~plan.is_hidden[members]]
            if len(hidden) == 1 and len(shown):
                plan.is_hidden[shown[np.argmin(value[shown])]] = True
    plan.fill()
    status = np.where(small, "primary", np.where(plan.is_hidden, "secondary", "published"))
    return table.assign(status=status[cells.rows[0]])


def council_rolls(schools: Path, council: str | None) -> tuple[pd.DataFrame, Structure]:
    """Pupils expected to answer, by primary school and stage, from the published roll 2019."""
    frame = pd.read_csv(schools / "school_level_summary_2019.csv", dtype=str)
    frame = frame[frame["School Type"] == "Primary"]
    if council is not None:
        frame = frame[frame["Local Authority"] == council]
    stages = [f"P{i}" for i in range(1, 8)]
    roll = frame[stages].apply(pd.to_numeric, errors="coerce").fillna(3).to_numpy()
    answered = np.random.default_rng(2019).binomial(roll.astype(int), RESPONSE)
    councils = dict(zip(frame.SeedCode, frame["Local Authority"], strict=True))
    # A dozen schools side by side stand for a cluster: the published file names none.
    position = frame.groupby("Local Authority").cumcount() // 12
    cluster = dict(
        zip(frame.SeedCode, frame["Local Authority"] + " " + position.astype(str), strict=True)
    )
    parents = cluster | {cluster[seed]: councils[seed] for seed in cluster}
    parents |= dict.fromkeys(sorted(set(councils.values())), "Total")
    structure = Structure({"school": Hierarchy(parents), "stage": Hierarchy.flat(stages)})
    leaves = pd.DataFrame(itertools.product(frame.SeedCode, stages), columns=["school", "stage"])
    return with_totals(leaves.assign(n=answered.ravel()), structure), structure


def make_small(shape: tuple[int, int, int], seed: int) -> tuple[pd.DataFrame, Structure]:
    """Counts by school (in clusters), stage and group: 320 to 384 cells, few or many small.

    `shape`: schools, stages, groups. Schools are small, middling or large in turn of the seed;
    the groups are alike, or the first is much the largest.
    """
    schools_n, stages_n, groups_n = shape
    rng = np.random.default_rng([seed, *shape])
    cluster = {f"s{i}": f"c{i % max(3, schools_n // 6)}" for i in range(schools_n)}
    stages, groups = (
        [f"{name}{i}" for i in range(n)] for name, n in (("P", stages_n), ("g", groups_n))
    )
    structure = Structure(
        {
            "school": Hierarchy(cluster | dict.fromkeys(sorted(set(cluster.values())), "Total")),
            "stage": Hierarchy.flat(stages),
            "group": Hierarchy.flat(groups),
        }
    )
    leaves = pd.DataFrame(
        itertools.product(cluster, stages, groups), columns=list(structure.dimensions)
    )
    is_alike = groups_n == 2 and seed % 2
    first = 0.5 if is_alike else 0.85
    share = np.array([first, *[(1 - first) / (groups_n - 1)] * (groups_n - 1)])
    size = np.repeat(rng.lognormal([2.3, 3.3, 4.0][seed % 3], 0.8, schools_n), stages_n)
    leaves["n"] = rng.poisson(np.outer(size, share)).ravel()
    return with_totals(leaves, structure), structure


def time_small(seeds_n: int) -> None:
    """Processor seconds of the optimum, by the part of the cells that is small."""
    rows = []
    for shape, seed in itertools.product(SHAPES, range(seeds_n)):
        table, structure = make_small(shape, seed)
        started = time.process_time()
        found = protect_with_bound(table, structure, Rule(k=K, search="optimal"))
        took = time.process_time() - started
        part = (table.n < K).mean()
        kind = "below 10 %" if part < 0.1 else "10 to 30 %" if part < 0.3 else "above 30 %"
        unsafe = unsafe_n(found.tables[0].to_pandas(), structure)
        rows.append((kind, took, found.gap < TINY, unsafe))
    frame = pd.DataFrame(rows, columns=["small", "took", "is_best", "unsafe"])
    for kind, part in [("any part", frame), *frame.groupby("small")]:
        print(
            f"{len(part)} tables of 320 to 384 cells, {kind} of them small: {part.is_best.sum()} "
            f"proven the best, {part.unsafe.sum()} unsafe cells; "
            f"median {part.took.median():.2f} s, "
            f"{100 * (part.took > 1).mean():.0f} % above 1 s, longest {part.took.max():.1f} s "
            "of processor",
            flush=True,
        )


def make_country(schools_n: int) -> tuple[pd.DataFrame, Structure]:
    """Counts by school (in clusters of six, in CPPs of 75 schools), stage and sex, with totals."""
    rng = np.random.default_rng(3)
    stages, sexes = [f"P{i}" for i in range(1, 8)], ["F", "M"]
    parents = {f"s{i}": f"c{i // 6}" for i in range(schools_n)}
    parents |= {f"c{i}": f"a{i * 6 // 75}" for i in range(-(-schools_n // 6))}
    parents |= dict.fromkeys([f"a{i}" for i in range(-(-schools_n // 75))], "Total")
    structure = Structure(
        {
            "school": Hierarchy(parents),
            "stage": Hierarchy.flat(stages),
            "sex": Hierarchy.flat(sexes),
        }
    )
    schools = [f"s{i}" for i in range(schools_n)]
    leaves = pd.DataFrame(
        itertools.product(schools, stages, sexes), columns=list(structure.dimensions)
    )
    size = np.repeat(rng.lognormal(2.6, 0.8, schools_n), len(stages) * len(sexes))
    return with_totals(leaves.assign(n=rng.poisson(size)), structure), structure


def time_country(schools_n: int) -> None:
    """Seconds and memory to protect a country's schools line by line, and to audit that."""
    table, structure = make_country(schools_n)
    print(f"{schools_n} schools: {len(table)} cells, {(table.n < K).sum()} below {K}", flush=True)
    took = Stopwatch()
    bare = table.assign(status=np.where(table.n < K, "primary", "published"))
    open_n = sum(audit(bare, structure).column("exact").to_pylist())
    print(f"  audit with only the small cells hidden: {took}, {open_n} exact", flush=True)
    took = Stopwatch()
    marked = protect_with_bound(table, structure, Rule(k=K, search="quick")).tables[0].to_pandas()
    print(f"  protect: {secondary_pupils(marked)} pupils beside the small, {took}", flush=True)
    took = Stopwatch()
    hidden_n, unsafe = (marked.status != "published").sum(), unsafe_n(marked, structure)
    print(f"  audit of {hidden_n} hidden: {unsafe} unsafe, {took}", flush=True)
    print(f"  most memory: {getrusage(RUSAGE_SELF).ru_maxrss // 1024} MB", flush=True)


class Stopwatch:
    """Seconds since it was made, of the clock and of the processor."""

    def __init__(self) -> None:
        self.clock, self.processor = time.perf_counter(), time.process_time()

    def __str__(self) -> str:
        clock, processor = time.perf_counter() - self.clock, time.process_time() - self.processor
        return f"{clock:.2f} s ({processor:.2f} s of processor)"


def time_cell_keys(records_n: int) -> None:
    """Our counts with cell keys beside those of ONS's package: seconds, and cells that differ."""
    from cell_key_perturbation.create_perturbed_table import create_perturbed_table
    from cell_key_perturbation.utils.generate_test_ptable import generate_ptable_10_5_rule

    rng = np.random.default_rng(7)
    codes = {"school": 2_400, "stage": 7, "sex": 2}
    records = pd.DataFrame({name: rng.integers(0, n, records_n) for name, n in codes.items()})
    records["record_key"] = rng.integers(0, 256, records_n)
    noise = generate_ptable_10_5_rule()
    noise["pvalue"] = (noise.ckey * 7 + noise.pcv) % 5 - 2
    took = Stopwatch()
    theirs = create_perturbed_table(records, noise, [], list(codes), "record_key")
    print(f"cell keys of {records_n} records, ONS's package: {took}")
    took = Stopwatch()
    ours = cell_key_table(records, list(codes), noise).to_pandas()
    print(f"  ours: {took}")
    both = ours.merge(theirs, on=list(codes), how="outer", suffixes=("", "_ons"))
    differ = (both["count"].fillna(-1) != both["count_ons"].astype(float).fillna(-1)).sum()
    print(f"  {differ} of {len(both)} cells differ")


def main() -> None:
    """Time what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schools", type=int, nargs="*", default=[120, 30, 8])
    parser.add_argument("--systems", type=int, default=8)
    parser.add_argument("--tables", type=int, nargs="*", default=[14, 40, 200])
    parser.add_argument("--groups", type=int, default=3)
    parser.add_argument("--councils", nargs="*", default=[])
    parser.add_argument("--small", type=int, default=0)
    parser.add_argument("--country", type=int, nargs="*", default=[])
    parser.add_argument("--reference", type=Path, default=Path("../shared/reference"))
    parser.add_argument("--records", type=int, default=1_000_000)
    chosen = parser.parse_args()
    for schools_n in chosen.schools:
        time_systems(schools_n, chosen.systems)
    for schools_n in chosen.tables:
        time_table(schools_n, chosen.groups)
    for council in chosen.councils:
        rolls = council_rolls(chosen.reference / "schools", None if council == "all" else council)
        compare(f"Roll of {council}", *rolls)
    if chosen.small:
        time_small(chosen.small)
    for schools_n in chosen.country:
        time_country(schools_n)
    if chosen.records:
        time_cell_keys(chosen.records)


if __name__ == "__main__":
    main()
