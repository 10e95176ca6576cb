"""Cases in, the questions that can be measured out, in a part to choose on and a part to judge on.

Knows which documents there are and who may see them, not how anything is searched.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openbook.errors import OpenbookError
from openbook.records import PUBLIC, Case, Condition, DocumentInfo, Scope

ENOUGH = 20
"""Fewer answerable questions than this show nothing but the largest differences."""
_FAULTS = 4
"""So many are named in the sentence that refuses."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is searched for."""

    case: Case
    question: str
    """With what a follow-up needs of the conversation before it."""
    cluster: str
    """Questions about one document stand or fall together."""
    scope: Scope
    answerable: bool = True

    def hidden(self) -> Asked:
        """The same question with its documents out of sight."""
        unseen = tuple(Condition("document", "!=", glob.escape(name)) for name in documents_of(self.case))
        return Asked(self.case, self.question, self.cluster, Scope(self.scope.groups, unseen), answerable=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """Questions to choose settings on, and questions that judge them once."""

    tune: tuple[Asked, ...]
    held: tuple[Asked, ...]
    tune_unanswerable: tuple[Asked, ...]
    held_unanswerable: tuple[Asked, ...]
    """Both empty when none were given."""
    notes: tuple[str, ...]


def part(
    cases: Sequence[Case],
    infos: Sequence[DocumentInfo],
    *,
    groups: tuple[str, ...],
    divide: Callable[[Sequence[Case]], tuple[list[Case], list[Case]]],
    asked: Callable[[Case], str],
    known: Sequence[str] = (),
) -> Parts:
    """Leave out what cannot be measured, saying so, and divide the rest by document.

    `known` are faults found before. Raises OpenbookError, which tells both, when too few questions are left.
    """
    usable, notes = _usable(cases, infos, groups)
    found = sum(case.kind == "answerable" for case in usable)
    if found < ENOUGH:
        faults = [*known, *notes]
        shown = [*faults[:_FAULTS], *([f"and {len(faults) - _FAULTS} more"] if len(faults) > _FAULTS else [])]
        why = f" ({'; '.join(shown)})" if shown else ""
        raise OpenbookError(
            f"not enough data: {found} questions have their answer located in the library{why} and tuning needs "
            f"{ENOUGH}; give more questions, or make them with --from-library"
        )
    scope = Scope(groups)

    def divided(*, answerable: bool) -> list[tuple[Asked, ...]]:
        # One kind at a time: the few unanswerable ones could all fall on one side.
        some = [case for case in usable if (case.kind == "answerable") == answerable]
        return [
            tuple(Asked(case, asked(case), _cluster(case), scope, answerable) for case in side) for side in divide(some)
        ]

    tune, held = divided(answerable=True)
    tune_unanswerable, held_unanswerable = divided(answerable=False)
    parts = Parts(tune, held, tune_unanswerable, held_unanswerable, tuple(notes))
    smaller = min(len(parts.tune), len(parts.held))
    if smaller < ENOUGH // 4:
        raise OpenbookError(
            f"not enough data: by document the {found} questions divide into {len(parts.tune)} and {len(parts.held)}; "
            "give questions about more documents"
        )
    return parts


def documents_of(case: Case) -> list[str]:
    """The documents that answer a case, sorted."""
    return sorted({span.document for span in case.spans})


def _cluster(case: Case) -> str:
    return next(iter(documents_of(case)), f"question {case.id or case.question}")


def _usable(
    cases: Sequence[Case], infos: Sequence[DocumentInfo], groups: tuple[str, ...]
) -> tuple[list[Case], list[str]]:
    labels = {info.name: set(info.acl) for info in infos}
    seen = {PUBLIC, *groups}
    usable: list[Case] = []
    why: Counter[str] = Counter()
    known: set[tuple[str, object]] = set()
    for case in cases:
        names = documents_of(case)
        if case.kind not in ("answerable", "unanswerable"):
            why["are neither answerable nor unanswerable"] += 1
        elif not case.question.strip():
            why["have no words"] += 1
        elif (key := (case.question.strip(), case.history)) in known:
            why["stand there twice"] += 1
        elif case.kind == "answerable" and not names:
            why["have an answer that is found in no document"] += 1
        elif any(name not in labels for name in names):
            why["are about documents that are gone"] += 1
        elif any(not labels[name] & seen for name in names):
            why["are about documents these groups may not see (--group)"] += 1
        else:
            known.add(key)
            usable.append(case)
    return usable, [f"{count} questions {reason} and are left out" for reason, count in why.most_common()]
