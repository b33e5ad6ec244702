"""Controlled and midpoint rounding, cell keys: against enumeration and ONS's own package."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cell_key_perturbation.create_perturbed_table import create_perturbed_table
from cell_key_perturbation.utils.generate_test_ptable import generate_ptable_10_5_rule
from hypothesis import given, settings
from hypothesis import strategies as st

from rcs_assets.disclosure import Hierarchy, Structure
from rcs_assets.disclosure.alternatives import (
    cell_key_table,
    controlled_rounding,
    midpoint_rounding,
)
from rcs_assets.errors import InputError, RcsError

PAIR = Structure({"a": Hierarchy.flat("pq"), "b": Hierarchy.flat("st")})
CELLS = list(itertools.product(["p", "q", "Total"], ["s", "t", "Total"]))


def pair_table(leaves: list[int]) -> pd.DataFrame:
    grid = np.array(leaves).reshape(2, 2)
    rows = np.vstack([grid, grid.sum(axis=0)])
    whole = np.hstack([rows, rows.sum(axis=1, keepdims=True)])
    return pd.DataFrame(CELLS, columns=["a", "b"]).assign(n=whole.ravel())


@settings(max_examples=20)
@given(leaves=st.lists(st.integers(0, 12), min_size=4, max_size=4))
def test_controlled_rounding_is_the_nearest_of_all_that_add_up(leaves: list[int]) -> None:
    table = pair_table(leaves)
    found = controlled_rounding(table, PAIR, base=5).to_pandas()
    n, rounded = table.n.to_numpy(), found.rounded.to_numpy()
    assert (rounded % 5 == 0).all()
    assert (np.abs(rounded - n) < 5).all()
    assert pair_table(rounded[[0, 1, 3, 4]].tolist()).n.tolist() == rounded.tolist()
    sides = [{5 * (x // 5), -5 * (-x // 5)} for x in leaves]
    every = [pair_table(list(choice)).n.to_numpy() for choice in itertools.product(*sides)]
    near = [one for one in every if (np.abs(one - n) < 5).all()]
    assert np.abs(rounded - n).sum() == min(np.abs(one - n).sum() for one in near)


def test_three_dimensions_add_up_too() -> None:
    rng = np.random.default_rng(4)
    codes = {name: Hierarchy.flat(["x", "y", "z"]) for name in "abc"}
    leaves = pd.DataFrame(itertools.product("xyz", repeat=3), columns=list("abc"))
    leaves["n"] = rng.integers(0, 20, len(leaves))
    table = leaves
    for name in "abc":
        table = pd.concat([table, table.assign(**{name: "Total"})])
    table = table.groupby(list("abc"), as_index=False)[["n"]].sum()
    structure = Structure(codes)
    found = controlled_rounding(table, structure, base=5).to_pandas()
    assert (np.abs(found.rounded - found.n) < 10).all()
    # `controlled_rounding` reads a table only if it adds up.
    again = controlled_rounding(found.assign(n=found.rounded), structure, base=5).to_pandas()
    assert again.rounded.tolist() == found.rounded.tolist()


def test_linked_tables_round_a_shared_total_alike() -> None:
    first = pair_table([3, 4, 8, 11])
    second = pair_table([7, 0, 4, 15]).rename(columns={"b": "c"})
    second_structure = Structure({"a": Hierarchy.flat("pq"), "c": Hierarchy.flat("st")})
    found = controlled_rounding([first, second], [PAIR, second_structure], base=5)
    one, two = (t.to_pandas().query(f"{n} == 'Total'") for t, n in zip(found, "bc", strict=True))
    assert one.rounded.tolist() == two.rounded.tolist()


def test_midpoint_6_is_that_of_opensafely() -> None:
    """ceil(x / 6) * 6 - 3 for x > 0; zero is zero (methods.md B)."""
    table = pd.DataFrame({"n": [0, 1, 6, 7, 12, 13]})
    assert midpoint_rounding(table).column("rounded").to_pylist() == [0, 3, 3, 9, 9, 15]


def survey(records_n: int) -> pd.DataFrame:
    rng = np.random.default_rng(9)
    return pd.DataFrame(
        {
            "record_key": rng.integers(0, 256, records_n),
            "school": rng.integers(0, 40, records_n),
            "stage": rng.choice(list("abcdefg"), records_n),
            "sex": rng.choice(["f", "m"], records_n, p=[0.02, 0.98]),
        }
    )


@pytest.mark.parametrize("threshold", [0, 10])
@pytest.mark.parametrize("by", [["sex"], ["school", "stage", "sex"]])
def test_cell_keys_equal_onss_package(by: list[str], threshold: int) -> None:
    records = survey(20_000)
    noise = generate_ptable_10_5_rule()
    # Values that depend on the key, as in a perturbation of the census.
    noise["pvalue"] = (noise.ckey * 7 + noise.pcv) % 5 - 2
    theirs = create_perturbed_table(records, noise, [], by, "record_key", threshold=threshold)
    ours = cell_key_table(records, by, noise, threshold=threshold).to_pandas()
    assert ours[by].to_numpy().tolist() == theirs[by].to_numpy().tolist()
    expected = theirs["count"].fillna(-9).to_numpy(dtype=int)
    assert ours["count"].fillna(-9).to_numpy(dtype=int).tolist() == expected.tolist()
    assert theirs.pre_sdc_count.max() > 750 or by != ["sex"]


def test_bad_input_is_refused() -> None:
    noise = generate_ptable_10_5_rule()
    with pytest.raises(InputError, match="No column 'year'"):
        cell_key_table(survey(10), ["year"], noise)
    with pytest.raises(InputError, match="nulls"):
        cell_key_table(survey(10).assign(sex=None), ["sex"], noise)
    with pytest.raises(InputError, match="rounds nothing"):
        controlled_rounding(pair_table([1, 2, 3, 4]), PAIR, base=1)
    with pytest.raises(InputError, match="values below 0"):
        midpoint_rounding(pd.DataFrame({"n": [1.5]}))


NOISE = generate_ptable_10_5_rule()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"by": []}, "argument by"),
        ({"by": ["sex", "sex"]}, "argument by"),
        ({"records": survey(10).assign(record_key="key")}, "not numeric"),
        ({"records": survey(10).assign(record_key=0.5)}, "no whole numbers"),
        ({"records": survey(10).assign(record_key=-1)}, "no whole numbers"),
        ({"perturbations": NOISE.head(0)}, "perturbations is empty"),
        ({"perturbations": pd.concat([NOISE, NOISE.tail(1)])}, "several for a count and key"),
        ({"perturbations": NOISE.assign(pvalue=None)}, "says none"),
        ({"perturbations": NOISE[NOISE.pcv > 20]}, "no row for"),
        ({"threshold": "ten"}, "threshold"),
    ],
)
def test_cell_keys_that_would_not_perturb_are_refused(change: dict[str, Any], said: str) -> None:
    given = {"records": survey(10), "by": ["sex"], "perturbations": NOISE} | change
    with pytest.raises(RcsError, match=said):
        cell_key_table(**given)


@pytest.mark.parametrize("name", ["n", "keys", "ckey", "pvalue", "noisy_n"])
def test_a_column_may_be_called_like_one_of_the_query(name: str) -> None:
    records = survey(1_000)
    plain = cell_key_table(records, "sex", NOISE).rename_columns([name, "count"])
    named = cell_key_table(records.rename(columns={"sex": name}), [name], NOISE)
    assert named.equals(plain)


@pytest.mark.parametrize("base", [1, 2.5, "5", None, True])
def test_a_base_that_is_no_whole_number_from_2_on_is_refused(base: Any) -> None:
    table = pair_table([1, 2, 3, 4])
    with pytest.raises(InputError, match="argument base"):
        controlled_rounding(table, PAIR, base=base)
    with pytest.raises(InputError, match="argument base"):
        midpoint_rounding(table, base=base)
