"""Keys over HTTP, for admins: list, make (the secret is in the answer, once), revoke."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from openbook.serve import keys
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.state import Server, server_of

router = APIRouter(prefix="/api/keys", tags=["keys"])

Here = Annotated[Server, Depends(server_of)]


class NewKey(BaseModel):
    """What POST /api/keys takes."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200, examples=["support desk"])
    scopes: list[str] = Field(min_length=1, examples=[["ask", "search"]])
    groups: list[str] = Field(default=[], examples=[["staff"]])
    all_groups: bool = False
    expires: float | None = Field(default=None, description="Unix seconds; null is never.")


class ShownKey(BaseModel):
    """A key without its secret; times are unix seconds."""

    id: str
    name: str
    scopes: list[str]
    groups: list[str]
    all_groups: bool
    created: float
    expires: float | None
    revoked: float | None
    used: float | None


class MadeKey(BaseModel):
    """A new key with its secret, which cannot be had again."""

    key: ShownKey
    secret: str


class ShownKeys(BaseModel):
    """All keys, oldest first."""

    keys: list[ShownKey]


@router.get("", response_model=ShownKeys, summary="Keys")
def listed(server: Here, who: Caller = needs("admin")) -> dict[str, Any]:
    """Every key, revoked ones too, without secrets."""
    _ = who
    return {"keys": [asdict(one) for one in keys.list_keys(server.store)]}


@router.post("", response_model=MadeKey, status_code=201, summary="Make a key")
def make(wanted: NewKey, server: Here, who: Caller = needs("admin")) -> dict[str, Any]:
    """Make a key that sees no more than its maker does."""
    if not who.all_groups and (wanted.all_groups or not set(wanted.groups) <= set(who.groups)):
        raise Refused(
            403,
            "a key cannot see more than its maker: leave out groups that are not yours; the operator can make it "
            "with: openbook keys create",
            code="groups_not_allowed",
            param="groups",
        )
    key, secret = keys.create(
        server.store, wanted.name, wanted.scopes, wanted.groups, all_groups=wanted.all_groups, expires=wanted.expires
    )
    return {"key": asdict(key), "secret": secret}


@router.delete("/{key}", response_model=ShownKey, summary="Revoke a key")
def revoke(key: str, server: Here, who: Caller = needs("admin")) -> dict[str, Any]:
    """Make a key useless at once."""
    _ = who
    if not keys.revoke(server.store, key):
        raise Refused(404, f"no key {key!r}", code="no_such_key")
    found = keys.get(server.store, key)
    assert found is not None
    return asdict(found)
