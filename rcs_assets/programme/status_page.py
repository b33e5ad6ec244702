"""The programme's status page: one self-contained, accessible HTML page, for inside only.

Belongs here: rendering `Progress` from the template in `data/`. Does not belong here: what it
says (`progress.py`) and figures about children: there is none on it.

The page loads nothing and runs nothing; its style is named by its hash in the content security
policy. A state is told in words, colour only repeats it.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rcs_assets.programme.breaches import RULES
from rcs_assets.programme.progress import Progress
from rcs_assets.programme.tracking import MILESTONES


def status_page(progress: Progress, *, is_simulated: bool) -> str:
    """The page as text.

    Args:
        progress: the programme on a day.
        is_simulated: the installation is a demonstration: the page says so.
    """
    style = (resources.files("rcs_assets.programme") / "data" / "status.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = Environment(
        loader=PackageLoader("rcs_assets.programme", "data"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("status.html")
    return template.render(
        progress=progress,
        milestones=MILESTONES,
        sentences={rule.name: rule.sentence for rule in RULES},
        is_simulated=is_simulated,
        # Our own file, named by its hash: not a value to escape.
        style=Markup(style),
        digest=digest,
    )
