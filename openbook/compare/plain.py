"""A text in, its words in one comparable form out: dates, clock times, money and units told alike. Knows no case.

Stands before openbook.metrics.evened and contains, which even out case, plurals, number words and percent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from openbook.metrics import evened
from openbook.prompt import declined

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = rf"(?P<month>{'|'.join(f'{name[:3]}(?:{name[3:]})?' if name[3:] else name for name in _MONTHS)})\.?"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_DATES = (
    re.compile(rf"\b{_DAY}\s+(?:of\s+)?{_MONTH}(?![a-z])(?:,?\s+(?P<year>\d{{4}})\b)?", re.I),
    re.compile(rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}(?![\d:.]\d|\d)\b(?:,?\s+(?P<year>\d{{4}})\b)?", re.I),
)
_ISO = re.compile(r"\b(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b")
_CLOCK = re.compile(r"\b(0?\d|1[0-2])(?:[:.]([0-5]\d))?\s?([ap])\.?\s?m\b\.?", re.I)
_MONEY = {
    **{"$": "dollar", "us$": "dollar", "usd": "dollar", "€": "euro", "eur": "euro"},
    **{"£": "pound", "gbp": "pound", "¥": "yen"},
}
_SIGNS = "|".join(re.escape(sign) for sign in sorted(_MONEY, key=len, reverse=True))
_AMOUNT = r"\d[\d,]*(?:\.\d+)?"
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion"}
_ZEROS = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_COUNTED = re.compile(rf"\b(\d{{1,15}}(?:\.\d{{1,6}})?) ({'|'.join(_ZEROS)})\b")
_SCALE = r"(?:\s?(?P<scale>k|mn?|bn|thousand|million|billion|trillion)(?![a-z]))?"
_BEFORE = re.compile(rf"(?<!\w)(?P<sign>{_SIGNS})\s?(?P<amount>{_AMOUNT}){_SCALE}", re.I)
_BEHIND = re.compile(rf"(?P<amount>{_AMOUNT}){_SCALE}\s?(?P<sign>{_SIGNS})(?!\w)", re.I)
_UNITS = frozenset(
    """second minute hour day week month quarter year percent dollar euro pound yen cent degree kilometre kilometer km
    metre meter mile foot inch kilogram kg gram litre liter kb mb gb tb kilobyte megabyte gigabyte watt volt""".split()
)
_NEAR = 2
"""Words between a number and its unit, as in "15 paid working days"."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:st|nd|rd|th)?")
_MARK = re.compile(r"^[ \t]*\d{1,3}[.)](?:[ \t]+|$)", re.M)
"""Of a numbered list."""
_UNABLE = re.compile(
    r"\b(?:i(?:['’]m| am)|we(?:['’]re| are)) (?:(?:sorry|afraid)[^.!?]{0,40} )?(?:unable to|not (?:able|equipped) to)"
    r"|\bi (?:cannot|can(?:['’])?t|could(?: not|n['’]t)) (?:answer|assist|help|provide|access|confirm|determine)\b"
    r"|(?:\b(?:sorry|apologi[sz]e)\b[^.!?]{0,60}\b|^\s*)as an? [^.,!?]{0,40}?\b(?:ai|chatbot|language model)\b",
    re.I,
)
"""How models say that they will not answer, besides what prompt.declined knows."""
_OPENING = 200


def plain(text: str) -> str:
    """The text with dates as "5 march 2024", clock times as "17 30", amounts as "62 euro", then evened and written out.

    >>> plain("By March 5th, 2024, at 5:30 p.m., pay €62"), plain("2024-03-05")
    ('by 5 march 2024 at 17 30 pay 62 euro', '5 march 2024')
    """
    text = _ISO.sub(lambda found: f"{int(found[3])} {_MONTHS[int(found[2]) - 1]} {found[1]}", text)
    text = _CLOCK.sub(_hours, text)
    for pattern in _DATES:
        text = pattern.sub(_date, text)
    text = _BEFORE.sub(_money, text)
    text = _BEHIND.sub(_money, text)
    return _COUNTED.sub(_count, evened(text))


def declines(text: str) -> bool:
    """Whether a reply is a refusal: what `prompt.declined` takes for one, or a model's stock phrase at its beginning.

    >>> declines("I'm not able to answer that."), declines("You are not able to carry over days.")
    (True, False)
    """
    return declined(text) or _UNABLE.search(text[:_OPENING]) is not None


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
    """The numbers of a text in order, each with the unit behind it or ""; the marks of a numbered list are none.

    >>> quantities("15 paid days, €62 and chapter 4")
    [('15', 'day'), ('62', 'euro'), ('4', '')]
    """
    if len(_MARK.findall(text)) > 1:
        text = _MARK.sub("", text)
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


def _money(found: re.Match[str]) -> str:
    amount, scale = found["amount"], found["scale"] or ""
    scale = _SCALES.get(scale.lower(), scale.lower())
    return f"{amount} {scale} {_MONEY[found['sign'].lower()]}"


def _count(found: re.Match[str]) -> str:
    return f"{(Decimal(found[1]) * 10 ** _ZEROS[found[2]]).normalize():f}"


def _hours(found: re.Match[str]) -> str:
    hour = int(found[1]) % 12 + (12 if found[3].lower() == "p" else 0)
    return f"{hour}:{found[2] or '00'} " if int(found[1]) else found[0]


def _date(found: re.Match[str]) -> str:
    month = next(name for name in _MONTHS if name.startswith(found["month"].lower()[:3]))
    year = f" {found['year']}" if found["year"] else ""
    return f"{int(found['day'])} {month}{year}"
