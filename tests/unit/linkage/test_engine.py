"""The engine on tables made by hand: who is linked to whom, by which pass, and who is not."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from rcs_assets.errors import InputError, StorageError
from rcs_assets.linkage import LinkSettings, link
from rcs_assets.linkage.engine import Links, link_each
from rcs_assets.linkage.probabilistic import QUIET

ANNE = {
    "surname": "Moray",
    "first_forename": "Anne",
    "sex": "F",
    "date_of_birth": "2004-01-31",
    "postcode": "FK10 1AA",
}
FIXED = LinkSettings(training="fixed", threads=1)
# Children of a council: enough that one agreement more or less counts.
CROWD = """
    select
        'p' || i as record_id,
        (2 * i % 97 + 100)::varchar || lpad((i * 7919 % 1000000)::varchar, 6, '0') as scn,
        chr(65 + s % 20) || 'AR' || chr(66 + s % 13) || 'ON' || chr(67 + s % 7) as surname,
        chr(66 + f % 22) || 'EL' || chr(65 + f % 17) || 'I' || chr(76 + f % 11) as first_forename,
        if(d % 2 = 0, 'F', 'M') as sex,
        date '2002-03-01' + (d % 2500) as date_of_birth,
        'FK' || (1 + h % 9) || ' ' || (1 + h % 7)
        || chr(65 + h % 20) || chr(65 + h % 23) as postcode
    from (
        select
            i,
            (md5_number_lower(i || 's') % 211)::integer as s,
            (md5_number_lower(i || 'f') % 307)::integer as f,
            (md5_number_lower(i || 'd') % 100003)::integer as d,
            (md5_number_lower(i || 'h') % 100019)::integer as h
        from range(1500) as t(i)
    )
"""


def table(*rows: dict[str, Any]) -> pa.Table:
    """Rows with record ids 0, 1, … unless they bring their own."""
    filled = {name for row in rows for name, value in row.items() if value is not None}
    columns = sorted(filled | {"record_id"})
    named = [{"record_id": str(number), **row} for number, row in enumerate(rows)]
    return pa.table(
        {name: pa.array([row.get(name) for row in named], pa.string()) for name in columns}
    )


def crowd(query: str = "select * from crowd") -> pa.Table:
    """The made-up council, or a query over `crowd`."""
    with duckdb.connect() as con:
        con.execute(f"create table crowd as {CROWD}")
        return con.execute(query).to_arrow_table()


def pairs(links: Any, *bands: str) -> set[tuple[str, str]]:
    wanted = bands or ("exact", "auto")
    return {
        (row["left_id"], row["right_id"])
        for row in links.table.to_pylist()
        if row["band"] in wanted
    }


def passes(links: Any) -> list[int]:
    return [row["pass_no"] for row in links.table.to_pylist()]


@pytest.mark.parametrize(
    ("change", "pass_no"),
    [
        ({"uid": "AB12345678", "surname": "x", "first_forename": "y"}, 1),
        ({"scn": "040 001 239", "first_forename": None, "postcode": None}, 2),
        ({"sex": None}, 3),
        ({"surname": "MORAY", "first_forename": "ánne", "postcode": "fk101aa"}, 3),
        ({"postcode": "EH1 1AA"}, 4),
        ({"surname": "Smith", "previous_surname": "Moray", "postcode": None}, 5),
    ],
)
def test_passes_in_their_order(change: dict[str, Any], pass_no: int) -> None:
    left = table({**ANNE, "uid": "AB12345678", "scn": "040001239"})
    right = table({**ANNE, **change})
    links = link(left, right, FIXED)
    assert passes(links) == [pass_no]
    assert links.table.to_pylist()[0]["band"] == "exact"
    assert links.table.to_pylist()[0]["weight"] is None


def test_the_result_has_the_published_columns_and_order() -> None:
    left = crowd("select * from crowd limit 50")
    right = crowd("select 'r' || record_id as record_id, * exclude (record_id, scn) from crowd")
    links = link(left, right, FIXED)
    assert links.table.schema.names == [
        "left_id", "right_id", "pass_no", "weight", "probability", "band",
    ]  # fmt: skip
    ids = links.table.column("left_id").to_pylist()
    assert ids == sorted(ids)
    assert len(ids) == 50


def test_a_number_needs_an_agreement() -> None:
    left = table({**ANNE, "scn": "040001239"})
    stranger = {
        "surname": "x", "first_forename": "y", "sex": "M",
        "date_of_birth": "2001-01-01", "postcode": "EH1 1AA",
    }  # fmt: skip
    assert not pairs(link(left, table({**stranger, "scn": "040001239"}), FIXED))
    assert pairs(link(left, table({**stranger, "scn": "040001239", "surname": "Moray"}), FIXED))


def test_a_number_written_down_for_a_brother_or_twin_links_nobody() -> None:
    left = table({**ANNE, "scn": "040001239"})
    twin = {**ANNE, "first_forename": "Bruce", "scn": "040001239"}
    brother = {**twin, "date_of_birth": "2007-05-05"}
    assert not pairs(link(left, table(twin), FIXED))
    assert not pairs(link(left, table(brother), FIXED))


def test_names_that_two_children_share_are_left_to_the_model() -> None:
    left = table({**ANNE}, {**ANNE, "postcode": "EH1 1AA"})
    links = link(left, table({**ANNE, "postcode": "G1 1AA"}), FIXED)
    assert set(passes(links)) <= {9}


def test_without_any_name_birth_date_and_home_link_nobody() -> None:
    """They are a twin's as well: what two such fields can show is no link, but a clerk's pair."""
    left = crowd("select record_id, date_of_birth, postcode from crowd limit 300")
    links = link(left, left, FIXED).table.to_pylist()
    assert {row["band"] for row in links} == {"clerical"} and len(links) > 200


def test_birth_dates_in_a_form_that_is_not_read_are_refused() -> None:
    left = table(ANNE, {**ANNE, "date_of_birth": "2004-02-01"})
    right = table(*[{**ANNE, "date_of_birth": day} for day in ("Feb 31", "12/31/2004")])
    with pytest.raises(InputError, match="Most birth dates cannot be read") as caught:
        link(left, right, FIXED)
    assert "right, column date_of_birth" in str(caught.value) and "12/31" not in str(caught.value)


def test_twins_go_to_their_own_records_and_never_to_each_other() -> None:
    twins = "select * from crowd union all select 't' || record_id, null, surname, 'Zeb', sex, "
    twins += "date_of_birth, postcode from crowd"
    left = crowd(f"select * exclude (scn) from ({twins})")
    # Every second twin's record is missing, and every forename has a slip of the pen.
    right = crowd(f"""
        select
            record_id,
            left(first_forename, 2) || first_forename[4] || first_forename[3]
            || substring(first_forename, 5) as first_forename,
            surname, sex, date_of_birth, postcode
        from ({twins})
        where record_id not like 't%' or hash(record_id) % 2 = 0
    """)
    found = pairs(link(left, right, FIXED))
    assert len(found) > 0.95 * right.num_rows
    assert {one for one, other in found if one != other} == set()


def test_the_twin_of_an_absent_pupil_gets_no_record() -> None:
    left = crowd("select * exclude (scn) from crowd")
    right = crowd(
        "select record_id, surname, 'Zebedee' as first_forename, sex, date_of_birth, postcode "
        "from crowd limit 200"
    )
    assert not pairs(link(left, right, FIXED))


def test_errors_of_every_kind_are_bridged() -> None:
    left = crowd("select * exclude (scn) from crowd")
    right = crowd("""
        select
            record_id,
            case i % 6 when 0 then surname[1] || surname[3] || surname[2] || surname[4:]
                when 1 then 'Newname' else surname end as surname,
            case i % 6 when 2 then first_forename[:-2] else first_forename end as first_forename,
            sex,
            case i % 6 when 3 then date_of_birth + 1 else date_of_birth end as date_of_birth,
            case i % 6 when 4 then null when 5 then 'FK1 1ZZ' else postcode end as postcode
        from (select *, replace(record_id, 'p', '')::integer as i from crowd)
    """)
    found = pairs(link(left, right, FIXED))
    assert {one for one, other in found if one != other} == set()
    assert len(found) > 0.97 * left.num_rows


def test_links_are_one_to_one() -> None:
    left = crowd("select * exclude (scn) from crowd")
    right = crowd(
        "select 'a' || record_id as record_id, * exclude (record_id, scn) from crowd "
        "union all select 'b' || record_id, * exclude (record_id, scn) from crowd"
    )
    links = link(left, right, FIXED)
    lefts, rights = (links.table.column(name).to_pylist() for name in ("left_id", "right_id"))
    assert len(lefts) == len(set(lefts)) > 1000
    assert len(rights) == len(set(rights))
    # Two records of one child are alike: the smaller id wins, and nobody waits for a clerk.
    assert pairs(links, "clerical") == set()
    assert {right[0] for right in rights} == {"a"}


@pytest.fixture(scope="module")
def quick_fit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay with which the model is fitted from a small sample."""
    folder = tmp_path_factory.mktemp("overlay")
    (folder / "linkage.yaml").write_text(
        "training: {min_records: 1000, min_pairs: 200, exact_share: 0.5, u_pairs: 20000, "
        "max_iterations: 5}",
        encoding="utf-8",
    )
    return folder


@pytest.mark.parametrize("training", ["fixed", "fit"])
def test_neither_order_nor_threads_change_a_bit(training: str, quick_fit: Path) -> None:
    left = "select * exclude (scn) from crowd order by hash(record_id, {seed})"
    right = (
        "select record_id, surname, first_forename[:-2] as first_forename, sex, date_of_birth, "
        "if(hash(record_id) % 3 = 0, null, postcode) as postcode "
        "from crowd order by hash({seed}, record_id)"
    )
    results = [
        link(
            crowd(left.format(seed=seed)),
            crowd(right.format(seed=seed)),
            LinkSettings(training=training, threads=threads, overlay=quick_fit),
        )
        for seed, threads in ((1, 1), (2, 3))
    ]
    assert results[0].table.num_rows > 1000
    assert results[0].table.equals(results[1].table)
    assert results[0].quality == results[1].quality


def test_missing_columns_and_forms_of_input_are_allowed() -> None:
    left = crowd("select record_id, surname, first_forename, date_of_birth from crowd")
    with duckdb.connect() as con:
        con.execute(f"create table crowd as {CROWD}")
        relation = con.sql("select record_id, surname, first_forename, date_of_birth from crowd")
        by_relation = link(relation, left.to_pandas(), FIXED)
    assert by_relation.table.equals(link(left, left, FIXED).table)
    assert by_relation.table.num_rows > 1000


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        (table({}), table({}), "no field in common"),
        (table({"surname": "Moray"}), table({"postcode": "FK10 1AA"}), "no field in common"),
        (table(ANNE).slice(0, 0), table(ANNE), "no rows"),
        (table(ANNE), table(ANNE).slice(0, 0), "no rows"),
        (
            table(ANNE).append_column("scn", pa.nulls(1, pa.string())),
            table(ANNE),
            "Columns without any value: scn",
        ),
        (table(ANNE | {"scn": " "}), table(ANNE), "Columns without any value: scn"),
        (
            table(ANNE).append_column("surname", pa.array(["Moray"])),
            table(ANNE),
            "Columns stand twice: surname",
        ),
    ],
)
def test_a_side_that_cannot_be_compared_is_refused(left: Any, right: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        link(left, right, FIXED)


def test_quality_counts_links_and_lies_in_its_interval() -> None:
    left = crowd("select * exclude (scn) from crowd")
    right = crowd(
        "select record_id, surname, first_forename[:-2] as first_forename, sex, "
        "if(hash(record_id) % 4 = 0, null, date_of_birth) as date_of_birth, postcode from crowd"
    )
    links = link(left, right, FIXED)
    quality = links.quality
    assert quality.links_n == len(pairs(links))
    assert quality.clerical_n == len(pairs(links, "clerical"))
    assert 0.9 < quality.precision_low <= quality.precision <= quality.precision_high <= 1
    assert 0.5 < quality.recall_low <= quality.recall <= quality.recall_high <= 1


def test_extra_fields_are_compared() -> None:
    left = crowd("select record_id, surname, first_forename, 'c' || record_id as code from crowd")
    settings = LinkSettings(training="fixed", extra_fields=("code",))
    without = link(left.drop_columns(["code"]), left.drop_columns(["code"]), FIXED)
    assert pairs(without) < pairs(link(left, left, settings))


@pytest.mark.parametrize("mode", ["link", "dedupe"])
def test_the_name_of_an_extra_field_changes_nothing(mode: str, quick_fit: Path) -> None:
    """Splink and the engine have columns of these names, or columns that begin so."""
    left = crowd("select record_id, * exclude (record_id, scn), left(surname, 1) as c from crowd")
    right = left.drop_columns(["surname"]) if mode == "link" else None

    def result(name: str) -> Links:
        one, other = (t and t.rename_columns({"c": name}) for t in (left, right))
        chosen = LinkSettings(mode=mode, training="fit", overlay=quick_fit, extra_fields=(name,))
        return link(one, other, chosen)

    expected = result("initial")
    assert "initial" in expected.model.fields
    for name in ("source_dataset", "left_id", "tf_surname", "unique_id", "forename_forms", "l"):
        assert result(name).table.equals(expected.table), name


def test_dedupe_finds_pairs_within_one_table() -> None:
    once = crowd("select record_id, * exclude (record_id, scn) from crowd")
    twice = crowd(
        "select record_id || 'x' as record_id, * exclude (record_id, scn) from crowd limit 100"
    )
    links = link(
        pa.concat_tables([once, twice]), settings=LinkSettings(mode="dedupe", training="fixed")
    )
    found = pairs(links)
    assert {(one, f"{one}x") for one, _ in found} == found
    assert len(found) == 100


@pytest.mark.parametrize(
    ("left", "settings", "words"),
    [
        (pa.table({"surname": ["x"]}), FIXED, "no column record_id"),
        (pa.table({"record_id": ["SECRET", "SECRET"]}), FIXED, "stands twice"),
        (pa.table({"record_id": pa.array([None], pa.string())}), FIXED, "blank"),
        (pa.table({"record_id": ["1"], "income": ["9"]}), FIXED, "Unknown columns: income"),
        (pa.table({"record_id": ["1"]}), LinkSettings(extra_fields=("code",)), "missing: code"),
        ([{"record_id": "1"}], FIXED, "no table"),
        (pa.table({"record_id": [" ", "2"]}), FIXED, "blank"),
        (pd.DataFrame({"record_id": ["1", "2"], "scn": [1, "SECRET"]}), FIXED, "kinds: scn"),
        (pd.DataFrame({"record_id": ["1", 2]}), FIXED, "kinds: record_id"),
        (pd.DataFrame({"record_id": ["1"], "scn": [10**30]}), FIXED, "row 1"),
        (pd.DataFrame([["1", "a", "b"]], columns=["record_id", *["town"] * 2]), FIXED, "'town'"),
        (
            duckdb.sql("select range as record_id, (range || 'SECRET')::int as scn from range(2)"),
            FIXED,
            "withheld",
        ),
    ],
)
def test_bad_input_is_refused_without_values(left: Any, settings: LinkSettings, words: str) -> None:
    with pytest.raises(InputError) as refused:
        link(left, table(ANNE), settings)
    assert words in str(refused.value)
    assert "left" in str(refused.value)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    "choice",
    [
        {"mode": "guess"},
        {"training": "no"},
        {"threads": 0},
        {"threads": 1.5},
        {"threads": "2"},
        {"seed": "one"},
        {"overlay": "config"},
        {"auto_weight": "7"},
        {"clerical_weight": float("nan")},
        {"auto_weight": 1.0, "clerical_weight": 2.0},
        {"extra_fields": ("surname",)},
        {"extra_fields": ("Surname",)},
        {"extra_fields": ("code", "CODE")},
        {"extra_fields": "code"},
    ],
)
def test_wrong_settings_are_refused(choice: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(choice))):
        LinkSettings(**choice)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"mode": "link"}, "settings"),
        (replace(FIXED, memory_limit="much"), "memory_limit"),
        (replace(FIXED, model="last year's"), "model"),  # type: ignore[arg-type]
        (replace(FIXED, decided=[("a", "b", True)]), "decided"),
        (replace(FIXED, decided=pa.table({"left_id": ["a"]})), "decided"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        link(table(ANNE), table(ANNE), settings)


def decisions(*rows: tuple[str | None, str | None, bool | None]) -> pa.Table:
    left, right, same = zip(*rows, strict=True)
    types = {"left_id": pa.string(), "right_id": pa.string(), "is_same": pa.bool_()}
    return pa.table(dict(zip(types, (left, right, same), strict=True)), pa.schema(types))


ORR = pa.table({"record_id": ["l1", "l2"], "surname": ["ORR", "GUNN"]})
ROSS = pa.table({"record_id": ["r1", "r2", "r3"], "surname": ["ROSS", "MUIR", "BAIN"]})


def test_a_decision_is_followed_once_however_often_it_stands() -> None:
    decided = decisions(("l1", "r1", True), ("l1", "r1", True), ("l1", "r2", False))
    links = link(ORR, ROSS, replace(FIXED, decided=decided))
    assert pairs(links, "decided") == {("l1", "r1")}


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("l1", "r1", True), ("l1", "r1", False)], "one child or two, not both"),
        ([("l1", "r1", True), ("l1", "r2", True)], "one record joins one other"),
        ([("l1", "r1", True), ("l2", "r1", True)], "one record joins one other"),
        ([("l1", "SECRET", False)], "both records stand in the tables"),
        ([("SECRET", "r1", True)], "both records stand in the tables"),
        ([(None, "r1", True)], "filled in every row"),
        ([("l1", None, False)], "filled in every row"),
        ([("l1", "r1", None)], "filled in every row"),
    ],
)
def test_decisions_that_cannot_be_followed_are_refused(
    rows: list[tuple[str | None, str | None, bool | None]], why: str
) -> None:
    with pytest.raises(InputError, match=f"{len(rows)} of its rows.*{why}") as refused:
        link(ORR, ROSS, replace(FIXED, decided=decisions(*rows)))
    assert "SECRET" not in str(refused.value)


def test_within_one_table_a_decided_pair_has_no_order_and_a_record_several() -> None:
    dedupe = replace(FIXED, mode="dedupe")
    decided = decisions(("r2", "r1", True), ("r3", "r1", True))
    links = link(ROSS, settings=replace(dedupe, decided=decided))
    assert pairs(links, "decided") == {("r1", "r2"), ("r1", "r3")}
    for rows in ([("r1", "r2", True), ("r2", "r1", False)], [("r1", "r1", True)]):
        with pytest.raises(InputError, match="cannot be followed"):
            link(ROSS, settings=replace(dedupe, decided=decisions(*rows)))


def test_an_error_of_the_engine_says_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(con: duckdb.DuckDBPyConnection, *_: object, **__: object) -> None:
        con.execute("select surname::integer from lhs")

    monkeypatch.setattr("rcs_assets.linkage.engine.run_cascade", fail)
    with pytest.raises(StorageError) as told:
        link(table(ANNE), table(ANNE), FIXED)
    chain = [str(told.value), str(told.value.__cause__), str(told.value.__context__)]
    assert not any("MORAY" in text.upper() for text in chain)


def test_linking_is_silent(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, quick_fit: Path
) -> None:
    left = crowd("select * exclude (scn) from crowd")
    right = crowd(
        "select * exclude (scn) replace (first_forename[:-2] as first_forename) from crowd"
    )
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        link(left, right, LinkSettings(training="fit", overlay=quick_fit))
    printed = capfd.readouterr()
    assert (printed.out, printed.err, caplog.text) == ("", "", "")


def test_silence_lasts_until_the_last_thread_is_done(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("splink")
    first, last = ExitStack(), ExitStack()
    first.enter_context(QUIET)
    last.enter_context(QUIET)
    first.close()
    assert not logger.isEnabledFor(logging.CRITICAL)
    warnings.warn("it may name a value", stacklevel=1)
    last.close()
    assert logger.isEnabledFor(logging.CRITICAL)
    assert capfd.readouterr().err == ""
    with pytest.warns(UserWarning, match="heard again"):
        warnings.warn("heard again", stacklevel=1)


def test_files_side_by_side_are_linked_as_one_by_one() -> None:
    """More files than threads, of unlike sizes, so that they end in another order."""
    right = crowd(
        "select * exclude (scn) replace (first_forename[:-2] as first_forename) from crowd"
    )
    left = crowd("select * exclude (scn) from crowd")
    files = [(left.slice(0, n), right.slice(0, n), FIXED) for n in (1500, 40, 700)]
    alone = [link(*file) for file in files]
    three = [(one, other, LinkSettings(training="fixed", threads=3)) for one, other, _ in files]
    beside = list(link_each(three))
    assert len({found.table.num_rows for found in alone}) == 3
    for found, expected in zip(beside, alone, strict=True):
        assert found.table.equals(expected.table)
        assert found.missed.equals(expected.missed)
        assert found.quality == expected.quality
    assert list(link_each([])) == []


def test_the_model_is_imported_only_for_what_is_left_over() -> None:
    code = (
        "import sys, pyarrow as pa; from rcs_assets.linkage import link; "
        "t = pa.table({'record_id': ['1'], 'uid': ['AB12345678']}); "
        "assert link(t, t).table.num_rows == 1; "
        "sys.exit('splink' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_that_is_handed_back_repeats_the_links(quick_fit: Path) -> None:
    left = crowd("select * exclude (scn) from crowd")
    right = crowd(
        "select record_id, surname, first_forename[:-2] as first_forename, sex, "
        "date_of_birth, if(hash(record_id) % 4 = 0, 'FK1 1ZZ', postcode) as postcode from crowd"
    )
    fitted = link(left, right, LinkSettings(training="fit", overlay=quick_fit))
    again = link(left, right, LinkSettings(model=fitted.model, overlay=quick_fit))
    assert again.table.equals(fitted.table)
    assert again.model.splink == fitted.model.splink


def test_few_left_over_on_both_sides_are_each_others() -> None:
    """A forename given up, a home moved: no proof among all, but all others have a partner."""
    left = crowd("select * exclude (scn) from crowd")
    right = crowd("""
        select
            record_id, surname, sex, date_of_birth,
            if(i % 100 = 0, 'Zebedee', first_forename) as first_forename, postcode
        from (select *, replace(record_id, 'p', '')::integer as i from crowd)
    """)
    links = link(left, right, FIXED)
    last = [row for row in links.table.to_pylist() if row["pass_no"] == 10]
    assert len(last) >= 10
    assert all(row["left_id"] == row["right_id"] for row in last)
    assert links.quality.recall == pytest.approx(len(pairs(links)) / left.num_rows, abs=0.005)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"surname": "McDonald"}, {"surname": "Mac Donald"}),
        ({"surname": "O'Neil"}, {"surname": "ONEIL"}),
        ({"surname": "Smith-Jones"}, {"surname": "Smith Jones"}),
        ({"first_forename": "Zoë"}, {"first_forename": "ZOE"}),
        ({"first_forename": "Elizabeth"}, {"first_forename": "Lizzie"}),
        ({"first_forename": "Elizabeth"}, {"first_forename": "E"}),
        ({"surname": "Craig"}, {"surname": "Anne", "first_forename": "Craig"}),
        ({"date_of_birth": "2004-03-09"}, {"date_of_birth": "2004-09-03"}),
        ({"date_of_birth": "2004-03-09"}, {"date_of_birth": "2004-03"}),
        ({"date_of_birth": "2004-03-09"}, {"date_of_birth": "2004"}),
        ({"date_of_birth": "2004-03-09"}, {"date_of_birth": "2004-01-01"}),
        ({"postcode": "FK10 1AA"}, {"postcode": "FK10 IAA"}),
        ({"sex": "F"}, {"sex": "2"}),
    ],
)  # fmt: skip
def test_what_registers_write_differently_is_one_child(
    one: dict[str, str], other: dict[str, str]
) -> None:
    left = pa.concat_tables([table({**ANNE, **one}).select(_PERSON), others()])
    right = table({**ANNE, **other})
    assert pairs(link(left, right, FIXED)) == {("0", "0")}


_PERSON = ["record_id", *sorted(ANNE)]


def others() -> pa.Table:
    """A few hundred children beside the one that is looked at."""
    columns = ", ".join(f"{name}::varchar as {name}" for name in _PERSON)
    return crowd(f"select {columns} from crowd limit 300")


_DEFAULT = {**ANNE, "date_of_birth": "2004-01-01"}


def test_a_default_birth_date_names_nobody_by_itself() -> None:
    """1 January and the same names elsewhere: no pass without a postcode takes it for a key."""
    there, elsewhere = table(_DEFAULT), table({**_DEFAULT, "postcode": "EH1 1AA"})
    assert [p for p in passes(link(there, elsewhere, FIXED)) if p in (4, 5)] == []
    assert passes(link(there, there, FIXED)) == [3]
    born = table(ANNE), table({**ANNE, "postcode": "EH1 1AA"})
    assert passes(link(*born, FIXED)) == [4]


def test_a_default_birth_date_weighs_less_than_a_birth_date() -> None:
    """The same two records but for the date, in one crowd: the weight falls."""

    def weight(day: str) -> float:
        record = {**ANNE, "date_of_birth": day}
        left = pa.concat_tables([table(record).select(_PERSON), others()])
        found = link(left, table({**record, "first_forename": "An"}), FIXED).table.to_pylist()
        return next(row["weight"] for row in found if row["left_id"] == row["right_id"] == "0")

    assert weight("2004-01-01") < weight("2004-01-31") - 2
