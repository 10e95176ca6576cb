"""A sentence with a fact in, the sentence with a blank in its place out; needs no grammar, so any language will do.

Only a window around the fact is shown, so that a blank never quotes a long stretch of the passage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from openbook.questions.draft import Draft, Plain
from openbook.questions.facts import facts

BLANK = "____"
_SIDE = 7
"""Words shown on each side of the blank; with the blank between, no run of the passage is longer."""
_LEAST = 6
"""Words a blank needs around it to be answerable."""
_ORDER = {"money": 0, "percent": 1, "number": 2, "date": 3, "name": 4}
_PART = re.compile(r" (?:and|of|for|to|the|&|in|et)\b|['’-]")
_PART_BEFORE = re.compile(r"(?:[A-Z]\w* (?:and|of|for|to|the|&|in)|[-&]) ?$")
"""Beside these a name is likely a part of a longer one."""
_PLACEHOLDER = re.compile(r"\b(?:NAME|DATE|TITLE|COMPANY|[A-Z]+_[A-Z_]+)\b")
"""Of forms to be filled in: their sentences say nothing yet."""
_WORD = re.compile(r"\S+")


def cloze(sentence: Plain, *, most: int = 1) -> Iterator[Draft]:
    """Up to `most` questions with a blank, the most telling facts first."""
    text = sentence.text
    given = 0
    if sum(map(str.isupper, text)) > 0.4 * len(text):
        return
    for fact in sorted(facts(text), key=lambda one: (_ORDER[one.kind], one.start)):
        if given == most:
            return
        if fact.start == 0 or _PLACEHOLDER.search(text) or not sentence.exact(fact.start, fact.end):
            continue
        end = fact.end
        if fact.kind == "name" and (_PART.match(text, end) or _PART_BEFORE.search(text[: fact.start])):
            continue
        before = [match.start() for match in _WORD.finditer(text, 0, fact.start)][-_SIDE:]
        after = [match.end() for match in _WORD.finditer(text, end)][:_SIDE]
        if len(before) + len(after) < _LEAST or len(before) < 2:
            continue
        left, right = before[0], after[-1] if after else end
        opening, closing = "... " * (left > 0), " ..." * (right < len(text))
        shown = f"{opening}{text[left : fact.start]}{BLANK}{text[end:right]}{closing}"
        given += 1
        yield Draft(
            f"Fill in the blank: {shown}",
            *sentence.span(fact.start, end),
            source=(sentence.places[0], sentence.places[-1] + 1),
            form="cloze",
        )
