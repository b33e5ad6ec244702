"""Syntax that derives scores and indicators from a deposit's answers: SPSS, Stata, R and SQL.

Belongs here: the codebook's scales, composites and indicators written as commands that an
analyst runs on the deposited file, and as the columns that the platform counts in it as a reader
would. Does not belong here: how the platform itself scores (one
dbt macro); a test runs what is written here beside it and beside a count by hand.

A missing answer is any code below 0, whatever the reason. What needs a conversion table or a
lookup of two answers together is named at the end of each file as not derived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from rcs_assets.codebook import Codebook
from rcs_assets.codebook.model import Indicator, Instrument, Item, RuleKind, Scale, ScaleMethod
from rcs_assets.release.sav import dta_names

NAME = "derive_{file}"
SUFFIXES = (".sps", ".do", ".R")
# No code of an answer is larger.
MOST_CODE = 999
_LINE = 200
_SUMS = (ScaleMethod.PRORATED_SUM, ScaleMethod.SUM, ScaleMethod.MEAN)
_ANSWERED = (RuleKind.CODES, RuleKind.ALL_OF, RuleKind.ANY_OF)


@dataclass(frozen=True)
class Derived:
    """One new variable: its name, what it is, and `value` where `condition` holds, else missing.

    Both are in the words of one language; an empty condition always holds. `whole_name` is the
    one that the codebook has, where a language may cut it.
    """

    name: str
    title: str
    value: str
    condition: str = ""
    whole_name: str = ""


@dataclass(frozen=True)
class _Dialect:
    """How one language says it.

    `name`: a variable's name in its file. `within`: 1 where an answer lies in a range, else 0,
    also where it is missing. `item`: what an answer counts, 0 where it is missing. `one_of`: an
    answer is one of some codes. `define`: a command. `is_known`: a score is there. `load`: how a
    file is opened. `tail`: what follows all commands, with places for first and last answer.
    """

    comment: Callable[[str], str]
    name: Callable[[str], str]
    within: Callable[[str, int, int], str]
    item: Callable[[str, Item], str]
    one_of: Callable[[str, Sequence[int]], str]
    one_text_of: Callable[[str, Sequence[str]], str]
    is_known: Callable[[str], str]
    floor: Callable[[str], str]
    and_: str
    or_: str
    define: Callable[[Derived], str]
    load: Callable[[str], str]
    head: str = ""
    tail: str = ""


def _points(variable: str, item: Item, times: str, equal: str) -> str:
    """The points of each answer, added up over the answers that it could be."""
    answers = range(item.minimum, item.maximum + 1)
    return " + ".join(
        f"{points} {times} ({variable} {equal} {code})"
        for code, points in zip(answers, item.points, strict=True)
    )


def _turned(variable: str, item: Item) -> str:
    return f"({item.minimum + item.maximum} - {variable})" if item.is_reversed else variable


def _sps_item(variable: str, item: Item) -> str:
    if item.points:
        return _points(variable, item, "*", "=")
    return f"RANGE({variable},{item.minimum},{item.maximum}) * {_turned(variable, item)}"


def _do_item(variable: str, item: Item) -> str:
    if item.points:
        return _points(variable, item, "*", "==")
    inside = f"inrange({variable},{item.minimum},{item.maximum})"
    return f"cond({inside}, {_turned(variable, item)}, 0)"


def _r_item(variable: str, item: Item) -> str:
    inside = f"inside({variable}, {item.minimum}, {item.maximum})"
    counted = _points(variable, item, "*", "==") if item.points else _turned(variable, item)
    return f"ifelse({inside}, {counted}, 0)"


def _sql_item(variable: str, item: Item) -> str:
    inside = f"{variable} between {item.minimum} and {item.maximum}"
    answers = range(item.minimum, item.maximum + 1)
    whens = [f"when {code} then {n}" for code, n in zip(answers, item.points, strict=False)]
    counted = f"case {variable} {' '.join(whens)} end" if whens else _turned(variable, item)
    return f"if({inside}, {counted}, 0)"


def _sps_command(d: Derived) -> str:
    """Long commands go over several lines, which older versions need."""
    start = f"IF ({d.condition}) {d.name}" if d.condition else f"COMPUTE {d.name}"
    lines = [""]
    for word in f"{start} = ({d.value}).".split(" "):
        if len(lines[-1]) + len(word) > _LINE:
            lines.append(" ")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join([*lines, f"VARIABLE LABELS {d.name} {_quoted(d.title)}."])


def _do_command(d: Derived) -> str:
    where = f" if {d.condition}" if d.condition else ""
    label = f"label variable {d.name} {_quoted(d.title[:80])}"
    whole = f"* {d.name} is {d.whole_name}\n" if d.whole_name not in ("", d.name) else ""
    return f"{whole}generate {d.name} = ({d.value}){where}\n{label}"


def _r_command(d: Derived) -> str:
    value = f"ifelse({d.condition}, {d.value}, NA)" if d.condition else d.value
    return f"{d.name} <- as.numeric({value})  # {d.title}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'


def _codes(codes: Sequence[int]) -> str:
    return ", ".join(map(str, codes))


def _texts(values: Sequence[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _stata_texts(values: Sequence[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


def _sps() -> _Dialect:
    return _Dialect(
        comment=lambda text: f"* {text}.",
        name=str,
        within=lambda v, low, high: f"RANGE({v},{low},{high})",
        item=_sps_item,
        one_of=lambda v, codes: f"ANY({v}, {_codes(codes)})",
        one_text_of=lambda v, values: f"ANY({v}, {_texts(values)})",
        is_known=lambda v: f"NOT MISSING({v})",
        floor=lambda v: f"TRUNC({v})",
        and_=" AND ",
        or_=" OR ",
        define=_sps_command,
        load=lambda file: f"GET FILE='{file}.sav'",
        # Nothing is missing while it is counted: RANGE and ANY are then 0, never unknown.
        head="MISSING VALUES ALL ().",
        # What was computed is worked out first: else with missing values, which hold at once.
        tail="EXECUTE.\nMISSING VALUES {first} TO {last} (-9 THRU -1).",
    )


def _do(named: Mapping[str, str]) -> _Dialect:
    def name(variable: str) -> str:
        return named[variable]

    return _Dialect(
        comment=lambda text: f"* {text}",
        name=name,
        within=lambda v, low, high: f"inrange({v},{low},{high})",
        item=_do_item,
        one_of=lambda v, codes: f"inlist({v}, {_codes(codes)})",
        one_text_of=lambda v, values: f"inlist({v}, {_stata_texts(values)})",
        is_known=lambda v: f"!missing({v})",
        floor=lambda v: f"floor({v})",
        and_=" & ",
        or_=" | ",
        define=_do_command,
        load=lambda file: f'use "{file}.dta"',
    )


def _r() -> _Dialect:
    return _Dialect(
        comment=lambda text: f"# {text}",
        name=lambda v: f"answers${v}",
        within=lambda v, low, high: f"inside({v}, {low}, {high})",
        item=_r_item,
        one_of=lambda v, codes: f"{v} %in% c({_codes(codes)})",
        one_text_of=lambda v, values: f"{v} %in% c({_texts(values)})",
        is_known=lambda v: f"!is.na({v})",
        floor=lambda v: f"floor({v})",
        and_=" & ",
        or_=" | ",
        define=_r_command,
        load=lambda file: (
            f'answers <- haven::read_sav("{file}.sav", user_na = TRUE), or '
            f'read.delim("{file}.tab"); not the .dta, in which long names are cut'
        ),
        head="inside <- function(x, low, high) !is.na(x) & x >= low & x <= high",
    )


def _sql() -> _Dialect:
    return _Dialect(
        comment=lambda text: f"-- {text}",
        name=str,
        within=lambda v, low, high: f"({v} between {low} and {high})::integer",
        item=_sql_item,
        one_of=lambda v, codes: f"{v} in ({_codes(codes)})",
        one_text_of=lambda v, values: f"coalesce({v}, '') in ({_texts(values)})",
        is_known=lambda v: f"{v} is not null",
        floor=lambda v: f"floor({v})",
        and_=" and ",
        or_=" or ",
        define=lambda d: f"if({d.condition or 'true'}, ({d.value})::double, null) as {d.name}",
        load=lambda file: f"from '{file}.parquet'",
    )


@dataclass(frozen=True)
class AnswerFile:
    """The file that syntax is written for.

    `name`: of a survey, or of a part of its file. `columns`: in its order, answers last.
    `stage_bands`: stage → the band that may stand in its place.
    """

    name: str
    survey: str
    columns: Sequence[str]
    answers: Sequence[str]
    stage_bands: Mapping[str, str]


def write_syntax(codebook: Codebook, file: AnswerFile, mark: str) -> dict[str, str]:
    """Text of the three files that derive scores and indicators of one file, by their suffix.

    Args:
        codebook: scales, cut-offs and indicators.
        file: what is derived needs no other columns.
        mark: SIMULATED or delivered.
    """
    dialects = (_sps(), _do(dta_names([*file.columns, *_new_names(codebook, file)])), _r())
    return {
        suffix: _text(codebook, file, mark, dialect)
        for suffix, dialect in zip(SUFFIXES, dialects, strict=True)
    }


def sql_columns(codebook: Codebook, file: AnswerFile) -> list[str]:
    """Scores and indicators of a file as columns of a select from it, in an order that works."""
    dialect = _sql()
    return [dialect.define(derived) for derived in _derived(codebook, file, dialect)]


def answers_behind(codebook: Codebook, file: AnswerFile, indicator: Indicator) -> list[str]:
    """The answers of which the syntax derives an indicator."""
    if indicator.rule.kind in _ANSWERED:
        return sorted(set(indicator.rule.variables))
    score = _score_of(codebook, indicator)
    instruments = _instruments(codebook, file.survey)
    parts = {
        part for i in instruments for c in i.composites if c.name == score for part in c.scales
    }
    scales = [scale for scale, _ in _scales(codebook, file) if scale.name in (parts or {score})]
    return sorted({item.variable for scale in scales for item in scale.items})


def _instruments(codebook: Codebook, survey: str) -> list[Instrument]:
    return [i for i in codebook.instruments.values() if survey in i.surveys]


def _scales(codebook: Codebook, file: AnswerFile) -> list[tuple[Scale, tuple[str, ...]]]:
    """Scales that add up answers of the file, with the stages that are asked."""
    return [
        (scale, instrument.stages)
        for instrument in _instruments(codebook, file.survey)
        for scale in instrument.scales
        if scale.method in _SUMS and not scale.zero_variable and _has_items(scale, file)
    ]


def _has_items(scale: Scale, file: AnswerFile) -> bool:
    return {item.variable for item in scale.items} <= set(file.answers)


def _scores(codebook: Codebook, file: AnswerFile) -> dict[str, tuple[str, ...]]:
    """Scores that the syntax makes: their name, and the stages that have them."""
    found = {scale.name: stages for scale, stages in _scales(codebook, file)}
    for instrument in _instruments(codebook, file.survey):
        for composite in instrument.composites:
            if set(composite.scales) <= set(found):
                found[composite.name] = instrument.stages
    return found


def _score_of(codebook: Codebook, indicator: Indicator) -> str:
    rule = indicator.rule
    return codebook.cutoff_sets[rule.cutoff_set].score if rule.cutoff_set else rule.score


def derived_indicators(codebook: Codebook, file: AnswerFile) -> list[Indicator]:
    """The indicators that the syntax derives of a file."""
    scores, asked = _scores(codebook, file), set(file.answers)
    return [
        indicator
        for indicator in codebook.indicators.values()
        if indicator.survey == file.survey
        and (
            set(indicator.rule.variables) <= asked
            if indicator.rule.kind in _ANSWERED
            else _score_of(codebook, indicator) in scores
        )
    ]


def _converted_indicators(codebook: Codebook, file: AnswerFile) -> list[Indicator]:
    """Indicators whose answers are in the file, and that no sum of them makes."""
    made = {indicator.name for indicator in derived_indicators(codebook, file)}
    there = {
        name
        for instrument in _instruments(codebook, file.survey)
        for scale in instrument.scales
        if _has_items(scale, file)
        for name in (scale.name, scale.metric_name)
        if name
    }
    return [
        indicator
        for indicator in codebook.indicators.values()
        if indicator.survey == file.survey
        and indicator.name not in made
        and _score_of(codebook, indicator) in there
    ]


def _new_names(codebook: Codebook, file: AnswerFile) -> list[str]:
    scales = [f"{s.name}_{part}" for s, _ in _scales(codebook, file) for part in ("n", "sum")]
    indicators = [i.name for i in derived_indicators(codebook, file)]
    return [*scales, *_scores(codebook, file), *indicators]


def _text(codebook: Codebook, file: AnswerFile, mark: str, d: _Dialect) -> str:
    lines = [
        d.comment(f"{mark}: scores and indicators of the file {file.name}, from its answers"),
        d.comment("generated from the codebook; a code below 0 is no answer"),
        d.comment(f"open the file first: {d.load(file.name)}"),
        d.head,
        *(d.define(derived) for derived in _derived(codebook, file, d)),
        d.tail.format(first=file.answers[0], last=file.answers[-1]),
    ]
    lines += [
        d.comment(f"not derived here, since it needs a conversion table: {indicator.name}")
        for indicator in _converted_indicators(codebook, file)
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _derived(codebook: Codebook, file: AnswerFile, d: _Dialect) -> Iterator[Derived]:
    for scale, _ in _scales(codebook, file):
        yield from _of_scale(scale, d)
    for instrument in _instruments(codebook, file.survey):
        for composite in instrument.composites:
            if composite.name in _scores(codebook, file):
                parts = [d.name(name) for name in composite.scales]
                yield Derived(
                    d.name(composite.name),
                    composite.title,
                    " + ".join(parts),
                    d.and_.join(d.is_known(part) for part in parts),
                )
    for indicator in derived_indicators(codebook, file):
        yield _of_indicator(codebook, indicator, file, d)


def _of_scale(scale: Scale, d: _Dialect) -> Iterator[Derived]:
    n, total, score = (d.name(f"{scale.name}{part}") for part in ("_n", "_sum", ""))
    items = [(d.name(item.variable), item) for item in scale.items]
    yield Derived(
        n,
        f"{scale.title}: questions answered",
        " + ".join(d.within(variable, i.minimum, i.maximum) for variable, i in items),
    )
    yield Derived(
        total,
        f"{scale.title}: sum of what was answered",
        " + ".join(d.item(variable, item) for variable, item in items),
    )
    size = len(scale.items)
    value = {
        ScaleMethod.PRORATED_SUM: d.floor(f"{total} * {size} / {n} + 0.5"),
        ScaleMethod.SUM: total,
        ScaleMethod.MEAN: f"{total} / {n}",
    }[scale.method]
    needed = size if scale.method is ScaleMethod.SUM else scale.min_answered
    yield Derived(score, scale.title, value, f"{n} >= {needed}")


def _of_indicator(
    codebook: Codebook, indicator: Indicator, file: AnswerFile, d: _Dialect
) -> Derived:
    rule = indicator.rule
    if rule.kind in _ANSWERED:
        variables = [d.name(name) for name in rule.variables]
        base = [
            d.one_of(v, rule.base_codes) if rule.base_codes else d.within(v, 0, MOST_CODE)
            for v in variables
        ]
        joint = d.or_ if rule.kind is RuleKind.ANY_OF else d.and_
        value = joint.join(f"({d.one_of(v, rule.positive_codes)})" for v in variables)
        asked = [set(codebook.variables[name].stages) for name in rule.variables]
        stages = set.intersection(*asked)
    else:
        name = _score_of(codebook, indicator)
        score = d.name(name)
        base = [d.is_known(score)]
        value = _of_score(codebook, indicator, score, d)
        stages = set(_scores(codebook, file)[name])
    counted, there = set(indicator.stages), codebook.stages_of(file.survey)
    if not stages & there <= counted:
        base.append(d.one_text_of(d.name("stage"), _shown_stages(counted, there, file)))
    name, title = indicator.name, indicator.title
    return Derived(d.name(name), title, value, d.and_.join(base), whole_name=name)


def _shown_stages(
    counted: AbstractSet[str], there: AbstractSet[str], file: AnswerFile
) -> list[str]:
    """Stages that are counted, and bands of stages of which all are."""
    bands = sorted({file.stage_bands[stage] for stage in there if stage in file.stage_bands})
    of_band = {b: {s for s in there if file.stage_bands.get(s) == b} for b in bands}
    return [*sorted(counted), *(band for band in bands if of_band[band] <= counted)]


def _of_score(codebook: Codebook, indicator: Indicator, score: str, d: _Dialect) -> str:
    rule = indicator.rule
    if rule.kind is RuleKind.MEAN:
        return score
    if rule.kind is RuleKind.CUTOFF:
        cut = codebook.cutoff_sets[rule.cutoff_set]
        return f"({score} {cut.operator} {_number(cut.cut)})"
    ends = [
        f"({score} {sign} {_number(end)})"
        for sign, end in ((">=", rule.lower), ("<=", rule.upper))
        if end is not None
    ]
    return d.and_.join(ends)


def _number(value: float) -> str:
    return f"{value:g}"
