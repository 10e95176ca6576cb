"""The catalog: documents, texts, chunks and versions in one SQL database; the truth the index follows.

SQLite by default, any SQLAlchemy URL otherwise. Knows nothing of vectors and search. Every method raises
LibraryError when the database cannot do it; each writing method is one transaction.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from openbook.errors import LibraryError
from openbook.library import conditions, tables
from openbook.library.tables import NEVER, chunks, contents, documents, facts, versions
from openbook.records import Chunk, Condition, Document, DocumentInfo, Entry, Page, VersionInfo

_MANY = 5_000
"""Values in one `IN (...)`; SQLite allows 32,766 variables."""
_AT_ONCE = 50
"""Documents in one INSERT; memory holds their compressed texts."""
_INFO = ("hash", "bytes", "format", "title", "author", "created", "modified", "notes", "container_hash")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Row:
    """A document in one version."""

    id: int
    name: str
    content: int
    chunks: int
    info: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry with the numbers it gets: its content's, and its first chunk's (the others follow)."""

    entry: Entry
    content: int
    first_chunk: int


class Catalog:
    """Reads may run in many threads; one writer at a time is the caller's care."""

    def __init__(self, url: str, *, create: bool) -> None:
        """Open and migrate; `create` allows making a new one."""
        try:
            self._where = sql.make_url(url).render_as_string(hide_password=True)
            self._engine = sql.create_engine(url)
        except (SQLAlchemyError, ImportError) as error:
            raise LibraryError(
                f"library.catalog_url cannot be used ({error}); write a SQLAlchemy URL and install its driver"
            ) from None
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _careful_sqlite)
        try:
            with self.writing("opening it") as connection:
                if not create and not tables.exists(connection):
                    raise LibraryError("there is no library here yet; make one with: openbook sync FOLDER")
                tables.migrate(connection)
        except LibraryError:
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Drop all connections."""
        self._engine.dispose()

    def facts(self) -> dict[str, str]:
        """What the library was made with; empty when new."""
        with self.reading() as connection:
            return {row.name: row.value for row in connection.execute(sql.select(facts))}

    def found(self, values: Mapping[str, str], *, at: str) -> None:
        """Write the facts and the empty version 0 of a new library."""
        with self.writing("making it") as connection:
            connection.execute(facts.insert(), [{"name": name, "value": value} for name, value in values.items()])
            connection.execute(versions.insert().values(version=0, committed_at=at, documents=0, chunks=0, note=""))

    def note(self, values: Mapping[str, str | None]) -> None:
        """Change facts, all at once; None takes one away."""
        with self.writing("noting facts") as connection:
            connection.execute(facts.delete().where(facts.c.name.in_(list(values))))
            rows = [{"name": name, "value": value} for name, value in values.items() if value is not None]
            if rows:
                connection.execute(facts.insert(), rows)

    def versions(self) -> list[VersionInfo]:
        """Versions that can be read, oldest first."""
        with self.reading() as connection:
            rows = connection.execute(sql.select(versions).order_by(versions.c.version))
            return [VersionInfo(r.version, r.committed_at, r.documents, r.chunks, r.note) for r in rows]

    def span(self) -> tuple[int, int]:
        """The oldest and the newest version."""
        with self.reading() as connection:
            query = sql.select(sql.func.min(versions.c.version), sql.func.max(versions.c.version))
            oldest, newest = connection.execute(query).one()
            return oldest, newest

    def chunk_counts(self) -> tuple[int, int]:
        """Chunks of all kept versions together, and of the newest version."""
        with self.reading() as connection:
            stored = connection.scalar(sql.select(sql.func.count()).select_from(chunks))
            alive = connection.scalar(sql.select(sql.func.sum(documents.c.chunks)).where(documents.c.died == NEVER))
            return stored or 0, alive or 0

    def rows(self, version: int, *, names: Iterable[str] | None = None) -> list[Row]:
        """Documents of a version sorted by name: all, or those with the given names."""
        query = sql.select(documents).where(documents.c.born <= version, documents.c.died > version)
        with self.reading() as connection:
            if names is None:
                found = list(connection.execute(query))
            else:
                found = [
                    row
                    for some in _batches(sorted({name for name in names if storable(name)}))
                    for row in connection.execute(query.where(documents.c.name.in_(some)))
                ]
        found.sort(key=lambda row: row.name)
        return [Row(row.id, row.name, row.content, row.chunks, json.loads(row.info)) for row in found]

    def meeting(self, version: int, condition: Condition, *, name: str | None = None) -> list[int]:
        """Contents of the documents of a version (or of one of them) that meet a condition."""
        query = sql.select(documents.c.name, documents.c.content)
        query = query.where(documents.c.born <= version, documents.c.died > version)
        if name is not None:
            query = query.where(documents.c.name == name)
        if condition.field != "document":
            query = query.where(conditions.expression(condition))
        with self.reading() as connection:
            found = list(connection.execute(query))
        if condition.field != "document":
            return [row.content for row in found]
        wanted = condition.op == "="
        return [row.content for row in found if conditions.named(condition.value, row.name) == wanted]

    def document(self, row: Row) -> Document:
        """The whole document behind a row."""
        with self.reading() as connection:
            content = connection.execute(sql.select(contents).where(contents.c.id == row.content)).one()
        return Document(
            name=row.name,
            text=zlib.decompress(content.text).decode("utf-8", "surrogatepass"),
            pages=tuple(Page(*page) for page in json.loads(content.pages)),
            boxes=None if content.boxes is None else zlib.decompress(content.boxes),
            **{field: _value(row.info[field]) for field in _INFO},
        )

    def chunks_of(self, row: Row) -> list[tuple[int, Chunk]]:
        """(id, chunk) of a document in reading order."""
        query = sql.select(chunks).where(chunks.c.content == row.content).order_by(chunks.c.id)
        with self.reading() as connection:
            return [(found.id, chunk_of(found, row.name)) for found in connection.execute(query)]

    def chunks(self, ids: Sequence[int]) -> dict[int, Chunk]:
        """Chunks by id, under the newest name of their document."""
        query = sql.select(chunks, documents.c.name).join(documents, documents.c.content == chunks.c.content)
        found: dict[int, Chunk] = {}
        with self.reading() as connection:
            for some in _batches(list(ids)):
                for row in connection.execute(query.where(chunks.c.id.in_(some)).order_by(documents.c.born)):
                    found[row.id] = chunk_of(row, row.name)
        return {id_: found[id_] for id_ in ids if id_ in found}

    def commit(
        self,
        version: int,
        *,
        at: str,
        note: str,
        gone: Sequence[int],
        renamed: Sequence[tuple[Row, str]],
        put: Iterable[Stored],
        counters: Mapping[str, int],
    ) -> None:
        """Make a version: `gone` are ids of dying rows, those of renamed documents among them."""
        with self.writing("committing") as connection:
            for some in _batches(list(gone)):
                connection.execute(documents.update().where(documents.c.id.in_(some)).values(died=version))
            for row, name in renamed:
                connection.execute(_renamed(row, name, version))
            for group in _grouped(put):
                connection.execute(contents.insert(), [_content_row(stored) for stored in group])
                connection.execute(documents.insert(), [_document_row(stored, version, at) for stored in group])
                if rows := [row for stored in group for row in _chunk_rows(stored)]:
                    connection.execute(chunks.insert(), rows)
            for name, number in counters.items():
                connection.execute(facts.update().where(facts.c.name == name).values(value=str(number)))
            alive = sql.select(sql.func.count(), sql.func.coalesce(sql.func.sum(documents.c.chunks), 0))
            total, pieces = connection.execute(alive.where(documents.c.died == NEVER)).one()
            connection.execute(
                versions.insert().values(
                    version=version, committed_at=at, documents=total, chunks=int(pieces), note=note
                )
            )

    def sweep(self, oldest: int) -> int:
        """Forget versions before `oldest` and what only they held; returns the number of chunks freed."""
        with self.writing("sweeping") as connection:
            connection.execute(versions.delete().where(versions.c.version < oldest))
            connection.execute(documents.delete().where(documents.c.died <= oldest))
            held = sql.select(documents.c.content)
            freed = connection.execute(chunks.delete().where(chunks.c.content.not_in(held))).rowcount
            connection.execute(contents.delete().where(contents.c.id.not_in(held)))
            return freed

    @contextlib.contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """A connection to read by; its errors become LibraryError."""
        with self._translated("reading it"), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self, doing: str) -> Iterator[sql.Connection]:
        """A transaction; its errors become LibraryError."""
        with self._translated(doing), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = getattr(error, "orig", None) or error
            raise LibraryError(
                f"the catalog {self._where!r} failed while {doing}: {reason}; nothing was changed"
            ) from error


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return sql.URL.create("sqlite", database=str(path)).render_as_string()


def storable(name: str) -> bool:
    """Whether a database can hold a name: not those of files whose names are no valid Unicode."""
    return name.encode("utf-8", "ignore").decode("utf-8") == name and "\0" not in name


def document_info(row: Row) -> DocumentInfo:
    """A row as its record."""
    fields = {field: _value(value) for field, value in row.info.items()}
    return DocumentInfo(name=row.name, chunks=row.chunks, **fields)


def _content_row(stored: Stored) -> dict[str, Any]:
    document = stored.entry.document
    return {
        "id": stored.content,
        "text": zlib.compress(document.text.encode("utf-8", "surrogatepass"), 1),
        "boxes": None if document.boxes is None else zlib.compress(document.boxes, 1),
        "pages": json.dumps([[page.number, page.start, page.end] for page in document.pages]),
    }


def _document_row(stored: Stored, version: int, at: str) -> dict[str, Any]:
    entry, document = stored.entry, stored.entry.document
    info: dict[str, Any] = {field: getattr(document, field) for field in _INFO}
    info |= {"pages": len(document.pages) or None, "acl": entry.acl, "source": entry.source, "synced_at": at}
    return {
        "name": document.name,
        "content": stored.content,
        "chunks": len(entry.chunks),
        "info": json.dumps(info),
        **conditions.facets(document),
        "born": version,
        "died": NEVER,
    }


def _chunk_rows(stored: Stored) -> Iterator[dict[str, Any]]:
    for id_, chunk in enumerate(stored.entry.chunks, stored.first_chunk):
        yield {
            "id": id_,
            "content": stored.content,
            "first": chunk.start,
            "last": chunk.end,
            "page": chunk.page,
            "path": json.dumps([chunk.title, *chunk.heading]),
            "text": chunk.text.encode("utf-8", "surrogatepass"),
        }


def _renamed(row: Row, name: str, version: int) -> sql.Insert:
    same = [column for column in documents.c if column.name not in ("id", "name", "born", "died")]
    values = [sql.literal(name), *same, sql.literal(version), sql.literal(NEVER)]
    source = sql.select(*values).where(documents.c.id == row.id)
    return documents.insert().from_select(["name", *(column.name for column in same), "born", "died"], source)


def chunk_of(row: Any, document: str) -> Chunk:
    """A row of the table chunks as its record."""
    title, *heading = json.loads(row.path)
    text = row.text.decode("utf-8", "surrogatepass")
    return Chunk(document, row.first, row.last, text, row.page, tuple(heading), title)


def _value(stored: Any) -> Any:
    return tuple(stored) if isinstance(stored, list) else stored


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _MANY):
        yield items[start : start + _MANY]


def _grouped(put: Iterable[Stored]) -> Iterator[list[Stored]]:
    entries = iter(put)
    while some := list(itertools.islice(entries, _AT_ONCE)):
        yield some


def _careful_sqlite(connection: Any, _: object) -> None:
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {setting}")
