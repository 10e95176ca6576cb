"""A library in, the same library with another embedder's vectors out, for measuring before anything is re-embedded.

Only the dense list differs: exact cosine over vectors held in memory. Words, texts, access and version are the
library's own. Reads the one version the corpus was read from, and can be searched only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from openbook.errors import LibraryError
from openbook.finetune.retriever.pairs import Corpus
from openbook.records import (
    Candidates,
    Change,
    Chunk,
    Condition,
    Document,
    DocumentInfo,
    Scope,
    Scored,
    VersionInfo,
)
from openbook.seams import Embedder, Library

if TYPE_CHECKING:
    from openbook.seams import Vectors


class Swapped:
    """A seams.Library for searching with `vectors` [chunks of the corpus, dimensions]."""

    def __init__(self, library: Library, corpus: Corpus, vectors: Vectors, *, old: Embedder) -> None:
        """`old` embeds a question as the library's own vectors were: the library is asked for both lists at once."""
        self._library, self._corpus, self._vectors, self._old = library, corpus, vectors, old
        self._ids = np.asarray(corpus.ids, dtype=np.int64)

    def candidates(
        self,
        vector: Sequence[float],
        text: str,
        *,
        scope: Scope,
        limit: int,
        embedder: str = "",  # noqa: ARG002  (the Protocol's; there are only the swapped vectors here)
    ) -> Candidates:
        """The dense list from the swapped vectors, the lexical one from the library."""
        old = self._old.embed([text], kind="query")[0].tolist()
        found = self._library.candidates(old, text, scope=scope, limit=limit, embedder=self._old.fingerprint)
        scores = self._vectors @ np.asarray(vector, dtype=np.float32)
        best = np.lexsort((self._ids, -scores))[:limit]
        dense = tuple(Scored(int(self._ids[row]), float(scores[row])) for row in best)
        return replace(found, dense=dense)

    def version(self) -> int:
        """The version of the corpus."""
        return self._corpus.version

    def chunks(self, ids: Sequence[int]) -> Mapping[int, Chunk]:
        """The library's."""
        return self._library.chunks(ids)

    def documents(self, *, version: int | None = None) -> list[DocumentInfo]:
        """The library's."""
        return self._library.documents(version=version)

    def document(self, name: str, *, version: int | None = None) -> Document | None:
        """The library's."""
        return self._library.document(name, version=version)

    def chunks_of(self, name: str, *, version: int | None = None) -> list[tuple[int, Chunk]]:
        """The library's."""
        return self._library.chunks_of(name, version=version)

    def matches(self, condition: Condition, name: str) -> bool:
        """The library's."""
        return self._library.matches(condition, name)

    def versions(self) -> list[VersionInfo]:
        """The library's."""
        return self._library.versions()

    def commit(self, change: Change, *, note: str = "") -> int:
        """Refused."""
        self._refuse(change, note)

    def roll_back(self, version: int) -> int:
        """Refused."""
        self._refuse(version)

    def sweep(self, *, keep: int) -> int:
        """Refused."""
        self._refuse(keep)

    def optimize(self) -> bool:
        """Nothing to do."""
        return False

    def close(self) -> None:
        """The library stays open: it is another's."""

    def _refuse(self, *_: object) -> NoReturn:
        raise LibraryError("a library with swapped vectors is for searching only")
