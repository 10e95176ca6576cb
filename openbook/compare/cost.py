"""Measured seconds, tokens and outcomes and a price sheet in; what each arm costs out. Knows no model and no file.

Over `months` an arm costs `one_time + months * (hosting + updates_month * update + questions_month * question)`. Beside
that money stands what people pay for what was not answered acceptably: each such question is done again by a person,
and a wrong answer or a refusal may do damage. With both, every question ends settled, so that arms of different quality
can be compared and an arm that is never right has a finite price.

The section "cost" holds

    currency, use {questions_month, updates_month, months}, prices [{name, value, unit, source, date}]
    arms {arm: {one_time {parse, embed, label, train, evaluate, total}, update {machine, label, total, how},
                question, thousand_questions, hosting_month, total, total_settled,
                acceptable, wrong, refused (shares), acceptable_answer (None: it never is), acceptable_answer_low,
                acceptable_answer_high, settled_question, good_enough (None: no bar measured),
                unmeasured [what counts as 0 for now]}}
    cheapest, cheapest_settled    arm of the four or None, the first only among those that reach the bar
    curve {questions {x, updates_month, arms {arm: totals}, settled {arm: totals}}, updates {x, questions_month, arms,
           settled}}              totals over `months` against questions and updates a month
    break_even, break_even_settled {arm: {against, questions, verdict, reason, sentence}}
    pairs [{arm, against, ...}]   the same for every ordered pair of the four
    sensitivity [{input, unit, changes, values [{factor, cheapest, cheapest_settled, break_even {arm: questions or
                  verdict}}]}]
    notes [sentences]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import permutations
from math import ceil, floor
from typing import Any, Literal

from openbook.compare.prices import UNITS, Prices
from openbook.compare.schema import FOUR
from openbook.compare.spent import COSTED, Measured, Spent, measured, outcomes
from openbook.compare.wording import arm

__all__ = ["COSTED", "Measured", "Spent", "break_even", "cost", "measured", "of_arm", "outcomes"]

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
QUESTIONS = tuple(round(10 ** (1 + step / 4)) for step in range(21))
"""Questions a month of the curve: 10 to a million."""
UPDATES = (0, 1, 2, 4, 8, 15, 30, 60, 120)


@dataclass(frozen=True, slots=True)
class Line:
    """What an arm costs over the months of the sheet: fixed + questions a month * question."""

    fixed: float
    question: float

    def total(self, questions: float) -> float:
        """With so many questions a month."""
        return self.fixed + questions * self.question


Verdict = Literal["always", "from", "until", "never", "unknown"]


def break_even(one: Line, other: Line) -> tuple[Verdict, int | None]:
    """At which questions a month `one` costs at most as much as `other`: from so many on, until so many, or not.

    Exact in the given numbers.

    >>> break_even(Line(100.0, 0.5), Line(0.0, 1.0))
    ('from', 200)
    >>> break_even(Line(100.0, 1.0), Line(0.0, 1.0))
    ('never', None)
    >>> break_even(Line(0.0, 1.0), Line(100.0, 0.5))
    ('until', 200)
    """
    ahead = Fraction(one.fixed) - Fraction(other.fixed)
    saved = Fraction(other.question) - Fraction(one.question)
    if saved >= 0:
        if ahead <= 0:
            return "always", 0
        return ("from", ceil(ahead / saved)) if saved else ("never", None)
    return ("never", None) if ahead > 0 else ("until", floor(ahead / saved))


def cost(found: Measured, prices: Prices) -> dict[str, Any]:
    """The section "cost", see the module."""
    lines = {spent.arm: _lines(spent, found, prices) for spent in found.arms}
    arms = {spent.arm: _arm(spent, found, prices, lines[spent.arm]) for spent in found.arms}
    questions = prices.questions_month
    return {
        "currency": prices.currency,
        "use": {name: prices.value(name) for name in ("questions_month", "updates_month", "months")},
        "prices": prices.rows(),
        "arms": arms,
        "cheapest": _cheapest(found, prices),
        "cheapest_settled": _cheapest(found, prices, settled=True),
        "curve": _curve(found, prices),
        "break_even": _break_evens(found, prices, settled=False),
        "break_even_settled": _break_evens(found, prices, settled=True),
        "pairs": [
            {"arm": one.arm, **_against(one, other, found, prices, settled=False)}
            for one, other in permutations([spent for spent in found.arms if spent.arm in FOUR], 2)
        ],
        "sensitivity": _sensitivity(found, prices),
        "notes": _notes(found, prices, questions),
    }


def of_arm(section: Mapping[str, Any], arm: str) -> dict[str, float]:
    """What ArmReport.cost holds, from the section; {} where the arm has no price."""
    found = section.get("arms", {}).get(arm)
    if found is None:
        return {}
    figures = {
        "one_time": found["one_time"]["total"],
        "update": found["update"]["total"],
        "thousand_questions": found["thousand_questions"],
        "acceptable_answer": found["acceptable_answer"],
        "settled_question": found["settled_question"],
    }
    return {name: value for name, value in figures.items() if value is not None}


def _hours(seconds: float | None, price: float) -> float:
    return (seconds or 0.0) / 3600 * price


def _one_time(spent: Spent, found: Measured, prices: Prices) -> dict[str, float]:
    minute = prices.labour_hour / 60
    parts = {
        "parse": _hours(spent.parse_seconds, prices.machine_hour),
        "embed": _hours(spent.embed_seconds, prices.machine_hour),
        "label": minute * (spent.labelled * prices.example_minutes + spent.reviewed * prices.review_minutes),
        "train": _hours(spent.train_seconds, prices.value("training_hour")) * prices.trainings
        if spent.trained
        else 0.0,
        "evaluate": minute * (found.cases_written * prices.case_minutes + found.cases_reviewed * prices.review_minutes)
        + _check(spent, prices),
    }
    return {**parts, "total": sum(parts.values())}


def _check(spent: Spent, prices: Prices) -> float:
    """Asking the arm all cases once."""
    if not spent.endpoint:
        return _hours(spent.evaluate_seconds, prices.machine_hour)
    return spent.questions * _question(spent, prices)


def _update(spent: Spent, prices: Prices) -> dict[str, Any]:
    again = 1.0 if spent.trained and not spent.searches else prices.retrain_share if spent.trained else 0.0
    machine, how = 0.0, "nothing changes what it knows"
    if spent.searches:
        whole = (spent.parse_seconds or 0.0) + (spent.embed_seconds or 0.0)
        share = whole / spent.documents if spent.documents else 0.0
        seconds = spent.update_seconds if spent.update_seconds is not None else share
        machine = _hours(seconds, prices.machine_hour)
        how = "sync, measured" if spent.update_seconds is not None else "sync, one document's share of the library"
    if again:
        machine += again * _hours(spent.train_seconds, prices.value("training_hour"))
        how = "new examples and training again" if not spent.searches else f"{how}; training again after some"
    label = again * prices.update_examples * prices.example_minutes * prices.labour_hour / 60
    check = _check(spent, prices) if spent.searches or again else 0.0
    return {"machine": machine + check, "label": label, "total": machine + check + label, "how": how}


def _question(spent: Spent, prices: Prices) -> float:
    tokens = spent.prompt_tokens * prices.prompt_million + spent.answer_tokens * prices.answer_million
    return _hours(spent.question_seconds, prices.machine_hour) + (tokens / 1e6 if spent.endpoint else 0.0)


def _damage(spent: Spent, prices: Prices) -> float:
    return spent.wrong * prices.wrong_answer + spent.refused * prices.refusal


def _settled(spent: Spent, prices: Prices) -> float:
    """A question with doing again what was not acceptable, and the damage."""
    again = (spent.wrong + spent.refused) * prices.redo_minutes * prices.labour_hour / 60
    return _question(spent, prices) + _damage(spent, prices) + again


def _lines(spent: Spent, found: Measured, prices: Prices) -> tuple[Line, Line]:
    """Of money, and with what people pay for what was not acceptable."""
    monthly = _hosting(spent, prices) + prices.updates_month * _update(spent, prices)["total"]
    fixed = _one_time(spent, found, prices)["total"] + prices.months * monthly
    return Line(fixed, prices.months * _question(spent, prices)), Line(fixed, prices.months * _settled(spent, prices))


def _hosting(spent: Spent, prices: Prices) -> float:
    local = not spent.endpoint and spent.arm != "extractive"
    return prices.hosting_month * local + prices.index_month * spent.searches


def _arm(spent: Spent, found: Measured, prices: Prices, lines: tuple[Line, Line]) -> dict[str, Any]:
    question = _question(spent, prices)
    paid = question + _damage(spent, prices)
    return {
        "one_time": _one_time(spent, found, prices),
        "update": _update(spent, prices),
        "question": question,
        "thousand_questions": 1000 * question,
        "hosting_month": _hosting(spent, prices),
        "total": lines[0].total(prices.questions_month),
        "total_settled": lines[1].total(prices.questions_month),
        "acceptable": spent.acceptable,
        "wrong": spent.wrong,
        "refused": spent.refused,
        "acceptable_answer": paid / spent.acceptable if spent.acceptable else None,
        "acceptable_answer_low": paid / spent.acceptable_high if spent.acceptable_high else None,
        "acceptable_answer_high": paid / spent.acceptable_low if spent.acceptable_low else None,
        "settled_question": _settled(spent, prices),
        "good_enough": _good(spent, found),
        "unmeasured": list(_unmeasured(spent)),
    }


def _good(spent: Spent, found: Measured) -> bool | None:
    if found.bar is None or spent.quality is None:
        return None
    return spent.quality >= found.bar


def _unmeasured(spent: Spent) -> Iterable[str]:
    if spent.question_seconds is None:
        yield "questions"
    if spent.searches and spent.parse_seconds is None:
        yield "parsing"
    if spent.searches and spent.embed_seconds is None:
        yield "embedding"
    if spent.trained and spent.train_seconds is None:
        yield "training"


def _cheapest(found: Measured, prices: Prices, *, settled: bool = False) -> str | None:
    able = [
        spent
        for spent in found.arms
        if spent.arm in FOUR and not list(_unmeasured(spent)) and _eligible(spent, found, settled)
    ]
    totals = {one.arm: _lines(one, found, prices)[settled].total(prices.questions_month) for one in able}
    return min(totals, key=lambda arm: totals[arm]) if totals else None


def _eligible(spent: Spent, found: Measured, settled: bool) -> bool:
    return spent.questions > 0 if settled else _good(spent, found) is not False


def _against(one: Spent, other: Spent, found: Measured, prices: Prices, *, settled: bool) -> dict[str, Any]:
    """From which volume on one is cheaper than other, in words too."""
    said: dict[str, Any] = {"against": other.arm, "questions": None}
    me, they = arm(one.arm), arm(other.arm)
    open_parts = [f"{part} of {arm(spent.arm)}" for spent in (one, other) for part in _unmeasured(spent)]
    if open_parts:
        reason = f"not measured: {', '.join(open_parts)}"
        return {**said, "verdict": "unknown", "reason": reason, "sentence": f"{me} against {they}: {reason}"}
    if not settled and _good(one, found) is False:
        reason = f"it does not reach the bar, {one.quality:.2f} where {found.bar:.2f} are wanted"
        return {**said, "verdict": "never", "reason": reason, "sentence": f"{me} never pays: {reason}"}
    mine, theirs = (_lines(spent, found, prices)[settled] for spent in (one, other))
    verdict, questions = break_even(mine, theirs)
    if verdict == "until" and not questions:
        verdict, questions = "never", None
    updates = f"{prices.updates_month:g} update{'' if prices.updates_month == 1 else 's'}"
    use = f"{updates} a month over {prices.months:g} months"
    if settled:
        use += ", people doing again what fails"
    a_month = f"{questions or 0:,} questions a month"
    more = "more" if mine.question > theirs.question else "no less"
    keep = "more" if mine.fixed > theirs.fixed else "as much"
    sentence, reason = {
        "always": (f"{me} never costs more than {they}", "it costs no more to keep and no more a question"),
        "from": (f"{me} costs less than {they} from {a_month} on", "it saves with every question"),
        "until": (f"{me} costs less than {they} up to {a_month}", "it costs more a question"),
        "never": (f"{me} never costs less than {they}", f"it costs {more} a question and {keep} to keep"),
        "unknown": ("", ""),
    }[verdict]
    return {
        **said,
        "questions": questions,
        "verdict": verdict,
        "reason": reason,
        "sentence": f"{sentence} ({use}): {reason}{_but(other, found, settled)}",
    }


def _but(other: Spent, found: Measured, settled: bool) -> str:
    """What a saving against an arm that nobody would ship is worth."""
    return f"; but {arm(other.arm)} does not reach the bar" if not settled and _good(other, found) is False else ""


def _break_evens(found: Measured, prices: Prices, *, settled: bool) -> dict[str, dict[str, Any]]:
    """Every arm against rag, and rag against base: what a team would otherwise ship."""
    by_name = {spent.arm: spent for spent in found.arms}
    said = {}
    for name, spent in by_name.items():
        other = by_name.get("rag" if name != "rag" else "base") or by_name.get("base")
        if other is not None and other is not spent:
            said[name] = _against(spent, other, found, prices, settled=settled)
    return said


def _curve(found: Measured, prices: Prices) -> dict[str, Any]:
    def drawn(sheets: Iterable[tuple[Prices, float]]) -> dict[str, dict[str, list[float]]]:
        made: dict[str, dict[str, list[float]]] = {"arms": {}, "settled": {}}
        for sheet, questions in sheets:
            for spent in found.arms:
                for name, line in zip(("arms", "settled"), _lines(spent, found, sheet), strict=True):
                    made[name].setdefault(spent.arm, []).append(line.total(questions))
        return made

    return {
        "questions": {
            "x": list(QUESTIONS),
            "updates_month": prices.updates_month,
            **drawn((prices, float(many)) for many in QUESTIONS),
        },
        "updates": {
            "x": list(UPDATES),
            "questions_month": prices.questions_month,
            **drawn((replace(prices, updates_month=float(many)), prices.questions_month) for many in UPDATES),
        },
    }


def _sensitivity(found: Measured, prices: Prices) -> list[dict[str, Any]]:
    """The winner and the break-evens with each number of the sheet a tenth to ten times as large."""
    said = []
    for name in UNITS:
        if not prices.value(name) or (name == "training_hour" and prices.training_hour is None):
            continue
        values = []
        for factor in FACTORS:
            sheet = prices.scaled(name, factor)
            values.append(
                {
                    "factor": factor,
                    "cheapest": _cheapest(found, sheet),
                    "cheapest_settled": _cheapest(found, sheet, settled=True),
                    "break_even": {
                        arm: one["questions"] if one["verdict"] == "from" else one["verdict"]
                        for arm, one in _break_evens(found, sheet, settled=False).items()
                    },
                }
            )
        winners = {(one["cheapest"], one["cheapest_settled"]) for one in values}
        unit = UNITS[name][0]
        said.append({"input": name, "unit": unit, "changes": len(winners) > 1, "values": values})
    return said


def _notes(found: Measured, prices: Prices, questions: float) -> list[str]:
    notes = []
    if not prices.own:
        notes.append("the prices are defaults and example values; give your own sheet with --prices")
    for spent in found.arms:
        missing = list(_unmeasured(spent))
        if missing:
            notes.append(f"not measured for {arm(spent.arm)}, so counted as nothing: {', '.join(missing)}")
        busy = questions * (spent.question_seconds or 0.0) / (730 * 3600)
        if busy > 1:
            notes.append(f"{questions:g} questions a month keep {ceil(busy)} such machines busy with {arm(spent.arm)}")
    return notes
