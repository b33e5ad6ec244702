"""Need and reach, support without answers, and spend by tier, as parts of a page.

Belongs here: views of the tables `reach`, `recipients` and `spend` of one package. Does not
belong here: how they were made or protected (rooms services and disclosure). Never said:
over-reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rcs_assets.reporting import charts, wording
from rcs_assets.reporting.charts import Chart, NotDrawn
from rcs_assets.reporting.package import SHOWN, Reach, Recipient, Spend
from rcs_assets.reporting.settings import Settings


@dataclass(frozen=True)
class ReachRow:
    """Pupils with one need level and what of them have one kind of support on record."""

    level: str
    service: str
    chart: Chart
    value: str
    span: str
    corrected: str
    bounds: str
    n: str


@dataclass(frozen=True)
class ReachTable:
    """One need: who is reached, who is not, and support without a reported need.

    No rows where no figure is shown.
    """

    need: str
    title: str
    sentences: tuple[str, ...]
    rows: tuple[ReachRow, ...]


@dataclass(frozen=True)
class RecipientRow:
    """Pupils of one survey with one kind of support on record: what share did not answer."""

    survey: str
    service: str
    value: str
    n: str


@dataclass(frozen=True)
class SpendRow:
    """One sector: its tiers as one bar and as pounds; `prevention` is a share as text."""

    sector: str
    chart: Chart
    tiers: tuple[str, ...]
    total: str
    prevention: str


@dataclass(frozen=True)
class SpendTable:
    """Spend by sector and tier; `legend` is class, word and explanation of a tier."""

    legend: tuple[tuple[str, str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[SpendRow, ...]
    hidden: int
    per_child: str


def reach_tables(
    rows: Iterable[Reach], settings: Settings, engagement: str
) -> tuple[ReachTable, ...]:
    """One table a need, from the CPP's total rows; none where the package has no reach."""
    needs: dict[str, list[Reach]] = {}
    for row in rows:
        if row.engagement == engagement and row.breakdown == "total":
            needs.setdefault(row.need, []).append(row)
    return tuple(_reach_table(need, found, settings) for need, found in needs.items())


def _reach_table(need: str, found: Sequence[Reach], settings: Settings) -> ReachTable:
    words = settings.reach
    by_key = {(row.need_level, row.service): row for row in found}
    drawn = [
        by_key[level, service]
        for level in words.levels
        for service in words.drawn
        if (level, service) in by_key
    ]
    title = words.needs.get(need, need.replace("_", " ").capitalize())
    return ReachTable(
        need=need,
        title=title,
        sentences=_reach_sentences(by_key, words.levels),
        rows=tuple(_reach_row(row, settings) for row in drawn)
        if any(row.status in SHOWN for row in drawn)
        else (),
    )


def _reach_sentences(
    by_key: Mapping[tuple[str, str], Reach], levels: Mapping[str, str]
) -> tuple[str, ...]:
    """What was found, and apart from it support where no need was reported."""
    order = list(levels)
    high, none = by_key.get((order[0], "any_service")), by_key.get((order[-1], "any_service"))
    said = []
    if high is not None and high.status in SHOWN:
        said.append(
            f"Of pupils with high need, {_pct(high.observed_pct)} have some support on record."
        )
    if none is not None and none.status in SHOWN:
        said.append(
            f"Support recorded, no need reported: {_pct(none.observed_pct)} of pupils who "
            "reported no need."
        )
    if not said and not any(row.status in SHOWN for row in by_key.values()):
        return ("Results are not shown.",)
    return tuple(said)


def _reach_row(row: Reach, settings: Settings) -> ReachRow:
    words = settings.reach
    level = words.levels[row.need_level]
    service = words.services.get(row.service, row.service.replace("_", " "))
    if row.status not in SHOWN:
        mark = f"[{row.status}]"
        chart = NotDrawn(f"{mark} {settings.marks[row.status].short}")
        return ReachRow(level, service, chart, mark, "", mark, mark, mark)
    span = f"{_pct(row.ci_low)} to {_pct(row.ci_high)}" if row.ci_low else ""
    says = f"{_pct(row.observed_pct)} reached" + (f", likely range {span}" if span else "")
    flag = " [u]" if row.status == "u" else ""
    return ReachRow(
        level,
        service,
        charts.ShareBar(
            f"{level}: {service}",
            says,
            charts.PER_CENT.dot(row.observed_pct, row.ci_low, row.ci_high),
        ),
        _pct(row.observed_pct) + flag,
        span,
        _pct(row.corrected_pct) if row.corrected_pct else "[x]",
        f"{_pct(row.bound_low)} to {_pct(row.bound_high)}" if row.bound_low else "[x]",
        wording.thousands(row.n) if row.n else "[x]",
    )


def recipient_rows(
    rows: Iterable[Recipient], settings: Settings, engagement: str
) -> tuple[RecipientRow, ...]:
    """Of those with support on record, who did not answer; none where no figure is shown."""
    by_key = {(row.survey, row.service): row for row in rows if row.engagement == engagement}
    found = [
        by_key[survey, service]
        for survey in settings.surveys
        for service in settings.reach.drawn
        if (survey, service) in by_key
    ]
    if not any(row.status in SHOWN for row in found):
        return ()
    return tuple(_recipient_row(row, settings) for row in found)


def _recipient_row(row: Recipient, settings: Settings) -> RecipientRow:
    names = settings.surveys[row.survey].who, settings.reach.services[row.service]
    if row.status not in SHOWN:
        return RecipientRow(*names, f"[{row.status}]", f"[{row.status}]")
    flag = " [u]" if row.status == "u" else ""
    return RecipientRow(*names, _pct(row.not_responded_pct) + flag, wording.thousands(row.n))


def _pct(text: str) -> str:
    return f"{wording.number(text)}%"


def spend_table(rows: Iterable[Spend], settings: Settings, engagement: str) -> SpendTable | None:
    """Spend by sector and tier; None where the package has no spend of this engagement.

    Rows of one sector and tier over all ages, funding origins and domains.
    """
    found = {
        (row.sector, row.tier): row
        for row in rows
        if row.engagement == engagement
        and row.age_band == row.funding_origin == row.domain == "all"
    }
    if not found:
        return None
    tiers = settings.spend.tiers
    sectors = sorted({sector for sector, _ in found if sector != "all"})
    table = tuple(_spend_row(found, sector, settings) for sector in [*sectors, "all"])
    return SpendTable(
        legend=tuple((key, word, settings.spend.about[key]) for key, word in tiers.items()),
        columns=tuple(tiers.values()),
        rows=table,
        hidden=sum(row.status not in SHOWN for row in found.values()),
        per_child=_per_child(found.get(("all", "all"))),
    )


def _spend_row(found: Mapping[tuple[str, str], Spend], sector: str, settings: Settings) -> SpendRow:
    tiers = settings.spend.tiers
    cells = {tier: found.get((sector, tier)) for tier in tiers}
    name = "All sectors" if sector == "all" else sector[:1].upper() + sector[1:].replace("_", " ")
    total = found.get((sector, "all"))
    amounts = {
        tier: float(cell.gbp)
        for tier, cell in cells.items()
        if cell is not None and _has_pounds(cell)
    }
    whole = sum(amounts.values())
    if len(amounts) < len(tiers) or not whole:
        # Of a sector on which nothing is spent nothing is hidden.
        mark = "c" if len(amounts) < len(tiers) else "z"
        chart: Chart = NotDrawn(f"[{mark}] {settings.marks[mark].short}")
        prevention = f"[{mark}]"
    else:
        share = sum(amounts[tier] for tier in settings.spend.prevention) / whole
        prevention = f"{int(100 * share + 0.5)}%"
        says = ", ".join(f"{tiers[tier]} {_pounds(cell)}" for tier, cell in cells.items())
        shares = tuple((tier, round(amounts[tier] / whole, 4)) for tier in tiers)
        chart = charts.StackedBar(f"{name}: spend by tier", says, shares)
    return SpendRow(
        name, chart, tuple(_pounds(cell) for cell in cells.values()), _pounds(total), prevention
    )


def _has_pounds(cell: Spend) -> bool:
    return cell.status in SHOWN and bool(cell.gbp)


def _pounds(cell: Spend | None) -> str:
    if cell is None:
        return "[x]"
    return wording.pounds(cell.gbp) if cell.status in SHOWN else f"[{cell.status}]"


def _per_child(total: Spend | None) -> str:
    """A sentence where total and children are both shown; empty otherwise."""
    if total is None or not _has_pounds(total) or not total.children_n:
        return ""
    children = float(total.children_n)
    if not children:
        return ""
    each = int(float(total.gbp) / children / 10 + 0.5) * 10
    return (
        f"{wording.pounds(total.gbp)} for {wording.thousands(total.children_n)} children served: "
        f"about £{each:,} for each. A child that uses two services is counted twice."
    )
