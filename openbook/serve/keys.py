"""API keys: made, listed, verified, revoked. The secret is shown once; the store holds its argon2 hash.

A key reads "ob_ID_SECRET". Verifying costs argon2 once per process and key, then a sha256 compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

import argon2
import sqlalchemy as sa

from openbook.errors import UsageError
from openbook.serve.store import KEYS

SCOPES = ("ask", "search", "write", "train", "admin")
"""ask: answers; search: passages and documents; write: documents; train: adapters, comparisons, review; admin: keys,
settings, and everything the others may."""
_PREFIX = "ob"
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
"""The parameters OWASP's Password Storage Cheat Sheet names for argon2id."""
_NOTED = 60.0
"""Seconds between two notes of when a key was last used."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. Times are unix seconds."""

    id: str
    name: str
    scopes: tuple[str, ...]
    groups: tuple[str, ...]
    all_groups: bool
    created: float
    expires: float | None
    revoked: float | None
    used: float | None

    @property
    def valid(self) -> bool:
        """Whether it opens anything now."""
        return self.revoked is None and (self.expires is None or self.expires > time.time())


def create(
    store: sa.Engine,
    name: str,
    scopes: Collection[str],
    groups: Collection[str] = (),
    *,
    all_groups: bool = False,
    expires: float | None = None,
) -> tuple[Key, str]:
    """A new key and its secret, which cannot be had again. Raises UsageError for what no key can have."""
    wrong = sorted(set(scopes) - set(SCOPES))
    if wrong or not scopes:
        raise UsageError(f"{', '.join(wrong) or 'no scope'!r} is no scope; use one or more of {', '.join(SCOPES)}")
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise UsageError(f"{name!r} is no name for a key; say in a few words who or what uses it")
    if any(not one.strip() or one == "*" for one in groups):
        raise UsageError("a group has a name; documents for everyone (*) are seen without any")
    if expires is not None and expires <= time.time():
        raise UsageError("the key would have expired already; give a time to come")
    made = Key(
        id=secrets.token_hex(6),
        name=name.strip(),
        scopes=tuple(one for one in SCOPES if one in scopes),
        groups=tuple(sorted({one.strip() for one in groups})),
        all_groups=all_groups,
        created=time.time(),
        expires=expires,
        revoked=None,
        used=None,
    )
    secret = f"{_PREFIX}_{made.id}_{secrets.token_urlsafe(32)}"
    with store.begin() as db:
        db.execute(
            sa.insert(KEYS).values(
                id=made.id,
                name=made.name,
                hash=_HASHER.hash(secret),
                scopes=list(made.scopes),
                groups=list(made.groups),
                all_groups=made.all_groups,
                created=made.created,
                expires=made.expires,
            )
        )
    return made, secret


def list_keys(store: sa.Engine) -> list[Key]:
    """All keys, oldest first, revoked ones too."""
    with store.connect() as db:
        return [_key(row) for row in db.execute(sa.select(KEYS).order_by(KEYS.c.created, KEYS.c.id))]


def get(store: sa.Engine, name: str) -> Key | None:
    """A key by its id."""
    with store.connect() as db:
        row = db.execute(sa.select(KEYS).where(KEYS.c.id == name)).one_or_none()
    return None if row is None else _key(row)


def revoke(store: sa.Engine, name: str) -> bool:
    """Make a key useless from now on, here and in a running server; False when there is none of this id."""
    with store.begin() as db:
        found = db.execute(
            sa.update(KEYS).where(KEYS.c.id == name).values(revoked=sa.func.coalesce(KEYS.c.revoked, time.time()))
        )
    return found.rowcount > 0


def any_made(store: sa.Engine) -> bool:
    """Whether there ever was a key: from then on nobody is let in without one, even when all are revoked."""
    with store.connect() as db:
        return db.execute(sa.select(KEYS.c.id).limit(1)).first() is not None


class Verifier:
    """Secrets in, keys out, for one server. Thread-safe."""

    def __init__(self, store: sa.Engine) -> None:
        self._store = store
        self._known: dict[str, bytes] = {}
        """Id -> sha256 of a secret that argon2 has accepted."""
        self._noted: dict[str, float] = {}
        self._slow = threading.Lock()
        """One argon2 at a time: each takes 19 MB, and strangers may ask for as many as they like."""

    def verify(self, secret: str) -> Key | None:
        """The valid key this is the secret of, else None. Asks the store every time, so that a revocation counts."""
        parts = secret.split("_", 2)
        if len(parts) != 3 or parts[0] != _PREFIX or len(secret) > 200:
            return None
        with self._store.connect() as db:
            row = db.execute(sa.select(KEYS).where(KEYS.c.id == parts[1])).one_or_none()
        if row is None or not _key(row).valid or not self._matches(row.id, row.hash, secret):
            return None
        self._note(row.id)
        return _key(row)

    def knows(self, secret: str) -> bool:
        """Whether the secret was a key's when it was last verified here; costs next to nothing."""
        known = self._known.get(secret[:200].partition("_")[2].partition("_")[0])
        return known is not None and hmac.compare_digest(known, hashlib.sha256(secret.encode()).digest())

    def _matches(self, name: str, hashed: str, secret: str) -> bool:
        digest = hashlib.sha256(secret.encode()).digest()
        if (known := self._known.get(name)) is not None:
            return hmac.compare_digest(known, digest)
        with self._slow:
            try:
                _HASHER.verify(hashed, secret)
            except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
                return False
        self._known[name] = digest
        return True

    def _note(self, name: str) -> None:
        now = time.time()
        if now - self._noted.get(name, 0.0) > _NOTED:
            self._noted[name] = now
            with self._store.begin() as db:
                db.execute(sa.update(KEYS).where(KEYS.c.id == name).values(used=now))


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    told = row._mapping
    return Key(
        id=told["id"],
        name=told["name"],
        scopes=tuple(told["scopes"]),
        groups=tuple(told["groups"]),
        all_groups=bool(told["all_groups"]),
        created=told["created"],
        expires=told["expires"],
        revoked=told["revoked"],
        used=told["used"],
    )
