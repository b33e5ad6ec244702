"""Scoring against an implementation of its own, written from domain.md §1.6 to §1.8.

Nothing here reads the codebook or the macro: item lists, reversal, bands and rounding
stand a second time, in plain Python on fractions.
"""

from __future__ import annotations

import itertools
from datetime import datetime, time
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcs_assets.codebook import load_codebook
from rcs_assets.errors import InputError
from rcs_assets.wellbeing import score

SCALES = {
    "sdq_emotional": (3, 8, 13, 16, 24),
    "sdq_conduct": (5, 7, 12, 18, 22),
    "sdq_hyperactivity": (2, 10, 15, 21, 25),
    "sdq_peer": (6, 11, 14, 19, 23),
    "sdq_prosocial": (1, 4, 9, 17, 20),
}
REVERSED = {7, 11, 14, 21, 25}
DIFFICULTIES = ("sdq_emotional", "sdq_conduct", "sdq_hyperactivity", "sdq_peer")
# Upper ends of the bands from "normal" or "close to average" on; prosocial counts down.
BANDS = {
    "sdq_total": ((15, 19, 40), (14, 17, 19, 40)),
    "sdq_emotional": ((5, 6, 10), (4, 5, 6, 10)),
    "sdq_conduct": ((3, 4, 10), (3, 4, 5, 10)),
    "sdq_hyperactivity": ((5, 6, 10), (5, 6, 7, 10)),
    "sdq_peer": ((3, 5, 10), (2, 3, 4, 10)),
}
PROSOCIAL_LOWER = ((6, 5, 0), (7, 6, 5, 0))
SWEMWBS = (
    "7.00 9.51 11.25 12.40 13.33 14.08 14.75 15.32 15.84 16.36 16.88 17.43 17.98 18.59 19.25 "
    "19.98 20.73 21.54 22.35 23.21 24.11 25.03 26.02 27.03 28.13 29.31 30.70 32.55 35.00"
).split()


def expected_scale(answers, items, rule):
    counted = [
        2 - answers[item] if item in REVERSED else answers[item]
        for item in items
        if answers[item] is not None
    ]
    if len(counted) < (3 if rule == "prorate" else 5):
        return None
    doubled = 2 * Fraction(sum(counted) * 5, len(counted)) + 1
    return int(doubled // 2)


def expected_row(answers, rule):
    row = {name: expected_scale(answers, items, rule) for name, items in SCALES.items()}

    def total(*names):
        values = [row[name] for name in names]
        return None if None in values else sum(values)

    row["sdq_total"] = total(*DIFFICULTIES)
    row["sdq_externalising"] = total("sdq_conduct", "sdq_hyperactivity")
    row["sdq_internalising"] = total("sdq_emotional", "sdq_peer")
    for name, (three, four) in BANDS.items():
        for number, ends in ((3, three), (4, four)):
            value = row[name]
            row[f"{name}_band{number}"] = (
                None if value is None else 1 + sum(value > end for end in ends)
            )
    for number, starts in zip((3, 4), PROSOCIAL_LOWER, strict=True):
        value = row["sdq_prosocial"]
        row[f"sdq_prosocial_band{number}"] = (
            None if value is None else 1 + sum(value < start for start in starts)
        )
    return row


def table_of(rows):
    columns = {"record_id": [f"r{number}" for number in range(len(rows))]}
    for item in range(1, 26):
        columns[f"sdq_{item}"] = pa.array([row[item] for row in rows], pa.int8())
    return pa.table(columns)


def check(rows, rule):
    found = score(table_of(rows), missing_rule=rule).to_pylist()
    assert [row.pop("record_id") for row in found] == [f"r{n}" for n in range(len(rows))]
    assert found == [expected_row(row, rule) for row in rows]


@pytest.mark.parametrize("rule", ["prorate", "complete"])
def test_every_pattern_of_five_items_on_every_scale(rule):
    patterns = itertools.product((0, 1, 2, None), repeat=5)
    rows = []
    for pattern in patterns:
        row = {}
        for items in SCALES.values():
            row.update(zip(items, pattern, strict=True))
        rows.append(row)
    assert len(rows) == 4**5
    check(rows, rule)


@settings(max_examples=30)
@given(
    rows=st.lists(
        st.lists(st.sampled_from([0, 1, 2, None]), min_size=25, max_size=25), min_size=1, max_size=8
    ),
    rule=st.sampled_from(["prorate", "complete"]),
)
def test_any_answers(rows, rule):
    check([dict(enumerate(row, start=1)) for row in rows], rule)


def test_ties_round_half_up_and_the_published_example():
    """domain.md §1.6: 1,1,0,0 → 2.5 → 3; 2,2,1 → 8.33 → 8; 4 on three items → 6.67 → 7."""
    emotional = SCALES["sdq_emotional"]
    for answered, expected in (
        ((1, 1, 0, 0, None), 3),
        ((2, 2, 2, 0, None), 8),
        ((2, 2, 1, None, None), 8),
        ((2, 1, 1, None, None), 7),
        ((2, 2, None, None, None), None),
    ):
        row = dict.fromkeys(range(1, 26), 0) | dict(zip(emotional, answered, strict=True))
        assert score(table_of([row])).to_pylist()[0]["sdq_emotional"] == expected


def test_wemwbs_needs_all_fourteen_whatever_the_rule():
    columns = {"record_id": ["a", "b"]} | {f"wemwbs_{i}": [5, 4] for i in range(1, 15)}
    frame = pd.DataFrame(columns)
    frame.loc[1, "wemwbs_9"] = np.nan
    for rule in ("prorate", "complete"):
        assert score(frame, "wemwbs", rule)["wemwbs_total"].to_pylist() == [70, None]


def test_swemwbs_metric_for_every_raw_score():
    items = (1, 2, 3, 6, 7, 9, 11)
    rows = []
    for raw in range(7, 36):
        rest, row = raw - 7, {}
        for item in items:
            step = min(4, rest)
            row[f"wemwbs_{item}"], rest = 1 + step, rest - step
        rows.append({"record_id": str(raw), **row})
    found = score(pa.Table.from_pylist(rows), "swemwbs")
    assert found["swemwbs_raw"].to_pylist() == list(range(7, 36))
    assert found["swemwbs_metric"].to_pylist() == [float(metric) for metric in SWEMWBS]


def test_life_satisfaction_and_mood_reverse_what_domain_says():
    life = pa.table({"record_id": ["a"], **{f"life_{i}": [4] for i in range(1, 6)}})
    assert score(life, "life_satisfaction")["life_satisfaction"].to_pylist() == [4 * 4 + 1]
    mood = pa.table(
        {"record_id": ["a", "b"], "generally_cheerful": [5, 5], "lots_of_worries": [2, None]}
    )
    assert score(mood, "primary_mood")["mood_score"].to_pylist() == [4.5, None]


def test_three_kinds_of_table_give_the_same():
    table = table_of([dict.fromkeys(range(1, 26), 1), dict.fromkeys(range(1, 26), None)])
    with duckdb.connect() as con:
        con.register("answers", table)
        relation = con.table("answers")
        assert score(relation).equals(score(table))
    assert score(table.to_pandas()).equals(score(table))


def test_no_rows_give_no_rows():
    assert score(table_of([])).num_rows == 0


def test_other_columns_are_not_read():
    table = table_of([dict.fromkeys(range(1, 26), 2)])
    wider = table.append_column("note", pa.array(["x"]))
    assert score(wider).equals(score(table))


def bad(change):
    table = table_of([dict.fromkeys(range(1, 26), 1), dict.fromkeys(range(1, 26), 1)])
    return change(table)


def with_column(name, values):
    def change(table):
        return table.set_column(table.column_names.index(name), name, pa.array(values))

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda table: table.drop_columns(["sdq_7"]), "sdq_7"),
        (lambda table: table.drop_columns(["record_id"]), "record_id"),
        (with_column("sdq_3", [3, 1]), "sdq_3"),
        (with_column("sdq_3", [-1, 1]), "sdq_3"),
        (with_column("sdq_3", [0.5, 1.0]), "sdq_3"),
        (with_column("sdq_3", [float("nan"), 1.0]), "sdq_3"),
        (with_column("sdq_3", [1e300, 1.0]), "sdq_3"),
        (with_column("sdq_3", ["4711", "1"]), "sdq_3"),
        (with_column("sdq_3", [[4711], [1]]), "sdq_3"),
        (with_column("sdq_3", [datetime(2020, 1, 1)] * 2), "sdq_3"),
        (with_column("sdq_3", [time(1), None]), "sdq_3"),
        (with_column("record_id", ["a", "a"]), "record_id"),
        (with_column("record_id", ["a", None]), "record_id"),
    ],
)
def test_bad_input_is_refused_without_its_value(change, named):
    with pytest.raises(InputError) as refused:
        score(bad(change))
    assert named in str(refused.value)
    assert "4711" not in str(refused.value)


def query_that_fails():
    items = ", ".join(f"(range || '4711 x')::int as sdq_{i}" for i in range(1, 26))
    return duckdb.sql(f"select range as record_id, {items} from range(2)")


@pytest.mark.parametrize(
    "call",
    [
        lambda table: score(table, "sdq_teacher"),
        lambda table: score(table, "sdq_self", "guess"),
        lambda _: score([{"record_id": "a"}]),
        lambda table: score(table, ["sdq_self"]),  # type: ignore[arg-type]  # not one form
        lambda table: score(pd.DataFrame({**table.to_pydict(), "sdq_1": [1, "4711"]})),
        lambda table: score(pd.DataFrame({**table.to_pydict(), "sdq_1": [1, 4711**9]})),
        lambda _: score(query_that_fails()),
    ],
)
def test_wrong_arguments_are_refused(call):
    table = table_of([dict.fromkeys(range(1, 26), 1), dict.fromkeys(range(1, 26), 1)])
    with pytest.raises(InputError) as refused:
        call(table)
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize("gate", [["4711", "1"], [4711, 1], [0.4, 1.0], [-1, 1]])
def test_a_gate_that_is_no_code_is_refused_without_its_value(gate):
    items = {f"sdq_impact_{i}": [0, 3] for i in range(1, 6)}
    table = pa.table({"record_id": ["a", "b"], **items, "sdq_difficulties": gate})
    with pytest.raises(InputError, match="sdq_difficulties") as refused:
        score(table, "sdq_impact")
    assert "4711" not in str(refused.value)


# Upper ends of the bands of the parent forms, typed from domain.md §1.6 and §12.
PARENT: dict[str, dict[str, Any]] = {
    "sdq_parent": {
        "total": ((13, 16, 40), (13, 16, 19, 40)),
        "emotional": ((3, 4, 10), (3, 4, 6, 10)),
        "conduct": ((2, 3, 10), (2, 3, 5, 10)),
        "hyperactivity": ((5, 6, 10), (5, 7, 8, 10)),
        "peer": ((2, 3, 10), (2, 3, 4, 10)),
    },
    "sdq_parent_2_4": {
        "total": (None, (12, 15, 18, 40)),
        "emotional": (None, (2, 3, 4, 10)),
        "conduct": (None, (3, 4, 5, 10)),
        "hyperactivity": (None, (5, 6, 7, 10)),
        "peer": (None, (2, 3, 4, 10)),
    },
}
PARENT_PROSOCIAL = {"sdq_parent": ((6, 5, 0), (8, 7, 6, 0)), "sdq_parent_2_4": (None, (7, 6, 5, 0))}


@pytest.mark.parametrize("form", PARENT)
@pytest.mark.parametrize("rule", ["prorate", "complete"])
def test_parent_forms_add_up_alike_and_have_bands_of_their_own(form, rule):
    drawn = np.random.default_rng(4).integers(0, 4, size=(400, 25))
    rows = [{n: (None if v == 3 else int(v)) for n, v in enumerate(r, 1)} for r in drawn]
    rows += [dict.fromkeys(range(1, 26), value) for value in (0, 1, 2)]
    found = score(table_of(rows), form, rule).to_pylist()
    for answers, got in zip(rows, found, strict=True):
        expected = expected_row(answers, rule)
        for name, (three, four) in PARENT[form].items():
            value = expected[f"sdq_{name}"]
            assert got[f"{form}_{name}"] == value
            for number, ends in ((3, three), (4, four)):
                if ends is not None:
                    band = None if value is None else 1 + sum(value > end for end in ends)
                    assert got[f"{form}_{name}_band{number}"] == band
        value = expected["sdq_prosocial"]
        for number, starts in zip((3, 4), PARENT_PROSOCIAL[form], strict=True):
            if starts is not None:
                band = None if value is None else 1 + sum(value < start for start in starts)
                assert got[f"{form}_prosocial_band{number}"] == band


def scored(instrument, columns, scale):
    n = len(next(iter(columns.values())))
    table = pa.table({"record_id": [f"r{i}" for i in range(n)]} | columns)
    return score(table, instrument)[scale].to_pylist()


def test_impact_counts_only_the_upper_answers_and_nothing_without_difficulties():
    patterns: list[Any] = list(itertools.product([None, 0, 1, 2, 3], repeat=5))
    columns = {
        f"sdq_impact_{n}": pa.array([p[n - 1] for p in patterns] * 2, pa.int8())
        for n in range(1, 6)
    }
    columns["sdq_difficulties"] = pa.array([1] * len(patterns) + [0] * len(patterns), pa.int8())
    points = {0: 0, 1: 0, 2: 1, 3: 2}
    expected = [None if None in p else sum(points[a] for a in p) for p in patterns]
    found = scored("sdq_impact", columns, "sdq_impact")
    assert found == expected + [0] * len(patterns)


SLEEP = """
<9    7.5 8.5 9.5 10 10
9-10  7.5 7.5 8.5 9.5 10
10-11 6.5 6.5 7.5 8.5 9.5
11-12 6 6 6.5 7.5 8.5
12-1  6 6 6 6.5 7.5
1-2   6 6 6 6 6.5
2+    6 6 6 6 6
"""


def test_sleep_is_read_from_the_matrix():
    older = [[float(v) for v in line.split()[1:]] for line in SLEEP.split("\n") if line]
    younger = [*older[:4], [6, 6, 6.5, 7.5, 7.5]]
    for name, bed, matrix in (
        ("sleep_younger", "time_bed_younger", younger),
        ("sleep_older", "time_bed", older),
    ):
        pairs = [(b, w) for b in (None, *range(1, len(matrix) + 1)) for w in (None, *range(1, 6))]
        columns = {
            bed: pa.array([b for b, _ in pairs], pa.int8()),
            "time_wake": pa.array([w for _, w in pairs], pa.int8()),
        }
        expected = [None if b is None or w is None else matrix[b - 1][w - 1] for b, w in pairs]
        assert scored(name, columns, name) == expected


@pytest.mark.parametrize(
    ("instrument", "items", "scale", "turned"),
    [
        ("kidscreen10", [(f"kidscreen_{n}", 1, 5) for n in range(1, 11)], "kidscreen10", {3, 4}),
        ("stirling", [(f"stirling_{n}", 1, 5) for n in range(1, 13)], "stirling", set()),
        ("who5", [(f"who5_{n}", 0, 5) for n in range(1, 6)], "who5_raw", set()),
        (
            "fas3",
            [("fas_car", 0, 2), ("fas_own_bedroom", 0, 1), ("fas_computers", 0, 3),
             ("fas_bathrooms", 0, 3), ("fas_dishwasher", 0, 1), ("fas_holidays_abroad", 0, 3)],
            "fas3",
            set(),
        ),
    ],
)  # fmt: skip
def test_instruments_that_are_off_can_be_scored_by_hand(instrument, items, scale, turned):
    rng = np.random.default_rng(6)
    columns, expected = {}, np.zeros(300)
    for place, (name, low, high) in enumerate(items, 1):
        drawn = rng.integers(low, high + 1, size=300).astype(float)
        drawn[rng.random(300) < 0.03] = np.nan
        columns[name] = pa.array(drawn, from_pandas=True)
        expected += low + high - drawn if place in turned else drawn
    found = scored(instrument, columns, scale)
    assert found == [None if np.isnan(value) else int(value) for value in expected]


def test_who5_is_out_of_a_hundred_and_six_of_nine_are_problematic():
    who5 = {f"who5_{n}": [0, 5, 3] for n in range(1, 6)}
    assert scored("who5", who5, "who5_metric") == [0.0, 100.0, 60.0]
    names = load_codebook().instruments["problematic_social_media"].scales[0].items
    answers = {item.variable: [1, int(n < 5), int(n < 6)] for n, item in enumerate(names)}
    assert scored("problematic_social_media", answers, "social_media_problems") == [9, 5, 6]


def test_models_score_nothing_that_is_off():
    off = {name for name, i in load_codebook().instruments.items() if not i.surveys}
    assert off == {
        "sdq_parent", "sdq_parent_2_4", "sdq_impact", "kidscreen10", "fas3", "who5", "stirling",
    }  # fmt: skip
