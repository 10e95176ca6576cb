"""A question and a document in; for each of its chunks out: every retriever's rank and score, and why it was or was
not shown to the model. Knows what search knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from openbook.records import Condition, DocumentInfo, Scope, Scored
from openbook.retrieve.fuse import Fused
from openbook.retrieve.search import HybridSearcher, clean, similar
from openbook.seams import ANYONE, Library
from openbook.settings import Retrieve

_DEPTH = 1000


@dataclass(frozen=True, slots=True)
class ChunkReason:
    """One chunk's standing for a question."""

    start: int
    end: int
    text: str
    dense_rank: int | None
    """1-based among everything in scope; None when beyond the first 1000."""
    dense_score: float | None
    lexical_rank: int | None
    lexical_score: float | None
    fused_rank: int | None
    """1-based after fusion of each retriever's candidates; None when neither retriever brought it."""
    shown: bool
    """Among the passages given to the model."""
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a document was or was not used for a question."""

    question: str
    document: str
    found: bool
    """The document exists and this caller may see it."""
    reason: str
    chunks: tuple[ChunkReason, ...]


def explain(
    question: str,
    document: str,
    *,
    library: Library,
    searcher: HybridSearcher,
    settings: Retrieve,
    passages: int,
    scope: Scope = ANYONE,
) -> Explanation:
    """Explain one document's standing; a document the caller may not see is reported as one that does not exist."""
    asked = clean(question)
    info = next((one for one in library.documents(version=scope.version) if one.name == document), None)
    if info is None or not _visible(info, scope.groups):
        return Explanation(question, document, False, "no such document for this caller", ())
    for condition in scope.where:
        if not library.matches(condition, document):
            shown = f"{condition.field}{condition.op}{condition.value}"
            return Explanation(question, document, True, f"excluded by the filter {shown!r}", ())
    if not any(char.isalnum() for char in asked):
        return Explanation(question, document, True, "the question holds no word to search for", ())
    chunks = library.chunks_of(document, version=scope.version)
    everything, _ = searcher.candidates(asked, scope=scope, limit=_DEPTH)
    pattern = document.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    own_scope = replace(scope, where=(*scope.where, Condition("document", "=", pattern)))
    own, _ = searcher.candidates(asked, scope=own_scope, limit=max(1, len(chunks)))
    limit = max(settings.candidates, passages)
    near = replace(everything, dense=everything.dense[:limit], lexical=everything.lexical[:limit])
    fused = searcher.fused(near)
    hits = searcher.search(asked, k=passages, scope=scope).hits
    dense_all, lexical_all, fused_all = _ranks(everything.dense), _ranks(everything.lexical), _ranks(fused)
    dense_own, lexical_own = _scores(own.dense), _scores(own.lexical)
    reasons = []
    for id_, chunk in chunks:
        rank = fused_all.get(id_)
        place = next((n for n, hit in enumerate(hits, 1) if hit.chunk == chunk), None)
        twin = next(
            (hit for hit in hits if similar(hit.chunk.text, chunk.text, at_least=settings.near_duplicate)), None
        )
        if place:
            reason = f"passage {place} of the prompt"
        elif rank is None:
            reason = f"neither retriever had it among its first {limit}"
        elif twin:
            reason = f"near duplicate of a passage from {twin.chunk.document!r}"
        else:
            reason = f"ranked {rank}, and the prompt takes {passages} passages"
        reasons.append(
            ChunkReason(
                start=chunk.start,
                end=chunk.end,
                text=chunk.text,
                dense_rank=dense_all.get(id_),
                dense_score=dense_own.get(id_),
                lexical_rank=lexical_all.get(id_),
                lexical_score=lexical_own.get(id_),
                fused_rank=rank,
                shown=place is not None,
                reason=reason,
            )
        )
    used = sum(one.shown for one in reasons)
    return Explanation(question, document, True, f"{used} of its {len(chunks)} chunks in the prompt", tuple(reasons))


def _visible(info: DocumentInfo, groups: Sequence[str]) -> bool:
    return bool({"*", *groups} & set(info.acl))


def _ranks(ranked: Sequence[Scored | Fused]) -> dict[int, int]:
    return {one.id: rank for rank, one in enumerate(ranked, start=1)}


def _scores(ranked: Sequence[Scored]) -> dict[int, float]:
    return {one.id: one.score for one in ranked}
