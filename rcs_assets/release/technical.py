"""The technical report of a package: how its figures came about, by the run that made them.

Belongs here: the report as Markdown, the one source of its page and PDF (`reporting`) and of the
text in a deposit (`documents.py`). Does not belong here: looks, and any figure of a child that
the package does not show itself: what is told is the register, the rules in force, protected
participation, and counts of cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.policy import OutputClass
from rcs_assets.programme.model import Engagement, SurveyWave
from rcs_assets.release.certificate import Audited, rows_in_force
from rcs_assets.release.contents import PUBLIC, Package, Sources
from rcs_assets.release.terms import load_terms
from rcs_assets.storage import sql_literal
from rcs_assets.wellbeing.estimators import Estimators

FILE = "technical_report.md"
KINDS = (PUBLIC, "cpp", "archive")
SIMULATED_MARK = "**SIMULATED: no record is of a real child.**"
_LEVELS = {"all": "All areas", "tranche": "Tranche", "cpp": "Area"}
# Methods of `wellbeing.estimates`, as policy.md (Table B) speaks of them.
_METHODS = {
    "logit": "school clusters, logit t",
    "wilson": "Wilson",
    "t": "mean, t",
    "indicative": "none (quota sample)",
}


@dataclass(frozen=True)
class DescribedMicrodata:
    """Files of anonymised answers: survey → variables in it, and what anonymising did."""

    variables: Mapping[str, int]
    told: Mapping[str, Mapping[str, int | str]]


@dataclass(frozen=True)
class Run:
    """What the reports of all packages of a run share.

    `cells` is package → status → cells of its table estimates.
    """

    release: str
    is_simulated: bool
    sources: Sources
    estimators: Estimators
    audited: Audited
    cells: Mapping[str, Mapping[str, int]]


def technical_report(
    con: duckdb.DuckDBPyConnection,
    package: Package,
    run: Run,
    microdata: DescribedMicrodata | None = None,
) -> str:
    """The report of one package as Markdown.

    Args:
        con: a connection to the warehouse on which `register_sources` ran.
        package: public, of a CPP, or a deposit.
        run: what this run applied and found.
        microdata: its files of answers, where it has some.
    """
    parts = [
        *_head(package, run),
        *_fieldwork(con, package, run),
        *_participation(con, package, run),
        *_measures(con, package, run),
        *_estimation(con, package, run),
        *_protection(package, run),
        *(_microdata(microdata, run.sources.policy.microdata) if microdata else ()),
        *_limits(package),
    ]
    return "\n\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of Markdown, whole numbers with commas; an upright bar in a cell is escaped."""

    def said(cell: object) -> str:
        return f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", "\\|")

    def line(cells: Iterable[object]) -> str:
        return f"| {' | '.join(map(said, cells))} |"

    return "\n".join([line(columns), line("---" for _ in columns), *map(line, rows)])


def _head(package: Package, run: Run) -> list[str]:
    sources = run.sources
    about = "All areas of the programme together"
    if package.engagement:
        engagement = sources.programme.engagements[package.engagement]
        tranche = sources.programme.tranches[engagement.tranche]
        about = f"{engagement.cpp.name}, {tranche.label}"
    made = _table(
        ("what", "which"),
        [
            ("Release", f"{run.release} of {sources.as_of.isoformat()}"),
            ("Package", package.name),
            ("Disclosure policy", sources.policy.version),
            ("Codebook", sources.codebook.version[:12]),
            ("Programme register", sources.programme.version[:12]),
        ],
    )
    mark = [SIMULATED_MARK] if run.is_simulated else []
    lead = f"{about}. This report was written by the run that made the release, from the same data."
    left_out = []
    if sources.left_out and package.kind == PUBLIC:
        left_out = [f"Left out of this release: {', '.join(sorted(sources.left_out))}."]
    return ["# Technical report", *mark, lead, made, *left_out]


def _engagements(con: duckdb.DuckDBPyConnection, package: Package, run: Run) -> list[Engagement]:
    """Those that the package is about, in the order of the register."""
    if package.engagement:
        return [run.sources.programme.engagements[package.engagement]]
    held = {
        row[0]
        for row in con.execute(
            "select distinct engagement from release_geographies where engagement is not null"
        ).fetchall()
    }
    return [e for key, e in run.sources.programme.engagements.items() if key in held]


def _fieldwork(con: duckdb.DuckDBPyConnection, package: Package, run: Run) -> list[str]:
    rows = [
        (
            _area(engagement, run),
            wave.survey,
            load_terms().contractors.get(wave.contractor, wave.contractor),
            _design(wave),
            wave.mode.replace("_", " "),
            " ".join(wave.stages),
            f"{wave.fieldwork_start} to {wave.fieldwork_end}",
        )
        for engagement in _engagements(con, package, run)
        for wave in engagement.waves
    ]
    columns = ("area", "survey", "contractor", "design", "mode", "stages", "fieldwork")
    said = (
        "A census asked every pupil of its stages; a quota sample asked a set number of people, "
        "so its figures are a rough guide without a range."
    )
    return ["## Fieldwork", said, _table(columns, rows)]


def _design(wave: SurveyWave) -> str:
    return f"{wave.design} of {wave.target_n}" if wave.target_n else wave.design


def _area(engagement: Engagement, run: Run) -> str:
    label = run.sources.programme.tranches[engagement.tranche].label
    return f"{engagement.cpp.name}, {label}"


def _participation(con: duckdb.DuckDBPyConnection, package: Package, run: Run) -> list[str]:
    audience = package.name if package.kind == "cpp" else PUBLIC
    own = f"and engagement = {sql_literal(package.engagement)}" if package.engagement else ""
    found = con.execute(
        f"""
        select engagement, survey, status, respondents_n, roll_n, response_band, schools_n
        from disclosure.participation
        where audience = {sql_literal(audience)} and geography_level = 'cpp' {own}
        order by engagement, survey
        """
    ).fetchall()
    rows = []
    for engagement, survey, status, *figures in found:
        shown = ["" if figure is None else figure for figure in figures]
        if status not in ("published", "u"):
            shown = [f"[{status}]"] * len(figures)
        rows.append((_area(run.sources.programme.engagements[engagement], run), survey, *shown))
    columns = ("area", "survey", "took part", "on the roll", "response", "schools")
    said = "Rounded by the disclosure policy. A mark in brackets says why a figure is not shown."
    return ["## Who took part", said, _table(columns, rows)] if rows else []


def _measures(con: duckdb.DuckDBPyConnection, package: Package, run: Run) -> list[str]:
    codebook = run.sources.codebook
    held = {wave.survey for e in _engagements(con, package, run) for wave in e.waves}
    surveys = dict.fromkeys(i.survey for i in codebook.indicators.values() if i.survey in held)
    measures = [
        (
            survey,
            sum(i.survey == survey for i in codebook.indicators.values()),
            sum(i.survey == survey and i.is_sensitive for i in codebook.indicators.values()),
        )
        for survey in surveys
    ]
    cutoffs = [
        (c.name.replace("_", " "), c.score.replace("_", " "), f"{c.operator} {c.cut:g}", c.dated)
        for c in codebook.cutoff_sets.values()
    ]
    return [
        "## From answers to measures",
        "Definition, base and source of each measure stand in the table indicators; the share is "
        "of valid answers unless the definition says otherwise. Answers that were not asked, not "
        "given or not valid are no part of it.",
        _table(("survey", "measures", "of them sensitive"), measures),
        "Cut-offs are frozen: they are never worked out again from newer answers.",
        _table(("cut-off", "score", "counts from", "dated"), cutoffs),
    ]


def _estimation(con: duckdb.DuckDBPyConnection, package: Package, run: Run) -> list[str]:
    rules, methods = run.estimators, _methods(con, package)
    return [
        "## Weights, ranges and comparisons",
        "Answers of pupils are raked to the roll by area, stage and sex, for areas and above; "
        f"a class that would weigh more than {rules.weight_ratio_limit:g} times its area's mean "
        "is joined with another one first. Schools and clusters have no weights.",
        f"The likely range is the {rules.confidence:.0%} interval. Where an area has at least "
        f"{rules.schools_for_clusters} schools of a survey, it is made from them as clusters; "
        "where it has fewer, it is the Wilson interval on the pupils divided by the design effect "
        f"of all areas, at least {rules.design_effect_floor:g}. A school's is the Wilson interval "
        "of its pupils.",
        *([_table(("level", "survey", "method", "places"), methods)] if methods else []),
        "A school is compared with the other schools of its area, a cluster with the rest of it. "
        "Better or worse is said only where the gap is at least "
        f"{rules.comparison_least_points:g} points (of a mean "
        f"{rules.comparison_least_sd:g} standard deviations) and a test holds at "
        f"{rules.comparison_alpha:g}: Benjamini-Hochberg over the measures of one report, Holm "
        f"over the {len(rules.headlines)} headline measures of an area.",
    ]


def _methods(con: duckdb.DuckDBPyConnection, package: Package) -> list[tuple[object, ...]]:
    """Level, survey, method of a result, and of how many places; schools are told of in words."""
    own = ""
    if package.engagement:
        key = sql_literal(package.engagement)
        own = f"and (engagement = {key} or geography_level in ('all', 'tranche'))"
    found = con.execute(
        f"""
        select geography_level, survey, method, count(distinct geography_code)
        from wellbeing.estimates
        where list_contains({list(_LEVELS)}, geography_level) and breakdown = 'total'
            and method in ({", ".join(map(sql_literal, _METHODS))}) {own}
        group by geography_level, survey, method
        order by list_position({list(_LEVELS)}, geography_level), survey, method
        """
    ).fetchall()
    return [(_LEVELS[level], survey, _METHODS[method], n) for level, survey, method, n in found]


def _protection(package: Package, run: Run) -> list[str]:
    policy, words = run.sources.policy, run.audited.words()
    cells = run.cells[package.name]
    rules = [_threshold(row) for row in rows_in_force(package, policy)]
    return [
        "## Disclosure control",
        "A cell is hidden where its base, or the pupils who gave the answer, or those who did "
        "not, are fewer than the rule's number; sensitive measures add to it. Then more cells are "
        "hidden, until no hidden one can be worked out. Shown figures are rounded.",
        _table(("rule", "base", "with and without", "per cent to", "n to"), rules),
        _table(
            ("status", "meaning", "cells"),
            ((status, policy.statuses[status], n) for status, n in cells.items()),
        ),
        "All packages of the release were attacked together. Coalitions of readers: "
        f"{words['coalitions']:,}. Quantities attacked: {words['attacked']:,}, with "
        f"{words['programs']:,} linear programs. Unsafe: {words['unsafe']:,}.",
    ]


def _threshold(row: OutputClass) -> tuple[object, ...]:
    n_step = f"{row.n_step:g}" if row.n_step else ""
    return row.title, row.base_said, row.numerator or "", row.pct_said, n_step


def _microdata(microdata: DescribedMicrodata, rule: MicrodataRule) -> list[str]:
    rows = [
        (
            survey,
            told["records"],
            microdata.variables[survey],
            told["left_out"],
            told["records_with_coarser_keys"],
            told["classes_of_keys"],
            told["answers_withheld_in_classes"],
        )
        for survey, told in microdata.told.items()
    ]
    columns = ("survey", "records", "variables", "left out", "with coarser keys",
               "classes of keys", "answers withheld")  # fmt: skip
    return [
        "## Files of answers, and what anonymising lost",
        _table(columns, rows),
        "Counts of pupils, records and answers are to the nearest 10 (1 to 9 read <10), since this "
        "document is open; classes of keys are counted exactly. "
        '"Left out" and "with coarser keys" count pupils; "answers withheld" '
        f"counts sensitive variables by class of keys. At least {rule.k} records share each "
        "combination of area, survey, stage, sex, SIMD group and support that occurs, with what "
        "was asked where forms of a questionnaire leave something out (a class); in each, "
        f"every sensitive variable has at least {rule.l} values or is withheld, and so it is in as "
        "many other classes of about the same size. Where the tables and what a file still counts "
        "would tell what is withheld, the question is withheld of whole stages.",
        "A record's weight is the number of pupils on the roll that it stands for, the mean of "
        f"its area, stage and sex, in steps of {rule.weight_step}. Finer weights would tell "
        "schools apart.",
        "Missing values have codes from -9 to -1. Codes that tell the contractor or the version "
        "of a questionnaire are merged.",
    ]


def _limits(package: Package) -> list[str]:
    said = [
        "Some pupils were away, did not answer, or had opted out: weights bring stages and sexes "
        "back to the roll, and nothing else. Answers are of one day.",
        "Areas came forward of their own accord, in different years. All areas together are not "
        "Scotland, and two areas asked in different years are not a change over time.",
    ]
    if package.kind != "archive":
        said.append(
            "Support that could not be joined to an answer reads as none: the table reach gives "
            "the observed share, one corrected for missed links, and its bounds. Link rates stay "
            "in the safe haven."
        )
    return ["## Limits", *said]
