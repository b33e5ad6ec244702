"""Numbers of pupils of areas that stay as a release before showed them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rcs_assets.disclosure import estimates_audit, rules
from rcs_assets.disclosure.kept import keep_none
from rcs_assets.disclosure.story import Stories
from tests.disclosure.attacker import SHOWN, cell_of
from tests.disclosure.made_programme import Measure, Shape, count_pupils
from tests.disclosure.programme import Programme

SHAPE = Shape(
    (Measure("some", 0.4), Measure("score", statistic="mean")),
    clusters=(2, 2), schools=(4, 5), roll=(200, 400),
)  # fmt: skip
SLACK = 9
AREAS = ("cpp", "tranche", "all")


@cache
def _protected() -> pa.Table:
    return Programme(SHAPE, 3).table


@pytest.fixture
def programme() -> Programme:
    """Drawn and protected: two CPPs in two tranches, some thousands of pupils."""
    return Programme(SHAPE, 3, _protected())


def withdraw(programme: Programme, pupils_n: int) -> None:
    """Take the answers of pupils of one stage and sex, of all schools of a CPP, away."""
    columns = ", ".join(f"value_{m.name} = null" for m in programme.shape.measures)
    programme.con.execute(
        f"""
        update pupil set answered = false, {columns} where rowid in (
            select rowid from pupil where engagement = 't1-cpp0' and stage = 'P6' and sex = 'F'
            and value_some is not null and value_score is not null order by rowid limit ?
        )
        """,
        [pupils_n],
    )
    count_pupils(programme.con, programme.shape)


def protect(programme: Programme, earlier: list[Path]) -> None:
    """Protect what is counted now, in the company of these releases."""
    programme.released = programme.protect(earlier=earlier).to_pylist()
    programme.n_slack = SLACK


def areas(programme: Programme) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Rows of CPPs and above, by audience, indicator and cell."""
    return {
        (row["audience"], row["indicator"], *cell_of(row)): row
        for row in programme.pick(lambda r: r["geography_level"] in AREAS)
    }


def kept(programme: Programme) -> dict[tuple[Any, ...], int]:
    """By how many pupils the shown numbers are off that no rounding explains."""
    found = {}
    worlds = {m.name: programme.world((m.name,)) for m in programme.shape.measures}
    for key, row in areas(programme).items():
        if row["status"] not in SHOWN:
            continue
        world = worlds[row["indicator"]]
        cell = cell_of(row)
        step = world.rule(row["indicator"], cell, row["audience"].split("/")[0]).n
        true = world.by_cell[row["indicator"], cell]["base_n"]
        off = max(float(row["n"]) - step / 2 - true, true + 0.5 - float(row["n"]) - step / 2)
        if off > 0:
            found[key] = int(off + 0.5)
    return found


def lost(before: dict[tuple[Any, ...], Any], programme: Programme) -> set[tuple[Any, ...]]:
    """Cells of areas that were shown and are hidden now."""
    return {
        key for key, row in areas(programme).items()
        if before[key]["status"] in SHOWN and row["status"] == "c"
    }  # fmt: skip


def test_a_number_stays_where_a_few_have_left(
    tmp_path: Path, programme: Programme, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = programme.publish(tmp_path / "2026.01.01")
    then = areas(programme)
    withdraw(programme, 6)
    # As it would be without: what only the number would have moved is hidden.
    with monkeypatch.context() as patched:
        patched.setattr(rules, "keep_numbers", lambda con, _: keep_none(con))
        protect(programme, [before])
    hidden_without = lost(then, programme)
    assert kept(programme) == {}

    protect(programme, [before])
    now = areas(programme)
    stayed = kept(programme)
    assert stayed and set(stayed.values()) <= set(range(1, SLACK + 1))
    assert all(now[key]["n"] == then[key]["n"] for key in stayed)
    assert set(stayed) <= hidden_without
    assert len(lost(then, programme)) < 0.5 * len(hidden_without)
    # Figure and range say what they said: of those who are counted now.
    names = ("estimate", "ci_low", "ci_high", "status")
    assert all([now[key][n] for n in names] == [then[key][n] for n in names] for key in stayed)


def test_nobody_works_out_more_beside_kept_numbers(tmp_path: Path, programme: Programme) -> None:
    before = programme.publish(tmp_path / "2026.01.01")
    withdraw(programme, 6)
    protect(programme, [before])
    assert kept(programme)
    audit = programme.audit([before])
    assert audit.unsafe_n == 0 == len(audit.differences.places)
    assert programme.findings() == []


def test_no_made_up_table_tells_which_numbers_were_kept(
    tmp_path: Path, programme: Programme
) -> None:
    """Numbers of cells in which nobody changed leave their rounding in made-up tables as well."""
    before = programme.publish(tmp_path / "2026.01.01")
    withdraw(programme, 6)
    protect(programme, [before])
    stayed, shown = set(kept(programme)), areas(programme)
    off = {True: 0, False: 0}
    for row in programme.audit([before]).certificate_tables.to_pylist():
        key = (row["audience"], row["indicator"], *cell_of(row))
        if row["geography_level"] not in AREAS or shown[key]["status"] not in SHOWN:
            continue
        beyond = abs(float(row["n"]) - float(shown[key]["n"])) - float(row["n_step"]) / 2
        assert beyond <= SLACK + 0.01
        off[key in stayed] += beyond > 0.01
    assert off[False] > 0, "only kept numbers are off: who reads the tables knows them"


def test_where_nothing_changed_the_same_tables_are_made_up(
    tmp_path: Path, programme: Programme
) -> None:
    alone = programme.audit()
    before = programme.publish(tmp_path / "2026.01.01")
    protect(programme, [before])
    again = programme.audit([before])
    assert kept(programme) == {}
    assert again.certificate_tables.equals(alone.certificate_tables)
    assert again.certificate_cells.equals(alone.certificate_cells)


def test_a_kept_number_stays_until_ten_have_changed(tmp_path: Path, programme: Programme) -> None:
    first = programme.publish(tmp_path / "2026.01.01")
    withdraw(programme, 6)
    protect(programme, [first])
    second = programme.publish(tmp_path / "2026.02.01")
    stayed = kept(programme)
    then = areas(programme)

    # Nobody has changed since: the same is said once more.
    protect(programme, [first, second])
    assert kept(programme) == stayed
    assert {key: row["n"] for key, row in areas(programme).items()} == {
        key: row["n"] for key, row in then.items()
    }
    audit = programme.audit([first, second])
    assert audit.unsafe_n == 0 == len(audit.differences.places)

    # A few more: since the first release ten have changed, since the second fewer.
    withdraw(programme, 7)
    protect(programme, [first, second])
    audit = programme.audit([first, second])
    assert audit.unsafe_n == 0 == len(audit.differences.places)
    moved = {
        key for key, row in areas(programme).items()
        if row["status"] in SHOWN and then[key]["status"] in SHOWN and row["n"] != then[key]["n"]
    }  # fmt: skip
    assert not moved
    assert all(off <= SLACK for off in kept(programme).values())

    # Ten and more since both: what is said is as it is.
    withdraw(programme, 20)
    protect(programme, [first, second])
    audit = programme.audit([first, second])
    assert audit.unsafe_n == 0 == len(audit.differences.places)
    now = areas(programme)
    changed = {key for key in now if key[2:] == ("cpp:t1-cpp0", "stage:sex", "P6:F")}
    assert not changed & set(kept(programme))
    assert {now[key]["n"] != then[key]["n"] for key in changed if now[key]["n"]} == {True}


def test_two_numbers_that_were_shown_are_not_kept(tmp_path: Path, programme: Programme) -> None:
    """A release of before this rule showed another number after a few had left."""
    first = programme.publish(tmp_path / "2026.01.01")
    withdraw(programme, 6)
    programme.released = programme.protect().to_pylist()
    other = programme.publish(tmp_path / "2026.02.01")
    moved = areas(programme)
    protect(programme, [first])
    stayed = set(kept(programme))
    protect(programme, [first, other])
    now = areas(programme)
    twice = {key for key in stayed if moved[key]["status"] in SHOWN}
    assert twice and {now[key]["status"] for key in twice} == {"c"}


def test_a_number_that_moves_after_all_is_found(tmp_path: Path, programme: Programme) -> None:
    before = programme.publish(tmp_path / "2026.01.01")
    withdraw(programme, 6)
    protect(programme, [before])
    stayed = set(kept(programme))
    row = next(areas(programme)[key] for key in sorted(stayed, key=str))
    row["n"] -= 10
    found = programme.audit([before]).differences.places.to_pylist()
    assert cell_of(row) in {cell_of(one) for one in found}


@pytest.mark.parametrize(
    ("draw", "leavers", "audience"), [(15, (11, 1), "public"), (18, (2, 10), "cpp/t1-cpp0")]
)
def test_a_figure_is_judged_beside_all_that_were_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    draw: int,
    leavers: tuple[int, int],
    audience: str,
) -> None:
    """Eleven girls leave, who all said no, and the percentage rises; then a twelfth, and it stays.

    Of the last two releases she can have said yes. Beside the first one she cannot. The same if
    two leave first, and ten more show what they cannot have said.
    """
    shape = Shape((Measure("some", 0.25),), clusters=(2, 2), schools=(3, 5), roll=(40, 260))
    programme = Programme(shape, draw)

    def leave(pupils_n: int) -> None:
        programme.con.execute(
            """
            update pupil set value_some = null where rowid in (
                select rowid from pupil where engagement = 't1-cpp0' and stage = 'P7' and sex = 'F'
                and value_some = 0 order by rowid limit ?
            )
            """,
            [pupils_n],
        )
        count_pupils(programme.con, shape)

    releases = [programme.publish(tmp_path / "2026.01.01")]
    leave(leavers[0])
    protect(programme, releases)
    releases.append(programme.publish(tmp_path / "2026.02.01"))
    leave(leavers[1])
    # As it would be without: the audit counts for itself.
    with monkeypatch.context() as patched:
        patched.setattr(Stories, "tells", lambda stories: np.zeros(len(stories.figures["n"]), bool))
        protect(programme, releases)
        found = programme.audit(releases).differences.places.to_pylist()
    told = {
        (r["audience"], f"{r['geography_level']}:{r['geography_code']}", r["breakdown"], r["group"])
        for r in found
    }
    assert (audience, "cpp:t1-cpp0", "stage:sex", "P7:F") in told
    protect(programme, releases)
    audit = programme.audit(releases)
    assert audit.unsafe_n == 0 == len(audit.differences.places)
    hidden = {(key[0], *key[2:]) for key, row in areas(programme).items() if row["status"] == "c"}
    assert told <= hidden


def test_a_number_that_stayed_says_no_more_once_it_is_known(
    tmp_path: Path, programme: Programme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To think that readers of then knew it closer would excuse what the next release tells."""
    releases = [programme.publish(tmp_path / "2026.01.01")]
    withdraw(programme, 6)
    protect(programme, releases)
    releases.append(programme.publish(tmp_path / "2026.02.01"))
    protect(programme, releases)
    stayed = kept(programme)
    attacked: list[Any] = []
    attack_all = estimates_audit._attack_all

    def attack(read: Any, *more: Any) -> Any:
        attacked.extend(read)
        return attack_all(read, *more)

    monkeypatch.setattr(estimates_audit, "_attack_all", attack)
    assert programme.audit(releases).unsafe_n == 0
    grid, shown = attacked[0].grid, attacked[0].shown
    is_wide = shown.was_shown & (shown.high_n - shown.low_n >= grid.n_step + SLACK)
    assert is_wide.sum() == len(stayed) > 0
