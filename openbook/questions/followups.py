"""Questions in, a share of them turned into the second turn of a conversation out. Knows no rule of grammar.

The first question about a subject and its answer become the history; the second names the subject by a pronoun.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from openbook.metrics import contains
from openbook.questions.draft import Made
from openbook.records import Case, Message


def turned(made: Sequence[Made], share: float, seed: int) -> list[Case]:
    """The cases in order, about `share` of them as follow-ups; fewer when few subjects are asked about twice."""
    subjects: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, one in enumerate(made):
        if one.draft.subject and not one.case.history:
            subjects[one.case.spans[0].document, one.draft.subject.lower()].append(at)
    pairs: list[tuple[int, int]] = []
    for group in subjects.values():
        shuffled = group[:]
        random.Random(f"{seed} {made[group[0]].case.id}").shuffle(shuffled)
        for first in shuffled:
            second = next((at for at in shuffled if at != first and _follows(made[first], made[at])), None)
            if second is not None:
                pairs.append((first, second))
                break
    random.Random(seed).shuffle(pairs)
    wanted = round(share * len(made))
    history = {second: first for first, second in pairs[:wanted]}
    return [_turned(one, made[history[at]]) if at in history else one.case for at, one in enumerate(made)]


def _follows(first: Made, second: Made) -> bool:
    told = f"{first.case.question} {first.case.gold[0]}"
    return bool(second.draft.short) and not contains(told, second.case.gold)


def _turned(one: Made, before: Made) -> Case:
    answer = before.case.gold[0]
    said = answer[:1].upper() + answer[1:] + ("" if answer.endswith((".", "!", "?")) else ".")
    history = (Message("user", before.case.question), Message("assistant", said))
    return replace(one.case, question=one.draft.short, history=history)
