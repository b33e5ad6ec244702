"""The error report that goes to a supplier: what was wrong in his file, by his own record ids.

Belongs here: the page, and writing it beside the CSV. Does not belong here: what is in it
(`intake/faults.py`), looks (`reporting/render.py`). Identified material: it is kept with the drop.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rcs_assets.codebook import Codebook
from rcs_assets.intake.faults import Faults, as_csv, by_rule, find_faults, reports_folder
from rcs_assets.programme import Programme
from rcs_assets.reporting.blocks import (
    Block,
    Cell,
    Column,
    Document,
    Paragraph,
    Row,
    Section,
    Table,
    Terms,
    plain,
)
from rcs_assets.reporting.render import render_html
from rcs_assets.storage import Home, Settings, write_atomically

CONFIDENTIAL = "Identified: for the supplier of this file only"


def write_reports(
    home: Home,
    programme: Programme,
    codebook: Codebook,
    settings: Settings,
    engagement: str,
    dataset: str | None = None,
) -> tuple[Path, ...]:
    """Write `<engagement>_<dataset>_errors.csv` and `.html` for each delivery with a fault.

    Args:
        home: the installation; reports lie in `drop/reports/`, readable by the operator alone.
        programme, codebook, settings: of the installation.
        engagement: partition key.
        dataset: one delivery only.

    Returns:
        The files, by name.
    """
    folder = reports_folder(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    written = []
    for found in find_faults(home, programme, codebook, settings, engagement):
        if dataset in (None, found.receipt.dataset):
            stem = f"{engagement}_{found.receipt.dataset}_errors"
            page = report_page(found, home.profile == "demo")
            for name, text in (
                (f"{stem}.csv", as_csv(found)),
                (f"{stem}.html", render_html(page).decode()),
            ):
                path = folder / name
                write_atomically(path, text)
                written.append(path)
    return tuple(sorted(written))


def report_page(found: Faults, is_simulated: bool) -> Document:
    """The page as a document."""
    receipt = found.receipt
    facts = (
        ("File", receipt.file),
        ("sha256", receipt.sha256),
        ("Rows received", f"{receipt.received_n:,}"),
        ("Accepted", f"{receipt.accepted_n:,}"),
        ("Set aside", f"{receipt.quarantined_n:,}"),
    )
    return Document(
        path=f"{receipt.engagement}_{receipt.dataset}_errors",
        kind="errors",
        head=f"{'SIMULATED ' if is_simulated else ''}Errors in {receipt.file}",
        title=f"Errors in {found.title}",
        kicker=CONFIDENTIAL,
        year="",
        lines=f"{receipt.engagement} | from {found.owner}",
        skip="Skip to the content",
        running=CONFIDENTIAL,
        page_words=("page", "of"),
        as_of="",
        blocks=tuple(_blocks(found, is_simulated, facts)),
        foot=(Paragraph(plain(f"{CONFIDENTIAL}. This page loads nothing from anywhere.")),),
    )


def _blocks(
    found: Faults, is_simulated: bool, facts: tuple[tuple[str, str], ...]
) -> Iterator[Block]:
    if is_simulated:
        yield Paragraph(plain("SIMULATED: every record was made up."), "simulated")
    yield Terms(facts, "facts")
    if found.reason:
        yield Section("refused", 2, "The file was refused", (Paragraph(plain(found.reason)),))
        return
    words = {fault.rule: (fault.what, fault.fix) for fault in found.rows}
    rules = tuple(
        Row(plain(words[rule][0]), (Cell(f"{n:,}", "number"), Cell(words[rule][1])))
        for rule, n in by_rule(found.rows).items()
    )
    columns = (Column("What"), Column("Rows", "number"), Column("What to do"))
    table = Table("rules", "Rows by what is wrong", columns, rules, "Rows by what is wrong")
    yield Section("rules", 2, "What is wrong", (table,))
    rows = tuple(
        Row(
            plain(fault.record or "–"),
            (
                Cell(f"{fault.row_number:,}", "number"),
                Cell(fault.column.replace(",", ", ") or "–"),
                Cell(fault.what),
            ),
        )
        for fault in found.rows
    )
    heads = (
        Column(f"Record ({found.record_name})"),
        Column("Row below the header", "number"),
        Column("Column"),
        Column("What"),
    )
    caption = "Every row that was set aside, by the supplier's own record id"
    yield Section("rows", 2, "Row by row", (Table("rows", caption, heads, rows, caption),))
