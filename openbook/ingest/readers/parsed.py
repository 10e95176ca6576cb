"""What one format's reader hands back, and the text rules all readers share; knows no format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from openbook.errors import ReadError
from openbook.records import Page

_LINE_BREAK = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\ufeff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WIDE_SPACE = re.compile("[\u00a0\u2007\u202f]")
_BLANKS = re.compile(r"[ \t]+\n")
_GAPS = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Inner:
    """A file inside a file: its name relative to the outer one, and its bytes or why they could not be had."""

    name: str
    data: bytes = b""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file's content as its reader found it; the fields mean what they mean in records.Document."""

    text: str = ""
    title: str = ""
    author: str = ""
    created: str = ""
    modified: str = ""
    pages: tuple[Page, ...] = ()
    boxes: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    inner: Iterable[Inner] = ()
    """Attachments and archive members, read lazily, one at a time."""
    container: bool = False
    """True for an archive, which is no document itself."""


@dataclass(slots=True)
class Budget:
    """How many bytes may still be unpacked while one outer file is read."""

    left: int
    limit_mb: float

    def take(self, count: int) -> None:
        """Count unpacked bytes; ReadError once there were more than allowed."""
        self.left -= count
        if self.left < 0:
            raise ReadError(f"unpacks to more than {self.limit_mb:g} MB; if you trust it raise ingest.max_unpacked_mb")


def clean(text: str) -> str:
    """Line ends as \\n, ordinary spaces, no control characters, soft hyphens or lone surrogates.

    >>> clean("a\\r\\nb\\x00c\\xa0d")
    'a\\nbc d'
    """
    text = _LINE_BREAK.sub("\n", text)
    text = _UNWANTED.sub("", text)
    text = _SURROGATE.sub("\ufffd", text)
    return _WIDE_SPACE.sub(" ", text)


def trimmed(text: str) -> str:
    """Clean text without trailing blanks, runs of empty lines, or empty lines at either end."""
    text = _BLANKS.sub("\n", clean(text) + "\n")
    return _GAPS.sub("\n\n", text).strip("\n")


def one_line(text: str) -> str:
    """Metadata on one line."""
    return " ".join(clean(text).split())


def join_pages(parts: Sequence[tuple[int, str]]) -> tuple[str, tuple[Page, ...]]:
    """Join (number, text) in order into one text with a span each; empty ones keep an empty span.

    >>> join_pages([(1, "a"), (2, "b")])
    ('a\\n\\nb', (Page(number=1, start=0, end=1), Page(number=2, start=3, end=4)))
    """
    pages: list[Page] = []
    pieces: list[str] = []
    position = 0
    for number, raw in parts:
        text = trimmed(raw)
        if text and pieces:
            pieces.append("\n\n")
            position += 2
        pages.append(Page(number, position, position + len(text)))
        if text:
            pieces.append(text)
            position += len(text)
    return "".join(pieces), tuple(pages)


def iso(value: datetime | None) -> str:
    """A date-time as ISO 8601 to the second, in UTC when its zone is known; "" for None."""
    if value is None:
        return ""
    try:
        value = value.astimezone(UTC) if value.tzinfo else value
    except OverflowError:
        return ""
    return value.replace(microsecond=0, tzinfo=None).isoformat() + ("Z" if value.tzinfo else "")


def iso_of(text: str) -> str:
    """A date written as ISO 8601 in a file, made uniform; "" when it is no date.

    >>> iso_of("2024-05-01T10:00:00+02:00"), iso_of("2024-05-01"), iso_of("soon")
    ('2024-05-01T08:00:00Z', '2024-05-01', '')
    """
    text = text.strip()
    try:
        return text if len(text) == 10 and datetime.fromisoformat(text) else iso(datetime.fromisoformat(text))
    except ValueError:
        return ""


def first_heading(text: str) -> str:
    """The text of the first Markdown heading outside fenced code, or ""."""
    return next((line.lstrip("#").strip().rstrip("#").strip() for line in _headings(text)), "")


def _headings(text: str) -> Iterator[str]:
    fenced = ""
    for line in text.split("\n"):
        mark = line.lstrip()[:3]
        if mark in ("```", "~~~"):
            fenced = mark if not fenced else ("" if mark == fenced else fenced)
        elif not fenced and re.match(r"#{1,6}\s+\S", line):
            yield line


def ranges(numbers: Sequence[int]) -> str:
    """Page numbers for people.

    >>> ranges([1, 2, 3, 7])
    '1-3, 7'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
