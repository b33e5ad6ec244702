"""The clerk's page in a browser: by keyboard, to itself, and nothing of it stays."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from rcs_assets.linkage.review import Seat
from rcs_assets.linkage.review_page import ReviewServer
from rcs_assets.storage import Home
from rcs_assets.storage.access_log import read_access
from tests.acceptance.test_explorer import AXE_RUN, axe, browser  # noqa: F401
from tests.acceptance.test_report_pages import CONTRAST, OVERFLOW
from tests.privacy.search import search_home, spellings
from tests.unit.linkage.test_clerical import (
    CANARIES,
    ENGAGEMENT,
    SETTINGS,
    decide,
    linked,
    make_home,
    queue,
    run,
)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return make_home(tmp_path_factory.mktemp("page") / "home")


class Clerks:
    """Pages of several clerks, each served until the test ends."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.served: list[tuple[ReviewServer, threading.Thread]] = []

    def serve(self, name: str, *, adjudicates: bool = False) -> ReviewServer:
        seat = Seat(self.home, ENGAGEMENT, name, adjudicates, SETTINGS)
        server = ReviewServer(seat, idle_minutes=5)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        self.served.append((server, thread))
        return server


@pytest.fixture
def clerks(home) -> Iterator[Clerks]:
    found = Clerks(home)
    yield found
    for server, thread in found.served:
        server.end()
        thread.join(10)
        assert not thread.is_alive()


def send(server: ReviewServer, method: str, path: str, body: str = "", **headers: str):
    """One request as a program sends it; the answer with its headers and text."""
    address, port = server.host.split(":")
    con = http.client.HTTPConnection(address, int(port), timeout=30)
    con.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
    answer = con.getresponse()
    text = answer.read().decode()
    con.close()
    return answer, text


def test_clerks_decide_by_keyboard_and_the_page_asks_nobody_else(
    clerks,
    browser,  # noqa: F811
):
    server = clerks.serve("clerk-a")
    context = browser.new_context()
    page = context.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(server.url)
    assert page.title() == "SIMULATED – Is this one child?"
    assert page.evaluate(CONTRAST) == []
    cells = page.locator("tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.children].map(c => c.textContent))"
    )
    assert [cells[0][0], cells[2][0]] == ["First forename", "Surname"]
    assert cells[0][3] == "blank" and cells[2][1] == cells[2][2] and cells[2][3] == "same"
    shown = page.inner_text("body").lower()
    assert not [word for word in ("weight", "probab", "score", "clerk-b") if word in shown]
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate(OVERFLOW) <= 0
    waiting_n = len(queue(clerks.home))
    for place in range(waiting_n):
        assert f"{waiting_n - place} pair" in page.locator("h1 + p").inner_text()
        # The browser sets the focus a moment after the page is there.
        page.wait_for_function("document.activeElement?.name === 'verdict'")
        page.keyboard.press("Space")
        if place == 1:
            page.keyboard.press("ArrowDown")
        with page.expect_navigation():
            page.keyboard.press("Enter")
    assert page.locator("h1").inner_text() == "No pair waits for you"
    assert {url.split("/")[2] for url in asked} == {server.host}
    assert said == []
    assert context.cookies() == [] and page.evaluate("localStorage.length") == 0
    context.close()
    _a_third_person_settles(clerks, browser)


def _a_third_person_settles(clerks, browser):  # noqa: F811
    """The second clerk differs on two pairs; the third decides them, and links change."""
    first, second, *_ = cases = list(queue(clerks.home))
    for case in cases:
        decide(clerks.home, "clerk-b", case, "different" if case == first else "same")
    page = browser.new_page()
    page.goto(clerks.serve("clerk-c", adjudicates=True).url)
    assert "two reviewers differ" in page.locator("h1 + p").inner_text()
    assert "2 pairs wait" in page.locator("h1 + p").inner_text()
    page.get_by_label("Two children").check()
    page.get_by_role("button").click()
    page.get_by_label("One child").check()
    page.get_by_role("button").click()
    page.get_by_text("No pair waits").first.wait_for()
    records = {case: record for case, (record, _) in queue(clerks.home).items()}
    links = linked(run(clerks.home))
    assert links.keys() == set(records.values()) - {records[first]}
    assert records[second] in links
    page.close()


def test_nobody_else_gets_an_answer_and_nothing_is_kept(tmp_path):
    home = make_home(tmp_path / "home")
    clerks = Clerks(home)
    server = clerks.serve("clerk-a")
    path = f"/{server.token}/"
    for method, where, headers in (
        ("GET", "/", {}),
        ("GET", f"/{'x' * len(server.token)}/", {}),
        ("GET", f"/{server.token}", {}),
        ("GET", "/favicon.ico", {}),
        ("GET", path, {"Host": "evil.example"}),
        ("POST", f"{path}decide", {"Origin": "http://evil.example"}),
        ("POST", f"{path}decide", {"Origin": "null"}),
    ):
        answer, text = send(server, method, where, **headers)
        assert answer.status == 404 and "Sample file" not in text, where
    answer, text = send(server, "GET", path)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script" not in policy and "<script" not in text
    assert answer.headers["Access-Control-Allow-Origin"] is None
    case, (_, name) = next(iter(queue(home).items()))
    good = urlencode({"queue": name, "case": case, "verdict": "same"})
    for body, status in (
        ("", 400), ("verdict=same", 400), ("x" * 5000, 400), (good.replace(name, "0"), 409),
        (good.replace("same", "perhaps"), 409), (good, 303), (good, 409),
    ):  # fmt: skip
        answer, text = send(server, "POST", f"{path}decide", body)
        assert answer.status == status, body
        assert answer.headers["Cache-Control"] == "no-store"
    assert "decided the pair already" in text
    server.idle_seconds = 0
    clerks.served[0][1].join(10)
    assert not clerks.served[0][1].is_alive()
    purposes = [entry.purpose for entry in read_access(home) if entry.what == "vault.duckdb"]
    assert purposes.count("clerical review") >= 2
    assert search_home(home.path, {name: spellings(name) for name in CANARIES}) == []
    assert server.token not in "".join(
        file.read_text("utf-8", "replace") for file in home.path.rglob("*") if file.is_file()
    )


@pytest.mark.slow
def test_no_rule_of_axe_is_broken_on_the_clerks_page(tmp_path, browser, axe):  # noqa: F811
    broken = {}
    clerks = Clerks(make_home(tmp_path / "home"))
    for name, server in {
        "case": clerks.serve("clerk-x"), "end": clerks.serve("clerk-x", adjudicates=True),
    }.items():  # fmt: skip
        page = browser.new_page()
        page.goto(server.url)
        page.evaluate(axe)
        if found := page.evaluate(AXE_RUN):
            broken[name] = found
        page.close()
        server.end()
    assert broken == {}
