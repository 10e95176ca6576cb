"""What a metadata condition means: one reading for the search filter and for explaining it. Knows no storage.

Strings compare without regard to case. A date value names a period ("2024", "2024-05", "2024-05-31", or a moment):
`=` is within it, `>` after it, `<` before it. A document without the field meets only `!=`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from openbook.errors import UsageError
from openbook.library.index import FACET_NUMBERS, FACET_WORDS, Between, Clause, OneOf
from openbook.records import Condition

_LONGEST = 512
"""Longer titles are compared by their beginning: payload indexes are no place for essays."""


def facets(info: Mapping[str, object]) -> dict[str, int | str]:
    """The filterable fields of a document's metadata; unknown ones are left out.

    >>> facets({"format": "PDF", "title": "", "created": "1970-01-02"})
    {'format': 'pdf', 'created': 86400}
    """
    found: dict[str, int | str] = {}
    for field in FACET_WORDS:
        if value := _folded(str(info.get(field, ""))):
            found[field] = value
    for field in FACET_NUMBERS:
        if period := _period(str(info.get(field, ""))):
            found[field] = period[0]
    return found


def clause(condition: Condition) -> tuple[Clause, bool]:
    """A condition on any field but `document` as a filter clause, and whether it must hold (True) or must not.

    Raises UsageError for a date that cannot be read and an order comparison of words.
    """
    field, op, value = condition.field, condition.op, condition.value
    if field in FACET_NUMBERS:
        period = _period(value)
        if period is None:
            raise UsageError(f"{field} {op} {value!r}: write the date as 2024, 2024-01 or 2024-01-31")
        start, end = period
        ranges = {
            "=": Between(field, start, end),
            "!=": Between(field, start, end),
            ">=": Between(field, at_least=start),
            ">": Between(field, at_least=end),
            "<": Between(field, below=start),
            "<=": Between(field, below=end),
        }
        return ranges[op], op != "!="
    if op not in ("=", "!="):
        raise UsageError(f"{field} can be compared with = and != only, not {op!r}")
    return OneOf(field, [_folded(value)]), op == "="


def meets(condition: Condition, name: str, info: Mapping[str, object]) -> bool:
    """Whether a document meets the condition.

    >>> meets(Condition("modified", ">=", "2024"), "a.md", {"modified": "2024-03-01T10:00:00Z"})
    True
    """
    if condition.field == "document":
        return named(condition.value, name) == (condition.op == "=")
    wanted, positive = clause(condition)
    value = facets(info).get(wanted.field)
    if isinstance(wanted, OneOf):
        return (value in wanted.values) == positive
    inside = (
        isinstance(value, int)
        and (wanted.at_least is None or value >= wanted.at_least)
        and (wanted.below is None or value < wanted.below)
    )
    return inside == positive


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
