"""Checking sentences against passages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.answer.cite import check
from openbook.records import Chunk, Hit

LEAVE = (
    "# Vacation and Sick Leave\n\nTaking time off is critical, so Clef offers 3 weeks (15 days) of paid vacation every "
    "year. Employees should schedule their vacations at least a week in advance.\n\nEmployees also accrue 1 hour of "
    "sick leave for every 30 hours of work, but cannot accrue more than 5 days of sick leave."
)
DOGS = "Dogs are welcome in the office on Fridays. Cats are not allowed."


def hit(text: str, name: str, start: int = 100) -> Hit:
    chunk = Chunk(name, start, start + len(text), text, heading=("Vacation and Sick Leave",), page=3)
    return Hit(chunk, 1.0)


HITS = (hit(LEAVE, "leave.md"), hit(DOGS, "dogs.md"))


@pytest.mark.parametrize(
    "claim",
    [
        "Clef offers three weeks (15 days) of paid vacation every year.",
        "You get 15 days of vacation every year.",
        "Employees cannot accrue more than 5 days of sick leave.",
        "Employees accrue 1 hour of sick leave for every 30 hours of work.",
        "15 days",
        "Dogs are welcome on Fridays.",
        "Cats are not allowed in the office.",
    ],
)
def test_a_sentence_the_passages_bear_out_is_supported(claim: str) -> None:
    checked = check(claim, HITS, question="How much leave do we get?")
    assert [sentence.supported for sentence in checked.sentences] == [True]


@pytest.mark.parametrize(
    "claim",
    [
        "You get 20 days of vacation every year.",
        "Employees can accrue more than 5 days of sick leave.",
        "Cats are allowed.",
        "Dogs are not welcome in the office on Fridays.",
        "Dogs are welcome in the office on Mondays.",
        "The moon is made of cheese.",
        "Yes.",
    ],
)
def test_a_sentence_the_passages_do_not_bear_out_is_unsupported(claim: str) -> None:
    checked = check(claim, HITS, question="How much leave do we get?")
    assert not checked.citations
    assert all(not sentence.supported for sentence in checked.sentences)


def test_markers_are_replaced_by_verified_ones() -> None:
    checked = check("Clef offers 15 days of paid vacation [2]. The moon is cheese [1].", HITS)
    assert checked.text == "Clef offers 15 days of paid vacation [1]. The moon is cheese."
    assert [(one.document, one.sentence) for one in checked.citations] == [("leave.md", 0)]


@pytest.mark.parametrize("marker", ["[1]", "(passage 1)", "[1, 2]", '[number="1"]', "[9]", "[0]"])
def test_every_way_of_writing_a_marker_is_read_and_none_survives_unverified(marker: str) -> None:
    checked = check(f"Dogs are welcome on Fridays {marker}. Pigs fly {marker}.", HITS)
    assert checked.text == "Dogs are welcome on Fridays [2]. Pigs fly."


def test_a_citation_counts_offsets_in_the_document_and_keeps_the_page() -> None:
    (found,) = check("15 days of paid vacation", HITS).citations
    assert (found.document, found.page) == ("leave.md", 3)
    assert found.quote == LEAVE[found.start - 100 : found.end - 100]
    assert found.quote.startswith("Taking time off")


def test_a_verbatim_piece_of_a_negated_clause_is_not_support() -> None:
    assert not check("accrue more than 5 days of sick leave", HITS).citations


def test_a_sentence_said_again_is_left_out() -> None:
    checked = check("Dogs are welcome on Fridays. Pigs fly. " * 5, HITS)
    assert checked.text == "Dogs are welcome on Fridays [2]. Pigs fly."
    assert [sentence.supported for sentence in checked.sentences] == [True, False]
    assert len(checked.citations) == 1


def test_an_echoed_question_is_no_supported_claim() -> None:
    assert not check("Are dogs welcome in the office on Fridays?", HITS).citations


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=50))
def test_any_text_can_be_checked_and_every_quote_stands_at_its_offsets(answer: str, passage: str, asked: str) -> None:
    hits = (hit(passage, "a"), hit(answer, "b", start=7))
    for one in check(answer, hits, question=asked).citations:
        chunk = next(hit.chunk for hit in hits if hit.chunk.document == one.document)
        assert one.quote == chunk.text[one.start - chunk.start : one.end - chunk.start]
