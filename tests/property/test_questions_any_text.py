"""For any text: spans are exact, a split shares no document, evened quotes are found where they stand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from openbook import questions
from openbook.questions.draft import plain
from openbook.questions.endpoint import parse
from openbook.questions.locate import _evened, _flat, find
from openbook.records import Case, Span
from openbook.settings import Reading
from tests.questions_library import MemoryLibrary

PIECES = st.sampled_from(
    [
        "Clef was founded in 1990 by Anna Lee.",
        "The plan costs $5 per month.",
        "Clef offers 12 weeks (or 3 months) of leave.",
        "If it rains on Monday, you should stay at home.",
        "Over 60% of Norway's population died in 1349.",
        "It has 12 parts (3 of them old).",
        "Der Verein hat 250 Mitglieder.",
        "日本は2020年に",
        "# Heading",
        "## Who pays?",
        "\n\n",
        "\n",
        "**bold**",
        "[link](https://x.org)",
        "\n| Plan | Price |\n|---|---|\n| Basic | $5 |\n",
        "<table><tr><td>x</td><td>5</td></tr><tr><td>y</td><td>6</td></tr></table>",
        "`code`",
        "\n- item: 5 days",
        "\nQ: Why?\nA: So.\n",
        "“\u00a0\u2028",
        "\ud800",
        "ﬁ İ",
        "____ 1990, and. ?",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=12), max_size=25).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["a.md", "b.md", "c.txt"]), TEXTS, max_size=3))
def test_every_case_holds_its_answer_exactly(texts: dict[str, str]) -> None:
    built = questions.build(MemoryLibrary(texts), settings=Reading())
    for case in built.cases:
        assert case.question.strip() == case.question
        for span in case.spans:
            assert texts[span.document][span.start : span.end].casefold() == case.gold[0].casefold()
    train, held = questions.split(built.cases, 0.3, twins=built.twins)
    assert sorted(case.id for case in (*train, *held)) == sorted(case.id for case in built.cases)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 12), min_size=0, max_size=3), max_size=40),
    st.floats(0, 0.9),
    st.lists(st.lists(st.integers(0, 12), min_size=2, max_size=3), max_size=3),
)
def test_a_split_never_shares_a_document(groups: list[list[int]], share: float, twins: list[list[int]]) -> None:
    cases = [
        Case(f"Q{at}?", ("a",), tuple(Span(f"d{name}", 0, 1) for name in group)) for at, group in enumerate(groups)
    ]
    named = [[f"d{name}" for name in twin] for twin in twins]
    train, held = questions.split(cases, share, twins=named)
    one, other = ({span.document for case in part for span in case.spans} for part in (train, held))
    assert not one & other
    assert len(train) + len(held) == len(cases)
    for twin in named:
        assert not (set(twin) & one and set(twin) & other)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(0, 200), st.integers(0, 200))
def test_plain_text_knows_where_it_came_from(text: str, one: int, other: int) -> None:
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    clean = plain(text, start, end)
    assert len(clean.text) == len(clean.places)
    assert all(
        text[at] == char or (char == " " and text[at].isspace())
        for at, char in zip(clean.places, clean.text, strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.text(max_size=20))
def test_what_is_found_is_inside_the_text(text: str, quote: str) -> None:
    place = find(quote, text)
    if place is not None:
        assert 0 <= place[0] < place[1] <= len(text)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='{}[]",:qQuestionanswer 1\\\n', max_size=80))
def test_any_reply_of_a_model_can_be_read(reply: str) -> None:
    assert all(question and answer for question, answer in parse(reply))


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_the_quick_evening_equals_the_one_with_offsets(text: str) -> None:
    assert _flat(text) == _evened(text)[0]
