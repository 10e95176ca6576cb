"""A request in, who is calling out; deny by default. Keys are hashed, shown once, and carry scopes and groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fastapi import Depends, Request

from openbook.records import PUBLIC, Condition, DocumentInfo, Scope
from openbook.serve.errors import Refused

SCOPES = ("ask", "search", "write", "train", "admin")
"""ask: answers; search: passages and documents; write: documents; train: adapters, comparisons, review; admin: keys,
settings, and everything the others may."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may do and see."""

    id: str
    """Owns conversations, files and jobs: a key's id, "user:NAME", "local"."""
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
    """Who is calling. Raises Refused 401."""
    return OPEN


def csrf(request: Request) -> str:
    """What a page of this caller sends back as X-CSRF-Token; "" where no cookie says who it is."""
    return ""


def needs(scope: str) -> Any:
    """A dependency that gives the Caller and refuses those without the scope: `who: Caller = needs("search")`."""

    def checked(request: Request) -> Caller:
        found = caller(request)
        if not found.may(scope):
            raise Refused(403, f"this key may not do that: it lacks the scope {scope!r}", code="missing_scope")
        return found

    return Depends(checked)
