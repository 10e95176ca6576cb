"""The questions are what they claim to be: every quote stands once in its document and holds a gold answer."""

from collections import Counter
from pathlib import Path

import pytest

from bench.handbook_cases import Case, cases, conversations, locate
from bench.scoring import contains_gold
from bench.xquad import paragraphs, questions, write
from openbook import sample

ROOT = Path(sample.__file__).parent
ANSWERABLE = [case for case in (*cases(), *conversations()) if case.kind == "answerable"]


def test_there_are_60_answerable_and_30_unanswerable_questions_split_evenly() -> None:
    counts = Counter((case.kind, case.split) for case in cases())
    assert counts == {
        ("answerable", "dev"): 30,
        ("answerable", "test"): 30,
        ("unanswerable", "dev"): 15,
        ("unanswerable", "test"): 15,
    }
    assert len(conversations()) == 5


def test_ids_and_questions_are_unique() -> None:
    everything = [*cases(), *conversations()]
    assert len({case.id for case in everything}) == len(everything)
    assert len({case.question for case in cases()}) == 90


@pytest.mark.parametrize("case", ANSWERABLE, ids=lambda case: case.id)
def test_every_quote_stands_once_in_its_document_and_holds_a_gold_answer(case: Case) -> None:
    assert case.spans
    assert contains_gold(case.spans[0].quote, case.gold[:1])
    for span in case.spans:
        assert (ROOT / span.document).read_text(encoding="utf-8").count(span.quote) == 1
        assert contains_gold(span.quote, case.gold)


def test_unanswerable_questions_name_their_type_and_reason_and_have_no_gold() -> None:
    for case in cases():
        if case.kind == "unanswerable":
            assert case.type in {"near-miss", "off-corpus", "false-premise"}
            assert case.note
            assert not case.gold
            assert not case.spans


@pytest.mark.parametrize(
    "absent",
    [
        "401", "gym", "fitness", "wifi password", "airline", "dress code", "meal allowance", "christmas bonus",
        "self-assessment", "annual performance", "street", "internet bill", "dog", "wedding", "marriage",
        "deductible", "cfo", "founded in", "relocat", "fire drill", "ethanol", "austen", "kilimanjaro", "vaccin",
        "company car", "clock in", "world cup", "risotto", "australia", "tuple",
    ],
)  # fmt: skip
def test_what_unanswerable_questions_ask_for_stands_nowhere_in_the_handbook(absent: str) -> None:
    assert [path.name for path in ROOT.rglob("*.md") if absent in path.read_text(encoding="utf-8").lower()] == []


def test_a_quote_is_found_despite_emphasis_and_line_breaks() -> None:
    assert locate("a b c", "x a **b**\nc") == (2, 11)
    assert locate("missing", "text") is None


def test_xquad_answers_stand_at_their_offsets_in_the_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "xquad")
    assert len(paragraphs()) == len(list(folder.iterdir())) == 120
    assert len(questions()) == 632
    for question in questions():
        text = (folder / question.paragraph).read_text(encoding="utf-8")
        assert text[question.start : question.end] == question.answer
