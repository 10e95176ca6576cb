"""A library in, lessons in reading out: joins questions, the serving retriever and openbook.finetune.reading.

What the lessons were made from is written down, so that serving can tell when the retriever has changed since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from openbook.finetune.reading import Source
from openbook.metrics import contains
from openbook.records import Case, Chunk, Hit
from openbook.seams import Progress

if TYPE_CHECKING:
    from openbook.seams import Library, Searcher

_BESIDE = 5
"""Hits sought beyond those shown: distractors that vary from lesson to lesson."""


def sources(
    cases: Sequence[Case],
    *,
    library: Library,
    searcher: Searcher,
    shown: int,
    groups: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[list[Source], Mapping[str, int]]:
    """Each question with the passage that holds its answer and what is found for it; and why others were left out."""
    from openbook.answer.followup import standalone
    from openbook.records import Scope

    chunks: dict[str, list[Chunk]] = {}
    found: list[Source] = []
    left_out: Counter[str] = Counter()
    for done, case in enumerate(cases):
        if progress and done % 50 == 0:
            progress("passages", done, len(cases))
        place = _holding(case, library, chunks)
        if place is None:
            left_out["no passage holds the answer"] += 1
            continue
        chunk, start, answer = place
        hits = searcher.search(standalone(case.question, case.history), k=shown + _BESIDE, scope=Scope(tuple(groups))).hits
        found.append(Source(case, Hit(chunk, score=0.0), answer, start, hits))
    if progress:
        progress("passages", len(cases), len(cases))
    return found, left_out


def _holding(case: Case, library: Library, chunks: dict[str, list[Chunk]]) -> tuple[Chunk, int, str] | None:
    """The passage that holds an answer of the case, where it starts in it, and its words."""
    for span in case.spans:
        if span.document not in chunks:
            chunks[span.document] = [chunk for _, chunk in library.chunks_of(span.document)]
        for chunk in chunks[span.document]:
            if chunk.start <= span.start and span.end <= chunk.end:
                start = span.start - chunk.start
                answer = chunk.text[start : span.end - chunk.start]
                if answer.strip() and (not case.gold or contains(answer, case.gold)):
                    return chunk, start, answer
    return None
