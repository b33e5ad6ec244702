"""What a batch of withdrawals hides is no drift; whatever the batch does not explain is.

Belongs here: `drift.drift_profile` over a made programme that is protected for real. Does not
belong here: which cells are held back (`tests/disclosure/test_earlier_releases.py`), the limits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from rcs_assets.disclosure.drift import Since, drift_profile, since_last_release
from rcs_assets.intake.opt_outs import Moved
from tests.disclosure.made_programme import Measure, Shape, count_pupils
from tests.disclosure.programme import Programme

SHAPE = Shape(
    (Measure("some", 0.4), Measure("score", statistic="mean")),
    tranches=(1,), clusters=(2, 2), schools=(4, 5), roll=(40, 260),
)  # fmt: skip
ENGAGEMENT, LEFT_N, EACH_N = "t1-cpp0", 14, 2


def _since(left_n: int, came_n: int = 0) -> Since:
    moved = {ENGAGEMENT: Moved(left_n, came_n)}
    return Since(moved, moved)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A release, and the next one, protected after 14 pupils of seven schools have left."""
    programme = Programme(SHAPE, 3)
    before = programme.publish(tmp_path_factory.mktemp("releases") / "2026.01.01")
    schools = programme.schools(ENGAGEMENT)[: LEFT_N // EACH_N]
    assert len(schools) == LEFT_N // EACH_N
    columns = ", ".join(f"value_{m.name} = null" for m in programme.shape.measures)
    programme.con.execute(
        f"""
        update pupil set answered = false, {columns} where rowid in (
            select rowid from pupil
            where list_contains(?, seed_code) and value_some is not null
                and value_score is not null
            qualify row_number() over (partition by seed_code order by rowid) <= {EACH_N}
        )
        """,
        [schools],
    )
    count_pupils(programme.con, programme.shape)
    con = programme.con
    protected = programme.protect(earlier=[before])
    con.register("protected", protected)
    con.execute("create schema disclosure; create schema wellbeing")
    con.execute("create table disclosure.estimates as from protected")
    con.execute("create view wellbeing.estimates as from main.estimates")
    return SimpleNamespace(con=con, before=before, schools=schools)


@pytest.fixture
def drift(batch: SimpleNamespace) -> Iterator[Callable[[Since], tuple[float, float]]]:
    """The worst shares of cells hidden since, and of those held back for the batch."""

    def judge(since: Since) -> tuple[float, float]:
        frame = drift_profile(batch.con, [batch.before], since, 10)
        return float(frame.hidden_since_pct.max()), float(frame.held_for_batch_pct.max())

    batch.con.execute("begin")
    yield judge
    batch.con.execute("rollback")


def test_what_the_batch_hides_is_counted_apart(drift) -> None:
    alone, nothing = drift(Since())
    assert alone > 10 and nothing == 0
    left, held = drift(_since(LEFT_N))
    assert held > 10 and left + held == pytest.approx(alone) and left < 1


@pytest.mark.parametrize("since", [_since(LEFT_N - 1), _since(0, LEFT_N)])
def test_more_than_the_opt_outs_explain_is_drift(drift, since: Since) -> None:
    assert drift(since) == drift(Since())


def test_what_is_hidden_without_a_reason_stays_drift(drift, batch: SimpleNamespace) -> None:
    left, held = drift(_since(LEFT_N))
    hidden = batch.con.execute(
        "update disclosure.estimates set status = 'c', status_inside = 'primary', n = null, "
        "estimate = null, ci_low = null, ci_high = null where breakdown = 'sex' "
        "and status in ('published', 'u')"
    ).fetchall()[0][0]
    assert hidden > 0
    more, same = drift(_since(LEFT_N))
    assert more > left + 5 and same == pytest.approx(held, abs=1)


HIDE = (
    "update disclosure.estimates set status = 'c', status_inside = '{kind}', n = null, "
    "estimate = null, ci_low = null, ci_high = null where {where}"
)


def test_a_cell_that_is_small_itself_is_never_held(drift, batch: SimpleNamespace) -> None:
    alone, _ = drift(Since())
    batch.con.execute(HIDE.format(kind="primary", where="status = 'c'"))
    assert drift(_since(LEFT_N)) == (alone, 0)


def test_without_totals_nothing_is_explained(drift, batch: SimpleNamespace) -> None:
    batch.con.execute(
        "delete from disclosure.estimates where breakdown = 'total' "
        "and geography_level in ('cpp', 'tranche', 'all')"
    )
    left, held = drift(_since(LEFT_N))
    assert held == 0 and left > 10


def test_a_secondary_cell_off_every_line_of_an_owed_cell_is_drift(
    drift, batch: SimpleNamespace
) -> None:
    """Cells by sex are owed in seven schools: they excuse no other cell of the other schools."""
    con: duckdb.DuckDBPyConnection = batch.con
    con.execute("delete from disclosure.estimates where status = 'c' and breakdown <> 'sex'")
    before, held = drift(_since(LEFT_N))
    assert held > 0
    hidden = con.execute(
        HIDE.format(
            kind="secondary",
            where="breakdown <> 'sex' and geography_level = 'school' "
            "and not list_contains(?, geography_code) and status in ('published', 'u')",
        ),
        [batch.schools],
    ).fetchall()[0][0]
    assert hidden > 0
    after, same = drift(_since(LEFT_N))
    assert after > before and same == pytest.approx(held)


def test_an_answer_that_changed_is_no_withdrawal(drift, batch: SimpleNamespace) -> None:
    """As many pupils, other answers: a corrected file, and no batch explains it."""
    con: duckdb.DuckDBPyConnection = batch.con
    con.execute("drop view wellbeing.estimates")
    con.execute(
        "create table wellbeing.estimates as select told.* replace ("
        "told.numerator_n + if(told.base_n > told.numerator_n, 1, -1) as numerator_n) "
        f"from read_parquet('{batch.before}/safe_haven/parquet/estimates_unrounded.parquet') told"
    )
    _, held = drift(_since(LEFT_N))
    assert held < 1


def test_a_manifest_that_cannot_be_read_explains_nothing(tmp_path: Path) -> None:
    release = tmp_path / "2026.01.01"
    release.mkdir()
    assert since_last_release(SimpleNamespace(), [release]) == Since()  # type: ignore[arg-type]
    (release / "manifest.json").write_text(json.dumps({"packages": {}}), encoding="utf-8")
    assert since_last_release(SimpleNamespace(), [release]) == Since()  # type: ignore[arg-type]
    assert since_last_release(SimpleNamespace(), []) == Since()  # type: ignore[arg-type]
