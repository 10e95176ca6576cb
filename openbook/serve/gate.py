"""Closed unless listed: who calls is found out before a route is, and before a byte of what they send is read.

A route's own `needs` says what a caller may do there. This says that nobody gets as far as that without being somebody,
whoever forgot what: FastAPI reads a whole upload before it asks a route's dependencies, and makes routes of its own.
A stream of events ends when its caller would not be let in any more.
"""

from __future__ import annotations

import asyncio

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openbook.serve.access import Caller, caller, still
from openbook.serve.errors import Refused

OPEN = frozenset({"/healthz", "/readyz", "/login", "/login/oidc", "/login/callback", "/logout"})
"""Paths that are answered to strangers; beside them what pages load, under /static/."""

RECHECK = 2.0
"""Seconds that an open stream of events may outlive the right to it."""


class Gate:
    """Lets those through who are somebody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"] not in OPEN and not scope["path"].startswith("/static/"):
            request = Request(scope)
            try:
                who = await anyio.to_thread.run_sync(caller, request)  # asks the store, and may cost an argon2
            except Refused as refused:
                # As for what a route refuses: an error in JSON, or for a page the way to the login.
                answer = await request.app.exception_handlers[Refused](request, refused)
                await answer(scope, receive, send)
                return
            await self._while_known(request, who, receive, send)
            return
        await self._app(scope, receive, send)

    async def _while_known(self, request: Request, who: Caller, receive: Receive, send: Send) -> None:
        watching: list[asyncio.Task[None]] = []
        open_stream = False

        async def watched(message: Message) -> None:
            nonlocal open_stream
            if message["type"] == "http.response.start":
                kind = dict(message.get("headers", ())).get(b"content-type", b"")
                open_stream = kind.startswith(b"text/event-stream")
                if open_stream:
                    watching.append(asyncio.create_task(_leave(request, who, inner)))
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                open_stream = False
            await send(message)

        try:
            with anyio.CancelScope() as inner:
                await self._app(request.scope, receive, watched)
        finally:
            for task in watching:
                task.cancel()
        if inner.cancelled_caught and open_stream:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _leave(request: Request, who: Caller, stream: anyio.CancelScope) -> None:
    """Cancel a stream once its caller is nobody any more, or somebody else."""
    try:
        while await anyio.to_thread.run_sync(still, request, who):
            await anyio.sleep(RECHECK)
    finally:  # also when it cannot be told any more
        stream.cancel()
