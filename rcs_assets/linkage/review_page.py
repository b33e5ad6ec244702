"""The clerk's page: one pair at a time, served by the machine that holds the vault, to itself.

Belongs here: a small web server on the loopback address, who may talk to it, the page. Does not
belong here: what is decided and who may (`review.py`).

Identifiers are shown, so the page goes nowhere: a random address that only the terminal tells,
only this machine, nothing kept by the browser, nothing loaded from anywhere, no script at all. No
file is written, and no request is logged; each look at a pair is an entry of the access log. The
server ends when the clerk leaves it alone.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs

import jinja2

from rcs_assets.errors import RcsError
from rcs_assets.linkage.review import VERDICTS, Seat

ADDRESS = "127.0.0.1"
_MOST_BYTES = 4096
_READ_SECONDS = 10


class ReviewServer:
    """The page of one clerk.

    Args:
        seat: who decides what.
        idle_minutes: how long it waits for the next request.
    """

    def __init__(self, seat: Seat, idle_minutes: float) -> None:
        self.seat = seat
        self.token = secrets.token_urlsafe(32)
        self.idle_seconds = 60 * idle_minutes
        self.used = time.monotonic()
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer((ADDRESS, 0), _handler(self))
        self._http.daemon_threads = True
        self._http.timeout = 0.2
        self._ended = False

    @property
    def host(self) -> str:
        """Address and port, as a browser sends them."""
        return f"{ADDRESS}:{self._http.server_address[1]}"

    @property
    def url(self) -> str:
        """Where the page is; whoever knows it can decide."""
        return f"http://{self.host}/{self.token}/"

    def serve(self) -> None:
        """Answer until nobody has asked for `idle_minutes`, or `end` is called."""
        try:
            while not self._ended and time.monotonic() - self.used < self.idle_seconds:
                self._http.handle_request()
        finally:
            self._http.server_close()

    def end(self) -> None:
        """Stop answering."""
        self._ended = True


def _handler(server: ReviewServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        review = server

    return Handler


class _Handler(BaseHTTPRequestHandler):
    review: ReviewServer
    timeout = _READ_SECONDS
    server_version = "rcs"
    sys_version = ""

    def do_GET(self) -> None:
        if self._is_refused("/"):
            return
        with self.review.lock:
            self._answer(*_case_page(self.review))

    def do_POST(self) -> None:
        if self._is_refused("/decide"):
            return
        form = self._form()
        if form is None:
            self._answer(HTTPStatus.BAD_REQUEST, _message("The form is not in its form."))
            return
        with self.review.lock:
            try:
                self.review.seat.decide(form["queue"], form["case"], form["verdict"])
            except RcsError as error:
                self._answer(HTTPStatus.CONFLICT, _message(str(error)))
                return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", f"/{self.review.token}/")
        self._close_headers("")

    def _is_refused(self, path: str) -> bool:
        """Another machine's name, another site's form, an address that the terminal did not tell.

        The first keeps out pages that make their own name point here (DNS rebinding).
        """
        known = hmac.compare_digest(
            self.path.encode("utf-8", "replace"), f"/{self.review.token}{path}".encode()
        )
        origin = self.headers.get("Origin", f"http://{self.review.host}")
        if (
            known
            and self.headers.get("Host") == self.review.host
            and origin == f"http://{self.review.host}"
        ):
            self.review.used = time.monotonic()
            return False
        self._answer(HTTPStatus.NOT_FOUND, _message("There is nothing here."))
        return True

    def _form(self) -> dict[str, str] | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MOST_BYTES:
            return None
        text = self.rfile.read(int(length)).decode("utf-8", "replace")
        fields = {name: values[0] for name, values in parse_qs(text).items()}
        return fields if fields.keys() == {"queue", "case", "verdict"} else None

    def _answer(self, status: HTTPStatus, page: tuple[str, str]) -> None:
        text, nonce = page
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        content = text.encode()
        self._close_headers(nonce, len(content))
        self.wfile.write(content)

    def _close_headers(self, nonce: str, length: int = 0) -> None:
        style = f"'nonce-{nonce}'" if nonce else "'none'"
        for name, value in {
            "Content-Length": str(length),
            "Cache-Control": "no-store",
            "Content-Security-Policy": (
                f"default-src 'none'; style-src {style}; form-action 'self'; "
                "frame-ancestors 'none'; base-uri 'none'"
            ),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "X-Robots-Tag": "noindex",
            "Connection": "close",
        }.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """No request is logged: its address is the key to the page."""


def _case_page(review: ReviewServer) -> tuple[HTTPStatus, tuple[str, str]]:
    try:
        case = review.seat.next_case()
    except RcsError as error:
        return HTTPStatus.SERVICE_UNAVAILABLE, _message(str(error))
    return HTTPStatus.OK, _rendered(
        case=case,
        seat=review.seat,
        verdicts=VERDICTS,
        is_simulated=review.seat.home.profile == "demo",
        action=f"/{review.token}/decide",
    )


def _message(text: str) -> tuple[str, str]:
    return _rendered(message=text)


def _rendered(**content: Any) -> tuple[str, str]:
    nonce = secrets.token_urlsafe(16)
    return _template().render(nonce=nonce, **content), nonce


@cache
def _template() -> jinja2.Template:
    text = (resources.files("rcs_assets.linkage") / "data" / "review.html").read_text("utf-8")
    return jinja2.Environment(
        autoescape=True, undefined=jinja2.ChainableUndefined, trim_blocks=True
    ).from_string(text)
