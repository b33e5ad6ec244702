"""A release and all before it are one system: what they tell together is attacked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rcs_assets.disclosure import attack, estimates_audit
from rcs_assets.disclosure.answers import Answers
from rcs_assets.disclosure.earlier import earlier_releases
from rcs_assets.disclosure.policy import audience_names, load_policy
from rcs_assets.disclosure.rules import protect_estimates
from rcs_assets.errors import StorageError
from rcs_assets.storage.code import code_version
from rcs_assets.storage.home import TOMBSTONE, WITHDRAWN_FOLDER
from tests.disclosure.attacker import SHOWN, cell_of
from tests.disclosure.made_programme import Measure, Shape, count_pupils
from tests.disclosure.programme import SOURCES, Programme

SHAPE = Shape(
    (Measure("some", 0.4), Measure("score", statistic="mean")),
    tranches=(1,), clusters=(2, 2), schools=(4, 5), roll=(40, 260),
)  # fmt: skip


@cache
def _protected(shape: Shape, seed: int) -> pa.Table:
    return Programme(shape, seed).table


def drawn(shape: Shape, seed: int) -> Programme:
    """A programme of its own for each test; what is hidden of it first is found once."""
    return Programme(shape, seed, _protected(shape, seed))


def withdraw(programme: Programme, pupils_n: int, rank: int = 0) -> str:
    """Take the answers of some pupils of the largest school, or a smaller one, away."""
    school = programme.schools("t1-cpp0")[rank]
    columns = ", ".join(f"value_{m.name} = null" for m in programme.shape.measures)
    programme.con.execute(
        f"""
        update pupil set answered = false, {columns} where rowid in (
            select rowid from pupil where seed_code = ? and value_some is not null
            and value_score is not null order by rowid limit ?
        )
        """,
        [school, pupils_n],
    )
    count_pupils(programme.con, programme.shape)
    return school


def figures(programme: Programme) -> dict[tuple, tuple]:
    """What each row says, by audience and cell."""
    return {
        (r["audience"], r["indicator"], *cell_of(r)): (
            r["status"], r["n"], r["estimate"], r["ci_low"], r["ci_high"],
        )
        for r in programme.released
    }  # fmt: skip


def test_what_few_pupils_changed_is_not_told(tmp_path: Path) -> None:
    programme = drawn(SHAPE, 3)
    before = programme.publish(tmp_path / "2026.01.01")
    told = figures(programme)
    school = withdraw(programme, 3)

    # As if there had been no release before: the leak that is planted.
    programme.released = programme.protect().to_pylist()
    audit = programme.audit([before])
    found = audit.differences.places.to_pylist()
    assert audit.differences.table.to_pylist() == [
        {"release": "2026.01.01", "compared_n": audit.differences.table["compared_n"][0].as_py(),
         "unsafe_n": len(found)}
    ]  # fmt: skip
    assert f"school {school}" in {f"{r['geography_level']} {r['geography_code']}" for r in found}
    others = {s for s in programme.schools("t1-cpp0") if s != school}
    assert not others & {r["geography_code"] for r in found}

    # With it: no figure of the three pupils' school moves, and nobody else's is lost for it.
    programme.released = programme.protect(earlier=[before]).to_pylist()
    audit = programme.audit([before])
    assert len(audit.differences.places) == 0 == audit.unsafe_n
    now = figures(programme)
    shown = {key for key in now if told[key][0] in SHOWN and now[key][0] in SHOWN}
    assert shown and not {key for key in shown if now[key] != told[key]}
    lost = {key for key in now if told[key][0] in SHOWN and now[key][0] == "c"}
    assert lost and len(lost) < 0.25 * sum(said[0] in SHOWN for said in told.values())


def test_a_figure_that_stays_must_not_tell_what_a_leaver_did_not_say(tmp_path: Path) -> None:
    programme = drawn(SHAPE, 5)
    before = programme.publish(tmp_path / "2026.01.01")
    told = figures(programme)
    school = withdraw(programme, 1, rank=3)
    key = ("cpp/t1-cpp0", "some", f"school:{school}", "total", "all")
    programme.released = programme.protect().to_pylist()
    assert figures(programme)[key] == told[key] and told[key][0] in SHOWN
    found = programme.audit([before]).differences.places.to_pylist()
    assert ("some", school, "total") in {
        (r["indicator"], r["geography_code"], r["breakdown"]) for r in found
    }
    programme.released = programme.protect(earlier=[before]).to_pylist()
    audit = programme.audit([before])
    assert figures(programme)[key][0] == "c" and len(audit.differences.places) == 0


def test_changes_that_cancel_out_are_changes(tmp_path: Path) -> None:
    """A girl of the largest school takes her yes back, another says it: all counts stay."""
    programme = drawn(SHAPE, 3)
    before = programme.publish(tmp_path / "2026.01.01")
    school = programme.schools("t1-cpp0")[0]
    told = {key: figure for key, figure in figures(programme).items() if key[1] == "some"}
    one = "select min(rowid) from pupil where seed_code = $school and stage = 'P6' and sex = 'F'"
    programme.con.execute(
        "update pupil set value_some = 1 - value_some "
        f"where rowid in (({one} and value_some = 1), ({one} and value_some = 0))",
        {"school": school},
    )
    # By other weights the figures of areas are others, wherever girls count.
    reweigh = "weight * if(engagement = 't1-cpp0' and sex = 'F', 3, 1)"
    count_pupils(programme.con, programme.shape, reweigh)
    programme.released = programme.protect().to_pylist()
    found = programme.audit([before]).differences.places.to_pylist()
    assert {(r["geography_level"], r["group"]) for r in found} >= {
        ("cpp", "P6"), ("tranche", "P6"), ("all", "P6:F"),
    }  # fmt: skip
    # Cells of the school: the two are none of the answers that their figures rule out.
    programme.released = programme.protect(earlier=[before]).to_pylist()
    audit = programme.audit([before])
    assert len(audit.differences.places) == 0 == audit.unsafe_n
    now = figures(programme)
    assert {key for key in told if told[key][0] in SHOWN and now[key][0] == "c"}
    moved = {
        key for key in told
        if now[key][0] in SHOWN and told[key][0] in SHOWN and now[key] != told[key]
    }  # fmt: skip
    # Weights alone may move what neither of the two is in.
    assert moved and not {key for key in moved if key[-1] in ("all", "F", "P6", "P6:F")}


def test_a_release_without_marks_is_compared_by_its_counts(tmp_path: Path) -> None:
    programme = drawn(SHAPE, 3)
    before = programme.publish(tmp_path / "2026.01.01")
    counts = before / "safe_haven" / "parquet" / "estimates_unrounded.parquet"
    kept = programme.con.execute(
        f"select * exclude (answers_mark) from read_parquet('{counts}')"
    ).to_arrow_table()
    programme.con.register("kept", kept)
    programme.con.execute(f"copy kept to '{counts}'")
    school = withdraw(programme, 3)
    programme.released = programme.protect().to_pylist()
    found = programme.audit([before]).differences.places.to_pylist()
    assert school in {r["geography_code"] for r in found}


def test_what_many_pupils_changed_is_told(tmp_path: Path) -> None:
    programme = drawn(SHAPE, 3)
    before = programme.publish(tmp_path / "2026.01.01")
    told = figures(programme)
    school = withdraw(programme, 40)
    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert len(programme.audit([before]).differences.places) == 0
    now = figures(programme)
    total = next(key for key in now if key[1] == "some" and f"school:{school}" in key[2])
    assert now[total] != told[total] and now[total][0] in SHOWN


def test_two_releases_that_hide_different_cells_are_attacked_together(tmp_path: Path) -> None:
    """Girls and boys hidden, their total shown; then the total hidden and the boys shown."""
    programme = Programme(
        Shape((Measure("some"),), clusters=(3, 3), schools=(4, 6), roll=(20, 260)), 1
    )
    before = programme.publish(tmp_path / "2026.01.01")
    for row in programme.pick(
        lambda r: r["geography_level"] == "school" and r["breakdown"] == "sex"
        and r["status_inside"] == "secondary"
    ):  # fmt: skip
        here = [
            r
            for r in programme.released
            if r["geography_code"] == row["geography_code"]
            and r["breakdown"] in ("sex", "stage", "total", "stage:sex")
        ]
        total = next(r for r in here if r["breakdown"] == "total")
        if total["status"] not in SHOWN:
            continue
        kept = [dict(r) for r in programme.released]
        for other in here:
            if other["status"] in SHOWN:
                other |= {
                    "status": "c",
                    "n": None,
                    "estimate": None,
                    "ci_low": None,
                    "ci_high": None,
                }
        programme.show(row)
        alone = programme.audit()
        if alone.unsafe_n == 0:
            together = programme.audit([before])
            assert together.unsafe_n > 0
            assert any(row["geography_code"] in place for place in together.places)
            return
        programme.released = kept
    raise AssertionError("no such school in this programme; choose another seed")


def test_a_withdrawn_release_counts_and_one_that_cannot_be_read_stops_all(tmp_path: Path) -> None:
    programme = Programme(Shape((Measure("some"),), clusters=(1, 1), roll=(6, 90)), 1)
    programme.publish(tmp_path / "2026.01.02")
    withdrawn = programme.publish(tmp_path / ".withdrawn" / "2026.01.01")
    (tmp_path / "2026.01.01").mkdir()
    (tmp_path / "2026.01.01" / TOMBSTONE).touch()
    (tmp_path / "current").symlink_to("2026.01.02")
    (tmp_path / ".candidate").mkdir()
    assert earlier_releases(tmp_path) == (withdrawn, tmp_path / "2026.01.02")
    # Nobody's answer has changed: a second release says the same.
    again = programme.protect(earlier=earlier_releases(tmp_path))
    assert again.to_pylist() == programme.released
    haven = withdrawn / "safe_haven" / "parquet"
    (haven / "estimates_unrounded.parquet").write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"2026\.01\.01 told cannot be read"):
        programme.protect(earlier=earlier_releases(tmp_path))


@pytest.mark.parametrize(
    "lost", ["2026.01.02/public", "2026.01.02/cpp/t1-cpp0/parquet", ".withdrawn"]
)
def test_a_release_that_has_lost_its_tables_is_not_passed_over(tmp_path: Path, lost: str) -> None:
    programme = drawn(SHAPE, 3)
    programme.publish(tmp_path / "2026.01.02")
    programme.publish(tmp_path / ".withdrawn" / "2026.01.01")
    (tmp_path / "2026.01.01").mkdir()
    (tmp_path / "2026.01.01" / TOMBSTONE).touch()
    shutil.rmtree(tmp_path / lost)
    assert [folder.name for folder in earlier_releases(tmp_path)] == ["2026.01.01", "2026.01.02"]
    with pytest.raises(StorageError, match=r"2026\.01\.0. told cannot be read"):
        programme.protect(earlier=earlier_releases(tmp_path))


def test_a_folder_that_tells_nothing_stops_all_until_it_is_moved(tmp_path: Path) -> None:
    """Nobody knows whether it was a release that lost everything."""
    programme = drawn(SHAPE, 3)
    programme.publish(tmp_path / "2026.01.02")
    (tmp_path / "2026.01.03").mkdir()
    with pytest.raises(StorageError, match=r"2026\.01\.03 told cannot be read") as told:
        programme.protect(earlier=earlier_releases(tmp_path))
    assert "move it out of releases/" in told.value.fix
    (tmp_path / "2026.01.03").rmdir()
    assert programme.protect(earlier=earlier_releases(tmp_path)).to_pylist() == programme.released


@pytest.mark.parametrize("lost", ["public", "cpp/t1-cpp0"])
def test_a_release_that_has_lost_a_package_with_its_folder_stops_all(
    tmp_path: Path, lost: str
) -> None:
    """Nothing is left of it that could not be read; what the release lists tells."""
    folder = drawn(SHAPE, 3).publish(tmp_path / "2026.01.02")
    packages = {"public": {}, "cpp/t1-cpp0": {}, "archive/t1-cpp0": {}}
    (folder / "manifest.json").write_text(json.dumps({"packages": packages}), encoding="utf-8")
    assert earlier_releases(tmp_path) == (folder,)
    shutil.rmtree(folder / lost)
    with pytest.raises(StorageError, match=r"2026\.01\.02 told cannot be read"):
        earlier_releases(tmp_path)


@pytest.mark.parametrize("seed", [40, 54])
def test_a_pooled_figure_that_is_withheld_now_is_known_from_before(
    tmp_path: Path, seed: int
) -> None:
    """Two areas, one of which is hidden: the other would tell it beside the pooled figure.

    The questions turned out to differ between waves, and no pupil changed.
    """
    shape = Shape((Measure("some", 0.05),), clusters=(1, 2), schools=(2, 4), roll=(30, 120))
    programme = Programme(shape, seed)
    before = programme.publish(tmp_path / "2026.01.01")
    assert programme.audit().unsafe_n == 0
    programme.con.execute(
        "update estimates set estimate = null, ci_low = null, ci_high = null, "
        "design_effect = null, method = 'none', reason = 'not_comparable', sd = null "
        "where geography_level = 'all' and base_n > 0"
    )
    # As if there had been no release before: what is shown then is too much.
    programme.released = programme.protect().to_pylist()
    assert programme.audit([before]).unsafe_n > 0
    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert programme.audit([before]).unsafe_n == 0
    assert [r for r in programme.released if r["geography_level"] == "all" and r["n"]] == []


@pytest.mark.parametrize("seed", [0, 2])
def test_a_release_without_a_cpp_that_an_earlier_one_held_can_be_made(
    tmp_path: Path, seed: int
) -> None:
    """What is left of all is then one CPP, whose figures the release before told.

    No hiding of now keeps a figure from who read it then: it is no reason to refuse.
    """
    shape = Shape((Measure("some", 0.1),), clusters=(1, 2), schools=(3, 6), roll=(30, 260))
    programme = Programme(shape, seed)
    before = programme.publish(tmp_path / "2026.01.01")
    programme.con.execute("delete from pupil where engagement = 't2-cpp0'")
    count_pupils(programme.con, shape)
    programme.engagements.remove("t2-cpp0")
    programme.released = programme.protect(earlier=[before]).to_pylist()
    audit = programme.audit([before])
    assert audit.unsafe_n == 0 == len(audit.differences.places)


STEADY = Shape(
    (Measure("some", 0.07), Measure("other", 0.3)),
    clusters=(2, 2), schools=(4, 5), roll=(40, 200),
)  # fmt: skip
RULES = {"policy_version": load_policy().version, "code_version": code_version()}


def publish_by(programme: Programme, folder: Path, rules: dict[str, str]) -> Path:
    """Publish the rows as they stand, as made by these rules."""
    programme.publish(folder)
    (folder / "manifest.json").write_text(json.dumps(rules), encoding="utf-8")
    return folder


def hide_more(programme: Programme) -> set[tuple]:
    """Hide a school by hand that the release could show; which figures these were."""
    hidden, rows = _hidden_more()
    programme.released = [dict(r) for r in rows]
    return hidden


@cache
def _hidden_more() -> tuple[set[tuple], list[dict[str, Any]]]:
    programme = drawn(STEADY, 5)
    kept = programme.released
    for school in programme.schools("t1-cpp0"):
        programme.released = [dict(r) for r in kept]
        rows = [
            r for r in programme.released if r["geography_code"] == school and r["status"] in SHOWN
        ]
        for row in rows:
            row |= dict.fromkeys(("n", "estimate", "ci_low", "ci_high", "note")) | {"status": "c"}
        if {row["indicator"] for row in rows} == {
            "some",
            "other",
        } and not programme.audit().unsafe_n:
            found = {(row["audience"], row["indicator"], *cell_of(row)) for row in rows}
            return found, programme.released
    raise AssertionError("no such school in this programme; choose another seed")


def rows_of(programme: Programme, indicator: str) -> list[tuple]:
    """What a reader is told of an indicator."""
    return [
        (r["audience"], *cell_of(r), r["status"], r["note"], r["n"], r["estimate"])
        for r in programme.released
        if r["indicator"] == indicator
    ]


def test_what_has_not_changed_is_hidden_as_it_was(tmp_path: Path) -> None:
    programme = drawn(STEADY, 5)
    anew = {name: rows_of(programme, name) for name in ("some", "other")}
    assert {row[-3] for row in anew["some"]} >= {"low"}
    more = hide_more(programme)
    then = {name: rows_of(programme, name) for name in ("some", "other")}
    before = publish_by(programme, tmp_path / "2026.01.01", RULES)

    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert {name: rows_of(programme, name) for name in then} == then
    assert programme.audit([before]).unsafe_n == 0

    # Of an indicator that has changed all is hidden anew.
    programme.con.execute(
        "update pupil set value_other = null where rowid in ("
        "select rowid from pupil where seed_code = ? and value_other is not null limit 30)",
        [programme.schools("t1-cpp0")[0]],
    )
    count_pupils(programme.con, STEADY)
    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert rows_of(programme, "some") == then["some"]
    told = figures(programme)
    assert {told[key][0] for key in more if key[1] == "other"} & set(SHOWN)
    assert programme.audit([before]).unsafe_n == 0


@pytest.mark.parametrize(
    ("rules", "folder"),
    [
        (RULES | {"code_version": "another"}, "2026.01.01"),
        (RULES | {"policy_version": "another"}, "2026.01.01"),
        (RULES, f"{WITHDRAWN_FOLDER}/2026.01.01"),
        # Damaged: it does not say what made it.
        ({}, "2026.01.01"),
    ],
)
def test_other_rules_and_withdrawn_releases_are_no_model(
    tmp_path: Path, rules: dict[str, str], folder: str
) -> None:
    programme = drawn(STEADY, 5)
    anew = {name: rows_of(programme, name) for name in ("some", "other")}
    hide_more(programme)
    before = publish_by(programme, tmp_path / folder, rules)
    if not rules:
        (before / "manifest.json").write_text("{", encoding="utf-8")
    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert {name: rows_of(programme, name) for name in anew} == anew


def test_a_small_cell_that_was_shown_is_hidden_all_the_same(tmp_path: Path) -> None:
    """The release before is no authority: what it hid is where the rules start from."""
    programme = drawn(STEADY, 5)
    small = programme.pick(
        lambda r: (
            r["indicator"] == "some"
            and r["status_inside"] == "primary"
            and r["geography_level"] == "school"
        )
    )[0]
    key = small["audience"], "some", *cell_of(small)
    programme.show(small)
    before = publish_by(programme, tmp_path / "2026.01.01", RULES)
    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert figures(programme)[key][0] == "c"


def test_what_has_not_changed_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programme = drawn(STEADY, 5)
    first, audiences = Answers(), audience_names(programme.engagements)
    programme.register_released()
    estimates_audit.audit_estimates(programme.con, SOURCES, load_policy(), "released", first)
    before = publish_by(programme, tmp_path / "2026.01.01", RULES)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be asked anew")

    monkeypatch.setattr(attack, "reach", refuse)
    monkeypatch.setattr(attack, "certify", refuse)
    known = Answers(first.used)
    again = protect_estimates(
        programme.con, SOURCES, load_policy(), audiences, known, earlier=[before]
    )
    assert again.equals(programme.table) and first.used
    audit = estimates_audit.audit_estimates(
        programme.con, SOURCES, load_policy(), "released", known, [before]
    )
    assert audit.unsafe_n == 0 and known.used == first.used


def answered_late(programme: Programme) -> None:
    """Girls of the largest school whose answers came late, most of them of one stage."""
    programme.con.execute(
        """
        update pupil set answered = true, value_some = (rowid % 4 = 0)::int where rowid in (
            select rowid from pupil where seed_code = ? and value_some is null and on_roll = 1
            and sex = 'F' order by stage, rowid limit 14
        )
        """,
        [programme.schools("t1-cpp0")[0]],
    )
    count_pupils(programme.con, programme.shape)


def test_what_was_hidden_beside_a_cell_that_has_changed_stays_hidden(tmp_path: Path) -> None:
    """Boys hidden for the girls' sake; more girls answer, and both could be shown.

    The boys are those of then: with the total of then they tell the few girls of then.
    """
    shape = Shape(
        (Measure("some", 0.12),), clusters=(2, 2), schools=(3, 5), roll=(20, 220), valid=0.8
    )
    programme = Programme(shape, 2)
    before = publish_by(programme, tmp_path / "2026.01.01", RULES)
    told, then = figures(programme), programme.world(("some",))
    answered_late(programme)
    now = programme.world(("some",))

    def freed() -> set[tuple]:
        """Cells of the CPP's package that are shown now, not then, and in which few changed."""
        found = set()
        for key, said in figures(programme).items():
            audience, measure, cell = key[0], key[1], tuple(key[2:])
            counts = [
                (row["base_n"] or 0, row["numerator_n"] or 0)
                for world in (then, now)
                if (row := world.by_cell.get((measure, cell))) is not None
            ]
            if audience == "cpp/t1-cpp0" and said[0] in SHOWN and len(counts) == 2:
                (n, y), (more_n, more_y) = counts
                few = max(abs(more_n - n), abs(more_y - y), abs(more_n - more_y - n + y)) < 10
                if few and told.get(key, ("none",))[0] not in SHOWN:
                    found.add(key)
        return found

    # As if there had been no release before: the leak that is planted.
    programme.released = programme.protect().to_pylist()
    planted = freed()
    places = programme.audit([before]).differences.places.to_pylist()
    found = {(r["geography_code"], r["breakdown"], r["group"]) for r in places}
    assert planted and {(key[2].partition(":")[2], *key[3:]) for key in planted} <= found

    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert not freed()
    audit = programme.audit([before])
    assert audit.unsafe_n == 0 == len(audit.differences.places)


def test_what_a_school_showed_before_it_became_smaller_is_known(tmp_path: Path) -> None:
    """It shows no girls and boys now: who did not answer this question is no respondent any more.

    Its pupils' answers are those of then, and so is what its package showed of them.
    """
    shape = Shape(
        (Measure("some", 0.15),),
        tranches=(1,), clusters=(1, 1), schools=(3, 3), roll=(66, 86), valid=0.7,
    )  # fmt: skip
    programme = Programme(shape, 3)
    before = programme.publish(tmp_path / "2026.01.01")
    programme.con.execute("update pupil set answered = false where value_some is null")
    count_pupils(programme.con, shape)
    # As if there had been no release before.
    programme.released = programme.protect().to_pylist()
    assert programme.audit().unsafe_n == 0 < programme.audit([before]).unsafe_n
    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert programme.audit([before]).unsafe_n == 0


def test_a_note_that_was_not_there_is_not_written_of_a_cell_in_which_few_have_changed(
    tmp_path: Path,
) -> None:
    """Two groups were hidden beside a shown sum: that one is small tells what the other was."""
    measures = (Measure("some", 0.05), Measure("score", statistic="mean"))
    shape = replace(STEADY, measures=measures, roll=(200, 400))
    programme = drawn(shape, 5)
    for row in programme.released:
        # As a release is that hides the same and says nothing of what is small.
        row["note"] = None
    before = programme.publish(tmp_path / "2026.01.01")
    withdraw(programme, 3)

    def noted() -> list[dict[str, Any]]:
        # Nobody of the other CPP has changed.
        return programme.pick(lambda r: r["note"] and r["audience"] == "cpp/t1-cpp0")

    # As if there had been no release before.
    programme.released = programme.protect().to_pylist()
    found = programme.audit([before]).differences.places.to_pylist()
    names = ("audience", "indicator", "geography_level", "geography_code", "breakdown", "group")
    keys = {tuple(row[name] for name in names) for row in found}
    assert len(noted()) > 3 and all(tuple(r[name] for name in names) in keys for r in noted())

    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert programme.audit([before]).unsafe_n == 0
    assert noted() == []


def test_a_note_that_is_not_true_any_more_is_not_said_again(tmp_path: Path) -> None:
    """An indicator is not sensitive any more: below 10 was few then, below 5 is now."""
    shape = replace(STEADY, measures=(Measure("some", 0.07, is_sensitive=True),))
    programme = Programme(shape, 5)
    before = publish_by(programme, tmp_path / "2026.01.01", RULES)
    truth = programme.world(("some",)).by_cell

    def noted() -> list[int]:
        rows = programme.pick(lambda r: r["note"] == "low" and r["audience"] != "public")
        return [truth["some", cell_of(r)]["numerator_n"] for r in rows]

    assert max(noted()) >= 5
    programme.con.execute("update indicators set is_sensitive = false")
    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert all(few < 5 for few in noted())
    assert programme.audit([before]).unsafe_n == 0


def test_scores_that_changed_and_make_the_same_sum_have_changed(tmp_path: Path) -> None:
    """Some pupils of a group have more, as many others as much less: intervals tell it."""
    programme = drawn(replace(SHAPE, measures=(Measure("score", statistic="mean"),)), 3)
    before = programme.publish(tmp_path / "2026.01.01")
    told = figures(programme)
    programme.con.execute(
        """
        update pupil set value_score = value_score + if(place % 2 = 0, 1.5, -1.5)
        from (
            select rowid as pupil_id,
                row_number() over (partition by seed_code, stage, sex order by rowid) as place,
                count(*) over (partition by seed_code, stage, sex) as most,
            from pupil where value_score between 2.5 and 3.5
            qualify place <= most // 2 * 2
        ) as chosen
        where pupil.rowid = pupil_id
        """
    )
    count_pupils(programme.con, programme.shape)

    def moved() -> set[tuple]:
        """Cells of schools and clusters of which another figure is shown."""
        return {
            (key[2].partition(":")[2], *key[3:])
            for key, said in figures(programme).items()
            if key[2].startswith(("school:", "cluster:"))
            and told[key][0] in SHOWN
            and said[0] in SHOWN
            and said != told[key]
        }

    # As if there had been no release before: the leak that is planted.
    programme.released = programme.protect().to_pylist()
    places = programme.audit([before]).differences.places.to_pylist()
    assert moved() and moved() <= {
        (r["geography_code"], r["breakdown"], r["group"]) for r in places
    }
    programme.released = programme.protect(earlier=[before]).to_pylist()
    assert not moved()
    assert len(programme.audit([before]).differences.places) == 0


def test_a_mean_that_was_hidden_and_has_not_changed_may_be_shown(tmp_path: Path) -> None:
    """It has no figure of then: that one stands there now tells of nobody's change."""
    programme = drawn(replace(SHAPE, measures=(Measure("score", statistic="mean"),)), 3)
    rows = programme.pick(
        lambda r: r["geography_level"] in ("school", "cluster") and r["status"] in SHOWN
    )
    as_now = [dict(row) for row in rows]
    for row in rows:
        row |= dict.fromkeys(("n", "estimate", "ci_low", "ci_high", "note")) | {"status": "c"}
    before = programme.publish(tmp_path / "2026.01.01")
    for row, now in zip(rows, as_now, strict=True):
        row |= now
    assert rows and programme.audit([before]).differences.places.to_pylist() == []


def test_what_a_note_said_before_is_known(tmp_path: Path) -> None:
    """The note goes and another cell is shown: beside the note of then it tells too much."""
    shape = Shape(
        (Measure("some", 0.08),), tranches=(1,), clusters=(1, 2), schools=(3, 4), roll=(60, 200)
    )
    programme = Programme(shape, 10)
    before = programme.publish(tmp_path / "2026.01.01")
    for row in programme.released:
        row["note"] = None
    assert programme.audit([before]).unsafe_n == 0
    freed = programme.pick(
        lambda r: (
            cell_of(r) == ("school:10001", "stage", "P5") and r["status_inside"] == "secondary"
        )
    )
    programme.show(freed[0])
    assert programme.audit().unsafe_n == 0 < programme.audit([before]).unsafe_n
