"""Settings in, a searcher over the user's documents under them out; the library itself is only read.

Other chunk sizes get a library of their own in a temporary folder. What costs is remembered: vectors by text, lists of
candidates by question, a reranker's scores by pair, so that another fusion weight costs milliseconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from openbook.records import Candidates, Change, Chunk, Document, Entry, Scope
from openbook.seams import Embedder, Library, Progress, Reranker, Searcher
from openbook.settings import Ingest, Retrieve, Settings

if TYPE_CHECKING:
    from openbook.seams import Vectors

_BATCH = 1000
_SAMPLE = 16


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the other rooms do, as calls."""

    library: Library
    """The user's."""
    embedder: Embedder
    split: Callable[[Document, Ingest], list[Chunk]]
    store: Callable[[Path], Library]
    """A new, empty library in a folder."""
    searcher: Callable[[Library, Embedder, Retrieve, Reranker | None], Searcher]
    reranker: Callable[[str], Reranker]
    """By name; loads it."""


class Trials:
    """Searchers under trial settings; close() frees the trial libraries."""

    def __init__(self, present: Settings, rooms: Rooms, folder: Path, *, progress: Progress | None = None) -> None:
        self._present, self._rooms, self._folder, self._progress = present, rooms, folder, progress
        self._embedder = _Remembered(rooms.embedder)
        self._libraries: dict[tuple[int, int], Library] = {}
        self._read: dict[tuple[int, int], _Reader] = {}
        self._rerankers: dict[str, _Scored] = {}
        self._tokens: dict[str, int] = {}
        self._made: dict[tuple[int, int], float] = {}

    def searcher(self, settings: Settings) -> Searcher:
        """A searcher as serving would have it, with memory."""
        key = split_of(settings)
        if key not in self._read:
            self._read[key] = _Reader(self._library(settings))
        # What a reader asks of a library is all a searcher calls.
        library: Library = self._read[key]  # type: ignore[assignment]
        return self._rooms.searcher(library, self._embedder, settings.retrieve, self._reranker(settings))

    def milliseconds(self, settings: Settings, questions: Sequence[tuple[str, Scope]], *, k: int) -> float:
        """Median wall milliseconds of a search without any memory, the question's embedding included."""
        reranker = self._reranker(settings)
        plain = self._rooms.searcher(
            self._library(settings), self._rooms.embedder, settings.retrieve, reranker.inner if reranker else None
        )
        taken = []
        for question, scope in questions:
            started = time.perf_counter()
            plain.search(question, k=k, scope=scope)
            taken.append(1000 * (time.perf_counter() - started))
        return statistics.median(taken) if taken else 0.0

    def size(self, settings: Settings) -> dict[str, float]:
        """Chunks in the index under these settings, and for a trial the wall seconds it took to make."""
        made = self._made.get(split_of(settings))
        chunks = sum(info.chunks for info in self._library(settings).documents())
        return {"chunks": chunks} if made is None else {"chunks": chunks, "seconds to make": made}

    def tokens(self, texts: Sequence[str]) -> int:
        """Tokens of the texts together, as the embedder counts."""
        new = list({text for text in texts if text not in self._tokens})
        if new:
            self._tokens.update(zip(new, self._rooms.embedder.count(new), strict=True))
        return sum(self._tokens[text] for text in texts)

    def foresee(self, settings: Settings) -> float:
        """About how many seconds a library with this chunk size would take to make; 0 when it is there."""
        if split_of(settings) in (split_of(self._present), *self._libraries):
            return 0.0
        infos = self._rooms.library.documents()
        some = [chunk for info in infos[:_SAMPLE] for _, chunk in self._rooms.library.chunks_of(info.name)[:1]]
        if not some:
            return 0.0
        started = time.perf_counter()
        self._rooms.embedder.embed([chunk.indexed_text for chunk in some], kind="document")
        each = (time.perf_counter() - started) / len(some)
        return each * sum(info.chunks for info in infos)

    def close(self) -> None:
        """Close the trial libraries; their folder is the caller's to remove."""
        for library in self._libraries.values():
            library.close()
        self._libraries, self._read = {}, {}

    def _library(self, settings: Settings) -> Library:
        key = split_of(settings)
        if key == split_of(self._present):
            return self._rooms.library
        if key not in self._libraries:
            started = time.perf_counter()
            made = self._libraries[key] = self._rooms.store(self._folder / f"{key[0]}-{key[1]}")
            self._fill(made, settings.ingest)
            self._made[key] = time.perf_counter() - started
        return self._libraries[key]

    def _fill(self, library: Library, ingest: Ingest) -> None:
        infos = self._rooms.library.documents()
        waiting: list[tuple[Document, list[Chunk], tuple[str, ...], str]] = []
        for done, info in enumerate(infos, 1):
            document = self._rooms.library.document(info.name)
            if document is not None:
                document = replace(document, boxes=None)
                waiting.append((document, self._rooms.split(document, ingest), info.acl, info.source))
            if waiting and (done == len(infos) or sum(len(one[1]) for one in waiting) >= _BATCH):
                put = [
                    Entry(document, chunks, self._vectors(chunks), acl, source)
                    for document, chunks, acl, source in waiting
                ]
                library.commit(Change(put=put), note="trial")
                waiting = []
            if self._progress:
                self._progress(f"split {ingest.chunk_tokens}", done, len(infos))

    def _vectors(self, chunks: Sequence[Chunk]) -> Sequence[Sequence[float]]:
        vectors: Sequence[Sequence[float]] = self._embedder.embed(  # type: ignore[assignment]
            [chunk.indexed_text for chunk in chunks], kind="document"
        )
        return vectors

    def _reranker(self, settings: Settings) -> _Scored | None:
        name = settings.models.reranker
        if not name:
            return None
        if name not in self._rerankers:
            self._rerankers[name] = _Scored(self._rooms.reranker(name))
        return self._rerankers[name]


def split_of(settings: Settings) -> tuple[int, int]:
    """What decides the chunks: (chunk_tokens, overlap_tokens)."""
    return settings.ingest.chunk_tokens, settings.ingest.overlap_tokens


class _Remembered:
    """An embedder that embeds each different text once (seams.Embedder)."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self._rows: dict[tuple[str, str], Sequence[float]] = {}
        self.fingerprint, self.dimensions, self.max_tokens = inner.fingerprint, inner.dimensions, inner.max_tokens
        self.count = inner.count

    def embed(
        self, texts: Sequence[str], *, kind: Literal["document", "query"], progress: Progress | None = None
    ) -> Vectors:
        import numpy as np

        new = list(dict.fromkeys(text for text in texts if (kind, text) not in self._rows))
        if new:
            made = self._inner.embed(new, kind=kind, progress=progress)
            self._rows.update(((kind, text), row) for text, row in zip(new, made, strict=True))
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        return np.asarray([self._rows[kind, text] for text in texts], np.float32)


class _Reader:
    """A library as a searcher reads it, each question's candidates sought once."""

    def __init__(self, inner: Library) -> None:
        self._inner = inner
        self._found: dict[tuple[str, Scope, int], Candidates] = {}
        self._chunks: dict[int, Chunk] = {}
        self.version = inner.version

    def candidates(
        self, vector: Sequence[float], text: str, *, scope: Scope, limit: int, embedder: str = ""
    ) -> Candidates:
        key = (text, scope, limit)
        if key not in self._found:
            self._found[key] = self._inner.candidates(vector, text, scope=scope, limit=limit, embedder=embedder)
        return self._found[key]

    def chunks(self, ids: Sequence[int]) -> Mapping[int, Chunk]:
        new = [one for one in ids if one not in self._chunks]
        if new:
            self._chunks.update(self._inner.chunks(new))
        return {one: self._chunks[one] for one in ids if one in self._chunks}


class _Scored:
    """A reranker that reads each pair once (seams.Reranker)."""

    def __init__(self, inner: Reranker) -> None:
        self.inner = inner
        self.name = inner.name
        self._scores: dict[tuple[str, str], float] = {}

    def score(self, question: str, texts: Sequence[str]) -> list[float]:
        new = list(dict.fromkeys(text for text in texts if (question, text) not in self._scores))
        if new:
            self._scores.update(
                ((question, text), score) for text, score in zip(new, self.inner.score(question, new), strict=True)
            )
        return [self._scores[question, text] for text in texts]
