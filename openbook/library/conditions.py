"""What a metadata condition means, as a condition on the catalog's documents. Knows no search.

Strings compare without regard to case. A date value names a period ("2024", "2024-05", "2024-05-31", or a moment):
`=` is within it, `>` after it, `<` before it. A document without the field meets only `!=`.
"""

from __future__ import annotations

import fnmatch
import re
from datetime import UTC, datetime, timedelta

import sqlalchemy as sql

from openbook.errors import UsageError
from openbook.library.tables import documents
from openbook.records import Condition, Document

_LONGEST = 512
"""Longer titles are compared by their beginning."""


def facets(document: Document) -> dict[str, int | str | None]:
    """The filterable columns of a document; None is unknown.

    >>> facets(Document("a.pdf", "", "PDF", "", 0, created="1970-01-02"))
    {'format': 'pdf', 'title': None, 'author': None, 'created': 86400, 'modified': None}
    """
    created, modified = _period(document.created), _period(document.modified)
    return {
        "format": _folded(document.format) or None,
        "title": _folded(document.title) or None,
        "author": _folded(document.author) or None,
        "created": created and created[0],
        "modified": modified and modified[0],
    }


def expression(condition: Condition) -> sql.ColumnElement[bool]:
    """A condition on any field but `document` as SQL.

    Raises UsageError for a date that cannot be read and an order comparison of words.
    """
    field, op, value = condition.field, condition.op, condition.value
    column = documents.c[field]
    if field in ("created", "modified"):
        period = _period(value)
        if period is None:
            raise UsageError(f"{field} {op} {value!r}: write the date as 2024, 2024-01 or 2024-01-31")
        start, end = period
        by_op = {
            "=": sql.and_(column >= start, column < end),
            "!=": sql.or_(column < start, column >= end, column.is_(None)),
            ">=": column >= start,
            ">": column >= end,
            "<": column < start,
            "<=": column < end,
        }
        return by_op[op]
    if op == "=":
        return column == _folded(value)
    if op == "!=":
        return sql.or_(column != _folded(value), column.is_(None))
    raise UsageError(f"{field} can be compared with = and != only, not {op!r}")


def named(pattern: str, name: str) -> bool:
    """Whether a document name is the pattern or matches it; `*` also spans folders.

    >>> named("policies/*.md", "policies/2024/leave.md")
    True
    """
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _folded(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8").strip().casefold()[:_LONGEST]


def _period(text: str) -> tuple[int, int] | None:
    """Start and end in seconds since 1970 UTC of the year, month, day or second a date text names."""
    text = text.strip()
    try:
        if re.fullmatch(r"\d{4}", text):
            start = datetime(int(text), 1, 1, tzinfo=UTC)
            return _seconds(start), _seconds(start) + (366 if _leap(start.year) else 365) * 86400
        if re.fullmatch(r"\d{4}-\d{2}", text):
            start = datetime.fromisoformat(f"{text}-01").replace(tzinfo=UTC)
            next_month = (
                (start + timedelta(days=31)).replace(day=1) if (start.year, start.month) < (9999, 12) else start
            )
            return _seconds(start), max(_seconds(next_month), _seconds(start) + 86400)
        start = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    length = 86400 if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text) else 1
    moment = _seconds(start if start.tzinfo else start.replace(tzinfo=UTC))
    return moment, moment + length


def _seconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() // 1)


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
