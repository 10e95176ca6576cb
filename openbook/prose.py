"""Text in, sentences and comparable words out, with offsets. Knows nothing about documents or models.

Sentence boundaries come from sentencex, stems from Snowball; numbers written as words equal their digits.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snowballstemmer.basestemmer import BaseStemmer

STOP_WORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being below between both but by
    can could did do does doing down during each either else ever every few for from further get gets got had has have
    having he her here hers him his how i if in into is it its itself just let me more most much must my of off on once
    one only or other our ours out over own per please same she should so some such than that the their theirs them then
    there these they this those through to too under until up upon us very via was we were what when where which while
    who whom whose why will with would you your yours yes""".split()
)
NEGATIONS = frozenset(
    "no not never none nothing neither nor cannot without isn aren wasn weren don doesn didn won".split()
) | {
    "shouldn",
    "couldn",
    "wouldn",
    "mustn",
    "hasn",
    "haven",
    "hadn",
    "can't",
    "unable",
    "prohibited",
    "forbidden",
}
_NUMBER_WORDS = {
    word: str(value)
    for value, words in {
        **dict(
            enumerate(
                "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
                "sixteen seventeen eighteen nineteen twenty".split()
            )
        ),
        30: "thirty",
        40: "forty",
        50: "fifty",
        60: "sixty",
        70: "seventy",
        80: "eighty",
        90: "ninety",
        100: "hundred",
        1000: "thousand",
    }.items()
    for word in [words]
}
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")
_ADDRESS = re.compile(r"https?://[^\s)>\]]+")
_LIST_MARK = re.compile(r"\s*(?:[-*+•>]|\d{1,3}[.)]|#{1,6})\s+")


class Word(NamedTuple):
    """A word as compared: its normal form and where it stands."""

    key: str
    """Digits without thousands separators, or the stem of the lower-case word."""
    start: int
    end: int
    number: bool
    stop: bool
    negation: bool


class Span(NamedTuple):
    """A stretch of text, end exclusive."""

    start: int
    end: int


@lru_cache(maxsize=1)
def _stemmer() -> BaseStemmer:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


def words(text: str) -> list[Word]:
    """The words of a text with offsets, stop words included and marked, web addresses left out.

    >>> [w.key for w in words("Fifteen days, 1,000 policies") if not w.stop]
    ['15', 'day', '1000', 'polici']
    """
    return list(_words(text))


def _words(text: str) -> Iterator[Word]:
    for match in _WORD.finditer(_ADDRESS.sub(lambda found: " " * len(found.group()), text)):
        raw = match.group().replace("’", "'").lower()
        if raw[0].isdigit():
            yield Word(_number(raw), match.start(), match.end(), True, False, False)
        elif raw in _NUMBER_WORDS:
            yield Word(_NUMBER_WORDS[raw], match.start(), match.end(), True, raw == "one", False)
        else:
            base, _, tail = raw.partition("'")
            negation = raw in NEGATIONS or base in NEGATIONS or tail == "t"
            stop = raw in STOP_WORDS or base in STOP_WORDS or negation
            yield Word(_stem(base if tail in {"s", ""} else raw), match.start(), match.end(), False, stop, negation)


def _number(raw: str) -> str:
    plain = re.sub(r",(?=\d{3}(?:\D|$))", "", raw).replace(",", ".")
    if plain.count(".") == 1:
        plain = plain.rstrip("0").rstrip(".")
    return plain


def content(text: str) -> set[str]:
    """The keys of the words that carry meaning: no stop words, numbers kept."""
    return {word.key for word in _words(text) if not word.stop}


def sentences(text: str) -> list[Span]:
    """Sentence spans in order: list marks, heading marks and surrounding white space left out.

    >>> text = "He left.\\n\\n- Item one\\n- Item two. Yes!"
    >>> [text[s.start : s.end] for s in sentences(text)]
    ['He left.', 'Item one', 'Item two.', 'Yes!']
    """
    import sentencex

    spans: list[Span] = []
    for block in _blocks(text):
        flat = text[block.start : block.end].replace("\n", " ").replace("\r", " ")
        flat = flat.encode("utf-8", "replace").decode("utf-8")  # sentencex takes no lone surrogate; each becomes "?"
        position = 0
        for piece in sentencex.segment("en", flat):
            found = flat.find(piece, position)
            at = position if found < 0 else found
            position = at + len(piece)
            span = _trim(text, block.start + at, block.start + position)
            if span is not None:
                spans.append(span)
    return spans


def _blocks(text: str) -> list[Span]:
    """Stretches a sentence never crosses: paragraphs, list items, table rows, headings."""
    blocks: list[Span] = []
    start = offset = 0
    closed = True
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        alone = bare.startswith(("|", "#", "```", "~~~"))
        if (closed or not bare or alone or _LIST_MARK.match(line)) and offset > start:
            blocks.append(Span(start, offset))
            start = offset
        closed = not bare or alone
        offset += len(line)
    if offset > start:
        blocks.append(Span(start, offset))
    return blocks


def _trim(text: str, start: int, end: int) -> Span | None:
    while mark := _LIST_MARK.match(text, start, end):
        start = mark.end()
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end) if any(char.isalnum() for char in text[start:end]) else None
