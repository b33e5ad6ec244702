"""All reports of a package: package folder in, files out.

Belongs here: one package from its folder to the bytes of its pages and PDFs. Does not belong
here: where they are put (`assets.py` attaches them to the candidate, `rcs report` writes them
to a folder) and many packages at once (`many.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.errors import InputError
from rcs_assets.reporting import explorer, haven
from rcs_assets.reporting.blocks import Document
from rcs_assets.reporting.layout import document, one_page, technical
from rcs_assets.reporting.package import Package, read_package
from rcs_assets.reporting.pdf import render_pdf
from rcs_assets.reporting.render import render_html
from rcs_assets.reporting.settings import load_settings
from rcs_assets.reporting.views import package_pages

_PATH = re.compile(r"(?:\w[\w-]*/)*\w[\w-]*(?:\.[\w-]+)*", re.ASCII)
KINDS = ("public", "cpp", "school")


def package_documents(package: Package, *, technical_only: bool = False) -> tuple[Document, ...]:
    """The reports of one package as documents, or its technical report alone.

    Raises:
        InputError: the authored summary is refused.
    """
    settings = load_settings()
    pages = package_pages(package, settings)
    documents: list[Document] = []
    if not technical_only:
        documents += [document(page, settings) for page in pages]
        documents += [one_page(page, settings) for page in pages if page.kind in ("cpp", "public")]
    if package.technical is not None:
        documents.append(technical(pages[0], settings, package.technical))
    return tuple(documents)


def packages_of(release: Path, names: Sequence[str], engagement: str) -> list[str]:
    """Those packages that are about one engagement: its area and its schools.

    A school is known by the codes in the area's package, since its own names no engagement.
    """
    area = f"cpp/{engagement}"
    if area not in names:
        return []
    cells = read_package(release / area, area).cells
    schools = {f"school/{place.code}" for place in cells.places if place.level == "school"}
    return [name for name in names if name == area or name in schools]


def render_package(
    folder: Path, name: str, *, screen_only: bool = False, technical_only: bool = False
) -> Mapping[str, bytes]:
    """The files of one package: each report as page and PDF, and the explorer where it has one.

    Args:
        folder: the package's folder; nothing else is read.
        name: its name in the release (`public`, `cpp/<engagement>`, `school/<SEED>`,
            `safe_haven`, whose one page is for the screen).
        screen_only: pages alone, without PDFs and explorer.
        technical_only: the technical report alone.

    Returns:
        Path in the package (`report.html`, `report.pdf`, `explorer/index.html`) → bytes.

    Raises:
        InputError: a table is missing, or the authored summary is refused.
    """
    if name == SAFE_HAVEN:
        return {f"{haven.PAGE}.html": render_html(haven.haven_document(folder))}
    package = read_package(folder, name)
    files: dict[str, bytes] = {}
    for page in package_documents(package, technical_only=technical_only):
        files[f"{page.path}.html"] = render_html(page)
        if not screen_only:
            files[f"{page.path}.pdf"] = render_pdf(page)
    if not (screen_only or technical_only) and package.kind in explorer.KINDS:
        files |= explorer.explorer_files(folder, package, load_settings())
    _refuse_odd_paths(files, name)
    return files


def _refuse_odd_paths(paths: Iterable[str], name: str) -> None:
    """Codes of places become names of files: none may leave the package or trouble a computer."""
    for path in paths:
        if not _PATH.fullmatch(path):
            raise InputError(
                f"A page would get a name that a file may not have: {path!r}",
                where=f"package {name}",
                why="its parts are letters, digits, hyphens, points and underscores",
                fix="give the cluster or council a code of such letters, then run: rcs materialise",
            )
