"""Follow-up questions, refusals, filters."""

import pytest

from openbook.answer.abstain import confidence, declined
from openbook.answer.followup import standalone
from openbook.errors import UsageError
from openbook.prompt import ABSTENTION
from openbook.records import Chunk, Condition, Hit, Message
from openbook.retrieve.where import parse

TALK = [Message("user", "How much vacation do I get?"), Message("assistant", "15 days.")]


@pytest.mark.parametrize("question", ["Does it expire?", "And for part-timers?", "What about those in Portugal?"])
def test_a_question_that_points_back_brings_the_last_one_along(question: str) -> None:
    assert standalone(question, TALK) == f"How much vacation do I get? {question}"


def test_a_question_that_stands_alone_is_left_alone() -> None:
    question = "Which health insurance plans does the company offer new employees?"
    assert standalone(question, TALK) == question
    assert standalone("Does it expire?", []) == "Does it expire?"


@pytest.mark.parametrize(
    "text",
    [
        ABSTENTION,
        "I can’t find this in the documents. Sorry.",
        "The passages do not mention parking.",
        "The provided documents don't explicitly state a limit.",
        "Parking is not mentioned in the passages.",
        "I don't know.",
    ],
)
def test_a_refusal_is_recognised(text: str) -> None:
    assert declined(text)


@pytest.mark.parametrize(
    "text",
    ["You get 15 days [1].", "Employees do not need approval for books.", "The policy does not allow smoking indoors."],
)
def test_an_answer_that_denies_something_is_no_refusal(text: str) -> None:
    assert not declined(text)


def test_confidence_rises_with_similarity_and_with_words_found() -> None:
    def sure(cosine: float, text: str) -> float:
        return confidence("vacation days", [Hit(Chunk("a", 0, len(text), text), 1.0, dense_score=cosine)])

    assert confidence("vacation days", []) == 0.0
    assert confidence("?!", [Hit(Chunk("a", 0, 1, "x"), 1.0)]) < 0.01
    assert sure(0.2, "nothing here") < sure(0.6, "nothing here") < sure(0.6, "vacation is 15 days") <= 1.0


def test_a_filter_is_read_as_conditions() -> None:
    assert parse("format=pdf and modified>=2024-01-01, document!='a b/*'") == (
        Condition("format", "=", "pdf"),
        Condition("modified", ">=", "2024-01-01"),
        Condition("document", "!=", "a b/*"),
    )
    assert parse("") == parse("  ") == ()


@pytest.mark.parametrize(
    "text", ["pages=3", "format>pdf", "modified>=soon", "format", "format=pdf or format=md", "=", "format=pdf and"]
)
def test_a_filter_that_cannot_be_read_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r".+"):
        parse(text)
