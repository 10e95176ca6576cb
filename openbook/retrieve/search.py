"""A question in, ranked hits out: embed, search both ways under one snapshot, fuse, collapse, maybe rerank.

Does not know how documents are stored or who asks; the caller's rights come in with the scope.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace

from openbook.records import Candidates, Chunk, Hit, Scope, SearchResult
from openbook.retrieve.fuse import Fused, fuse
from openbook.seams import ANYONE, Embedder, Library, Reranker
from openbook.settings import Retrieve

_MAX_QUESTION = 10_000
_OWN_COMPANY = re.compile(r"\b(?:our|my|this)\s+(?:company|organi[sz]ation|firm|employer)\b(?:'s|’s)?", re.IGNORECASE)


class HybridSearcher:
    """Dense and lexical retrieval, fused (seams.Searcher).

    >>> HybridSearcher(library, embedder, Retrieve()).search("Who approves travel?", k=3)  # doctest: +SKIP
    """

    def __init__(
        self, library: Library, embedder: Embedder, settings: Retrieve, *, reranker: Reranker | None = None
    ) -> None:
        self._library = library
        self._embedder = embedder
        self._settings = settings
        self._reranker = reranker

    def use(self, embedder: Embedder) -> None:
        """Embed with another one from the next question on; a search in flight ends as it began."""
        self._embedder = embedder

    def search(self, question: str, *, k: int | None = None, scope: Scope = ANYONE) -> SearchResult:
        """The k best hits; a question without any letter or digit finds nothing."""
        k = self._settings.k if k is None else k
        question = clean(question)
        started = time.perf_counter()
        if k < 1 or not any(char.isalnum() for char in question):
            return SearchResult((), scope.version or self._library.version(), {"embed": 0.0, "search": 0.0})
        found, embedded = self.candidates(question, scope=scope, limit=max(k, self._settings.candidates))
        depth = max(k, self._settings.rerank_depth) if self._reranker else k
        hits = self._hits(found, depth)
        searched = time.perf_counter()
        seconds = {"embed": embedded - started, "search": searched - embedded}
        if self._reranker and hits:
            hits = rerank(question, hits, self._reranker)
            seconds["rerank"] = time.perf_counter() - searched
        return SearchResult(tuple(hits[:k]), found.version, seconds)

    def candidates(self, question: str, *, scope: Scope, limit: int) -> tuple[Candidates, float]:
        """Both retrievers' lists, and the moment the question had been embedded."""
        embedder = self._embedder
        vector = embedder.embed([question], kind="query")[0]
        embedded = time.perf_counter()
        found = self._library.candidates(vector, question, scope=scope, limit=limit, embedder=embedder.fingerprint)
        return found, embedded

    def fused(self, found: Candidates, *, limit: int | None = None) -> list[Fused]:
        """The candidates in the order of the settings' fusion."""
        settings = self._settings
        return fuse(
            found,
            method=settings.fusion,
            dense_weight=settings.dense_weight,
            lexical_weight=settings.lexical_weight,
            limit=limit,
        )

    def _hits(self, found: Candidates, wanted: int) -> list[Hit]:
        kept: list[Hit] = []
        texts: list[str] = []
        looked_at = 0
        while len(kept) < wanted:
            # As a rule nothing collapses and the first round suffices.
            some = self.fused(found, limit=looked_at + wanted - len(kept))[looked_at:]
            if not some:
                break
            looked_at += len(some)
            chunks = self._library.chunks([one.id for one in some])
            for one in some:
                text = " ".join(chunks[one.id].text.split()) if one.id in chunks else None
                if text and not any(_alike(text, other, at_least=self._settings.near_duplicate) for other in texts):
                    texts.append(text)
                    kept.append(hit_of(one, chunks[one.id]))
        return kept


def clean(question: str) -> str:
    """A question as searched: no control characters or lone surrogates, at most 10,000 characters, and "our company"
    said as "our": in a company's own documents the word only draws passages about companies.

    >>> clean("What is our company's leave policy?")
    'What is our leave policy?'
    """
    text = question.encode("utf-8", "replace").decode("utf-8")
    printable = "".join(char if char.isprintable() else " " for char in text[:_MAX_QUESTION])
    return _OWN_COMPANY.sub("our", printable).strip()


def similar(one: str, other: str, *, at_least: float) -> bool:
    """Whether two texts are near duplicates: equal up to white space, or token-set similarity (0-1) at or above.

    >>> similar("Leave is 15 days.", "Leave  is 15 days.", at_least=1.0)
    True
    """
    return _alike(" ".join(one.split()), " ".join(other.split()), at_least=at_least)


def _alike(one: str, other: str, *, at_least: float) -> bool:
    if one == other:
        return True
    if at_least >= 1 or min(len(one), len(other)) < at_least * max(len(one), len(other)):
        return False
    from rapidfuzz import fuzz

    return fuzz.ratio(one, other, score_cutoff=100 * at_least) > 0


def rerank(question: str, hits: Sequence[Hit], reranker: Reranker) -> list[Hit]:
    """Hits in the order of the reranker's scores; ties keep their order."""
    scores = reranker.score(question, [hit.chunk.indexed_text for hit in hits])
    scored = [replace(hit, score=score, rerank_score=score) for hit, score in zip(hits, scores, strict=True)]
    return sorted(scored, key=lambda hit: -hit.score)


def hit_of(one: Fused, chunk: Chunk) -> Hit:
    """A fused candidate with its chunk."""
    return Hit(
        chunk=chunk,
        score=one.score,
        dense_rank=one.dense_rank,
        dense_score=one.dense.score if one.dense else None,
        lexical_rank=one.lexical_rank,
        lexical_score=one.lexical.score if one.lexical else None,
    )
