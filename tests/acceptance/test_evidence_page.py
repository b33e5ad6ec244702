"""The evidence page as a person opens it: from a file, offline, in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


@pytest.fixture
def evidence(released_home, chromium: Path, tmp_path: Path) -> Iterator:
    """The page, opened; `page.requested` and `page.complaints` say what it did."""
    from playwright.sync_api import sync_playwright

    file = released_home.release / "evidence.html"
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=str(chromium), headless=True, args=FLAGS
        )
        page = context.new_page()
        requested: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(file.as_uri())
        yield page, requested, complaints
        context.close()


def test_it_needs_nothing_but_itself(evidence) -> None:
    page, requested, complaints = evidence
    assert [url for url in requested if url != page.url] == []
    assert complaints == []


def test_it_says_what_a_steward_needs(evidence, released_home) -> None:
    page, _, _ = evidence
    text = page.inner_text("body")
    assert "SIMULATED" in text
    assert released_home.release.name in text
    assert {"expected", "observed"} <= set(re.findall(r"[a-z]+", text.lower()))
    assert page.title()
    assert page.get_attribute("html", "lang")


def test_it_fits_a_telephone_without_scrolling_sideways(evidence) -> None:
    page, _, _ = evidence
    page.set_viewport_size({"width": 390, "height": 800})
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0


def test_a_desktop_shows_each_check_whole(evidence) -> None:
    """Expected and observed are what the page is for: no table scrolls sideways."""
    page, _, _ = evidence
    page.set_viewport_size({"width": 1280, "height": 900})
    overflow = "[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
    widths = page.evaluate(overflow)
    assert widths
    assert max(widths) <= 0
