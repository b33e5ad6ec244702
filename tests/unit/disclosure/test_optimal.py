"""The cheapest choice: against every choice of small tables, with its bound, costs and errors."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.disclosure import (
    by_row_and_column,
    make_small,
    make_table,
    secondary_pupils,
    unsafe_n,
)
from rcs_assets.disclosure import Hierarchy, Rule, Structure, branch, optimal
from rcs_assets.disclosure.given import as_tables
from rcs_assets.disclosure.secondary import Plan
from rcs_assets.disclosure.structure import read_cells
from rcs_assets.disclosure.tabular import needs_of, protect_with_bound
from rcs_assets.errors import ConfigurationError, InputError

FLAT = Structure({"row": Hierarchy.flat("AB"), "column": Hierarchy.flat("xyz")})
CELLS = list(itertools.product(["A", "B", "Total"], ["x", "y", "z", "Total"]))


def flat_table(leaves: list[int]) -> pd.DataFrame:
    grid = np.array(leaves).reshape(2, 3)
    rows = np.vstack([grid, grid.sum(axis=0)])
    whole = np.hstack([rows, rows.sum(axis=1, keepdims=True)])
    return pd.DataFrame(CELLS, columns=["row", "column"]).assign(n=whole.ravel())


def least_of_all(table: pd.DataFrame, rule: Rule) -> float:
    """The least loss over every choice of secondary cells that an attack leaves safe."""
    (arrow,) = as_tables(table)
    cells = read_cells([arrow], [FLAT])
    plan = Plan(cells, needs_of([arrow], cells, rule), rule.rounding)
    small = plan.need.is_primary
    free = np.flatnonzero(~small & plan.need.can_hide)
    losses = []
    for choice in itertools.product([False, True], repeat=len(free)):
        plan.is_hidden = small.copy()
        plan.is_hidden[free] = choice
        if plan.cost() < min(losses, default=np.inf) and not len(plan.unsafe(rule.rounding)):
            losses.append(plan.cost())
    return min(losses)


@settings(max_examples=4)
@given(
    leaves=st.lists(st.integers(0, 25), min_size=6, max_size=6),
    rounding=st.sampled_from([None, 5]),
)
def test_no_safe_choice_loses_less(leaves: list[int], rounding: int | None) -> None:
    table, rule = flat_table(leaves), Rule(k=7, rounding=rounding)
    found = protect_with_bound(table, FLAT, rule)
    assert found.cost == pytest.approx(least_of_all(table, rule))
    assert found.gap == pytest.approx(0)


@settings(max_examples=3)
@given(
    leaves=st.lists(st.sampled_from([0, 1, 3, 5, 12, 15, 21]), min_size=6, max_size=6),
    k=st.integers(5, 10),
)
def test_every_safe_choice_keeps_every_condition(leaves: list[int], k: int) -> None:
    """Those too that ask for two cells together: `_Exchange` may not ask for too much."""
    table = flat_table(leaves)
    (arrow,) = as_tables(table)
    cells = read_cells([arrow], [FLAT])
    need, made = needs_of([arrow], cells, Rule(k=k)), []
    add = optimal._Master.add

    def keep(self: optimal._Master, cuts: Iterable[optimal._Cut]) -> None:
        made.extend(cuts := list(cuts))
        add(self, cuts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimal._Master, "add", keep)
        optimal.cheapest(cells, need, None)
    plan = Plan(cells, need, None)
    free = np.flatnonzero(~need.is_primary)
    for choice in itertools.product([False, True], repeat=len(free)):
        plan.is_hidden = need.is_primary.copy()
        plan.is_hidden[free] = choice
        broken = [cut for cut in made if not keeps(plan.is_hidden, cut)]
        assert not broken or len(plan.unsafe(None))


def keeps(is_hidden: np.ndarray, cut: optimal._Cut) -> bool:
    """Whether a choice keeps a condition, cells that ask for others beside them included."""
    x = [
        is_hidden[cell] and all(is_hidden[list(group)].any() for group in cut.beside.get(cell, ()))
        for cell in cut.index.tolist()
    ]
    return bool(cut.value @ np.array(x, dtype=float) >= cut.least - 1e-9)


def test_stages_in_two_groups_take_few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven stages, each hidden by one of two cells: 2^7 conditions are said in one."""
    looks, look_at = [], optimal._Descent.look_at

    def count(self: optimal._Descent, x: np.ndarray) -> float:
        looks.append(1)
        return look_at(self, x)

    monkeypatch.setattr(optimal._Descent, "look_at", count)
    table, structure = make_small((12, 7, 2), 0)
    found = protect_with_bound(table, structure, Rule(k=10))
    assert (found.cost, found.bound) == (2549, 2549)
    assert len(looks) <= 15


def test_costs_steer_the_choice() -> None:
    table = flat_table([3, 20, 20, 30, 30, 30]).assign(cost=1.0)
    dear = table.assign(cost=np.where(table.column == "y", 100.0, table.cost))
    for given_, column in ((table, None), (dear, "y")):
        found = protect_with_bound(given_, FLAT, Rule(k=10, cost="cost"))
        marked = found.tables[0].to_pandas()
        assert found.cost == given_.cost[marked.status != "published"].sum()
        assert not ((marked.column == column) & (marked.status != "published")).any()


def test_the_least_of_losses_below_1_is_found() -> None:
    """The master may stop early only above the least by a whole pupil or more."""
    table, structure = make_table(3, groups_n=3)
    least = protect_with_bound(table, structure, Rule(k=10)).cost
    dear = table.assign(cost=table.n / (2 * least))
    found = protect_with_bound(dear, structure, Rule(k=10, cost="cost"))
    assert found.cost == pytest.approx(0.5)
    assert found.gap == pytest.approx(0, abs=1e-6)


def test_a_cost_below_zero_and_an_unknown_search_are_refused() -> None:
    table = flat_table([3, 20, 20, 30, 30, 30]).assign(cost=-1.0)
    with pytest.raises(InputError, match="'cost' holds nulls or values below 0"):
        protect_with_bound(table, FLAT, Rule(k=10, cost="cost"))
    with pytest.raises(ConfigurationError, match="no search"):
        Rule(search="slow")


def test_what_cannot_be_protected_is_refused() -> None:
    """Two cells that everybody knows to be at least 4 and 5 of 9: nothing is open."""
    table = flat_table([4, 5, 0, 0, 0, 0]).assign(low=0.0, low_ok=np.nan, high_ok=np.nan)
    table["low"] = table.n
    table.loc[0, ["low_ok", "high_ok"]] = [2.0, 8.0]
    structure = Structure(FLAT.dimensions, known_low="low", known_high="n")
    for search in ("optimal", "quick"):
        rule = Rule(k=None, low_ok="low_ok", high_ok="high_ok", search=search)
        with pytest.raises(ConfigurationError, match=r"cannot be met.*row 1 \(row A, column x\)"):
            protect_with_bound(table, structure, rule)


def test_224_cells_lose_the_least_and_much_less_than_row_and_column() -> None:
    """The figure for larger tables: `python -m benchmarks.disclosure`."""
    table, structure = make_table(3, groups_n=3)
    found = protect_with_bound(table, structure, Rule(k=10))
    marked, fixpoint = found.tables[0].to_pandas(), by_row_and_column(table, structure)
    assert len(table) == 224
    assert found.gap == pytest.approx(0)
    assert unsafe_n(marked, structure) == unsafe_n(fixpoint, structure) == 0
    assert secondary_pupils(marked) < 0.85 * secondary_pupils(fixpoint)


def test_a_table_of_three_dimensions_ends_with_a_safe_choice_and_its_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound of such tables stays far below: the search ends with its work, not with a proof."""
    sides = {"school": "ABCDEF", "stage": "stuvw", "sex": "xyz"}
    structure = Structure({name: Hierarchy.flat(codes) for name, codes in sides.items()})
    counts = np.random.default_rng(1).integers(0, 200, (6, 5, 3))
    for axis in range(3):
        counts = np.concatenate([counts, counts.sum(axis=axis, keepdims=True)], axis=axis)
    codes = itertools.product(*([*letters, "Total"] for letters in sides.values()))
    table = pd.DataFrame(codes, columns=list(sides)).assign(n=counts.ravel())
    line_by_line = protect_with_bound(table, structure, Rule(k=10, search="quick"))
    for work, at_most in ((1_000_000, 0.7), (1, 1.0)):
        monkeypatch.setattr(branch, "WORK_MOST", work)
        found = protect_with_bound(table, structure, Rule(k=10))
        assert unsafe_n(found.tables[0].to_pandas(), structure) == 0
        assert found.gap > 0.01
        assert found.cost <= at_most * line_by_line.cost
