"""Closed unless listed: who calls is found out before a route is, and before a byte of what they send is read.

A route's own `needs` says what a caller may do there. This says that nobody gets as far as that without being somebody,
whoever forgot what: FastAPI reads a whole upload before it asks a route's dependencies, and makes routes of its own.
"""

from __future__ import annotations

import anyio.to_thread
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from openbook.serve.access import caller
from openbook.serve.errors import Refused

OPEN = frozenset({"/healthz", "/readyz", "/login", "/login/oidc", "/login/callback", "/logout"})
"""Paths that are answered to strangers; beside them what pages load, under /static/."""


class Gate:
    """Lets those through who are somebody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"] not in OPEN and not scope["path"].startswith("/static/"):
            request = Request(scope)
            try:
                await anyio.to_thread.run_sync(caller, request)  # asks the store, and may cost an argon2
            except Refused as refused:
                # As for what a route refuses: an error in JSON, or for a page the way to the login.
                answer = await request.app.exception_handlers[Refused](request, refused)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
