"""Each common saying holds, does not hold or was not measured, by the numbers of the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from openbook.compare.claims import claims
from openbook.compare.schema import Claim, Report
from tests import compare_reports
from tests.unit.test_advise_situations import FROM_5000, NEVER, Situation, correct, report, with_

UPDATE = "Updating is easy: edit a document"


def by(found: Report, says: str) -> Claim:
    """The claim of that saying."""
    return next(claim for claim in claims(found) if claim.says == says)


def of(shares: dict[str, dict[str, float]], **sections: Any) -> Report:
    """A report of shares and sections."""
    return replace(report(Situation("", "", shares)), sections=sections)


def rate(value: float, low: float, high: float) -> dict[str, float]:
    """A share of a section."""
    return {"value": value, "low": low, "high": high, "n": 10}


@pytest.mark.parametrize(
    ("shares", "says", "verdict"),
    [
        (correct(base=0.1, rag=0.8), "Knowledge comes from the documents, at the time of the question", "holds"),
        (
            correct(base=0.8, rag=0.1),
            "Knowledge comes from the documents, at the time of the question",
            "does not hold",
        ),
        (
            correct(base=0.5, rag=0.55),
            "Knowledge comes from the documents, at the time of the question",
            "not measured",
        ),
        (correct(base=0.1, rag=0.8, tuned=0.1, both=0.95), "The best systems combine both", "holds"),
        (correct(base=0.1, rag=0.9, tuned=0.1, both=0.7), "The best systems combine both", "does not hold"),
        (correct(base=0.1, rag=0.8, tuned=0.1, both=0.82), "The best systems combine both", "not measured"),
        (with_({}, "invents", base=0.9, rag=0.3), "RAG strongly reduces hallucination", "holds"),
        (with_({}, "invents", base=0.9, rag=0.7), "RAG strongly reduces hallucination", "does not hold"),
        (with_({}, "invents", base=0.6, tuned=0.9), "Fine-tuning reduces hallucination", "does not hold"),
        (with_({}, "format_valid", base=0.2, tuned=0.9), "Fine-tuning is best for format and voice", "holds"),
        (with_({}, "citation_recall", rag=0.9), "Answers can be traced to a passage", "holds"),
        (with_({}, "citation_recall", rag=0.2), "Answers can be traced to a passage", "does not hold"),
        (with_({}, "citation_recall", rag=0.52), "Answers can be traced to a passage", "not measured"),
    ],
)
def test_a_saying_is_judged_by_the_measured_figures(
    shares: dict[str, dict[str, float]], says: str, verdict: str
) -> None:
    claim = by(of(shares), says)
    assert claim.verdict == verdict
    assert "n = 100" in claim.evidence


@pytest.mark.parametrize(
    ("new", "stale", "verdict"),
    [
        (rate(0.8, 0.49, 0.94), rate(0.0, 0.0, 0.28), "holds"),
        (rate(0.1, 0.02, 0.4), rate(0.0, 0.0, 0.28), "does not hold"),
        (rate(0.8, 0.49, 0.94), rate(0.5, 0.24, 0.76), "does not hold"),
        (rate(0.6, 0.31, 0.83), rate(0.2, 0.05, 0.5), "not measured"),
    ],
)
def test_updating_is_easy_only_when_the_new_value_is_said_and_the_old_is_gone(
    new: dict[str, float], stale: dict[str, float], verdict: str
) -> None:
    section = {"arms": {"rag": {"new_value_rate": new, "stale_value_rate": stale, "seconds": {"median": 1.5}}}}
    claim = by(of(correct(rag=0.6), freshness=section), UPDATE)
    assert claim.verdict == verdict
    assert "1.5 s after saving" in claim.evidence


def test_knowledge_in_weights_is_judged_by_facts_that_training_saw() -> None:
    edits = [{"id": f"e{n}", "trained": n < 20} for n in range(30)]

    def knowing(share: int) -> dict[str, Any]:
        answers = [{"edit": f"e{n}", "arm": "tuned", "knew": n < share} for n in range(30)]
        answers += [{"edit": f"e{n}", "arm": "base", "knew": n >= 20} for n in range(30)]
        return {"edits": edits, "answers": answers}

    says = "Knowledge goes into the weights"
    assert by(of({}, freshness=knowing(18)), says).verdict == "holds"
    assert by(of({}, freshness=knowing(1)), says).verdict == "does not hold"
    for learned, verdict in (({"other@1": 20, "a@1": 0}, "not measured"), ({"a@1": 20}, "holds")):
        made = of(correct(tuned=0.1), freshness={**knowing(18), "learned": learned})
        made = replace(made, arms=tuple(replace(arm, adapter="a@1") for arm in made.arms))
        assert by(made, says).verdict == verdict
    unseen = by(of(correct(tuned=0.1)), says)
    assert unseen.verdict == "not measured"
    assert "over all cases: 10 %" in unseen.evidence


@pytest.mark.parametrize(
    ("cost", "verdict"),
    [
        (NEVER, "holds"),
        ({**FROM_5000, "use": {"questions_month": 900}}, "holds"),
        ({**FROM_5000, "use": {"questions_month": 9000}}, "does not hold"),
        (FROM_5000, "not measured"),
    ],
)
def test_rag_is_cheaper_below_the_break_even(cost: dict[str, Any], verdict: str) -> None:
    assert by(of(correct(base=0.1, rag=0.8, tuned=0.8), cost=cost), "RAG is cheaper").verdict == verdict


@pytest.mark.parametrize(("seconds", "verdict"), [(1.2, "holds"), (2.5, "does not hold"), (0.8, "does not hold")])
def test_slightly_slower_is_up_to_twice_as_long(seconds: float, verdict: str) -> None:
    latency = {"arms": {name: {"n": 20, "total": {"p50": p50}} for name, p50 in (("base", 1.0), ("rag", seconds))}}
    claim = by(of(correct(base=0.1, rag=0.8), latency=latency), "RAG is slightly slower")
    assert claim.verdict == verdict
    assert "n = 20" in claim.evidence


@pytest.mark.parametrize(
    ("told", "verdict"), [("regression", "holds"), ("maybe", "not measured"), ("kept", "does not hold")]
)
def test_forgetting_is_what_the_probes_say(told: str, verdict: str) -> None:
    probe = {"kind": "share", "before": 0.5, "after": 0.4, "low": -0.2, "high": -0.01, "n": 100, "verdict": told}
    made = of(correct(tuned=0.1), forgetting={"a@1": {"probes": {"general": probe}}})
    made = replace(made, arms=tuple(replace(arm, adapter="a@1") for arm in made.arms))
    claim = by(made, "Training forgets what the model could do")
    assert claim.verdict == verdict
    assert "50 % before, 40 % after (change [-20, -1]), n = 100" in claim.evidence


@pytest.mark.parametrize(
    ("verdict", "plateau", "largest", "expected"),
    [("enough", 40, 300, "does not hold"), ("rising", None, 300, "not measured"), ("rising", None, 3000, "holds")],
)
def test_large_data_is_needed_only_where_the_curve_still_rises(
    verdict: str, plateau: int | None, largest: int, expected: str
) -> None:
    curve = {"verdict": verdict, "plateau": plateau, "points": [{"n": 10}, {"n": largest}], "sentence": "It is so."}
    assert by(of({}, curve=curve), "Fine-tuning needs large data").verdict == expected


def test_search_matters_where_answers_without_the_passage_are_wrong() -> None:
    made = of(correct(rag=0.6))
    counts = {"retrieved-right": 50, "retrieved-wrong": 10, "missed-right": 1, "missed-wrong": 30}
    made = replace(made, arms=tuple(replace(arm, failures=counts) for arm in made.arms))
    claim = by(made, "RAG is only as good as its search")
    assert claim.verdict == "holds"
    assert "n = 60" in claim.evidence
    assert "n = 31" in claim.evidence


def test_no_training_is_needed_where_rag_does_as_well_without_the_reader() -> None:
    says = "No training is needed"
    assert by(of(correct(rag=0.8, bare=0.3)), says).verdict == "does not hold"
    assert by(of(correct(rag=0.8, bare=0.8)), says).verdict == "holds"
    assert by(of(correct(rag=0.8)), says).verdict == "holds"


def test_an_empty_report_measures_nothing_and_says_what_to_run() -> None:
    found = claims(compare_reports.empty()[0])
    assert {claim.verdict for claim in found} == {"not measured"}
    assert all(claim.evidence for claim in found)


def test_every_topic_of_the_founding_table_is_there() -> None:
    topics = {claim.topic for claim in claims(compare_reports.full()[0])}
    assert topics >= {
        "knowledge source", "training required", "runtime retrieval", "updating", "cost", "speed", "hallucination",
        "best for", "explainability", "forgetting", "data needed", "best systems",
    }  # fmt: skip


def test_checks_that_every_arm_pays_do_not_make_tuning_expensive() -> None:
    def judged(label: float) -> Claim:
        once = {"label": label, "train": 0.03, "evaluate": 423.0, "total": 423.03 + label}
        found = of(correct(rag=0.6, tuned=0.6), cost={"currency": "USD", "arms": {"tuned": {"one_time": once}}})
        arms = tuple(replace(one, cost={"one_time": 423.03, "thousand_questions": 0.04}) for one in found.arms)
        return by(replace(found, arms=arms), "Fine-tuning is expensive")

    assert judged(0.0).verdict == "does not hold"
    assert judged(5.0).verdict == "holds"
    assert "423" not in judged(5.0).evidence


def test_a_saying_is_not_settled_by_fewer_than_six_documents() -> None:
    found = of(with_({}, "consistency", base=0.9, tuned=0.2))
    few = tuple(replace(one, verdict="no difference", clusters=5) for one in found.pairs)
    claim = by(replace(found, pairs=few), "A tuned model answers consistently")
    assert claim.verdict == "not measured"
    assert "too few documents" in claim.evidence


def test_examples_in_the_prompt_are_those_of_the_chosen_try() -> None:
    tries = [{"arm": "rag", "name": "2 typical", "places": ["a:1", "a:2"], "score": 0.5, "chosen": True}]
    claim = by(of(correct(rag=0.6), tuning={"tries": tries}), "No example is needed")
    assert claim.verdict == "does not hold"
    assert "2 of your examples" in claim.evidence


def test_speed_is_undecided_where_all_answers_say_otherwise_than_the_timed_ones() -> None:
    latency = {"arms": {name: {"n": 20, "total": {"p50": spent}} for name, spent in (("base", 0.43), ("tuned", 0.35))}}
    found = of(correct(base=0.5, tuned=0.5), latency=latency)
    spent = {"base": 0.66, "tuned": 0.68}
    slow = tuple(replace(one, seconds={"total": {"p50": spent[one.name]}}) for one in found.arms)
    claim = by(replace(found, arms=slow), "A tuned model answers faster")
    assert claim.verdict == "not measured"
    assert "0.68 s against 0.66 s" in claim.evidence


def test_a_tuned_arm_that_answered_is_not_called_unmeasured() -> None:
    claim = by(of(correct(base=0.5, tuned=0.5)), "Fine-tuning is best for format and voice")
    assert "--conversations" in claim.evidence
