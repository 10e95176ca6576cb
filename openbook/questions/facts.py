"""Text in, the facts in it out: dates, money, shares, quantities, names, by pattern. Knows no grammar.

Dates and number words are English, digits, currency signs and units of any language are found.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["date", "money", "percent", "number", "name"]

MONTH = (
    r"(?:Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?|July?|Aug(?:ust|\.)?|Sept?(?:ember|\.)?"
    r"|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)"
)
_YEAR = r"(?:1\d|20)\d\d(?:[–-](?:(?:1\d|20)\d)?\d\d)?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_CENTURY = (
    r"the (?:early |late |mid-?|beginning of the |end of the |middle of the )?"
    r"(?:\d{1,2}(?:st|nd|rd|th)|\w+teenth|twentieth|twenty-first) century"
)
_DECADE = r"the (?:early |late |mid-?)?(?:1\d|20)\d0s"
_WEEKDAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?"
DATE = (
    rf"(?:(?:{_DAY} (?:of )?)?{MONTH}\b(?: {_DAY}\b(?!\d))?(?:,? {_YEAR}\b)?|{_CENTURY}|{_DECADE}"
    rf"|{_YEAR}\b(?: (?:BC|AD|CE|BCE))?"
    rf"|\d{{4}}-\d\d-\d\d|{_WEEKDAY}(?:, {MONTH} {_DAY})?)"
)
SCALE = r"(?:thousand|million|billion|trillion|hundred|dozen|m|k|bn)"
DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?[½¼¾]?"
_WORD = (
    r"(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-\w+)?)"
)
MONEY = (
    rf"(?:(?:US|A|C|CA|AU)?[$€£¥]\s?(?:{DIGITS})(?:\s?{SCALE}\b)?(?:/\w+)?"
    rf"|(?:{DIGITS})\s?(?:€|(?:{SCALE} )?(?:dollars|euros|pounds|EUR|USD|GBP|CHF)\b))"
)
PERCENT = rf"(?:(?:{DIGITS})(?:\s?[–-]\s?(?:{DIGITS}))?\s?(?:%|percent\b|per cent\b))"
NUMBER = rf"(?:(?:{DIGITS})(?: (?:{SCALE})\b)?|{_WORD}(?: (?:{SCALE})\b)?)"

_FINDERS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("money", re.compile(rf"(?<![\w.,$€£¥]){MONEY}")),
    ("percent", re.compile(rf"(?<![\w.,–-]){PERCENT}")),
    ("date", re.compile(rf"(?<![\w.,/–-]){DATE}(?![\w–-])")),
    ("number", re.compile(rf"(?<![\w.,/:#–-])(?<!\)\(){NUMBER}(?![\w/:–]|[.,]\d|-\w|\()", re.IGNORECASE)),
    ("name", re.compile(r"(?<![\w.])[A-Z][\w'’.-]*[\w](?: (?:(?:of|de|von|van|the|&) )?[A-Z][\w'’-]+)+")),
)


class Fact(NamedTuple):
    """A stretch of text that can be asked for."""

    kind: Kind
    start: int
    end: int


@lru_cache(maxsize=256)
def facts(text: str) -> tuple[Fact, ...]:
    """The facts of a text in order, none overlapping; of two that overlap, the more telling kind.

    >>> [(fact.kind, fact.start, fact.end) for fact in facts("In 1990 it cost $5.50.")]
    [('date', 3, 7), ('money', 16, 21)]
    """
    taken: list[Fact] = []
    for kind, pattern in _FINDERS:
        for match in pattern.finditer(text):
            if all(match.end() <= other.start or other.end <= match.start() for other in taken):
                taken.append(Fact(kind, match.start(), match.end()))
    return tuple(sorted(taken, key=lambda fact: fact.start))
