"""Two ranked lists in, one out. Knows scores and ranks only.

Reciprocal rank fusion: Cormack, Clarke, Buettcher, SIGIR 2009 (k = 60). Distribution-based score fusion: each list's
scores are mapped to [0, 1] by mean +- 3 standard deviations, then added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from openbook.records import Candidates, Scored

_RRF_K = 60


@dataclass(frozen=True, slots=True)
class Fused:
    """One chunk's fused score with where each retriever had it."""

    id: int
    score: float
    dense: Scored | None
    dense_rank: int | None
    lexical: Scored | None
    lexical_rank: int | None


def fuse(
    found: Candidates,
    *,
    method: Literal["rrf", "dbsf"],
    dense_weight: float = 1.0,
    lexical_weight: float = 1.0,
    limit: int | None = None,
) -> list[Fused]:
    """The best `limit` chunks of both lists (None: all); ties go to the better dense score, then the lower id.

    >>> lists = Candidates((Scored(1, 0.9), Scored(2, 0.5)), (Scored(2, 8.0),), version=1)
    >>> [chunk.id for chunk in fuse(lists, method="rrf")]
    [2, 1]
    """
    points = _reciprocal_ranks if method == "rrf" else _distribution
    scores: dict[int, float] = {}
    for scored, weight in ((found.dense, dense_weight), (found.lexical, lexical_weight)):
        if weight > 0:
            for one, value in zip(scored, points(scored), strict=True):
                scores[one.id] = scores.get(one.id, 0.0) + weight * value
    dense = {one.id: (rank, one) for rank, one in enumerate(found.dense, start=1)}
    lexical = {one.id: (rank, one) for rank, one in enumerate(found.lexical, start=1)}
    order = sorted(scores, key=lambda id_: (-scores[id_], -dense[id_][1].score if id_ in dense else 2.0, id_))
    made: list[Fused] = []
    for id_ in order[:limit]:
        dense_rank, dense_hit = dense.get(id_, (None, None))
        lexical_rank, lexical_hit = lexical.get(id_, (None, None))
        made.append(Fused(id_, scores[id_], dense_hit, dense_rank, lexical_hit, lexical_rank))
    return made


def _reciprocal_ranks(scored: Sequence[Scored]) -> list[float]:
    return [1.0 / (_RRF_K + rank) for rank in range(1, len(scored) + 1)]


def _distribution(scored: Sequence[Scored]) -> list[float]:
    if not scored:
        return []
    values = [one.score for one in scored]
    middle = sum(values) / len(values)
    spread = math.sqrt(sum((value - middle) ** 2 for value in values) / len(values))
    if spread == 0:
        return [0.5] * len(values)
    low = middle - 3 * spread
    return [min(1.0, max(0.0, (value - low) / (6 * spread))) for value in values]
