"""A library in, questions with their answers' places out: given, from headings, from sentences, from an endpoint.

One version of the library is read throughout. The same library, settings and seed give the same questions.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from openbook.errors import LibraryError
from openbook.metrics import evened
from openbook.prose import sentences
from openbook.questions import cloze, divide, english, filters, followups, headings, inplace, tables
from openbook.questions.draft import Draft, Form, Made, plain
from openbook.questions.duplicates import merged
from openbook.questions.given import Cases
from openbook.questions.locate import locate
from openbook.questions.sentences import ask
from openbook.questions.shelf import Shelf
from openbook.records import Case, Chunk, Document
from openbook.seams import Generator, Library, Progress
from openbook.settings import Reading

FOLLOWUPS = 0.1
"""Share of the questions asked as a follow-up of another."""
SHARES: Mapping[Form, float] = {"cloze": 0.3, "heading": 0.4}
"""Blanks and headings are each at most this share of the questions, where there are enough others."""
_SPARE = 2
"""Questions made per question wanted before the choice; bounds the work on a large library."""
_DOMINATES = 2
"""A document gives at most so many times what the middle one gives, and always up to _FREE."""
_FREE = 12


@dataclass(frozen=True, slots=True)
class Built:
    """Questions, and what became of the others."""

    cases: tuple[Case, ...]
    rejected: Mapping[str, int]
    """Reason -> number of questions refused for it."""
    documents: int
    """Documents that gave at least one question."""
    notes: tuple[str, ...]
    """What a person should know."""
    seconds: float
    version: int = 0
    """Of the library that was read."""
    twins: tuple[tuple[str, ...], ...] = ()
    """Groups of documents that hold largely the same text; for `split`."""
    read: int = 0
    """Documents that were read."""
    foreign: int = 0
    """Of those, documents not in English: only tables, FAQ lines and blanks were made from them."""


def build(
    library: Library,
    *,
    given: Sequence[Case] = (),
    generator: Generator | None = None,
    settings: Reading,
    seed: int = 0,
    progress: Progress | None = None,
    version: int | None = None,
    apart: Collection[str] = (),
) -> Built:
    """Make at most `settings.questions` questions from the documents open to all and to `settings.groups`.

    given: the user's own (`read`), located in the library and put first; they do not count against the limit.
    generator: asked for further questions, checked like the others. progress: called with "questions".
    version: of the library; None is the newest. A library that changes meanwhile is noted, not read.
    apart: documents that no question is made from.
    """
    started = time.perf_counter()
    shelf = Shelf(library, groups=settings.groups, version=version, apart=apart)
    notes = list(given.problems) if isinstance(given, Cases) else []
    own, said = locate(given, library, groups=settings.groups, version=shelf.version) if given else ([], ())
    notes += said
    maker = _Maker(shelf, settings.questions, seed)
    made = maker.run(progress)
    notes += maker.notes
    if generator is not None:
        from openbook.questions.endpoint import asked

        more, told = asked(shelf, generator, settings.questions, seed, maker.rejected, progress)
        made, notes = [*more, *made], [*notes, *told]
    made = merged(_new(made, own, maker.rejected), maker.rejected)
    made = _balanced(made, settings.questions, maker.rejected, seed)
    cases = [*own, *followups.turned(made, FOLLOWUPS, seed)]
    if shelf.moved is not None:
        notes.append(
            f"the library moved from version {shelf.version} to {shelf.moved} meanwhile; "
            f"the questions are of version {shelf.version}"
        )
    return Built(
        tuple(cases),
        {reason: count for reason, count in sorted(maker.rejected.items()) if count},
        len({span.document for case in cases for span in case.spans}),
        (*notes, *_warnings(shelf, cases, maker)),
        time.perf_counter() - started,
        shelf.version,
        divide.twins(maker.sketches),
        len(maker.sketches),
        len(maker.foreign),
    )


class _Maker:
    """Reads document after document, in an order drawn by the seed, until there is enough to choose from."""

    def __init__(self, shelf: Shelf, limit: int, seed: int) -> None:
        self._shelf, self._limit, self._seed = shelf, limit, seed
        self.rejected: Counter[str] = Counter()
        self.notes: list[str] = []
        self.sketches: dict[str, frozenset[int]] = {}
        self.foreign: list[str] = []
        self.dry: list[str] = []

    def run(self, progress: Progress | None) -> list[Made]:
        names = [info.name for info in self._shelf.infos]
        random.Random(self._seed).shuffle(names)
        found: list[Made] = []
        for done, name in enumerate(names):
            if progress is not None:
                progress("questions", min(len(found), self._limit), self._limit)
            if len(found) >= _SPARE * self._limit and done >= min(len(names), self._limit // 4):
                break
            try:
                document, chunks = self._shelf.document(name), self._shelf.chunks(name)
            except LibraryError as error:
                self.notes.append(f"reading stopped after {done} of {len(names)} documents: {error}")
                break
            if document is not None:
                found += self._from(document, chunks)
        if progress is not None and found:
            progress("questions", len(found), len(found))
        return found

    def _from(self, document: Document, chunks: Sequence[Chunk]) -> list[Made]:
        self.sketches[document.name] = divide.sketch(document.text)
        native = english.is_english(document.text)
        if not native and english.has_prose(document.text):
            self.foreign.append(document.name)
        found = []
        for draft in drafts(document, native=native):
            case = filters.case(draft, document, chunks, self.rejected)
            if case is not None:
                found.append(Made(case, draft))
        if not found:
            self.dry.append(document.name)
        return found


def drafts(document: Document, *, native: bool) -> list[Draft]:
    """Everything the rules make of a document, unchecked; without `native` only what needs no English."""
    text = document.text
    made = [*headings.questions(text, document.title, english=native), *tables.questions(text, english=native)]
    common = english.lowered(text) if native else frozenset()
    for span in sentences(text):
        raw = text[span.start : span.end]
        line = text.rfind("\n", 0, span.start) + 1
        if (
            text[line : span.start].lstrip().startswith(("#", "|", "`", "<"))
            or raw.startswith(("|", "`", "<", "#"))
            or "```" in raw
        ):
            continue
        sentence = plain(text, span.start, span.end)
        if not 5 <= len(sentence.text.split()) <= 60:
            continue
        asked = ask(sentence.text, common) if native else []
        taken = {(one.start, one.end) for one in asked}
        if native:
            asked += [one for one in inplace.ask(sentence.text) if (one.start, one.end) not in taken]
        whole = sentence.places[0], sentence.places[-1] + 1
        exact = [one for one in asked if sentence.exact(one.start, one.end)]
        for one in exact:
            made.append(
                Draft(
                    one.question,
                    *sentence.span(one.start, one.end),
                    source=whole,
                    form="question",
                    subject=one.subject,
                    short=one.short,
                )
            )
        if not exact:
            made += [one for one in cloze.cloze(sentence) if not _recurs(text, text[one.start : one.end])]
    return made


def _recurs(text: str, answer: str) -> bool:
    """Whether a name stands again and again in its document: a defined term, which any blank could hold."""
    return answer[0].isupper() and text.count(answer) > 1


def _new(made: Sequence[Made], own: Sequence[Case], rejected: Counter[str]) -> list[Made]:
    """Those the user has not asked already."""
    asked = {evened(case.question) for case in own}
    new = [one for one in made if evened(one.case.question) not in asked]
    rejected["asked already"] += len(made) - len(new)
    return new


def _balanced(made: list[Made], limit: int, rejected: Counter[str], seed: int) -> list[Made]:
    """At most `limit` of them, in turn from each document, blanks last; no document gives far more than others."""
    if not made:
        return []
    shuffled = sorted(made, key=lambda one: one.case.id)
    random.Random(seed).shuffle(shuffled)
    shuffled.sort(key=lambda one: one.draft.form == "cloze")
    piles: dict[str, list[Made]] = defaultdict(list)
    for one in shuffled:
        piles[one.case.spans[0].document].append(one)
    most = max(_FREE, int(_DOMINATES * median(map(len, piles.values()))))
    rank = {one.case.id: place for pile in piles.values() for place, one in enumerate(pile)}
    order = sorted(shuffled, key=lambda one: rank[one.case.id])
    fair = [one for one in order if rank[one.case.id] < most or len(piles) < 3]
    rejected["its document has enough questions"] += len(order) - len(fair)
    others = sum(one.draft.form not in SHARES for one in fair)
    free = 1 - sum(SHARES.values())
    room = {form: limit if others < _FREE else int(others * share / free) for form, share in SHARES.items()}
    chosen = []
    for one in fair:
        form = one.draft.form
        if room.get(form, 1) > 0:
            chosen.append(one)
            room[form] = room.get(form, limit) - (form in SHARES)
        else:
            rejected[f"enough questions of the form {form}"] += 1
    rejected["more than asked for"] += max(0, len(chosen) - limit)
    return chosen[:limit]


def _warnings(shelf: Shelf, cases: Sequence[Case], maker: _Maker) -> list[str]:
    notes = []
    if shelf.closed:
        notes.append(
            f"{len(shelf.closed)} documents are not open to all and were left out; "
            "name groups in reading.groups to learn from them"
        )
    if not shelf.infos:
        notes.append("there is no document to make questions from; sync some first")
    elif len(shelf.infos) < 5:
        notes.append(f"{len(shelf.infos)} documents are few: the held-out part will say little")
    if maker.foreign:
        notes.append(
            f"{len(maker.foreign)} documents are not in English, like {maker.foreign[0]!r}: "
            "only tables, FAQ lines and blanks were made from them"
        )
    if maker.dry:
        notes.append(f"{len(maker.dry)} documents gave no question, like {maker.dry[0]!r}")
    if shelf.infos and not cases:
        notes.append("no question could be made; give your own, or use an endpoint model")
    return notes
