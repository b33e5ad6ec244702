"""Simulated sets that several tests read: the small one with defects, and a clean one.

Belongs here: fixtures of the simulator's tests. Does not belong here: assertions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from rcs_assets.codebook import Codebook, load_codebook
from rcs_assets.programme import Programme, load_programme
from rcs_assets.simulate import SimulationReport, simulate
from rcs_assets.simulate.people import make_people
from rcs_assets.simulate.places import Places, read_places
from rcs_assets.simulate.public import write_fictitious

SEED = 2026


@dataclass(frozen=True)
class SimulatedSet:
    """One set of deliveries with its truth."""

    out: Path
    truth: Path
    report: SimulationReport

    def respondents(self) -> pd.DataFrame:
        """The truth's table of submissions."""
        return pd.read_parquet(self.truth / "respondents.parquet")

    def csv(self, name: str) -> pd.DataFrame:
        """A delivered CSV as text."""
        return pd.read_csv(self.out / name, dtype=str, keep_default_na=False)


def make_set(folder: Path, **options: object) -> SimulatedSet:
    """Simulate a small set into `folder`."""
    out, truth = folder / "out", folder / "truth"
    report = simulate(out, truth=truth, **{"scale": "small", "seed": SEED} | options)  # type: ignore[arg-type]
    return SimulatedSet(out, truth, report)


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Small, with typical defects."""
    return make_set(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def clean_set(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSet:
    """Small, without defects."""
    return make_set(tmp_path_factory.mktemp("clean"), defects="none")


@pytest.fixture(scope="session")
def programme() -> Programme:
    """The register."""
    return load_programme()


@pytest.fixture(scope="session")
def codebook() -> Codebook:
    """The codebook."""
    return load_codebook()


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, programme: Programme) -> Places:
    """All fictitious schools, at real size."""
    folder = tmp_path_factory.mktemp("places")
    write_fictitious(folder, programme, SEED)
    return read_places(folder, programme, SEED)


@pytest.fixture(scope="session")
def people(places: Places, programme: Programme) -> pd.DataFrame:
    """All pupils, at real size."""
    return make_people(places, programme, SEED, None)
