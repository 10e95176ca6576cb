"""A document's text in, questions about the cells of its tables out. Knows no language beyond the wording in English.

Reads Markdown tables and plain HTML ones; the first column names the row, the header row the column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import NamedTuple

from openbook.questions.draft import Draft, plain
from openbook.questions.facts import DATE

_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*")
_HTML = re.compile(r"<table\b.*?</table>", re.DOTALL | re.IGNORECASE)
_ROW = re.compile(r"<tr\b[^>]*>(.*?)</tr>", re.DOTALL | re.IGNORECASE)
_CELL = re.compile(r"<t[dh]\b[^>]*>(.*?)</t[dh]>", re.DOTALL | re.IGNORECASE)
_DATED = re.compile(rf"(?:(?:First|Second|Third|Fourth|Last) )?{DATE}", re.IGNORECASE)
_LONGEST = 12
"""Words of a cell that is asked for."""


_ATTRIBUTES = frozenset(
    """price cost fee rate date deadline name owner author title email phone address size limit length width height
    weight     capacity duration status type version
    role country city location capital population area colour color code number
    symbol salary department manager contact unit currency amount total quantity age year description purpose""".split()
)
"""Column names that go into "the ... of"; others are quoted, for a header may be anything."""


class Cell(NamedTuple):
    """A cell's text and place."""

    text: str
    start: int
    end: int


def questions(text: str, *, english: bool) -> Iterator[Draft]:
    """Drafts in the order of the text."""
    for rows in (*_markdown(text), *_html(text)):
        yield from _asked(rows, english=english)


def _asked(rows: list[list[Cell]], *, english: bool) -> Iterator[Draft]:
    width = len(rows[0])
    if len(rows) < 2 or not 2 <= width <= 12:
        return
    header = None if width == 2 and _fact(rows[0][1].text) else [cell.text for cell in rows[0]]
    for row in rows if header is None else rows[1:]:
        if len(row) != width or not any(char.isalpha() for char in row[0].text) or len(row[0].text.split()) > _LONGEST:
            continue
        for column in range(1, width):
            cell = row[column]
            if not cell.text or cell.end - cell.start != len(cell.text) or len(cell.text.split()) > _LONGEST:
                continue
            question = _wording(row[0].text, header[column] if header else "", cell.text, english=english)
            yield Draft(question, cell.start, cell.end, source=(row[0].start, row[-1].end), form="table")


def _wording(row: str, column: str, value: str, *, english: bool) -> str:
    if not english:
        return f"{row}: {column}?" if column else f"{row}: ____?"
    if not column:
        return f"When is {row}?" if _DATED.match(value) else f"What is listed for {row}?"
    if column.lower() in _ATTRIBUTES:
        return f"What is the {column.lower()} of {row}?"
    return f'What is given under "{column}" for "{row}"?'


def _fact(value: str) -> bool:
    return any(char.isdigit() for char in value)


def _markdown(text: str) -> Iterator[list[list[Cell]]]:
    offset = 0
    lines: list[tuple[int, str]] = []
    for line in text.splitlines(keepends=True):
        lines.append((offset, line))
        offset += len(line)
    for piped, group in groupby(lines, key=lambda one: one[1].lstrip().startswith("|")):
        block = list(group) if piped else []
        if len(block) > 1:
            rows = [_cells(text, at, line) for at, line in block if not _RULE.fullmatch(line)]
            if len(rows) > 1 and rows[0]:
                yield rows


def _cells(text: str, at: int, line: str) -> list[Cell]:
    bars = [match.start() for match in re.finditer(r"(?<!\\)\|", line)]
    if not line.rstrip().endswith("|"):
        bars.append(len(line.rstrip()))
    return [_cell(text, at + left + 1, at + right) for left, right in pairwise(bars)]


def _html(text: str) -> Iterator[list[list[Cell]]]:
    for table in _HTML.finditer(text):
        rows = [
            [_cell(text, *cell.span(1)) for cell in _CELL.finditer(text, *row.span(1))]
            for row in _ROW.finditer(text, *table.span())
        ]
        if rows and rows[0]:
            yield rows


def _cell(text: str, start: int, end: int) -> Cell:
    inside = plain(text, start, end)
    return Cell(inside.text, *inside.span(0, len(inside.text))) if inside.text else Cell("", start, start)
