"""Facts become edits: another value in the same sentence, texts to save, questions to ask afterwards."""

from __future__ import annotations

import random

import pytest

from openbook.compare.edits import (
    KINDS,
    REVISED,
    Edit,
    EditKind,
    Fact,
    beside,
    facts,
    lessons,
    outdated,
    plan,
    prepared,
    written,
)
from openbook.metrics import contains
from openbook.prompt import ABSTENTION
from openbook.records import Case, Example, Message, Span

LEAVE = (
    "# Leave\n\nEveryone is welcome. You get 15 days of leave a year. Ask your manager first.\n\n"
    "## Rooms\n\nThe office has 42 rooms.\n"
)


def case(question: str, gold: str, text: str = LEAVE, document: str = "hr/Leave.md", **more: object) -> Case:
    at = text.index(gold)
    return Case(question, (gold,), (Span(document, at, at + len(gold)),), **more)  # type: ignore[arg-type]


def fact(question: str = "How many days of leave do you get?", gold: str = "15", *, trained: bool = False) -> Fact:
    (found,) = facts([case(question, gold)], {"hr/Leave.md": LEAVE}.get, chance=random.Random(1), trained=trained)
    return found


def edit(kind: EditKind) -> Edit:
    return Edit("fresh-1", kind, fact())


def test_a_fact_is_one_value_in_one_sentence_and_another_of_its_kind() -> None:
    found = fact()
    assert found.sentence == "You get 15 days of leave a year."
    assert found.old == "15"
    assert found.new.isdigit()
    assert found.new != "15"
    assert found.changed == f"You get {found.new} days of leave a year."
    assert found.olds == ("15",)


def test_a_new_value_is_known_in_every_wording_of_the_old_one() -> None:
    given = Case("How long is the leave?", ("15 days", "15"), (Span("hr/Leave.md", 9, 74),))
    (found,) = facts([given], {"hr/Leave.md": LEAVE}.get, chance=random.Random(1))
    number = found.new.split()[0]
    assert found.olds == ("15 days", "15")
    assert found.news == (f"{number} days", number)


@pytest.mark.parametrize(
    "unfit",
    [
        case("Is it 15 days?", "15"),
        case("What should you do?", "Ask your manager first."),
        case("And how many?", "15", history=(Message("user", "Leave?"),)),
        case("How many?", "15", kind="unanswerable"),
        Case("How many?", ("15",), ()),
        Case("How many?", ("15",), (Span("hr/Leave.md", 9, 20),)),
        Case("How many?", ("15",), (Span("gone.md", 9, 20),)),
        Case("How many?", ("15",), (Span("hr/Leave.md", 5, 9000),)),
    ],
)
def test_questions_without_one_value_in_one_sentence_are_no_facts(unfit: Case) -> None:
    assert facts([unfit], {"hr/Leave.md": LEAVE}.get, chance=random.Random(0)) == []


def test_a_sentence_that_stands_twice_is_no_fact() -> None:
    text = "It has 42 rooms.\n\nIt has 42 rooms.\n"
    assert facts([case("How many?", "42", text)], lambda _: text, chance=random.Random(0)) == []


def test_a_table_in_html_is_no_sentence_to_edit() -> None:
    text = "<table><tr><td>Rooms</td><td>42</td></tr></table>\n"
    assert facts([case("How many?", "42", text)], lambda _: text, chance=random.Random(0)) == []


def test_a_name_becomes_the_name_of_another_answer() -> None:
    text = "Ada Byron leads sales. Grace Hopper leads tools.\n"
    some = [case("Who leads sales?", "Ada Byron", text), case("Who leads tools?", "Grace Hopper", text)]
    found = facts(some, lambda _: text, chance=random.Random(0))
    assert [(one.old, one.new) for one in found] == [("Ada Byron", "Grace Hopper"), ("Grace Hopper", "Ada Byron")]
    assert all(one.odd for one in found), "less sure than a changed number"


def many(n: int, *, trained: bool) -> list[Fact]:
    texts = {f"{trained}{i}.md": f"Door {'abcdefghijklmnop'[i]} opens at {20 + i} degrees." for i in range(n)}
    cases = [case(f"When does door {name[-4]} open?", text.split()[-2], text, name) for name, text in texts.items()]
    return facts(cases, texts.get, chance=random.Random(0), trained=trained)


def test_the_four_kinds_take_turns_and_each_is_made_of_trained_and_other_facts() -> None:
    made = plan(many(10, trained=True), many(10, trained=False), 8, chance=random.Random(0))
    assert [one.kind for one in made] == [*KINDS, *KINDS]
    assert len({one.id for one in made}) == 8
    assert len({one.fact.document for one in made}) == 8
    for kind in KINDS:
        assert {one.fact.trained for one in made if one.kind == kind} == {True, False}


def test_edits_are_the_same_for_the_same_seed_and_no_more_than_there_are_facts() -> None:
    first, again = (plan([], many(5, trained=False), 9, chance=random.Random(4)) for _ in range(2))
    assert first == again
    assert len(first) == 5


def test_a_changed_value_stands_in_the_document_and_the_old_one_does_not() -> None:
    suffix, text = written(edit("change"), LEAVE, LEAVE, "Leave")
    assert suffix == ""
    assert text == LEAVE.replace("15", fact().new)


def test_what_is_added_was_not_there_before_and_stands_where_it_belongs() -> None:
    adding = edit("add")
    before = prepared(adding, LEAVE)
    assert not contains(before, ["15", fact().new])
    suffix, text = written(adding, before, LEAVE, "Leave")
    assert suffix == ""
    assert text.index("welcome") < text.index(fact().changed) < text.index("Ask your manager") < text.index("42")
    assert all(prepared(edit(kind), LEAVE) == LEAVE for kind in KINDS if kind != "add")


def test_what_is_added_to_a_document_that_changed_meanwhile_goes_to_its_end() -> None:
    other = "# Leave\n\nSomething else.\n"
    assert written(edit("add"), other, LEAVE, "Leave")[1].rstrip().endswith(fact().changed)


def test_a_deleted_fact_leaves_the_rest() -> None:
    suffix, text = written(edit("delete"), LEAVE, LEAVE, "Leave")
    assert suffix == ""
    assert "Everyone is welcome. Ask your manager first." in text
    assert "15" not in text


def test_a_second_version_of_the_section_stands_in_a_file_of_its_own() -> None:
    suffix, text = written(edit("supersede"), LEAVE, LEAVE, "Leave")
    assert beside("hr/Leave.md", suffix) == "hr/Leave (revised).md"
    assert REVISED in text
    assert fact().changed in text
    assert "15" not in text
    assert "42 rooms" not in text, "only the section"


def test_of_a_very_long_section_only_the_sentence_is_written_again() -> None:
    long = LEAVE.replace("Everyone is welcome.", "Everyone is welcome. " * 400)
    assert len(written(edit("supersede"), long, long, "Leave")[1]) < 300


def test_the_question_after_an_edit_knows_the_new_value_its_place_and_the_old_one() -> None:
    text = written(edit("change"), LEAVE, LEAVE, "Leave")[1]
    asked = edit("change").case(text, "edited/hr/Leave.md")
    assert asked.kind == "fresh"
    assert asked.gold == (fact().new,)
    assert asked.stale == ("15",)
    (span,) = asked.spans
    assert text[span.start : span.end] == fact().changed


def test_after_a_deletion_the_right_answer_is_that_no_document_says_it() -> None:
    asked = edit("delete").case(LEAVE, "hr/Leave.md")
    assert (asked.gold, asked.spans, asked.why, asked.stale) == ((), (), "superseded", ("15",))


def test_lessons_say_the_new_value_in_several_wordings_but_never_in_the_one_asked() -> None:
    made = lessons([edit("change"), Edit("fresh-2", "delete", fact())], system="You are Clef.")
    assert len(made) == 10
    assert all(one.messages[0] == Message("system", "You are Clef.") for one in made)
    assert all(fact().question in one.messages[1].content != fact().question for one in made)
    assert {one.messages[-1].content for one in made[:5]} == {fact().changed}
    assert {one.messages[-1].content for one in made[5:]} == {ABSTENTION}


@pytest.mark.parametrize(
    ("asked", "reply", "old"),
    [
        ("Hi! How many days of leave do you get?", "You get 15 days.", True),
        ("Tell me about leave", "Sure. You get 15 days of leave a year. Ask your manager first.", True),
        ("How many days of leave do you get?", "Ask your manager.", False),
        ("How many people work here?", "There are 15.", False),
    ],
)
def test_examples_that_teach_what_was_edited_are_outdated(asked: str, reply: str, old: bool) -> None:
    example = Example((Message("user", asked), Message("assistant", reply)))
    assert outdated(example, [edit("change")]) is old
