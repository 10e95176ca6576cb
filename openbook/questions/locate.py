"""Questions with answers in, the places where the library holds the answers out. Knows no rule that makes questions.

A quote or answer is looked for as it stands, then with white space, case, quotation marks and Markdown emphasis evened
out. Without a named document the whole library is searched, and the chunks that share most words with the question win.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import lru_cache

from openbook.prose import content
from openbook.questions.given import Given
from openbook.questions.shelf import Shelf
from openbook.records import Case, Chunk, Span
from openbook.seams import Library

_NEAR = 0.8
"""Chunks that share at least this much of the best chunk's share of the question's words count too."""
_LEAST = 0.3
"""Share of the question's words a chunk must hold beside the answer."""
_MOST = 8
"""Spans of one case."""
_NEEDS_ANSWER = ("answerable", "conflict", "fresh", "late")


def locate(
    cases: Sequence[Case], library: Library, *, groups: Sequence[str] = (), version: int | None = None
) -> tuple[list[Case], tuple[str, ...]]:
    """(the cases with spans, notes). Cases that cannot be found come back without spans, with a note; none is lost.

    groups: whose documents count beside those open to all. version: of the library; None is the newest.
    Cases that have spans keep those that still exist there. Unanswerable cases and those with passages of their own
    (`contexts`) are left as they are.
    """
    finder = _Finder(Shelf(library, groups=groups, version=version))
    found: list[Case] = []
    notes: list[str] = []
    for number, case in enumerate(cases, 1):
        label = getattr(case, "place", "") or case.id or f"question {number}"
        placed = case
        if case.kind in _NEEDS_ANSWER and case.gold and not case.contexts:
            placed, said = finder.placed(case)
            notes += [f"{label}: {one}" for one in said]
        found.append(_bare(placed))
    return found, tuple(notes)


def _bare(case: Case) -> Case:
    """A plain Case: where the user said it stands has served."""
    return Case(**{field.name: getattr(case, field.name) for field in fields(Case)})


class _Finder:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._names = {info.name for info in shelf.infos}
        self._text = lru_cache(maxsize=512)(self._read)
        self._flat = lru_cache(maxsize=4096)(lambda name: _flat(self._text(name)))
        self._words = lru_cache(maxsize=20000)(content)

    def _read(self, name: str) -> str:
        document = self._shelf.document(name)
        return document.text if document is not None else ""

    def placed(self, case: Case) -> tuple[Case, list[str]]:
        notes: list[str] = []
        sources = case.sources if isinstance(case, Given) else ()
        if case.spans and not sources:
            spans = [span for span in case.spans if span.document in self._names and self._holds(span, case.gold)]
            if len(spans) < len(case.spans):
                notes.append(
                    f"{len(case.spans) - len(spans)} of its passages no longer exist in library version "
                    f"{self._shelf.version}; they are left out"
                )
            if spans:
                return replace(case, spans=tuple(spans)), notes
        spans = []
        for name, quote in sources:
            spans += self._named(name, quote, case, notes)
        if not sources:
            spans = self._searched(case, notes)
        spans = list(dict.fromkeys(spans))[:_MOST]
        documents = dict.fromkeys(span.document for span in spans)
        if len(documents) > 1 and not sources:
            notes.append(
                f"the answer stands in {len(documents)} documents, all of which count: "
                f"{', '.join(map(repr, documents))}"
            )
        return replace(case, spans=tuple(spans)), notes

    def _holds(self, span: Span, gold: Sequence[str]) -> bool:
        held = _evened(self._text(span.document)[span.start : span.end])[0]
        return any(_evened(one)[0] in held for one in gold)

    def _named(self, name: str, quote: str, case: Case, notes: list[str]) -> list[Span]:
        if not name:
            near = [one for one in self._all() if _flat(quote) in self._flat(one)]
            found = [Span(one, *place) for one in near if (place := find(quote, self._text(one)))]
            if not found:
                notes.append(f"the quote {quote[:60]!r} stands in no document; mend or remove it")
            return [self._narrowed(span, case.gold) for span in found]
        known = self._known(name)
        if known is None:
            closed = name in self._shelf.closed
            reason = (
                "is not open to these groups (reading.groups)"
                if closed
                else "is not in the library; sync it or mend the name"
            )
            notes.append(f"document {name!r} {reason}")
            return []
        text = self._text(known)
        if quote:
            place = find(quote, text)
            if place is None:
                notes.append(f"the quote {quote[:60]!r} no longer stands in {known!r}; update or remove it")
                return []
            return [self._narrowed(Span(known, *place), case.gold)]
        spans = self._best(case, [known], demand=0.0)
        if not spans:
            notes.append(
                f"no answer, like {case.gold[0][:60]!r}, stands in {known!r}; "
                "give the words of the document as an alternative"
            )
        return spans[:1]

    def _searched(self, case: Case, notes: list[str]) -> list[Span]:
        spans = self._best(case, self._all(), demand=_LEAST)
        if not spans:
            notes.append(
                f"the answer {case.gold[0][:60]!r} was not found in the library; "
                "name a document and quote, or give the words of the documents as an alternative"
            )
        return spans

    def _all(self) -> list[str]:
        return [info.name for info in self._shelf.infos]

    def _known(self, name: str) -> str | None:
        """The document of this name, or the only one of which one path ends in the other."""
        if name in self._names:
            return name
        bare = name.lstrip("/")
        ending = [one for one in self._names if one.endswith(f"/{bare}") or bare.endswith(f"/{one}")]
        return ending[0] if len(ending) == 1 else None

    def _narrowed(self, span: Span, gold: Sequence[str]) -> Span:
        """The answer within the quote where it stands there, else the quote."""
        inside = self._text(span.document)[span.start : span.end]
        place = next((place for one in gold if (place := find(one, inside))), None)
        return Span(span.document, span.start + place[0], span.start + place[1]) if place else span

    def _best(self, case: Case, names: Sequence[str], *, demand: float) -> list[Span]:
        wanted = content(case.question) - content(" ".join(case.gold))
        scored: list[tuple[float, Span]] = []
        for name in names:
            if not any(_flat(one) in self._flat(name) for one in case.gold):
                continue
            text = self._text(name)
            chunks = self._shelf.chunks(name)
            for start, end in _everywhere(case.gold, text):
                shared = max(
                    (self._share(wanted, chunk) for chunk in chunks if chunk.start <= start and end <= chunk.end),
                    default=0.0,
                )
                scored.append((shared, Span(name, start, end)))
        scored = [(shared, span) for shared, span in scored if shared >= demand]
        best = max((shared for shared, _ in scored), default=0.0)
        chosen: dict[str, tuple[float, Span]] = {}
        for shared, span in scored:
            if shared >= _NEAR * best and shared > chosen.get(span.document, (-1.0, span))[0]:
                chosen[span.document] = (shared, span)
        return [span for _, span in sorted(chosen.values(), key=lambda one: (-one[0], one[1].document))]

    def _share(self, wanted: set[str], chunk: Chunk) -> float:
        return len(wanted & self._words(chunk.indexed_text)) / len(wanted) if wanted else 1.0


def find(quote: str, text: str) -> tuple[int, int] | None:
    """Where a quote first stands: as it is, else evened; None when it does not.

    >>> find("two  WORDS", "one two **words** three")
    (4, 15)
    """
    return next(_everywhere([quote], text), None)


def _everywhere(wanted: Sequence[str], text: str) -> Iterator[tuple[int, int]]:
    """The places of the first alternative that stands in the text, as whole words."""
    for one in wanted:
        exact = [(match.start(), match.end()) for match in _pattern(one).finditer(text)] if one else []
        if exact:
            yield from exact
            return
    even, places = _evened(text)
    for one in wanted:
        key = _evened(one)[0]
        hits = (
            [(places[match.start()], places[match.end() - 1] + 1) for match in _pattern(key).finditer(even)]
            if key
            else []
        )
        if hits:
            yield from hits
            return


def _pattern(text: str) -> re.Pattern[str]:
    left = r"(?<!\w)" if text[:1].isalnum() else ""
    right = r"(?!\w)" if text[-1:].isalnum() else ""
    return re.compile(left + re.escape(text) + right)


_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u00a0": " "})
_FLAT = {**_QUOTES, **dict.fromkeys(map(ord, "*_`İ"))}


def _flat(text: str) -> str:
    """The same as `_evened` without offsets, quickly."""
    return " ".join(text.translate(_FLAT).lower().split())


@lru_cache(maxsize=32)
def _evened(text: str) -> tuple[str, tuple[int, ...]]:
    """Lower case, single spaces, plain quotation marks, no emphasis, with the offset of each character that is left."""
    kept: list[str] = []
    places: list[int] = []
    for at, char in enumerate(text.translate(_QUOTES)):
        if char in "*_`":
            continue
        lower = " " if char.isspace() else char.lower()
        if len(lower) != 1 or (lower == " " and (not kept or kept[-1] == " ")):
            continue
        kept.append(lower)
        places.append(at)
    while kept and kept[-1] == " ":
        kept.pop()
        places.pop()
    return "".join(kept), tuple(places)
