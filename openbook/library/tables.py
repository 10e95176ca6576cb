"""The catalog's tables and their migrations: append-only, named, each run once. Knows no records.

A document row lives in the versions born <= v < died; a replaced document's row dies and a new one is born.
A content is a document's text with its chunks, stored once and never changed; renaming gives it a new document row.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
)

from openbook.errors import LibraryError

NEVER = 2**62
"""`died` of what is alive."""

_id = BigInteger().with_variant(Integer, "sqlite")
metadata = MetaData()

migrations = Table("migrations", metadata, Column("name", String(64), primary_key=True))

facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""library (random id), terms (scheme of the full-text index), next_chunk, next_content; of the index in use:
generation, embedder (fingerprint), embedder_name, dimensions; of its neighbours, as JSON: previous, next."""

versions = Table(
    "versions",
    metadata,
    Column("version", _id, primary_key=True, autoincrement=False),
    Column("committed_at", String(40), nullable=False),
    Column("documents", _id, nullable=False),
    Column("chunks", _id, nullable=False),
    Column("note", Text, nullable=False),
)

contents = Table(
    "contents",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=False),
    Column("text", LargeBinary, nullable=False),  # UTF-8, zlib
    Column("boxes", LargeBinary),  # zlib
    Column("pages", Text, nullable=False),  # JSON [[number, start, end], ...]
)

documents = Table(
    "documents",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("content", _id, ForeignKey("contents.id"), nullable=False),
    Column("chunks", _id, nullable=False),
    Column("info", Text, nullable=False),  # JSON: the fields of DocumentInfo but name and chunks
    Column("format", Text),  # this and the next four as conditions compare them; NULL is unknown
    Column("title", Text),
    Column("author", Text),
    Column("created", _id),  # seconds since 1970, UTC
    Column("modified", _id),
    Column("born", _id, nullable=False),
    Column("died", _id, nullable=False),
    Index("documents_name", "name"),
    Index("documents_content", "content"),
    Index("documents_died", "died", "chunks"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=False),
    Column("content", _id, ForeignKey("contents.id"), nullable=False),
    Column("first", _id, nullable=False),
    Column("last", _id, nullable=False),  # exclusive
    Column("page", Integer),
    Column("path", Text, nullable=False),  # JSON [title, heading, heading, ...]
    Column("text", LargeBinary, nullable=False),  # UTF-8: a slice of the content, kept apart to be read alone
    Index("chunks_content", "content"),
)


def _first_generation(connection: Connection) -> None:
    """An Openbook that knows one index only must not look for it where an older one lies."""
    if connection.scalar(select(facts.c.value).where(facts.c.name == "embedder")) is not None:
        connection.execute(facts.insert().values(name="generation", value="1"))


MIGRATIONS: tuple[tuple[str, Callable[[Connection], None]], ...] = (
    ("0001-first", metadata.create_all),
    ("0002-generations", _first_generation),
)
"""Append only; a released migration never changes."""


def exists(connection: Connection) -> bool:
    """Whether a catalog is there at all."""
    return inspect(connection).has_table("migrations")


def migrate(connection: Connection) -> None:
    """Bring the tables to this Openbook's state; raises LibraryError for a catalog made by a newer one."""
    done = set(connection.scalars(select(migrations.c.name))) if exists(connection) else set()
    if unknown := sorted(done - {name for name, _ in MIGRATIONS}):
        raise LibraryError(
            f"the library was made by a newer Openbook (it has {unknown[0]!r}); upgrade with: pip install -U openbook"
        )
    for name, run in MIGRATIONS:
        if name not in done:
            run(connection)
            connection.execute(migrations.insert().values(name=name))
