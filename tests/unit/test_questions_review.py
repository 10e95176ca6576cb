"""Showing questions to a person."""

from pathlib import Path

import pytest

from openbook import questions
from openbook.errors import ExamplesError
from openbook.questions.review import PAGE, draw, recorded, terminal, text_of, write
from openbook.records import Case, Message, Span

CASES = [Case(f"Question {n}?", (f"answer {n}",), (Span("a.md", n, n + 1),), id=f"q{n}") for n in range(50)]


def test_the_rate_counts_what_was_decided_and_rejected_cases_can_be_dropped() -> None:
    review = questions.review(CASES, 10, 3, lambda case, number, of: "reject" if number <= 2 else "accept")
    assert review.reviewed
    assert (len(review.accepted), len(review.rejected)) == (8, 2)
    assert [round(value, 2) for value in review.rate] == [0.8, 0.49, 0.94]
    assert len(review.kept(CASES)) == 48
    assert review.facts()["rate"] == 0.8


def test_the_same_seed_shows_the_same_cases_in_any_order() -> None:
    assert draw(CASES, 10, 1) == draw(CASES[::-1], 10, 1) != draw(CASES, 10, 2)
    assert len(draw(CASES[:3], 10)) == 3


def test_nobody_asked_is_not_reviewed() -> None:
    review = questions.review(CASES, 10)
    assert not review.reviewed
    assert len(review.shown) == 10
    assert review.facts() == {"reviewed": False, "shown": 10, "accepted": 0, "rejected": []}
    assert terminal() is None


@pytest.mark.parametrize("end", ["quit", KeyboardInterrupt])
def test_stopping_keeps_what_was_decided(end: object) -> None:
    def ask(case: Case, number: int, of: int) -> str:
        if number < 4:
            return "accept"
        if end == "quit":
            return "quit"
        raise KeyboardInterrupt

    review = questions.review(CASES, 10, ask=ask)  # type: ignore[arg-type]
    assert len(review.accepted) == 3
    assert review.reviewed


def test_the_page_and_the_file_show_everything_as_text(tmp_path: Path) -> None:
    nasty = Case("<script>alert(1)</script>\x1b[31m?", ("\ud800 & <b>",), id="q<x>", history=(Message("user", "Hi"),))
    review = questions.review([nasty], 5, ask=lambda case, number, of: "reject")
    page, decisions = write(review, tmp_path)
    html = page.read_text(encoding="utf-8")
    assert page.name == PAGE
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; [31m?" in html
    assert "http" not in html
    assert questions.review([nasty], 5, ask=recorded(decisions)).rejected == ("q<x>",)


def test_decisions_come_back_and_unknown_questions_are_left_out(tmp_path: Path) -> None:
    review = questions.review(CASES, 6, ask=lambda case, number, of: "accept" if number % 2 else "reject")
    _, file = write(review, tmp_path)
    assert questions.review(CASES, 6, ask=recorded(file)) == review
    fewer = [case for case in CASES if case.id != review.shown[0].id]
    assert set(questions.review(fewer, 49, ask=recorded(file)).accepted) == set(review.accepted[1:])
    file.write_text('{"id": "q1", "decision": "maybe"}\n', encoding="utf-8")
    with pytest.raises(ExamplesError, match=r"review.jsonl:1: decision 'maybe' is unknown"):
        recorded(file)
    file.write_text("accept\n", encoding="utf-8")
    with pytest.raises(ExamplesError, match=r"review.jsonl:1: 'accept' is no decision"):
        recorded(file)


def test_a_case_is_shown_with_history_answer_and_place() -> None:
    case = Case("And then?", ("a", "b"), (Span("x.md", 0, 1),), history=(Message("user", "First?"),))
    assert text_of(case) == "(user) First?\nAnd then?\n    answer: a | b\n    in: x.md"
