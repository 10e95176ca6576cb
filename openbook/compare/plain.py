"""A text in, its words in one comparable form out: dates, clock times, money and units told alike. Knows no case.

Stands before openbook.metrics.evened and contains, which even out case, plurals, number words and percent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from openbook.metrics import evened

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = rf"(?P<month>{'|'.join(f'{name[:3]}(?:{name[3:]})?' if name[3:] else name for name in _MONTHS)})\.?"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_DATES = (
    re.compile(rf"\b{_DAY}\s+(?:of\s+)?{_MONTH}(?![a-z])(?:,?\s+(?P<year>\d{{4}})\b)?", re.I),
    re.compile(rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}(?![\d:.]\d|\d)\b(?:,?\s+(?P<year>\d{{4}})\b)?", re.I),
)
_ISO = re.compile(r"\b(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b")
_CLOCK = re.compile(r"\b(0?\d|1[0-2])(?:[:.]([0-5]\d))?\s?([ap])\.?\s?m\b\.?", re.I)
_MONEY = {"€": "euro", "£": "pound", "¥": "yen", "eur": "euro", "gbp": "pound", "usd": "dollar", "us$": "dollar"}
_SIGNS = "|".join(re.escape(sign) for sign in sorted(_MONEY, key=len, reverse=True))
_AMOUNT = r"\d[\d,]*(?:\.\d+)?"
_BEFORE = re.compile(rf"(?<!\w)({_SIGNS})\s?({_AMOUNT})", re.I)
_BEHIND = re.compile(rf"({_AMOUNT})\s?({_SIGNS})(?!\w)", re.I)
_UNITS = frozenset(
    """second minute hour day week month quarter year percent dollar euro pound yen cent degree kilometre kilometer km
    metre meter mile foot inch kilogram kg gram litre liter kb mb gb tb kilobyte megabyte gigabyte watt volt""".split()
)
_NEAR = 2
"""Words between a number and its unit, as in "15 paid working days"."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:st|nd|rd|th)?")


def plain(text: str) -> str:
    """The text with dates as "5 march 2024", clock times as "17 30", amounts as "62 euro", then evened.

    >>> plain("By March 5th, 2024, at 5:30 p.m., pay €62"), plain("2024-03-05")
    ('by 5 march 2024 at 17 30 pay 62 euro', '5 march 2024')
    """
    text = _ISO.sub(lambda found: f"{int(found[3])} {_MONTHS[int(found[2]) - 1]} {found[1]}", text)
    text = _CLOCK.sub(_hours, text)
    for pattern in _DATES:
        text = pattern.sub(_date, text)
    text = _BEFORE.sub(lambda found: f"{found[2]} {_MONEY[found[1].lower()]}", text)
    text = _BEHIND.sub(lambda found: f"{found[1]} {_MONEY[found[2].lower()]}", text)
    return evened(text)


def stands(text: str, wanted: Sequence[str]) -> bool:
    """Whether any of the wanted stands in the text as whole words, both plain.

    >>> stands("It ends at 17:30 on 5 March.", ["5.30 pm"]), stands("115 days", ["15 days"]), stands("any", ["!"])
    (True, False, False)
    """
    padded = f" {plain(text)} "
    return any(key and f" {key} " in padded for key in map(plain, wanted))


def without(text: str, some: Sequence[str]) -> str:
    """The plain text with every place taken out where one of `some` stands, the longest first."""
    padded = f" {plain(text)} "
    for key in sorted(map(plain, some), key=len, reverse=True):
        while key and f" {key} " in padded:
            padded = padded.replace(f" {key} ", " | ")
    return padded.strip()


def quantities(text: str) -> list[tuple[str, str]]:
    """The numbers of a text in order, each with the unit behind it or "".

    >>> quantities("15 paid days, €62 and chapter 4")
    [('15', 'day'), ('62', 'euro'), ('4', '')]
    """
    said = plain(text).split()
    found = []
    for at, token in enumerate(said):
        if not _NUMBER.fullmatch(token):
            continue
        unit = ""
        for near in said[at + 1 : at + 2 + _NEAR]:
            if _NUMBER.fullmatch(near):
                break
            if near in _UNITS:
                unit = near
                break
        found.append((_value(token), unit))
    return found


def _value(token: str) -> str:
    return token.rstrip("0").rstrip(".") if re.fullmatch(r"\d+\.\d+", token) else token


def _hours(found: re.Match[str]) -> str:
    hour = int(found[1]) % 12 + (12 if found[3].lower() == "p" else 0)
    return f"{hour}:{found[2] or '00'} " if int(found[1]) else found[0]


def _date(found: re.Match[str]) -> str:
    month = next(name for name in _MONTHS if name.startswith(found["month"].lower()[:3]))
    year = f" {found['year']}" if found["year"] else ""
    return f"{int(found['day'])} {month}{year}"
