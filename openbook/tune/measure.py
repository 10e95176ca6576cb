"""Settings and questions in, a score per question and what it costs out. Knows searchers, not what is being tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from openbook.metrics import contains, rank
from openbook.records import Answer, Case, Hit
from openbook.settings import Settings
from openbook.tune.cases import Asked
from openbook.tune.trials import Trials

DEPTH = 10
"""Ranks below this do not count: MRR@10."""
PER_QUESTION = ("passage tokens", "ms", "prompt tokens", "seconds")
"""Costs of a question; others are of the library as a whole."""
_TIMED = 5


@dataclass(frozen=True, slots=True)
class Points:
    """How one choice of settings did."""

    values: tuple[float, ...]
    """One per question; their mean is the score, higher is better."""
    shown: Mapping[str, float]
    """Plain figures for a person: "recall@5"."""
    costs: Mapping[str, float]
    """"passage tokens" a question, and so on."""


Measure = Callable[[Settings, Sequence[Asked]], Points]


def ranking(trials: Trials, *, unit: float | None = None) -> Measure:
    """MRR@10: 1 / rank of the first hit that overlaps a gold span.

    With `unit` (characters) ranks are counted in text read instead of hits, so that chunks of different sizes compare:
    all of the hits before, and the right one up to the end of the gold text, in units, at least 1, at most 10.
    """

    def measure(settings: Settings, asked: Sequence[Asked]) -> Points:
        searcher, k = trials.searcher(settings), settings.answer.passages
        values: list[float] = []
        ranks: list[float] = []
        tokens, some = 0, [(one.question, one.scope) for one in asked[:_TIMED]]
        for one in asked:
            hits = searcher.search(one.question, k=max(DEPTH, k), scope=one.scope).hits
            at = rank(hits[:DEPTH], one.case)
            ranks.append(at or float("inf"))
            values.append(_worth(hits, one.case, at, unit))
            tokens += trials.tokens([hit.chunk.text for hit in hits[:k]])
        n = max(1, len(asked))
        shown = {f"recall@{depth}": sum(at <= depth for at in ranks) / n for depth in (1, 3, 5, 10)}
        return Points(
            tuple(values),
            {"mrr@10": sum(1 / at for at in ranks) / n, **shown},
            {"passage tokens": tokens / n, "ms": trials.milliseconds(settings, some, k=k), **trials.size(settings)},
        )

    return measure


def mean_length(trials: Trials, settings: Settings, asked: Sequence[Asked]) -> float:
    """Mean characters of a hit: the unit of text read."""
    searcher = trials.searcher(settings)
    lengths = [
        len(hit.chunk.text) for one in asked for hit in searcher.search(one.question, k=DEPTH, scope=one.scope).hits
    ]
    return sum(lengths) / len(lengths) if lengths else 1.0


def showing(trials: Trials, *, token_price: float) -> Measure:
    """Whether the gold text is among the passages shown, less what 1,000 tokens of passages are worth."""

    def measure(settings: Settings, asked: Sequence[Asked]) -> Points:
        searcher, k = trials.searcher(settings), settings.answer.passages
        found: list[bool] = []
        tokens: list[int] = []
        for one in asked:
            hits = searcher.search(one.question, k=k, scope=one.scope).hits
            found.append(rank(hits, one.case) is not None)
            tokens.append(trials.tokens([hit.chunk.text for hit in hits]))
        n = max(1, len(asked))
        return Points(
            tuple(seen - token_price * size / 1000 for seen, size in zip(found, tokens, strict=True)),
            {"gold shown": sum(found) / n},
            {"passage tokens": sum(tokens) / n},
        )

    return measure


Confidence = Callable[[str, Sequence[Hit]], float]


def confidences(trials: Trials, confidence: Confidence, settings: Settings, asked: Sequence[Asked]) -> list[float]:
    """How sure retrieval is of each question, from the passages serving would show."""
    searcher = trials.searcher(settings)
    return [
        confidence(one.question, searcher.search(one.question, k=settings.answer.passages, scope=one.scope).hits)
        for one in asked
    ]


def declining(trials: Trials, confidence: Confidence, *, wrong_cost: float) -> Measure:
    """(share of answerable questions answered + wrong_cost * share of the others declined) / (1 + wrong_cost).

    With wrong_cost 1 that is balanced accuracy. Each kind counts the same however many questions it has.
    """
    memory: dict[tuple[object, ...], float] = {}

    def measure(settings: Settings, asked: Sequence[Asked]) -> Points:
        key = (settings.ingest, settings.retrieve, settings.models.reranker, settings.answer.passages)
        new = [one for one in asked if (*key, one) not in memory]
        for one, sure in zip(new, confidences(trials, confidence, settings, new), strict=True):
            memory[*key, one] = sure
        answered = [memory[*key, one] >= settings.answer.abstain_below for one in asked]
        can = [took for took, one in zip(answered, asked, strict=True) if one.answerable]
        cannot = [took for took, one in zip(answered, asked, strict=True) if not one.answerable]
        n, scale = len(asked), 1 + wrong_cost
        values = tuple(
            took * n / len(can) / scale if one.answerable else wrong_cost * (not took) * n / len(cannot) / scale
            for took, one in zip(answered, asked, strict=True)
        )
        return Points(
            values,
            {
                "answerable questions declined": 1 - sum(can) / max(1, len(can)),
                "unanswerable questions answered": sum(cannot) / max(1, len(cannot)),
            },
            {},
        )

    return measure


def answering(answer: Callable[[Settings, Asked], Answer]) -> Measure:
    """Whether the answer holds a gold text and cites a chunk that overlaps a gold span."""

    def measure(settings: Settings, asked: Sequence[Asked]) -> Points:
        answers = [answer(settings, one) for one in asked]
        said = [contains(one.text, ask.case.gold) for one, ask in zip(answers, asked, strict=True)]
        cited = [_cites_gold(one, ask.case) for one, ask in zip(answers, asked, strict=True)]
        n = max(1, len(asked))
        return Points(
            tuple(float(says and cites) for says, cites in zip(said, cited, strict=True)),
            {"contains gold": sum(said) / n, "cites right": sum(cited) / n},
            {
                "prompt tokens": sum(one.prompt_tokens for one in answers) / n,
                "seconds": sum(one.seconds.total for one in answers) / n,
            },
        )

    return measure


def _cites_gold(answer: Answer, case: Case) -> bool:
    """Whether a citation stands in a shown chunk that overlaps a gold span."""
    right = [hit.chunk for hit in answer.hits if any(span.overlaps(hit.chunk) for span in case.spans)]
    return any(
        chunk.document == cited.document and chunk.start <= cited.start < chunk.end
        for cited in answer.citations
        for chunk in right
    )


def _worth(hits: Sequence[Hit], case: Case, at: int | None, unit: float | None) -> float:
    if at is None:
        return 0.0
    if unit is None:
        return 1 / at
    before = sum(len(hit.chunk.text) for hit in hits[: at - 1])
    chunk = hits[at - 1].chunk
    inside = min(min(span.end, chunk.end) - chunk.start for span in case.spans if span.overlaps(chunk))
    read = max(1.0, (before + inside) / unit)
    return 1 / read if read <= DEPTH else 0.0
