"""Lines of type in, a document's text with page spans and boxes out; knows no PDF library.

A line break stays where the writer meant one: the next line's first word would have fitted, a list mark follows,
or the gap or size of type changes. Other breaks become spaces, and words hyphenated across lines are joined.
Rows whose cells stand in columns become pipe tables.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openbook.ingest.readers.pdf_lines import Line
from openbook.ingest.readers.pdf_tables import Piece, blank, table, table_at
from openbook.records import Page

_ITEM = re.compile(r"(?:[-–*•●▪■◦‣⁃∙▸►➢❖]|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)])\s")
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,3})\s+[^\W\d_]{2}")
_HEADING_SCALE = 1.15
_HEADING_LENGTH = 200
_LONE_LENGTH = 100
_BOLD_SHARE = 0.4
"""Where more of the text than this is bold, bold marks nothing."""
_SAME_SIZE = 1.2
_MAX_HEADING_LEVELS = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """A document's text with page spans and boxes as in records.Document."""

    text: str
    pages: tuple[Page, ...]
    boxes: bytes


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
            pieces.insert(0, blank("\n\n"))
        start = position + (2 if pieces and position else 0)
        for piece, piece_boxes in pieces:
            text.append(piece)
            boxes.extend(piece_boxes)
            position += len(piece)
        spans.append(Page(number, start if pieces else position, position))
    if sys.byteorder == "big":
        boxes.byteswap()
    return Layout("".join(text), tuple(spans), boxes.tobytes())


def _page(page: Sequence[Line]) -> Iterator[Piece]:
    """One page's text in pieces, tables and headings marked."""
    index = 0
    tabular_before = False
    while index < len(page):
        line = page[index]
        end, columns = table_at(page, index)
        tabular = end > index
        if index:
            joint = "\n\n" if tabular or tabular_before else _joint(page, index)
            yield blank(joint)
        else:
            joint = "\n\n"
        if tabular:
            yield from table(page[index:end], columns)
            index = end
        else:
            if line.level and joint == "\n\n":
                yield blank(f"{'#' * line.level} ")
            yield line.text, line.boxes
            index += 1
        tabular_before = tabular


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
