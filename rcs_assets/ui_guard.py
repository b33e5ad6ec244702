"""Who may talk to Dagster's web server: its own pages and this machine's programs, no other page.

Belongs here: which requests are refused before Dagster sees them, and what the browser is told with
every answer. Does not belong here: starting anything (`ui.py`, `ui_server.py`); who sits at the
machine, since there is no login; nothing of the platform or of Dagster is imported.

Dagster's web server looks at neither Host nor Origin, carries out GraphQL mutations by GET, and
reads JSON from a body that says it is text. So any page that the operator has open in the same
browser could start and delete runs by a link or a form, and one whose name is made to point here
(DNS rebinding) could read everything as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from starlette import status
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
GRAPHQL = "/graphql"
_HTTP_PORT = 80
# What a page of the UI, an address that is typed, and a program send.
_OWN_SITES = (None, "same-origin", "none")
_ANSWERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def answered_hosts(host: str, port: int) -> frozenset[str]:
    """The Host headers of a UI that listens on `host` and `port`, as browsers write them."""
    names = [f"[{name}]" if ":" in name else name.lower() for name in (*LOOPBACK, host)]
    hosts = {f"{name}:{port}" for name in names}
    # The port that a browser leaves out.
    return frozenset(hosts | set(names) if port == _HTTP_PORT else hosts)


@dataclass(frozen=True)
class Refusal:
    """The answer to a request that goes no further."""

    status: HTTPStatus
    reason: str


class Guard:
    """The web server behind it gets only what its own pages and programs of this machine ask.

    Args:
        app: the web server.
        hosts: as `answered_hosts` gives them.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on; an answer gets its headers either way."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message))
            await send(message)

        refusal = refused(scope, self._hosts)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
            return
        if scope["type"] == "websocket":
            # The server makes it a 403. No script is shown more of a refused handshake, and uvicorn
            # takes one that is answered in words for an error of the application, and logs it.
            await send({"type": "websocket.close", "code": status.WS_1008_POLICY_VIOLATION})
            return
        answer = PlainTextResponse(
            f"Refused: {refusal.reason}\n", refusal.status, {"Cache-Control": "no-store"}
        )
        await answer(scope, receive, send_guarded)


def refused(scope: Scope, hosts: frozenset[str]) -> Refusal | None:
    """Why a request is refused; None if it is not. What it holds is not repeated."""
    headers = Headers(scope=scope)
    return (
        _other_host(headers, hosts)
        or _other_origin(headers, hosts)
        or _other_site(scope, headers)
        or _other_form(scope, headers)
    )


def _other_host(headers: Headers, hosts: frozenset[str]) -> Refusal | None:
    named = [name.lower() for name in headers.getlist("host")]
    if len(named) == 1 and named[0] in hosts:
        return None
    return Refusal(
        HTTPStatus.FORBIDDEN,
        f"this UI answers to {', '.join(sorted(hosts))}, and the request names another host or "
        "none. A foreign page's name can be made to point here. Open it by one of these, or start "
        "it with --host.",
    )


def _other_origin(headers: Headers, hosts: frozenset[str]) -> Refusal | None:
    """Browsers name the page that a script, a form or a websocket comes from; programs do not."""
    own = {f"http://{host}" for host in hosts}
    if all(origin.lower() in own for origin in headers.getlist("origin")):
        return None
    return Refusal(
        HTTPStatus.FORBIDDEN,
        "the request comes from another page than the UI's (Origin), and no other may ask it.",
    )


def _other_site(scope: Scope, headers: Headers) -> Refusal | None:
    """Pictures, frames and scripts of other pages have no Origin; browsers name their site.

    Another port of this machine is of the same site and yet another page.
    """
    if headers.get("sec-fetch-site") in _OWN_SITES:
        return None
    is_link = (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and headers.get("sec-fetch-dest") == "document"
    )
    if is_link:
        return None
    return Refusal(
        HTTPStatus.FORBIDDEN,
        "the request comes from another page than the UI's (Sec-Fetch-Site), which may link to a "
        "page of it and no more.",
    )


def _other_form(scope: Scope, headers: Headers) -> Refusal | None:
    """What a link or a plain form could send; the UI asks by POST and in JSON alone."""
    if scope["type"] != "http":
        return None
    if scope["path"] == GRAPHQL and scope["method"] != "POST":
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "GraphQL is asked by POST here: by GET a link could start or delete a run.",
        )
    if scope["method"] in ("GET", "HEAD") or _media_types(headers) == ["application/json"]:
        return None
    return Refusal(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "what is sent must be Content-Type: application/json, which no plain form can send.",
    )


def _media_types(headers: Headers) -> list[str]:
    kinds = headers.getlist("content-type")
    return [kind.partition(";")[0].strip().lower() for kind in kinds]


def _add_headers(headers: MutableHeaders) -> None:
    for name, value in _ANSWERS.items():
        headers[name] = value
    # Beside Dagster's own policy, not in its place: the browser holds both.
    headers.append("Content-Security-Policy", "frame-ancestors 'none'")
