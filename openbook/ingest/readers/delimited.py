"""Comma-, semicolon-, tab- or bar-separated values, one line a row; knows no types."""

from __future__ import annotations

import csv
import io

from openbook.ingest.readers import markdown, text
from openbook.ingest.readers.parsed import Parsed, clean

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_FIELD_LIMIT = 10_000_000


def read(data: bytes, *, tabs: bool = False) -> Parsed:
    """One line a row with its column names (see markdown.records); a lone column as lines."""
    source, notes = text.decode(data)
    source = clean(source)
    rows = _rows(source, "\t" if tabs else _delimiter(source))
    if max((len(row) for row in rows), default=0) < 2:
        return Parsed("\n".join(" ".join("".join(row).split()) for row in rows), notes=notes)
    return Parsed(markdown.records(rows), notes=notes)


def _delimiter(source: str) -> str:
    """The one that gives most rows the same number of cells above one; the comma when none does."""
    sample = source[:100_000].split("\n")[:_SAMPLE_ROWS]

    def score(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in _rows("\n".join(sample), delimiter)]
        usual = max(set(widths), key=widths.count, default=1)
        return (widths.count(usual) / len(widths) if usual > 1 else 0.0, usual)

    return max(_DELIMITERS, key=score)


def _rows(source: str, delimiter: str) -> list[list[str]]:
    previous = csv.field_size_limit()
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        return [
            row for row in csv.reader(io.StringIO(source, newline=""), delimiter=delimiter) if any(map(str.strip, row))
        ]
    finally:
        csv.field_size_limit(previous)
