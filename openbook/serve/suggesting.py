"""A library in, a few questions out that its documents answer, for people who do not know yet what to ask.

Made by the rules that make training questions (openbook.questions), from the caller's own documents only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from openbook.errors import LibraryError
from openbook.questions import english, filters
from openbook.questions.build import drafts
from openbook.records import Case, DocumentInfo
from openbook.seams import Library

READ = 40
"""Documents read at most, evenly from all."""
LONGEST = 200_000
"""Characters of a document read at most: these must be here at once."""
_FORMS = {"faq": 0, "question": 0, "heading": 1}
_WORDS = range(4, 15)
"""Of a question that is pleasant to read on a button."""
_BEGINS = ("What ", "How ", "When ", "Where ", "Who ", "Which ", "Why ", "Can ", "Do ", "Does ", "Is ", "Are ")


def suggest(
    library: Library, infos: Sequence[DocumentInfo], answered: Callable[[Case], bool], *, most: int = 4
) -> list[str]:
    """At most `most` questions, each of another document of `infos`, the natural ones first.

    `answered` says whether a question finds its answer; those that do not are left out.
    """
    made = []
    for place, info in enumerate(infos[:: max(1, len(infos) // READ)][:READ]):
        try:
            made += [(form, place, case) for form, case in _of(library, info)]
        except LibraryError:
            continue
    chosen: dict[int, str] = {}
    for _, place, case in sorted(made, key=lambda one: one[0]):
        if len(chosen) == most:
            break
        if place not in chosen and case.question not in chosen.values() and answered(case):
            chosen[place] = case.question
    return list(chosen.values())


def _of(library: Library, info: DocumentInfo) -> list[tuple[int, Case]]:
    document = library.document(info.name)
    if document is None or len(document.text) > LONGEST:
        return []
    chunks = [chunk for _, chunk in library.chunks_of(info.name)]
    good = []
    for draft in drafts(document, native=english.is_english(document.text)):
        if draft.form not in _FORMS or not draft.question.startswith(_BEGINS):
            continue
        case = filters.case(draft, document, chunks, Counter())
        if case is not None and len(case.question.split()) in _WORDS:
            good.append((_FORMS[draft.form], replace(case, question=_eased(case.question))))
    return sorted(good, key=lambda one: (one[0], len(one[1].question)))[:4]


def _eased(question: str) -> str:
    """A question from a heading as a person would put it."""
    match = re.fullmatch(r'What do the documents say about "(.+)"\?', question)
    return f"What should I know about {match.group(1)}?" if match else question
