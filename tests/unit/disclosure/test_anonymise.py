from dataclasses import replace

import duckdb
import pytest

from rcs_assets.codebook.model import Routing, Variable
from rcs_assets.disclosure.anonymise import KEYS, Told, anonymise
from rcs_assets.disclosure.microdata_rule import microdata_rule
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.storage import hmac_expression

RULE = load_policy().microdata


def variable(name, is_sensitive):
    return Variable(name, name, "theme", "yes_no", ("secondary",), ("S1",), is_sensitive, None, "")


VARIABLES = {"secondary": [variable("open", False), variable("secret", True)]}


def run(classes, secret="i % 2", opened="i % 3", rule=RULE, key=b"k" * 32, form="null",
        variables=VARIABLES, before=(), told=(), areas=("e1",)):  # fmt: skip
    """Anonymise pupils given as (stage, sex, quintile, any support, number) and return rows.

    `before`: rows of a file of before. `told`: so many times others tell what is withheld of these
    in e1. `areas`: each has such pupils.
    """
    con = duckdb.connect(config={"threads": 1})
    con.execute(
        "create table classes (stage varchar, sex varchar, q integer, s boolean, n integer)"
    )
    con.executemany("insert into classes values (?, ?, ?, ?, ?)", classes)
    con.execute(
        f"""
        create table pupils as
        select 'r' || row_number() over () as record_id, engagement,
            'secondary' as survey, stage, sex, q as simd_quintile, s as any_support,
            1.26 + (stage = 'S2')::int as weight, ({form})::varchar as form, i
        from (select *, unnest(range(n)) as i from classes),
            (select unnest({list(areas)}) as engagement);
        create table answers as
        select record_id, engagement, survey, ({opened})::tinyint as open,
            ({secret})::tinyint as secret from pupils
        """
    )
    macro = hmac_expression(con, "release", key)
    con.execute(
        f"create table before ({', '.join(f'{k} varchar' for k in KEYS)}, variable varchar)"
    )
    for keys in {tuple(r[k] for k in KEYS) for r in before if r["secret"] == rule.withheld_code}:
        con.execute("insert into before values (?, ?, ?, ?, ?, ?, 'secret')", keys)
    rounds = iter(told)
    summary = anonymise(
        con,
        "pupils",
        "answers",
        variables,
        rule,
        macro,
        "before",
        lambda _: {Told("e1", "secondary", name) for name in next(rounds, ())},
    )
    rows = con.execute("select * from anonymised_secondary order by row_order").to_arrow_table()
    return summary[0], rows.to_pylist()


def classes_of(rows):
    found = {}
    for row in rows:
        key = tuple(row[k] for k in KEYS[2:])
        found[key] = found.get(key, 0) + 1
    return found


def test_information_given_up_and_special_uniques_are_counted():
    """Two quintiles of one group stay apart for the council alone: one pupil each is special."""
    summary, rows = run([("S1", "F", 2, True, 1), ("S1", "F", 3, True, 11), ("S1", "M", 1, True, 9),
                         ("S1", "M", 5, False, 7)])  # fmt: skip
    # Alone: the girl of quintile 2, on SIMD alone. The others share all that they have.
    assert (summary.special_before.special_n, summary.special_before.by_size[1]) == (1, 1)
    assert (summary.special_after.special_n, summary.left_out_n) == (0, 0)
    # 9 and 7 boys became one class without SIMD and support.
    assert summary.given_up == {"stage": 0, "simd_group": 16, "any_support": 16}
    assert sum(row["simd_group"] is None for row in rows) == 16
    assert summary.hidden_n == sum(row["secret"] == RULE.withheld_code for row in rows)


def test_withheld_answers_are_counted():
    summary, rows = run([("S1", "F", 1, True, 10), ("S1", "M", 3, False, 12)], secret="sex = 'F'")
    assert summary.hidden_n == len(rows) == 22


def test_how_far_the_furthest_share_is_off_is_told_in_fives():
    """In S1 girls say no and boys half yes, none is shown; of 150 in S2, every second says yes."""
    classes = [("S1", "F", 1, True, 100), ("S1", "M", 1, True, 100), ("S2", "M", 1, True, 150)]
    summary, rows = run(classes, secret="case when sex = 'F' then 0 else i % 2 end")
    shown = [row["secret"] for row in rows if row["secret"] >= 0]
    # In the file 75 of 150 say yes; of all 125 of 350, which is 14.3 points less.
    assert (sum(shown), len(shown), summary.off_most) == (75, 150, 15)
    few = [(stage, sex, q, s, n // 5) for stage, sex, q, s, n in classes]
    assert run(few, secret="case when sex = 'F' then 0 else i % 2 end")[0].off_most == 0


def test_classes_that_are_large_enough_keep_all_keys():
    summary, rows = run([("S1", "F", 1, True, 10), ("S1", "F", 3, False, 12)])
    assert classes_of(rows) == {("S1", "F", "1", "Y"): 10, ("S1", "F", "2-4", "N"): 12}
    assert (summary.records_n, summary.left_out_n, summary.coarser_n) == (22, 0, 0)


def test_simd_goes_first_and_takes_the_smallest_other_class_along():
    classes = [("S1", "F", 1, True, 4), ("S1", "F", 5, True, 11), ("S1", "F", 2, True, 30)]
    summary, rows = run(classes)
    assert classes_of(rows) == {("S1", "F", None, "Y"): 15, ("S1", "F", "2-4", "Y"): 30}
    assert summary.coarser_n == 15


def test_two_small_classes_make_one_without_a_third():
    classes = [("S1", "F", 1, True, 4), ("S1", "F", 5, True, 6), ("S1", "F", 2, True, 30)]
    assert classes_of(run(classes)[1]) == {
        ("S1", "F", None, "Y"): 10,
        ("S1", "F", "2-4", "Y"): 30,
    }


def test_support_goes_when_simd_is_not_enough():
    classes = [("S1", "F", 1, True, 4), ("S1", "F", 1, False, 12), ("S1", "F", 2, False, 40)]
    assert classes_of(run(classes)[1]) == {
        ("S1", "F", None, None): 16,
        ("S1", "F", "2-4", "N"): 40,
    }


def test_then_the_stage_becomes_a_band_and_then_goes():
    banded = run([("S1", "F", 1, True, 4), ("S2", "F", 1, True, 6), ("S3", "F", 1, True, 12)])[1]
    assert classes_of(banded) == {("S1-S2", "F", None, None): 10, ("S3", "F", "1", "Y"): 12}
    gone = run([("S1", "F", 1, True, 4), ("S3", "F", 1, True, 12)])[1]
    assert classes_of(gone) == {(None, "F", None, None): 16}


def test_a_record_that_stays_too_rare_is_left_out():
    summary, rows = run([("S1", "F", 1, True, 9), ("S1", "M", 1, True, 10)])
    assert classes_of(rows) == {("S1", "M", "1", "Y"): 10}
    assert (summary.records_n, summary.left_out_n) == (10, 9)


def test_unknown_keys_stand_with_those_given_up():
    rows = run([("S1", "F", None, True, 8), ("S1", "F", 1, True, 5), ("S1", "F", 3, True, 20)])[1]
    assert classes_of(rows) == {("S1", "F", None, "Y"): 13, ("S1", "F", "2-4", "Y"): 20}


@pytest.mark.parametrize("seed", range(8))
def test_every_class_has_k_whatever_the_pupils(seed):
    con = duckdb.connect()
    con.execute(f"select setseed({seed / 10})")
    classes = con.execute(
        "select 'S' || a, s, q, w, floor(random() * random() * 24)::int from range(1, 7) t(a), "
        "(values ('F'), ('M')) v(s), range(1, 6) u(q), (values (true), (false), (null)) x(w)"
    ).fetchall()
    summary, rows = run(classes)
    assert min(classes_of(rows).values()) >= RULE.k
    assert len(rows) + summary.left_out_n == sum(row[4] for row in classes)


def test_a_sensitive_answer_that_all_share_is_withheld_in_that_class_and_one_of_its_size():
    classes = [("S1", "F", 1, True, 10), ("S1", "M", 1, True, 12), ("S2", "M", 1, True, 40)]
    summary, rows = run(classes, secret="case when sex = 'F' then 1 else i % 2 end")
    shown = {(row["stage"], row["sex"], row["secret"]) for row in rows}
    gone = RULE.withheld_code
    assert shown == {("S1", "F", gone), ("S1", "M", gone), ("S2", "M", 0), ("S2", "M", 1)}
    assert summary.withheld_n == 2
    # What is not sensitive stays.
    assert {row["open"] for row in rows} == {0, 1, 2}


def test_who_alone_gave_an_answer_may_count_as_nobody():
    """One of twelve girls says yes: she would know that all others said no."""
    classes = [("S1", "F", 1, True, 12), ("S1", "M", 1, True, 12), ("S2", "M", 1, True, 40)]
    secret = "case when sex = 'F' then (i = 0)::int else i % 2 end"
    assert run(classes, secret=secret)[0].withheld_n == 0
    strict = replace(RULE, l_beside_own_record=True)
    summary, rows = run(classes, secret=secret, rule=strict)
    gone = RULE.withheld_code
    assert {row["secret"] for row in rows if row["sex"] == "F"} == {gone}
    # And one of its size, as ever.
    assert summary.withheld_n == 2
    # Of three answers two are left to each.
    three = "case when i < 2 then i + 1 else 0 end"
    assert run(classes[:1], secret=three, rule=strict)[0].withheld_n == 0


def drawn_classes():
    """Of ten to fifteen each."""
    return [
        (f"S{stage}", sex, quintile, support, 10 + (stage + quintile) % 6)
        for stage in range(1, 7)
        for sex in "FM"
        for quintile in (1, 3, 5)
        for support in (True, False)
    ]


def test_that_a_class_is_withheld_does_not_say_that_all_answered_alike():
    """Forty classes of ten to fifteen, in a quarter of which nobody said yes: drawn by the key."""
    classes = drawn_classes()
    secret = "if(simd_quintile = 1 and stage in ('S1', 'S2', 'S3') and i >= 0, 0, i % 2)"

    def withheld(key):
        _, rows = run(classes, secret=secret, key=key)
        keys = ("stage", "sex", "simd_group", "any_support")
        return {tuple(r[k] for k in keys) for r in rows if r["secret"] == RULE.withheld_code}

    first, other = withheld(b"k" * 32), withheld(b"l" * 32)
    alike = {
        (f"S{stage}", sex, "1", support) for stage in (1, 2, 3) for sex in "FM" for support in "YN"
    }
    assert alike < first and alike < other
    assert len(first) == len(other) == 2 * len(alike)
    assert first != other and withheld(b"k" * 32) == first


def test_of_a_stage_and_sex_never_those_alone_are_withheld_who_answered_alike():
    """Its table less what the file counts would say of them that nobody said yes."""
    classes = drawn_classes()
    secret = "if(simd_quintile = 1 and any_support and stage in ('S1', 'S2', 'S5'), 0, i % 2)"
    for key in (b"k" * 32, b"l" * 32, b"m" * 32):
        _, rows = run(classes, secret=secret, key=key)
        groups = {}
        for row in rows:
            if row["secret"] == RULE.withheld_code:
                own = (row["simd_group"], row["any_support"])
                groups.setdefault((row["stage"], row["sex"]), set()).add(own)
        assert set(groups) == {(f"S{stage}", sex) for stage in (1, 2, 5) for sex in "FM"}
        assert all(len(held) == 2 and ("1", "Y") in held for held in groups.values())


def follow_up(name, asked_if):
    return replace(variable(name, False), routing=Routing(asked_if, frozenset({1})))


@pytest.mark.parametrize("is_routed", [True, False])
def test_what_tells_a_withheld_answer_is_withheld_with_it(is_routed):
    """All girls said yes: the question that was put only to who did must not say so."""
    classes = [("S1", "F", 1, True, 12), ("S1", "M", 1, True, 12), ("S2", "M", 1, True, 40)]
    rule = RULE if is_routed else replace(RULE, told_by={"secret": ("open",)})
    opened = follow_up("open", "secret") if is_routed else variable("open", False)
    _, rows = run(
        classes,
        secret="case when sex = 'F' then 1 else i % 2 end",
        opened="case when sex = 'F' then i % 2 when i % 2 = 1 then 0 else -6 end",
        variables={"secondary": [opened, variable("secret", True)]},
        rule=rule,
    )
    gone = RULE.withheld_code
    pairs = {(row["sex"], row["secret"], row["open"]) for row in rows}
    assert pairs == {("F", gone, gone), ("M", gone, gone), ("M", 0, -6), ("M", 1, 0)}
    # The other way round nothing is told.
    back = replace(RULE, told_by={"open": ("secret",)})
    _, rows = run(classes, secret="case when sex = 'F' then 1 else i % 2 end", rule=back)
    assert {row["open"] for row in rows if row["secret"] == gone} == {0, 1, 2}


def test_two_files_do_not_tell_apart_what_each_withholds():
    """After a rotation of keys others would be drawn: what both withhold all answered alike."""
    classes = drawn_classes()

    def withheld(rows):
        return {tuple(r[k] for k in KEYS) for r in rows if r["secret"] == RULE.withheld_code}

    def alike(quintiles):
        return f"if(simd_quintile in ({quintiles}) and stage in ('S1', 'S2'), 0, i % 2)"

    first = run(classes, secret=alike("1, 3"), key=b"k" * 32)[1]
    again = run(classes, secret=alike("1, 3"), key=b"l" * 32)[1]
    assert len(withheld(first)) == 32
    assert len(withheld(first) & withheld(again)) < 32, "the same are drawn by chance"
    second = run(classes, secret=alike("1, 3"), key=b"l" * 32, before=first)[1]
    assert withheld(second) == withheld(first)
    # Others answered alike, or do no more: what was withheld stays, and more are drawn.
    more = run(classes, secret=alike("1, 3, 5"), key=b"l" * 32, before=first)[1]
    assert withheld(first) < withheld(more) and len(withheld(more)) == 48
    fewer = run(classes, secret=alike("1"), key=b"l" * 32, before=first)[1]
    assert withheld(fewer) == withheld(first)
    none = run(classes, secret="i % 2", key=b"l" * 32, before=first)[1]
    assert withheld(none) == withheld(first)
    # One joins while more than enough are left of before: it does not stand alone.
    free = {tuple(r[k] for k in KEYS) for r in first if r["simd_group"] == "5"} - withheld(first)
    _, _, stage, sex, _, support = min(free)
    one = (
        f"if(simd_quintile = 5 and stage = '{stage}' and sex = '{sex}' "
        f"and any_support = {support == 'Y'}, 0, i % 2)"
    )
    joined = withheld(run(classes, secret=one, key=b"l" * 32, before=first)[1]) - withheld(first)
    assert len(joined) == 2 and joined & {min(free)}


def test_the_next_file_of_the_same_answers_is_the_same():
    """Forms, and stages that a class does not show, withhold more than is drawn."""
    classes = [
        (stage, sex, quintile, True, n)
        for stage, n in (("S1", 4), ("S2", 22), ("S3", 12), ("S4", 26))
        for sex in "FM"
        for quintile in (1, 3, 5)
    ]
    told = {
        "secret": "case when i < 10 and sex = 'F' then 0 when stage = 'S1' then -5 else i % 2 end",
        "form": "if(stage in ('S2', 'S4'), if(i < 10, 'main', 'combined'), null)",
    }
    first = run(classes, **told)[1]
    withheld = [row for row in first if row["secret"] == RULE.withheld_code]
    assert 0 < len(withheld) < len(first)
    assert run(classes, **told, before=first)[1] == first


def test_who_leaves_a_class_changes_nothing_of_what_is_drawn():
    classes = [
        (f"S{stage}", sex, quintile, True, 14)
        for stage in range(1, 7) for sex in "FM" for quintile in (1, 3, 5)
    ]  # fmt: skip
    secret = "if(simd_quintile = 1 and stage in ('S1', 'S2', 'S3'), 0, i % 2)"

    def withheld(left):
        fewer = [(*c[:4], c[4] - (c[:3] == left)) for c in classes]
        rows = run(fewer, secret=secret)[1]
        return {tuple(r[k] for k in KEYS) for r in rows if r["secret"] == RULE.withheld_code}

    assert len({frozenset(withheld(c[:3])) for c in classes}) == 1


def withheld_stages(rows):
    return {stage: gone for stage in sorted({str(r["stage"]) for r in rows}) if (gone := {
        r["secret"] == RULE.withheld_code for r in rows if str(r["stage"]) == stage})}  # fmt: skip


def test_what_tables_tell_is_withheld_of_whole_stages_one_after_the_other():
    """In S2 one class answers alike; fewest say otherwise than most in S1, then in S3, then S4."""
    classes = [(f"S{n}", sex, q, False, 20) for n in (1, 2, 3, 4) for sex in "FM" for q in (1, 5)]
    secret = """case
        when stage = 'S2' and sex = 'F' and simd_quintile = 1 then 0
        when stage = 'S1' then i < 2 when stage = 'S3' then i < 4 else i < 9 end::tinyint"""
    some, none, whole = {True, False}, {False}, {True}
    drawn = withheld_stages(run(classes, secret)[1])
    # One other is drawn, of the same stage and sex.
    assert drawn == {"S1": none, "S2": some, "S3": none, "S4": none}
    seen = []
    for times in range(1, 5):
        summary, rows = run(classes, secret, told=[("secret",)] * times)
        seen.append([stage for stage, gone in withheld_stages(rows).items() if gone == whole])
        # Nothing is drawn any more: what is not withheld whole is shown whole.
        assert some not in withheld_stages(rows).values()
        assert (summary.whole_n, summary.hidden_n) == (1, 80 * len(seen[-1]))
        # The next file, beside which nothing is told any more, is the same and says so.
        again, next_rows = run(classes, secret, before=rows)
        assert (again.whole_n, again.hidden_n) == (1, summary.hidden_n)
        assert next_rows == rows
    assert seen == [["S2"], ["S1", "S2"], ["S1", "S2", "S3"], ["S1", "S2", "S3", "S4"]]
    # And of nobody else is anything changed.
    assert all(row["open"] >= 0 for row in rows)


def test_only_the_file_of_the_area_of_which_something_is_told_is_made_anew():
    classes = [(f"S{n}", sex, q, False, 20) for n in (1, 2) for sex in "FM" for q in (1, 5)]
    secret = "if(stage = 'S2' and sex = 'F' and simd_quintile = 1, 0, i % 3)"
    _, before = run(classes, secret, areas=("e1", "e2"))
    _, after = run(classes, secret, areas=("e1", "e2"), told=[("secret",)] * 2)
    assert len(before) == len(after) == 320
    of = [
        [[row for row in rows if row["engagement"] == area] for rows in (before, after)]
        for area in ("e1", "e2")
    ]
    assert of[0][0] != of[0][1]
    assert of[1][0] == of[1][1]


def test_a_band_goes_with_each_stage_that_it_can_show():
    classes = [("S1", "F", 1, False, 30), ("S1", "M", 1, False, 6), ("S2", "M", 1, False, 6),
               ("S2", "F", 1, False, 30), ("S3", "F", 1, False, 30)]  # fmt: skip
    # All boys of the band S1-S2 answer alike: the girls of both stages go too.
    _, rows = run(classes, "if(sex = 'M', 0, i % 2)", told=[("secret",)])
    assert withheld_stages(rows) == {"S1": {True}, "S1-S2": {True}, "S2": {True}, "S3": {False}}
    # Of a stage that all of one class share, the band and who shows no stage go too.
    classes = [("S1", "F", 1, False, 30), ("S1", "F", 5, False, 30), ("S1", "M", 1, False, 6),
               ("S2", "M", 1, False, 6), ("S3", "F", 1, False, 30)]  # fmt: skip
    _, rows = run(classes, "if(sex = 'F' and simd_quintile = 5, 0, i % 2)", told=[("secret",)])
    assert withheld_stages(rows) == {"S1": {True}, "S1-S2": {True}, "S3": {False}}


def test_a_question_that_is_told_though_nobody_answered_alike_goes_of_everybody():
    _, rows = run([("S1", "F", 1, True, 30), ("S2", "M", 1, True, 30)], told=[("open",)])
    assert {row["open"] for row in rows} == {RULE.withheld_code}
    assert all(row["secret"] >= 0 for row in rows)


def test_without_a_sensitive_question_nothing_is_withheld():
    variables = {"secondary": [variable("open", False), variable("secret", False)]}
    summary, rows = run([("S1", "F", 1, True, 10)], secret="1", variables=variables)
    assert summary.withheld_n == 0 and {row["secret"] for row in rows} == {1}


def test_missing_codes_of_the_pupil_are_no_second_value():
    rows = run([("S1", "F", 1, True, 10)], secret="case when i = 0 then -1 else 1 end")[1]
    assert {row["secret"] for row in rows} == {RULE.withheld_code}


def test_routed_past_is_a_value_and_not_asked_is_none():
    routed = run([("S1", "F", 1, True, 10)], secret="-6")[1]
    assert {row["secret"] for row in routed} == {RULE.withheld_code}
    unasked = run([("S1", "F", 1, True, 10)], secret="-5")[1]
    assert {row["secret"] for row in unasked} == {-5}


def test_an_answer_that_is_not_sensitive_stays_though_all_share_it():
    rows = run([("S1", "F", 1, True, 10)], opened="1")[1]
    assert {row["open"] for row in rows} == {1}


def test_missing_codes_are_the_same_for_every_contractor():
    rows = run([("S1", "F", 1, True, 10)], opened="case when i < 5 then -4 else -5 end")[1]
    assert {row["open"] for row in rows} == {-5}


def test_weights_tell_no_stage_that_was_given_up():
    rows = run([("S1", "F", 1, True, 4), ("S2", "F", 1, True, 6), ("S3", "F", 1, True, 12)])[1]
    weights = {(row["stage"], str(row["weight"])) for row in rows}
    assert weights == {("S1-S2", "1.90"), ("S3", "1.30")}


def test_the_order_follows_the_key_and_nothing_else():
    classes = [("S1", "F", 1, True, 30)]
    first, again, other = (run(classes, key=key)[1] for key in (b"k" * 32, b"k" * 32, b"o" * 32))
    assert first == again
    assert [row["row_order"] for row in first] != [row["row_order"] for row in other]


def test_nothing_but_keys_weight_and_answers_is_in_the_file():
    (row, *_) = run([("S1", "F", 1, True, 10)])[1]
    assert set(row) == {*KEYS, "weight", "open", "secret", "row_order"}


EXTRACT = {"survey": "secondary", "stages": ["S2"], "themes": ["sdq"], "source": "s"}


@pytest.mark.parametrize(
    "change",
    [
        {"k": 1},
        {"l": 1},
        {"weight_step": 0},
        {"withheld_code": 7},
        {"special_uniques_most": 4},
        {"purposes": {"anyone": True}},
        {"simd_groups": {"1": [1], "also": [1]}},
        {"simd_groups": {}},
        {"stage_bands": {}},
        {"extracts": {"banded": EXTRACT | {"stages": ["S1-S2"]}}},
        {"extracts": {"secondary": EXTRACT}},
        {"extracts": {"nobody": EXTRACT | {"survey": "parent"}}},
    ],
)
def test_a_block_that_protects_nobody_is_refused(change):
    block = {
        "k": 10, "l": 2, "l_beside_own_record": False, "gives_way_to_tables": True,
        "simd_groups": {"1": [1]}, "stage_bands": {"S1-S2": ["S1"]},
        "weight_step": 0.1, "merged_missing": {}, "telling_missing": [-6], "withheld_code": -7,
        "told_by": {"ever": ["now"]},
        "special_uniques_most": 3, "extracts": {"part": EXTRACT},
        "purposes": {"archive": True}, "source": "s", "dated": "d", "reason": "r",
    }  # fmt: skip
    assert microdata_rule(block).k == RULE.k
    with pytest.raises(ValueError, match="microdata"):
        microdata_rule(block | change)
    with pytest.raises(TypeError, match="yes or no"):
        microdata_rule(block | {"l_beside_own_record": "perhaps"})
    with pytest.raises(TypeError, match="gives_way_to_tables is yes or no"):
        microdata_rule(block | {"gives_way_to_tables": "perhaps"})


def test_k_is_the_policys():
    rule = replace(RULE, k=3)
    assert classes_of(run([("S1", "F", 1, True, 3)], rule=rule)[1]) == {("S1", "F", "1", "Y"): 3}


def test_what_a_form_did_not_ask_tells_of_no_class_below_k():
    """Twelve share their keys, six of them with a question that the others were not asked."""
    forms = "if(i < 6, 'combined', 'main')"
    classes = [("S2", "F", 1, True, 12), ("S2", "F", 3, True, 20)]
    summary, rows = run(classes, secret="if(i < 6, i % 2, -5)", form=forms)
    patterns = {}
    for row in rows:
        key = (*(row[k] for k in KEYS[2:]), row["secret"] == -5)
        patterns[key] = patterns.get(key, 0) + 1
    assert min(patterns.values()) >= RULE.k
    assert "form" not in rows[0]
    # Six and six had the combined form: SIMD went, and so they are one class of twelve.
    assert patterns["S2", "F", None, "Y", False] == 12
    assert summary.left_out_n == 0


def test_an_answer_that_all_of_one_form_share_is_withheld_of_all_forms():
    """The girls' main form says the same. No column of a file says who had which form."""
    _, rows = run(
        [("S2", "F", 1, True, 40), ("S2", "M", 1, True, 40), ("S4", "M", 1, True, 40)],
        secret="if(i < 10 and sex = 'F', 1, i % 2)",
        opened="if(i < 10, -5, i % 3)",
        form="if(i < 10, 'main', 'combined')",
    )
    found = {(row["stage"], row["sex"]): set() for row in rows}
    for row in rows:
        found[row["stage"], row["sex"]].add(row["secret"])
    gone, answered = {RULE.withheld_code}, {0, 1}
    assert found.pop(("S2", "F")) == gone
    assert sorted(found.values(), key=len) == [gone, answered], "one other is drawn beside"


def test_a_question_that_one_stage_of_a_band_was_not_asked_is_withheld_there():
    """Four of S1 and eight of S2 are in a band; only S2 was asked the open question."""
    summary, rows = run(
        [("S1", "F", 1, True, 4), ("S2", "F", 1, True, 8), ("S3", "F", 1, True, 12)],
        opened="if(stage = 'S2', i % 3, -5)",
    )
    banded = [row["open"] for row in rows if row["stage"] == "S1-S2"]
    assert banded == [RULE.withheld_code] * 12
    # A stage that is shown tells no more by what it was not asked.
    assert {row["open"] for row in rows if row["stage"] == "S3"} == {-5}
    assert (summary.withheld_n, summary.hidden_n) == (1, 12)
