"""Building questions from a library: what is kept, refused, said; versions and access."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from openbook import questions
from openbook.errors import EndpointError, UsageError
from openbook.metrics import contains
from openbook.questions.filters import copied, occurrences
from openbook.records import Case, Generation, Message, Sampling, Span
from openbook.seams import Generator, Library
from openbook.settings import Reading
from tests.questions_library import MemoryLibrary, real_library

POLICY = """# Travel policy

## Hotels

Clef was founded in 2013 by three friends from Oakland. The Oakland office has 14 desks and 3 meeting rooms there.
Employees of Clef may spend up to $180 per night on a hotel in San Francisco during a conference.

## Trains

Clef pays for 52 train tickets per employee in a calendar year. If a train to Oakland is cancelled, you should book the
next coach with the travel desk of Clef.

## Who approves travel?

The operations manager of Clef approves every journey.
"""
OTHER = """# Library rules

The public library of Leeds opened in 1908 on Park Street. Members of the Leeds library may borrow 12 books for 28 days.
Over 40% of the members of the Leeds library live in Headingley. The reading room of the Leeds library offers 96 seats.
"""


def built(texts: dict[str, str], **keywords: object) -> questions.Built:
    return questions.build(MemoryLibrary(texts), settings=Reading(), **keywords)  # type: ignore[arg-type]


def test_the_memory_library_is_a_library() -> None:
    assert isinstance(MemoryLibrary({}), Library)


def test_questions_of_a_real_library_hold_their_answer_in_one_chunk(tmp_path: Path) -> None:
    library = real_library(tmp_path, {"policy.md": POLICY, "rules.md": OTHER})
    try:
        made = questions.build(library, settings=Reading(), seed=1)
        assert len(made.cases) >= 8
        assert made.documents == 2
        for case in made.cases:
            (span,) = case.spans
            document = library.document(span.document)
            assert document is not None
            assert document.text[span.start : span.end] == case.gold[0]
            holding = [chunk for _, chunk in library.chunks_of(span.document) if chunk.start <= span.start < chunk.end]
            assert any(occurrences(case.gold[0], chunk.text) == 1 for chunk in holding)
            assert not copied(case.question, document.text) or case.origin == "heading"
            assert not contains(case.question, case.gold) or case.origin == "heading"
        assert {case.origin for case in made.cases} == {"heading", "sentence"}
        assert len({case.id for case in made.cases}) == len(made.cases)
    finally:
        library.close()


def test_the_same_seed_gives_the_same_questions_and_order_of_documents_does_not_matter() -> None:
    one = built({"a.md": POLICY, "b.md": OTHER}, seed=3)
    other = built({"b.md": OTHER, "a.md": POLICY}, seed=3)
    assert one.cases == other.cases


def test_documents_of_other_groups_are_left_out_until_a_group_is_named() -> None:
    library = MemoryLibrary({"open.md": OTHER, "pay.md": POLICY}, acl={"pay.md": ["hr"]})
    public = questions.build(library, settings=Reading())
    assert {span.document for case in public.cases for span in case.spans} == {"open.md"}
    assert any("1 documents are not open to all" in note for note in public.notes)
    inside = questions.build(library, settings=Reading(groups=("hr",)))
    assert {span.document for case in inside.cases for span in case.spans} == {"open.md", "pay.md"}


def test_an_answer_of_a_closed_document_is_not_found_for_the_users_own_question() -> None:
    library = MemoryLibrary({"pay.md": POLICY}, acl={"pay.md": ["hr"]})
    (case,), notes = questions.locate([Case("How many desks has the Oakland office?", ("14 desks",))], library)
    assert case.spans == ()
    assert "was not found in the library" in notes[0]


def test_one_version_is_read_even_when_the_library_changes_meanwhile() -> None:
    library = MemoryLibrary({"a.md": OTHER, "b.md": POLICY})

    def change(step: str, done: int, total: int) -> None:
        if library.version() == 1:
            library.put("a.md", OTHER.replace("1908", "1955").replace("28 days", "7 days"))

    made = questions.build(library, settings=Reading(), progress=change)
    assert made.version == 1
    golds = {case.gold[0] for case in made.cases}
    assert "1908" in golds
    assert not golds & {"1955", "7"}
    assert any("moved from version 1 to 2 meanwhile" in note for note in made.notes)


def test_an_empty_library_and_documents_without_facts_are_said() -> None:
    empty = built({})
    assert empty.cases == ()
    assert any("there is no document" in note for note in empty.notes)
    dull = built({"a.md": "Nothing happened.\n\nIt was so.", "b.md": "", "c.md": "???\n\n***"})
    assert dull.cases == ()
    assert any("3 documents gave no question" in note for note in dull.notes)
    assert any("give your own, or use an endpoint model" in note for note in dull.notes)


def test_three_documents_are_said_to_be_few() -> None:
    made = built({"a.md": POLICY, "b.md": OTHER, "c.md": "# Empty"})
    assert any("3 documents are few" in note for note in made.notes)


def test_no_english_rule_fires_on_a_german_document() -> None:
    german = (
        "# Satzung\n\nDer Verein wurde 1990 in Berlin gegründet und hat heute 250 Mitglieder in vier Abteilungen. "
        "Der Beitrag beträgt 45 € im Jahr und wird im Januar eingezogen, für Schüler des Gymnasiums der halbe.\n\n"
        "| Tarif | Preis |\n|---|---|\n| Basis | 5,20 € |\n"
    )
    made = built({"satzung.md": german})
    assert any("1 documents are not in English" in note for note in made.notes)
    assert made.cases
    assert all("____" in case.question or case.question == "Basis: Preis?" for case in made.cases)


def test_the_same_question_with_other_answers_elsewhere_is_dropped_and_equal_ones_share_spans() -> None:
    one = "# A\n\nThe Leeds office of Clef opened in 2012 near Park Street. Clef pays 15 dollars an hour to guards."
    made = built({"a.md": one, "b.md": one.replace("# A", "# B"), "c.md": one.replace("2012", "2015")})
    opened = [case for case in made.cases if "opened" in case.question or "open" in case.question]
    assert opened == []
    assert made.rejected["the same question has different answers"] >= 1
    assert made.rejected["asked already"] >= 1
    assert any(len({span.document for span in case.spans}) > 1 for case in made.cases)
    assert made.twins == (("a.md", "b.md", "c.md"),) or made.twins


def test_no_document_dominates() -> None:
    long = "# Long\n\n" + "\n\n".join(
        f"Building {n} of the Clef campus in Leeds was opened in {1900 + n} by the mayor of Leeds." for n in range(90)
    )
    made = built({"long.md": long, "a.md": POLICY, "b.md": OTHER, "c.md": OTHER.replace("Leeds", "York")})
    share = [case.spans[0].document for case in made.cases].count("long.md") / len(made.cases)
    assert share <= 12 / 20
    assert made.rejected["its document has enough questions"] > 0


def test_at_most_the_asked_number_of_questions_is_made() -> None:
    made = questions.build(MemoryLibrary({"a.md": POLICY, "b.md": OTHER}), settings=Reading(questions=5))
    assert len(made.cases) == 5


def test_some_questions_follow_up_on_others_without_giving_the_answer_away() -> None:
    texts = {f"{place}.md": OTHER.replace("Leeds", place) for place in ("Leeds", "York", "Hull", "Bath", "Ely")}
    made = built(texts)
    turned = [case for case in made.cases if case.history]
    assert 0 < len(turned) <= 0.15 * len(made.cases) + 1
    for case in turned:
        assert [turn.role for turn in case.history] == ["user", "assistant"]
        assert not contains(" ".join(turn.content for turn in case.history), case.gold)


class Writer:
    """A generator that gives the same replies again and again."""

    name, context = "writer", 4096

    def __init__(self, *replies: str | Exception) -> None:
        self.replies, self.asked = replies, 0

    def render(self, messages: Sequence[Message]) -> str:
        return "\n".join(message.content for message in messages)

    def count(self, text: str) -> int:
        return len(text.split())

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Generation]:
        reply = self.replies[self.asked % len(self.replies)]
        self.asked += 1
        if isinstance(reply, Exception):
            raise reply
        yield reply
        yield Generation(reply, 1, 1, 0.0, 0.0, "stop")

    def close(self) -> None:
        return None


def test_questions_of_a_model_are_checked_like_the_others() -> None:
    reply = (
        'Sure:\n{"question": "What is the nightly allowance for lodging in San Francisco?", "answer": "$180"}\n'
        '{"question": "What does this passage discuss?", "answer": "a hotel in San Francisco"}\n'
        '{"question": "How big is the budget?", "answer": "900 dollars"}\n'
    )
    writer = Writer(reply)
    assert isinstance(writer, Generator)
    made = built({"policy.md": POLICY}, generator=writer)
    ours = [case for case in made.cases if case.origin == "endpoint"]
    assert [(case.question, case.gold) for case in ours] == [
        ("What is the nightly allowance for lodging in San Francisco?", ("$180",))
    ]
    assert made.rejected["endpoint: the answer is not in the passage"] >= 1
    assert made.rejected["the question cannot stand alone"] >= 1


@pytest.mark.parametrize(
    "reply",
    [EndpointError("the server is gone"), RuntimeError("boom"), "I am sorry, I cannot.", '{"question": ', "{}" * 50],
)
def test_a_model_that_fails_or_babbles_never_stops_the_build(reply: str | Exception) -> None:
    texts = {f"{n}.md": POLICY.replace("Oakland", f"Oak{n}") for n in range(9)}
    writer = Writer(reply)
    made = built(texts, generator=writer)
    assert made.cases
    assert writer.asked == 5
    assert any("was asked about 5 passages and then no more" in note for note in made.notes)
    assert sum(count for reason, count in made.rejected.items() if reason.startswith("endpoint: ")) == 5


def test_the_users_own_questions_come_first_and_are_not_asked_again() -> None:
    own = Case("When did the public library of Leeds open on Park Street?", ("1908",), id="mine")
    made = built({"rules.md": OTHER}, given=[own])
    assert made.cases[0].id == "mine"
    assert made.cases[0].spans[0].document == "rules.md"
    assert [case.question for case in made.cases].count(own.question) == 1


def test_a_split_holds_out_whole_documents_and_documents_that_belong_together() -> None:
    cases = [Case(f"Q{n}?", ("a",), (Span(f"d{n % 20}.md", 0, 1),), id=str(n)) for n in range(200)]
    cases.append(Case("Both?", ("a",), (Span("d1.md", 0, 1), Span("d2.md", 0, 1))))
    train, held = questions.split(cases, 0.2, seed=4, twins=[("d3.md", "d4.md")])
    sides = [{span.document for case in part for span in case.spans} for part in (train, held)]
    assert not sides[0] & sides[1]
    assert 30 <= len(held) <= 50
    assert {"d1.md", "d2.md"} <= sides[0] or {"d1.md", "d2.md"} <= sides[1]
    assert {"d3.md", "d4.md"} <= sides[0] or {"d3.md", "d4.md"} <= sides[1]
    assert questions.split(cases, 0.2, seed=4, twins=[("d3.md", "d4.md")]) == (train, held)
    assert questions.split(cases, 0.0)[1] == []
    with pytest.raises(UsageError, match=r"share = 1\.5 must be"):
        questions.split(cases, 1.5)
