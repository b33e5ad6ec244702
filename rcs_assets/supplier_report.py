"""The error report that goes to a supplier: what was wrong in his file, by his own record ids.

Belongs here: the page, keeping it beside the CSV, and opening both where the operator says. Does
not belong here: what is in it and how it is sealed (`intake/faults.py`), looks
(`reporting/render.py`). Identified material: what is kept is sealed like the delivery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rcs_assets.codebook import Codebook
from rcs_assets.errors import InputError
from rcs_assets.intake.faults import (
    Faults,
    as_csv,
    by_rule,
    find_faults,
    keep_report,
    kept_report,
)
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
    internal_page,
    plain,
)
from rcs_assets.reporting.render import render_html
from rcs_assets.storage import Home, Settings, write_atomically

CONFIDENTIAL = "Identified: for the supplier of this file only"


@dataclass(frozen=True)
class Kept:
    """The report on one delivery: `rows_n` rows that were set aside, or why it was refused.

    `names` are its files; a file that was refused at the door has no key, so its report, which
    holds one message and no row, is not kept: only `opened` has it.
    """

    dataset: str
    file: str
    rows_n: int
    reason: str
    names: tuple[str, ...]
    is_kept: bool
    opened: tuple[Path, ...] = ()


def make_reports(
    home: Home,
    programme: Programme,
    codebook: Codebook,
    settings: Settings,
    engagement: str,
    dataset: str | None = None,
    out: Path | None = None,
) -> tuple[Kept, ...]:
    """Make `<engagement>_<dataset>_errors.csv` and `.html` for each delivery with a fault.

    Args:
        home: the installation; reports lie sealed in `drop/reports/`.
        programme, codebook, settings: of the installation.
        engagement: partition key.
        dataset: one delivery only.
        out: a folder in which to open them, made if need be, readable by the operator alone.

    Returns:
        One a delivery, by name of the dataset.

    Raises:
        InputError: `out` is a file or lies inside the home.
    """
    folder = None if out is None else _open_folder(home, out)
    found = find_faults(home, programme, codebook, settings, engagement)
    chosen = (faults for faults in found if dataset in (None, faults.receipt.dataset))
    made = (_keep(home, faults, folder) for faults in chosen)
    return tuple(sorted(made, key=lambda kept: kept.dataset))


def _open_folder(home: Home, out: Path) -> Path:
    """The folder to open reports in; never the home, whose drop is sealed at rest."""
    if out.exists() and not out.is_dir():
        raise InputError("There is a file of that name", where="--out", fix="name a folder")
    if out.resolve().is_relative_to(home.path.resolve()):
        raise InputError(
            "Reports are not opened inside the home",
            where="--out",
            why="they name children's records, and what lies in the home is sealed",
            fix="name a folder on the encrypted disk from which you send them, then delete it",
        )
    out.mkdir(parents=True, mode=0o700, exist_ok=True)
    return out


def _keep(home: Home, found: Faults, folder: Path | None) -> Kept:
    receipt, is_kept = found.receipt, not found.delivery.refused
    stem = f"{receipt.engagement}_{receipt.dataset}_errors"
    contents = {
        f"{stem}.csv": as_csv(found).encode(),
        f"{stem}.html": render_html(report_page(found, home.profile == "demo")),
    }
    opened = []
    for name, content in contents.items():
        if is_kept:
            keep_report(home, found.delivery, name, content)
        if folder is not None:
            told = kept_report(home, found.delivery, name) if is_kept else content
            write_atomically(folder / name, told.decode())
            opened.append(folder / name)
    rows_n = len({fault.row_number for fault in found.rows})
    return Kept(
        receipt.dataset, receipt.file, rows_n, found.reason, tuple(contents), is_kept, tuple(opened)
    )


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
    return internal_page(
        path=f"{receipt.engagement}_{receipt.dataset}_errors",
        kind="errors",
        head=f"{'SIMULATED ' if is_simulated else ''}Errors in {receipt.file}",
        title=f"Errors in {found.title}",
        mark=CONFIDENTIAL,
        lines=f"{receipt.engagement} | from {found.owner}",
        blocks=_blocks(found, is_simulated, facts),
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
