"""From a document to the bytes of one self-contained HTML page.

Belongs here: the templates' environment, rows, runs and cells as markup, the inline style and the
content security policy that names it by its hash. Does not belong here: any figure or
sentence (`layout.py`), and the PDF (`pdf.py`).

Pages are well-formed XML too, so that the checks can read them with a strict parser. They
hold no script, load nothing, and their bytes depend on the document alone.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache, lru_cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from rcs_assets.reporting.blocks import Document, Rated, Row, Runs, Table
from rcs_assets.reporting.charts import Chart
from rcs_assets.reporting.svg import icon, svg

_TAGS = {"strong": "strong", "em": "em"}


def render_html(page: Document) -> bytes:
    """The page as UTF-8."""
    style, digest = _style()
    text = template("page.html").render(page=page, style=Markup(style), digest=digest)
    return text.encode()


def _runs(runs: Runs) -> Markup:
    return Markup("".join(_run(run.text, run.kind) for run in runs))


def _run(text: str, kind: str) -> str:
    if not kind:
        return str(escape(text))
    tag = _TAGS.get(kind)
    if tag:
        return f"<{tag}>{escape(text)}</{tag}>"
    return f'<span class="{kind}">{escape(text)}</span>'


def _content(content: Chart | Rated | str) -> Markup:
    """What stands in a cell: a figure, a rating, or a chart."""
    if isinstance(content, str):
        return escape(content)
    if isinstance(content, Rated):
        shape = icon(content.kind) if content.kind in ("better", "similar", "worse") else ""
        return Markup(f'<span class="rating {content.kind}">{shape}{escape(content.word)}</span>')
    return svg(content)


def _row(row: Row, table: Table, stacks: bool) -> Markup:
    """A row of a table, set in one step: a release has a million cells.

    Args:
        row: the row.
        table: whose columns name the cells on a small screen.
        stacks: whether the row is stacked there, and so needs its roles.
    """
    roles = ("row", "rowheader", "cell") if stacks else ("", "", "")
    parts = [_open("tr", roles[0], "", "indicator", row.indicator, "table", row.table)]
    parts.append(f"{_open('th', roles[1], '')}{_runs(row.head)}</th>")
    for cell, column in zip(row.cells, table.columns[1:], strict=True):
        label = column.label if stacks and cell.kind not in ("chart", "wide") else ""
        start = _open("td", roles[2], cell.kind, "label", label)
        parts.append(f"{start}{_content(cell.content)}</td>")
    parts.append("</tr>")
    return Markup("".join(parts))


@lru_cache(maxsize=4096)
def _open(tag: str, role: str, kind: str, *data: str) -> str:
    """A start tag with those attributes that have a value; `data` are names and values."""
    said = ' scope="row"' if tag == "th" else ""
    said += f' role="{role}"' if role else ""
    said += f' class="{kind}"' if kind else ""
    pairs = zip(data[::2], data[1::2], strict=True)
    said += "".join(f' data-{name}="{escape(text)}"' for name, text in pairs if text)
    return f"<{tag}{said}>"


@cache
def _style() -> tuple[str, str]:
    text = (resources.files("rcs_assets.reporting") / "data" / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, digest


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rcs_assets.reporting", "data/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "runs": _runs,
        "content": _content,
        "row": _row,
        "svg": svg,
        "icon": icon,
    }
    return environment


def template(name: str) -> Template:
    """One of the room's templates."""
    return _environment().get_template(name)
