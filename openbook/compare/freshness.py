"""Answers to what was edited in, what became of each edit out: is the new value said, the old one gone, how soon.

Knows no library and no model; openbook.compare.edits makes the edits, openbook.freshening carries them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from openbook.compare.edits import KINDS, Edit
from openbook.compare.plain import declines
from openbook.metrics import contains, wilson
from openbook.records import Answer

_MARKER = re.compile(r"\s*\[\d+\]")


@dataclass(frozen=True, slots=True)
class Try:
    """One arm's answers about one edit."""

    edit: str
    arm: str
    before: str
    """What it answered before the edit."""
    after: str
    knew: bool
    """The old value stood in its answer before the edit."""
    new: bool
    """It says the new value and not the old one; after a deletion: it declines."""
    stale: bool
    """It says the old value."""
    seconds: float | None = None
    """Wall time from saving the file to the end of the right answer; None where that never came."""
    cpu_seconds: float | None = None
    never: str = ""
    """Why the right answer did not come."""


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """What is known of an arm beside its answers."""

    label: str
    retrieves: bool
    steps: tuple[str, ...]
    """What a person does until the new value is answered."""
    never: str = ""
    """Why no edit reaches it by itself; "" where edits do."""
    price_seconds: float | None = None
    """What its last training took, where only training reaches it."""


def said(edit: Edit, text: str, *, abstained: bool) -> tuple[bool, bool]:
    """(new, stale) of an answer; its citation marks are not words of it.

    >>> from openbook.compare.edits import Fact
    >>> fact = Fact("How many?", "d", "It is 15.", "15", "19", "It is 19.", ("15",), ("19",), False)
    >>> said(Edit("e", "change", fact), "It is 19 [15].", abstained=False)
    (True, False)
    """
    words = _MARKER.sub("", text)
    stale = contains(words, edit.fact.olds)
    refused = abstained or declines(words)
    if not edit.gold:
        return refused and not stale, stale
    return not refused and not stale and contains(words, edit.gold), stale


def knew(edit: Edit, before: str) -> bool:
    """Whether an answer of before the edit says the old value."""
    return contains(_MARKER.sub("", before), edit.fact.olds)


def why_not(edit: Edit, answer: Answer) -> str:
    """Why an arm that reads the library does not say what it holds now."""
    new, stale = said(edit, answer.text, abstained=answer.abstained)
    if new:
        return ""
    if not edit.gold:
        return "it says the deleted value" if stale else "it answers from something else instead of declining"
    shown = [hit.chunk.text for hit in answer.hits]
    fresh = any(contains(text, edit.fact.news) for text in shown)
    if not fresh:
        return "the new passage was not among those shown"
    if stale:
        both = any(contains(text, edit.fact.olds) for text in shown)
        return "both versions were shown, and it says the old value" if both else "it says the old value by itself"
    if answer.abstained or declines(answer.text):
        return "the new passage was shown, and it declined"
    return "the new passage was shown, and it says something else"


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was measured."""

    edits: Sequence[Edit]
    tries: Sequence[Try]
    arms: Mapping[str, ArmFacts]
    sync: Mapping[str, tuple[float, float]]
    """Edit id -> (wall, CPU) seconds of the sync."""
    retrained: Mapping[str, Any] | None = None
    notes: Sequence[str] = field(default_factory=tuple)
    seconds: float = 0.0


def section(outcome: Outcome) -> dict[str, Any]:
    """The section "freshness" of a report, plain data:

    edits: [{id, kind, document, question, old, new, trained, sync_seconds, sync_cpu_seconds}]
    arms: {arm: {label, retrieves, steps: [str], never: str, price_seconds: s or None, n,
        new_value_rate, stale_value_rate, knew_before: {value, low, high, n} (Wilson),
        by_kind: {kind: {new_value_rate, stale_value_rate}},
        trained, untrained: {new_value_rate, stale_value_rate} or None,
        seconds, cpu_seconds: {median, max, n} or None: from saving the file to the right answer}}
    answers: [{edit, arm, before, after, knew, new, stale, seconds, cpu_seconds, never}]
    retrained: {arm, adapter, seconds, cpu_seconds, examples, kept, left_out, held} or {failed: why}, or None
    notes: [str]; seconds: of the whole measurement
    """
    kinds = {edit.id: edit.kind for edit in outcome.edits}
    trained = {edit.id: edit.fact.trained for edit in outcome.edits}
    arms = {}
    for name, facts_of in outcome.arms.items():
        mine = [one for one in outcome.tries if one.arm == name]
        by_kind = {kind: _rates([one for one in mine if kinds[one.edit] == kind]) for kind in KINDS}
        arms[name] = {
            **asdict(facts_of),
            "steps": list(facts_of.steps),
            "n": len(mine),
            **(_rates(mine) or {}),
            "knew_before": _share([one.knew for one in mine]),
            "by_kind": {kind: rates for kind, rates in by_kind.items() if rates},
            "trained": _rates([one for one in mine if trained[one.edit]]),
            "untrained": _rates([one for one in mine if not trained[one.edit]]),
            "seconds": _spread([one.seconds for one in mine]),
            "cpu_seconds": _spread([one.cpu_seconds for one in mine]),
        }
    return {
        "edits": [_edit(edit, outcome.sync.get(edit.id, (0.0, 0.0))) for edit in outcome.edits],
        "arms": arms,
        "answers": [asdict(one) for one in outcome.tries],
        "retrained": dict(outcome.retrained) if outcome.retrained is not None else None,
        "notes": list(outcome.notes),
        "seconds": outcome.seconds,
    }


def told(arms: Mapping[str, Any]) -> Iterator[str]:
    """The section's arms in one sentence each, for a terminal."""
    for name, arm in arms.items():
        rate, stale = arm.get("new_value_rate"), arm.get("stale_value_rate")
        if rate is None or stale is None:
            continue
        after = f", {arm['seconds']['median']:.1f} s after saving the file" if arm["seconds"] else ""
        never = f"; {arm['never']}" if arm["never"] else ""
        yield (
            f"{name}: {round(rate['value'] * rate['n'])} of {rate['n']} edits answered right{after}, "
            f"{round(stale['value'] * stale['n'])} with the old value{never}"
        )


def _edit(edit: Edit, sync: tuple[float, float]) -> dict[str, Any]:
    fact = edit.fact
    return {
        "id": edit.id,
        "kind": edit.kind,
        "document": fact.document,
        "question": fact.question,
        "old": fact.old,
        "new": fact.new if edit.gold else "",
        "trained": fact.trained,
        "sync_seconds": sync[0],
        "sync_cpu_seconds": sync[1],
    }


def _rates(some: Sequence[Try]) -> dict[str, Any] | None:
    if not some:
        return None
    return {
        "new_value_rate": _share([one.new for one in some]),
        "stale_value_rate": _share([one.stale for one in some]),
    }


def _share(hits: Sequence[bool]) -> dict[str, float] | None:
    if not hits:
        return None
    value, low, high = wilson(sum(hits), len(hits))
    return {"value": value, "low": low, "high": high, "n": len(hits)}


def _spread(values: Iterable[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    return {"median": median(known), "max": max(known), "n": len(known)} if known else None
