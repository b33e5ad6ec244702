"""Spend: a confidential holding is neither shown nor worked out from what is."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
import pytest
from scipy.optimize import linprog

from rcs_assets.disclosure.policy import load_policy
from rcs_assets.disclosure.spend import protect_spend
from rcs_assets.disclosure.spend_audit import unsafe_spend
from rcs_assets.errors import InputError

KEY = "t1-a"
POLICY = load_policy()
TWO_WAY = replace(POLICY, spend=replace(POLICY.spend, tables=(("sector", "tier"),)))
COLUMNS = "sector, tier, age_band, funding_origin, domain"


def row(provider, gbp, *, kind="third", children=10.0, confidential=False, **cell):
    """One row of services.spend; what is not named is the same for all."""
    groups = {"sector": "voluntary", "tier": "universal", "age_band": "0-4"}
    groups |= {"funding_origin": "grant", "domain": "safe"} | cell
    return (KEY, *groups.values(), provider, kind, confidential, gbp, children)


def table(rows):
    con = duckdb.connect()
    con.execute("create schema services")
    con.execute(
        "create table services.spend (engagement varchar, sector varchar, tier varchar, "
        "age_band varchar, funding_origin varchar, domain varchar, provider_name varchar, "
        "provider_type varchar, is_confidential boolean, gbp double, children_n double)"
    )
    con.executemany("insert into services.spend values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return con


def protect(rows, policy=TWO_WAY, audience="public"):
    """(sector, tier) → (pounds, children, status)."""
    shown = protect_spend(table(rows), policy, [audience]).to_pylist()
    return {
        (r["sector"], r["tier"]): (
            None if r["gbp"] is None else int(r["gbp"]),
            None if r["children_n"] is None else int(r["children_n"]),
            r["status"],
        )
        for r in shown
    }


def status(rows, policy=TWO_WAY, cell=("voluntary", "universal")):
    return protect(rows, policy)[cell][2]


@pytest.mark.parametrize(
    ("holdings", "expected"),
    [
        ((40e3, 30e3, 30e3), "published"),
        ((50e3, 50e3), "c"),  # two providers know each other's
        ((100e3,), "c"),
        ((100e3, 50e3, 9e3), "c"),  # the second knows the first to within 9 per cent
        ((100e3, 50e3, 10e3, 10e3), "published"),
        ((60e3, 60e3, 7e3, 6e3), "c"),  # two hold more than 90 per cent
    ],
)
def test_a_sum_is_judged_by_its_holdings(holdings, expected):
    rows = [row(f"p{number}", gbp) for number, gbp in enumerate(holdings)]
    assert status(rows) == expected


def test_services_of_one_provider_are_one_holding():
    rows = [row("p1", 30e3), row("p1", 30e3, domain="active"), row("p2", 30e3)]
    assert status(rows) == "c"
    assert status([*rows, row("p3", 30e3)]) == "published"


def test_open_money_is_shown_however_few_spend_it():
    rows = [row("Council", 900e3, kind="council"), row("Board", 10e3, kind="NHS", tier="targeted")]
    assert {cell[2] for cell in protect(rows).values()} == {"published"}


def test_without_open_types_every_provider_is_protected():
    strict = replace(TWO_WAY, spend=replace(TWO_WAY.spend, open_provider_types=()))
    rows = [row("Council", 900e3, kind="council")]
    assert status(rows, strict) == "c"


def test_departments_of_one_body_are_one_holding():
    rows = [
        row("Council schools", 500e3, kind="council"),
        row("Council sport", 500e3, kind="council"),
        row("Trust", 300e3),
    ]
    assert status(rows) == "c"
    assert status([*rows, row("Board", 100e3, kind="NHS")]) == "published"


def test_a_confidential_service_of_a_council_is_not_shown_alone():
    secret = row("Council", 300e3, kind="council", confidential=True)
    assert status([secret]) == "c"
    assert status([secret, row("Council", 500e3, kind="council")]) == "published"


def test_pounds_go_to_thousands_and_places_to_tens():
    rows = [row(f"p{n}", gbp, children=child) for n, gbp, child in
            [(1, 40e3, 11), (2, 30e3, 12), (3, 30_500.0, 12)]]  # fmt: skip
    assert protect(rows)["voluntary", "universal"] == (101_000, 40, "published")
    # Thirds as they come, to six decimals: a half is rounded up all the same.
    cut = [row(f"p{n}", 33_500.0, children=11.666666) for n in range(3)]
    assert protect(cut)["voluntary", "universal"] == (101_000, 40, "published")
    unknown = [*rows, row("p4", 100.0, children=None)]
    assert protect(unknown)["voluntary", "universal"] == (101_000, None, "published")


def test_a_sum_without_services_is_nought():
    rows = [row(f"p{n}", 30e3, tier="targeted") for n in range(3)]
    rows += [row("Council", 50e3, kind="council", sector="education")]
    cells = protect(rows)
    assert cells["voluntary", "universal"] == (0, 0, "published")
    assert cells["education", "targeted"] == (0, 0, "published")


def test_a_cpp_sees_its_own_and_the_same():
    rows = [row(f"p{n}", 30e3) for n in range(3)]
    con = table([*rows, *(("t1-b", *r[1:]) for r in rows)])
    shown = protect_spend(con, TWO_WAY, ["public", f"cpp/{KEY}"]).to_pylist()
    own = [r for r in shown if r["audience"] == f"cpp/{KEY}"]
    public = [r for r in shown if r["audience"] == "public" and r["engagement"] == KEY]
    assert own and {r["engagement"] for r in own} == {KEY}
    assert [{**r, "audience": ""} for r in own] == [{**r, "audience": ""} for r in public]


@pytest.mark.parametrize("broken", [row("p", -1.0), row("p", None), row("p", 1.0, tier="all")])
def test_what_cannot_be_judged_is_refused(broken):
    with pytest.raises(InputError):
        protect([broken])


def random_rows(seed, sectors=3, tiers=3, providers=5):
    """A made service map: open and closed money in most cells."""
    rng = np.random.default_rng(seed)
    rows = []
    for sector in range(sectors):
        for tier in range(tiers):
            if rng.random() < 0.7:
                rows.append(row("Council", float(rng.integers(5, 900)) * 1e3, kind="council",
                                sector=f"s{sector}", tier=f"t{tier}"))  # fmt: skip
            names = rng.choice(providers, rng.integers(0, providers), replace=False)
            rows += [row(f"p{name}", float(rng.lognormal(3, 1)) * 1e3,
                         sector=f"s{sector}", tier=f"t{tier}") for name in names]  # fmt: skip
    return rows


def ranges(cells, own):
    """What someone with holdings `own` learns: lowest and highest of each hidden cell (scipy)."""
    names = sorted(cells)
    at = {name: i for i, name in enumerate(names)}
    sums = []
    for axis in (0, 1):
        for name in names:
            if name[axis] == "all":
                parts = [o for o in names if o[axis] != "all" and o[1 - axis] == name[1 - axis]]
                line = np.zeros(len(names))
                line[at[name]] = -1
                line[[at[part] for part in parts]] = 1
                sums.append(line)
    bounds = []
    for name in names:
        gbp, _, cell_status = cells[name]
        mine = own.get(name, 0.0)
        if cell_status == "published":
            bounds.append((max(mine, gbp - 500), gbp + 500) if gbp else (mine, max(mine, 500)))
        else:
            bounds.append((mine, None))
    found = {}
    for name in names:
        if cells[name][2] == "c":
            cost = np.zeros(len(names))
            cost[at[name]] = 1
            low = linprog(cost, A_eq=np.array(sums), b_eq=np.zeros(len(sums)), bounds=bounds)
            high = linprog(-cost, A_eq=np.array(sums), b_eq=np.zeros(len(sums)), bounds=bounds)
            assert low.status == 0
            found[name] = (low.fun, -high.fun if high.status == 0 else np.inf)
    return found


def holdings(rows):
    """(sector, tier) with totals → body → pounds."""
    found: dict = {}
    for r in rows:
        for cell in {(r[1], r[2]), ("all", r[2]), (r[1], "all"), ("all", "all")}:
            body = r[7] if r[7] in ("council", "NHS") else r[6]
            held = found.setdefault(cell, {})
            held[body] = held.get(body, 0.0) + r[9]
    return found


def is_unsafe(held):
    """Table A again, in plain Python."""
    closed = sorted((gbp for body, gbp in held.items() if body != "council"), reverse=True)
    if not closed:
        return False
    total = sum(held.values())
    first, second = closed[0], (closed[1] if len(closed) > 1 else 0)
    return len(held) < 3 or total - first - second < 0.1 * first or first + second > 0.9 * total


@pytest.mark.parametrize("seed", [1, 2, 5, 7, 9])
def test_no_unsafe_sum_is_shown_or_worked_out(seed):
    rows = random_rows(seed)
    cells, held = protect(rows), holdings(rows)
    unsafe = {name for name, who in held.items() if is_unsafe(who)}
    assert all(cells[name][2] == "c" for name in unsafe)
    outsider = ranges(cells, {})
    attackers = sorted({body for who in held.values() for body in who if body != "council"})
    for attacker in attackers:
        own = {name: who.get(attacker, 0.0) for name, who in held.items()}
        insider = ranges(cells, own)
        for name in unsafe:
            others = [g for b, g in held[name].items() if b not in ("council", attacker)]
            if others:
                total, need = sum(held[name].values()), 0.1 * max(others)
                low, high = insider[name]
                assert high >= total + need - 1
                assert low <= max(total - need, own[name]) + 1
    for name in unsafe:
        low, high = outsider[name]
        assert high - low >= 0.1 * max(g for b, g in held[name].items() if b != "council")


@pytest.mark.parametrize("seed", [2, 3, 5, 6])
def test_a_hidden_sum_that_is_shown_again_by_hand_is_found(seed):
    """Without the cells that were hidden for their sake, lone unsafe cells are worked out."""
    rows = random_rows(seed)
    con = table(rows)
    cells, held = protect(rows), holdings(rows)
    unsafe = {name for name, who in held.items() if is_unsafe(who)}
    partners = {name for name, cell in cells.items() if cell[2] == "c"} - unsafe
    assert partners and any(_is_alone(name, unsafe, held) for name in unsafe)
    assert not _audit(con, cells, held)
    leaked = {name: (round(sum(held[name].values()), -3), 0, "published") for name in partners}
    assert _audit(con, cells | leaked, held)


def _is_alone(name, unsafe, held):
    """Whether a sum has no other unsafe cell with money: it is then got by subtraction."""
    for axis in (0, 1):
        line = [o for o in held if o[1 - axis] == name[1 - axis]]
        if len(line) > 1 and not (set(line) & unsafe) - {name}:
            # Rounding alone may protect a small holding: only large ones must be found.
            closed = [g for b, g in held[name].items() if b != "council"]
            return 0.1 * max(closed) > 500 * (len(line) + 1)
    return False


def _audit(con, cells, held):
    con.execute(
        "create or replace table cells (cell_id bigint, engagement varchar, sector varchar, "
        "tier varchar, age_band varchar, funding_origin varchar, domain varchar, gbp double, "
        "top_gbp double, moved_gbp double, shown_gbp double, is_told boolean)"
    )
    con.execute(
        "create or replace table held (engagement varchar, sector varchar, tier varchar, "
        "age_band varchar, funding_origin varchar, domain varchar, body varchar, "
        "is_closed boolean, is_closed_provider boolean, gbp double)"
    )
    for number, (name, cell) in enumerate(sorted(cells.items())):
        who = held.get(name, {})
        closed = sorted((g for b, g in who.items() if b != "council"), reverse=True)
        shown = cell[0] if cell[2] == "published" else None
        con.execute(
            "insert into cells values (?, ?, ?, ?, 'all', 'all', 'all', ?, ?, 0, ?, false)",
            [number, KEY, *name, sum(who.values()), sum(closed[:2]), shown],
        )
        for body, gbp in who.items():
            con.execute(
                "insert into held values (?, ?, ?, 'all', 'all', 'all', ?, ?, ?, ?)",
                [KEY, *name, body, body != "council", body != "council", gbp],
            )
    return unsafe_spend(con, "cells", "held", TWO_WAY.spend).num_rows
