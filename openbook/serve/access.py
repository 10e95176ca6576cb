"""A request in, who is calling out; deny by default.

A bearer key, a proxy's header, a session's cookie, in this order; the command line of this machine has the server's own
token. Only on the loopback, and only while there never was a key and no login is set up, is everybody let in.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from fastapi import Depends, Request

from openbook.records import PUBLIC, Condition, DocumentInfo, Scope
from openbook.serve import keys, sessions
from openbook.serve.errors import Refused
from openbook.serve.keys import SCOPES, Key
from openbook.serve.limits import place

if TYPE_CHECKING:
    from openbook.serve.state import Server

COOKIE = "openbook_session"
GROUPS_HEADER = "X-Openbook-Groups"
"""The groups the command line acts with, percent-encoded, separated by commas; without it, it sees every document."""
CSRF_HEADER = "X-CSRF-Token"
WRONG_PER_MINUTE = 30
"""Wrong keys from one address before it has to wait."""
_PROXIED = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
"""With one of these a proxy stands in front, and who seems to be on the loopback may be anyone."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may do and see."""

    id: str
    """Owns conversations, files and jobs: a key's id, "proxy:NAME", "oidc:SUBJECT@ISSUER", "local" or "open"."""
    name: str
    scopes: frozenset[str]
    groups: tuple[str, ...] = ()
    kind: Literal["key", "login", "local", "open"] = "key"
    """local: the command line with this server's own token; open: anyone on the loopback, while there are no keys."""
    all_groups: bool = False
    """Sees every document whatever its labels."""

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope."""
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, info: DocumentInfo) -> bool:
        """Whether a document may be shown, named or counted to the caller."""
        return self.all_groups or not {PUBLIC, *self.groups}.isdisjoint(info.acl)

    def scope(self, labels: Callable[[], tuple[str, ...]], where: tuple[Condition, ...] = ()) -> Scope:
        """What the caller's searches may see; `labels` are all that the library has."""
        return Scope(labels() if self.all_groups else self.groups, where)

    def json(self) -> dict[str, Any]:
        """As stored with jobs and sessions."""
        return {**asdict(self), "scopes": sorted(self.scopes), "groups": list(self.groups)}

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Caller:
        """The reverse of json()."""
        return cls(**{**stored, "scopes": frozenset(stored["scopes"]), "groups": tuple(stored["groups"])})


OPEN = Caller("open", "this machine", frozenset(SCOPES), (), "open", all_groups=True)


def caller(request: Request) -> Caller:
    """Who is calling. Raises Refused 401; 403 for a session's request that another site may have sent; 429."""
    found: Caller | None = getattr(request.state, "caller", None)
    if found is None:
        server = _server(request)
        found = _identified(request, server)
        if found.kind != "local":  # the operator's own commands may ask in batches
            server.limiter.check(found.id, server.workspace.settings.serve.requests_per_minute)
        request.state.caller = found
    return found


def still(request: Request, who: Caller) -> bool:
    """Whether a request that was let in would be let in now: its key is not revoked, its session not over."""
    try:
        return _identified(request, _server(request)) == who
    except Refused:
        return False


def csrf(request: Request) -> str:
    """What a page of this caller sends back as X-CSRF-Token; "" where no cookie says who it is."""
    found = sessions.read(_server(request).store, request.cookies.get(COOKIE, ""))
    return found.csrf if found is not None else ""


def is_open(server: Server) -> bool:
    """Whether anyone on the loopback is let in: there never was a key, and no login is set up."""
    settings = server.workspace.settings.serve
    return not (settings.proxy_user_header or settings.oidc_issuer or server.closed())


def needs(scope: str) -> Any:
    """A dependency that gives the Caller and refuses those without the scope: `who: Caller = needs("search")`."""

    def checked(request: Request) -> Caller:
        found = caller(request)
        if not found.may(scope):
            raise Refused(403, f"this key may not do that: it lacks the scope {scope!r}", code="missing_scope")
        return found

    return Depends(checked)


def of_key(key: Key) -> Caller:
    """Who comes with a key."""
    return Caller(key.id, key.name, frozenset(key.scopes), key.groups, "key", all_groups=key.all_groups)


def of_person(server: Server, subject: str, name: str, groups: Iterable[str]) -> Caller:
    """Someone a proxy or an OpenID provider vouches for; `subject` says which, and never changes hands."""
    scopes = _of_people(server)
    known = tuple(sorted({one.strip() for one in groups} - {"", PUBLIC}))
    return Caller(subject, name, scopes, known, "login")


def address(request: Request) -> str:
    """Where a request comes from; "" when it cannot be told."""
    return request.client.host if request.client is not None else ""


def origin(request: Request, server: Server) -> str:
    """Where a request comes from as far as that can be known: what a proxy in front says, if it is to be believed."""
    here = address(request)
    if here not in server.workspace.settings.serve.trusted_proxies:
        return here
    # The last one is who spoke to the proxy; those before it are hearsay.
    return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or here


def is_loopback(host: str) -> bool:
    """Whether an address is this very machine's.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("192.168.0.7")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _server(request: Request) -> Server:
    server: Server = request.app.state.server
    return server


def _identified(request: Request, server: Server) -> Caller:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    secret = secret.strip() if scheme.lower() == "bearer" else ""
    if secret and hmac.compare_digest(secret.encode(), server.token.encode()):
        return _local(request)
    opened = is_open(server)
    if secret and not opened:
        return of_key(_verified(request, server, secret))
    found = _of_proxy(request, server) or _of_session(request, server)
    if found is not None:
        return found
    if opened and is_loopback(address(request)) and not _PROXIED & set(request.headers.keys()):
        return OPEN
    raise Refused(
        401,
        "this server wants a key: send it as Authorization: Bearer KEY, or make one with: openbook keys create NAME",
        code="missing_api_key",
        headers={"WWW-Authenticate": 'Bearer realm="openbook"'},
    )


def _verified(request: Request, server: Server, secret: str) -> Key:
    asked = f"wrong key from {origin(request, server)}"
    if not server.verifier.knows(secret):  # else one stranger behind the proxy would lock out all others there
        server.limiter.check(asked, WRONG_PER_MINUTE, count=False)
    key = server.verifier.verify(secret)
    if key is None:
        server.limiter.check(asked, WRONG_PER_MINUTE)
        raise Refused(
            401,
            "this key is not known here, or was revoked, or has expired; make one with: openbook keys create NAME",
            code="invalid_api_key",
            headers={"WWW-Authenticate": 'Bearer realm="openbook", error="invalid_token"'},
        )
    return key


def _local(request: Request) -> Caller:
    named = request.headers.get(GROUPS_HEADER)
    groups = tuple(sorted({unquote(one.strip()) for one in (named or "").split(",")} - {""}))
    return Caller("local", "this machine", frozenset(SCOPES), groups, "local", all_groups=named is None)


def _of_proxy(request: Request, server: Server) -> Caller | None:
    settings = server.workspace.settings.serve
    name = request.headers.get(settings.proxy_user_header, "").strip() if settings.proxy_user_header else ""
    if not name or address(request) not in settings.trusted_proxies:
        return None
    groups = request.headers.get(settings.proxy_groups_header, "") if settings.proxy_groups_header else ""
    return of_person(server, f"proxy:{name}", name, groups.split(","))


def _of_session(request: Request, server: Server) -> Caller | None:
    found = sessions.read(server.store, request.cookies.get(COOKIE, ""))
    if found is None:
        return None
    who = Caller.of(dict(found.caller))
    if who.kind == "key":
        key = keys.get(server.store, who.id)
        if key is None or not key.valid:
            return None
        who = of_key(key)
    else:
        who = replace(who, scopes=who.scopes & _of_people(server))
        if not who.id.endswith(f"@{server.workspace.settings.serve.oidc_issuer}"):  # it is believed no longer
            return None
    if request.method not in _SAFE and not _sent_by_own_page(request, found.csrf):
        raise Refused(
            403, "this request does not come from a page of this server; reload the page and try again", code="csrf"
        )
    return who


def _of_people(server: Server) -> frozenset[str]:
    return frozenset(server.workspace.settings.serve.login_scopes) & frozenset(SCOPES)


def _sent_by_own_page(request: Request, token: str) -> bool:
    """Whether a session's request carries its token, or a browser says that a page of this very server sent it."""
    given = request.headers.get(CSRF_HEADER, "")
    if given:
        return hmac.compare_digest(given.encode(), token.encode())
    origin = request.headers.get("origin", "")
    return bool(origin) and place(origin) == request.headers.get("host", "").lower()
