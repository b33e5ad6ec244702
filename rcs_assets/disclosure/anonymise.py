"""Files of answers that may leave the safe haven: k-anonymous on few keys, l-diverse.

Belongs here: which keys a record keeps so that it stands among at least k others, which
sensitive answers are withheld where a class of the keys has one value of them only, and where
else, so that this is not told by it, coarse weights, one set of missing codes, an order that
tells nothing. Does not belong here: the numbers (`data/policy.yaml`, block `microdata`), file
formats and packages (`release`).

Source of the rules: policy.md, Table A, "microdata for CPP, safeguarded deposit", and
"Microdata" under "How protection is judged". What k and l do not do: a file of answers
counts every answer exactly by its keys, also where a table hides the cell. That is why it
is handed out under an agreement only, and why it holds no field of a council's own records
but the keys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from rcs_assets.codebook import Variable
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.suda import SpecialUniques, special_uniques
from rcs_assets.storage import sql_list, sql_literal

KEYS = ("engagement", "survey", "stage", "sex", "simd_group", "any_support")
# Which form of the questionnaire a pupil had is no column of a file, but what he was not asked
# tells it: it splits the classes as a key does, and no step gives it up.
_FORM = "form"
_MARGINS = ("engagement", "survey", "sex", _FORM)
# The keys within an area and survey, as the council knows them and as a file shows them.
_KNOWN = ("stage", "sex", "simd_quintile", "any_support")
_SHOWN = ("stage", "sex", "simd_group", "any_support")
_KEPT = ("kept_stage", "kept_simd_group", "kept_any_support")
_NOTHING = "null::varchar"
# Shares that so many pupils answered are compared; how far one is off is said in such steps of
# points.
COMPARED_LEAST, OFF_STEP = 100, 5


_WHOLE = """
create or replace temp table withheld_whole (
    engagement varchar, survey varchar, variable varchar, stage varchar
)
"""
_WITHHOLD = """
insert into withheld_whole
with bands(stage, band) as (values {bands}),
shown as (
    select stage, {otherwise} as otherwise_n from counted_{survey}
    where engagement = $engagement group by stage
),
alike as (
    select distinct stage from alike_{survey}
    where engagement = $engagement and variable = $variable and (is_alike or was_withheld)
),
there as (
    select stage from withheld_whole
    where engagement = $engagement and survey = $survey and variable = $variable
),
chosen as (
    select stage from alike where not exists (from there)
    union all
    select stage from (
        from shown
        where stage not in (select coalesce(stage, '') from there)
            and stage not in (select coalesce(band, '') from bands)
        order by otherwise_n, stage limit 1
    )
    where exists (from there)
),
concerned as (
    select stage from chosen
    union
    select bands.stage from bands inner join chosen on chosen.stage = bands.band
),
found as (select count(*) = 0 or bool_or(stage is null) as is_all from chosen)
select $engagement, $survey, $variable, shown.stage,
from shown cross join found
where (
        is_all or shown.stage is null
        or shown.stage in (select stage from concerned where stage is not null)
        or shown.stage in (select bands.band from bands semi join concerned using (stage))
    )
    and coalesce(shown.stage, '') not in (select coalesce(stage, '') from there)
"""


@dataclass(frozen=True, order=True)
class Told:
    """A variable of one survey's file of an engagement of which others tell what is withheld."""

    engagement: str
    survey: str
    variable: str


# Survey → the engagements whose files have been made anew; None: all.
Changed = Mapping[str, Collection[str] | None]


@dataclass(frozen=True)
class _Level:
    """One step of giving up keys: the classes that share `parent` may become one.

    `stage` and `any_support` are what is left of these keys; SIMD goes first.
    """

    parent: tuple[str, ...]
    stage: str
    any_support: str


# In the order of the policy: without SIMD, without support, in a band of stages, without a
# stage. What is still in too small a class then is left out of the file.
_LEVELS = (
    _Level(("stage", "any_support"), "classes.stage", "classes.any_support"),
    _Level(("stage",), "classes.stage", _NOTHING),
    _Level(("stage_band",), "classes.stage_band", _NOTHING),
    _Level((), _NOTHING, _NOTHING),
)


@dataclass(frozen=True)
class AnonymisedSurvey:
    """What became of one survey of one engagement: counts of pupils and of classes.

    `coarser_n` are records that gave up a key, `left_out_n` records that are not in the
    file, `withheld_n` the pairs of class and variable that are withheld, `hidden_n` the answers
    in them that nobody can read now, `whole_n` the variables that are withheld of whole stages.
    `given_up`: key → records of the file that
    show less of it than was known. `off_most`: by how many points at most the share of a
    sensitive answer in the file is off that of all who answered, rounded up to fives.
    `special_before`, `special_after`: special uniques on the keys of all pupils as the council
    knows them, and on those of the file as shown.
    """

    engagement: str
    survey: str
    records_n: int
    left_out_n: int
    coarser_n: int
    classes_n: int
    withheld_n: int
    hidden_n: int
    whole_n: int
    given_up: Mapping[str, int]
    off_most: int
    special_before: SpecialUniques
    special_after: SpecialUniques


def anonymise(
    con: duckdb.DuckDBPyConnection,
    pupils: str,
    answers: str,
    variables: Mapping[str, Sequence[Variable]],
    rule: MicrodataRule,
    order_macro: str,
    before: str | None = None,
    told: Callable[[Changed], Collection[Told]] = lambda _: (),
) -> tuple[AnonymisedSurvey, ...]:
    """Make the temporary tables `anonymised_<survey>`.

    Args:
        con: a connection that may make temporary tables.
        pupils: relation with `record_id, engagement, survey, stage, sex (F, M),
            simd_quintile (1 to 5 or null), any_support (boolean or null), weight, form (of
            the questionnaire; null where there is one only)`.
        answers: relation with `record_id, engagement, survey` and the variables.
        variables: survey → variables of the file, in its order.
        rule: the block `microdata` of the policy.
        order_macro: a keyed hash of a text (`storage.hmac_expression`); rows are ordered by it.
        before: relation with the keys and `variable`: where files of releases before withheld
            which answers. They stay withheld: two files would tell apart what each hides.
        told: of the tables as they stand, those of some engagements made anew, says of which
            variables others could work out what is withheld. These are then withheld of all pupils
            of the stages concerned; while they are told still, of one more stage, and of everybody
            in the end.

    Returns:
        One entry an engagement and survey, in their order. `anonymised_<survey>` has the
        keys (null where given up or not known), `weight` (pupils that a record stands for:
        mean of its engagement, stage and sex as shown, rounded), the variables, `row_order`.
    """
    _classify(con, pupils, rule)
    for level in _LEVELS:
        _generalise(con, level, rule.k)
    _keep_keys(con, rule, order_macro)
    _know_before(con, before)
    for survey, asked in variables.items():
        _count_classes(con, answers, survey, asked, rule, order_macro)
    con.execute(_WHOLE)
    changed: Changed = dict.fromkeys(variables)
    while changed:
        for survey, engagements in changed.items():
            _find_withheld(con, survey, variables[survey], rule, engagements)
            _put_together(con, answers, survey, variables[survey], rule, engagements)
        changed = _withhold_whole(con, told(changed), rule)
    return tuple(
        entry
        for survey, asked in variables.items()
        for entry in _summary(con, pupils, answers, survey, asked, rule)
    )


def _named(column: str, names: Mapping[str, str]) -> str:
    whens = " ".join(f"when {sql_literal(k)} then {sql_literal(v)}" for k, v in names.items())
    return f"case {column}::varchar {whens} end"


def _same(left: str, right: str, columns: Sequence[str]) -> str:
    return " and ".join(f"{left}.{c} is not distinct from {right}.{c}" for c in columns)


def _classify(con: duckdb.DuckDBPyConnection, pupils: str, rule: MicrodataRule) -> None:
    """The finest classes of the keys, and the keys that each keeps so far: all."""
    con.execute(
        f"""
        create or replace temp table anonymised_pupils as
        select
            record_id, engagement, survey, sex, stage, weight, form,
            {_named("stage", rule.stage_bands)} as stage_band,
            {_named("simd_quintile", rule.simd_groups)} as simd_group,
            case any_support when true then 'Y' when false then 'N' end as any_support,
        from {pupils};

        create or replace temp table anonymised_classes as
        select
            engagement, survey, sex, form, stage, stage_band, simd_group, any_support,
            stage as kept_stage, simd_group as kept_simd_group,
            any_support as kept_any_support, count(*) as n,
        from anonymised_pupils
        group by all
        """
    )


def _generalise(con: duckdb.DuckDBPyConnection, level: _Level, k: int) -> None:
    """Take a key from the classes below k, and from the smallest others that they need.

    The classes below k within a parent become one. If they are still too few, the smallest
    of its other classes join them, until there are k: so no more is given up than the order
    of the levels asks for. Ties go by the keys.
    """
    columns = (*_MARGINS, *level.parent, *_KEPT)
    parent = ", ".join((*_MARGINS, *level.parent))
    order = ", ".join(f"{name} nulls first" for name in _KEPT)
    con.execute(
        f"""
        create or replace temp table anonymised_classes as
        with shown as (
            select {", ".join(columns)}, sum(n)::bigint as shown_n
            from anonymised_classes
            group by all
        ),
        judged as (
            select *,
                bool_or(shown_n < {k}) over (partition by {parent}) as is_needed,
                coalesce(sum(shown_n) over (
                    partition by {parent} order by shown_n >= {k}, shown_n, {order}
                    rows between unbounded preceding and 1 preceding
                ), 0) as smaller_n,
                shown_n < {k} or (is_needed and smaller_n < {k}) as joins,
            from shown
        )
        select classes.* replace (
            if(joins, {level.stage}, classes.kept_stage) as kept_stage,
            if(joins, {_NOTHING}, classes.kept_simd_group) as kept_simd_group,
            if(joins, {level.any_support}, classes.kept_any_support) as kept_any_support
        )
        from anonymised_classes as classes
        inner join judged on {_same("classes", "judged", columns)}
        """
    )


def _keep_keys(con: duckdb.DuckDBPyConnection, rule: MicrodataRule, order_macro: str) -> None:
    """One row a pupil that stays: keys as shown, weight, place in the file."""
    finest = (*_MARGINS, "stage", "simd_group", "any_support")
    con.execute(
        f"""
        create or replace temp table anonymised_keys as
        with shown as (
            select pupils.record_id, pupils.engagement, pupils.survey, pupils.sex, pupils.weight,
                pupils.form,
                classes.kept_stage as stage, classes.kept_simd_group as simd_group,
                classes.kept_any_support as any_support,
                count(*) over (
                    partition by {", ".join(f"classes.{c}" for c in (*_MARGINS, *_KEPT))}
                ) as class_n,
            from anonymised_pupils as pupils
            inner join anonymised_classes as classes
                on {_same("pupils", "classes", finest)},
        )
        select * exclude (class_n, weight),
            (round(
                sum(weight::decimal(18, 9)) over (partition by engagement, survey, stage, sex)
                / count(*) over (partition by engagement, survey, stage, sex)
                / {rule.weight_step}
            ) * {rule.weight_step})::decimal(9, 2) as weight,
            {order_macro}('microdata|' || engagement || '|' || survey || '|' || record_id)
                as row_order,
        from shown
        where class_n >= {rule.k}
        """
    )


def _know_before(con: duckdb.DuckDBPyConnection, before: str | None) -> None:
    """Make `withheld_before`: the keys and variable of what was withheld; empty in a first file."""
    columns = ", ".join(f"{name}::varchar as {name}" for name in (*KEYS, "variable"))
    nothing = ", ".join(f"null as {name}" for name in (*KEYS, "variable"))
    source = before or f"(select {nothing} where false)"
    con.execute(
        f"create or replace temp table withheld_before as select distinct {columns} from {source}"
    )


def _count_classes(
    con: duckdb.DuckDBPyConnection,
    answers: str,
    survey: str,
    variables: Sequence[Variable],
    rule: MicrodataRule,
    order_macro: str,
) -> None:
    """Make `counted_<survey>` and `alike_<survey>`: the answers in each class, by variable."""
    telling = ", ".join(str(code) for code in rule.telling_missing)
    not_asked = ", ".join(map(str, sorted({*rule.merged_missing, *rule.merged_missing.values()})))
    bands = ", ".join(sql_literal(band) for band in sorted(set(rule.stage_bands.values())))

    def counted(variable: Variable) -> str:
        name = variable.name
        skipped = f"count_if({name} in ({not_asked})) as skipped_{name}"
        if not variable.is_sensitive:
            return skipped
        value = f"if({name} >= 0 or {name} in ({telling}), {name}, null)"
        return f"{skipped}, coalesce(map_values(histogram({value})), []) as {name}"

    of_class = (*KEYS, _FORM)
    class_keys = ", ".join(f"keys.{key}" for key in of_class)
    named = ", ".join(f"coalesce(keys.{key}::varchar, '-')" for key in of_class)
    sensitive = [variable.name for variable in variables if variable.is_sensitive]
    con.execute(
        f"""
        create or replace temp table counted_{survey} as
        select {class_keys}, count(*) as n, floor(log2(count(*)))::integer as size,
            {order_macro}('withheld|' || concat_ws('|', {named})) as draw,
            any_value(keys.stage is null or keys.stage in ({bands})) as has_no_stage,
            {", ".join(map(counted, variables))},
        from anonymised_keys as keys
        inner join {answers} as answers using (record_id, engagement, survey)
        where survey = {sql_literal(survey)}
        group by {class_keys};

        create or replace temp table alike_{survey} as {_alike(survey, sensitive, rule)}
        """
    )


def of_engagements(engagements: Collection[str] | None) -> str:
    """SQL: whether a row is of one of some engagements."""
    return "true" if engagements is None else f"engagement in ({sql_list(sorted(engagements))})"


def _make(
    con: duckdb.DuckDBPyConnection, table: str, rows: str, engagements: Collection[str] | None
) -> None:
    """A temporary table of such rows, or only the rows of some engagements made anew."""
    if engagements is None:
        con.execute(f"create or replace temp table {table} as {rows}")
        return
    con.execute(f"delete from {table} where {of_engagements(engagements)}")
    con.execute(f"insert into {table} by name {rows}")


def _find_withheld(
    con: duckdb.DuckDBPyConnection,
    survey: str,
    variables: Sequence[Variable],
    rule: MicrodataRule,
    engagements: Collection[str] | None,
) -> None:
    """The classes of some engagements where a variable is withheld.

    Where a sensitive one has fewer than l values: valid answers count as values, and so do the
    missing codes that tell what was answered before (routed past). Without any value there is
    nothing to withhold. As many others of the engagement, drawn by a key, are withheld beside: else
    the code would say that all answered alike, and what they answered can be guessed. They are of
    the same stage and sex where there are such, for the table of that group less what the file
    counts of it says how many of the withheld said yes: of one class alone, that nobody did. And
    they are about as large, else the smallest. What was withheld before stays: who has both files
    would know which of the others were drawn. Where a class shows no stage of its own and a
    question was asked of some of its stages only: not asked would tell the stage. Where it is
    withheld whole: of these stages, and no others are drawn. And with each, whatever tells what it
    hides (`_hides_with`).
    """

    def is_gone(variable: Variable) -> str:
        name = variable.name
        tells_stage = f"bool_or(has_no_stage and skipped_{name} between 1 and n - 1) over of_keys"
        is_whole = f"(list_contains(whole, {sql_literal(name)}) and skipped_{name} < n)"
        either = f"{tells_stage} or coalesce({is_whole}, false)"
        if not variable.is_sensitive:
            return f"({either}) as gone_{name}"
        is_alike = f"coalesce(list_contains(gone, {sql_literal(name)}), false) and len({name}) > 0"
        return f"({is_alike} or {either}) as gone_{name}"

    hidden_with = _hides_with(variables, rule)

    def is_withheld(variable: Variable) -> str:
        name = variable.name
        others = " or ".join(f"gone_{other}" for other in hidden_with.get(name, ()))
        too = f" or (skipped_{name} < n and ({others}))" if others else ""
        return f"(gone_{name}{too}) as no_{name}"

    of_class, own = (*KEYS, _FORM), of_engagements(engagements)
    rows = f"""
        with gone as ({_gone(f"(from alike_{survey} where {own})")}),
        counted as (from counted_{survey} where {own}),
        whole as (
            select {", ".join(f"counted.{key}" for key in of_class)},
                list(distinct whole.variable) as whole
            from counted
            inner join withheld_whole as whole
                on whole.engagement = counted.engagement and whole.survey = counted.survey
                and whole.stage is not distinct from counted.stage
            group by all
        ),
        by_itself as (
            select counted.*, {", ".join(map(is_gone, variables))}
            from counted
            left join gone on {_same("gone", "counted", KEYS)}
            left join whole on {_same("whole", "counted", of_class)}
            window of_keys as (partition by {", ".join(f"counted.{key}" for key in KEYS)})
        ),
        flags as (
            select {", ".join(of_class)}, {", ".join(map(is_withheld, variables))}
            from by_itself
        )
        select *, {" + ".join(["0", *(f"no_{v.name}::int" for v in variables)])} as withheld_n
        from flags
    """
    _make(con, f"withheld_{survey}", rows, engagements)


def _hides_with(variables: Sequence[Variable], rule: MicrodataRule) -> dict[str, list[str]]:
    """Variable → the others with which it is withheld, since it tells what they hide.

    A question that was asked only of who gave an answer says by "routed past" who did not; the
    policy names others. What tells of one that tells of a third is withheld with that one too.
    """
    named = {variable.name for variable in variables}
    tells = {name: {one for one, by in rule.told_by.items() if name in by} for name in named}
    for variable in variables:
        if variable.routing:
            tells[variable.name].add(variable.routing.variable)
    found = {}
    for name in named:
        reached, open_ = {name}, tells[name] & named
        while open_:
            reached |= open_
            open_ = {further for one in open_ for further in tells[one] & named} - reached
        found[name] = sorted(reached - {name})
    return found


def _alike(survey: str, sensitive: Sequence[str], rule: MicrodataRule) -> str:
    """SQL: the sensitive variables that classes have answers of; where all answered alike."""
    keys, own = ", ".join(KEYS), str(rule.l_beside_own_record).lower()
    if not sensitive:
        nothing = ", ".join(f"null::varchar as {key}" for key in (*KEYS, "variable", "draw"))
        flags = "false as is_alike, false as was_withheld, false as is_new"
        return f"select {nothing}, 0 as size, {flags} where false"
    return f"""
        with each_one as (
            unpivot (select {keys}, size, draw, {", ".join(sensitive)} from counted_{survey})
            on {", ".join(sensitive)} into name variable value pupils_n
        )
        select each_one.* exclude (pupils_n),
            -- Whoever gave an answer alone knows how many values the others have.
            len(pupils_n) - ({own} and list_min(pupils_n) = 1)::integer < {rule.l} as is_alike,
            then_.variable is not null as was_withheld,
            is_alike and not was_withheld as is_new,
        from each_one
        left join withheld_before as then_
            on then_.variable = each_one.variable and {_same("then_", "each_one", KEYS)}
        where len(pupils_n) > 0
    """


def _gone(alike: str) -> str:
    """SQL: keys → the sensitive variables of which answers are withheld, whatever the form.

    The form is no column of a file: what a file of before withheld is known by its keys.
    """
    keys = ", ".join(KEYS)
    return f"""
        with wanted as (
            select alike.*, sha256(draw || alike.variable) as lot,
                whole.variable is not null as is_whole,
                -- Whatever the form: they share their keys.
                bool_or(is_alike or was_withheld)
                    over (partition by {", ".join(f"alike.{key}" for key in KEYS)}, alike.variable)
                    as is_gone,
                -- As many as answered alike, and as many more as have come to do so.
                greatest(
                    count_if(is_new) over of_variable,
                    count_if(is_alike) over of_variable
                    - count_if(was_withheld and not is_alike) over of_variable
                ) as wanted_n,
                count_if(is_new) over (
                    partition by alike.engagement, alike.variable, size
                ) as of_size_n,
                count_if(is_new) over (
                    partition by alike.engagement, alike.variable, alike.stage, sex
                ) as beside_n,
            from {alike} as alike
            left join (select distinct engagement, survey, variable from withheld_whole) as whole
                using (engagement, survey, variable)
            window of_variable as (partition by alike.engagement, alike.variable)
        ),
        near as (
            select *,
                row_number() over (
                    partition by engagement, variable, is_gone, size order by lot
                ) <= of_size_n as is_near,
                row_number() over (
                    partition by engagement, variable, is_gone, stage, sex
                    order by of_size_n = 0, size, lot
                ) <= beside_n as is_beside,
            from wanted
        ),
        drawn as (
            select {keys}, variable, is_gone, is_whole, wanted_n,
                row_number() over (
                    partition by engagement, variable, is_gone
                    order by not is_beside, not is_near, if(is_near, 0, size), lot
                ) as place,
            from near
        )
        select {keys}, list(distinct variable) as gone
        from drawn
        where is_gone or (place <= wanted_n and not is_whole)
        group by all
    """


def _otherwise(con: duckdb.DuckDBPyConnection, one: Told) -> str:
    """SQL: how many gave an answer that is not the commonest of their class."""
    held = {name for name, *_ in con.execute(f"describe counted_{one.survey}").fetchall()}
    name = one.variable
    return f"sum(list_sum({name}) - list_max({name}))" if name in held else "0"


def _withhold_whole(
    con: duckdb.DuckDBPyConnection, told: Collection[Told], rule: MicrodataRule
) -> dict[str, set[str]]:
    """Note what is withheld whole from now on: `withheld_whole`; whose files withhold more.

    A variable that is told goes from all classes that can show a pupil of a stage in which all of
    some class answered alike; where none did, from all classes. As often as it is told again,
    another stage joins, the one where fewest answered otherwise than most first: its cells are the
    ones that tables hide.
    """
    pairs = rule.stage_bands.items()
    bands = ", ".join(f"({sql_literal(stage)}, {sql_literal(band)})" for stage, band in pairs)
    changed: dict[str, set[str]] = {}
    for one in sorted(told):
        noted = con.execute(
            _WITHHOLD.format(survey=one.survey, bands=bands, otherwise=_otherwise(con, one)),
            {"engagement": one.engagement, "survey": one.survey, "variable": one.variable},
        ).fetchall()
        if noted[0][0]:
            changed.setdefault(one.survey, set()).add(one.engagement)
    return changed


def _put_together(
    con: duckdb.DuckDBPyConnection,
    answers: str,
    survey: str,
    variables: Sequence[Variable],
    rule: MicrodataRule,
    engagements: Collection[str] | None,
) -> None:
    """`anonymised_<survey>` of some engagements, with the answers that are not withheld."""
    merged = " ".join(f"when {code} then {into}" for code, into in rule.merged_missing.items())
    columns = []
    for variable in variables:
        name = variable.name
        shown = f"case answers.{name} {merged} else answers.{name} end"
        columns.append(f"if(withheld.no_{name}, {rule.withheld_code}, {shown})::tinyint as {name}")
    rows = f"""
        select {", ".join(f"keys.{key}" for key in KEYS)}, keys.weight, {", ".join(columns)},
            keys.row_order,
        from (from anonymised_keys where {of_engagements(engagements)}) as keys
        inner join {answers} as answers using (record_id, engagement, survey)
        inner join withheld_{survey} as withheld on {_same("keys", "withheld", (*KEYS, _FORM))}
        where survey = {sql_literal(survey)}
    """
    _make(con, f"anonymised_{survey}", rows, engagements)


def _off_most(
    con: duckdb.DuckDBPyConnection, answers: str, survey: str, variables: Sequence[Variable]
) -> dict[str, int]:
    """Engagement → how far the furthest share of a sensitive answer is off, in points.

    Off that of all who answered, whether or not they have a record in the file.
    """
    names = ", ".join(variable.name for variable in variables if variable.is_sensitive)
    if not names:
        return {}
    found = con.execute(
        f"""
        with told as (
            select engagement, true as is_of_file, {names} from anonymised_{survey}
            union all
            select engagement, false, {names} from {answers}
            where survey = {sql_literal(survey)}
        ),
        counted as (
            select engagement, variable, value, count_if(is_of_file) as file_n,
                count_if(not is_of_file) as all_n,
            from (unpivot told on {names} into name variable value value)
            where value >= 0
            group by all
        ),
        shares as (
            select engagement,
                100.0 * file_n / nullif(sum(file_n) over of_variable, 0)
                - 100.0 * all_n / sum(all_n) over of_variable as off,
                sum(all_n) over of_variable as answered_n,
            from counted
            window of_variable as (partition by engagement, variable)
        )
        select engagement, (ceil(max(abs(off)) / {OFF_STEP}) * {OFF_STEP})::integer
        from shares
        where answered_n >= {COMPARED_LEAST} and off is not null
        group by engagement
        """
    ).fetchall()
    return {str(engagement): int(points) for engagement, points in found}


def _whole(survey: str, variables: Sequence[Variable], rule: MicrodataRule) -> str:
    """SQL: engagement → variables that are withheld of all of a stage who were asked.

    Of the file, not of how it came about: the next one of the same answers says the same.
    """
    bands = ", ".join(sql_literal(band) for band in sorted(set(rule.stage_bands.values())))
    flags = ", ".join(
        f"(bool_and(no_{name} or skipped_{name} = n) and bool_or(no_{name}))::integer as {name}"
        for name in (variable.name for variable in variables)
    )
    of_class = (*KEYS, _FORM)
    return f"""
        select engagement, count(distinct variable) as n
        from (
            unpivot (
                select withheld.engagement, withheld.stage, {flags}
                from withheld_{survey} as withheld
                inner join counted_{survey} as counted on {_same("withheld", "counted", of_class)}
                where withheld.stage not in ({bands})
                group by withheld.engagement, withheld.stage
            )
            on {", ".join(variable.name for variable in variables)} into name variable value is_gone
        )
        where is_gone = 1
        group by engagement
    """


def _summary(
    con: duckdb.DuckDBPyConnection,
    pupils: str,
    answers: str,
    survey: str,
    variables: Sequence[Variable],
    rule: MicrodataRule,
) -> list[AnonymisedSurvey]:
    all_hidden = "".join(f" + (answers.{v.name} = {rule.withheld_code})::int" for v in variables)
    rows = con.execute(
        f"""
        with pupils as (
            select engagement, count(*) as n from anonymised_pupils
            where survey = {sql_literal(survey)} group by engagement
        ),
        coarser as (
            select engagement, sum(n)::bigint as n from anonymised_classes
            where survey = {sql_literal(survey)}
                and (stage, simd_group, any_support)
                    is distinct from (kept_stage, kept_simd_group, kept_any_support)
            group by engagement
        ),
        shown as (
            select answers.engagement, count(*) as n, sum(0 {all_hidden})::bigint as hidden_n
            from anonymised_{survey} as answers group by answers.engagement
        ),
        given_up as (
            select keys.engagement,
                count(*) filter (keys.stage is distinct from known.stage) as stage_n,
                count(*) filter (
                    keys.simd_group is null and known.simd_group is not null
                ) as simd_n,
                count(*) filter (
                    keys.any_support is null and known.any_support is not null
                ) as support_n,
            from anonymised_keys as keys
            inner join anonymised_pupils as known using (record_id, engagement, survey)
            where keys.survey = {sql_literal(survey)}
            group by keys.engagement
        ),
        classes as (
            select engagement, count(*) as n, sum(withheld_n)::bigint as withheld_n
            from withheld_{survey} group by engagement
        ),
        whole as ({_whole(survey, variables, rule)})
        select pupils.engagement, coalesce(shown.n, 0), pupils.n - coalesce(shown.n, 0),
            coalesce(coarser.n, 0), coalesce(classes.n, 0), coalesce(classes.withheld_n, 0),
            coalesce(shown.hidden_n, 0), coalesce(whole.n, 0), coalesce(given_up.stage_n, 0),
            coalesce(given_up.simd_n, 0), coalesce(given_up.support_n, 0),
        from pupils
        left join shown using (engagement)
        left join coarser using (engagement)
        left join classes using (engagement)
        left join whole using (engagement)
        left join given_up using (engagement)
        order by pupils.engagement
        """
    ).fetchall()
    most, off_most = rule.special_uniques_most, _off_most(con, answers, survey, variables)
    found = []
    for engagement, records, left_out, coarser, classes, withheld, *more in rows:
        own = f"where engagement = {sql_literal(engagement)} and survey = {sql_literal(survey)}"
        hidden_n, whole_n, *given_up = more
        entry = AnonymisedSurvey(
            engagement,
            survey,
            records,
            left_out,
            coarser,
            classes,
            withheld,
            hidden_n,
            whole_n,
            dict(zip(("stage", "simd_group", "any_support"), given_up, strict=True)),
            off_most.get(engagement, 0),
            special_uniques(con, f"(from {pupils} {own})", _KNOWN, most),
            special_uniques(con, f"(from anonymised_{survey} {own})", _SHOWN, most),
        )
        found.append(entry)
    # Who was alone is nobody's business once it was counted.
    con.execute("drop table if exists temp.suda_scores")
    return found
