"""The codebook as a page for approved analysts inside the safe haven.

Belongs here: every item with stages, options, routing and the questionnaires that ask it, and the
licensed wording as far as a licence permits it there. Does not belong here: what is read
(`codebook/`), looks (`reporting/render.py`), anything that is released: `rcs codebook page` writes
the page where the operator says, and no package holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from rcs_assets.codebook import Codebook, Questionnaire, Variable
from rcs_assets.codebook.wording import SAFE_HAVEN, Wording, items_of, load_wording
from rcs_assets.reporting.blocks import (
    Block,
    Cell,
    Column,
    Contents,
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
from rcs_assets.storage import Home, write_atomically

PAGE = "codebook.html"
INSIDE = "For approved analysts inside the safe haven; not for release"
NONE = "–"


def write_codebook(home: Home, codebook: Codebook, on: date, out: Path | None = None) -> Path:
    """Write the page, readable by the operator alone.

    Args:
        home: the installation; licensed wording lies in its `config/`.
        codebook: with the adopter's overlay.
        on: the day on which licences are looked at.
        out: where to; `codebook.html` in the home if not given.

    Returns:
        The page.

    Raises:
        ConfigurationError: the licensee's files are not valid.
    """
    path = out or home.path / PAGE
    page = codebook_page(codebook, load_wording(codebook, home.config), on)
    write_atomically(path, render_html(page).decode())
    return path


def codebook_page(codebook: Codebook, wording: Wording, on: date) -> Document:
    """The page as a document."""
    return internal_page(
        kind="codebook",
        title="Codebook",
        head="Codebook of RCS",
        mark=INSIDE,
        lines=f"version {codebook.version[:12]}",
        as_of=on.isoformat(),
        blocks=_blocks(codebook, wording, on),
    )


def _blocks(codebook: Codebook, wording: Wording, on: date) -> Iterator[Block]:
    themes = tuple(dict.fromkeys(v.theme for v in codebook.variables.values()))
    yield Contents(
        "Contents",
        (("licences", "Licensed wording"), *((_anchor(t), _title(t)) for t in themes)),
    )
    yield Section("licences", 2, "Licensed wording", tuple(_licences(codebook, wording, on)))
    texts = {
        name: text
        for instrument in codebook.instruments
        for name, text in wording.of(instrument, SAFE_HAVEN, on).items()
    }
    for theme in themes:
        chosen = [v for v in codebook.variables.values() if v.theme == theme]
        table = _items(codebook, chosen, texts, theme)
        yield Section(_anchor(theme), 2, _title(theme), (table,))
    missing = tuple((str(m.code), m.label) for m in codebook.missing.values())
    yield Section("missing", 2, "Missing codes", (Terms(missing, "facts"),))


def _licences(codebook: Codebook, wording: Wording, on: date) -> Iterator[Block]:
    if not wording.licences:
        yield Paragraph(
            plain("This installation holds no licensed wording: labels are short ones.")
        )
        return
    rows = []
    for name, licence in wording.licences.items():
        items = items_of(codebook.instruments[name])
        held = sum((name, item) in wording.texts for item in items)
        said = licence.problem(SAFE_HAVEN, on)
        told = f"not shown: {said}" if said else f"{held} of {len(items)} items"
        cells = (Cell(licence.holder), Cell(licence.reference), Cell(told))
        rows.append(Row(plain(codebook.instruments[name].title), cells))
    columns = (Column("Instrument"), Column("Holder"), Column("Licence"), Column("Wording here"))
    caption = "Licences of this installation"
    yield Table("licences-table", caption, columns, tuple(rows), caption)


def _items(
    codebook: Codebook, variables: list[Variable], texts: dict[str, str], theme: str
) -> Table:
    rows = tuple(
        Row(
            plain(v.name),
            (
                Cell(v.label),
                Cell(texts.get(v.name, NONE)),
                Cell(", ".join(v.stages) or NONE),
                Cell(_options(codebook, v)),
                Cell(_routing(v)),
                Cell(_asked_in(codebook, v.name)),
            ),
        )
        for v in variables
    )
    columns = tuple(
        map(Column, ("Item", "Label", "Wording", "Stages", "Options", "Asked if", "Asked in"))
    )
    caption = f"Items: {_title(theme)}"
    return Table(f"{_anchor(theme)}-items", caption, columns, rows, caption)


def _options(codebook: Codebook, variable: Variable) -> str:
    values = codebook.value_sets[variable.value_set].values
    return "; ".join(f"{code} {label}" for code, label in values.items())


def _routing(variable: Variable) -> str:
    if variable.routing is None:
        return NONE
    codes = ", ".join(map(str, sorted(variable.routing.codes)))
    return f"{variable.routing.variable} is {codes}"


def _asked_in(codebook: Codebook, name: str) -> str:
    asked = [
        f"{q.name} ({q.contractor}{_on_forms(q, name)})"
        for q in codebook.questionnaires.values()
        if any(v.variable == name for v in q.variables)
    ]
    return "; ".join(asked) or NONE


def _on_forms(version: Questionnaire, name: str) -> str:
    """The forms that ask a question, where others of the version do not."""
    asking = [form.title for form in version.forms if name not in form.left_out]
    return f", form: {', '.join(asking)}" if len(asking) < len(version.forms) else ""


def _anchor(theme: str) -> str:
    return f"theme-{theme.replace('_', '-')}"


def _title(theme: str) -> str:
    return theme.replace("_", " ").capitalize()
