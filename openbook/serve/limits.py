"""What may come in and what goes out, whoever asks: hosts, origins, sizes, rates, and the headers of every answer.

Pure ASGI, before any route is found. Knows no caller; access.py asks the Limiter on their behalf.
"""

from __future__ import annotations

import ipaddress
import json
import math
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openbook.serve import errors
from openbook.serve.errors import Refused

if TYPE_CHECKING:
    from fastapi import FastAPI

    from openbook.serve.state import Server
    from openbook.settings import Serve

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The content-security policy of everything that brings none of its own."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # under no-referrer a browser sends our own forms with Origin: null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SMALL = 16_000_000
"""Bytes of a request that carries no file."""
_MINUTE = 60.0


class Limiter:
    """Counts per key and minute. Thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._minute = -1
        self._counts: dict[str, int] = {}

    def check(self, key: str, per_minute: int, *, count: bool = True) -> None:
        """Count one (or only look); raises Refused 429 with Retry-After beyond `per_minute`, 0 being no limit."""
        if per_minute <= 0:
            return
        now = time.time()
        with self._turn:
            if int(now // _MINUTE) != self._minute:
                self._minute, self._counts = int(now // _MINUTE), {}
            before = self._counts.get(key, 0)
            if count:
                self._counts[key] = before + 1
        if before >= per_minute:
            wait = math.ceil(_MINUTE - now % _MINUTE)
            raise Refused(
                429,
                f"too many requests: {per_minute} a minute are allowed; come back in {wait} seconds",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(wait)},
            )


def install(app: FastAPI, server: Server) -> None:
    """Put the checks before all that the application has so far."""
    app.add_middleware(Guard, server=server)
    # Outermost, so that a browser elsewhere gets its answer to "may I?" before anything is refused.
    if origins := server.workspace.settings.serve.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Mcp-Session-Id", "Mcp-Protocol-Version"],
            expose_headers=["Retry-After", "Mcp-Session-Id"],
        )


class Guard:
    """Refuses foreign hosts and origins and bodies that are too large; adds the headers of safety."""

    def __init__(self, app: ASGIApp, *, server: Server) -> None:
        self._app, self._server = app, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        settings, headers, path = self._server.workspace.settings.serve, Headers(scope=scope), scope["path"]

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                _harden(MutableHeaders(scope=message), path)
            await send(message)

        body = Body(receive, safe, _most(headers, settings), path)
        try:
            _check_host(headers.get("host", ""), settings)
            if scope["method"] not in _SAFE:
                _check_origin(headers, settings)
            body.check(headers.get("content-length", ""))
        except Refused as refused:
            await _answer(refused, safe, path)
            return
        await self._app(scope, body.receive, body.send)


class Body:
    """A request's body that may have so many bytes; one more, and the answer is 413 whatever the application made of
    the cut."""

    def __init__(self, receive: Receive, send: Send, most: int, path: str = "") -> None:
        self._receive, self._send, self._most, self._path = receive, send, most, path
        self._seen = 0
        self._begun = self._over = False

    def check(self, declared: str) -> None:
        """Raises Refused 413 for a length that says it will be too much, 400 for none that can be."""
        if declared and not declared.isdecimal():
            raise Refused(400, "the Content-Length is no number", code="bad_length")
        if declared and int(declared) > self._most:
            raise self._refused()

    async def receive(self) -> Message:
        """The next part of the body; beyond the limit, the client seems to have gone."""
        if self._over:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > self._most:
                self._over = True
                if not self._begun:
                    self._begun = True
                    await _answer(self._refused(), self._send, self._path)
                return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        """A part of the answer, unless the refusal has been given instead."""
        if self._over:
            return
        self._begun = True
        await self._send(message)

    def _refused(self) -> Refused:
        return Refused(
            413,
            f"the request is larger than {self._most / 1e6:g} MB; send less at once, or raise serve.max_upload_mb",
            code="too_large",
        )


async def _answer(refused: Refused, send: Send, path: str) -> None:
    body = json.dumps(errors.spoken(refused, path)).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    headers |= {name.lower(): value for name, value in refused.headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _most(headers: Headers, settings: Serve) -> int:
    uploads = headers.get("content-type", "").lower().startswith("multipart/form-data")
    return int(settings.max_upload_mb * 1e6) if uploads else min(_SMALL, int(settings.max_upload_mb * 1e6))


def _check_host(host: str, settings: Serve) -> None:
    """A page elsewhere may have its own name point here (DNS rebinding); it cannot have an address do so."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # half a pair of brackets
        name = host
    if name in {"localhost", settings.host.lower(), *(one.lower() for one in settings.names)}:
        return
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        raise Refused(
            421, f"this server is not called {name!r}; the operator can add the name to serve.names", code="wrong_host"
        ) from None


def _check_origin(headers: Headers, settings: Serve) -> None:
    """Another site's page must not act here in the name of who looks at it."""
    origin = headers.get("origin", "")
    if origin in settings.cors and origin:
        return
    foreign = bool(origin) and place(origin) != headers.get("host", "").lower()
    if foreign or headers.get("sec-fetch-site", "") in ("cross-site", "same-site"):
        raise Refused(
            403,
            f"a page of {origin or 'another site'!r} may not do this; the operator can allow it with serve.cors",
            code="cross_origin",
        )


def place(origin: str) -> str:
    """The host and port of an origin; "" for what is none.

    >>> place("https://Desk.example.org:8421"), place("null"), place("http://[")
    ('desk.example.org:8421', '', '')
    """
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _harden(headers: MutableHeaders, path: str) -> None:
    headers.setdefault("Content-Security-Policy", POLICY)
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if not path.startswith("/static/"):
        headers.setdefault("Cache-Control", "no-store")
