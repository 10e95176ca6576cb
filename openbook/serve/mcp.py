"""The Model Context Protocol: over HTTP at /mcp for whoever holds a key, over stdio for whoever started the process.

No sessions: every HTTP request is let in by its own key and served with that key's groups, so there is no session of
one caller for another to take over, nothing to keep, and a restart of the server goes unnoticed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import Response
from starlette.requests import Request

from openbook.serve.access import Caller, caller
from openbook.serve.errors import Refused
from openbook.serve.mcp_desks import Alone, Desk, Served

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_KEY = "openbook.caller"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from openbook.serve.mcp_protocol import Context, protocol

    def desk_of(context: Context) -> Desk:
        assert isinstance(context.request, Request)
        return Served(app.state.server, context.request.scope[_KEY])

    # Host and Origin were looked at by then, with the settings of all other routes.
    manager = StreamableHTTPSessionManager(protocol(desk_of), stateless=True)
    async with manager.run():
        app.state.mcp = manager
        yield


router = APIRouter(lifespan=_lifespan)


class _Spoken(Response):
    """Hands a request over to the protocol."""

    def __init__(self, manager: Any) -> None:
        super().__init__()
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self._manager.handle_request(scope, receive, send)


@router.post("/mcp", include_in_schema=False)
async def speak(request: Request, who: Annotated[Caller, Depends(caller)]) -> Response:
    """One message of an MCP client."""
    if not (who.may("ask") or who.may("search")):
        raise Refused(403, "this key may not do that: it lacks the scope 'ask' or 'search'", code="missing_scope")
    request.scope[_KEY] = who
    return _Spoken(request.app.state.mcp)


@router.api_route("/mcp", methods=["GET", "DELETE"], include_in_schema=False)
async def quiet(_: Annotated[Caller, Depends(caller)]) -> Response:
    """This server sends nothing unasked and keeps no sessions, which the protocol has clients learn by a 405."""
    raise Refused(405, "send messages with POST", headers={"Allow": "POST"})


async def speak_stdio(root: Path, groups: tuple[str, ...] = (), *, notice: Callable[[str], None]) -> None:
    """Serve one MCP host on stdin and stdout until it closes them; `groups` are those the host's user is in."""
    from mcp.server.stdio import stdio_server

    from openbook.serve.mcp_protocol import protocol

    desk = Alone(root, groups, notice=notice)
    server = protocol(lambda _: desk)
    try:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    except* BrokenPipeError:  # the host was killed: there is nobody to tell
        pass
    finally:
        desk.close()
