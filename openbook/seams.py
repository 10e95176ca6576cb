"""The narrow places where rooms meet: Protocols only, no code.

Every implementation of a Protocol passes the one contract suite in tests/contracts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from openbook.records import (
    Candidates,
    Change,
    Chunk,
    Condition,
    Document,
    DocumentInfo,
    Generation,
    Message,
    Sampling,
    Scope,
    SearchResult,
    VersionInfo,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

ANYONE = Scope()
"""What a caller without groups may see: documents open to everyone."""

Progress = Callable[[str, int, int], None]
"""Called as progress(step, done, total) from long work; must return fast and never raise."""


@runtime_checkable
class Embedder(Protocol):
    """Texts in, unit vectors out."""

    @property
    def fingerprint(self) -> str:
        """Identity of what decides the vectors: model name, weights hash, pooling, prefixes, precision-independent."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special tokens included; longer texts are cut."""

    def embed(
        self, texts: Sequence[str], *, kind: Literal["document", "query"], progress: Progress | None = None
    ) -> Vectors:
        """Embed texts in the given order: float32 [len(texts), dimensions], rows of unit length."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens, never cut."""


@runtime_checkable
class Library(Protocol):
    """Documents, chunks and indexes under numbered versions; a reader sees exactly one version."""

    def version(self) -> int:
        """The newest committed version; 0 when empty."""

    def documents(self, *, version: int | None = None) -> list[DocumentInfo]:
        """Stored documents sorted by name, whoever may see them."""

    def document(self, name: str, *, version: int | None = None) -> Document | None:
        """One document with its text, or None."""

    def chunks_of(self, name: str, *, version: int | None = None) -> list[tuple[int, Chunk]]:
        """(id, chunk) of one document in reading order."""

    def candidates(
        self, vector: Sequence[float], text: str, *, scope: Scope, limit: int, embedder: str = ""
    ) -> Candidates:
        """The `limit` best chunks by dense similarity and, separately, by BM25, under one version and within scope.

        `embedder` is the fingerprint of what made the vector ("": what the library uses now), so that a search in
        flight while the library changes over to another embedder ends on the vectors it began with.
        """

    def chunks(self, ids: Sequence[int]) -> Mapping[int, Chunk]:
        """Chunks by id; ids swept meanwhile are missing."""

    def matches(self, condition: Condition, name: str) -> bool:
        """Whether the document `name` of the newest version meets the condition."""

    def commit(self, change: Change, *, note: str = "") -> int:
        """Apply a change as one new version and return it; on any failure or crash the old version stays."""

    def versions(self) -> list[VersionInfo]:
        """Versions that can still be read, oldest first."""

    def roll_back(self, version: int) -> int:
        """Commit a new version whose content equals an earlier one's; returns the new version."""

    def sweep(self, *, keep: int) -> int:
        """Forget all but the newest `keep` versions; returns the number of chunks freed."""

    def optimize(self) -> bool:
        """Build or improve search indexes where it pays; True when something changed."""

    def close(self) -> None:
        """Release the library. Further calls raise LibraryError."""


@runtime_checkable
class Reranker(Protocol):
    """Reads question and text together and scores how well the text answers."""

    @property
    def name(self) -> str:
        """Shown in explain and reports."""

    def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """One score per text, higher is better."""


@runtime_checkable
class Generator(Protocol):
    """Anything that turns a prompt into text."""

    @property
    def name(self) -> str:
        """Model name as shown in answers."""

    @property
    def context(self) -> int:
        """Prompt and answer together may have this many tokens."""

    def render(self, messages: Sequence[Message]) -> str:
        """The exact text the model reads for these messages (an endpoint renders a plain transcript)."""

    def count(self, text: str) -> int:
        """Tokens of a text; an endpoint without a tokenizer estimates and errs high."""

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Generation]:
        """Yield pieces of text as they come, then one Generation as the last item. Closing the iterator cancels."""

    def close(self) -> None:
        """Free the model."""


@runtime_checkable
class Searcher(Protocol):
    """Questions in, ranked hits out."""

    def search(self, question: str, *, k: int | None = None, scope: Scope = ANYONE) -> SearchResult:
        """The k best hits (None: as the settings say) within scope; odd questions may give fewer, never an error."""
