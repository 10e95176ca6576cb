"""A question and passages in; the passages' own best sentences out, verbatim and cited. Needs no language model.

It is an arm of its own, and what `ask` falls back to when nothing a model wrote is supported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from openbook.answer.cite import Checked, citation
from openbook.prompt import Hint
from openbook.prose import Span, content, sentences
from openbook.records import Chunk, Hit, Sentence
from openbook.seams import Embedder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from openbook.seams import Vectors

    Vector = npt.NDArray[np.float32]

NAME = "extractive"
_ALONE, _WORDS, _WORDS_UNDER_HEADING, _PASSAGE, _OPENING = 0.5, 0.15, 0.15, 0.5, 0.5
"""Weights beside the cosine of the sentence under its heading (1.0); chosen on the handbook's development questions."""
_SECOND_WITHIN = 0.05
_PASSAGES, _QUESTIONS = 1024, 4096
"""Remembered: about 50 kB a passage, 1.5 kB a question."""
_MAX_SENTENCE = 600
_LINK_TEXT = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"!?\[[^\]]*\]\([^)]*\)|https?://\S+")


@dataclass(frozen=True, slots=True)
class Best:
    """A sentence of a passage, and how well it answers."""

    hit: int
    """0-based index of its passage."""
    span: Span
    """In the passage's text."""
    text: str
    score: float
    """Comparable for one question only."""


class Ranker:
    """Puts the sentences of passages in the order in which they seem to answer a question; remembers passages.

    A sentence scores by its cosine to the question, read under its heading and alone, the question's content words in
    it and in its heading, its passage's own cosine, and, where it opens a section, how far the heading names the topic.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._prepared = lru_cache(_PASSAGES)(self._prepare)
        self._asked = lru_cache(_QUESTIONS)(self._ask)

    def ranked(self, question: str, hits: Sequence[Hit]) -> list[Best]:
        """All sentences worth quoting, best first; ties in the order of passages."""
        asked = content(question)
        vector = self._asked(question)
        found: list[Best] = []
        for index, hit in enumerate(hits):
            spans, vectors = self._prepared(hit.chunk)
            if not spans:
                continue
            cosines = vectors @ vector
            about = " ".join((hit.chunk.title, *hit.chunk.heading))
            opens = hit.chunk.text.lstrip().startswith("#")
            for place, span in enumerate(spans):
                text = hit.chunk.text[span.start : span.end]
                score = (
                    float(cosines[1 + place])
                    + _ALONE * float(cosines[1 + len(spans) + place])
                    + _WORDS * _share(asked, text)
                    + _WORDS_UNDER_HEADING * _share(asked, f"{text} {about}")
                    + _PASSAGE * float(cosines[0])
                    + (_OPENING * _share(asked, _last_heading(hit)) if opens and place == 0 else 0.0)
                )
                found.append(Best(index, span, text, score))
        return sorted(found, key=lambda one: -one.score)

    def measured(self, question: str, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        """The hits with their cosine to the question, as a search by vectors would give it."""
        vector = self._asked(question)
        return tuple(replace(hit, dense_score=float(self._prepared(hit.chunk)[1][0] @ vector)) for hit in hits)

    def _ask(self, question: str) -> Vector:
        vector: Vector = self.embedder.embed([question], kind="query")[0]
        return vector

    def _prepare(self, chunk: Chunk) -> tuple[list[Span], Vectors]:
        """The sentences, and the vectors of the passage, of each sentence under its heading, and of each alone."""
        spans = [span for span in sentences(chunk.text) if _worth(chunk.text, span)]
        texts = [chunk.text[span.start : span.end] for span in spans]
        heading = chunk.heading[-1] if chunk.heading else chunk.title
        under = [f"{heading}\n\n{text}" if heading else text for text in texts]
        return spans, self.embedder.embed([chunk.indexed_text, *under, *texts], kind="document")


def extract(question: str, hits: Sequence[Hit], ranker: Ranker, *, most: int = 2) -> Checked:
    """The best supporting sentence, and a second when it scores about as well."""
    found = ranker.ranked(question, hits)
    if not found:
        return Checked("", (), ())
    return _written([one for one in found[:most] if one.score >= found[0].score - _SECOND_WITHIN], hits)


def hints(question: str, hits: Sequence[Hit], ranker: Ranker, *, most: int) -> list[Hint]:
    """The `most` sentences that seem to answer best, the best one last, each with the number of its passage."""
    if most < 1:
        return []
    found: dict[str, Hint] = {}
    for one in ranker.ranked(question, hits):
        text = " ".join(one.text.split())
        found.setdefault(text, Hint(one.hit + 1, text))
        if len(found) == most:
            break
    return list(found.values())[::-1]


def _share(asked: set[str], text: str) -> float:
    return len(asked & content(text)) / len(asked) if asked else 0.0


def _written(chosen: Sequence[Best], hits: Sequence[Hit]) -> Checked:
    lines = [" ".join(_LINK_TEXT.sub(r"\1", one.text).split()) for one in chosen]
    return Checked(
        text=" ".join(f"{line} [{one.hit + 1}]" for line, one in zip(lines, chosen, strict=True)),
        sentences=tuple(Sentence(line, supported=True) for line in lines),
        citations=tuple(citation(hits[one.hit], one.span, sentence=n) for n, one in enumerate(chosen)),
    )


def _worth(text: str, span: Span) -> bool:
    """Not a heading, not a lone link or word, not a whole table."""
    line_start = text.rfind("\n", 0, span.start) + 1
    sentence = text[span.start : span.end]
    return (
        "#" not in text[line_start : span.start]
        and " " in _LINK.sub("", sentence).strip()
        and len(sentence) <= _MAX_SENTENCE
    )


def _last_heading(hit: Hit) -> str:
    return hit.chunk.heading[-1] if hit.chunk.heading else hit.chunk.title
