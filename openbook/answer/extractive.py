"""A question and passages in; the passages' own best sentences out, verbatim and cited. Needs no language model.

It is an arm of its own, and what `ask` falls back to when nothing a model wrote is supported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from openbook.answer.cite import Checked, citation
from openbook.prose import Span, content, sentences
from openbook.records import Hit, Sentence
from openbook.seams import Embedder

NAME = "extractive"
_ALONE, _WORDS, _WORDS_UNDER_HEADING, _PASSAGE, _OPENING = 0.5, 0.15, 0.15, 0.5, 0.5
"""Weights beside the cosine of the sentence under its heading (1.0); chosen on the handbook's development questions."""
_SECOND_WITHIN = 0.05
_MAX_SENTENCE = 600
_LINK_TEXT = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"!?\[[^\]]*\]\([^)]*\)|https?://\S+")


@dataclass(frozen=True, slots=True)
class _Candidate:
    hit: int
    span: Span
    text: str


def extract(question: str, hits: Sequence[Hit], embedder: Embedder, *, most: int = 2) -> Checked:
    """The best supporting sentence, and a second when it scores about as well.

    A sentence scores by its cosine to the question, read under its heading and alone, the question's content words in
    it and in its heading, its passage's own cosine, and, where it opens a section, how far the heading names the topic.
    """
    found = [
        _Candidate(index, span, hit.chunk.text[span.start : span.end])
        for index, hit in enumerate(hits)
        for span in sentences(hit.chunk.text)
        if _worth(hit.chunk.text, span)
    ]
    if not found:
        return Checked("", (), ())
    asked = content(question)
    texts = [one.text for one in found]
    vectors = embedder.embed([*(_in_context(hits[one.hit], one.text) for one in found), *texts], kind="document")
    cosines = vectors @ embedder.embed([question], kind="query")[0]
    scores: list[float] = []
    for place, one in enumerate(found):
        hit = hits[one.hit]
        opens = (place == 0 or found[place - 1].hit != one.hit) and hit.chunk.text.lstrip().startswith("#")
        scores.append(
            float(cosines[place])
            + _ALONE * float(cosines[len(found) + place])
            + _WORDS * _share(asked, one.text)
            + _WORDS_UNDER_HEADING * _share(asked, " ".join((one.text, hit.chunk.title, *hit.chunk.heading)))
            + _PASSAGE * (hit.dense_score or 0.0)
            + (_OPENING * _share(asked, _last_heading(hit)) if opens else 0.0)
        )
    order = sorted(range(len(found)), key=lambda place: -scores[place])
    chosen = [place for place in order[:most] if scores[place] >= scores[order[0]] - _SECOND_WITHIN]
    return _written([found[place] for place in chosen], hits)


def _share(asked: set[str], text: str) -> float:
    return len(asked & content(text)) / len(asked) if asked else 0.0


def _written(chosen: Sequence[_Candidate], hits: Sequence[Hit]) -> Checked:
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


def _in_context(hit: Hit, sentence: str) -> str:
    heading = _last_heading(hit)
    return f"{heading}\n\n{sentence}" if heading else sentence
