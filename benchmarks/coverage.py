"""How often do the engine's intervals hold the rate that drew the pupils?

Run: `python -m benchmarks.coverage [--rounds N]` from the top of the project. Prints the
table of docs/explanation/coverage.md.

Schools of a CPP have rates of their own around p (beta, intra-school correlation 0.01);
73 % of each roll respond, at random; n is what is expected to respond. Intervals are those
of policy.md, Table B: a school (Wilson on n), a CPP with few schools (Wilson on n / pooled
design effect, pooled over eight CPPs), one with many (school clusters, logit t). A round is
a CPP of its own: a stratum of one big table, so that one call of the engine estimates all.
Beside them: Clopper-Pearson on the same n / design effect, and the interval as published,
from rounded figures. Belongs here: the simulation. Does not belong here: intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from rcs_assets.estimation import Design, estimate, pooled_design_effect, wilson_interval
from rcs_assets.estimation.intervals import clopper_pearson

Floats = npt.NDArray[np.float64]
SHARES = (0.02, 0.1, 0.5, 0.9)
SIZES = (10, 30, 100, 400)
RESPONSE, CORRELATION, POOLED_CPPS = 0.73, 0.01, 8
LEAST, MOST = 0.925, 0.97
DESIGN = Design(strata="round", clusters="school", weight="weight", nest=True)


@dataclass(frozen=True)
class Case:
    """One kind of output, by its number of schools."""

    name: str
    schools_n: int
    is_clustered: bool


CASES = (
    Case("school", 1, is_clustered=False),
    Case("CPP, 5 schools", 5, is_clustered=False),
    Case("CPP, 20 schools", 20, is_clustered=True),
)


@dataclass(frozen=True)
class Coverage:
    """Shares of rounds whose interval holds p."""

    case: Case
    p: float
    n: int
    engine: float
    published: float
    exact: float

    @property
    def verdict(self) -> str:
        """What the aim says of the engine's interval."""
        if self.engine < LEAST:
            return "below 92.5 %"
        many = self.n * min(self.p, 1.0 - self.p) > 5.0
        if many and self.engine > MOST:
            return "above 97 %"
        if not many and self.engine > max(self.exact, MOST):
            return "above exact"
        return ""


def make_pupils(
    case: Case, p: float, n: int, rounds: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Respondents of all rounds: round, school, sex, weight, whether they have it."""
    roll = np.full(case.schools_n, n / RESPONSE / case.schools_n)
    rolls = np.floor(roll + rng.random((rounds, case.schools_n))).astype(int)
    shape = (1.0 - CORRELATION) / CORRELATION
    drawn = rng.beta(p * shape, (1.0 - p) * shape, size=rolls.shape)
    rates = drawn if case.schools_n > 1 else np.full(rolls.shape, p)
    schools = np.repeat(np.arange(rolls.size), rolls.ravel())
    pupils = pd.DataFrame({"round": schools // case.schools_n, "school": schools})
    pupils["sex"] = rng.integers(0, 2, len(pupils))
    pupils["has_it"] = (rng.random(len(pupils)) < rates.ravel()[schools]).astype(float)
    responds = rng.random(len(pupils)) < RESPONSE
    answered = pupils[responds].copy()
    cell = ["round", "sex"]
    # Raked to the roll by sex, as a CPP is; a school is not weighted.
    ratio = pupils.groupby(cell).size() / answered.groupby(cell).size()
    cells = pd.MultiIndex.from_frame(answered[cell])
    answered["weight"] = 1.0 if case.schools_n == 1 else ratio.reindex(cells).to_numpy(float)
    return answered


def measure(case: Case, p: float, n: int, rounds: int, seed: int) -> Coverage:
    """Coverage of one case."""
    con = duckdb.connect()
    pupils = make_pupils(case, p, n, rounds, np.random.default_rng(seed))
    con.register("made", pupils)
    con.execute("create table pupils as from made")
    design = DESIGN if case.schools_n > 1 else Design()
    ci = "logit" if case.is_clustered else "wilson"
    found = estimate(con, "pupils", design, ["has_it"], by="round", ci=ci)
    size = found["n"].to_numpy().astype(float)
    share = found["estimate"].to_numpy()
    effect = np.ones(len(size))
    if case.schools_n > 1:
        effect = _pooled(con, found)
    if case.is_clustered:
        low, high = (found[name].to_numpy() for name in ("ci_low", "ci_high"))
        se = found["se"].to_numpy()
        # As the platform: without a variance between schools, Wilson on n / pooled effect.
        alone = ~(se > 0) | np.isnan(low)
        pooled = wilson_interval(share, size, 0.95, effect)
        low, high = np.where(alone, pooled[0], low), np.where(alone, pooled[1], high)
        shown = (np.floor(low * 100) / 100, np.ceil(high * 100) / 100)
    else:
        low, high = wilson_interval(share, size, 0.95, effect)
        step_n = np.maximum(_nearest(size, 5), 5)
        ends = wilson_interval(_nearest(share * 100, 1) / 100, step_n, 0.95, effect)
        shown = (_nearest(ends[0] * 100, 1) / 100, _nearest(ends[1] * 100, 1) / 100)
    exact = clopper_pearson(share, size / effect, 0.95)
    return Coverage(case, p, n, _held(p, low, high), _held(p, *shown), _held(p, *exact))


def _pooled(con: duckdb.DuckDBPyConnection, found: object) -> Floats:
    """Design effects pooled over each eight rounds, rounded to 0.1 as the platform does."""
    con.register("found", found)
    grouped = con.execute(
        f"select *, round // {POOLED_CPPS} as batch from found order by round"
    ).to_arrow_table()
    effects = pooled_design_effect(con, grouped, by=("batch",)).to_pandas()
    known = effects.set_index("batch")["design_effect"].fillna(1.0)
    return np.maximum(1.0, np.round(known.loc[grouped["batch"].to_pylist()].to_numpy(), 1))


def _nearest(values: Floats, step: float) -> Floats:
    return np.floor(values / step + 0.5) * step


def _held(p: float, low: Floats, high: Floats) -> float:
    return float(np.mean((low <= p + 1e-12) & (p - 1e-12 <= high)))


def every(rounds: int) -> Iterator[Coverage]:
    """All cases."""
    for number, case in enumerate(CASES):
        for p in SHARES:
            for n in SIZES:
                yield measure(case, p, n, rounds, seed=1000 * number + int(p * 100) * 10 + n)


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    rounds = parser.parse_args().rounds
    print("| output | p | n | engine | published | Clopper–Pearson | |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for found in every(rounds):
        figures = " | ".join(f"{100 * v:.1f}" for v in (found.engine, found.published, found.exact))
        print(
            f"| {found.case.name} | {found.p} | {found.n} | {figures} | {found.verdict} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
