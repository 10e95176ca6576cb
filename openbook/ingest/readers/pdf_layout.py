"""Glyphs with boxes in, lines and paragraphs with boxes out; knows no PDF library.

A line break stays where the writer meant one: the next line's first word would have fitted, a list mark follows,
or the gap or size of type changes. Other breaks become spaces, and words hyphenated across lines are joined.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from openbook.records import Page

Glyph = tuple[str, int, int, int, int]
"""A character and its box x0, y0, x1, y1 in tenths of a point from the top left."""
Box = tuple[int, int, int, int]

_BULLETS = {ord(mark): "-" for mark in "•●▪■◦‣⁃∙·▸►➢❖"}
_ITEM = re.compile(r"(?:[-–*•●▪■◦‣⁃∙▸►➢❖]|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)])\s")
_HYPHEN = "\ufffe"
_HEADING_SCALE = 1.15
_HEADING_LENGTH = 200
_SAME_SIZE = 1.2
_MAX_HEADING_LEVELS = 3


@dataclass(slots=True)
class Line:
    """One line of type."""

    text: str
    boxes: array[int]
    """Four per character of `text`, zeros for spaces put in."""
    x0: int
    y0: int
    x1: int
    y1: int
    height: int
    hyphenated: bool = False
    """Ends in a hyphen that joins it to the next line."""

    @property
    def leftwards(self) -> bool:
        """Whether most letters are written from right to left."""
        kinds = Counter(unicodedata.bidirectional(char) for char in self.text)
        return kinds["R"] + kinds["AL"] > kinds["L"]


@dataclass(frozen=True, slots=True)
class Layout:
    """A document's text with page spans and boxes as in records.Document."""

    text: str
    pages: tuple[Page, ...]
    boxes: bytes


def lines(glyphs: Sequence[Glyph]) -> list[Line]:
    """Put one page's glyphs, in content order, into lines; pieces of one row of type become one line."""
    pieces: list[Line] = []
    current: list[Glyph] = []
    for glyph in glyphs:
        if glyph[0] in ("\n", _HYPHEN):
            pieces.extend(_line(current, hyphenated=glyph[0] == _HYPHEN))
            current = []
        else:
            current.append(glyph)
    pieces.extend(_line(current, hyphenated=False))
    rows: list[Line] = []
    for piece in pieces:
        if rows and _same_row(rows[-1], piece):
            rows[-1] = _beside(rows[-1], piece)
        else:
            rows.append(piece)
    return rows


def compose(pages: Iterable[Sequence[Line]]) -> Layout:
    """Join lines to paragraphs and pages to one text; lines in larger type become headings."""
    pages = list(pages)
    levels, body = _heading_sizes(pages)
    text: list[str] = []
    boxes = array("H")
    spans: list[Page] = []
    position = 0

    def put(piece: str, piece_boxes: array[int] | None = None) -> None:
        nonlocal position
        text.append(piece)
        boxes.extend(piece_boxes if piece_boxes is not None else array("H", bytes(8 * len(piece))))
        position += len(piece)

    for number, page in enumerate(pages, start=1):
        if page and position:
            put("\n\n")
        start = position
        for index, line in enumerate(page):
            level = _level(line, levels, body)
            before = page[index - 1] if index else None
            if before is not None:
                joint = _joint(page, index, level, _level(before, levels, body))
                put(joint)
                if level and joint == "\n\n":
                    put(f"{'#' * level} ")
            elif level:
                put(f"{'#' * level} ")
            put(line.text, line.boxes)
        spans.append(Page(number, start, position))
    if struct.pack("=H", 1) != b"\x01\x00":
        boxes.byteswap()
    return Layout("".join(text), tuple(spans), boxes.tobytes())


def _line(glyphs: Sequence[Glyph], *, hyphenated: bool) -> Iterable[Line]:
    """A line without blanks at its ends and with single spaces, or nothing."""
    glyphs = _ligatures(glyphs)
    kept: list[Glyph] = []
    for glyph in glyphs:
        if glyph[0].isspace():
            if kept and kept[-1][0] != " ":
                kept.append((" ", *glyph[1:]))
        else:
            kept.append(glyph)
    while kept and kept[-1][0] == " ":
        kept.pop()
    inked = [glyph for glyph in kept if glyph[0] != " " and glyph[4] > glyph[2]]
    if not kept:
        return
    shown = inked or kept
    boxes = array("H", [value for glyph in kept for value in glyph[1:]])
    text = "".join(glyph[0] for glyph in kept)
    if len(text) > 1 and text[1] == " ":
        text = text[0].translate(_BULLETS) + text[1:]
    yield Line(
        text,
        boxes,
        min(glyph[1] for glyph in shown),
        min(glyph[2] for glyph in shown),
        max(glyph[3] for glyph in shown),
        max(glyph[4] for glyph in shown),
        round(median(glyph[4] - glyph[2] for glyph in shown)),
        hyphenated,
    )


def _ligatures(glyphs: Sequence[Glyph]) -> list[Glyph]:
    """Put right the letters of Arabic lam-alef: pdfium turns the one glyph's two letters round with the line."""
    found = list(glyphs)
    for index in range(len(found) - 1):
        first, second = found[index], found[index + 1]
        if first[0] in "اأإآ" and second[0] == "ل" and first[1:] == second[1:]:
            found[index], found[index + 1] = second, first
    return found


def _same_row(first: Line, second: Line) -> bool:
    """Whether the second stands beside the first: at the same height, without covering it."""
    shared = min(first.y1, second.y1) - max(first.y0, second.y0)
    covered = min(first.x1, second.x1) - max(first.x0, second.x0)
    return shared > 0.6 * min(first.height, second.height) and covered < 0.5 * min(first.height, second.height)


def _beside(first: Line, second: Line) -> Line:
    """Two pieces of a row as one line."""
    space = "" if first.hyphenated else " "
    return Line(
        first.text + space + second.text,
        first.boxes + array("H", bytes(8 * len(space))) + second.boxes,
        min(first.x0, second.x0),
        min(first.y0, second.y0),
        max(first.x1, second.x1),
        max(first.y1, second.y1),
        max(first.height, second.height),
        second.hyphenated,
    )


def _heading_sizes(pages: Sequence[Sequence[Line]]) -> tuple[dict[int, int], int]:
    """(height in whole points -> heading level, height of body type in tenths)."""
    weights: Counter[int] = Counter()
    for page in pages:
        for line in page:
            weights[line.height] += len(line.text)
    if not weights:
        return {}, 0
    body = weights.most_common(1)[0][0]
    larger = sorted({round(height / 10) for height in weights if height >= body * _HEADING_SCALE}, reverse=True)
    return {size: min(rank, _MAX_HEADING_LEVELS) for rank, size in enumerate(larger, start=1)}, body


def _level(line: Line, levels: dict[int, int], body: int) -> int:
    """1-3 for a line of larger type that reads like a heading, else 0."""
    if line.height < body * _HEADING_SCALE or len(line.text) > _HEADING_LENGTH:
        return 0
    letters = sum(char.isalpha() for char in line.text)
    return levels.get(round(line.height / 10), 0) if letters >= 3 and letters * 2 > len(line.text) else 0


def _joint(page: Sequence[Line], index: int, level: int, level_before: int) -> str:
    """What stands between a line and the one before it."""
    before, line = page[index - 1], page[index]
    gap = line.y0 - before.y1
    height = max(before.height, line.height)
    near = -0.6 * height < gap < 0.75 * height
    if level != level_before:
        return "\n\n"
    if level:
        return " " if near and abs(before.height - line.height) <= 2 else "\n\n"
    if before.hyphenated:
        return "" if line.text[:1].islower() else "-"
    if not near or max(before.height, line.height) > _SAME_SIZE * min(before.height, line.height):
        return "\n\n" if not -height < gap < 0.75 * height else "\n"
    if _ITEM.match(line.text + " "):
        return "\n"
    return " " if _runs_on(page, index) else "\n"


def _runs_on(page: Sequence[Line], index: int) -> bool:
    """Whether the line before is full: the first word of this one would not have fitted at its end."""
    before, line = page[index - 1], page[index]
    if min(before.x1, line.x1) <= max(before.x0, line.x0):
        return False
    around = [item for item in page[max(index - 4, 0) : index + 4] if _same_column(item, line)]
    words = line.text.split(" ")
    word = words[-1] if line.leftwards else words[0]
    room = (len(word) + 1) * (line.x1 - line.x0) / max(len(line.text), 1)
    if line.leftwards:
        return before.x0 - room < min(item.x0 for item in around)
    return before.x1 + room > max(item.x1 for item in around)


def _same_column(first: Line, second: Line) -> bool:
    shared = min(first.x1, second.x1) - max(first.x0, second.x0)
    return shared > 0.5 * min(first.x1 - first.x0, second.x1 - second.x0)
