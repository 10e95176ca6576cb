"""A generated answer and the shown passages in; its sentences out, each with the verified span that supports it or
marked unsupported. Runs after generation, knows no model, and its bar never moves to make something match.

A sentence is supported by a chunk when it stands there verbatim, or when a window of at most three of the chunk's
sentences holds every number of it, nearly all words it adds to the question, and agrees with it on negation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from openbook.prose import Span, Word, sentences, words
from openbook.records import Citation, Hit, Sentence

COVERAGE = 0.8
"""Share of a sentence's own content words (those not in the question) that its window must hold."""
COVERAGE_ALL = 0.6
"""Share of all its content words, the question's included, that window and heading must hold."""
_WINDOW = 3
_MARKER = re.compile(
    r"\s*[\[(](?:passages?\s*|source\s*|number\s*=?\s*)?\"?(\d{1,2}(?:\s*[,;]\s*\d{1,2})*)\"?[\])]", re.I
)


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer after checking."""

    text: str
    """The answer with verified markers only: `[n]` after each supported sentence."""
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class _Claim:
    text: str
    cited: tuple[int, ...]
    """0-based hit indexes as the model cited them."""
    start: int
    end: int


def check(answer: str, hits: Sequence[Hit], *, question: str = "") -> Checked:
    """Verify each sentence of an answer against the passages it cites, then against the others shown.

    A citation that the cited passage does not bear out is dropped; when another shown passage does bear the sentence
    out, that one is cited instead. A sentence said again is left out; a question is no claim and never supported.
    """
    known = {word.key for word in words(question) if not word.stop}
    prepared = [_Passage(hit) for hit in hits]
    marked: list[Sentence] = []
    citations: list[Citation] = []
    pieces: list[str] = []
    position = 0
    said: set[str] = set()
    for claim in _claims(answer, len(hits)):
        if claim.text in said:
            pieces.append(answer[position : claim.start].rstrip())
            position = claim.end
            continue
        said.add(claim.text)
        order = [*claim.cited, *(index for index in range(len(hits)) if index not in claim.cited)]
        index, span = next(
            ((index, span) for index in order if (span := prepared[index].support(claim.text, known)) is not None),
            (None, None),
        )
        marker = ""
        if index is not None and span is not None:
            citations.append(citation(hits[index], span, sentence=len(marked)))
            marker = f" [{index + 1}]"
        pieces.append(answer[position : claim.start] + _mark(claim.text, marker))
        position = claim.end
        marked.append(Sentence(claim.text, supported=index is not None))
    text = "".join(pieces) + _MARKER.sub("", answer[position:])
    return Checked(text.strip(), tuple(marked), tuple(citations))


def citation(hit: Hit, span: Span, *, sentence: int) -> Citation:
    """The citation of a span of a hit's chunk; span counts from the chunk's start."""
    chunk = hit.chunk
    return Citation(
        document=chunk.document,
        page=chunk.page,
        start=chunk.start + span.start,
        end=chunk.start + span.end,
        quote=chunk.text[span.start : span.end],
        sentence=sentence,
    )


def _claims(answer: str, passages: int) -> Iterable[_Claim]:
    """Sentences with their markers taken out; a marker belongs to the sentence before it."""
    bare = _MARKER.sub(lambda match: " " * len(match.group()), answer)
    spans = sentences(bare)
    for number, span in enumerate(spans):
        until = spans[number + 1].start if number + 1 < len(spans) else len(answer)
        cited: dict[int, None] = {}
        end = span.end
        for match in _MARKER.finditer(answer, span.start, until):
            end = max(end, match.end())
            for digits in re.findall(r"\d+", match.group(1)):
                if 1 <= int(digits) <= passages:
                    cited[int(digits) - 1] = None
        text = re.sub(r"\s+([.!?,;])", r"\1", re.sub(r"[ \t]+", " ", bare[span.start : span.end])).strip()
        yield _Claim(text, tuple(cited), span.start, end)


def _mark(claim: str, marker: str) -> str:
    """The marker before the closing punctuation."""
    body = claim.rstrip(".!?")
    return f"{body}{marker}{claim[len(body) :]}" if marker else claim


class _Passage:
    """A chunk prepared for alignment."""

    def __init__(self, hit: Hit) -> None:
        self._text = hit.chunk.text
        self._sentences = [span for span in sentences(self._text) if not _is_heading(self._text, span)]
        self._words = [words(self._text[span.start : span.end]) for span in self._sentences]
        self._around = {word.key for part in (hit.chunk.title, *hit.chunk.heading) for word in words(part)}

    def support(self, claim: str, known: set[str]) -> Span | None:
        """The smallest supporting span, or None."""
        if claim.endswith("?"):
            return None
        verbatim = self._verbatim(claim)
        if verbatim is not None:
            return verbatim
        said = words(claim)
        content = {word.key for word in said if not word.stop}
        if not content:
            return None
        numbers = {word.key for word in said if word.number and not word.stop}
        own = (content - known) or content
        for width in range(1, _WINDOW + 1):
            best: tuple[float, Span] | None = None
            contradicted = False
            for first in range(len(self._sentences) - width + 1):
                window = [word for part in self._words[first : first + width] for word in part]
                keys = {word.key for word in window}
                if not numbers <= keys or len(own & keys) < COVERAGE * len(own):
                    continue
                if len(content & (keys | self._around)) < COVERAGE_ALL * len(content):
                    continue
                if not _agree_on_negation(said, window, content):
                    contradicted = True
                    continue
                covered = len(content & keys) / len(content)
                if best is None or covered > best[0]:
                    best = covered, Span(self._sentences[first].start, self._sentences[first + width - 1].end)
            if best is not None or contradicted:
                return best[1] if best is not None else None
        return None

    def _verbatim(self, claim: str) -> Span | None:
        """The sentences a literal quotation stands in; not when words just before it negate it."""
        said = words(claim)
        needle = r"\s+".join(re.escape(part) for part in claim.strip(" \"'“”.").split())
        if not needle or all(word.stop for word in said):
            return None
        match = re.search(rf"(?<!\w){needle}(?!\w)", self._text, re.IGNORECASE)
        if match is None:
            return None
        inside = [span for span in self._sentences if span.start < match.end() and match.start() < span.end]
        if not inside:
            return Span(match.start(), match.end())
        before = words(self._text[inside[0].start : match.start()])[-3:]
        if any(word.negation for word in before) and not any(word.negation for word in said):
            return None
        return Span(min(match.start(), inside[0].start), max(match.end(), inside[-1].end))


def _agree_on_negation(said: Sequence[Word], window: Sequence[Word], content: set[str]) -> bool:
    """The narrowest stretch of the window that holds the claim's words negates exactly when the claim does."""
    negated = any(word.negation for word in said)
    first, last = _narrowest([word.key for word in window], content)
    return any(word.negation for word in window[max(0, first - (3 if negated else 2)) : last]) == negated


def _is_heading(text: str, span: Span) -> bool:
    return text.rfind("#", text.rfind("\n", 0, span.start) + 1, span.start) >= 0


def _narrowest(keys: Sequence[str], wanted: set[str]) -> tuple[int, int]:
    """The shortest run of keys holding every wanted key that occurs at all, as (start, end)."""
    needed = wanted & set(keys)
    best = (0, len(keys))
    counts: dict[str, int] = {}
    start = 0
    for end, key in enumerate(keys, start=1):
        if key in needed:
            counts[key] = counts.get(key, 0) + 1
        while len(counts) == len(needed) and start < end:
            if end - start < best[1] - best[0]:
                best = (start, end)
            left = keys[start]
            if left in counts:
                counts[left] -= 1
                if counts[left] == 0:
                    del counts[left]
            start += 1
    return best
