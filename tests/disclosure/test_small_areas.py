"""Areas of fewer pupils than a threshold asks for: all is hidden, and that is safe."""

from __future__ import annotations

import pytest

from tests.disclosure.attacker import SHOWN
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import Programme


@pytest.mark.parametrize("response", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("is_sensitive", [True, False])
def test_an_area_with_a_roll_below_the_threshold_is_protected(response, is_sensitive):
    """How many of a group there are at most follows from the roll of the area, which is public."""
    measure = Measure("some", is_sensitive=is_sensitive)
    one = Shape((measure,), "primary", (1, 1), (1, 1), (1, 1), (30, 36), response)
    programme = Programme(one, 1)
    assert programme.audit().unsafe_n == 0
    groups = ("looked_after", "simd_quintile")
    assert not [r for r in programme.released if r["breakdown"] in groups and r["status"] in SHOWN]
