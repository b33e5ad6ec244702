"""Key pages look as they did: pictures in a browser, compared with tolerance.

A picture that is meant to change is accepted with `make snapshots` and looked at in review.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.pictures import (
    BROWSER,
    FOLDER,
    PICTURES,
    browser_version,
    difference,
    opened_browser,
    take,
    write_pages,
)

pytestmark = pytest.mark.browser
# Per cent of pixels. The same page twice differs in none; a word less on a page in about 0.05.
MOST = 0.02


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator:
    for found in opened_browser():
        made_with = json.loads(BROWSER.read_text())["chromium"]
        if browser_version(found) != made_with:
            pytest.skip(f"pictures are of chromium {made_with}, here is {found.version}")
        yield found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_page_looks_as_it_did(browser, root, tmp_path, picture) -> None:
    before = Image.open(FOLDER / f"{picture.name}.png").convert("L")
    now = take(browser, root, picture)
    differs = difference(before, now)
    if differs > MOST:
        now.save(tmp_path / f"{picture.name}.png")
    assert differs <= MOST, f"{differs:.2f} % differ: look at {tmp_path}/{picture.name}.png"


@pytest.mark.parametrize(
    "style",
    [
        ".band { padding-top: 1.6rem }", "caption { display: none }",
        "path.better { display: none }", ".tiles li { border-left-width: 2px }",
    ],
)  # fmt: skip
def test_a_change_of_looks_is_seen(browser, root, style) -> None:
    (school,) = [picture for picture in PICTURES if picture.name == "school"]
    before = Image.open(FOLDER / "school.png").convert("L")
    assert difference(before, take(browser, root, school, style)) > MOST


def test_pictures_are_small_and_none_is_left_over() -> None:
    there = {file.stem: file.stat().st_size for file in FOLDER.glob("*.png")}
    assert set(there) == {picture.name for picture in PICTURES}
    assert sum(there.values()) < 400_000
