"""An attacker with linear programming finds nothing that policy.md forbids him."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcs_assets.disclosure import audience_names, load_policy, protect_estimates
from tests.disclosure.attacker import Attacker
from tests.disclosure.made_programme import Shape, count_estimates, engagements, rows

# Sizes at which something is hidden and something shown; tranches of one CPP included.
SHAPES = {
    "three tranches": Shape(pupils=(60, 900)),
    "one CPP a tranche": Shape(tranches=(1, 1), pupils=(60, 900), rate=0.3),
    "rare": Shape(tranches=(2, 1), pupils=(400, 2500), rate=0.02, unknown_simd=0.01),
    "nearly all": Shape(tranches=(3,), pupils=(60, 900), rate=0.95, response=0.9),
    "everyone answers": Shape(tranches=(2,), pupils=(20, 160), rate=0.5, response=1.0),
    "sensitive": Shape(tranches=(1, 2), pupils=(60, 900), is_sensitive=True),
    "mean": Shape(tranches=(2, 1), pupils=(30, 300), statistic="mean"),
    "low in a tranche of one CPP": Shape(tranches=(1, 1), pupils=(400, 1200), rate=0.015),
    "many not known": Shape(tranches=(2,), pupils=(400, 2500), rate=0.1, unknown_simd=0.2),
}


class Programme:
    """A drawn programme, what is released of it, and the truth."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        con = duckdb.connect()
        count_estimates(con, shape, seed)
        self.engagements = engagements(con)
        self.truth = rows(con.execute("from estimates").to_arrow_table())
        self.con = con
        self.protected = self._protect("estimates")

    def _protect(self, estimates: str) -> list[dict[str, Any]]:
        return rows(
            protect_estimates(
                self.con,
                estimates,
                "indicators",
                load_policy(),
                audience_names(self.engagements),
                geographies="geographies",
            )
        )

    def protect_again(self) -> list[dict[str, Any]]:
        """Protect the truth as a test has changed it."""
        self.con.register("changed", pa.Table.from_pylist(self.truth))
        return self._protect("changed")

    def released(self, package: str | None) -> list[dict[str, Any]]:
        """What the public sees, and the holder of one CPP's package beside it."""
        return [r for r in self.protected if r["audience"] in ("public", f"cpp/{package}")]

    def findings(self, released: list[dict[str, Any]]) -> list[Any]:
        attacker = Attacker(released, self.truth, is_sensitive=self.shape.is_sensitive)
        return attacker.findings()


@pytest.mark.parametrize("seed", [0, 11])
@pytest.mark.parametrize("name", SHAPES)
def test_nothing_can_be_subtracted(name, seed):
    programme = Programme(SHAPES[name], seed)
    assert any(row["status"] == "c" for row in programme.protected)
    for package in (None, programme.engagements[0]):
        assert programme.findings(programme.released(package)) == []


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    st.sampled_from([(2, 1), (1, 1), (2,), (1,)]),
    st.sampled_from([(20, 120), (60, 900), (400, 2500)]),
    st.sampled_from([0.01, 0.05, 0.3, 0.7, 0.97]),
    st.sampled_from([0.5, 0.73, 1.0]),
    st.sampled_from([0.0, 0.01, 0.05, 0.2]),
    st.integers(0, 10**6),
)
def test_nothing_can_be_subtracted_from_any_programme(
    tranches, pupils, rate, response, unknown, seed
):
    shape = Shape(tranches, pupils, rate, response, unknown)
    programme = Programme(shape, seed)
    for package in (None, programme.engagements[-1]):
        assert programme.findings(programme.released(package)) == []


def test_a_planted_leak_is_found():
    """Nine girls, 150 boys; the boys are shown beside the total: the girls are subtracted."""
    programme = Programme(Shape(tranches=(2, 1), pupils=(300, 900), rate=0.3), seed=3)
    engagement = programme.engagements[0]
    truth = {_cell(row): row for row in programme.truth}
    own = {"engagement": engagement, "tranche": "t1", "geography_level": "cpp"}
    girls = {**own, "breakdown": "sex", "group": "F"}
    boys = {**own, "breakdown": "sex", "group": "M"}
    total = {**own, "breakdown": "total", "group": "all"}
    moved = truth[_cell(girls)]["numerator_n"] - 9
    for cell in (girls, boys, total):
        place = truth[_cell(cell)]
        place["numerator_n"] += {"F": -moved, "M": moved, "all": 0}[cell["group"]]
        place["estimate"] = 100 * place["numerator_n"] / place["base_n"]
    for level in (
        {**own, "engagement": None, "geography_level": "tranche"},
        {**own, "engagement": None, "tranche": None, "geography_level": "all"},
    ):
        for group, change in (("F", -moved), ("M", moved)):
            truth[_cell({**level, "breakdown": "sex", "group": group})]["numerator_n"] += change
    protected = programme.protect_again()
    released = [row for row in protected if row["audience"] == "public"]
    shown = {_cell(row): row for row in released}
    assert shown[_cell(girls)]["note"] == "low" and shown[_cell(boys)]["status"] == "c"
    assert programme.findings(released) == []
    place = truth[_cell(boys)]
    shown[_cell(boys)].update(
        status="published", n=round(place["base_n"], -1), estimate=round(place["estimate"])
    )
    found = programme.findings(released)
    assert {"/".join((engagement, "sex", "F"))} <= {finding.place for finding in found}


def test_a_planted_exact_numerator_is_found():
    programme = Programme(Shape(tranches=(1, 1), pupils=(100, 200), rate=0.04), seed=5)
    released = programme.released(None)
    total = next(row for row in released if row["breakdown"] == "total" and row["status"] == "c")
    known = {_cell(row): row for row in programme.truth}[_cell(total)]
    total.update(
        status="published",
        n=round(known["base_n"], -1),
        estimate=round(known["estimate"]),
        note=None,
    )
    with pytest.raises(AssertionError, match="contradict"):
        # A shown numerator below its k contradicts the rule that the attacker knows.
        programme.findings(released)


def test_no_figure_stands_in_a_hidden_cell_of_any_audience():
    programme = Programme(SHAPES["three tranches"], seed=2)
    for row in programme.protected:
        if row["status"] in ("c", "x", "z"):
            assert (row["n"], row["estimate"], row["ci_low"], row["ci_high"]) == (None,) * 4
        else:
            assert row["note"] is None


def test_what_a_cpp_package_hides_is_hidden_in_public():
    programme = Programme(SHAPES["three tranches"], seed=4)
    public = {_cell(r): r["status"] for r in programme.protected if r["audience"] == "public"}
    own = [r for r in programme.protected if r["audience"] != "public" and r["status"] == "c"]
    assert own and {public[_cell(row)] for row in own} == {"c"}


def _cell(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("engagement", "tranche", "geography_level", "breakdown", "group")
    return tuple(row[name] for name in names)
