"""A question and passages in; the passages' own best sentences out, verbatim and cited. Needs no language model.

It is an arm of its own, and what `ask` falls back to when nothing a model wrote is supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openbook.answer.cite import Checked, citation
from openbook.prose import Span, content, sentences
from openbook.records import Hit, Sentence
from openbook.seams import Embedder

NAME = "extractive"
_SECOND_WITHIN = 0.05
_LEXICAL = 0.3
_RANK = 0.02
_MAX_SENTENCE = 600


@dataclass(frozen=True, slots=True)
class _Candidate:
    hit: int
    span: Span
    text: str


def extract(question: str, hits: Sequence[Hit], embedder: Embedder, *, most: int = 2) -> Checked:
    """The best supporting sentence, and a second of the same passage when it scores about as well.

    A sentence scores its cosine to the question (read under its passage's heading), plus a share for the question's
    content words it holds, less a little for each rank of its passage.
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
    vectors = embedder.embed([_in_context(hits[one.hit], one.text) for one in found], kind="document")
    cosines = vectors @ embedder.embed([question], kind="query")[0]
    scores = [
        float(cosine) + _LEXICAL * len(asked & content(one.text)) / max(1, len(asked)) - _RANK * one.hit
        for one, cosine in zip(found, cosines, strict=True)
    ]
    order = sorted(range(len(found)), key=lambda place: -scores[place])
    best = order[0]
    chosen = [best]
    for place in order[1:]:
        if len(chosen) == most or scores[place] < scores[best] - _SECOND_WITHIN:
            break
        if found[place].hit == found[best].hit:
            chosen.append(place)
    return _written([found[place] for place in sorted(chosen)], hits)


def _written(chosen: Sequence[_Candidate], hits: Sequence[Hit]) -> Checked:
    lines = [" ".join(one.text.split()) for one in chosen]
    return Checked(
        text=" ".join(f"{line} [{one.hit + 1}]" for line, one in zip(lines, chosen, strict=True)),
        sentences=tuple(Sentence(line, supported=True) for line in lines),
        citations=tuple(citation(hits[one.hit], one.span, sentence=n) for n, one in enumerate(chosen)),
    )


def _worth(text: str, span: Span) -> bool:
    """Not a heading, not a fragment of one word, not a whole table."""
    line_start = text.rfind("\n", 0, span.start) + 1
    return (
        "#" not in text[line_start : span.start]
        and " " in text[span.start : span.end]
        and (span.end - span.start <= _MAX_SENTENCE)
    )


def _in_context(hit: Hit, sentence: str) -> str:
    last = hit.chunk.heading[-1] if hit.chunk.heading else hit.chunk.title
    return f"{last}\n\n{sentence}" if last else sentence
