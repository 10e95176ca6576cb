"""Small documents with made-up vectors, and libraries to put them in."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from openbook.library import open_library
from openbook.records import Candidates, Chunk, Document, Entry, Page, Scope
from openbook.seams import Library
from openbook.settings import LibrarySettings

DIMENSIONS = 16
SERVER = os.environ.get("OPENBOOK_TEST_QDRANT_URL", "")


def settings(backend: str, folder: Path) -> LibrarySettings:
    urls = {"edge": "", "client": f"local:{folder / 'qdrant'}", "server": SERVER}
    return LibrarySettings(qdrant_url=urls[backend])


def opened(folder: Path, backend: str = "edge", *, fingerprint: str = "test/1", create: bool = True) -> Library:
    return open_library(
        folder,
        settings=settings(backend, folder),
        embedder_fingerprint=fingerprint,
        dimensions=DIMENSIONS,
        create=create,
    )


def vector(text: str) -> npt.NDArray[np.float32]:
    """A unit vector that depends on the text's words: texts sharing words are near each other."""
    total = np.zeros(DIMENSIONS, np.float32)
    for word in text.lower().split() or [""]:
        total += np.random.default_rng(zlib.crc32(word.encode("utf-8", "replace"))).normal(size=DIMENSIONS)
    return (total / np.linalg.norm(total)).astype(np.float32)


def entry(
    name: str,
    *pieces: str,
    acl: tuple[str, ...] = ("*",),
    source: str = "src",
    title: str = "",
    author: str = "",
    created: str = "",
    modified: str = "",
    boxes: bytes | None = None,
) -> Entry:
    """A document of one chunk per piece, each on a page of its own."""
    text, chunks, pages = "", [], []
    for number, piece in enumerate(pieces, 1):
        start = len(text)
        text += piece + "\n\n"
        pages.append(Page(number, start, len(text)))
        chunks.append(
            Chunk(name, start, start + len(piece), piece, page=number, heading=("Part", str(number)), title=title)
        )
    document = Document(
        name=name,
        text=text,
        format=name.rsplit(".", 1)[-1],
        hash=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        bytes=len(text),
        title=title,
        author=author,
        created=created,
        modified=modified,
        pages=tuple(pages),
        boxes=boxes,
        notes=("a note",),
    )
    vectors = np.array([vector(chunk.indexed_text) for chunk in chunks], np.float32)
    return Entry(document, chunks, vectors, acl, source)


def ask(library: Library, text: str, scope: Scope | None = None, limit: int = 50) -> Candidates:
    return library.candidates(vector(text), text, scope=scope or Scope(), limit=limit)


def found(library: Library, text: str, scope: Scope | None = None) -> set[str]:
    """Names of the documents any retriever finds among the first 50."""
    candidates = ask(library, text, scope)
    ids = [one.id for one in (*candidates.dense, *candidates.lexical)]
    return {chunk.document for chunk in library.chunks(ids).values()}
