"""A case and an answer with passages in, how well it cites out. Knows no model; nothing here applies without passages.

Precision and recall are against gold spans (an answer that cites nothing has precision 0, as in ALCE, Gao et al. 2023);
the joint measure is against gold passages, and citing every passage does not pass it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from openbook.compare.plain import stands
from openbook.metrics import rank
from openbook.records import Answer, Case, Citation, Hit

_MARKER = re.compile(r"\s*\[\s*(?:passages?\s*|sources?\s*)?(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\s*\]", re.I)
_QUOTED = re.compile(r"[\"“«]([^\"“”«»]{12,})[\"”»]")
_SHORTEST = 4
"""Words of a quotation; fewer are a term, not a quotation."""


def unmarked(text: str) -> str:
    """The text without its citation marks.

    >>> unmarked("It is 15 days [2]. Founded in [1954]."), unmarked("[1]")
    ('It is 15 days. Founded in [1954].', '')
    """
    return _MARKER.sub("", text).strip()


def score(case: Case, answer: Answer, *, refused: bool) -> dict[str, float]:
    """citation_precision, citation_recall, fabricated_citation, quote_verbatim and retrieved, those that apply."""
    found: dict[str, float] = {}
    if case.spans and not case.contexts:
        found["retrieved"] = float(rank(answer.hits, case) is not None)
    if case.gold:
        right = [on_gold(case, one) for one in answer.citations]
        found["citation_recall"] = float(any(right))
        if not refused:
            found["citation_precision"] = sum(right) / len(right) if right else 0.0
    if answer.written and answer.hits:
        found["fabricated_citation"] = float(bool(fabricated(answer.written, answer.hits)))
    verbatim = [_verbatim(one, answer.hits) for one in answer.citations]
    verbatim += [_stands_in(quoted, answer.hits) for quoted in quotations(answer.text)]
    if verbatim:
        found["quote_verbatim"] = float(all(verbatim))
    return found


def passage_cited(case: Case, answer: Answer) -> bool:
    """Whether a gold passage is cited, and at least half of the citations are of gold passages."""
    right = [on_gold(case, one) or _in_gold_passage(case, one, answer.hits) for one in answer.citations]
    return bool(right) and 2 * sum(right) >= len(right)


def on_gold(case: Case, citation: Citation) -> bool:
    """Whether a citation overlaps a gold span; of a case that has none in what was shown, whether it quotes a gold."""
    if case.spans and not case.contexts:
        return any(
            span.document == citation.document and span.start < citation.end and citation.start < span.end
            for span in case.spans
        )
    return stands(citation.quote, case.gold)


def fabricated(written: str, hits: Sequence[Hit]) -> list[int]:
    """The passage numbers a model named that no passage had; a reference copied from a passage is none.

    >>> fabricated("It is 15 [1]. So [4, 0].", [])
    [1, 4, 0]
    """
    shown = " ".join(hit.chunk.text for hit in hits)
    return [
        int(number)
        for marker in _MARKER.finditer(written)
        if marker.group().strip() not in shown
        for number in re.findall(r"\d+", marker.group(1))
        if not 1 <= int(number) <= len(hits)
    ]


def quotations(text: str) -> list[str]:
    """What stands in quotation marks and is long enough to be a quotation."""
    return [found for found in _QUOTED.findall(unmarked(text)) if len(found.split()) >= _SHORTEST]


def _in_gold_passage(case: Case, citation: Citation, hits: Sequence[Hit]) -> bool:
    return any(
        _holds(hit, citation) and any(span.overlaps(hit.chunk) for span in case.spans)
        for hit in hits
        if not case.contexts
    )


def _holds(hit: Hit, citation: Citation) -> bool:
    chunk = hit.chunk
    return chunk.document == citation.document and chunk.start <= citation.start and citation.end <= chunk.end


def _verbatim(citation: Citation, hits: Sequence[Hit]) -> bool:
    return any(
        _holds(hit, citation)
        and hit.chunk.text[citation.start - hit.chunk.start : citation.end - hit.chunk.start] == citation.quote
        for hit in hits
    )


def _stands_in(quoted: str, hits: Sequence[Hit]) -> bool:
    wanted = _spaced(quoted).strip(" .,;:…")
    return any(wanted in _spaced(hit.chunk.text) for hit in hits)


def _spaced(text: str) -> str:
    return " ".join(text.replace("’", "'").lower().split())
