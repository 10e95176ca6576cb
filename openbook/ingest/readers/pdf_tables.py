"""Lines of type in, tables found by their columns out; knows no PDF library and nothing of running text."""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence

from openbook.ingest.readers.pdf_lines import Cell, Line, no_boxes

Span = tuple[int, int]
"""x0 and x1 on the page."""
Piece = tuple[str, "array[int]"]
"""Text with its boxes."""

_MAX_CELL = 40
_MIN_ROWS = 3


def blank(text: str) -> Piece:
    """Characters put in, behind which no glyph stands."""
    return text, no_boxes(len(text))


def table_at(page: Sequence[Line], index: int) -> tuple[int, list[Span]]:
    """(line after the table that starts here, its columns); the same line when none does.

    The line above a table is its header, whose cells are set, when its words fall to every column.
    """
    end, columns = _rows_at(page, index)
    if end > index or index + 1 == len(page) or not _fits_below(page, index, index + 1):
        return end, columns
    end, columns = _rows_at(page, index + 1)
    header = _header_cells(page[index], columns) if columns else ()
    if not header:
        return index, []
    page[index].cells = header
    return end, columns


def _rows_at(page: Sequence[Line], index: int) -> tuple[int, list[Span]]:
    """(line after the table that starts here, its columns); the same line when none does.

    Column spans are unions of cells that overlap; where a cell would bridge columns the table ends before it.
    """
    columns: list[Span] = []
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


def _header_cells(line: Line, columns: Sequence[Span]) -> tuple[Cell, ...]:
    """A line's words shared out to the columns of the table below it; nothing unless every column gets some."""
    found: dict[int, Cell] = {}
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


def _distance(span: Span, x: int) -> int:
    return max(span[0] - x, x - span[1], 0)


def _fits_below(page: Sequence[Line], index: int, end: int) -> bool:
    if end == index:
        return True
    gap = page[end].y0 - page[end - 1].y1
    return -0.6 * page[end].height < gap < 3 * page[end].height


def _union(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for x0, x1 in sorted(spans):
        if found and x0 < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], x1))
        else:
            found.append((x0, x1))
    return found


def _column(columns: Sequence[Span], x0: int) -> int:
    return next(position for position, (left, right) in enumerate(columns) if left <= x0 <= right)


def table(rows: Sequence[Line], columns: Sequence[Span]) -> Iterator[Piece]:
    """Rows as a pipe table, the first one as its header."""
    for number, row in enumerate(rows):
        placed = {_column(columns, x0): (start, end) for start, end, x0, _ in row.cells}
        order = range(len(columns) - 1, -1, -1) if row.leftwards else range(len(columns))
        for column in order:
            yield blank("| ")
            if column in placed:
                start, end = placed[column]
                yield row.text[start:end].replace("|", "¦"), row.boxes[4 * start : 4 * end]
                yield blank(" ")
        yield blank("|")
        if number == 0:
            yield blank("\n|" + " --- |" * len(columns))
        if number + 1 < len(rows):
            yield blank("\n")
