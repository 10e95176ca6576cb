"""A Server in, the ASGI application out: routers, errors, lifespan. Knows which modules there are, not what they do."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from openbook import provenance
from openbook.errors import OpenbookError
from openbook.serve import api_page, errors, limits, pages
from openbook.serve.errors import Refused
from openbook.serve.gate import Gate
from openbook.serve.meters import Watch
from openbook.serve.shapes import ErrorBody
from openbook.serve.state import Server

ROUTERS = (
    "openai_chat",
    "openai_embeddings",
    "openai_files",
    "openai_tuning",
    "documents",
    "searching",
    "asked",
    "work",
    "training",
    "comparisons",
    "review",
    "admin",
    "keys_api",
    "health",
    "api_page",
    "mcp",
    "login",
    "pages_ask",
    "pages_work",
    "pages_admin",
)
"""Modules of this room with a `router`."""
_CHAT, _BASE_URL = "use POST /v1/chat/completions", "end the client's base URL in /v1"
_ELSEWHERE = {
    "/responses": f"this server has no Responses API: {_CHAT} (in LangChain: ChatOpenAI(use_responses_api=False))",
    "/completions": _CHAT,
    **dict.fromkeys(("/chat/completions", "/models", "/embeddings", "/files", "/fine_tuning/jobs"), _BASE_URL),
}
"""What a client of the official API means that asks for what is not here."""
WORKERS = ("work", "training", "comparisons")
"""Modules of this room with `register(server)`, which says what kinds of jobs they do."""


def create_app(server: Server) -> FastAPI:
    """The application over one workspace."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        server.jobs.start()
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(server.jobs.stop, server.workspace.settings.serve.shutdown_seconds)
            await anyio.to_thread.run_sync(server.traces.close)

    for name in WORKERS:
        importlib.import_module(f"openbook.serve.{name}").register(server)
    app = FastAPI(
        title="Openbook",
        version=provenance.version(),
        description="Ask your own documents. A key goes in the header Authorization: Bearer KEY.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        responses={
            "4XX": {"model": ErrorBody, "description": "Not done; the error says why and what to do."},
            "5XX": {"model": ErrorBody, "description": "The server could not do it now."},
        },
    )
    app.state.server = server
    for name in ROUTERS:
        app.include_router(importlib.import_module(f"openbook.serve.{name}").router)
    api_page.secure(app)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(OpenbookError, _failed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UnicodeEncodeError, _no_text)
    app.add_exception_handler(Exception, _broken)
    app.add_middleware(Gate)
    limits.install(app, server)  # around the gate: foreign hosts and sizes are refused whoever asks
    app.add_middleware(Watch, server=server)  # around all others, so that what they refuse is counted
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    if pages.wants_page(request):
        if error.status == 401 and request.method == "GET":
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)
        return pages.error(request, error)
    return JSONResponse(errors.spoken(error, request.url.path), error.status, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, OpenbookError)
    return await _refused(request, errors.of(error))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, message, code = error.status_code, str(error.detail), ""
    if status in (404, 405) and not pages.wants_page(request):
        path = request.url.path
        hint = _ELSEWHERE.get(path.removeprefix("/v1")) or "what is offered stands at /api/docs"
        message, code = f"{request.method} {path} is not offered here; {hint}", "unknown_url"
    return await _refused(request, Refused(status, message, code=code, headers=error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        says = f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
        return await _refused(request, Refused(400, says, code="invalid_json"))
    place = ".".join(str(part) for part in first["loc"][1:])
    if not place and first["loc"] == ("body",):
        says = "the body must be a JSON object, sent with Content-Type: application/json"
        return await _refused(request, Refused(400, says, code="invalid_json"))
    return await _refused(request, Refused(400, f"{place or 'the request'}: {first['msg']}", param=place or None))


async def _no_text(request: Request, _: Exception) -> Response:
    """JSON may hold halves of characters, which no file, database or model takes; what is ours holds none."""
    return await _refused(request, Refused(400, "the request holds characters that are no text", code="no_text"))


async def _broken(request: Request, _: Exception) -> Response:
    """A mistake of ours: told in the shape clients read; what it was goes to the server's log alone."""
    return await _refused(request, errors.BROKEN)
