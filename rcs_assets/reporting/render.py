"""From a document to the bytes of one self-contained HTML page.

Belongs here: the templates' environment, runs and cells as markup, the inline style and the
content security policy that names it by its hash. Does not belong here: any figure or
sentence (`layout.py`), and the PDF (`pdf.py`).

Pages are well-formed XML too, so that the checks can read them with a strict parser. They
hold no script, load nothing, and their bytes depend on the document alone.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from rcs_assets.reporting.blocks import Document, Rated, Runs
from rcs_assets.reporting.charts import Chart
from rcs_assets.reporting.svg import icon, svg

_TAGS = {"strong": "strong", "em": "em"}


def render_html(page: Document) -> bytes:
    """The page as UTF-8."""
    style, digest = _style()
    text = template("page.html").render(page=page, style=Markup(style), digest=digest)
    return text.encode()


def _runs(runs: Runs) -> Markup:
    return Markup("").join(_run(run.text, run.kind) for run in runs)


def _run(text: str, kind: str) -> Markup:
    if not kind:
        return escape(text)
    tag = _TAGS.get(kind)
    if tag:
        return Markup(f"<{tag}>{escape(text)}</{tag}>")
    return Markup(f'<span class="{kind}">{escape(text)}</span>')


def _content(content: Chart | Rated | str) -> Markup:
    """What stands in a cell: a figure, a rating, or a chart."""
    if isinstance(content, str):
        return escape(content)
    if isinstance(content, Rated):
        shape = icon(content.kind) if content.kind in ("better", "similar", "worse") else ""
        return Markup(f'<span class="rating {content.kind}">{shape}{escape(content.word)}</span>')
    return svg(content)


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
        "svg": svg,
        "icon": icon,
    }
    return environment


def template(name: str) -> Template:
    """One of the room's templates."""
    return _environment().get_template(name)
