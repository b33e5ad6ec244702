"""Dagster's own web server behind the guard: its pages work, and those of others do nothing.

The server is the UI's real one, on an instance without a code location: it is up in seconds.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rcs_assets.cli import main
from rcs_assets.storage import Home
from tests.acceptance.test_evidence_page import FLAGS
from tests.conftest import QUIET

# Something that a mutation does and a query tells, without any code location.
MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "by_a_stranger", limit: 1) }'
KEYS = "{ instance { concurrencyLimits { concurrencyKey } } }"


@dataclass(frozen=True)
class Ui:
    """A running web server."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Status and text of an answer; a body is posted as JSON unless the headers say else."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent = {"Content-Type": "application/json", **sent}
        content = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(f"{self.url}{path}", content, sent)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def changed(self) -> set[str]:
        """What mutations have changed."""
        status, text = self.ask("/graphql", {"query": KEYS})
        assert status == 200, text
        found = json.loads(text)["data"]["instance"]["concurrencyLimits"]
        return {one["concurrencyKey"] for one in found}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("ui")
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    (folder / "workspace.yaml").write_text("load_from: []\n")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "rcs_assets.ui_server", "--host", "127.0.0.1",
                "--workspace", folder / "workspace.yaml", "--socket", str(listening.fileno()),
            ],
            env={**os.environ, **QUIET, "DAGSTER_HOME": str(folder)}, stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()], process_group=0,
        )  # fmt: skip
        found = Ui(listening.getsockname()[1])
    try:
        assert found.ask("/server_info")[0] == 200
        yield found
        # Its parent is gone, as far as it knows: it does not outlive it.
        process.stdin.close()
        process.wait(20)
    finally:
        process.kill()
        process.wait()


def test_programs_of_the_machine_and_own_pages_ask_and_change(served: Ui) -> None:
    assert "dagster_version" in served.ask("/server_info")[1]
    assert served.ask("/")[0] == 200
    own = {"Origin": served.url, "Sec_Fetch_Site": "same-origin"}
    made = served.ask("/graphql", {"query": MUTATION.replace("by_a_stranger", "by_us")}, **own)
    assert made[0] == 200 and "errors" not in made[1]
    assert "by_us" in served.changed()


def test_others_change_nothing(served: Ui) -> None:
    question = {"query": MUTATION}
    link = f"/graphql?{urllib.parse.urlencode(question)}"
    for status, (said, _) in (
        (403, served.ask(link)),
        (403, served.ask(link, Accept="text/html")),
        (403, served.ask(link, question, Origin="http://evil.example")),
        (403, served.ask("/graphql", question, Origin="null")),
        (403, served.ask("/graphql", question, Host=f"evil.example:{served.port}")),
        (403, served.ask("/graphql", question, Host="127.0.0.1")),
        (403, served.ask("/graphql", question, Sec_Fetch_Site="cross-site")),
        (415, served.ask(link, question, Content_Type="text/plain")),
        (415, served.ask("/graphql", question, Content_Type="text/plain; application/json")),
        (415, served.ask("/graphql", question, Content_Type="application/graphql")),
        (403, served.ask("/server_info", Host="evil.example")),
        (403, served.ask("/report_asset_check/a", {}, Origin="http://evil.example")),
    ):
        assert said == status
    assert "by_a_stranger" not in served.changed()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--port", "{taken}"], 1, "Where: 127.0.0.1, port {taken}. Why: Address already in use."),
        (["--host", "0.0.0.0"], 2, "The UI cannot listen on every address."),
        (["--host", "::"], 2, "it answers only to the names that it was started for"),
        (["--host", "192.0.2.1"], 1, "The UI cannot listen there. Where: 192.0.2.1"),
        (["--home", "{folder}/none"], 1, "There is no installation here"),
    ],
)
def test_what_it_cannot_serve_it_says(served: Ui, tmp_path, capsys, words, status, said) -> None:
    Home.open(tmp_path / "home", profile="demo")
    told = {"taken": served.port, "folder": tmp_path}
    named = [word.format(**told) for word in words]
    assert main(["ui", "--home", str(tmp_path / "home"), "--port", "0", *named]) == status
    shown = capsys.readouterr()
    assert said.format(**told) in shown.err and shown.out == ""


ATTACK = """<!doctype html><title>a stranger's page</title><iframe name="inside"></iframe>
<form method="post" target="inside" enctype="text/plain" action="UI/graphql?query=MUTATION">
<input name='{"query": "MUTATION", "a": "' value='"}'></form>
<script>
const body = JSON.stringify({query: decodeURIComponent("MUTATION")});
const post = kind => fetch("UI/graphql", {method: "POST", mode: "no-cors", body,
  headers: {"Content-Type": kind}}).catch(() => 0);
const load = (kind, path) => new Promise(done => { const e = document.createElement(kind);
  e.onload = e.onerror = done; e.src = "UI" + path; document.body.append(e); });
const talk = () => new Promise(done => { const w = new WebSocket("WS/graphql", "graphql-ws");
  w.onopen = () => { window.talked = true; done(); }; w.onerror = done; });
window.attack = async () => {
  document.forms[0].submit();
  navigator.sendBeacon("UI/graphql", body);
  await Promise.all([post("text/plain"), post("text/plain;application/json"), talk(),
    fetch("UI/graphql?query=MUTATION", {mode: "no-cors"}).catch(() => 0),
    fetch("UI/graphql", {method: "POST", body, headers: {"Content-Type": "application/json"}})
      .catch(() => 0),
    load("img", "/graphql?query=MUTATION"), load("script", "/server_info"), load("iframe", "/")]);
  return true; };
</script>"""


@pytest.fixture
def stranger(served: Ui) -> Iterator[str]:
    """The address of a foreign page, on another port of this machine: of the same site even."""
    text = ATTACK.replace("MUTATION", urllib.parse.quote(MUTATION))
    text = text.replace("UI", served.url).replace("WS", served.url.replace("http", "ws"))

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.browser
def test_in_a_browser_its_pages_work_and_a_strangers_do_nothing(
    served: Ui, stranger: str, chromium: Path
) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium),
            args=[*FLAGS[1:], "--host-resolver-rules=MAP evil.example 127.0.0.1"],
        )
        _own_pages_work(served, browser.new_page())
        for page_of_others in (stranger, stranger.replace("127.0.0.1", "evil.example")):
            _a_stranger_is_refused(served, browser.new_page(), page_of_others)
        assert "by_a_stranger" not in served.changed()
        # Its name points here, as after DNS rebinding: nothing is read either.
        page = browser.new_page()
        assert page.goto(f"http://evil.example:{served.port}/server_info").status == 403
        assert "dagster_version" not in page.content()
        browser.close()


def _own_pages_work(served: Ui, page: Any) -> None:
    """The page of runs asks by POST and by a websocket, and shows what it was told."""
    answers: list[tuple[str, str, int]] = []
    page.on("response", lambda one: answers.append((one.request.method, one.url, one.status)))
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    talks: list[Any] = []
    page.on("websocket", lambda one: talks.append(one))
    page.goto(f"{served.url}/runs", wait_until="networkidle")
    page.get_by_text("No runs").first.wait_for()
    own = [(method, url, status) for method, url, status in answers if served.url in url]
    assert ("POST", f"{served.url}/graphql", 200) in {(m, u.split("?")[0], s) for m, u, s in own}
    assert [one for one in own if one[2] >= 400] == []
    assert [talk.is_closed() for talk in talks] == [False] and complaints == []


def _a_stranger_is_refused(served: Ui, page: Any, address: str) -> None:
    """Whatever the page tries, as far as the browser lets it."""
    answers: list[tuple[str, str, int]] = []

    def note(one: Any) -> None:
        if served.url in one.url:
            answers.append((one.request.method, one.request.resource_type, one.status))

    page.on("response", note)
    page.goto(address)
    assert page.evaluate("window.attack()")
    page.wait_for_load_state("networkidle")
    assert {status for *_, status in answers} == {403}
    assert {("GET", "fetch"), ("POST", "fetch"), ("POST", "document")} <= {
        (method, kind) for method, kind, _ in answers
    }
    assert page.evaluate("window.talked") is None
