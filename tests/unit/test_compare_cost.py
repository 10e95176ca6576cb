"""What an arm costs: each part against arithmetic by hand, and what must not be said without a measurement."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from openbook.compare.cost import COSTED, Measured, Spent, cost, measured, of_arm, outcomes
from openbook.compare.prices import Prices
from openbook.compare.schema import ArmReport, Figure, Row
from openbook.records import Answer, Timings

PRICES = Prices(
    machine_hour=3.6,  # a tenth of a cent a second
    labour_hour=60.0,  # one a minute
    example_minutes=5.0,
    case_minutes=4.0,
    redo_minutes=3.0,
    prompt_million=1.0,
    answer_million=2.0,
    questions_month=100.0,
    updates_month=2.0,
    months=10.0,
)
RAG = Spent(
    "rag",
    2.0,
    searches=True,
    parse_seconds=100.0,
    embed_seconds=200.0,
    documents=30,
    evaluate_seconds=50.0,
    questions=20,
    acceptable=0.5,
    acceptable_low=0.25,
    acceptable_high=0.8,
    wrong=0.3,
    refused=0.2,
    quality=0.7,
)
TUNED = Spent(
    "tuned",
    1.0,
    trained=True,
    train_seconds=1000.0,
    labelled=40,
    evaluate_seconds=20.0,
    questions=20,
    acceptable=0.4,
    wrong=0.6,
    quality=0.4,
)
BOTH = replace(RAG, arm="tuned+rag", trained=True, train_seconds=1000.0, reviewed=30)


def test_what_is_paid_once_is_itemised() -> None:
    arms = cost(Measured((RAG, TUNED), cases_written=10), PRICES)["arms"]
    evaluate = 10 * 4.0
    assert arms["rag"]["one_time"] == pytest.approx(
        {"parse": 0.1, "embed": 0.2, "label": 0.0, "train": 0.0, "evaluate": evaluate + 0.05, "total": 40.35}
    )
    assert arms["tuned"]["one_time"] == pytest.approx(
        {"parse": 0.0, "embed": 0.0, "label": 200.0, "train": 1.0, "evaluate": evaluate + 0.02, "total": 241.02}
    )


def test_every_training_until_one_is_kept_is_paid() -> None:
    once, thrice = (cost(Measured((TUNED,)), replace(PRICES, trainings=n))["arms"]["tuned"] for n in (1.0, 3.0))
    assert thrice["one_time"]["train"] == pytest.approx(3 * once["one_time"]["train"])


def test_an_update_of_a_library_is_one_documents_share_unless_it_was_measured() -> None:
    share = cost(Measured((RAG,)), PRICES)["arms"]["rag"]["update"]
    assert share["total"] == pytest.approx(0.3 / 30 + 0.05)  # and the cases are asked again
    assert "share" in share["how"]
    known = cost(Measured((replace(RAG, update_seconds=4.0),)), PRICES)["arms"]["rag"]["update"]
    assert known["total"] == pytest.approx(0.004 + 0.05)
    assert "measured" in known["how"]


def test_an_update_of_weights_is_examples_and_a_training() -> None:
    update = cost(Measured((TUNED,)), PRICES)["arms"]["tuned"]["update"]
    assert update["label"] == pytest.approx(10 * 5.0)
    assert update["machine"] == pytest.approx(1.0 + 0.02)


def test_an_arm_that_searches_is_trained_again_only_after_the_share_that_is_set() -> None:
    never, half = (cost(Measured((BOTH,)), replace(PRICES, retrain_share=s))["arms"]["tuned+rag"] for s in (0.0, 0.5))
    assert never["update"]["label"] == 0
    assert half["update"]["total"] - never["update"]["total"] == pytest.approx(0.5 * (1.0 + 50.0))


def test_nothing_updates_what_a_prompt_alone_knows() -> None:
    base = Spent("base", 1.0, questions=20, evaluate_seconds=9.0)
    assert cost(Measured((base,)), PRICES)["arms"]["base"]["update"]["total"] == 0


def test_tokens_have_a_price_only_at_an_endpoint() -> None:
    here = replace(RAG, prompt_tokens=600.0, answer_tokens=50.0)
    there = replace(here, arm="endpoint", endpoint=True)
    arms = cost(Measured((here, there)), PRICES)["arms"]
    assert arms["rag"]["thousand_questions"] == pytest.approx(2.0)
    assert arms["endpoint"]["thousand_questions"] == pytest.approx(2.0 + 0.6 + 0.1)


def test_an_acceptable_answer_costs_the_failed_ones_too() -> None:
    sheet = replace(PRICES, wrong_answer=1.0, refusal=0.5)
    arm = cost(Measured((RAG,)), sheet)["arms"]["rag"]
    paid = 0.002 + 0.3 * 1.0 + 0.2 * 0.5
    assert arm["acceptable_answer"] == pytest.approx(paid / 0.5)
    assert arm["acceptable_answer_low"] == pytest.approx(paid / 0.8)
    assert arm["acceptable_answer_high"] == pytest.approx(paid / 0.25)
    assert arm["settled_question"] == pytest.approx(paid + 0.5 * 3.0)


def test_an_arm_that_is_never_right_has_no_price_of_an_acceptable_answer_but_one_of_a_settled_question() -> None:
    hopeless = replace(RAG, acceptable=0.0, acceptable_low=0.0, wrong=1.0, refused=0.0)
    section = cost(Measured((hopeless,)), PRICES)
    assert section["arms"]["rag"]["acceptable_answer"] is None
    assert section["arms"]["rag"]["settled_question"] == pytest.approx(0.002 + 3.0)
    assert "acceptable_answer" not in of_arm(section, "rag")


def test_the_total_covers_the_months() -> None:
    section = cost(Measured((RAG,)), PRICES)
    arm = section["arms"]["rag"]
    assert arm["total"] == pytest.approx(arm["one_time"]["total"] + 10 * (2 * arm["update"]["total"] + 100 * 0.002))


def test_hosting_is_paid_for_models_and_an_index_where_they_are() -> None:
    sheet = replace(PRICES, hosting_month=10.0, index_month=3.0)
    spent = (RAG, TUNED, replace(RAG, arm="extractive"), replace(RAG, arm="endpoint", endpoint=True))
    arms = cost(Measured(spent), sheet)["arms"]
    assert {name: arm["hosting_month"] for name, arm in arms.items()} == {
        "rag": 13.0,
        "tuned": 10.0,
        "extractive": 3.0,
        "endpoint": 3.0,
    }


def test_an_arm_below_the_bar_never_pays_and_the_reason_says_so() -> None:
    section = cost(Measured((RAG, TUNED), bar=0.6), PRICES)
    said = section["break_even"]["tuned"]
    assert (said["verdict"], said["questions"], said["against"]) == ("never", None, "rag")
    assert "0.40 where 0.60 are wanted" in said["sentence"]
    assert section["cheapest"] == "rag"
    assert section["break_even_settled"]["tuned"]["verdict"] != "unknown"  # there its failures have a price instead


def test_a_saving_against_an_arm_that_nobody_would_ship_says_so() -> None:
    section = cost(Measured((RAG, replace(TUNED, arm="base", trained=False)), bar=0.6), PRICES)
    assert section["break_even"]["rag"]["sentence"].endswith("but base does not reach the bar")
    assert "bar" not in section["break_even_settled"]["rag"]["sentence"]


def test_no_arm_is_the_cheapest_when_none_reaches_the_bar() -> None:
    assert cost(Measured((RAG, TUNED), bar=0.9), PRICES)["cheapest"] is None


def test_what_was_not_measured_is_not_decided() -> None:
    section = cost(Measured((RAG, replace(TUNED, train_seconds=None))), PRICES)
    assert section["break_even"]["tuned"]["verdict"] == "unknown"
    assert "training of tuned" in section["break_even"]["tuned"]["reason"]
    assert section["cheapest"] == "rag"
    assert any("tuned" in note and "training" in note for note in section["notes"])


def test_the_section_is_plain_json() -> None:
    section = cost(Measured((RAG, TUNED, BOTH), bar=0.6, cases_written=3), PRICES)
    assert json.loads(json.dumps(section, allow_nan=False)) == section


def test_the_curve_meets_the_totals() -> None:
    section = cost(Measured((RAG, TUNED)), replace(PRICES, questions_month=1000.0))
    curve = section["curve"]["questions"]
    for arm in ("rag", "tuned"):
        assert curve["arms"][arm][curve["x"].index(1000)] == pytest.approx(section["arms"][arm]["total"])
        assert curve["settled"][arm][curve["x"].index(1000)] == pytest.approx(section["arms"][arm]["total_settled"])
    updates = section["curve"]["updates"]
    assert updates["arms"]["rag"][updates["x"].index(2)] == pytest.approx(section["arms"]["rag"]["total"])


def test_sensitivity_says_whose_win_hangs_on_a_price() -> None:
    section = cost(Measured((RAG, TUNED)), replace(PRICES, questions_month=3e4, updates_month=0.0))
    assert section["cheapest"] == "tuned"
    rows = {row["input"]: row for row in section["sensitivity"]}
    by_factor = {value["factor"]: value["cheapest"] for value in rows["questions_month"]["values"]}
    assert (by_factor[0.1], by_factor[10.0]) == ("rag", "tuned")
    assert rows["questions_month"]["changes"]
    assert [value["factor"] for value in rows["machine_hour"]["values"]] == [0.1, 0.3, 1.0, 3.0, 10.0]
    assert "updates_month" not in rows  # ten times nothing is nothing


def answer(total: float, *, abstained: bool = False, retrieve: float = 0.25) -> Answer:
    text = "Twenty days."
    spent = Timings(retrieve, 0.1, 0.2, total)
    return Answer(text, abstained, (), (), (), "p", "m", None, "rag", 10, 5, spent, 1)


def rows(arm: str) -> list[Row]:
    return [
        Row("1", arm, answer(1.0), scores={"acceptable": 1.0}),
        Row("2", arm, answer(2.0), scores={"acceptable": 0.0}),
        Row("3", arm, answer(3.0, abstained=True), scores={"acceptable": 0.0}),
        Row("4", arm, answer(4.0, abstained=True), scores={"acceptable": 1.0}),
        Row("5", arm, None, error="the prompt does not fit"),
    ]


def report(arm: str) -> ArmReport:
    figures = {"acceptable": Figure(0.5, 0.2, 0.8, 4), "answer_correct": Figure(0.6, 0.3, 0.9, 4)}
    return ArmReport(
        arm, arm, "four", "m", "", 4, 1, figures, {}, {}, {}, {"prompt": 700.0, "answer": 30.0}, memory_mb=1.0
    )


def test_refused_in_vain_and_wrong_are_told_apart() -> None:
    assert outcomes(rows("rag")) == (2 / 5, 1 / 5, 2 / 5, 5)
    assert outcomes([]) == (0.0, 0.0, 0.0, 0)


MANIFEST = {
    "seconds": 120.0,
    "training_seconds": 90.0,
    "data": {"examples": 60, "validation": 6, "files": [{"examples": 40}, {"examples": 14}]},
    "library": None,
}


def test_reports_and_manifests_become_what_was_spent() -> None:
    names = ["base", "rag", "tuned", "tuned+rag", "oracle", "endpoint"]
    reading = {
        **MANIFEST,
        "seconds": 300.0,
        "data": {"examples": 60, "validation": 6, "files": []},
        "library": {"review": {"accepted": 25, "rejected": ["q1", "q2"]}},
    }
    found = measured(
        [report(name) for name in names],
        [row for name in names for row in rows(name)],
        primary="answer_correct",
        bar=0.5,
        trainings={"tuned": [MANIFEST, {**MANIFEST, "seconds": 180.0}], "tuned+rag": [reading]},
        library={"parse": 3.0, "embed": 9.0, "documents": 12.0},
        updates={"rag": 1.5},
        cases_written=7,
    )
    spent = {one.arm: one for one in found.arms}
    assert list(spent) == [name for name in names if name in COSTED]
    assert spent["rag"].question_seconds == pytest.approx(2.5)
    assert spent["rag"].evaluate_seconds == pytest.approx(10.0)
    assert (spent["rag"].parse_seconds, spent["rag"].update_seconds) == (3.0, 1.5)
    assert (spent["tuned"].train_seconds, spent["tuned"].labelled) == (150.0, 60)  # 40 + 14 + 6 held out
    assert (spent["tuned+rag"].labelled, spent["tuned+rag"].reviewed) == (0, 27)
    assert (spent["base"].parse_seconds, spent["base"].trained) == (0.0, False)
    assert spent["endpoint"].question_seconds == pytest.approx(0.25)  # of an endpoint only the search is paid here
    assert (spent["rag"].quality, spent["rag"].acceptable_low) == (0.6, 0.2)


def test_a_training_without_seconds_is_not_measured() -> None:
    found = measured(
        [report("tuned")], rows("tuned"), primary="x", bar=None, trainings={}, library={}, updates={}, cases_written=0
    )
    assert found.arms[0].train_seconds is None
    assert cost(found, Prices())["arms"]["tuned"]["unmeasured"] == ["training"]
