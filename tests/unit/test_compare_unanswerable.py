"""Questions that no document answers, contradicted passages and rewordings, made by rule."""

import random

import pytest

from openbook.questions.conflict import another, conflicts
from openbook.questions.paraphrase import reworded
from openbook.questions.unanswerable import Corpus, false_premise, near_miss, off_corpus, superseded
from openbook.records import Case, Chunk, Span

LEAVE = "# Leave\n\nClef offers 12 weeks of paid leave to all new parents.\n\nSick days: 5 a year (40 hours).\n"
OFFICE = "# Office\n\nThe Clef office opens at 9.\n\nEvery visitor must sign the book within 2 days.\n"
OTHER = "# Offer\n\nThe visitor book is signed within 2 days by every visitor.\n"


def case(question: str, gold: str, document: str, text: str) -> Case:
    start = text.index(gold)
    return Case(question, (gold,), (Span(document, start, start + len(gold)),), id=f"q-{document}-{start}")


WEEKS = case("How many weeks of paid leave does Clef offer to all new parents?", "12", "leave.md", LEAVE)
SICK = case("How many sick days are there a year?", "5", "leave.md", LEAVE)
VISIT = case("Within how many days must every visitor sign the book?", "2", "office.md", OFFICE)


def chunk(name: str, text: str) -> Chunk:
    return Chunk(name, 0, len(text), text)


def test_only_questions_that_can_be_asked_alone_and_are_strange_to_the_library_are_off_corpus() -> None:
    queries = [
        "Question: How often does Earth rotate on its axis?",
        "Question: Which of these is a planet?",
        "Question: A dog barks. What is its sound?",
        "Question: What weeks of paid leave do parents get?",
        "Question: Plants use sunlight to make",
    ]
    made = off_corpus(queries, Corpus({"leave.md": LEAVE}))
    assert [(one.question, one.kind, one.why) for one in made] == [
        ("How often does Earth rotate on its axis?", "unanswerable", "off-corpus")
    ]


def test_a_near_miss_asks_for_a_stranger_in_the_place_of_a_known_name() -> None:
    corpus = Corpus({"leave.md": LEAVE, "office.md": OFFICE})
    made = near_miss([WEEKS, VISIT], corpus)
    assert len(made) == 1
    name = made[0].question.removeprefix("How many weeks of paid leave does ").split()[0]
    assert made[0].question == WEEKS.question.replace("Clef", name)
    assert not corpus.mentions(name)
    assert (made[0].kind, made[0].why, made[0].gold) == ("unanswerable", "near-miss", ())


def test_a_part_of_a_name_is_not_replaced() -> None:
    text = "Peyton Manning led Denver. Manning is old. Manning won."
    asked = Case("Who says Peyton Manning became the first player to lead teams?", ("Denver",), id="1")
    assert near_miss([asked], Corpus({"a.md": text})) == []


def test_matters_of_a_workplace_are_asked_of_a_workplaces_library_only() -> None:
    hr = "Employees get vacation. Payroll pays the salary. Ask your manager about benefits."
    questions = {one.question for one in near_miss([], Corpus({"hr.md": f"{hr} Parking is free."}))}
    assert len(questions) > 20
    assert "Who gets a parking space, and what does it cost?" not in questions
    assert near_miss([], Corpus({f"{n}.md": "The tower was built of stone." for n in range(20)} | {"hr.md": hr})) == []


def test_a_false_premise_takes_another_value_for_granted() -> None:
    made = false_premise(Corpus({"leave.md": LEAVE, "office.md": OFFICE}))
    asked = sorted(one.question for one in made)
    assert len(asked) == 2
    assert asked[0].startswith("Why does Clef offer ")
    assert asked[0].endswith(" weeks of paid leave to all new parents?")
    assert "12" not in asked[0]
    assert asked[1].startswith("Why must every visitor sign the book within ")


@pytest.mark.parametrize(
    "sentence",
    [
        "It takes them 12 weeks to train all new parents.",
        "Parents usually take about 12 weeks of paid leave there.",
        "Clef offers 12 weeks of paid leave to parents because they need it.",
        "Clef could offer 12 weeks of paid leave to all new parents.",
        "The trams of Clef ran from 1980 to 1990 in the whole city.",
        "Clef takes State Route 29 into the city of Fresno.",
    ],
)
def test_no_premise_is_made_of_what_is_vague_or_says_its_own_reason(sentence: str) -> None:
    assert false_premise(Corpus({"a.md": f"The leave of Clef is paid by the state.\n\n{sentence}\n"})) == []


def test_a_value_that_stands_elsewhere_is_no_false_premise() -> None:
    every = "\n\n".join(f"Clef offers {n} weeks of paid leave to temporary staff." for n in range(2, 40))
    corpus = Corpus({"leave.md": LEAVE, "all.md": every})
    assert false_premise(corpus, names=["leave.md"]) == []


def test_a_withdrawn_documents_question_is_superseded_where_no_other_one_answers() -> None:
    corpus = Corpus({"leave.md": LEAVE, "office.md": OFFICE, "offer.md": OTHER})
    made = superseded([WEEKS, VISIT], corpus)
    assert [(one.question, one.without, one.stale, one.gold, one.spans) for one in made] == [
        (WEEKS.question, ("leave.md",), ("12",), (), ())
    ]


def test_a_conflicting_passage_says_the_new_value_and_no_longer_the_old_one() -> None:
    made = conflicts([WEEKS], {"leave.md": [chunk("leave.md", LEAVE)]})
    assert len(made) == 1
    (one,) = made
    assert (one.kind, one.question, one.stale, one.spans) == ("conflict", WEEKS.question, ("12",), WEEKS.spans)
    assert f"offers {one.gold[0]} weeks" in one.contexts[0]
    assert "12" not in one.contexts[0]


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        (LEAVE, "5"),  # the hours in brackets say it again
        ("Clef offers 12 weeks of leave. Twelve are enough.", "12"),
        ("Clef is led by Ann Smith.", "Ann Smith"),
        ("It runs from 1990-1995 there.", "1990-1995"),
    ],
)
def test_a_value_with_an_echo_or_without_a_plain_successor_makes_no_conflict(text: str, gold: str) -> None:
    asked = case("What is it there?", gold, "a.md", text)
    assert conflicts([asked], {"a.md": [chunk("a.md", text)]}) == []


def test_another_value_is_of_its_kind() -> None:
    chance = random.Random(0)
    for _ in range(200):
        day = another("March 31", chance)
        assert day is not None
        assert 1 <= int(day.removeprefix("March ")) <= 28
    assert another("Brooklyn", chance) is None


def test_the_same_seed_makes_the_same_and_the_order_given_does_not_matter() -> None:
    corpus = Corpus({"leave.md": LEAVE, "office.md": OFFICE})
    assert superseded([WEEKS, SICK], corpus, seed=3) == superseded([SICK, WEEKS], corpus, seed=3)
    assert false_premise(corpus, seed=3) == false_premise(corpus, seed=3)


@pytest.mark.parametrize(
    ("question", "text", "gold", "said"),
    [
        (WEEKS.question, LEAVE, "12", "how many weeks of paid leave Clef offers to all new parents"),
        ("When did Tesla die?", "Tesla died on 7 January 1943.", "7 January 1943", "when Tesla died"),
        ("When is Labor Day?", "Labor Day: May 1", "May 1", "when Labor Day is"),
        ("What should employees do when ill?", "call", "call", "what members of staff should do when ill"),
        ("What happens if it rains?", "Stay in.", "Stay in", "If it rains, what happens?"),
        ("How many visitors will receive it?", "All", "All", "What number of visitors will get it?"),
    ],
)
def test_a_question_is_reworded_by_what_its_sentence_says(question: str, text: str, gold: str, said: str) -> None:
    assert any(said in one for one in reworded(case(question, gold, "a.md", text), text))


@pytest.mark.parametrize(
    "question", ['What is given under "Cost" for "Desk"?', "Clef offers how many weeks?", "What is used for it?"]
)
def test_a_question_no_rule_is_sure_of_is_left(question: str) -> None:
    assert reworded(Case(question, ("x",))) == []
