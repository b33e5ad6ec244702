"""The evidence page of a release: what was published, on what proof.

Belongs here: one self-contained, accessible HTML page from the release's manifest. Does
not belong here: figures about children (the packages hold those) and deciding what
counts as proof (`gate.py`).

The page loads nothing: its only style is inline and named by its hash in the content
security policy. Counts of 1 to 9 children arrive here as `<10` (policy.md).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from typing import Any

from rcs_assets.release.packages import package_of, package_order, package_sizes

_STATUS_WORDS = {"published": "Shown", "u": "[u]", "c": "[c]", "z": "[z]", "x": "[x]"}


def evidence_page(manifest: Mapping[str, Any]) -> str:
    """The page as text.

    Args:
        manifest: the content of the release's `manifest.json`, with `checks`.
    """
    style = (resources.files("rcs_assets.release") / "data" / "evidence.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    mark = "SIMULATED " if manifest["simulated"] else ""
    title = escape(f"{mark}RCS release {manifest['release']}: evidence")
    sections = (
        _summary(manifest),
        _packages(manifest),
        _checks(manifest["checks"]),
        _policy(manifest),
        _deliveries(manifest["deliveries"]),
        _proof(),
    )
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; ',
            f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">\n",
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n",
            '<a class="skip" href="#main">Skip to the content</a>\n',
            f"<header><h1>{title}</h1>{_simulated_note(manifest)}</header>\n",
            '<main id="main">\n',
            *sections,
            "</main>\n<footer><p>Made from manifest.json of this release. ",
            "This page loads nothing from anywhere.</p></footer>\n</body>\n</html>\n",
        )
    )


def _simulated_note(manifest: Mapping[str, Any]) -> str:
    if not manifest["simulated"]:
        return ""
    return (
        '<p class="mark">SIMULATED. Pupils and answers are made up, also where the names of '
        "schools and areas are real. No figure describes a real child, school or area.</p>"
    )


def _section(heading: str, body: str) -> str:
    name = heading.lower().replace(" ", "-")
    return f'<section id="{escape(name)}">\n<h2>{escape(heading)}</h2>\n{body}\n</section>\n'


def _table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0
) -> str:
    """A table in a named scroll area; the last `numbers` columns are right-aligned.

    Cells are HTML already.
    """
    plain = len(columns) - numbers
    head = "".join(
        f'<th scope="col"{_number_class(i >= plain)}>{escape(name)}</th>'
        for i, name in enumerate(columns)
    )
    body = "\n".join(
        "<tr>"
        + f'<th scope="row">{row[0]}</th>'
        + "".join(
            f"<td{_number_class(i >= plain)}>{cell}</td>" for i, cell in enumerate(row[1:], 1)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _number_class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _summary(manifest: Mapping[str, Any]) -> str:
    entries = {
        "Release": manifest["release"],
        "Day": manifest["as_of"],
        "Left out by the operator": ", ".join(manifest["left_out"]) or "nothing",
        "Content (sha256)": manifest["content_hash"],
        "Code": manifest["code_version"],
        "Programme register": manifest["programme_version"],
        "Codebook": manifest["codebook_version"],
        "Disclosure policy": manifest["policy_version"],
    }
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in entries.items()
    )
    return _section("This release", f"<dl>{items}</dl>")


def _packages(manifest: Mapping[str, Any]) -> str:
    """One row a package; the hundreds of schools are one row, with their number."""
    statuses = list(_STATUS_WORDS)
    rows = [
        (
            _name(name),
            escape(", ".join(group.tables)),
            f"{group.packages_n:,}",
            f"{group.files_n:,}",
            f"{group.bytes_n / 1e6:,.1f}",
            *(f"{group.cells.get(status, 0):,}" for status in statuses),
        )
        for name, group in _groups(manifest).items()
    ]
    table = _table(
        "Packages, their size, their tables, and the cells of the table estimates by status (of "
        "schools, their own)",
        ["Package", "Tables", "Packages", "Files", "MB", *(_STATUS_WORDS[s] for s in statuses)],
        rows,
        numbers=len(statuses) + 3,
    )
    return _section("Packages", table)


@dataclass
class _Group:
    """Packages that stand in one row."""

    tables: Sequence[str]
    packages_n: int = 0
    files_n: int = 0
    bytes_n: int = 0
    cells: dict[str, int] = field(default_factory=dict)


def _groups(manifest: Mapping[str, Any]) -> dict[str, _Group]:
    sizes = package_sizes(manifest["files"])
    paths = (str(entry["path"]) for entry in manifest["files"])
    with_answers = {package_of(path) for path in paths if "/microdata/" in path}
    groups: dict[str, _Group] = {}
    for name in sorted(manifest["packages"], key=package_order):
        package = manifest["packages"][name]
        kind = name.split("/")[0]
        holds = [*package["tables"], *(["microdata"] if name in with_answers else [])]
        group = groups.setdefault("school/*" if kind == "school" else name, _Group(holds))
        files_n, bytes_n = sizes.get(name, (0, 0))
        group.packages_n += 1
        group.files_n += files_n
        group.bytes_n += bytes_n
        for status, n in package["cells"].items():
            group.cells[status] = group.cells.get(status, 0) + n
    return groups


def _checks(checks: Sequence[Mapping[str, str]]) -> str:
    passed = sum(check["status"] == "passed" for check in checks)
    rows = [
        (
            _name(check["asset"]),
            _name(check["check"]),
            _status(check["status"]),
            escape(check["expected"]),
            escape(check["observed"]),
        )
        for check in checks
    ]
    table = _table(
        f"{len(checks)} checks of the data in this release; {passed} passed",
        ["Asset", "Check", "Result", "Expected", "Observed"],
        rows,
    )
    return _section("Checks", table)


def _name(name: str) -> str:
    """A name that may break after its parts, not inside a word."""
    return escape(name).replace("/", "/<wbr>").replace("_", "_<wbr>")


def _status(status: str) -> str:
    """A word and a shape; colour is never alone."""
    if status == "passed":
        return '<span class="passed">&#10003; passed</span>'
    return f'<span class="other">&#9650; {escape(status)}</span>'


def _policy(manifest: Mapping[str, Any]) -> str:
    rows = [
        (escape(_STATUS_WORDS.get(status, status)), escape(meaning))
        for status, meaning in manifest["statuses"].items()
    ]
    table = _table("What the marks mean", ["Mark", "Meaning"], rows)
    return _section(
        "Protection",
        "<p>Every package was protected under the policy named above; its certificate.json "
        "lists the thresholds and roundings. Cells that would give a hidden one away are hidden "
        f"with it.</p>\n{_audit(manifest['audit'])}{table}",
    )


def _audit(audit: Mapping[str, int]) -> str:
    """What the audit found, in one sentence with its figures."""
    return (
        f"<p>The audit looked at {audit['cells']:,} cells, {audit['suppressed']:,} of them hidden, "
        f"as {audit['coalitions']:,} coalitions of readers could; it attacked "
        f"{audit['attacked']:,} protected quantities with {audit['programs']:,} linear programs. "
        f"Unsafe: <strong>{audit['unsafe']:,}</strong>.</p>\n"
    )


def _deliveries(deliveries: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            escape(str(delivery["engagement"] or "reference data")),
            escape(str(delivery["dataset"])),
            escape(str(delivery["status"])),
            f"<code>{escape(str(delivery['sha256'] or 'none')[:16])}</code>",
            *(
                escape(_count(delivery[name]))
                for name in ("received", "accepted", "quarantined", "withdrawn")
            ),
        )
        for delivery in deliveries
    ]
    table = _table(
        "Deliveries and what became of their rows, to the nearest 10; 1 to 9 read <10",
        [
            "Engagement",
            "Delivery",
            "Result",
            "sha256, start",
            "Received",
            "Accepted",
            "Quarantined",
            "Withdrawn",
        ],
        rows,
        numbers=4,
    )
    return _section("Deliveries", table)


def _count(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _proof() -> str:
    return _section(
        "Check it yourself",
        "<p>In the folder of the release: <code>sha256sum -c SHA256SUMS</code>. With the "
        "platform: <code>rcs release verify</code>.</p>",
    )
