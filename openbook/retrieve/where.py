"""A filter as people type it in, conditions out: `format=pdf and modified>=2024-01-01`. Knows the fields only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Literal, cast, get_args

from openbook.errors import UsageError
from openbook.records import Condition

_Field = Literal["document", "format", "title", "author", "created", "modified"]
_Op = Literal["=", "!=", ">=", "<=", ">", "<"]
_DATES = ("created", "modified")
_CONDITION = re.compile(r"""\s*(\w+)\s*(!=|>=|<=|=|>|<)\s*(?:"([^"]*)"|'([^']*)'|(\S+?))\s*(?:\s+and\s+|,|$)""", re.I)


def parse(text: str) -> tuple[Condition, ...]:
    """Conditions joined by "and" (or a comma); values with spaces stand in quotes.

    Raises UsageError naming what could not be read.

    >>> parse("format=pdf and document='policies/*'")[1]
    Condition(field='document', op='=', value='policies/*')
    """
    conditions: list[Condition] = []
    position = 0
    while position < len(text.rstrip()):
        match = _CONDITION.match(text, position)
        if match is None:
            raise UsageError(
                f"cannot read the filter at {text[position:].strip()!r}; "
                "write for example: format=pdf and modified>=2024-01-01"
            )
        field, op = match.group(1).lower(), match.group(2)
        value = next(part for part in match.groups()[2:] if part is not None)
        conditions.append(_checked(field, op, value))
        position = match.end()
    return tuple(conditions)


def written(conditions: Iterable[Condition]) -> str:
    """The reverse of parse. Raises UsageError for a value that holds both kinds of quotes.

    >>> written(parse("format=pdf and document='policies/*'"))
    'format="pdf" and document="policies/*"'
    """
    return " and ".join(f"{one.field}{one.op}{_quoted(one.value)}" for one in conditions)


def _quoted(value: str) -> str:
    for mark in ('"', "'"):
        if mark not in value:
            return f"{mark}{value}{mark}"
    raise UsageError(f"a filter cannot hold {value!r}, which has both kinds of quotes; leave that condition out")


def _checked(field: str, op: str, value: str) -> Condition:
    if field not in get_args(_Field):
        raise UsageError(f"unknown filter field {field!r}; use one of: {', '.join(get_args(_Field))}")
    if field in _DATES:
        try:
            datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)
        except ValueError:
            raise UsageError(f"{field} {op} {value!r}: write the date as 2024-01-31") from None
    elif op not in ("=", "!="):
        raise UsageError(f"{field} can be compared with = and != only, not {op!r}")
    return Condition(cast(_Field, field), cast(_Op, op), value)
