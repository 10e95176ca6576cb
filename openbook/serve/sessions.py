"""Sessions of people who logged in to the pages: a cookie's random value in, who it stands for out.

The store holds the cookie's sha256 only, so that a copy of the database opens no session.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from openbook.serve.store import SESSIONS

LONGEST = 12 * 3600.0
"""Seconds until one has to log in again."""


@dataclass(frozen=True, slots=True)
class Session:
    """A person's stay."""

    caller: Mapping[str, Any]
    """access.Caller.json() of who logged in."""
    csrf: str
    expires: float


def begin(store: sa.Engine, caller: Mapping[str, Any]) -> str:
    """A new session; returns the cookie's value. Sessions that have ended are forgotten on the way."""
    cookie, now = secrets.token_urlsafe(32), time.time()
    with store.begin() as db:
        db.execute(sa.delete(SESSIONS).where(SESSIONS.c.expires < now))
        db.execute(
            sa.insert(SESSIONS).values(
                id=_digest(cookie),
                caller=dict(caller),
                csrf=secrets.token_urlsafe(24),
                created=now,
                expires=now + LONGEST,
            )
        )
    return cookie


def read(store: sa.Engine, cookie: str) -> Session | None:
    """The session of a cookie, unless it has ended."""
    if not cookie or len(cookie) > 200:
        return None
    with store.connect() as db:
        row = db.execute(sa.select(SESSIONS).where(SESSIONS.c.id == _digest(cookie))).one_or_none()
    if row is None or row.expires < time.time():
        return None
    return Session(row.caller, row.csrf, row.expires)


def end(store: sa.Engine, cookie: str) -> None:
    """Forget a session."""
    with store.begin() as db:
        db.execute(sa.delete(SESSIONS).where(SESSIONS.c.id == _digest(cookie)))


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
