"""Questions in, a share of them turned into the second turn of a conversation out. Knows no rule of grammar.

A question and its answer become the history of another about the same document: one about the same subject names it by
a pronoun, any other goes on with "And".
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from openbook.metrics import contains, evened
from openbook.questions.draft import Made
from openbook.records import Case, Message

_WH = re.compile(r"(?:When|Where|Who|What|Why|How (?:many|much))\b")
_ANSWER = 25
"""Words of the earlier answer, at most."""


def turned(made: Sequence[Made], share: float, seed: int) -> list[Case]:
    """The cases in order, about `share` of them as follow-ups; fewer when few subjects are asked about twice."""
    documents: dict[str, list[int]] = defaultdict(list)
    for at, one in enumerate(made):
        documents[one.case.spans[0].document].append(at)
    pairs: list[tuple[int, int]] = []
    for name, group in documents.items():
        shuffled = group[:]
        random.Random(f"{seed} {name}").shuffle(shuffled)
        used: set[int] = set()
        for named in (True, False):
            for second in shuffled:
                free = [at for at in shuffled if at != second and not used & {at, second}]
                first = next((at for at in free if _follows(made[at], made[second], named=named)), None)
                if first is not None:
                    used |= {first, second}
                    pairs.append((first, second))
    random.Random(seed).shuffle(pairs)
    pairs.sort(key=lambda pair: not _names(made[pair[0]], made[pair[1]]))
    history = {second: first for first, second in pairs[: round(share * len(made))]}
    return [_turned(one, made[history[at]]) if at in history else one.case for at, one in enumerate(made)]


def _follows(first: Made, second: Made, *, named: bool) -> bool:
    """Whether the second can follow the first, which must not tell its answer; `named`: by a pronoun."""
    apart = first.draft.source[1] <= second.draft.source[0] or second.draft.source[1] <= first.draft.source[0]
    if "cloze" in (first.draft.form, second.draft.form) or not apart:
        return False
    told = f"{first.case.question} {first.case.gold[0]}"
    fits = _names(first, second) if named else _WH.match(second.case.question) is not None
    return fits and not contains(told, second.case.gold) and len(first.case.gold[0].split()) <= _ANSWER


def _names(first: Made, second: Made) -> bool:
    """Whether the second has a short wording and the first asks about the same subject."""
    own = evened(first.draft.subject)
    return bool(second.draft.short and own) and own == evened(second.draft.subject)


def _turned(one: Made, before: Made) -> Case:
    answer = before.case.gold[0]
    said = answer[:1].upper() + answer[1:] + ("" if answer.endswith((".", "!", "?")) else ".")
    history = (Message("user", before.case.question), Message("assistant", said))
    asked = one.case.question
    question = one.draft.short if _names(before, one) else f"And {asked[0].lower()}{asked[1:]}"
    return replace(one.case, question=question, history=history)
