"""From a view to the bytes of one self-contained HTML page.

Belongs here: the templates' environment, the inline style and the content security policy
that names it by its hash. Does not belong here: any figure or sentence (`views.py`).

Pages are well-formed XML too, so that the checks can read them with a strict parser. They
hold no script, load nothing, and their bytes depend on the view alone.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from rcs_assets.reporting.views import Page


def render(page: Page) -> bytes:
    """The page as UTF-8."""
    style, digest = _style()
    text = _template().render(page=page, style=Markup(style), digest=digest)
    return text.encode()


@cache
def _style() -> tuple[str, str]:
    text = (resources.files("rcs_assets.reporting") / "data" / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, digest


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("rcs_assets.reporting", "data/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    return environment.get_template("page.html")
