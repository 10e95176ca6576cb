"""Glyphs with boxes in, lines of type with boxes out: the first step of laying out a PDF page; knows no PDF library.

White space is made even, what pdfium turns round or drops in right-to-left text is put right, and each line knows the
parts that wide gaps divide it into.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

Glyph = tuple[str, int, int, int, int]
"""A character and its box x0, y0, x1, y1 in tenths of a point from the top left."""
Box = tuple[int, int, int, int]
Cell = tuple[int, int, int, int]
"""Start and end in a line's text, x0 and x1 on the page."""
LINE_END = "\n"
BOLD_END = "\v"
"""Ends a line set in bold type throughout."""
HYPHEN = "\ufffe"
"""Stands for a hyphen at a line's end in the list of glyphs."""

_BULLETS = {ord(mark): "-" for mark in "•●▪■◦‣⁃∙·▸►➢❖"}
_CELL_GAP = 1.2
"""White space this many type heights wide parts cells; between words it is 0.3, in stretched lines up to 0.8."""


@dataclass(slots=True)
class Line:
    """One line of type."""

    text: str
    boxes: array[int]
    """Four per character of `text`, zeros for characters put in."""
    x0: int
    y0: int
    x1: int
    y1: int
    height: int
    hyphenated: bool = False
    """Ends in a hyphen that joins it to the next line."""
    cells: tuple[Cell, ...] = ()
    """Parts divided by wide gaps."""
    bold: bool = False
    level: int = 0
    """Heading level, or 0."""

    @property
    def leftwards(self) -> bool:
        """Whether most letters are written from right to left."""
        kinds = Counter(unicodedata.bidirectional(char) for char in self.text)
        return kinds["R"] + kinds["AL"] > kinds["L"]


def lines(glyphs: Sequence[Glyph]) -> list[Line]:
    """Put one page's glyphs, in content order, into lines; pieces of one row of type become one line."""
    pieces: list[Line] = []
    current: list[Glyph] = []
    for glyph in glyphs:
        if glyph[0] in (LINE_END, BOLD_END, HYPHEN):
            pieces.extend(_line(current, end=glyph[0]))
            current = []
        else:
            current.append(glyph)
    pieces.extend(_line(current, end=LINE_END))
    return rows_of(pieces)


def rows_of(pieces: Iterable[Line]) -> list[Line]:
    """Pieces of type in reading order, those that stand side by side put together."""
    rows: list[Line] = []
    for piece in pieces:
        if rows and _same_row(rows[-1], piece):
            rows[-1] = _beside(rows[-1], piece)
        else:
            rows.append(piece)
    return rows


def no_boxes(count: int) -> array[int]:
    """Boxes of characters behind which no glyph stands."""
    return array("H", bytes(8 * count))


def _line(glyphs: Sequence[Glyph], *, end: str) -> Iterator[Line]:
    """A line without blanks at its ends and with single spaces, or nothing."""
    kept: list[Glyph] = []
    for glyph in _ligatures(glyphs):
        if glyph[0].isspace():
            if kept and kept[-1][0] != " ":
                kept.append((" ", *glyph[1:]))
        else:
            if kept and _lost_space(kept[-1], glyph):
                kept.append((" ", 0, 0, 0, 0))
            kept.append(glyph)
    while kept and kept[-1][0] == " ":
        kept.pop()
    if not kept:
        return
    inked = [glyph for glyph in kept if glyph[0] != " " and glyph[4] > glyph[2]] or kept
    text = "".join(glyph[0] for glyph in kept)
    text = plain_bullet(text)
    height = round(median(glyph[4] - glyph[2] for glyph in inked))
    yield Line(
        text,
        array("H", [value for glyph in kept for value in glyph[1:]]),
        min(glyph[1] for glyph in inked),
        min(glyph[2] for glyph in inked),
        max(glyph[3] for glyph in inked),
        max(glyph[4] for glyph in inked),
        height,
        end == HYPHEN,
        _cells(kept, height),
        end == BOLD_END,
    )


def plain_bullet(text: str) -> str:
    """A line's leading bullet as a hyphen."""
    return text[0].translate(_BULLETS) + text[1:] if text[1:2] == " " else text


def _ligatures(glyphs: Sequence[Glyph]) -> list[Glyph]:
    """Put right the letters of Arabic lam-alef: pdfium turns the one glyph's two letters round with the line."""
    found = list(glyphs)
    for index in range(len(found) - 1):
        first, second = found[index], found[index + 1]
        if first[0] in "اأإآ" and second[0] == "ل" and first[1:] == second[1:]:
            found[index], found[index + 1] = second, first
    return found


def _lost_space(first: Glyph, second: Glyph) -> bool:
    """Whether writing turns round between two letters that stand apart: pdfium drops the space there."""
    kinds = {unicodedata.bidirectional(first[0]), unicodedata.bidirectional(second[0])}
    return "L" in kinds and bool(kinds & {"R", "AL"})


def _cells(glyphs: Sequence[Glyph], height: int) -> tuple[Cell, ...]:
    """Parts of a line divided by wide gaps."""
    found: list[Cell] = []
    for index, (char, x0, _, x1, _) in enumerate(glyphs):
        if char == " ":
            continue
        if not found or max(x0 - found[-1][3], found[-1][2] - x1) > _CELL_GAP * height:
            found.append((index, index + 1, x0, x1))
        else:
            start, _, left, right = found[-1]
            found[-1] = (start, index + 1, min(left, x0), max(right, x1))
    return tuple(found)


def _same_row(first: Line, second: Line) -> bool:
    """Whether the second stands beside the first: at the same height, without covering it."""
    shared = min(first.y1, second.y1) - max(first.y0, second.y0)
    covered = min(first.x1, second.x1) - max(first.x0, second.x0)
    return shared > 0.6 * min(first.height, second.height) and covered < 0.5 * min(first.height, second.height)


def _beside(first: Line, second: Line) -> Line:
    """Two pieces of a row as one line."""
    space = "" if first.hyphenated else " "
    shift = len(first.text) + len(space)
    added = [(start + shift, end + shift, x0, x1) for start, end, x0, x1 in second.cells]
    cells = list(first.cells)
    height = max(first.height, second.height)
    if cells and added and max(added[0][2] - cells[-1][3], cells[-1][2] - added[0][3]) <= _CELL_GAP * height:
        (start, _, left, right), (_, end, x0, x1) = cells.pop(), added.pop(0)
        cells.append((start, end, min(left, x0), max(right, x1)))
    return Line(
        first.text + space + second.text,
        first.boxes + no_boxes(len(space)) + second.boxes,
        min(first.x0, second.x0),
        min(first.y0, second.y0),
        max(first.x1, second.x1),
        max(first.y1, second.y1),
        height,
        second.hyphenated,
        (*cells, *added),
        first.bold and second.bold,
    )
