"""Split documents in, committed library versions out, in batches that keep memory flat.

A batch is embedded in one call, so that the embedder can sort by length across documents, each different text once; it
is committed as one version, so that every document is replaced whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from openbook.records import Change, Chunk, Document, Entry
from openbook.seams import Embedder, Library, Progress

if TYPE_CHECKING:
    from openbook.seams import Vectors

BATCH_CHUNKS = 2000
"""Chunks in a batch: at most some 20 seconds of work are lost when the machine stops."""
BATCH_BYTES = 64_000_000
"""Size of the documents in a batch: with it the memory a sync takes does not grow with their number."""
BATCH_SECONDS = 30.0
"""A batch is committed once it is this old, so that slow files do not hold back what is ready."""


class Writer:
    """Collects documents and removals and commits them to the library."""

    def __init__(
        self,
        library: Library,
        embedder: Embedder,
        *,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
        note: str = "",
    ) -> None:
        self._library, self._embedder = library, embedder
        self._progress, self._clock, self._note = progress, clock, note
        self._waiting: list[tuple[Document, Sequence[Chunk], tuple[str, ...], str]] = []
        self._remove: list[str] = []
        self._count = self._bytes = self._documents = self._written = 0
        self._since = clock()

    def put(self, document: Document, chunks: Sequence[Chunk], *, acl: tuple[str, ...], source: str) -> None:
        """Add or replace a document with the coming commit."""
        if not self._waiting:
            self._since = self._clock()
        self._waiting.append((document, chunks, acl, source))
        self._count += len(chunks)
        # A chunk holds its text again, its vector and the record around them.
        self._bytes += 4 * len(document.text) + len(document.boxes or b"") + 3000 * len(chunks)

    def remove(self, name: str) -> None:
        """Remove a document with the coming commit."""
        self._remove.append(name)

    def commit_if_full(self) -> None:
        """Commit what is waiting once it is a batch; call it between files, never between documents of one file."""
        old = self._clock() - self._since > BATCH_SECONDS
        if self._count >= BATCH_CHUNKS or self._bytes >= BATCH_BYTES or (old and self._waiting):
            self._commit(())

    def finish(self, *, rename: Sequence[tuple[str, str]], remove: Sequence[str]) -> int:
        """Commit the rest, with renames and removals, if there is anything; returns the chunks written in all."""
        self._remove.extend(remove)
        if self._waiting or self._remove or rename:
            self._commit(rename)
        return self._written

    def _commit(self, rename: Sequence[tuple[str, str]]) -> None:
        texts = {chunk.indexed_text: 0 for _, chunks, *_ in self._waiting for chunk in chunks}
        for row, text in enumerate(texts):
            texts[text] = row
        made_by = self._embedder.fingerprint
        vectors = self._embed(list(texts))
        put = [
            Entry(document, chunks, _rows(vectors, [texts[chunk.indexed_text] for chunk in chunks]), acl, source)
            for document, chunks, acl, source in self._waiting
        ]
        change = Change(put=put, rename=rename, remove=self._remove, embedder=made_by)
        self._library.commit(change, note=self._note)
        self._documents += len(put)
        self._written += self._count
        self._waiting, self._remove = [], []
        self._count = self._bytes = 0
        if self._progress:
            self._progress("commit", self._documents, self._documents)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        if not texts:
            return np.empty((0, self._embedder.dimensions), np.float32)
        report = self._progress
        if report is None:
            return self._embedder.embed(texts, kind="document")
        shown = self._written

        def progress(_: str, done: int, total: int) -> None:
            report("embed", shown + done, shown + total)

        return self._embedder.embed(texts, kind="document", progress=progress)


def _rows(vectors: Vectors, rows: Sequence[int]) -> Sequence[Sequence[float]]:
    """The vectors of one document; an array, which is a sequence in all but its declared type."""
    return cast("Sequence[Sequence[float]]", vectors[list(rows)])
