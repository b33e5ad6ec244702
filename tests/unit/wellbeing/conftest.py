"""What tests of estimates share: a made programme and its estimates, computed once."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.model import Codebook
from rcs_assets.wellbeing.estimates import write_estimates
from tests.unit.wellbeing.made import FEW, MANY, NAMES, RULES, fill


@pytest.fixture(scope="package")
def codebook() -> Codebook:
    full = load_codebook()
    return replace(full, indicators={name: full.indicators[name] for name in NAMES})


@pytest.fixture(scope="package")
def con(codebook):
    with duckdb.connect() as connection:
        fill(connection)
        write_estimates(connection, codebook, [MANY, FEW], RULES)
        yield connection
