"""Which values are tried, the most promising first, so that fewer tries keep the likelier ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from openbook.settings import Settings
from openbook.tune.climb import Changes

_SIZES = (150, 250, 100, 300, 64, 400, 500)
_OVERLAPS = (0.0, 0.25, 0.1, 0.35, 0.2, 0.5)
_WEIGHTS = ((1.0, 0.5), (1.0, 2.0), (1.0, 0.25), (1.0, 4.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
"""(dense, lexical)."""
_PASSAGES = (3, 5, 2, 4, 1, 8, 6, 10)


def sizes(longest: int) -> Callable[[Settings], Sequence[Changes]]:
    """Chunk sizes the embedder can read, with the present share of overlap."""

    def options(settings: Settings) -> list[Changes]:
        ingest = settings.ingest
        share = min(0.5, ingest.overlap_tokens / ingest.chunk_tokens)
        return [_split(size, share) for size in _SIZES if size <= longest]

    return options


def overlaps(settings: Settings) -> list[Changes]:
    """Shares of a chunk repeated in the next."""
    return [_split(settings.ingest.chunk_tokens, share) for share in _OVERLAPS]


def fusions(_: Settings) -> list[Changes]:
    """Both ways to join two lists."""
    return [{"retrieve.fusion": "rrf"}, {"retrieve.fusion": "dbsf"}]


def weights(_: Settings) -> list[Changes]:
    """From meaning alone to words alone."""
    return [{"retrieve.dense_weight": dense, "retrieve.lexical_weight": lexical} for dense, lexical in _WEIGHTS]


def rerankers(names: Sequence[str]) -> Callable[[Settings], Sequence[Changes]]:
    """Each of these, and none."""
    return lambda _: [{"models.reranker": name} for name in ("", *names)]


def passages(_: Settings) -> list[Changes]:
    """How many are shown."""
    return [{"answer.passages": count} for count in _PASSAGES]


def thresholds(sure: Sequence[float], count: int) -> Callable[[Settings], Sequence[Changes]]:
    """Evenly spaced quantiles of the confidences seen, which differ from embedder to embedder."""
    ordered = sorted(sure)
    places = [len(ordered) * number // (count + 1) for number in range(1, count + 1)]
    values = dict.fromkeys(round(ordered[place], 3) for place in places) if ordered else {}
    return lambda _: [{"answer.abstain_below": value} for value in values]


def orders(_: Settings) -> list[Changes]:
    """The best passage next to the question, or first."""
    return [{"answer.order": "best_last"}, {"answer.order": "best_first"}]


def _split(size: int, share: float) -> Changes:
    return {"ingest.chunk_tokens": size, "ingest.overlap_tokens": int(size * share)}
