"""Whatever stands in a case and an answer, scores are numbers in [0, 1] and nothing raises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.compare import plain
from openbook.compare.citations import unmarked
from openbook.compare.schema import METRICS, Row, read_row, row_line
from openbook.compare.score import score, score_all
from openbook.compare.style import habits
from openbook.errors import CompareError
from openbook.records import Case, Message, Span
from tests.compare_answers import answer, cites, hit

PIECES = st.sampled_from(
    (
        "15 days",
        "€62",
        "[1]",
        "[0]",
        "[99]",
        "5 March 2024",
        "2024-02-30",
        "12:60 pm",
        "“a b c d e”",
        '"',
        "\n",
        "- 1. ",
        "I can't find this in the documents.",
        "no",
        "İ",
        "�",
        "\x00",
        "²",
        "٣",
        "$1k",
        "$99999k",
        "(",
        "\\",
        "|",
    )
)
TEXT = st.one_of(st.text(max_size=60), st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=12).map(" ".join))
KINDS = st.sampled_from(["answerable", "unanswerable", "conflict", "behaviour", "fresh", "late", "general"])
ARMS = st.sampled_from(["base", "rag", "tuned", "tuned+rag", "extractive"])


@st.composite
def asked(draw: st.DrawFn, case: str = "q") -> tuple[Case, Row]:
    passages = [hit(text or "x", f"d{n}", n) for n, text in enumerate(draw(st.lists(TEXT, max_size=3)))]
    cited = [cites(one, one.chunk.text[:9]) for one in passages if draw(st.booleans())]
    arm = draw(ARMS)
    made = Case(
        question=draw(TEXT),
        gold=tuple(draw(st.lists(TEXT, max_size=3))),
        spans=tuple(Span(f"d{n}", n, n + 4) for n in range(draw(st.integers(0, 2)))),
        kind=draw(KINDS),
        history=tuple(Message("user", text) for text in draw(st.lists(TEXT, max_size=2))),
        id=case,
        stale=tuple(draw(st.lists(TEXT, max_size=2))),
        contexts=tuple(draw(st.lists(TEXT, max_size=1))),
        same="s",
    )
    said = answer(draw(TEXT), arm=arm, hits=passages, citations=cited, written=draw(TEXT))
    return made, Row(case, arm, said)


@given(asked("q"), asked("r"))
@settings(max_examples=300, deadline=None)
def test_every_score_of_any_answer_is_a_number_from_0_to_1_by_a_known_name(
    one: tuple[Case, Row], other: tuple[Case, Row]
) -> None:
    rows = score_all([one[0], other[0]], [one[1], other[1]], task=lambda reply, reference, turns: float(reply > "m"))
    for row in rows:
        assert row.scores.keys() <= METRICS.keys()
        assert all(type(value) is float and math.isfinite(value) and 0 <= value <= 1 for value in row.scores.values())
        assert all(value in (0, 1) for name, value in row.scores.items() if METRICS[name].kind == "share")


@given(asked())
@settings(max_examples=100, deadline=None)
def test_what_is_acceptable_is_right_and_no_refusal_is_both(asked: tuple[Case, Row]) -> None:
    case, row = asked
    found = score(case, row)
    assert not (found.get("false_refusal") and found.get("answer_correct"))
    assert found.get("answer_and_citation", 0) <= found.get("answer_correct", 1)
    assert found.get("answer_correct", 0) <= found.get("contains_gold", 1) or len(" ".join(case.gold).split()) >= 5


@given(TEXT)
@settings(max_examples=300, deadline=None)
def test_making_a_text_plain_never_raises_and_a_text_stands_in_itself(text: str) -> None:
    key = plain.plain(text)
    assert plain.stands(text, [text]) == bool(key)
    assert plain.stands(f"So: {text}", ["zzzqqq"]) is False
    plain.without(text, [text, ""])
    plain.quantities(text)
    unmarked(text)


@given(TEXT, TEXT)
def test_habits_of_any_two_texts_are_from_0_to_1(one: str, other: str) -> None:
    assert all(0 <= value <= 1 for value in habits(one, other).values())
    assert set(habits(one, one).values()) == {1.0}


@given(st.sampled_from([math.nan, math.inf, -0.1, 1.1, "good", None]))
def test_a_task_score_that_is_none_is_refused_by_name(value: object) -> None:
    case = Case("Hi", gold=("Hello",), kind="behaviour", id="b")
    with pytest.raises(CompareError, match="task score of 'base' on case 'b'"):
        score(case, Row("b", "base", answer("Hello", arm="base")), task=lambda *_: value)  # type: ignore[arg-type]


@given(asked())
@settings(max_examples=50, deadline=None)
def test_a_scored_row_survives_the_disk_where_its_text_is_unicode(asked: tuple[Case, Row]) -> None:
    _, row = asked
    if "\\ud800" not in repr(row):
        (scored,) = score_all([asked[0]], [row])
        assert read_row(row_line(scored)).scores == scored.scores
