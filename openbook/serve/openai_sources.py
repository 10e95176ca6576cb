"""An answer in, its citations and numbered sources out, for clients that know no citations: numbers are the `[n]` of
the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from openbook.records import Answer, Citation
from openbook.wire import citation_json

_HEADING = "\n\nSources:\n"
_LISTED = re.compile(r"\n\nSources:\n\[\d+\] .*\Z", re.DOTALL)
_LONGEST = 300


def cut(text: str, stop: Sequence[str]) -> str:
    """A text before the stop string that comes first.

    >>> cut("one. two.", (" two", "."))
    'one'
    """
    return text[: min((at for one in stop if (at := text.find(one)) >= 0), default=len(text))]


def cited(answer: Answer, text: str) -> list[dict[str, Any]]:
    """The citations of what is shown of an answer: its text, or a beginning of it."""
    return [
        {"number": number, **citation_json(one)} for one in answer.citations if (number := _number(answer, one, text))
    ]


def sources(answer: Answer, text: str) -> list[dict[str, Any]]:
    """Each cited quote once, by number."""
    keys = ("number", "document", "page", "quote")
    found = {(one["number"], one["quote"]): {key: one[key] for key in keys} for one in cited(answer, text)}
    return [found[key] for key in sorted(found)]


def listing(found: Sequence[dict[str, Any]]) -> str:
    """Sources as the end of a text; "" when there are none."""
    return _HEADING + "\n".join(map(_told, found)) if found else ""


def without_listing(text: str) -> str:
    """An earlier answer without the sources at its end, which are no part of the conversation.

    >>> without_listing('24 days [1].\\n\\nSources:\\n[1] Vacation.md: "24 paid days"')
    '24 days [1].'
    """
    return _LISTED.sub("", text)


def _told(source: dict[str, Any]) -> str:
    page = f", page {source['page']}" if source["page"] is not None else ""
    quote = " ".join(source["quote"].split())
    short = quote if len(quote) <= _LONGEST else quote[: _LONGEST - 1] + "…"
    return f'[{source["number"]}] {source["document"]}{page}: "{short}"'


def _number(answer: Answer, one: Citation, text: str) -> int:
    """The passage a citation stands in, of overlapping ones the one that the text names; 0 when it names none."""
    for number, hit in enumerate(answer.hits, 1):
        chunk = hit.chunk
        inside = chunk.document == one.document and chunk.start <= one.start and one.end <= chunk.end
        if inside and f"[{number}]" in text:
            return number
    return 0
