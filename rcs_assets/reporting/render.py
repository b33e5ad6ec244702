"""From a view to the bytes of one self-contained HTML page.

Belongs here: the templates' environment, the inline style and the content security policy
that names it by its hash. Does not belong here: any figure or sentence (`views.py`).

Pages are well-formed XML too, so that the checks can read them with a strict parser. They
hold no script, load nothing, and their bytes depend on the view alone.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache, lru_cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from rcs_assets.reporting.package import Measure
from rcs_assets.reporting.views import Page


def render(page: Page) -> bytes:
    """The page as UTF-8."""
    style, digest = _style()
    text = _template("page.html").render(
        page=page, style=Markup(style), digest=digest, definitions=_definitions(page.definitions)
    )
    return text.encode()


@lru_cache(maxsize=16)
def _definitions(measures: tuple[Measure, ...]) -> Markup:
    """The annex of definitions, the same for hundreds of schools."""
    return Markup(_template("definitions.html").render(measures=measures))


@cache
def _style() -> tuple[str, str]:
    text = (resources.files("rcs_assets.reporting") / "data" / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, digest


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("rcs_assets.reporting", "data/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _template(name: str) -> Template:
    return _environment().get_template(name)
