"""A template's name and values in, a page out; style sheets, scripts and icons beside it. Knows no page in particular.

Templates stand in pages/, what they load in static/. jinja2 escapes every value, a missing one is an error, and pages
hold no script and no style of their own, so the policy of limits.py can forbid both.
"""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from importlib import resources
from typing import Any
from urllib.parse import quote

import jinja2
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from openbook.serve import access
from openbook.serve.errors import Refused
from openbook.serve.state import server_of

router = APIRouter(include_in_schema=False)

NAV = (
    ("/", "Ask", "ask"),
    ("/library", "Library", "search"),
    ("/train", "Train", "train"),
    ("/compare", "Compare", "train"),
    ("/review", "Review", "train"),
    ("/settings", "Settings", "admin"),
)
"""Path, label and the scope without which a caller is not shown the page."""
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}
_YEAR = 365 * 24 * 3600


def render(request: Request, name: str, /, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page from pages/NAME.html.j2.

    Templates are also given `who` (the Caller, or None before a login), `csrf`, `nav`, `here` (the path), `workspace`
    (its name) and `static(file)`, the address of a file in static/.
    """
    try:
        who = access.caller(request)
    except Refused:
        who = None
    given = {
        "who": who,
        "csrf": access.csrf(request) if who else "",
        "nav": [(path, label) for path, label, scope in NAV if who and who.may(scope)],
        "here": request.url.path,
        "workspace": server_of(request).workspace.root.name,
        "static": address,
    }
    page = _templates().get_template(f"{name}.html.j2").render(given | values)
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})


def wants_page(request: Request) -> bool:
    """Whether a person's browser is asking for a page, not a program for data."""
    path = request.url.path
    program = path.startswith(("/api/", "/v1/", "/static/", "/mcp", "/healthz", "/readyz", "/metrics"))
    return not program and "text/html" in request.headers.get("accept", "")


def error(request: Request, refused: Refused) -> Response:
    """The page that says what went wrong and where to go from here."""
    page = render(request, "error", status=refused.status, code=refused.status, message=refused.message)
    page.headers.update(refused.headers)
    return page


def address(file: str) -> str:
    """Where a file of static/ is served; changes with any of them, so that browsers may keep it for ever.

    Scripts import each other by relative names, which keeps all of one page's at one stamp.
    """
    return f"/static/{_stamp()}/{file}"


@router.get("/static/{file}")
@router.get("/static/{stamp}/{file}")
def static(request: Request, file: str, stamp: str = "") -> Response:
    """A style sheet, script or icon; needs no login, since the login page is made of them."""
    body = _static().get(file)
    if body is None:
        raise Refused(404, f"no file {file!r} here", code="not_found")
    tag = f'"{_stamp()}"'
    kept = f"public, max-age={_YEAR}, immutable" if stamp == _stamp() else "no-cache"
    headers = {"Cache-Control": kept, "ETag": tag, "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    suffix = file[file.rfind(".") :]
    kind = _TYPES.get(suffix) or mimetypes.guess_type(file)[0] or "application/octet-stream"
    return Response(body, media_type=kind, headers=headers)


@functools.cache
def _static() -> dict[str, bytes]:
    folder = resources.files("openbook.serve").joinpath("static")
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


@functools.cache
def _stamp() -> str:
    whole = hashlib.sha256()
    for name, body in sorted(_static().items()):
        whole.update(name.encode() + b"\0" + body)
    return whole.hexdigest()[:12]


@functools.cache
def _templates() -> jinja2.Environment:
    folder = resources.files("openbook.serve").joinpath("pages")

    def load(name: str) -> str | None:
        file = folder.joinpath(name)
        return file.read_text(encoding="utf-8") if file.is_file() else None

    made = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(load),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["query"] = lambda text: quote(str(text), safe="")
    return made
