"""Few-shot examples: equal tries for every arm, development cases apart from the examples, every try written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from openbook.compare.shots import Chosen, candidates, choose, from_section, held_out, likeness, section
from openbook.errors import ModelError
from openbook.records import Answer, Case, Example, Message
from tests.compare_answers import answer as made

TOPICS = ("the printer", "a lost badge", "the parking lot", "a new chair", "the coffee machine", "a broken door")


def example(number: int, *, system: str = "", reply: str = "", conversation: str = "") -> Example:
    topic = TOPICS[number % len(TOPICS)]
    turns = [
        Message("user", f"What about {topic} {number}?"),
        Message("assistant", reply or f"Hello! {topic} is fine."),
    ]
    head = [Message("system", system)] if system else []
    return Example((*head, *turns), place=f"voice.jsonl:{number}", conversation=conversation)


answer = partial(made, arm="base")


EXAMPLES = [example(number, system="Be kind.") for number in range(12)]
DEV = [Case("What about the printer?", ("Hello! it is fine.",), id="d1"), Case("And a chair?", ("Hello!",), id="d2")]


class Arms:
    """Arms that answer better the more examples they see, up to `enough`."""

    def __init__(self, enough: int) -> None:
        self.enough = enough
        self.seen: list[tuple[str, int]] = []

    def __call__(self, arm: str, turns: Sequence[Message]) -> Callable[[Case], Answer]:
        self.seen.append((arm, len(turns) // 2))
        return lambda case: answer("good" if len(turns) // 2 >= self.enough else "bad")


def good(_: Case, found: Answer) -> float:
    return float(found.text == "good")


def test_every_arm_has_the_same_tries_in_the_same_order() -> None:
    arms = Arms(enough=2)
    chosen = choose(EXAMPLES, DEV, arms, good, arms=("base", "rag"), tries=5)
    tried = [(one.name, one.places, one.n) for one in chosen.tries if one.arm == "base"]
    assert tried == [(one.name, one.places, one.n) for one in chosen.tries if one.arm == "rag"]
    assert [name for name, _, _ in tried] == ["none", "2 typical", "4 typical", "2 nearest", "4 nearest"]
    assert arms.seen == [(arm, count) for arm in ("base", "rag") for count in (0, 2, 4, 2, 4)]


def test_the_best_is_chosen_and_of_equals_the_one_with_fewest_examples() -> None:
    chosen = choose(EXAMPLES, DEV, Arms(enough=2), good, arms=("base",))
    assert [(one.name, one.score, one.chosen) for one in chosen.tries] == [
        ("none", 0.0, False),
        ("2 typical", 1.0, True),
        ("4 typical", 1.0, False),
        ("2 nearest", 1.0, False),
    ]
    assert len(chosen.shots["base"]) == 4
    assert choose(EXAMPLES, DEV, Arms(enough=0), good, arms=("base",)).shots["base"] == ()


def test_shown_turns_alternate_without_system_turns() -> None:
    for name, some in candidates(EXAMPLES, DEV, tries=9, seed=3):
        turns = choose(EXAMPLES, DEV, Arms(4), good, arms=("base",)).shots["base"]
        assert [turn.role for turn in turns[:4]] == ["user", "assistant"] * 2
        assert len(some) == len({one.place for one in some}) == int(name[0].replace("n", "0"))


def test_the_nearest_example_stands_last_and_is_about_what_is_asked() -> None:
    sets = dict(candidates(EXAMPLES, [Case("Where is the coffee machine?")], tries=5))
    assert "coffee machine" in sets["2 nearest"][-1].messages[1].content
    assert "coffee machine" in sets["4 nearest"][-1].messages[1].content


def test_typical_examples_are_not_twins() -> None:
    twins = [example(0) for _ in range(6)] + [example(number) for number in range(1, 4)]
    sets = dict(candidates(twins, DEV, tries=3))
    assert len({one.messages[0].content for one in sets["4 typical"]}) >= 3


def test_draws_depend_on_the_seed_only() -> None:
    drawn = candidates(EXAMPLES, DEV, tries=9, seed=1)
    assert drawn == candidates(EXAMPLES, DEV, tries=9, seed=1)
    assert drawn[:5] == candidates(EXAMPLES, DEV, tries=9, seed=2)[:5]
    assert drawn != candidates(EXAMPLES, DEV, tries=9, seed=2)


def test_a_question_without_an_answer_counts_nothing_and_is_told() -> None:
    def ask_with(arm: str, turns: Sequence[Message]) -> Callable[[Case], Answer]:
        def ask(case: Case) -> Answer:
            if turns and case.id == "d2":
                raise ModelError("it stumbled")
            return answer("good")

        return ask

    chosen = choose(EXAMPLES, DEV, ask_with, good, arms=("base",), tries=2)
    assert [(one.score, one.failed, one.chosen) for one in chosen.tries] == [(1.0, 0, True), (0.5, 1, False)]


@pytest.mark.parametrize(
    ("examples", "dev", "says"),
    [
        (EXAMPLES, [], "there is no development case"),
        (EXAMPLES[:1], DEV, "too few training conversations"),
        ([example(number, reply="x" * 5000) for number in range(9)], DEV, "short enough to show"),
        ([], DEV, "too few"),
    ],
)
def test_nothing_to_try_is_said_and_no_arm_gets_examples(examples: list[Example], dev: list[Case], says: str) -> None:
    chosen = choose(examples, dev, Arms(0), good, arms=("base", "rag"))
    assert chosen.shots == {"base": (), "rag": ()}
    assert says in chosen.notes[0]


def test_stopping_keeps_what_was_chosen() -> None:
    asked: list[int] = []

    def ask_with(arm: str, turns: Sequence[Message]) -> Callable[[Case], Answer]:
        return lambda case: asked.append(1) or answer("good" if turns else "bad")  # type: ignore[func-returns-value]

    chosen = choose(EXAMPLES, DEV, ask_with, good, arms=("base", "rag"), tries=2, stopping=lambda: len(asked) >= 5)
    assert len(chosen.shots["base"]) == 4
    assert chosen.shots["rag"] == ()
    assert {one.arm for one in chosen.tries} == {"base"}
    assert "was stopped" in chosen.notes[0]


def test_progress_counts_every_question_once() -> None:
    told: list[tuple[str, int, int]] = []
    choose(EXAMPLES, DEV, Arms(0), good, arms=("base", "rag"), tries=2, progress=lambda *step: told.append(step))
    assert told == [("choose examples", number, 8) for number in range(1, 9)]


def test_a_choice_is_plain_data_and_back() -> None:
    chosen = choose(EXAMPLES, DEV, Arms(2), good, arms=("base", "rag"))
    assert from_section(json.loads(json.dumps(section(chosen)))) == chosen
    assert from_section(section(Chosen({}, (), ("why",)))) == Chosen({}, (), ("why",))


def test_development_cases_share_no_conversation_with_the_examples() -> None:
    talks = [example(number, conversation=f"talk {number // 3}", system="Be kind.") for number in range(30)]
    shown, dev = held_out(talks, most=8, seed=1)
    assert len(shown) + len(dev) == 30
    assert 4 <= len(dev) <= 8
    by_place = {one.place: one.conversation for one in talks}
    assert not {by_place[case.id] for case in dev} & {one.conversation for one in shown}
    case = dev[0]
    assert case.kind == "behaviour"
    assert case.history == (Message("system", "Be kind."),)
    assert case.gold[0].startswith("Hello!")
    assert held_out(talks, most=8, seed=1) == (shown, dev)
    assert held_out([], seed=1) == ([], [])


def test_likeness_is_the_overlap_with_the_closest_gold() -> None:
    case = Case("?", ("the red house", "a blue car"))
    assert likeness(case, answer("A red house.")) == 1.0
    assert likeness(case, answer("nothing")) == 0.0
    assert likeness(Case("?"), answer("nothing")) == 0.0
