"""Advice without a measurement: eight questions, a rule each, and plain words that it is a prior."""

from __future__ import annotations

import pytest

from openbook.compare import prior
from openbook.errors import UsageError


@pytest.mark.parametrize(
    ("answers", "expected", "says"),
    [
        ({}, "RAG", "best answered from the documents"),
        ({"facts": "weekly"}, "RAG", "facts change weekly"),
        ({"citations": "yes"}, "RAG", "only shown passages can be cited"),
        ({"facts": "none"}, "prompt only", "no document is needed"),
        ({"facts": "none", "tone": "strict", "examples": "10"}, "prompt only", "at least 30 examples"),
        ({"facts": "none", "tone": "strict", "examples": "40"}, "fine-tune", "40 examples can teach it"),
        ({"facts": "none", "citations": "yes", "tone": "strict", "examples": "40"}, "both", "beats RAG"),
        ({"facts": "monthly", "tone": "strict", "examples": "200"}, "both", "200 examples"),
        ({"facts": "monthly", "tone": "strict", "examples": "20"}, "RAG", "change monthly"),
        ({"facts": "rarely", "tone": "some", "examples": "200"}, "RAG", "documents"),
    ],
)
def test_answers_give_what_usually_fits(answers: dict[str, str], expected: str, says: str) -> None:
    advice = prior.advise(answers)
    assert advice.recommend == expected
    assert says in advice.sentence
    assert advice.prior
    assert "This is a prior from published experience, not a measurement" in advice.sentence


def test_at_most_eight_questions_are_asked() -> None:
    assert len(prior.QUESTIONS) <= 8
    assert len({question.key for question in prior.QUESTIONS}) == len(prior.QUESTIONS)


def test_each_answer_can_change_what_is_said() -> None:
    said = prior.advise(
        {"wrong": "high", "latency": "fast-cpu", "private": "yes", "volume": "1000000", "tone": "strict"}
    ).would_change
    assert len(said) == 6


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("facts", "answer 'facts' is not of the form KEY=VALUE"),
        ("price=3", "there is no question 'price'; use one of facts, "),
        ("facts=hourly", "facts is 'hourly' but must be one of daily, "),
        ("examples=many", "examples is 'many' but must be a whole number"),
        ("volume=-4", "volume is '-4' but must be a whole number"),
        ("volume=1e6", "volume is '1e6' but must be a whole number"),
        ("examples=²", "examples is '²' but must be a whole number"),
    ],
)
def test_an_answer_that_fits_no_question_is_one_sentence(given: str, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        prior.parse([given])
    assert str(error.value).startswith(sentence)


def test_answers_are_read_forgivingly() -> None:
    assert prior.parse(["facts = Weekly", "volume=10,000"]) == {"facts": "weekly", "volume": "10000"}
