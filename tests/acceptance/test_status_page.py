"""The programme's status page as a person opens it: from a file, offline, in a browser."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from rcs_assets.programme import load_programme
from rcs_assets.programme.breaches import View
from rcs_assets.programme.progress import progress
from rcs_assets.programme.status_page import status_page
from rcs_assets.programme.tracking import load_tracking
from tests.acceptance.test_evidence_page import FLAGS

pytestmark = pytest.mark.browser
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
TABLES = "[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
# Contrast of every text colour with the background that lies under it (WCAG 1.4.3).
CONTRAST = """() => {
  const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => { x /= 255;
    return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; });
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const under = e => { while (e) { const b = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(b)) return b; e = e.parentElement; } return 'rgb(255, 255, 255)'; };
  return Math.min(...[...document.querySelectorAll('main *, header *')].map(e => {
    const a = light(getComputedStyle(e).color), b = light(under(e));
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); })); }"""


def test_it_opens_alone_and_fits(chromium: Path, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    config = tmp_path / "config"
    config.mkdir()
    (config / "milestones.csv").write_text(
        "engagement,milestone,due_on,done_on,source\nt3-moray,jsc_plan,2019-12-01,,a test\n"
    )
    view = View(load_programme(config), load_tracking(config), date(2020, 2, 1), True)
    file = tmp_path / "status.html"
    file.write_text(status_page(progress(view), is_simulated=True), encoding="utf-8")
    requested: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=str(chromium), headless=True, args=FLAGS
        )
        page = context.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.set_viewport_size({"width": 1400, "height": 900})
        page.goto(file.as_uri())
        assert max(page.evaluate(TABLES)) <= 0
        assert page.evaluate(CONTRAST) >= 4.5
        assert page.get_by_role("table", name="Milestones of each engagement").count() == 1
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.get_by_role("link", name="Milestones", exact=True).click()
        page.wait_for_url("**/status.html#milestones")
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate(OVERFLOW) <= 0
        assert "overdue 2019-12-01" in page.inner_text("#milestones")
        context.close()
    assert {url.partition("#")[0] for url in requested} == {file.as_uri()}
    assert complaints == []
