"""Rules that fail a build, judged on reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from openbook.compare import gate
from openbook.compare.schema import ArmReport, Figure, Report
from openbook.errors import UsageError


def arm(name: str, *, correct: float = 0.6, refusal: float = 0.8, p95: float = 2.0, cost: float = 0.5) -> ArmReport:
    figures = {
        "answer_correct": Figure(correct, correct - 0.08, correct + 0.08, 120, 30),
        "refusal": Figure(refusal, refusal - 0.1, refusal + 0.1, 40, 40),
    }
    seconds = {"total": {"p50": p95 / 2, "p95": p95, "mean": p95 / 1.8}, "decode": {"p50": 0.4, "p95": 1, "mean": 0.5}}
    return ArmReport(
        name, name, "diagnostic" if name == "oracle" else "four", "m", "", 120, 0, figures, {}, {}, seconds, {},
        900.0, cost={"acceptable_answer": cost},
    )  # fmt: skip


def report(*arms: ArmReport, hashed: str = "h1", machine: str = "here") -> Report:
    retrieval = {"recall@5": Figure(0.9, 0.8, 0.95, 100, 30)}
    facts: Mapping[str, object] = {"hash": hashed}
    return Report("r1", "2026-11-22", "t", "", "answer_correct", 0.6, arms, (), (), facts, retrieval, {}, {}, (), None,
                  (), {"machine": machine})  # fmt: skip


BEFORE = report(arm("rag", correct=0.6), arm("tuned+rag", correct=0.65))


def judged(rule: str, now: Report, before: Report | None = BEFORE) -> list[str]:
    return gate.judge([gate.parse(rule)], now, before)


def test_a_drop_beyond_the_limit_fails_with_the_numbers() -> None:
    now = report(arm("rag", correct=0.6), arm("tuned+rag", correct=0.60))
    assert judged("tuned+rag: answer_correct drops > 2pp", now) == [
        "answer_correct of 'tuned+rag' dropped by 5 points, from 65 % to 60 % [52, 68], n = 120;"
        " the rule allows at most 2 points; the two intervals overlap, so it may be chance"
    ]


def test_a_drop_of_the_limit_itself_is_allowed_unless_the_rule_says_so() -> None:
    now = report(arm("tuned+rag", correct=0.63))
    assert judged("answer_correct drops > 2pp", now) == []
    assert len(judged("answer_correct drops >= 2pp", now)) == 1


def test_a_rise_is_no_drop() -> None:
    assert judged("answer_correct drops > 2pp", report(arm("tuned+rag", correct=0.9))) == []


def test_without_an_arm_the_best_of_now_meets_the_best_of_before() -> None:
    now = report(arm("rag", correct=0.61), arm("tuned+rag", correct=0.3), arm("oracle", correct=0.99))
    (sentence,) = judged("answer_correct drops > 2pp", now)
    assert sentence.startswith("answer_correct of 'rag' dropped by 4 points, from 65 % to 61 %")
    assert "(the baseline's best is 'tuned+rag')" in sentence


def test_a_drop_between_intervals_apart_is_not_called_chance() -> None:
    assert "chance" not in judged("answer_correct drops > 2pp", report(arm("tuned+rag", correct=0.2)))[0]


def test_a_percentage_of_a_change_is_relative() -> None:
    slower = report(arm("tuned+rag", p95=2.3))
    assert judged("p95 rises > 20%", slower) == []
    assert judged("p95 rises > 10%", slower) == [
        "p95 of 'tuned+rag' rose by 15 %, from 2 s to 2.3 s; the rule allows at most 10 %"
    ]
    assert judged("p95 rises > 0.2s", slower)[0].startswith("p95 of 'tuned+rag' rose by 0.3 s")


def test_seconds_of_another_machine_are_marked() -> None:
    assert judged("p95 rises > 10%", report(arm("tuned+rag", p95=5), machine="there"))[0].endswith(
        "; the two ran on different machines"
    )


@pytest.mark.parametrize(
    ("rule", "failed"),
    [
        ("answer_correct < 0.6", False),
        ("answer_correct < 70%", True),
        ("answer_correct<.7", True),
        ("rag: refusal <= 80%", True),
        ("tuned+rag: decode p50 > 0.3 s", True),
        ("recall@5 < 95%", True),
        ("memory_mb > 1000", False),
        ("acceptable_answer > 0.4", True),
        ("refusal falls by more than 5 points", False),
    ],
)
def test_bars_need_no_baseline_and_say_by_how_much(rule: str, failed: bool) -> None:
    against = BEFORE if gate.parse(rule).relative else None
    found = judged(rule, report(arm("rag", correct=0.5), arm("tuned+rag", correct=0.65)), against)
    assert bool(found) is failed


def test_a_bar_is_told_with_its_interval() -> None:
    assert judged("answer_correct < 70%", BEFORE, None) == [
        "answer_correct of 'tuned+rag' is 65 % [57, 73], n = 120, below the limit of 70 %"
    ]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("tuned: answer_correct < 0.1", "there is no arm 'tuned' in this report"),
        ("token_f1 < 0.1", "token_f1 of 'tuned+rag' was not measured in this report"),
        ("update > 3", "update of 'tuned+rag' was not measured in this report"),
        ("recall@1 < 0.1", "recall@1 was not measured in this report"),
    ],
)
def test_what_was_not_measured_fails(rule: str, why: str) -> None:
    (sentence,) = judged(rule, BEFORE, None)
    assert sentence == f"{rule!r} cannot be judged: {why}; measure it or drop the rule"


def test_a_report_without_the_four_fails() -> None:
    assert "none of the four has a figure of answer_correct" in judged("answer_correct < 0.5", report(arm("oracle")))[0]


def test_answers_to_other_cases_are_no_baseline_but_costs_are() -> None:
    now = report(arm("tuned+rag", correct=0.1, cost=9), hashed="h2")
    assert "answered other cases" in judged("answer_correct drops > 2pp", now)[0]
    assert "rose by" in judged("acceptable_answer rises > 10%", now)[0]


def test_no_baseline_at_all_fails() -> None:
    assert "name one with --against" in judged("answer_correct drops > 2pp", BEFORE, None)[0]


def test_a_rise_from_nothing_fails_without_dividing() -> None:
    free = report(arm("rag", cost=0.0))
    assert "rose from 0 to 0.5" in judged("acceptable_answer rises > 10%", report(arm("rag")), free)[0]
    assert judged("acceptable_answer rises > 10%", free, free) == []


def test_sentences_come_in_the_order_of_the_rules() -> None:
    rules = [gate.parse(text) for text in ("recall@5 < 95%", "answer_correct < 0.1", "answer_correct < 90%")]
    assert [sentence.split()[0] for sentence in gate.judge(rules, BEFORE, None)] == ["recall@5", "answer_correct"]


def test_a_metric_that_should_be_low_makes_its_lowest_arm_the_best() -> None:
    found = replace(BEFORE, primary="stale", arms=tuple(
        replace(arm(name), metrics={"stale": Figure(value, 0, 1, 9)}) for name, value in (("rag", 0.1), ("tuned", 0.5))
    ))  # fmt: skip
    best = gate.best(found)
    assert best is not None
    assert best.name == "rag"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not understood"),
        ("answer_correct sinks > 2pp", "is not understood; write it like 'answer_correct drops > 2pp'"),
        ("wag: refusal drops > 5pp", "names the arm 'wag'; use one of base, rag"),
        ("refusl drops > 5pp", "names the metric 'refusl'; use refusal"),
        ("p95 rises > 5pp", "has points, but p95 is no share"),
        ("answer_correct < 5pp", "has points without drops or rises; write a bar as 5%"),
        ("answer_correct drops > 200pp", "can never fail"),
        ("answer_correct < 60", "shares go from 0 to 1; write 60%"),
        ("answer_correct < 160%", "shares go from 0 to 1"),
        ("p95 > 20%", "has a percentage, but p95 is no share"),
        ("refusal < 3s", "gives refusal in 's'"),
        ("fish p95 > 2", "names the step 'fish'"),
        ("rag: recall@5 < 0.9", "of the search all arms share; leave 'rag' out"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_what_to_write(text: str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        gate.parse(text)
    assert why in str(refused.value)
    assert repr(text) in str(refused.value)
