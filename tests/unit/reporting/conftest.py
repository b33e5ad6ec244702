"""Pages of made-up packages, rendered once a session."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from rcs_assets.reporting import render_package
from tests.unit.reporting import made

SCHOOL = f"school/{made.SCHOOL}"
CPP = f"cpp/{made.ENGAGEMENT}"


def rendered(folder: Path, name: str) -> dict[str, bytes]:
    """The pages of a package without their PDFs, which tests of words do not wait for."""
    return dict(render_package(folder, name, screen_only=True))


def tree(page: bytes) -> ET.Element:
    return ET.fromstring(page)


def text(page: bytes) -> str:
    """What a reader sees of the body, spaces joined."""
    body = tree(page).find("body")
    assert body is not None
    return " ".join("".join(body.itertext()).split())


@pytest.fixture(scope="session")
def school_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_school(tmp_path_factory.mktemp("school"))


@pytest.fixture(scope="session")
def cpp_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a CPP that was asked in two waves, so that its report has every part."""
    return made.write_cpp(tmp_path_factory.mktemp("cpp"), waves=2)


@pytest.fixture(scope="session")
def school_page(school_folder: Path) -> bytes:
    return rendered(school_folder, SCHOOL)["report.html"]


@pytest.fixture(scope="session")
def cpp_pages(cpp_folder: Path) -> dict[str, bytes]:
    return rendered(cpp_folder, CPP)


@pytest.fixture(scope="session")
def public_page(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = made.write_public(tmp_path_factory.mktemp("public"))
    return rendered(folder, "public")["report.html"]
