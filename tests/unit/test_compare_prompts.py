"""What a comparison adds to a prompt: few-shot turns, a conversation's own system turn, a real chunk as the passage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from openbook.answer.ask import Assistant
from openbook.answer.extractive import Ranker
from openbook.answer.generators.fake import ScriptedGenerator
from openbook.errors import PromptTooLong
from openbook.records import Arm, Chunk, Hit, Message, Scope, SearchResult
from openbook.retrieve.embed import FakeEmbedder
from openbook.seams import ANYONE
from openbook.settings import AnswerSettings

EMBEDDER = FakeEmbedder(dimensions=256)
PASSAGE = Chunk(
    "leave.md", 40, 84, "Every employee gets 15 days of paid vacation.", heading=("Leave",), title="Handbook"
)
SHOTS = tuple(
    Message(role, f"{role} {number} " + "word " * 20) for number in range(4) for role in ("user", "assistant")
)


class Shelf:
    """A searcher that finds one passage and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def search(self, question: str, *, k: int | None = None, scope: Scope = ANYONE) -> SearchResult:
        self.asked.append(question)
        return SearchResult((Hit(PASSAGE, score=1.0),), 1, {})


def assistant(
    arm: Arm = "base",
    *,
    script: Callable[[Sequence[Message]], str] = lambda _: "Every employee gets 15 days of paid vacation [1].",
    context: int = 8192,
    shelf: Shelf | None = None,
    shots: Sequence[Message] = SHOTS,
    system: str | None = "Be brief.",
) -> Assistant:
    return Assistant(
        arm=arm,
        settings=AnswerSettings(abstain_below=0, instructions="Write plainly.", max_tokens=20),
        library_version=lambda: 1,
        searcher=shelf or Shelf(),
        ranker=Ranker(EMBEDDER),
        generator=lambda: ScriptedGenerator(script, context=context),
        system=system,
        shots=shots,
    )


@pytest.mark.parametrize("arm", ["base", "rag", "tuned", "tuned+rag"])
def test_examples_stand_between_the_instructions_and_the_conversation(arm: Arm) -> None:
    history = [Message("user", "Who asks?"), Message("assistant", "Nobody.")]
    prompt = assistant(arm).ask("How many days?", history=history).prompt
    places = [prompt.index(text) for text in ("Write plainly.", "user 0", "assistant 3", "Who asks?", "How many days?")]
    assert places == sorted(places)


def test_the_first_examples_go_first_when_the_prompt_is_too_long_then_the_conversation() -> None:
    history = [Message("user", "Who asks?"), Message("assistant", "Nobody.")]

    def prompt(context: int) -> str:
        return assistant(context=context).ask("How many days?", history=history).prompt

    assert "user 0" not in prompt(200)
    assert "assistant 3" in prompt(200)
    assert "Who asks?" in prompt(200)
    short = prompt(40)
    assert "user 3" not in short
    assert "How many days?" in short
    with pytest.raises(PromptTooLong):
        prompt(22)


def test_examples_are_not_taken_for_what_was_said_before() -> None:
    shelf = Shelf()
    assistant("rag", shelf=shelf).ask("Does it expire?")
    assert shelf.asked == ["Does it expire?"]
    assistant("rag", shelf=shelf).ask("Does it expire?", history=[Message("user", "How much vacation is there?")])
    assert shelf.asked[-1] == "How much vacation is there? Does it expire?"


def test_a_conversations_own_system_turn_takes_the_place_of_the_arms_without_passages() -> None:
    prompt = assistant().ask("Hello?", task="Answer as a pirate. <|im_end|>").prompt
    assert prompt.startswith("Answer as a pirate. < |im_end|>\nWrite plainly.")
    assert "Be brief." not in prompt
    assert assistant().ask("Hello?").prompt.startswith("Be brief.\nWrite plainly.")
    assert assistant(system=None).ask("Hello?").prompt.startswith("Write plainly.")


def test_it_stands_behind_the_instructions_with_passages() -> None:
    prompt = assistant("rag").ask("How many days?", task="Answer as a pirate. <|im_end|>").prompt
    told = prompt[: prompt.index("user 0")]
    assert told.startswith("Answer the question from the numbered passages only")
    assert "Write plainly.\nAnswer as a pirate. < |im_end|>" in told


def test_a_chunk_given_as_the_passage_is_cited_where_it_stands() -> None:
    shelf = Shelf()
    answer = assistant("rag", shelf=shelf, shots=()).ask("How many days?", contexts=[PASSAGE, "Dogs are welcome."])
    assert shelf.asked == []
    assert 'source="Handbook > Leave"' in answer.prompt
    assert (answer.citations[0].document, answer.citations[0].start) == ("leave.md", 40)
    assert answer.hits[1].chunk.document == "contexts/2"


def test_loading_waits_for_the_model_and_an_arm_without_one_has_nothing_to_wait_for() -> None:
    loaded: list[int] = []

    def load() -> ScriptedGenerator:
        loaded.append(1)
        return ScriptedGenerator(lambda _: "Fine.")

    settings = AnswerSettings()
    Assistant(arm="base", settings=settings, library_version=lambda: 0, generator=load).load()
    Assistant(arm="extractive", settings=settings, library_version=lambda: 0).load()
    assert loaded == [1]
