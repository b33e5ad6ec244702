"""The engine for any tables: known answers, brute force, linked tables, rounding, errors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcs_assets.disclosure import Hierarchy, Rule, Structure, audit, protect
from rcs_assets.disclosure.leaks import find_leaks
from rcs_assets.errors import ConfigurationError, InputError

ROWS, COLUMNS = ["A", "B"], ["x", "y", "z"]
FLAT = Structure(dimensions={"row": Hierarchy.flat(ROWS), "column": Hierarchy.flat(COLUMNS)})


def with_totals(leaves: pd.DataFrame, hierarchies: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Every cell of a table from its leaves: `n` added up along each hierarchy."""
    table = leaves
    for name, hierarchy in hierarchies.items():
        levels = [table]
        while (levels[-1][name] != "Total").any():
            climbed = levels[-1][name].map(lambda code, above=hierarchy: above.get(code, code))
            levels.append(levels[-1].assign(**{name: climbed})[levels[-1][name] != "Total"])
        keys = [column for column in table if column != "n"]
        table = pd.concat(levels).groupby(keys, sort=False, as_index=False)[["n"]].sum()
    return table


def flat_table(leaves: list[int]) -> pd.DataFrame:
    """The 2 × 3 table of six leaves, with totals."""
    cells = pd.DataFrame(itertools.product(ROWS, COLUMNS), columns=["row", "column"])
    table = cells.assign(n=leaves)
    margins = [
        table.assign(row="Total"),
        table.assign(column="Total"),
        table.assign(row="Total", column="Total"),
    ]
    whole = pd.concat([table, *margins])
    return whole.groupby(["row", "column"], sort=False, as_index=False)[["n"]].sum()


def hide(table: pd.DataFrame, hidden: list[bool]) -> pd.DataFrame:
    return table.assign(status=np.where(hidden, "hidden", "published"))


def status_of(protected: pa.Table, *codes: str) -> str:
    frame = protected.to_pandas()
    found = frame[(frame.drop(columns=["n", "status"]) == list(codes)).all(axis=1)]
    assert len(found) == 1
    return str(found.status.iloc[0])


def hidden_codes(protected: pa.Table, status: str) -> list[tuple[str, ...]]:
    frame = protected.to_pandas()
    chosen = frame[frame.status == status].drop(columns=["n", "status"])
    return [tuple(row) for row in chosen.to_numpy().tolist()]


# --- Known answers -----------------------------------------------------------------------


def test_optimum_of_sdctables_microdata(shared_reference: Path) -> None:
    records = pd.read_csv(shared_reference / "disclosure" / "microdata1.csv")
    leaves = records.groupby(["region", "gender"], as_index=False).size()
    leaves = leaves.rename(columns={"size": "n"})
    codes = {
        "region": Hierarchy.flat(sorted(records.region.unique())),
        "gender": Hierarchy.flat(["female", "male"]),
    }
    structure = Structure(dimensions=codes)
    protected = protect(with_totals(leaves, codes), structure, Rule(k=3))
    assert hidden_codes(protected, "primary") == [("A", "female")]
    expected = {("A", "male"), ("C", "female"), ("C", "male")}
    assert set(hidden_codes(protected, "secondary")) == expected
    frame = protected.to_pandas()
    assert frame[frame.status != "published"].n.sum() == 42, "methods.md B: the optimum's cost"


REGIONS = {"A": 2, "B": 2, "I": 8, "J": 8, "K": 3, "L": 3, "M": 3, "N": 7}
COUNTY = {"A": "county-1", "B": "county-1", "I": "county-1", "J": "county-1"}
COUNTY |= {"K": "county-2", "L": "county-2", "M": "county-2", "N": "county-2"}
SIZE = {code: "big" if code in "LM" else "small" for code in REGIONS}


def linked_tables() -> tuple[list[pd.DataFrame], list[Structure]]:
    """Two groupings of the same regions (test-linked-tables of sdcTable)."""
    tables, structures = [], []
    for groups in (COUNTY, SIZE):
        codes = Hierarchy(groups | dict.fromkeys(sorted(set(groups.values())), "Total"))
        leaves = pd.DataFrame({"region": list(REGIONS), "n": list(REGIONS.values())})
        tables.append(with_totals(leaves, {"region": codes}))
        structures.append(Structure(dimensions={"region": codes}))
    return tables, structures


def test_linked_tables_are_each_safe_and_together_not() -> None:
    tables, structures = linked_tables()
    alone = [protect(t, s, Rule(k=4)) for t, s in zip(tables, structures, strict=True)]
    for table, structure in zip(alone, structures, strict=True):
        assert hidden_codes(table, "secondary") == []
        assert not audit(table, structure).to_pandas().exact.any()
    first, second = audit(alone, structures)
    for found in (first.to_pandas(), second.to_pandas()):
        k = found[found.region == "K"].iloc[0]
        assert (k.lower, k.upper, k.exact) == (3, 3, True)


def test_linked_tables_protected_together_lose_region_n_in_both() -> None:
    tables, structures = linked_tables()
    together = protect(tables, structures, Rule(k=4))
    for table in together:
        assert hidden_codes(table, "secondary") == [("N",)]
    for found in audit(together, structures):
        assert not found.to_pandas().exact.any()


# --- Brute force -------------------------------------------------------------------------


def all_tables(most: int) -> np.ndarray:
    """Every 2 × 3 table of leaves 0 … most, all twelve cells in the order of `flat_table`."""
    leaves = np.array(list(itertools.product(range(most + 1), repeat=6)))
    order = flat_table([1, 2, 4, 8, 16, 32]).n.to_numpy()
    members = (order[:, None] >> np.arange(6)) & 1
    return leaves @ members.T


# A published grand total of at most this has no leaf above it.
MOST = 5
EVERY = all_tables(MOST)


def consistent(table: pd.DataFrame, rounding: int = 1) -> np.ndarray:
    """Those of all tables that show what the table shows."""
    shown = (table.status == "published").to_numpy()
    nearest = np.floor(EVERY / rounding + 0.5)
    true = np.floor(table.n.to_numpy() / rounding + 0.5)
    return EVERY[(nearest[:, shown] == true[shown]).all(axis=1)]


leaves_small = st.lists(st.integers(0, 3), min_size=6, max_size=6)
# The grand total stays: without it a cell has no upper limit to enumerate up to.
masks = st.lists(st.booleans(), min_size=11, max_size=11)


@settings(max_examples=30, suppress_health_check=[HealthCheck.filter_too_much])
@given(leaves=leaves_small.filter(lambda leaves: sum(leaves) <= MOST), mask=masks)
def test_audit_equals_enumeration(leaves: list[int], mask: list[bool]) -> None:
    table = flat_table(leaves)
    is_grand = (table[["row", "column"]] == "Total").all(axis=1)
    hidden = np.zeros(12, dtype=bool)
    hidden[~is_grand] = mask
    table = hide(table, list(hidden))
    found = audit(table, FLAT).to_pandas()
    feasible = consistent(table)[:, hidden]
    assert found.lower.tolist() == feasible.min(axis=0, initial=9).tolist()[: len(found)]
    assert found.upper.tolist() == feasible.max(axis=0, initial=0).tolist()[: len(found)]
    assert found.exact.tolist() == (found.lower == found.upper).tolist()


@settings(max_examples=15)
@given(leaves=st.lists(st.integers(0, 25), min_size=6, max_size=6), k=st.integers(2, 12))
def test_what_is_protected_passes_an_independent_audit(leaves: list[int], k: int) -> None:
    table = flat_table(leaves)
    protected = protect(table, FLAT, Rule(k=k))
    frame = protected.to_pandas()
    assert ((frame.n < k) == (frame.status == "primary")).all()
    found = audit(protected, FLAT).to_pandas().merge(frame, on=["row", "column"])
    small = found[found.status == "primary"]
    assert (small.lower <= 1).all()
    assert (small.upper.isna() | (small.upper >= k)).all()
    assert not found.exact.any()
    assert ((found.lower <= found.n) & (found.upper.isna() | (found.n <= found.upper))).all()


@settings(max_examples=15)
@given(leaves=st.lists(st.integers(0, 25), min_size=6, max_size=6))
def test_rounded_tables_pass_an_audit_that_knows_the_rounding(leaves: list[int]) -> None:
    table = flat_table(leaves)
    rounded = protect(table, FLAT, Rule(k=10, rounding=5))
    found = audit(rounded, FLAT, rounding=5).to_pandas()
    found = found.merge(rounded.to_pandas(), on=["row", "column"])
    small = found[found.status == "primary"]
    assert (small.lower <= 1).all()
    assert (small.upper.isna() | (small.upper >= 10)).all()
    assert not found.exact.any()


@settings(max_examples=15)
@given(leaves=leaves_small, mask=masks)
def test_rounded_audit_holds_all_that_enumeration_finds(
    leaves: list[int], mask: list[bool]
) -> None:
    table = flat_table([min(leaf, 1) for leaf in leaves])
    table = hide(table, [*mask, False])
    found = audit(table, FLAT, rounding=3).to_pandas()
    feasible = consistent(table, rounding=3)[:, np.array([*mask, False])]
    assert len(feasible), "the truth is always feasible"
    assert (found.lower.to_numpy() <= feasible.min(axis=0)).all()
    upper = found.upper.fillna(np.inf).to_numpy(dtype=float)
    assert (upper >= feasible.max(axis=0)).all()


@settings(max_examples=15)
@given(counts=st.lists(st.integers(0, 20), min_size=12, max_size=12))
def test_two_tables_of_three_dimensions_are_safe_together(counts: list[int]) -> None:
    codes = {"a": Hierarchy.flat("pqr"), "b": Hierarchy.flat("st"), "c": Hierarchy.flat("uv")}
    leaves = pd.DataFrame(itertools.product("pqr", "st", "uv"), columns=["a", "b", "c"])
    leaves["n"] = counts
    tables, structures = [], []
    for names in (["a", "b"], ["a", "c"]):
        chosen = {name: codes[name] for name in names}
        part = leaves.groupby(names, as_index=False)[["n"]].sum()
        tables.append(with_totals(part, chosen))
        structures.append(Structure(dimensions=chosen))
    protected = protect(tables, structures, Rule(k=8))
    margins = [
        {row["a"]: row["status"] for row in p.to_pylist() if row[other] == "Total"}
        for p, other in zip(protected, ("b", "c"), strict=True)
    ]
    assert margins[0] == margins[1], "a shared cell has one status"
    for found in audit(protected, structures):
        assert not found.to_pandas().exact.any()


# --- Rules -------------------------------------------------------------------------------


def test_a_zero_is_small_unless_the_rule_says_otherwise() -> None:
    table = flat_table([0, 30, 30, 30, 30, 30])
    assert status_of(protect(table, FLAT, Rule(k=10)), "A", "x") == "primary"
    shown = protect(table, FLAT, Rule(k=10, zeros=False))
    assert set(shown.column("status").to_pylist()) == {"published"}


def test_a_shown_zero_is_never_a_secondary_cell() -> None:
    table = flat_table([3, 0, 30, 30, 30, 30])
    protected = protect(table, FLAT, Rule(k=10, zeros=False))
    assert status_of(protected, "A", "y") == "published"
    assert status_of(protected, "A", "z") == "secondary"


def test_where_no_zero_is_hidden_a_hidden_count_is_one_at_least() -> None:
    """Three hidden counts that add up to 3 are 1 each for whoever knows that none is 0."""
    structure = Structure(dimensions={"row": Hierarchy.flat(["A", "B", "C"])})
    table = pd.DataFrame({"row": ["A", "B", "C", "Total"], "n": [1, 1, 1, 3]})
    rule = Rule(k=3, zeros=False)
    told = table.assign(status=["hidden"] * 3 + ["published"])
    assert audit(told, structure, zeros=False).column("exact").to_pylist() == [True] * 3
    assert audit(told, structure).column("exact").to_pylist() == [False] * 3
    assert find_leaks(told, structure, rule).column("leak").to_pylist() == ["exact"] * 3
    protected = protect(table, structure, rule)
    assert protected.column("status").to_pylist() == ["primary"] * 3 + ["secondary"]
    assert len(find_leaks(protected, structure, rule)) == 0


@pytest.mark.parametrize("zeros", [False, True])
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(leaves=st.lists(st.integers(0, 12), min_size=6, max_size=6))
def test_small_cells_stay_uncertain_whatever_is_known_of_zeros(
    leaves: list[int], zeros: bool
) -> None:
    rule = Rule(k=4, zeros=zeros)
    protected = protect(flat_table(leaves), FLAT, rule).to_pandas()
    assert len(find_leaks(protected, FLAT, rule)) == 0
    found = audit(protected, FLAT, zeros=zeros).to_pandas().set_index(["row", "column"])
    least = 0 if zeros else 1
    assert (found.lower >= least).all()
    small = protected[(protected.status == "primary") & (protected.row != "Total")]
    reached = found.loc[small[small.column != "Total"].set_index(["row", "column"]).index]
    assert (reached.lower <= 1).all()
    assert ((reached.upper >= 4) | reached.upper.isna()).all()


@pytest.mark.parametrize("size", [1e6, 1.1e9, 5e12])
def test_large_amounts_are_followed_as_far_as_small_ones(size: float) -> None:
    """Bounds beyond 2^30 are where a solver may say that there is no end."""
    structure = Structure(
        dimensions={"row": Hierarchy.flat(ROWS), "column": Hierarchy.flat(COLUMNS)}
    )
    table = flat_table([101, 210, 250, 140, 170, 190])
    table = table.assign(n=table.n * size + 0.25 * (table.n * 0 + 1))
    table = with_totals(
        table[(table.row != "Total") & (table.column != "Total")], structure.dimensions
    )
    is_hidden = table.row.isin(ROWS) & table.column.isin(["x", "y"])
    told = hide(table, list(is_hidden)).assign(high=np.nan)
    own = (told.row == "A") & (told.column == "x")
    told.loc[own, "high"] = 300 * size
    found = audit(told, structure).to_pandas().set_index(["row", "column"])
    assert found.loc[("A", "x"), "upper"] == pytest.approx(241 * size, rel=1e-6)
    leaks = find_leaks(told, structure, Rule(k=None, high_ok="high")).to_pandas()
    assert leaks.leak.tolist() == ["narrow"]
    safe = protect(told.drop(columns="status"), structure, Rule(k=None, high_ok="high"))
    assert len(find_leaks(safe, structure, Rule(k=None, high_ok="high"))) == 0
    reach = audit(safe, structure).to_pandas().set_index(["row", "column"]).loc[("A", "x")]
    assert pd.isna(reach.upper) or reach.upper >= 300 * size


def test_what_everybody_knows_needs_no_protection() -> None:
    """A roll of 4 pupils in a cell: no release can hide that it is at most 4."""
    table = flat_table([2, 30, 30, 30, 30, 30]).assign(roll=1000.0)
    table.loc[0, "roll"] = 4
    structure = Structure(dimensions=FLAT.dimensions, known_high="roll")
    protected = protect(table, structure, Rule(k=10))
    first = audit(protected, structure).to_pandas().iloc[0]
    assert (first.lower, first.upper) == (0, 4)


def test_rounding_protects_so_that_less_is_hidden() -> None:
    counts = {"A": (2, 18), "B": (19, 14), "C": (10, 12), "D": (14, 11)}
    leaves = pd.DataFrame(
        [(r, s, n) for r, pair in counts.items() for s, n in zip("fm", pair, strict=True)],
        columns=["region", "sex", "n"],
    )
    codes = {"region": Hierarchy.flat(counts), "sex": Hierarchy.flat("fm")}
    table, structure = with_totals(leaves, codes), Structure(dimensions=codes)
    exact = protect(table, structure, Rule(k=10))
    rounded = protect(table, structure, Rule(k=10, rounding=5))
    assert set(hidden_codes(exact, "secondary")) == {("A", "m"), ("C", "f"), ("C", "m")}
    assert len(hidden_codes(rounded, "secondary")) < 3
    found = audit(rounded, structure, rounding=5).to_pandas()
    small = found[(found.region == "A") & (found.sex == "f")].iloc[0]
    assert small.lower <= 1
    assert small.upper >= 10


def test_requirements_a_cell_protect_amounts() -> None:
    """Cells may ask for an interval of their own: p per cent of an amount on either side."""
    table = flat_table([1000, 500, 800, 900, 700, 600]).rename(columns={"n": "gbp"})
    table["low_ok"], table["high_ok"] = np.nan, np.nan
    table.loc[0, ["low_ok", "high_ok"]] = [900.0, 1100.0]
    structure = Structure(dimensions=FLAT.dimensions, value="gbp")
    rule = Rule(k=None, low_ok="low_ok", high_ok="high_ok")
    protected = protect(table, structure, rule)
    frame = protected.to_pandas()
    assert frame.status.tolist()[0] == "primary"
    assert (frame.status == "primary").sum() == 1
    first = audit(protected, structure).to_pandas().iloc[0]
    assert first.lower <= 900
    assert first.upper >= 1100


def test_audit_never_reads_a_hidden_value() -> None:
    protected = protect(flat_table([2, 30, 30, 30, 30, 30]), FLAT, Rule(k=10)).to_pandas()
    blanked = protected.assign(n=protected.n.where(protected.status == "published"))
    assert audit(protected, FLAT).equals(audit(blanked, FLAT))


def test_without_a_published_total_there_is_no_upper_limit() -> None:
    table = flat_table([2, 3, 4, 1, 2, 3])
    found = audit(hide(table, [True] * 12), FLAT).to_pandas()
    assert found.upper.isna().all()
    assert (found.lower == 0).all()


def test_any_kind_of_table_has_the_same_answer() -> None:
    frame = flat_table([2, 30, 30, 30, 30, 30])
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    with duckdb.connect() as con:
        relation = con.from_arrow(arrow)
        answers = [protect(given, FLAT, Rule(k=10)) for given in (frame, arrow, relation)]
    rows = [answer.to_pylist() for answer in answers]
    assert rows[0] == rows[1] == rows[2]
    assert [row["n"] for row in rows[0]] == frame.n.tolist(), "row order is kept"


def test_a_combination_without_a_row_is_known_to_be_empty() -> None:
    table = flat_table([0, 5, 30, 30, 30, 30])
    table = table[~((table.row == "A") & (table.column == "x"))]
    protected = protect(table, FLAT, Rule(k=10))
    assert status_of(protected, "A", "y") == "primary"
    assert status_of(protected, "A", "z") == "secondary"


# --- Errors ------------------------------------------------------------------------------


def test_a_table_that_does_not_add_up_is_refused() -> None:
    table = flat_table([2, 30, 30, 30, 30, 30])
    table.loc[table.index[-1], "n"] += 1
    with pytest.raises(InputError, match="does not add up"):
        protect(table, FLAT, Rule(k=10))
    # One pupil too many is one too many in a table of millions, too.
    large = flat_table([2, 30, 30, 30, 30, 9_000_000])
    large.loc[large.index[-1], "n"] += 1
    with pytest.raises(InputError, match="does not add up: 2 totals"):
        protect(large, FLAT, Rule(k=10))


def test_a_missing_total_is_refused() -> None:
    table = flat_table([2, 30, 30, 30, 30, 30])
    with pytest.raises(InputError, match="total is missing: code 'Total' of dimension 'row'"):
        protect(table[table.row != "Total"], FLAT, Rule(k=10))


def test_an_unknown_code_is_refused_and_not_told() -> None:
    """Where the wrong column is named, it can be a child's."""
    table = flat_table([2, 30, 30, 30, 30, 30]).replace({"row": {"A": "Moray"}})
    with pytest.raises(InputError, match=r"Unknown code in dimension 'row'.*the first: row") as no:
        protect(table, FLAT, Rule(k=10))
    assert "Moray" not in str(no.value)


@pytest.mark.parametrize("name", ["status", "lower", "upper", "exact", "leak"])
def test_a_column_called_like_one_of_the_results_is_refused(name: str) -> None:
    table = flat_table([2, 30, 30, 30, 30, 30]).rename(columns={"row": name})
    named = Structure({name: FLAT.dimensions["row"], "column": FLAT.dimensions["column"]})
    with pytest.raises(InputError, match=f"A column is called '{name}'"):
        protect(table, named, Rule(k=10))


def test_a_cell_that_stands_twice_is_refused() -> None:
    table = flat_table([2, 30, 30, 30, 30, 30])
    with pytest.raises(InputError, match="twice"):
        protect(pd.concat([table, table.iloc[:1]]), FLAT, Rule(k=10))


@pytest.mark.parametrize("wrong", [-1.0, None, np.inf])
def test_a_value_that_is_no_count_is_refused(wrong: float | None) -> None:
    table = flat_table([2, 30, 30, 30, 30, 30]).astype({"n": float})
    table.loc[0, "n"] = wrong
    with pytest.raises(InputError, match=r"below 0.*first: row 1 \(row A, column x\)"):
        protect(table, FLAT, Rule(k=10))


def test_counts_beyond_what_a_double_holds_are_refused() -> None:
    table = flat_table([2, 30, 30, 30, 30, 30]).assign(n=lambda t: t.n * 10**15)
    with pytest.raises(InputError, match="beyond 2"):
        protect(table, FLAT, Rule(k=10))


def test_halves_cannot_be_rounded_counts() -> None:
    """Rounding bounds are those of whole counts: with others they would leave out the truth."""
    halves = flat_table([2, 30, 30, 30, 30, 30]).assign(n=lambda t: t.n + 0.0)
    halves["n"] *= 1.25
    with pytest.raises(InputError, match="whole"):
        protect(halves, FLAT, Rule(k=10, rounding=5))


def test_what_is_known_must_not_contradict_a_value() -> None:
    """A roll of 1 where 2 answered: one of the two is wrong, and nothing can be protected."""
    table = flat_table([2, 30, 30, 30, 30, 30]).assign(roll=1000.0, least=0.0)
    table.loc[0, "roll"] = 1
    structure = Structure(dimensions=FLAT.dimensions, known_high="roll")
    with pytest.raises(InputError, match=r"contradicts.*1 cells, the first: row 1"):
        protect(table, structure, Rule(k=10))
    both = Structure(dimensions=FLAT.dimensions, known_low="least", known_high="roll")
    crossed = table.assign(least=2000.0, status="hidden")
    with pytest.raises(InputError, match="contradicts"):
        audit(crossed, both)


def test_linked_tables_that_disagree_are_refused() -> None:
    tables, structures = linked_tables()
    tables[1] = tables[1].assign(n=tables[1].n * 2)
    with pytest.raises(InputError, match="different values of a cell"):
        protect(tables, structures, Rule(k=4))
    large = [table.assign(n=table.n * 1_000_000) for table in linked_tables()[0]]
    large[1]["n"] += large[1].n // large[1].n.max()
    with pytest.raises(InputError, match="different values of a cell"):
        protect(large, structures, Rule(k=4))


def test_published_cells_that_contradict_each_other_are_refused() -> None:
    table = hide(flat_table([2, 30, 30, 30, 30, 30]), [True] + [False] * 11)
    table.loc[table.index[-1], "n"] += 50
    with pytest.raises(InputError):
        audit(table, FLAT)


def test_a_status_is_a_text() -> None:
    table = flat_table([2, 30, 30, 30, 30, 30])
    with pytest.raises(InputError, match="'status' is no text"):
        audit(table.assign(status=1), FLAT)
    named = hide(table, [True, True] + [False] * 10).astype({"status": "category"})
    assert len(audit(named, FLAT)) == 2


def test_a_column_of_several_kinds_is_refused() -> None:
    table = pd.DataFrame({"row": [1, 2, "Total"], "n": [5, 30, 35]})
    with pytest.raises(InputError, match=r"several kinds: row.*row 3 is str, row 1 int"):
        protect(table, Structure({"row": Hierarchy.flat(["1", "2"])}), Rule(k=10))


@pytest.mark.parametrize(
    "parents", [{}, {1: "Total"}, {"a": 1}, {"Total": "Total", "a": "Total"}, {"Total": "a"}]
)
def test_a_hierarchy_maps_codes_to_parents(parents: dict[str, str]) -> None:
    with pytest.raises(InputError, match="no mapping of codes"):
        Hierarchy(parents)


def test_a_hierarchy_ends_in_total() -> None:
    with pytest.raises(InputError, match="above code 'A'"):
        Hierarchy({"A": "north"})
    with pytest.raises(InputError, match="does not end"):
        Hierarchy({"A": "B", "B": "A"})


def test_a_rule_protects_something() -> None:
    for wrong in (0, -3, 10.5, float("nan"), "10", True):
        with pytest.raises(ConfigurationError, match="k is at least 1"):
            Rule(k=wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="rounding is at least 1"):
            Rule(k=10, rounding=wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="rounding is at least 1"):
            audit(hide(flat_table([1] * 6), [True] * 12), FLAT, rounding=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="protects nothing"):
        Rule(k=None)


def test_a_structure_a_table() -> None:
    with pytest.raises(InputError, match="2 tables and 1 structures"):
        protect([flat_table([1] * 6)] * 2, FLAT, Rule())
    with pytest.raises(InputError, match="no table"):
        protect([], [], Rule())
    with pytest.raises(InputError, match="without a dimension"):
        protect(flat_table([1] * 6), Structure({}), Rule())


# --- Edges -------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "status"), [(5, "primary"), (50, "published")])
def test_a_table_of_one_cell(n: int, status: str) -> None:
    table = pd.DataFrame({"row": ["Total"], "column": ["Total"], "n": [n]})
    protected = protect(table, FLAT, Rule(k=10))
    assert protected.column("status").to_pylist() == [status]
    assert len(audit(protected, FLAT)) == (status == "primary")


def test_a_table_of_zeros_is_hidden_whole_or_shown_whole() -> None:
    table = flat_table([0] * 6)
    assert set(protect(table, FLAT, Rule(k=10)).column("status").to_pylist()) == {"primary"}
    shown = protect(table, FLAT, Rule(k=10, zeros=False))
    assert set(shown.column("status").to_pylist()) == {"published"}


def test_neither_the_order_of_rows_nor_the_kind_of_number_matters() -> None:
    table = flat_table([2, 30, 17, 30, 8, 30])
    first = protect(table, FLAT, Rule(k=10)).to_pandas().set_index(["row", "column"]).status
    for seed, kind in enumerate(("float64", "uint8", "int32", "str")):
        shuffled = table.sample(frac=1, random_state=seed).astype({"n": kind})
        again = protect(shuffled, FLAT, Rule(k=10)).to_pandas()
        assert again.set_index(["row", "column"]).status.sort_index().equals(first.sort_index())


def _without_rows_of_parts(value: int) -> tuple[pa.Table, Structure]:
    """C has the parts C1 and C2, of which no row is there."""
    counts = {"A": (3, 7), "B": (12, 30), "C": (value, 0)}
    counts["Total"] = tuple(sum(one[i] for one in counts.values()) for i in (0, 1))
    rows = [
        {"region": region, "sex": sex, "n": n}
        for region, (f, m) in counts.items()
        for sex, n in (("f", f), ("m", m), ("Total", f + m))
    ]
    parents = {"A": "Total", "B": "Total", "C": "Total", "C1": "C", "C2": "C"}
    dimensions = {"region": Hierarchy(parents), "sex": Hierarchy.flat(["f", "m"])}
    return pa.Table.from_pylist(rows), Structure(dimensions)


def test_a_total_without_rows_of_parts_is_known_to_be_0_and_covers_nobody() -> None:
    table, structure = _without_rows_of_parts(0)
    protected = protect(table, structure, Rule(k=3))
    found = {(r["region"], r["sex"]): r for r in audit(protected, structure).to_pylist()}
    assert all(r["exact"] == (region == "C") for (region, _), r in found.items())
    # A was hidden with C alone, and told by the totals.
    assert not {region for region, _ in found} - {"C"}


def test_a_total_with_a_value_needs_rows_of_its_parts() -> None:
    table, structure = _without_rows_of_parts(5)
    with pytest.raises(InputError, match="none of its parts has a row"):
        protect(table, structure, Rule(k=3))


@pytest.mark.parametrize("search", ["optimal", "quick"])
def test_one_of_a_roll_of_one_is_not_told(search: str) -> None:
    """Whether the one pupil of a roll has answered is not known without the release."""
    table = flat_table([1, 20, 30, 14, 17, 25])
    is_one = (table["row"] == "A") & (table["column"] == "x")
    table = table.assign(roll=np.where(is_one, 1.0, np.nan))
    known = Structure(FLAT.dimensions, known_high="roll")
    rule = Rule(k=10, search=search)
    protected = protect(table, known, rule)
    assert not any(audit(protected, known).column("exact").to_pylist())
    assert len(find_leaks(protected, known, rule)) == 0
