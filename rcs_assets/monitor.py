"""The monitor of fieldwork: one internal page of flow and response, marked not for release.

Belongs here: turning what linkage recorded of fieldwork into a document, and writing it. Does not
belong here: counting (`linkage/fieldwork.py`), looks (`reporting/render.py`), anything that is
released: counts are exact, down to one pupil, and stay with the operator (policy.md).

Reads the operator's records, never the warehouse, so that it can be made while a run is going.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rcs_assets.linkage.fieldwork import (
    COUNTS,
    Fieldwork,
    ResponseRules,
    load_response_rules,
    read_fieldwork,
)
from rcs_assets.programme import Programme
from rcs_assets.reporting.blocks import (
    Block,
    Cell,
    Column,
    Contents,
    Document,
    Fold,
    Paragraph,
    Row,
    Section,
    Table,
    Terms,
    Tile,
    Tiles,
    internal_page,
    plain,
)
from rcs_assets.reporting.render import render_html
from rcs_assets.storage import Home, write_atomically

PAGE = "monitor.html"
NOT_FOR_RELEASE = "Not for release"
_SURVEYS = {
    "sample": "Sample file",
    "primary": "Primary",
    "secondary": "Secondary",
    "parent": "Parents",
    "adapted": "Adapted mode",
}
_STEPS = {
    "invited": "invited",
    "opted_in": "opted in (special schools)",
    "opted_out": "of these opted out",
    "received": "records received",
    "removed": "removed",
    "usable": "usable",
    "usable_on_form": "of these on the form",
    "not_linked": "not linked to the sample",
    "linked": "linked to the sample",
    "with_education": "of these with an education record",
    "with_social_work": "of these with a social work record",
}
_SEXES = {"F": "Girls", "M": "Boys"}


def write_monitor(home: Home, programme: Programme, out: Path | None = None) -> Path:
    """Write the page.

    Args:
        home: the installation; its records of fieldwork.
        programme: names of engagements.
        out: where to; `monitor.html` in the home if not given.

    Returns:
        The page.
    """
    path = out or home.path / PAGE
    found = read_fieldwork(home)
    page = monitor_page(found, programme, load_response_rules(home.config), home.profile == "demo")
    write_atomically(path, render_html(page).decode())
    return path


def monitor_page(
    found: Sequence[Fieldwork], programme: Programme, rules: ResponseRules, is_simulated: bool
) -> Document:
    """The page as a document.

    Args:
        found: what was recorded, one an engagement.
        programme: names.
        rules: rates and their definitions.
        is_simulated: whether the page has to say so.
    """
    sections = tuple(_engagement(one, programme, rules) for one in found)
    simulated = (
        [Paragraph(plain("SIMULATED: every pupil on this page was made up."), "simulated")]
        if is_simulated
        else []
    )
    links = tuple((section.anchor, section.title) for section in sections)
    return internal_page(
        kind="monitor",
        head=f"{'SIMULATED ' if is_simulated else ''}{NOT_FOR_RELEASE}: monitor of fieldwork",
        title="Monitor of fieldwork",
        mark=NOT_FOR_RELEASE,
        kicker=f"{NOT_FOR_RELEASE}: internal to the programme",
        lines="Counts are exact, down to single pupils. A school's response is published "
        "to that school only, in bands.",
        blocks=(
            *simulated,
            Paragraph(plain(_lead(found)), "statement"),
            *([Contents("Engagements", links)] if links else []),
            Section("definitions", 2, "What the words mean", (_definitions(rules),)),
            *sections,
        ),
    )


def _lead(found: Sequence[Fieldwork]) -> str:
    if not found:
        return "Nothing was recorded yet: deliver a sample file, then run: rcs materialise."
    return (
        f"Engagements: {len(found)}. A survey file may be delivered as often as its contractor "
        "sends one: this page shows what the newest holds."
    )


def _definitions(rules: ResponseRules) -> Terms:
    rates = [
        (rate.title, f"{rate.of} divided by {rate.to}: {rate.reason}.") for rate in rules.rates
    ]
    counts = [(name.capitalize(), f"{rules.counts[name]}.") for name in COUNTS]
    return Terms((*counts, *rates), "facts")


def _engagement(one: Fieldwork, programme: Programme, rules: ResponseRules) -> Section:
    item = programme.engagements.get(one.engagement)
    name = f"{item.cpp.council_name}, {item.tranche}" if item else one.engagement
    blocks: list[Block] = [_tiles(one), _flow(one)]
    for survey in ("primary", "secondary"):
        rows = [row for row in one.response if row["survey"] == survey]
        if rows:
            blocks += _survey(one.engagement, survey, rows, rules)
    return Section(one.engagement, 2, name, tuple(blocks))


def _tiles(one: Fieldwork) -> Tiles:
    tiles = []
    for survey in ("primary", "secondary"):
        rows = [row for row in one.response if row["survey"] == survey]
        if rows:
            counts = _sums(rows)
            tiles.append(
                Tile(
                    "plain",
                    _percent(counts["completed"], counts["invited"]),
                    f"{_SURVEYS[survey].lower()} response: {counts['completed']:,} of "
                    f"{counts['invited']:,}",
                )
            )
    return Tiles(tuple(tiles))


def _flow(one: Fieldwork) -> Table:
    """Steps down, surveys across."""
    surveys = [s for s in _SURVEYS if any(row["survey"] == s for row in one.flow)]
    lines: dict[tuple[str, str], dict[str, int]] = {}
    for row in one.flow:
        key = (str(row["step"]), str(row["reason"] or ""))
        lines.setdefault(key, {})[str(row["survey"])] = int(row["n"])
    ordered = sorted(lines, key=lambda key: (list(_STEPS).index(key[0]), key[1]))
    rows = tuple(
        Row(
            plain(_STEPS[step] + (f": {reason.replace('_', ' ')}" if reason else "")),
            tuple(_number(lines[step, reason].get(survey)) for survey in surveys),
        )
        for step, reason in ordered
    )
    columns = (Column("Step"), *(Column(_SURVEYS[survey], "number") for survey in surveys))
    return Table("flow", "From invited to linked, records and pupils", columns, rows, "Flow")


def _survey(
    key: str, survey: str, rows: Sequence[Mapping[str, object]], rules: ResponseRules
) -> Iterator[Block]:
    title = f"{_SURVEYS[survey]} survey"
    by_group = [
        *(
            (f"{stage}", [r for r in rows if r["stage"] == stage])
            for stage in _values(rows, "stage")
        ),
        *((_SEXES[sex], [r for r in rows if r["sex"] == sex]) for sex in _values(rows, "sex")),
    ]
    schools = sorted(
        (
            (_school(rows, code), [r for r in rows if r["seed_code"] == code])
            for code in _values(rows, "seed_code")
        ),
        key=lambda pair: (_share(pair[1]), pair[0]),
    )
    low = [name for name, own in schools if _share(own) * 100 < rules.low_response_pct]
    yield Section(
        f"{key}-{survey}",
        3,
        title,
        (
            _response_table(f"{title}: response by stage and sex", "Group", by_group, rules, set()),
            Paragraph(
                plain(
                    f"{len(low)} of {len(schools)} schools are below "
                    f"{rules.low_response_pct:g} %; the lowest stand first."
                )
            ),
            Fold(
                f"{title}: the {len(schools)} schools",
                (
                    _response_table(
                        f"{title}: response by school", "School", schools, rules, set(low)
                    ),
                ),
                is_open=True,
            ),
        ),
    )


def _response_table(
    caption: str,
    head: str,
    groups: Sequence[tuple[str, Sequence[Mapping[str, object]]]],
    rules: ResponseRules,
    low: set[str],
) -> Table:
    columns = (
        Column(head),
        *(Column(name.capitalize(), "number") for name in COUNTS),
        *(Column(rate.title, "number") for rate in rules.rates),
    )
    rows = []
    for name, own in groups:
        counts = _sums(own)
        rows.append(
            Row(
                plain(f"{name} (low)" if name in low else name),
                (
                    *(_number(counts[count]) for count in COUNTS),
                    *(
                        Cell(_percent(counts[rate.of], counts[rate.to]), "number")
                        for rate in rules.rates
                    ),
                ),
            )
        )
    return Table("response", caption, columns, tuple(rows), caption)


def _school(rows: Sequence[Mapping[str, object]], code: str) -> str:
    name = next((row["school_name"] for row in rows if row["seed_code"] == code), None)
    return f"{name} ({code})" if name else code


def _values(rows: Sequence[Mapping[str, object]], column: str) -> list[str]:
    return sorted({str(row[column]) for row in rows})


def _sums(rows: Sequence[Mapping[str, object]]) -> dict[str, int]:
    return {name: sum(int(str(row[f"{name}_n"])) for row in rows) for name in COUNTS}


def _share(rows: Sequence[Mapping[str, object]]) -> float:
    counts = _sums(rows)
    return counts["completed"] / counts["invited"] if counts["invited"] else 0.0


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _number(n: int | None) -> Cell:
    return Cell("" if n is None else f"{n:,}", "empty" if n is None else "number")
