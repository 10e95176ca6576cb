"""A case and one arm's row in, its scores out: only metrics that apply, always numbers, no model asked.

Content counts wherever it stands in the reply, but not among many others: see `correct`. Citation marks are the
product's own and are taken out before words are compared. What is decided here is told in docs/compare.md.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from openbook.compare import citations, plain, style
from openbook.compare.citations import unmarked
from openbook.compare.formats import Contract
from openbook.compare.invention import invention
from openbook.compare.schema import Row
from openbook.compare.style import TELLS, StyleModel
from openbook.errors import CompareError
from openbook.metrics import exact_match, token_f1
from openbook.prose import content, sentences, words
from openbook.records import Answer, Case, Message

Task = Callable[[str, str, Sequence[Message]], float]

BAR = 0.5
"""What the task score of an acceptable reply reaches, where the team names no other."""
LONGEST = 80
"""Words of a right answer, or four times its gold answer's: what is longer dumps passages."""
LISTED = 6
"""Numbers of a right answer that neither gold nor question hold: what has more tries its luck."""
_WHOLE = 5
"""Content words from which on a gold answer is a statement, which other words may tell."""
_COVERED = 0.8
_WORD_ALONE = re.compile(r"\b(yes|no)\b(?=\s*(?:[.,;:!–—-]|$))", re.I)
_DENIED = re.compile(r"\b(?:not|never|no|rather than|instead of)\b|n['’]t\b", re.I)
_SET_RIGHT = re.compile(
    r"\b(?:actually|in fact|incorrect|wrong|mistaken|not (?:correct|true|accurate)|premise)\b", re.I
)
_BEFORE = 30
"""Characters before a value within which a denial is about it."""
_FACTS = ("answerable", "fresh", "late", "general")
_READING = ("rag", "tuned+rag", "extractive")
"""Arms of an Answer that are shown passages."""


def score(
    case: Case, row: Row, *, contract: Contract | None = None, task: Task | None = None, bar: float = BAR
) -> dict[str, float]:
    """The row's metrics by name of METRICS, each in [0, 1]; {} where there is no answer.

    `task` scores a reply to a conversation against its reference; with `bar` it decides what is acceptable there.
    Raises CompareError when `task` answers with something else than a number in [0, 1].
    """
    answer = row.answer
    if answer is None:
        return {}
    if case.kind == "behaviour":
        return _behaviour(case, row.arm, answer, contract, task, bar)
    refused = answer.abstained or plain.declines(answer.text)
    found: dict[str, float] = {}
    if answer.arm in _READING:
        found |= citations.score(case, answer, refused=refused)
    if case.stale:
        found["stale"] = float(stale(case, answer.text))
    if not case.gold:
        found["refusal"] = float((refused or _sets_right(case, answer)) and not found.get("stale"))
        found["acceptable"] = found["refusal"]
    elif case.kind == "conflict":
        found["follows_document"] = float(not refused and correct(case, answer.text))
        found["acceptable"] = found["follows_document"]
    else:
        found |= _facts(case, answer, refused=refused)
    if case.kind != "general":
        made_up = invention(case, replace(answer, text=_besides(answer.text)) if refused else answer)
        found["invention"] = 0.0 if refused else made_up.share
        found["invents"] = float(bool(made_up.numbers or made_up.names))
    return found


def score_all(
    cases: Sequence[Case],
    rows: Sequence[Row],
    *,
    contract: Contract | None = None,
    task: Task | None = None,
    style: StyleModel | None = None,
    bar: float = BAR,
    judged: Mapping[tuple[str, str], float] | None = None,
) -> list[Row]:
    """Every row of a known case with its scores, in the rows' order, those of sets of rows included.

    `judged` is what openbook.compare.judge.run gives: (case, arm) -> score.
    """
    known = {case.id: case for case in cases}
    mine = [row for row in rows if row.case in known]
    found = [score(known[row.case], row, contract=contract, task=task, bar=bar) for row in mine]
    for row, scores in zip(mine, found, strict=True):
        case = known[row.case]
        if row.answer is not None and case.kind == "behaviour":
            scores |= _voice(case, row.answer, style)
        if judged is not None and row.answer is not None and (row.case, row.arm) in judged:
            scores["judge"] = judged[row.case, row.arm]
    _consistency(known, mine, found)
    return [replace(row, scores=scores) for row, scores in zip(mine, found, strict=True)]


def correct(case: Case, text: str) -> bool:
    """Whether a reply, no refusal, gives a gold answer as its answer.

    A gold answer stands in it (a statement of five content words or more also when told in other words: its numbers,
    its negation and four fifths of its words), no stale value does, and it is no dump: at most LONGEST words and LISTED
    further numbers.

    >>> fact = Case("How long is the leave?", gold=("15 days",), stale=("10 days",))
    >>> [correct(fact, said) for said in ("Fifteen days.", "It was 10 days, now it is 15 days.", "115 days")]
    [True, False, False]
    """
    text = unmarked(text)
    return not stale(case, text) and not dumps(case, text) and any(says(text, gold) for gold in case.gold)


def says(text: str, gold: str) -> bool:
    """Whether a gold answer stands in a text, or the text tells the statement that it is; of yes and no the first."""
    alone = _WORD_ALONE.search(text)
    if alone and gold.strip().rstrip(".").lower() in ("yes", "no"):
        return alone[1].lower() == gold.strip().rstrip(".").lower()
    if plain.stands(text, [gold]):
        return True
    wanted = content(plain.plain(gold))
    if len(wanted) < _WHOLE or not _quantities_in(text, gold):
        return False
    covered = wanted & content(plain.plain(text))
    return len(covered) >= _COVERED * len(wanted) and _negates(gold) == _negates(text)


def stale(case: Case, text: str) -> bool:
    """Whether a text says a value that no longer holds; within a gold answer it does not count."""
    text = unmarked(text)
    rest = plain.without(text, case.gold)
    for one in case.stale:
        key = plain.plain(one)
        inside = any(f" {plain.plain(gold)} " in f" {key} " for gold in case.gold)
        if key and f" {key} " in f" {plain.plain(text) if inside else rest} ":
            return not any(key == plain.plain(gold) for gold in case.gold)
    return False


def dumps(case: Case, text: str) -> bool:
    """Whether a text says so much that a gold answer in it says nothing."""
    length = max((len(plain.plain(gold).split()) for gold in case.gold), default=0)
    if len(plain.plain(text).split()) > max(LONGEST, 4 * length):
        return True
    known = {value for part in (case.question, *case.gold) for value, _ in plain.quantities(part)}
    return len({value for value, _ in plain.quantities(text)} - known) > LISTED


def _besides(text: str) -> str:
    """What a refusal says in sentences that do not decline: chat models like to answer all the same."""
    return "\n".join(one for span in sentences(text) if not plain.declines(one := text[span.start : span.end]))


def _facts(case: Case, answer: Answer, *, refused: bool) -> dict[str, float]:
    text = unmarked(answer.text)
    right = not refused and correct(case, text)
    found = {
        "answer_correct": float(right),
        "acceptable": float(right),
        "exact_match": max(exact_match(text, gold) for gold in case.gold),
        "token_f1": max(token_f1(text, gold) for gold in case.gold),
        "contains_gold": float(not refused and plain.stands(text, case.gold)),
    }
    if case.kind != "general":
        found["false_refusal"] = float(refused)
    counted = [gold for gold in case.gold if plain.quantities(gold)]
    if counted and len(counted) == len(case.gold):
        found["numbers"] = float(not refused and any(_quantities_in(text, gold) for gold in counted))
    if answer.arm in _READING and case.kind != "general":
        found["answer_and_citation"] = float(right and citations.passage_cited(case, answer))
    return found


def _sets_right(case: Case, answer: Answer) -> bool:
    """Whether a reply to a false premise denies it and gives another value that a passage has.

    The false value is one of the question's that no passage shown has; without passages nothing is set right.
    """
    if case.why != "false-premise":
        return False
    text = unmarked(answer.text)
    asked, said = ({value for value, _ in plain.quantities(part)} for part in (case.question, text))
    shown = {value for hit in answer.hits for value, _ in plain.quantities(hit.chunk.text)}
    false = asked - shown
    if not false or not (said & shown) - asked or dumps(case, text):
        return False
    told = [at.start() for at in re.finditer(r"\d[\d,.]*", text) if {v for v, _ in plain.quantities(at[0])} & false]
    if told:
        return all(_DENIED.search(text[max(0, at - _BEFORE) : at]) for at in told)
    return _SET_RIGHT.search(text) is not None


def _quantities_in(text: str, gold: str) -> bool:
    said = plain.quantities(text)
    return all(
        any(value == wanted and (not unit or unit == near) for value, near in said)
        for wanted, unit in plain.quantities(gold)
    )


def _negates(text: str) -> bool:
    return any(word.negation for word in words(text))


def _behaviour(
    case: Case, arm: str, answer: Answer, contract: Contract | None, task: Task | None, bar: float
) -> dict[str, float]:
    text = unmarked(answer.text)
    found: dict[str, float] = {}
    passed = []
    if contract is not None:
        found["format_valid"] = float(contract.valid(text))
        passed.append(bool(found["format_valid"]))
    if task is not None and case.gold:
        scores = [task(text, gold, (*case.history, Message("user", case.question))) for gold in case.gold]
        for one in scores:
            if not (isinstance(one, int | float) and math.isfinite(one) and 0 <= one <= 1):
                raise CompareError(
                    f"the task score of {arm!r} on case {case.id!r} is {one!r}; mend the metric: it answers in [0, 1]"
                )
        found["behaviour"] = float(max(scores))
        passed.append(found["behaviour"] >= bar)
    if passed:
        found["acceptable"] = float(all(passed))
    return found


def _voice(case: Case, answer: Answer, model: StyleModel | None) -> dict[str, float]:
    text = unmarked(answer.text)
    found = style.habits(text, case.gold[0], model) if case.gold else {}
    if model is not None and model.auc >= TELLS:
        found["style"] = model.probability(text)
    return found


def _consistency(cases: Mapping[str, Case], rows: Sequence[Row], found: Sequence[dict[str, float]]) -> None:
    """Write into each row of a set asked in several ways how far the arm's other answers agree with it."""
    sets: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        if row.answer is not None and cases[row.case].same:
            sets[row.arm, cases[row.case].same].append(at)
    for some in sets.values():
        for at in some:
            others = [other for other in some if rows[other].case != rows[at].case]
            if others:
                found[at]["consistency"] = fmean(_agreement(rows, found, at, other) for other in others)


def _agreement(rows: Sequence[Row], found: Sequence[Mapping[str, float]], one: int, other: int) -> float:
    """1 for two right answers or two refusals, 0 for one of them, else the words that two other answers share."""
    answers = [rows[at].answer for at in (one, other)]
    told = [unmarked(answer.text) for answer in answers if answer is not None]
    refused = [answer.abstained or plain.declines(answer.text) for answer in answers if answer is not None]
    right = [found[at].get("answer_correct", 0.0) == 1.0 for at in (one, other)]
    if any(refused) or any(right):
        return float(all(refused) or all(right))
    return token_f1(told[0], told[1])
