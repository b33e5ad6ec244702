"""Wall times of the disclosure audit: one council's indicator, and any large table.

Run: `python -m benchmarks.disclosure [--schools 120 30 8] [--systems 8] [--tables 40 200]`
from the top of the project.

A system is one indicator of a made-up council: pupils of each school × stage × sex, positive
answers and complements unknown, bases shown to the nearest 5, percentages to the nearest
whole one, what is small hidden, rolls public. Prints milliseconds a system with one worker
and with two, and of processor time (which other work on the machine does not lengthen). A
table is school × stage × looked after with clusters and totals, protected and audited.
Belongs here: timing. Does not belong here: whether answers are right
(`tests/unit/disclosure`).
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, hstack, vstack

from rcs_assets.disclosure import Hierarchy, Rule, Structure, audit, protect
from rcs_assets.disclosure.lp import System, Targets, reach_each

STAGES, SEXES, K = 3, 2, 10
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


def make_table(schools_n: int) -> tuple[pd.DataFrame, Structure]:
    """Counts by school (in clusters), 7 stages and looked after, with all totals."""
    rng = np.random.default_rng(1)
    stages, groups = [f"P{i}" for i in range(1, 8)], ["no", "yes"]
    cluster = {f"s{i}": f"c{i % max(3, schools_n // 10)}" for i in range(schools_n)}
    structure = Structure(
        {
            "school": Hierarchy(cluster | dict.fromkeys(sorted(set(cluster.values())), "Total")),
            "stage": Hierarchy.flat(stages),
            "looked_after": Hierarchy.flat(groups),
        }
    )
    leaves = pd.DataFrame(
        itertools.product(cluster, stages, groups), columns=list(structure.dimensions)
    )
    size = np.repeat(rng.lognormal(3.3, 0.8, schools_n), len(stages))
    leaves["n"] = rng.poisson(np.outer(size, [0.85, 0.15])).ravel()
    table = leaves
    above = leaves.assign(school=leaves.school.map(cluster))
    table = pd.concat([table, above, above.assign(school="Total")])
    for name in ("stage", "looked_after"):
        table = pd.concat([table, table.assign(**{name: "Total"})])
    keys = list(structure.dimensions)
    return pd.DataFrame(table.groupby(keys, sort=False)["n"].sum().reset_index()), structure


def time_table(schools_n: int) -> None:
    """Seconds to protect a table, to audit it, and to audit it with small cells hidden only."""
    table, structure = make_table(schools_n)
    started = time.perf_counter()
    protected = protect(table, structure, Rule(k=K))
    protecting = time.perf_counter() - started
    started = time.perf_counter()
    intervals = audit(protected, structure)
    auditing = time.perf_counter() - started
    bare = table.assign(status=np.where(table.n < K, "primary", "published"))
    started = time.perf_counter()
    open_n = sum(audit(bare, structure).column("exact").to_pylist())
    bare_auditing = time.perf_counter() - started
    print(
        f"{len(table):5d} cells: protect {protecting:.2f} s, audit of {len(intervals)} hidden "
        f"{auditing:.2f} s; small cells alone: audit {bare_auditing:.2f} s, {open_n} recovered"
    )


def main() -> None:
    """Time what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schools", type=int, nargs="*", default=[120, 30, 8])
    parser.add_argument("--systems", type=int, default=8)
    parser.add_argument("--tables", type=int, nargs="*", default=[40, 200])
    chosen = parser.parse_args()
    for schools_n in chosen.schools:
        time_systems(schools_n, chosen.systems)
    for schools_n in chosen.tables:
        time_table(schools_n)


if __name__ == "__main__":
    main()
