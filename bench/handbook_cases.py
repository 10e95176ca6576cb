"""The hand-written questions about the bundled handbook (bench/data/handbook) as records. Knows no model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openbook.records import Message

_FOLDER = Path(__file__).parent / "data" / "handbook"


@dataclass(frozen=True, slots=True)
class GoldSpan:
    """A quote that answers the question, verbatim, found once in its document."""

    document: str
    quote: str


@dataclass(frozen=True, slots=True)
class Case:
    """One question; gold and spans are alternatives, any of them counts."""

    id: str
    question: str
    kind: Literal["answerable", "unanswerable"]
    split: Literal["dev", "test"]
    gold: tuple[str, ...] = ()
    spans: tuple[GoldSpan, ...] = ()
    type: str = ""
    """Of an unanswerable question: "near-miss", "off-corpus" or "false-premise"."""
    note: str = ""
    history: tuple[Message, ...] = ()


def cases() -> list[Case]:
    """The 60 answerable and 30 unanswerable questions."""
    return _read(_FOLDER / "cases.jsonl")


def conversations() -> list[Case]:
    """The 5 follow-up questions with their history."""
    return _read(_FOLDER / "conversations.jsonl")


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Where a quote stands in a document's text, white space and Markdown emphasis aside; None when it does not.

    >>> locate("two  words", "one two **words** three")
    (4, 15)
    """
    exact = text.find(quote)
    if exact >= 0:
        return exact, exact + len(quote)
    parts = [re.escape(part) for part in re.split(r"[\s*_]+", quote) if part]
    found = re.search(r"[\s*_]+".join(parts), text)
    return (found.start(), found.end()) if found else None


def _read(path: Path) -> list[Case]:
    return [_case(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _case(raw: dict[str, Any]) -> Case:
    spans: Iterable[dict[str, str]] = raw.pop("spans", ())
    history: Iterable[dict[str, Any]] = raw.pop("history", ())
    return Case(
        spans=tuple(GoldSpan(**span) for span in spans),
        history=tuple(Message(**turn) for turn in history),
        gold=tuple(raw.pop("gold", ())),
        **raw,
    )
