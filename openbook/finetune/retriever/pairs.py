"""A library's chunks and cases in, questions with the chunks that answer them out. Knows no model.

A question's right chunks are those that hold one of its spans, and any chunk of the very same text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from openbook.metrics import evened
from openbook.records import PUBLIC, Case, Chunk, Span
from openbook.seams import Library

NEAR = 90.0
"""Texts this similar (rapidfuzz ratio, 0-100) say the same; one is no wrong answer where the other is right."""
COMMON = 0.05
"""An answer that stands in a larger share of all chunks ("two", "France") does not tell which chunk answers."""
_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class Corpus:
    """The chunks of one version of a library that a caller may see; a place is an index into `chunks`."""

    ids: tuple[int, ...]
    chunks: tuple[Chunk, ...]
    version: int

    def texts(self, places: Sequence[int] | None = None) -> list[str]:
        """What is embedded of some chunks, or of all."""
        return [self.chunks[place].indexed_text for place in (range(len(self.chunks)) if places is None else places)]


@dataclass(frozen=True, slots=True)
class Question:
    """A question and where in the corpus its answer stands."""

    text: str
    gold: tuple[str, ...]
    right: tuple[int, ...]
    """Places of the chunks that answer it, the one that holds most of a span first; never empty."""
    document: str
    """Of the first right chunk; questions of one document are not independent."""


def read(library: Library, *, groups: Sequence[str] = ()) -> Corpus:
    """The newest version's chunks in documents that these groups may see."""
    version = library.version()
    labels = {PUBLIC, *groups}
    names = [one.name for one in library.documents(version=version) if labels & set(one.acl)]
    found = [pair for name in names for pair in library.chunks_of(name, version=version)]
    return Corpus(tuple(number for number, _ in found), tuple(chunk for _, chunk in found), version)


def questions(cases: Sequence[Case], corpus: Corpus) -> tuple[list[Question], Mapping[str, int]]:
    """The cases that can be learned from or measured with, and how many others were left out for what reason.

    A question asked of several passages is one question that each of them answers.
    """
    by_document: dict[str, list[int]] = {}
    same: dict[str, list[int]] = {}
    for place, chunk in enumerate(corpus.chunks):
        by_document.setdefault(chunk.document, []).append(place)
        same.setdefault(_plain(chunk.text), []).append(place)
    found: dict[str, Question] = {}
    left_out: Counter[str] = Counter()
    for case in cases:
        right = [place for span in case.spans for place in _holding(span, corpus, by_document.get(span.document, ()))]
        right = list(
            dict.fromkeys([*right, *(twin for place in right for twin in same[_plain(corpus.chunks[place].text)])])
        )
        key = _plain(case.question).casefold()
        if case.kind == "unanswerable":
            left_out["unanswerable"] += 1
        elif case.history:
            left_out["needs the conversation before it"] += 1
        elif not case.spans:
            left_out["where its answer stands is unknown"] += 1
        elif not any(span.document in by_document for span in case.spans):
            left_out["its document is gone"] += 1
        elif not right:
            left_out["no passage holds its answer"] += 1
        elif key in found:
            left_out["asked twice"] += 1
            found[key] = replace(found[key], right=tuple(dict.fromkeys((*found[key].right, *right))))
        else:
            found[key] = Question(case.question, case.gold, tuple(right), corpus.chunks[right[0]].document)
    return list(found.values()), dict(left_out)


class Answers:
    """Which chunks besides its own may also answer a question; remembers what it has compared."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._evened: dict[int, str] = {}
        self._common: dict[str, bool] = {}
        self._alike: dict[tuple[int, int], bool] = {}
        step = max(1, len(corpus.chunks) // _LOOKED_AT)
        self._sample = range(0, len(corpus.chunks), step)

    def doubt(self, question: Question, place: int, *, strict: bool = False) -> str:
        """Why a chunk must not count as a wrong answer; "" when it may.

        `strict` also counts answers so common that they tell nothing.
        """
        if place in question.right:
            return "the same passage"
        text = self._text(place)
        for gold in question.gold:
            said = evened(gold)
            if said and f" {said} " in text and (strict or not self._is_common(said)):
                return "holds the answer"
        if any(self._same(place, right) for right in question.right):
            return "nearly the same text"
        return ""

    def _text(self, place: int) -> str:
        if place not in self._evened:
            self._evened[place] = f" {evened(self._corpus.chunks[place].text)} "
        return self._evened[place]

    def _is_common(self, said: str) -> bool:
        if said not in self._common:
            held = sum(f" {said} " in self._text(place) for place in self._sample)
            self._common[said] = held > max(1, COMMON * len(self._sample))
        return self._common[said]

    def _same(self, one: int, other: int) -> bool:
        from rapidfuzz import fuzz

        key = (one, other) if one < other else (other, one)
        if key not in self._alike:
            texts = (_plain(self._corpus.chunks[place].text) for place in key)
            self._alike[key] = fuzz.ratio(*texts, score_cutoff=NEAR) > 0
        return self._alike[key]


def _holding(span: Span, corpus: Corpus, places: Sequence[int]) -> list[int]:
    """Chunks that hold the whole span; where none does, the one that holds most of it."""

    def held(place: int) -> int:
        chunk = corpus.chunks[place]
        return min(chunk.end, span.end) - max(chunk.start, span.start)

    wanted = max(1, span.end - span.start)
    whole = [place for place in places if held(place) >= wanted]
    most = max(places, key=held, default=None)
    return whole or ([most] if most is not None and held(most) > 0 else [])


def _plain(text: str) -> str:
    return " ".join(text.split())
