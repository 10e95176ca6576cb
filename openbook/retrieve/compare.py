"""Two searchers and questions in, how they differ out, question by question. Knows no library and no embedder."""

from __future__ import annotations

from collections.abc import Sequence

from openbook.metrics import paired, rank
from openbook.records import Case, Compared, Hit, Scope
from openbook.seams import Searcher

_DEPTH, _RECALL = 10, 5


def by_cases(before: Searcher, after: Searcher, cases: Sequence[Case], *, scope: Scope) -> tuple[Compared, ...]:
    """recall@5 and mrr@10 of cases with spans: a hit is right when it overlaps one. Questions of a document count
    together in the interval. Empty without cases."""
    cases = [case for case in cases if case.spans]
    if not cases:
        return ()
    ranks = [
        [rank(searcher.search(case.question, k=_DEPTH, scope=scope).hits, case) for case in cases]
        for searcher in (before, after)
    ]
    documents = [case.spans[0].document for case in cases]
    recall = [[float(at is not None and at <= _RECALL) for at in side] for side in ranks]
    reciprocal = [[1 / at if at else 0.0 for at in side] for side in ranks]
    return (
        _compared(f"recall@{_RECALL}", recall[0], recall[1], documents),
        _compared(f"mrr@{_DEPTH}", reciprocal[0], reciprocal[1], documents),
    )


def by_overlap(before: Searcher, after: Searcher, questions: Sequence[str], *, scope: Scope) -> tuple[Compared, ...]:
    """overlap@10: the share of the first ten hits that both find, 1.0 being no change. Empty without questions."""
    shares = []
    for question in questions:
        found = [_places(searcher.search(question, k=_DEPTH, scope=scope).hits) for searcher in (before, after)]
        if found[0] or found[1]:
            shares.append(len(found[0] & found[1]) / max(len(found[0]), len(found[1])))
    return (_compared(f"overlap@{_DEPTH}", [1.0] * len(shares), shares, ()),) if shares else ()


def _places(hits: Sequence[Hit]) -> set[tuple[str, int, int]]:
    return {(hit.chunk.document, hit.chunk.start, hit.chunk.end) for hit in hits}


def _compared(measure: str, before: Sequence[float], after: Sequence[float], clusters: Sequence[str]) -> Compared:
    found = paired(before, after, clusters)
    return Compared(
        measure,
        sum(before) / len(before),
        sum(after) / len(after),
        found.difference,
        found.low,
        found.high,
        found.n,
    )
