"""All pages of a package, and of many packages.

Belongs here: package folder in, pages out. Does not belong here: where they are put
(`assets.py` attaches them to the candidate, `rcs report` writes them to a folder).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rcs_assets.reporting.package import read_package
from rcs_assets.reporting.render import render
from rcs_assets.reporting.settings import load_settings
from rcs_assets.reporting.views import package_pages

KINDS = ("public", "cpp", "school")


def render_package(folder: Path, name: str) -> Mapping[str, bytes]:
    """The pages of one package, made from its folder alone.

    Args:
        folder: the package's folder.
        name: its name in the release (`public`, `cpp/<engagement>`, `school/<SEED>`).

    Returns:
        Path in the package (`report.html`, `clusters/<code>.html`) → bytes.

    Raises:
        InputError: a table is missing, or the authored summary is refused.
    """
    pages = package_pages(read_package(folder, name), load_settings())
    return {page.path: render(page) for page in pages}
