"""What a new index of a library is made from, read from the catalog alone. Knows no vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sql

from openbook.library.catalog import Catalog, chunk_of
from openbook.library.tables import NEVER, chunks, contents, documents


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of any kept version, and what its point says beside the vector."""

    id: int
    text: str
    """Its indexed_text."""
    content: int
    born: int
    died: int | None
    acl: tuple[str, ...]


def after(catalog: Catalog, id_: int, limit: int) -> list[Piece]:
    """The next chunks by number; numbers only grow, so what is committed later comes later."""
    with catalog.reading() as connection:
        query = sql.select(chunks).where(chunks.c.id > id_).order_by(chunks.c.id).limit(limit)
        rows = list(connection.execute(query))
        query = sql.select(documents.c.content, documents.c.born, documents.c.died, documents.c.info)
        query = query.where(documents.c.content.in_({row.content for row in rows})).order_by(documents.c.born)
        lives: dict[int, tuple[int, int, str]] = {}
        for row in connection.execute(query):
            # A renamed document has a row per name; its content lives from the first one to the last.
            lives[row.content] = lives[row.content][0] if row.content in lives else row.born, row.died, row.info
    found = []
    for row in rows:
        if row.content in lives:  # else it was swept between the two queries
            born, died, info = lives[row.content]
            acl = tuple(json.loads(info)["acl"])
            text = chunk_of(row, "").indexed_text
            found.append(Piece(row.id, text, row.content, born, None if died == NEVER else died, acl))
    return found


def deaths(catalog: Catalog, *, after: int) -> Mapping[int, list[int]]:
    """Contents by the version they died in, if later than `after`."""
    last = sql.func.max(documents.c.died)
    query = sql.select(documents.c.content, last.label("died")).group_by(documents.c.content)
    found: dict[int, list[int]] = {}
    with catalog.reading() as connection:
        for row in connection.execute(query.having(sql.and_(last > after, last != NEVER))):
            found.setdefault(row.died, []).append(row.content)
    return found


def held(catalog: Catalog) -> list[int]:
    """Every content of the kept versions."""
    with catalog.reading() as connection:
        return list(connection.scalars(sql.select(contents.c.id).order_by(contents.c.id)))
