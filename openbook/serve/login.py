"""Logging in and out of the pages: with a key, or at an OpenID Connect provider; a session's cookie comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from openbook.serve import access, pages, sessions
from openbook.serve.access import COOKIE, Caller
from openbook.serve.errors import Refused
from openbook.serve.state import server_of

if TYPE_CHECKING:
    from openbook.serve.oidc import Provider
    from openbook.serve.state import Server

router = APIRouter(include_in_schema=False)

PER_MINUTE = 10
"""Attempts to log in from one address."""
_STATE = "openbook_login"
"""The cookie that ties a log-in at a provider to the browser that began it."""


@router.get("/login")
def ask(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name in the address
    """The page to log in on."""
    return _page(request, _own(next))


@router.post("/login")
def log_in(
    request: Request,
    key: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",  # noqa: A002
) -> Response:
    """Exchange a key for a session."""
    server = server_of(request)
    server.limiter.check(f"login from {access.origin(request, server)}", PER_MINUTE)
    found = server.verifier.verify(key.strip())
    if found is None:
        return _page(request, _own(next), "This key is not known here, was revoked, or has expired.")
    return _begun(request, access.of_key(found), _own(next))


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End the session."""
    # Guard has refused other sites' pages; ending a session needs no more.
    sessions.end(server_of(request).store, request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/login/oidc")
def go(request: Request, next: str = "/") -> Response:  # noqa: A002
    """Off to the provider."""
    server = server_of(request)
    server.limiter.check(f"login from {access.origin(request, server)}", PER_MINUTE)
    address, state = _provider(server).begin(str(request.url_for("back").replace(scheme=_scheme(request))), _own(next))
    answer = RedirectResponse(address, 303)
    # Lax: it has to come back with the provider's redirect.
    answer.set_cookie(_STATE, state, max_age=600, httponly=True, samesite="lax", secure=_secure(request), path="/login")
    return answer


@router.get("/login/callback", name="back")
def back(request: Request, state: str = "", code: str = "", error: str = "") -> Response:
    """Back from the provider."""
    server = server_of(request)
    if error:
        return _page(request, "/", "The provider did not log you in.")
    if not state or state != request.cookies.get(_STATE, ""):
        return _page(request, "/", "This log-in was begun in another browser, or took too long; try again.")
    try:
        person = _provider(server).end(state, code)
    except Refused as refused:
        return _page(request, "/", refused.message)
    answer = _begun(request, access.of_person(server, person.id, person.name, person.groups), person.next)
    answer.delete_cookie(_STATE, path="/login")
    return answer


def _begun(request: Request, who: Caller, next_page: str) -> Response:
    cookie = sessions.begin(server_of(request).store, who.json())
    answer = RedirectResponse(next_page, 303)
    answer.set_cookie(
        COOKIE, cookie, max_age=int(sessions.LONGEST), httponly=True, samesite="lax", secure=_secure(request)
    )
    return answer


def _page(request: Request, next_page: str, wrong: str = "") -> Response:
    oidc = bool(server_of(request).workspace.settings.serve.oidc_issuer)
    return pages.render(request, "login", status=401 if wrong else 200, next=next_page, wrong=wrong, oidc=oidc)


def _own(wanted: str) -> str:
    r"""A path of this server, "/" for anything that leads elsewhere.

    >>> _own("/library?x=1"), _own("//evil.example"), _own("/\\evil.example"), _own("https://evil.example")
    ('/library?x=1', '/', '/', '/')
    """
    plain = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if plain and not wanted.startswith("/login") else "/"


def _secure(request: Request) -> bool:
    """Whether the browser speaks TLS, with this server or with the proxy before it."""
    return _scheme(request) == "https"


def _scheme(request: Request) -> str:
    trusted = server_of(request).workspace.settings.serve.trusted_proxies
    told = request.headers.get("x-forwarded-proto", "") if access.address(request) in trusted else ""
    return told if told in ("http", "https") else request.url.scheme


def _provider(server: Server) -> Provider:
    from openbook.serve.oidc import Provider

    settings = server.workspace.settings.serve
    if not settings.oidc_issuer:
        raise Refused(404, "no login provider is set up; log in with a key", code="no_provider")
    if server.provider is None:
        server.provider = Provider(settings)
    return server.provider
