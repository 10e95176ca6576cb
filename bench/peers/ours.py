"""Openbook filled with given chunks through its seams: what its worker and the other benches begin with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from openbook.records import Change, Chunk, Document, Entry
from openbook.seams import Embedder, Library

Vectors = npt.NDArray[np.float32]
PER_DOCUMENT = 100
"""Chunks of one stored document."""
PER_COMMIT = 2000
"""Chunks of one commit, as in a sync."""


def entries(texts: Sequence[str], vectors: Vectors, *, first: int = 0) -> Iterator[Entry]:
    """Documents named by the position of their first chunk, each of PER_DOCUMENT chunks joined by blank lines."""
    for at in range(0, len(texts), PER_DOCUMENT):
        part = texts[at : at + PER_DOCUMENT]
        name, start, chunks = f"{first + at:07}.txt", 0, []
        for text in part:
            chunks.append(Chunk(name, start, start + len(text), text))
            start += len(text) + 2
        text = "\n\n".join(part)
        document = Document(name, text, "txt", hash=f"{first + at:064x}", bytes=len(text.encode()))
        yield Entry(document, chunks, cast("Sequence[Sequence[float]]", vectors[at : at + len(part)]))


def fill(library: Library, texts: Sequence[str], vectors: Vectors | Embedder) -> None:
    """Commit texts with their vectors, or with those an embedder makes, batch by batch as a sync does."""
    for at in range(0, len(texts), PER_COMMIT):
        part = texts[at : at + PER_COMMIT]
        given = vectors[at : at + len(part)] if isinstance(vectors, np.ndarray) else _embedded(vectors, part)
        library.commit(Change(put=list(entries(part, given, first=at))))


def _embedded(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    return embedder.embed(texts, kind="document")


def positions(chunks: Sequence[Chunk], places: dict[tuple[str, int], int]) -> list[int]:
    """Where chunks stand in the list of texts they were filled from."""
    return [places[chunk.document, chunk.start] for chunk in chunks]


def places(texts: Sequence[str]) -> dict[tuple[str, int], int]:
    """(document, start) -> position, for `positions`."""
    found, start = {}, 0
    for at, text in enumerate(texts):
        if at % PER_DOCUMENT == 0:
            start = 0
        found[f"{at - at % PER_DOCUMENT:07}.txt", start] = at
        start += len(text) + 2
    return found
