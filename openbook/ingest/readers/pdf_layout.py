"""Glyphs with boxes in, lines and paragraphs with boxes out; knows no PDF library.

A line break stays where the writer meant one: the next line's first word would have fitted, a list mark follows,
or the gap or size of type changes. Other breaks become spaces, and words hyphenated across lines are joined.
Rows whose cells stand in columns become pipe tables.
"""

from __future__ import annotations

import itertools
import re
import sys
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from openbook.records import Page

Glyph = tuple[str, int, int, int, int]
"""A character and its box x0, y0, x1, y1 in tenths of a point from the top left."""
Box = tuple[int, int, int, int]
LINE_END = "\n"
BOLD_END = "\v"
"""Ends a line set in bold type throughout."""
HYPHEN = "\ufffe"
"""Stands for a hyphen at a line's end in the list of glyphs."""

_BULLETS = {ord(mark): "-" for mark in "•●▪■◦‣⁃∙·▸►➢❖"}
_ITEM = re.compile(r"(?:[-–*•●▪■◦‣⁃∙▸►➢❖]|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)])\s")
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,3})\s+[^\W\d_]{2}")
_HEADING_SCALE = 1.15
_HEADING_LENGTH = 200
_LONE_LENGTH = 100
_BOLD_SHARE = 0.4
"""Where more of the text than this is bold, bold marks nothing."""
_SAME_SIZE = 1.2
_MAX_HEADING_LEVELS = 3
_CELL_GAP = 1.2
"""White space this many type heights wide parts cells; between words it is 0.3, in stretched lines up to 0.8."""
_MAX_CELL = 40
_MIN_ROWS = 3


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
    cells: tuple[tuple[int, int, int, int], ...] = ()
    """Parts divided by wide gaps: start and end in `text`, x0 and x1 on the page."""
    bold: bool = False
    level: int = 0
    """Heading level, or 0."""

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


def compose(pages: Sequence[Sequence[Line]]) -> Layout:
    """Join lines to paragraphs and pages to one text; lines in larger type become headings."""
    _mark_headings(pages)
    text: list[str] = []
    boxes = array("H")
    spans: list[Page] = []
    position = 0
    for number, page in enumerate(pages, start=1):
        pieces = list(_page(page))
        if pieces and position:
            pieces.insert(0, _blank("\n\n"))
        start = position + (2 if pieces and position else 0)
        for piece, piece_boxes in pieces:
            text.append(piece)
            boxes.extend(piece_boxes)
            position += len(piece)
        spans.append(Page(number, start if pieces else position, position))
    if sys.byteorder == "big":
        boxes.byteswap()
    return Layout("".join(text), tuple(spans), boxes.tobytes())


_Piece = tuple[str, "array[int]"]


def _blank(text: str) -> _Piece:
    """Characters put in, behind which no glyph stands."""
    return text, array("H", bytes(8 * len(text)))


def _page(page: Sequence[Line]) -> Iterator[_Piece]:
    """One page's text in pieces, tables and headings marked."""
    index = 0
    tabular_before = False
    while index < len(page):
        line = page[index]
        end, columns = _table_at(page, index)
        if end == index and index + 1 < len(page) and _fits_below(page, index, index + 1):
            end, columns = _table_at(page, index + 1)
            header = _header_cells(line, columns) if columns else ()
            line.cells = header or line.cells
            end = end if header else index
        tabular = end > index
        if index:
            joint = "\n\n" if tabular or tabular_before else _joint(page, index)
            yield _blank(joint)
        else:
            joint = "\n\n"
        if tabular:
            yield from _table(page[index:end], columns)
            index = end
        else:
            if line.level and joint == "\n\n":
                yield _blank(f"{'#' * line.level} ")
            yield line.text, line.boxes
            index += 1
        tabular_before = tabular


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


def _cells(glyphs: Sequence[Glyph], height: int) -> tuple[tuple[int, int, int, int], ...]:
    """Parts of a line divided by wide gaps."""
    found: list[tuple[int, int, int, int]] = []
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
        first.boxes + _blank(space)[1] + second.boxes,
        min(first.x0, second.x0),
        min(first.y0, second.y0),
        max(first.x1, second.x1),
        max(first.y1, second.y1),
        height,
        second.hyphenated,
        (*cells, *added),
        first.bold and second.bold,
    )


def _table_at(page: Sequence[Line], index: int) -> tuple[int, list[tuple[int, int]]]:
    """(line after the table that starts here, its columns); the same line when none does.

    Column spans are unions of cells that overlap; where a cell would bridge columns the table ends before it.
    """
    columns: list[tuple[int, int]] = []
    end = index
    while end < len(page) and len(page[end].cells) > 1 and _fits_below(page, index, end):
        cells = page[end].cells
        if any(stop - start > _MAX_CELL for start, stop, _, _ in cells):
            break
        merged = _union([*columns, *((x0, x1) for _, _, x0, x1 in cells)])
        if any(
            _column(merged, x0) == _column(merged, later)
            for (_, _, x0, _), (_, _, later, _) in itertools.pairwise(cells)
        ):
            break
        if columns and len({_column(merged, x0) for x0, _ in columns}) < len(columns):
            break
        columns = merged
        end += 1
    return (end, columns) if end - index >= _MIN_ROWS else (index, [])


def _header_cells(line: Line, columns: Sequence[tuple[int, int]]) -> tuple[tuple[int, int, int, int], ...]:
    """A line's words shared out to the columns of the table below it; nothing unless every column gets some."""
    found: dict[int, tuple[int, int, int, int]] = {}
    last = -1 if not line.leftwards else len(columns)
    for match in re.finditer(r"\S+", line.text):
        x0 = min(line.boxes[4 * match.start() : 4 * match.end() : 4])
        x1 = max(line.boxes[4 * match.start() + 2 : 4 * match.end() : 4])
        column = min(range(len(columns)), key=lambda item: _distance(columns[item], (x0 + x1) // 2))
        if column in found and column != last:
            return ()
        start = found[column][0] if column in found else match.start()
        # The cell's place on the page is the column's, so that it is put there.
        found[column], last = (start, match.end(), *columns[column]), column
    return tuple(found.values()) if len(found) == len(columns) else ()


def _distance(span: tuple[int, int], x: int) -> int:
    return max(span[0] - x, x - span[1], 0)


def _fits_below(page: Sequence[Line], index: int, end: int) -> bool:
    if end == index:
        return True
    gap = page[end].y0 - page[end - 1].y1
    return -0.6 * page[end].height < gap < 3 * page[end].height


def _union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for x0, x1 in sorted(spans):
        if found and x0 < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], x1))
        else:
            found.append((x0, x1))
    return found


def _column(columns: Sequence[tuple[int, int]], x0: int) -> int:
    return next(position for position, (left, right) in enumerate(columns) if left <= x0 <= right)


def _table(rows: Sequence[Line], columns: Sequence[tuple[int, int]]) -> Iterator[_Piece]:
    """Rows as a pipe table, the first one as its header."""
    for number, row in enumerate(rows):
        placed = {_column(columns, x0): (start, end) for start, end, x0, _ in row.cells}
        order = range(len(columns) - 1, -1, -1) if row.leftwards else range(len(columns))
        for column in order:
            yield _blank("| ")
            if column in placed:
                start, end = placed[column]
                yield row.text[start:end].replace("|", "¦"), row.boxes[4 * start : 4 * end]
                yield _blank(" ")
        yield _blank("|")
        if number == 0:
            yield _blank("\n|" + " --- |" * len(columns))
        if number + 1 < len(rows):
            yield _blank("\n")


def _mark_headings(pages: Sequence[Sequence[Line]]) -> None:
    """Set the level of lines in larger type, and of bold or section-numbered lines that stand alone."""
    weights: Counter[int] = Counter()
    bold = 0
    for page in pages:
        for line in page:
            weights[line.height] += len(line.text)
            bold += line.bold * len(line.text)
    if not weights:
        return
    body = weights.most_common(1)[0][0]
    larger = sorted({round(height / 10) for height in weights if height >= body * _HEADING_SCALE}, reverse=True)
    ranks = {size: min(rank, _MAX_HEADING_LEVELS) for rank, size in enumerate(larger, start=1)}
    below = max(ranks.values(), default=0) + 1
    bold_tells = bold < _BOLD_SHARE * weights.total()
    for page in pages:
        for index, line in enumerate(page):
            numbered = _NUMBERED.match(line.text)
            if sum(char.isalpha() for char in line.text) < max(3, len(line.text) / 2):
                continue
            if line.height >= body * _HEADING_SCALE and len(line.text) <= _HEADING_LENGTH:
                line.level = ranks[round(line.height / 10)]
            elif (numbered or (line.bold and bold_tells)) and _stands_alone(page, index):
                line.level = min(below + (numbered[1].count(".") if numbered else 0), 6)


def _stands_alone(page: Sequence[Line], index: int) -> bool:
    """Whether a line is short, is no row or sentence, and opens what follows it."""
    line = page[index]
    if len(line.text) > _LONE_LENGTH or line.text[-1] in ".,;" or len(line.cells) > 1 or _ITEM.match(line.text):
        return False
    if index:
        before = page[index - 1]
        spaced = not -0.6 * line.height < line.y0 - before.y1 < 0.35 * line.height
        if not spaced and (not line.bold or before.bold or _runs_on(page, index)):
            return False
    if index + 1 == len(page):
        return False
    after = page[index + 1]
    return not _runs_on(page, index + 1) and not (line.bold and after.bold and after.y0 - line.y1 < 0.35 * line.height)


def _joint(page: Sequence[Line], index: int) -> str:
    """What stands between a line and the one before it."""
    before, line = page[index - 1], page[index]
    gap = line.y0 - before.y1
    height = max(before.height, line.height)
    near = -0.6 * height < gap < 0.75 * height
    if line.level != before.level:
        return "\n\n"
    if line.level:
        return " " if near and abs(before.height - line.height) <= 2 and not _NUMBERED.match(line.text) else "\n\n"
    if before.hyphenated:
        return "" if line.text[:1].islower() else "-"
    if not near:
        return "\n\n"
    if height > _SAME_SIZE * min(before.height, line.height) or len(before.cells) > 1 or len(line.cells) > 1:
        return "\n"
    if _ITEM.match(line.text + " "):
        return "\n"
    return " " if _runs_on(page, index) else "\n"


def _runs_on(page: Sequence[Line], index: int) -> bool:
    """Whether a line continues the one before: that one is full, and this one starts at its margin."""
    before, line = page[index - 1], page[index]
    if min(before.x1, line.x1) <= max(before.x0, line.x0):
        return False
    around = [item for item in page[max(index - 4, 0) : index + 4] if _same_column(item, line)] or [line]
    word = line.text.split(" ", 1)[0]
    room = (len(word) + 1) * (line.x1 - line.x0) / max(len(line.text), 1)
    leftwards = line.leftwards
    indent = before.x1 - line.x1 if leftwards else line.x0 - before.x0
    hanging = 4 * line.height if _ITEM.match(before.text) else 0.6 * line.height
    if not -6 * line.height < indent < hanging:
        return False
    if leftwards:
        return before.x0 - room < min(item.x0 for item in around)
    return before.x1 + room > max(item.x1 for item in around)


def _same_column(first: Line, second: Line) -> bool:
    shared = min(first.x1, second.x1) - max(first.x0, second.x0)
    return shared > 0.5 * min(first.x1 - first.x0, second.x1 - second.x0)
