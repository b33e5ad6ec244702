"""The safe haven's page on linkage quality, from the safe haven's package alone.

Belongs here: which tables of the package the page shows, in which order and words. Does not
belong here: figures (`linkage`, `services`), fixed words (`data/linkage.yaml`), looks
(`render.py`), and any page for readers outside.

The page shows unrounded figures: it says so, lies in the package `safe_haven` alone, which is
never handed out, and holds no row of a child (policy.md, Audiences; link rates by subgroup are
outputs too).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from rcs_assets.programme.datafile import parse_yaml
from rcs_assets.reporting.blocks import (
    Block,
    Bullets,
    Cell,
    Column,
    Contents,
    Document,
    Figure,
    Fold,
    Item,
    Paragraph,
    Row,
    Run,
    Section,
    Table,
    Terms,
    Tile,
    Tiles,
    plain,
)
from rcs_assets.reporting.charts import Flow
from rcs_assets.reporting.package import read_manifest, read_table
from rcs_assets.reporting.settings import load_settings

PAGE = "linkage"
_LOWEST = 15
Record = Mapping[str, str]


@cache
def words() -> Mapping[str, Any]:
    """The page's fixed words."""
    text = (resources.files("rcs_assets.reporting") / "data" / "linkage.yaml").read_text("utf-8")
    content: dict[str, Any] = parse_yaml(text, "rcs_assets/reporting/data/linkage.yaml")
    return content


def haven_document(folder: Path) -> Document:
    """The page as a document.

    Args:
        folder: the package `safe_haven`; nothing else is read.

    Raises:
        InputError: a table of linkage is missing.
    """
    said, settings, manifest = words(), load_settings(), read_manifest(folder)
    is_simulated = bool(manifest["simulated"])
    mark = f"{settings.words['simulated_mark']} " if is_simulated else ""
    sections = (
        _files(folder),
        _flow(folder),
        _groups(folder),
        _sensitivity(folder),
        _effects(folder),
        _model(folder),
        _items(folder),
    )
    return Document(
        path=PAGE,
        kind="haven",
        head=f"{mark}{said['mark']}: {said['title']}, release {manifest['release']}",
        title=said["title"],
        kicker=settings.programme,
        year=str(manifest["release"]),
        lines=" | ".join(said["lines"]),
        skip=said["skip"],
        running=f"{mark}{said['mark']}",
        page_words=(settings.words["page"], settings.words["of"]),
        as_of="",
        blocks=(
            *_notes(is_simulated),
            _tiles(folder),
            Contents(said["contents"], tuple((part.anchor, part.title) for part in sections)),
            *sections,
        ),
        foot=(
            Terms((("Release", str(manifest["release"])),), "facts"),
            Paragraph(plain(said["foot"])),
        ),
    )


def _notes(is_simulated: bool) -> Iterator[Block]:
    said, settings = words(), load_settings()
    if is_simulated:
        mark = Run(f"{settings.words['simulated_mark']}.", "strong")
        yield Paragraph((mark, Run(f" {settings.words['simulated']}")), "simulated")
    kept = Run(f"{said['mark']}.", "strong")
    yield Paragraph((kept, Run(f" {said['not_for_release']}")), "statement")


def _tiles(folder: Path) -> Tiles:
    rates = [r for r in read_table(folder, "link_rates") if r["dataset"] == "social_work"]
    records = sum(int(row["records_n"]) for row in rates)
    linked = sum(int(row["linked_n"]) for row in rates)
    waiting = sum(int(row["clerical_n"] or 0) for row in rates)
    tiles = [
        Tile("plain", _linked_share(linked, records, "%"), "of social work records are linked"),
        Tile("plain", f"{waiting:,}", "pairs wait for a clerk"),
    ]
    for name, text in (("precision", "least estimated precision"), ("recall", "least recall")):
        known = [row[f"estimated_{name}"] for row in rates if row[f"estimated_{name}"]]
        if known:
            lowest = 100 * min(map(float, known))
            tiles.append(Tile("plain", f"{lowest:.2f}%", f"{text} of an area's social work links"))
    return Tiles(tuple(tiles))


def _files(folder: Path) -> Section:
    said = words()
    rows = tuple(
        _row(
            f"{row['engagement']}: {_file(row)}",
            _count(row["records_n"]),
            _count(row["linked_n"]),
            _linked_share(int(row["linked_n"] or 0), int(row["records_n"] or 0)),
            _share(row, "estimated_precision", "precision"),
            _share(row, "estimated_recall", "recall"),
            row["missed_n"] or "-",
            _count(row["clerical_n"]),
        )
        for row in read_table(folder, "link_rates")
    )
    columns = ("File", "Records", "Linked", "Linked, %", "Precision, %", "Recall, %")
    table = _table(said["files_caption"], (*columns, "Missed, expected", "Waiting"), rows)
    return Section("files", 2, said["files"], (Paragraph(plain(said["files_intro"])), table))


def _linked_share(linked: int, records: int, sign: str = "") -> str:
    """The linked of the records in per cent; a dash where there are none."""
    return f"{100 * linked / records:.1f}{sign}" if records else "-"


def _file(row: Record) -> str:
    """The file's name, and whether encodings stood in it in the place of identifiers."""
    said = words()
    name = str(said["datasets"][row["dataset"]])
    return f"{name} ({said['encoded']})" if row["is_encoded"] == "true" else name


def _share(row: Record, estimate: str, ends: str) -> str:
    """An estimate with its interval in per cent; a dash where nobody estimated it."""
    if not row[estimate]:
        return "-"
    at, low, high = (100 * float(row[k]) for k in (estimate, f"{ends}_low", f"{ends}_high"))
    return _with_ends(f"{at:.2f}", f"{low:.2f}", f"{high:.2f}")


def _flow(folder: Path) -> Section:
    said = words()
    rows = read_table(folder, "link_flow")
    totals: dict[str, dict[str, int]] = {}
    for row in rows:
        steps = totals.setdefault(row["dataset"], {})
        steps[row["step"]] = steps.get(row["step"], 0) + int(row["n"])
    figures = [
        _figure(_diagram(name, totals[name]))
        for name in said["datasets"]
        if name in totals and name != "sample"
    ]
    folds = []
    for place, group in groupby(rows, key=lambda row: row["engagement"]):
        lines = tuple(
            _row(f"{said['datasets'][row['dataset']]}: {row['step']}", _count(row["n"]))
            for row in group
        )
        caption = said["flow_caption"].format(place=place)
        folds.append(Fold(place, (_table(caption, ("Step", "Number"), lines),)))
    intro = Paragraph(plain(said["flow_intro"]))
    return Section("flow", 2, said["flow"], (intro, *figures, *folds))


def _figure(flow: Flow) -> Figure:
    """The diagram, and beside it the same in words."""
    items = tuple(
        Item(plain(f"{box}{f' ({beside})' if beside else ''}")) for box, beside in flow.boxes
    )
    return Figure(flow, flow.title, (Bullets(items, is_ordered=True),))


def _diagram(name: str, steps: Mapping[str, int]) -> Flow:
    """Boxes of one file; beside a box stands who leaves before the next one."""
    title = words()["datasets"][name]
    if name == "pupils":
        boxes = [("invited", ""), ("answered", "")]
        boxes += [(step, "") for step in steps if step not in ("invited", "answered")]
    else:
        boxes = [
            ("received", _leaving(steps, "quarantined", "withdrawn")),
            ("accepted", _leaving(steps, "waits for a clerk", "not linked")),
            ("linked", ""),
        ]
    named = tuple((f"{step}: {steps.get(step, 0):,}", beside) for step, beside in boxes)
    says = "; ".join(f"{box}{f' ({beside})' if beside else ''}" for box, beside in named)
    return Flow(title, says, named)


def _leaving(steps: Mapping[str, int], *names: str) -> str:
    return ", ".join(f"{name} {steps.get(name, 0):,}" for name in names)


def _groups(folder: Path) -> Section:
    said = words()
    rows = read_table(folder, "link_rates_by_group")
    ranked = sorted(
        (r for r in rows if r["breakdown"] not in ("school", "total")),
        key=lambda r: (float(r["linked_pct"]), r["engagement"], r["dataset"], r["breakdown"]),
    )
    lowest = tuple(
        _group_row(f"{r['engagement']}: {said['datasets'][r['dataset']]}, {_group(r)}", r)
        for r in ranked[:_LOWEST]
    )
    folds = []
    for place, of_place in groupby(rows, key=lambda row: row["engagement"]):
        tables = tuple(
            _table(
                said["groups_caption"].format(file=said["datasets"][name], place=place),
                _GROUP_COLUMNS,
                tuple(_group_row(_group(row), row) for row in group),
            )
            for name, group in groupby(of_place, key=lambda row: row["dataset"])
        )
        folds.append(Fold(place, tables))
    intro = Paragraph(plain(said["groups_intro"]))
    table = _table(said["lowest_caption"], _GROUP_COLUMNS, lowest)
    return Section("groups", 2, said["groups"], (intro, table, *folds))


_GROUP_COLUMNS = (
    "Group", "Records", "Linked, %", "Wrong, %", "Missed, %", "Of the linked, %",
    "Of the others, %", "Difference",
)  # fmt: skip


def _group(row: Record) -> str:
    return f"{words()['breakdowns'][row['breakdown']]}: {row['group'].replace('_', ' ')}"


def _group_row(head: str, row: Record) -> Row:
    return _row(
        head,
        _count(row["records_n"]),
        _interval(row, "linked_pct", "ci_low", "ci_high"),
        _interval(row, "false_pct", "false_low", "false_high"),
        _interval(row, "missed_pct", "missed_low", "missed_high"),
        row["linked_share_pct"] or "-",
        row["unlinked_share_pct"] or "-",
        row["std_difference"] or "-",
    )


def _interval(row: Record, at: str, low: str, high: str) -> str:
    return _with_ends(row[at], row[low], row[high]) if row[at] else "-"


def _with_ends(at: str, low: str, high: str) -> str:
    # Where a cell is too narrow, it breaks before the interval and not inside it.
    return f"{at} ({low}\u00a0to\u00a0{high})"


def _sensitivity(folder: Path) -> Section:
    said = words()
    folds = []
    rows = read_table(folder, "link_sensitivity")
    for place, group in groupby(rows, key=lambda row: row["engagement"]):
        lines = tuple(
            _row(
                f"{said['datasets'][row['dataset']]}, {_group(row)}",
                _count(row["pupils_n"]),
                _count(row["linked_n"]),
                row["missed_n"],
                _interval(row, "sensitivity_pct", "ci_low", "ci_high"),
            )
            for row in group
        )
        columns = ("Group", "Pupils", "With a linked record", "Missed, expected", "Found, %")
        caption = said["sensitivity_caption"].format(place=place)
        folds.append(Fold(place, (_table(caption, columns, lines),)))
    intro = Paragraph(plain(said["sensitivity_intro"]))
    return Section("sensitivity", 2, said["sensitivity"], (intro, *folds))


def _effects(folder: Path) -> Section:
    said = words()
    rows = read_table(folder, "link_effects")
    largest: dict[str, Record] = {}
    for row in rows:
        if row["scenario"] != "as linked" and row["difference"]:
            known = largest.setdefault(row["scenario"], row)
            if abs(float(row["difference"])) > abs(float(known["difference"])):
                largest[row["scenario"]] = row
    summary = tuple(
        _row(name, row["difference"], row["pct"], f"{row['engagement']}: {row['result']}")
        for name, row in largest.items()
    )
    folds = []
    for place, group in groupby(rows, key=lambda row: row["engagement"]):
        lines = tuple(
            _row(
                f"{row['result']}, {row['scenario']}",
                _count(row["pupils_n"]),
                _count(row["counted_n"]),
                row["pct"],
                row["difference"],
            )
            for row in group
        )
        columns = ("Result and links", "Pupils", "Counted", "Per cent", "Change, points")
        caption = said["effects_caption"].format(place=place)
        folds.append(Fold(place, (_table(caption, columns, lines),)))
    table = _table(
        said["largest_caption"], ("Links", "Change, points", "Per cent", "Result"), summary
    )
    intro = Paragraph(plain(said["effects_intro"]))
    return Section("effects", 2, said["effects"], (intro, table, *folds))


def _model(folder: Path) -> Section:
    said = words()
    rows = read_table(folder, "link_model")
    first = rows[0]
    caption = said["model_caption"].format(
        model=first["model_id"][:12], origin=first["origin"], splink=first["splink_version"]
    )
    lines = tuple(
        _row(
            f"{row['field'].replace('_', ' ')}: {row['level']}",
            _plain_number(row["m"]),
            _plain_number(row["u"]),
            row["match_weight"],
            "yes" if row["has_term_frequency"] == "true" else "",
        )
        for row in rows
    )
    columns = ("Field and level", "m", "u", "Weight", "Value's frequency")
    intro = Paragraph(plain(said["model_intro"]))
    fold = Fold(caption, (_table(caption, columns, lines),))
    return Section("model", 2, said["model"], (intro, fold))


def _items(folder: Path) -> Section:
    said = words()
    lines = tuple(
        Row(
            plain(f"{row['guideline']}: {row['label']}"),
            (Cell(row["answer"], "wide"), Cell(row["filled_by"])),
        )
        for row in read_table(folder, "link_items")
    )
    table = _table(said["items_caption"], ("Item", "Answer", "Filled by"), lines, numbers=False)
    return Section("items", 2, said["items"], (Paragraph(plain(said["items_intro"])), table))


def _row(head: str, *cells: str) -> Row:
    return Row(plain(head), tuple(Cell(text, "number") for text in cells))


def _table(
    caption: str, columns: Sequence[str], rows: tuple[Row, ...], *, numbers: bool = True
) -> Table:
    first, *others = columns
    kind = "number" if numbers else ""
    heads = (Column(first), *(Column(label, kind) for label in others))
    return Table("groups rates", caption, heads, rows, scroll=caption)


def _count(text: str) -> str:
    return f"{int(text):,}" if text else "-"


def _plain_number(text: str) -> str:
    return text.rstrip("0").rstrip(".")
