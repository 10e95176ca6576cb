"""Questions in, one of each out; the same question with another answer is refused. Knows no document's text.

Only questions with an equal answer are compared for likeness: questions of one pattern that ask for different things
("How many days of sick leave ...", "... of vacation ...") are alike too, and both are wanted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from openbook.metrics import evened
from openbook.questions.draft import Made

ALIKE = 88.0
"""rapidfuzz token_sort_ratio (0-100) from which two questions with one answer are the same."""


def merged(made: Sequence[Made], rejected: Counter[str]) -> list[Made]:
    """The first of each question; equal ones from other documents add their span to it.

    A question that has different answers in different places is dropped wholly: it cannot be marked.
    """
    from rapidfuzz import fuzz

    answers: dict[str, set[str]] = defaultdict(set)
    for one in made:
        answers[evened(one.case.question)].add(evened(one.case.gold[0]))
    kept: list[Made] = []
    by_answer: dict[str, list[tuple[int, str, set[str]]]] = defaultdict(list)
    for one in made:
        question, answer, about = evened(one.case.question), evened(one.case.gold[0]), _named(one.case.question)
        if len(answers[question]) > 1:
            rejected["the same question has different answers"] += 1
            continue
        alike = (
            at
            for at, other, named in by_answer[answer]
            if about == named and fuzz.token_sort_ratio(question, other, score_cutoff=ALIKE)
        )
        twin = next(alike, None)
        if twin is None:
            by_answer[answer].append((len(kept), question, about))
            kept.append(one)
            continue
        rejected["asked already"] += 1
        known = kept[twin].case
        if one.case.spans[0].document not in {span.document for span in known.spans}:
            kept[twin] = replace(kept[twin], case=replace(known, spans=(*known.spans, *one.case.spans)))
    return kept


def _named(question: str) -> set[str]:
    """The names and numbers in a question: questions about Leeds and about York are never the same."""
    words = question.rstrip("?").split()[1:]
    return {word.strip(".,()\"'") for word in words if word[0].isupper() or word[0].isdigit()}
