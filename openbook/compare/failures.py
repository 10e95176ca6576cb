"""Cases and rows in, what a browser of failures shows out: each case with its passages and every arm's answer.

Passages stand once a case, for arms mostly see the same ones; gold and cited stretches are marked. Long texts are cut
around what is marked. Plain texts only: whoever makes a page of them escapes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from openbook.compare.schema import DIAGNOSTICS, FOUR, Row
from openbook.records import Answer, Case, Chunk, Hit

GROUPS: Mapping[str, str] = {
    "retrieved-right": "passage shown, right",
    "retrieved-wrong": "passage shown, wrong",
    "missed-right": "passage missed, right",
    "missed-wrong": "passage missed, wrong",
    "right": "right",
    "wrong": "wrong",
    "failed": "no answer",
    "unscored": "not scored",
}
"""Where a row belongs; the last four are for arms and cases without a gold passage to find."""
MOST_CASES = 300
"""Shown; further ones stand in rows.jsonl."""
PASSAGE, SAID = 700, 900
"""Characters of a passage and of an answer that are shown."""

Mark = Literal["", "gold", "cited", "stale"]


class Piece(NamedTuple):
    """A stretch of text and what it is."""

    text: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that at least one arm was shown."""

    number: int
    place: str
    """Document, page, heading."""
    pieces: tuple[Piece, ...]
    gold: bool
    """Holds a gold span."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one arm answered."""

    arm: str
    group: str
    pieces: tuple[Piece, ...]
    shown: tuple[int, ...]
    """Numbers of its passages, best first."""
    notes: tuple[str, ...]
    error: str
    scores: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One case."""

    id: str
    kind: str
    question: str
    asked_before: tuple[str, ...]
    gold: tuple[str, ...]
    stale: tuple[str, ...]
    passages: tuple[Passage, ...]
    said: tuple[Said, ...]

    @property
    def groups(self) -> dict[str, str]:
        """Arm -> group."""
        return {one.arm: one.group for one in self.said}


def group(row: Row) -> str:
    """Which of GROUPS a row belongs to.

    >>> group(Row("c1", "rag", None, error="the endpoint is gone"))
    'failed'
    """
    if row.answer is None:
        return "failed"
    right = row.scores.get("answer_correct", row.scores.get("acceptable"))
    if right is None:
        return "unscored"
    told = "right" if right else "wrong"
    found = row.scores.get("retrieved")
    return (
        told if found is None or "answer_correct" not in row.scores else f"{'retrieved' if found else 'missed'}-{told}"
    )


def browse(cases: Sequence[Case], rows: Sequence[Row]) -> list[Shown]:
    """The cases with an answer, those that most of the four arms failed first; at most MOST_CASES."""
    known = {case.id: case for case in cases}
    by_case: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.case in known:
            by_case.setdefault(row.case, {})[row.arm] = row
    order = {name: place for place, name in enumerate((*FOUR, *DIAGNOSTICS))}

    def wrong(case: str) -> int:
        return sum(not group(row).endswith("right") for arm, row in by_case[case].items() if arm in FOUR)

    chosen = sorted(by_case, key=lambda case: (-wrong(case), case))[:MOST_CASES]
    return [
        _shown(known[case], sorted(by_case[case].values(), key=lambda row: (order.get(row.arm, len(order)), row.arm)))
        for case in chosen
    ]


def _shown(case: Case, rows: Sequence[Row]) -> Shown:
    answers = [row.answer for row in rows if row.answer is not None]
    numbers: dict[tuple[str, int, int, str], int] = {}
    passages = []
    for hit in (hit for answer in answers for hit in answer.hits):
        key = _key(hit)
        if key not in numbers:
            numbers[key] = len(numbers) + 1
            passages.append(_passage(numbers[key], hit.chunk, case, answers))
    return Shown(
        id=case.id,
        kind=f"{case.kind}: {case.why}" if case.why else case.kind,
        question=case.question,
        asked_before=tuple(f"{turn.role}: {_cut(turn.content, 300)}" for turn in case.history),
        gold=tuple(_cut(text, 400) for text in case.gold[:3]),
        stale=tuple(_cut(text, 200) for text in case.stale),
        passages=tuple(passages),
        said=tuple(_said(case, row, numbers) for row in rows),
    )


def _said(case: Case, row: Row, numbers: Mapping[tuple[str, int, int, str], int]) -> Said:
    answer = row.answer
    if answer is None:
        return Said(row.arm, group(row), (), (), (), row.error, ())
    text = _cut(answer.text, SAID)
    marks: list[tuple[int, int, Mark]] = [(*span, "gold") for span in _places(text, case.gold)]
    marks += [(*span, "stale") for span in _places(text, case.stale)]
    return Said(
        arm=row.arm,
        group=group(row),
        pieces=tuple(_pieces(text, marks)),
        shown=tuple(numbers[_key(hit)] for hit in answer.hits),
        notes=answer.notes,
        error=row.error,
        scores=tuple(row.scores.items()),
    )


def _passage(number: int, chunk: Chunk, case: Case, answers: Sequence[Answer]) -> Passage:
    marks: list[tuple[int, int, Mark]] = []
    gold = [span for span in case.spans if span.overlaps(chunk)]
    for document, start, end, mark in (
        *((span.document, span.start, span.end, "gold") for span in gold),
        *((c.document, c.start, c.end, "cited") for answer in answers for c in answer.citations),
    ):
        low, high = max(start, chunk.start) - chunk.start, min(end, chunk.end) - chunk.start
        if document == chunk.document and low < high:
            marks.append((low, high, "gold" if mark == "gold" else "cited"))
    text, shift = _window(chunk.text, min((low for low, _, _ in marks), default=0))
    marks = [(low - shift, high - shift, mark) for low, high, mark in marks]
    page = f"page {chunk.page}" if chunk.page is not None else ""
    place = " \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ".join(
        p for p in (chunk.document, page, *chunk.heading) if p
    )
    return Passage(number, place, tuple(_pieces(text, marks)), bool(gold))


def _pieces(text: str, marks: Sequence[tuple[int, int, Mark]]) -> Iterator[Piece]:
    """The text cut where marks begin and end; gold hides what else lies on it, stale hides cited."""
    rank: dict[Mark, int] = {"": 0, "cited": 1, "stale": 2, "gold": 3}
    cuts = sorted({0, len(text)} | {min(max(at, 0), len(text)) for low, high, _ in marks for at in (low, high)})
    last: Piece | None = None
    for start, end in pairwise(cuts):
        over: list[Mark] = [mark for low, high, mark in marks if low <= start and end <= high]
        mark: Mark = max(over, key=rank.__getitem__, default="")
        if last is not None and last.mark == mark:
            last = Piece(last.text + text[start:end], mark)
            continue
        if last is not None:
            yield last
        last = Piece(text[start:end], mark)
    if last is not None:
        yield last


def _places(text: str, wanted: Sequence[str]) -> list[tuple[int, int]]:
    """Where any of the texts stands as whole words, whatever its case."""
    return [
        found.span()
        for one in wanted
        if one.strip()
        for found in re.finditer(rf"(?<!\w){re.escape(one.strip())}(?!\w)", text, re.IGNORECASE)
    ]


def _window(text: str, at: int) -> tuple[str, int]:
    """At most PASSAGE characters with `at` in them, and how many were cut before; an ellipsis would shift marks."""
    start = max(0, min(at - PASSAGE // 4, len(text) - PASSAGE))
    return text[start : start + PASSAGE], start


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()} \N{HORIZONTAL ELLIPSIS}"


def _key(hit: Hit) -> tuple[str, int, int, str]:
    return hit.chunk.document, hit.chunk.start, hit.chunk.end, hit.chunk.text
