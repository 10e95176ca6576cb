"""A question while it is being made: what the makers hand to the filters. Knows no library and no rule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from openbook.records import Case

Form = Literal["question", "faq", "heading", "table", "cloze", "endpoint"]
"""How it asks: a natural question, a FAQ line, one from a heading, about a table's cell, a blank, a model's."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A question with where its answer stands: `document.text[start:end]` is the answer."""

    question: str
    start: int
    end: int
    source: tuple[int, int]
    """The sentence, section or row it was made from."""
    form: Form
    subject: str = ""
    """What it asks about, as it stands in the question; "" when not known."""
    short: str = ""
    """The question as asked after another about the same subject; "" when there is no such wording."""


@dataclass(frozen=True, slots=True)
class Made:
    """A case that passed the checks, with the draft it came from."""

    case: Case
    draft: Draft


@dataclass(frozen=True, slots=True)
class Plain:
    """Text without Markdown marks, each character knowing where it came from."""

    text: str
    places: Sequence[int]
    """Offset in the document of each character of `text`."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters [start, end) of `text`, at least one, stand in the document."""
        return self.places[start], self.places[end - 1] + 1

    def exact(self, start: int, end: int) -> bool:
        """Whether [start, end) stands in the document without marks in between."""
        return start < end and self.places[end - 1] - self.places[start] == end - 1 - start


_MARK = re.compile(
    r"!?\[(?P<label>[^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)"
    r"|\*{1,3}(?=\S)|(?<=\S)\*{1,3}|`+|(?<!\w)_{1,2}(?=\w)|(?<=\w)_{1,2}(?!\w)|</?[A-Za-z][^<>]*>|\\(?=[\\`*_{}\[\]()#+.!-])"
)


_TOUCHED = re.compile(r"[*_`\[<\\]|\s\s|[^\S ]|^\s|\s$")
"""Text without these is plain as it stands."""


def plain(text: str, start: int, end: int) -> Plain:
    """The stretch [start, end) of a document without links, emphasis, code marks, tags and repeated white space.

    >>> plain("We have **30** [days](x.md).", 0, 28).text
    'We have 30 days.'
    """
    raw = text[start:end]
    if not _TOUCHED.search(raw):
        return Plain(raw, range(start, end))
    kept: list[str] = []
    places: list[int] = []
    for at in _kept(text, start, end):
        char = " " if text[at].isspace() else text[at]
        if char == " " and (not kept or kept[-1] == " "):
            continue
        kept.append(char)
        places.append(at)
    while kept and kept[-1] == " ":
        kept.pop()
        places.pop()
    return Plain("".join(kept), tuple(places))


def _kept(text: str, start: int, end: int) -> Iterator[int]:
    at = start
    for mark in _MARK.finditer(text, start, end):
        if mark.start() < at:
            continue
        yield from range(at, mark.start())
        if mark.group("label") is not None:
            yield from _kept(text, *mark.span("label"))
        at = mark.end()
    yield from range(at, end)
