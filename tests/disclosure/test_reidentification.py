"""The council that supplied the records attacks the file of answers that it gets."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from benchmarks.reidentification import KEYS, open_files, records_of
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.disclosure.reidentify import council_records, reidentify
from rcs_assets.errors import InputError
from rcs_assets.storage import Home
from tests.conftest import ReleasedHome

ENGAGEMENT, SURVEY = "t2-falkirk", "primary"
COLUMNS = "stage, sex, simd_group, any_support"


def rows(pupils: int, classes: int) -> pa.Table:
    """Pupils of as many classes, which the keys tell apart."""
    return duckdb.sql(
        f"""
        select 'p' || i as record_id, if(i % 2 = 0, 'F', 'M') as sex,
            'S' || (i % {classes}) as stage, '1' as simd_group, 'Y' as any_support
        from range({pupils}) as t(i)
        """
    ).to_arrow_table()


def shuffled(table_rows: pa.Table) -> pa.Table:
    return duckdb.sql("select * from table_rows order by md5(record_id)").to_arrow_table()


def test_pupils_whom_the_keys_tell_apart_are_recognised() -> None:
    """The attack works where there is nothing to stop it: else it would prove nothing."""
    table = rows(120, 120)
    found = reidentify(table, table, KEYS)
    assert found.right_n == found.records_n == 120 and found.chance_n == 120


def test_pupils_who_share_their_keys_are_not() -> None:
    table = rows(120, 6)
    found = reidentify(table, shuffled(table), KEYS)
    assert found.linked_n == 0 and found.chance_n == pytest.approx(6)
    # Six are right on average of drawing; the engine has nothing to do better with.
    assert found.guessed_n == 120 and found.right_n <= 18 and found.most_sure < 0.2


def test_a_file_in_the_order_of_its_source_is_found_out() -> None:
    """The attack uses the order of rows where it tells something: released ones are shuffled."""
    table = rows(120, 6)
    assert reidentify(table, table, KEYS).right_n > 60


def test_a_file_that_cannot_be_attacked_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be attacked"):
        reidentify(rows(10, 2).drop_columns(["stage"]), rows(10, 2), KEYS)
    with pytest.raises(InputError, match="a stage at a time"):
        reidentify(rows(1001, 2), rows(1000, 2), KEYS)


def test_the_released_file_stands_the_councils_own_attack(released_home: ReleasedHome) -> None:
    """With the payload that the council supplied, of every pupil, whether he answered or not."""
    home = Home.open(released_home.path)
    file = released_home.release / "cpp" / ENGAGEMENT / "microdata" / f"{SURVEY}.parquet"
    with open_files(home) as con:
        truth = records_of(con, home, ENGAGEMENT, SURVEY)
        known = council_records(con, ENGAGEMENT, ["P5", "P6", "P7"], load_policy().microdata)
    # It is the released file, row by row, that is attacked; who answered is among those known.
    assert (
        truth.select(["stage", "sex", "simd_group", "any_support"]).to_pylist()
        == duckdb.sql(f"select {COLUMNS} from '{file}'").to_arrow_table().to_pylist()
    )
    ids = set(known["record_id"].to_pylist())
    assert set(truth["record_id"].to_pylist()) < ids
    found = reidentify(known, truth, KEYS, threads=2)
    assert found.linked_n == 0 and found.guessed_n > 0.9 * found.records_n
    # k pupils at least share what the council knows: nobody is picked out, and a guess is
    # right no more often than k allows.
    k = load_policy().microdata.k
    assert found.chance_n / found.records_n <= 1 / k
    assert found.right_n / found.records_n <= 1 / k and found.most_sure <= 0.5
