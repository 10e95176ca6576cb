"""A value and other values in, one that contradicts it out: what a document could say instead, of the same kind.

For lessons in following a passage against what is known, for questions about contradictions and for edits of facts.
Knows words only: no document, no library, no model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from openbook.metrics import contains

_NUMBER = re.compile(r"\d[\d.,]*")
_DIGITS = re.compile(r"\d+")
_MONTHS = "January February March April May June July August September October November December"
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_COUNTS = "two three four five six seven eight nine ten eleven twelve"
_CIRCLES = tuple(tuple(names.split()) for names in (_MONTHS, _DAYS, _COUNTS))


def alike(one: str, other: str) -> bool:
    """Whether two different answers are of one kind: both numbers of about the same length, or both names.

    >>> alike("1947", "1895"), alike("Ada Lovelace", "Grace Hopper"), alike("1947", "Ada Lovelace")
    (True, True, False)
    """
    if one == other:
        return False
    numbers = [_NUMBER.fullmatch(text) is not None for text in (one, other)]
    if any(numbers):
        return all(numbers) and abs(len(one) - len(other)) <= 1
    return one[:1].isupper() and other[:1].isupper() and abs(len(one.split()) - len(other.split())) <= 1


def contradicting(value: str, others: Iterable[str], *, gold: Sequence[str] = ()) -> list[str]:
    """Those of the other values that could stand in this one's place and would make a gold answer wrong.

    >>> contradicting("1947", ["1947", "1895", "Rome"], gold=["1947"])
    ['1895']
    """
    return [other for other in others if alike(value, other) and not contains(other, gold)]


def swapped(text: str, value: str, other: str) -> str | None:
    """The text with another value in the place of this one; None when the value does not stand in it exactly once."""
    return text.replace(value, other) if text.count(value) == 1 else None


def changed(value: str, chance: random.Random) -> str | None:
    """The same value with its first number, month, weekday or count in words made another; None when it has none.

    A number keeps its length and moves by a fifth to two fifths, at least one. Years and clock times stay plausible.

    >>> changed("14 days", random.Random(0)), changed("every Monday", random.Random(0))
    ('19 days', 'every Friday')
    """
    number = _DIGITS.search(value)
    if number is not None:
        return value[: number.start()] + _moved(number[0], value, chance) + value[number.end() :]
    for word in re.finditer(r"\w+", value):
        for circle in _CIRCLES:
            lower = [name.lower() for name in circle]
            if word[0].lower() in lower and (circle is not _CIRCLES[0] or word[0][0].isupper()):
                others = [name for name in circle if name.lower() != word[0].lower()]
                new = chance.choice(others)
                new = new.capitalize() if word[0][0].isupper() else new
                return value[: word.start()] + new + value[word.end() :]
    return None


def _moved(digits: str, value: str, chance: random.Random) -> str:
    old = int(digits)
    clock = re.search(rf"\b{digits}:\d\d\b", value) is not None
    day = any(month in value for month in _CIRCLES[0]) and len(digits) <= 2
    most = 23 if clock else 28 if day else 10 ** len(digits) - 1
    least = 0 if len(digits) == 1 or digits.startswith("0") else 10 ** (len(digits) - 1)
    year = len(digits) == 4 and 1500 <= old <= 2100
    step = chance.randint(2, 9) if year else max(1, round(old * chance.uniform(0.2, 0.4)))
    least = 1 if day else least
    choices = [new for new in (old + step, old - step, old + 1, old - 1) if max(1, least) <= new <= most]
    first = [new for new in choices[:2] if abs(new - old) == step] or choices or [old + 1]
    return str(chance.choice(first)).zfill(len(digits))
