"""Cases and the passages they were made from in; the same questions over passages that say otherwise out.

A model that follows the passage shown gives the new value; one that answers from its weights gives the old one, which
`stale` names. Only values are changed that stand once in their passage and have no echo beside them.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from openbook.metrics import contains, evened
from openbook.questions.filters import occurrences
from openbook.records import Case, Chunk
from openbook.values import changed

_ECHO = re.compile(r"(?:\s+[\w-]+){0,2}\s*\(|[^.;]{0,40}\b(?:i\.e\.|that is|in other words|half of|twice)\b")
"""Behind a value these say it again in other words, and the passage would contradict itself."""
_RANGE = re.compile(r"[()]|\d\s?[-–—]\s?\d|\d0s\b|\d+ to \d|\d\s?[ap]\.?m\b", re.IGNORECASE)
_LONGEST = 6
"""Words of a value; a longer answer says more than one thing."""


def conflicts(cases: Sequence[Case], chunks: Mapping[str, Sequence[Chunk]], *, seed: int = 0) -> list[Case]:
    """Conflict cases, at most one of each case; `chunks` are those of the cases' documents.

    `gold` is what the changed passage says, `stale` what the document does; `spans` are kept, so that one knows which
    document a case is about. Numbers, dates and weekdays become others; a name in another's place would often make no
    sense (a person for a street), so names are left.
    """
    chance = random.Random(seed)
    made = []
    for case in cases:
        chunk = _holding(case, chunks)
        if chunk is None or case.history or not case.gold:
            continue
        span = case.spans[0]
        old = chunk.text[span.start - chunk.start : span.end - chunk.start]
        new = another(old, chance) if len(old.split()) <= _LONGEST else None
        if new is None:
            continue
        text = chunk.text[: span.start - chunk.start] + new + chunk.text[span.end - chunk.start :]
        if _unsafe(case, old, new, chunk, text, span.end - chunk.start):
            continue
        identity = hashlib.sha256(f"{case.id}\n{new}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
        made.append(
            replace(case, gold=(new,), stale=case.gold, contexts=(text,), kind="conflict", id=f"x-{identity}", same="")
        )
    random.Random(seed).shuffle(made)
    return made


def _holding(case: Case, chunks: Mapping[str, Sequence[Chunk]]) -> Chunk | None:
    span = case.spans[0] if case.spans else None
    return next(
        (
            chunk
            for chunk in (chunks.get(span.document, ()) if span else ())
            if span and chunk.start <= span.start and span.end <= chunk.end
        ),
        None,
    )


def another(value: str, chance: random.Random) -> str | None:
    """Another number, date, weekday or count in words; None for a range, a decade, a time of 12 hours, and other words.

    >>> another("27-30%", random.Random(0)), another("every Monday", random.Random(0))
    (None, 'every Friday')
    """
    new = None if _RANGE.search(value) else changed(value, chance)
    return None if new is None or new.lower().split()[0] in {"0", "1", "one"} else new


def _unsafe(case: Case, old: str, new: str, chunk: Chunk, text: str, end: int) -> bool:
    """Whether the changed passage `text` would still say the old value, or the passage said the new one already."""
    shown = f"{' '.join(chunk.heading)} {chunk.text}"
    return (
        any("\ud800" <= char <= "\udfff" for char in text)
        or occurrences(old, chunk.text) != 1
        or f" {evened(shown)} ".count(f" {evened(old)} ") != 1
        or contains(shown, [new])
        or contains(text, case.gold)
        or contains(case.question, [new])
        or _ECHO.match(chunk.text, end) is not None
    )
