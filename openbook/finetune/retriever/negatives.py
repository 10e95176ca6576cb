"""Questions in, the passages that look right and are not out: those the serving retriever itself finds.

A found passage may be an unlabelled right one, so it is dropped when it holds the answer, says the same as the right
one, or is nearer to the question than 95 % of the right one's similarity (the positive-aware filter of NV-Retriever,
Moreira et al. 2024). Knows no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from openbook.finetune.retriever.pairs import Answers, Corpus, Question
from openbook.seams import Embedder, Progress

if TYPE_CHECKING:
    from openbook.seams import Vectors

Find = Callable[[str], Sequence[int]]
"""A question's hits as places in the corpus, best first."""


def mine(
    questions: Sequence[Question],
    corpus: Corpus,
    *,
    find: Find,
    embedder: Embedder,
    answers: Answers,
    keep: int = 8,
    margin: float = 0.95,
    progress: Progress | None = None,
) -> tuple[list[tuple[int, ...]], Mapping[str, int]]:
    """For each question at most `keep` places of wrong passages, hardest first; and what was dropped for what reason.

    `margin` is the share of the right passage's cosine similarity above which a passage is taken for right; 0 and
    below similarities are not filtered by it.
    """
    dropped: Counter[str] = Counter()
    pools: list[list[int]] = []
    for done, question in enumerate(questions):
        if progress is not None:
            progress("hard negatives", done, len(questions))
        pool = []
        for place in find(question.text):
            if place in question.right:
                continue
            if why := answers.doubt(question, place, strict=True):
                dropped[why] += 1
            else:
                pool.append(place)
        pools.append(pool)
    near = _similarities(questions, pools, corpus, embedder)
    kept = []
    for number, pool in enumerate(pools):
        limit = margin * max(near(number, place) for place in questions[number].right)
        easy = [place for place in pool if limit <= 0 or near(number, place) <= limit]
        dropped["about as near as the right one"] += len(pool) - len(easy)
        kept.append(tuple(easy[:keep]))
    if progress is not None:
        progress("hard negatives", len(questions), len(questions))
    return kept, {why: count for why, count in dropped.items() if count}


def _similarities(
    questions: Sequence[Question], pools: Sequence[Sequence[int]], corpus: Corpus, embedder: Embedder
) -> Callable[[int, int], float]:
    """Cosine similarity of a question (by number) and a chunk (by place); only what is asked for is embedded."""
    wanted = {place for pool in pools for place in pool} | {place for one in questions for place in one.right}
    places = sorted(wanted)
    row = {place: number for number, place in enumerate(places)}
    documents: Vectors = embedder.embed(corpus.texts(places), kind="document")
    asked: Vectors = embedder.embed([one.text for one in questions], kind="query")
    return lambda number, place: float(asked[number] @ documents[row[place]])
