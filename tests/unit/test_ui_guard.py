"""The guard in front of a web server: who is refused, and what is handed on as it came.

A tiny application stands in Dagster's place, behind a real server on a real port: requests come as
a browser or an attacker writes them, byte by byte.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rcs_assets.ui_guard import Guard, answered_hosts

JSON = {"Content-Type": "application/json"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@dataclass
class Served:
    """The application behind the guard, and every request that came through to it."""

    port: int
    seen: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, headers: dict | None = None, body: str = ""):
        """Status, headers and text; headers are sent as they are, and Host only if it is named."""
        self.seen.clear()
        con = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        con.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        sent = {"Host": self.host, "Content-Length": str(len(body)), **(headers or {})}
        for name, value in sent.items():
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    con.putheader(name, one)
        con.endheaders(body.encode())
        answer = con.getresponse()
        text = answer.read().decode()
        con.close()
        return answer.status, answer.headers, text


def _application(seen: list[str]) -> Starlette:
    async def page(request: Request) -> PlainTextResponse:
        seen.append(f"{request.method} {request.url.path} {(await request.body()).decode()}")
        policy = {"Content-Security-Policy": "object-src 'none'", "Referrer-Policy": "unsafe-url"}
        return PlainTextResponse("of the application", headers=policy)

    async def talk(websocket: WebSocket) -> None:
        seen.append("websocket")
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS"]
    return Starlette(
        routes=[WebSocketRoute("/graphql", talk), Route("/{path:path}", page, methods=methods)]
    )


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Served(listening.getsockname()[1])
        guarded = Guard(_application(found.seen), answered_hosts("127.0.0.1", found.port))
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield found
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "LocalHost"])
def test_each_name_of_the_machine_is_answered(served: Served, name: str) -> None:
    host = f"{name}:{served.port}"
    status, _, text = served.ask("GET", "/runs", {"Host": host, "Origin": f"http://{host}"})
    assert (status, text) == (200, "of the application")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:{other}", "localhost",
        "localhost.:{port}", "127.0.0.1:{port}.evil.example", "evil.example@127.0.0.1:{port}",
        "127.1:{port}", "0.0.0.0:{port}", "", ["127.0.0.1:{port}", "evil.example"],
    ],
)  # fmt: skip
def test_another_host_is_refused(served: Served, host: str | list[str]) -> None:
    named = [
        one.format(port=served.port, other=served.port + 1)
        for one in ([host] if isinstance(host, str) else host)
    ]
    for method, path in (("GET", "/"), ("GET", "/server_info"), ("POST", "/graphql")):
        status, _, text = served.ask(method, path, {**JSON, "Host": named})
        assert status in (400, 403) and served.seen == []
        # The server itself refuses what HTTP forbids.
        assert "Refused: this UI answers to 127.0.0.1:" in text or status == 400
        assert "evil" not in text


def test_a_request_without_a_host_is_refused(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), 10) as raw:
        raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = raw.makefile("rb").read().decode()
    assert answer.split()[1] == "403" and "another host or none" in answer
    assert served.seen == []


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:{other}",
        "https://127.0.0.1:{port}", "http://127.0.0.1:{port}.evil.example", "file://",
        ["http://127.0.0.1:{port}", "http://evil.example"],
    ],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/graphql"), ("PUT", "/x")])
def test_another_pages_request_is_refused(served, origin, method: str, path: str) -> None:
    named = [
        one.format(port=served.port, other=served.port + 1)
        for one in ([origin] if isinstance(origin, str) else origin)
    ]
    status, _, text = served.ask(method, path, {**JSON, "Origin": named})
    assert status == 403 and "(Origin)" in text
    assert served.seen == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none of them"])
@pytest.mark.parametrize(
    ("method", "path", "mode", "kind"),
    [
        ("GET", "/", "no-cors", "image"), ("GET", "/logs/x", "no-cors", "script"),
        ("GET", "/", "navigate", "iframe"), ("GET", "/", "cors", "empty"),
        ("GET", "/graphql", "navigate", "document"), ("POST", "/runs", "navigate", "document"),
        ("GET", "/", None, None),
    ],
)  # fmt: skip
def test_what_another_site_loads_or_sends_is_refused(served, site, method, path, mode, kind):
    sent = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": kind}
    status, _, text = served.ask(method, path, {**JSON, **sent})
    assert status == 403 and text.startswith("Refused: ")
    assert served.seen == []


@pytest.mark.parametrize("headers", [LINK, {**LINK, "Sec-Fetch-Site": "same-site"}])
def test_another_site_may_link_to_a_page(served: Served, headers: dict[str, str]) -> None:
    assert served.ask("GET", "/runs/1", headers)[0] == 200


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_own_pages_and_typed_addresses_are_answered(served: Served, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
    assert served.ask("GET", "/", headers)[0] == 200
    own = {"Origin": f"http://{served.host}", "Content-Type": "application/json; charset=utf-8"}
    assert served.ask("POST", "/graphql", {**headers, **own}, '{"query": "{a}"}')[0] == 200
    assert served.seen == ['POST /graphql {"query": "{a}"}']


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql?query=mutation{x}", "/%67raphql?query={a}"])
def test_graphql_is_asked_by_post_alone(served: Served, method: str, path: str) -> None:
    assert served.ask(method, path, {**JSON, "Accept": "text/html"})[0] == 403
    assert served.seen == []


@pytest.mark.parametrize(
    "kind",
    [
        None, "", "text/plain", "application/x-www-form-urlencoded", "application/graphql",
        "multipart/form-data; boundary=x",
        # Dagster takes these two for JSON, and a browser sends them for any page.
        "text/plain; application/json", "text/plain;application/json",
        ["application/json", "text/plain"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_check/a", "/graphql?query={a}"])
def test_what_a_plain_form_can_send_is_refused(served: Served, kind, path: str) -> None:
    status, _, text = served.ask("POST", path, {"Content-Type": kind}, '{"query": "{a}"}')
    assert status == 415 and "Content-Type: application/json" in text
    assert served.seen == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_whatever_may_change_something_is_json(served: Served, method: str) -> None:
    assert served.ask(method, "/runs")[0] == 415 and served.seen == []
    assert served.ask(method, "/runs", JSON)[0] == 200


def test_every_answer_tells_the_browser_to_keep_it_to_itself(served: Served) -> None:
    for headers in ({}, {"Origin": "null"}):
        _, answered, _ = served.ask("GET", "/", headers)
        assert answered["X-Frame-Options"] == "DENY"
        assert answered["X-Content-Type-Options"] == "nosniff"
        assert answered.get_all("Referrer-Policy") == ["no-referrer"]
        assert "frame-ancestors 'none'" in answered.get_all("Content-Security-Policy")
        assert answered["Access-Control-Allow-Origin"] is None
    assert "object-src 'none'" in served.ask("GET", "/")[1].get_all("Content-Security-Policy")


def test_a_websocket_of_its_own_page_is_opened(served: Served) -> None:
    for headers in ({}, {"Origin": f"http://{served.host}"}):
        with connect(f"ws://{served.host}/graphql", additional_headers=headers) as talk:
            talk.send("a question")
            assert talk.recv() == "a question"


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("127.0.0.1", {"Origin": "http://evil.example"}), ("127.0.0.1", {"Origin": "null"}),
        ("127.0.0.1", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "websocket"}),
        ("127.0.0.1", {**LINK}), ("evil.example", {}),
    ],
)  # fmt: skip
def test_a_websocket_of_another_page_is_refused(served: Served, host: str, headers) -> None:
    served.seen.clear()
    with (
        socket.create_connection(("127.0.0.1", served.port), 10) as raw,
        pytest.raises(InvalidStatus) as refused,
    ):
        connect(f"ws://{host}:{served.port}/graphql", sock=raw, additional_headers=headers)
    assert refused.value.response.status_code == 403
    assert served.seen == []


def test_hosts_are_those_that_the_ui_was_started_for() -> None:
    own = {"127.0.0.1:3000", "localhost:3000", "[::1]:3000"}
    assert answered_hosts("127.0.0.1", 3000) == own
    assert answered_hosts("Rcs.Council.Example", 3000) == own | {"rcs.council.example:3000"}
    assert answered_hosts("fd00::5", 3000) == own | {"[fd00::5]:3000"}
    assert answered_hosts("localhost", 80) >= {"localhost", "localhost:80", "[::1]"}
