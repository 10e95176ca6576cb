"""What every seams.Generator must do: scripted, behind an endpoint, on OpenVINO loaded both ways, and in batches."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal

import pytest

from openbook import seams
from openbook.answer.generators.batched import BatchedGenerator
from openbook.answer.generators.endpoint import EndpointGenerator
from openbook.answer.generators.fake import ScriptedGenerator
from openbook.answer.generators.openvino import OpenVINOGenerator
from openbook.errors import ModelError, PromptTooLong, UsageError
from openbook.records import Generation, Message, Sampling
from openbook.settings import Endpoint
from tests.servers import ChatServer

TURNS = (
    Message("system", "You answer questions about cities in two or three sentences."),
    Message("user", "What is the capital of France?"),
    Message("assistant", "Paris."),
    Message("user", "Tell me more about it: its river, its towers, its food and its museums."),
)
TEXT = (
    "Paris lies on the Seine. Its best known tower is Eiffel's, its best known museum the Louvre — très beau 🗼 indeed."
)
LONG = Sampling(max_tokens=40)


@contextmanager
def made(kind: str) -> Iterator[seams.Generator]:
    with ExitStack() as stack:
        if kind == "scripted":
            generator: seams.Generator = ScriptedGenerator(lambda messages: TEXT)
        elif kind == "endpoint":
            server = stack.enter_context(ChatServer(reply=lambda messages: TEXT))
            generator = EndpointGenerator(Endpoint(url=server.url, model="tiny", api_key_env="OPENBOOK_TEST_NO_KEY"))
        else:
            from openbook.models import fetch

            files = fetch.ensure("smollm2-135m-instruct")
            prefer: Literal["start", "throughput"] = "start" if kind == "openvino-start" else "throughput"
            generator = BatchedGenerator(files) if kind == "batched" else OpenVINOGenerator(files, prefer=prefer)
        try:
            yield generator
        finally:
            generator.close()


KINDS = [
    "scripted",
    "endpoint",
    pytest.param("openvino-start", marks=pytest.mark.model),
    pytest.param("openvino-throughput", marks=pytest.mark.model),
    pytest.param("batched", marks=pytest.mark.model),
]


@pytest.fixture(scope="module", params=KINDS)
def generator(request: pytest.FixtureRequest) -> Iterator[seams.Generator]:
    with made(request.param) as it:
        yield it


def ask(generator: seams.Generator, sampling: Sampling = LONG) -> tuple[list[str], Generation]:
    *pieces, end = generator.stream(TURNS, sampling)
    assert isinstance(end, Generation)
    assert all(isinstance(piece, str) and piece for piece in pieces)
    return [str(piece) for piece in pieces], end


def alike(generator: seams.Generator, pieces: Sequence[object], expected: Sequence[str]) -> bool:
    """Whether an answer is the expected one. In a batch, rounding depends on what else is in the same step, and an
    answer may take another turn of phrase after its first words (docs/decisions/0116)."""
    first = 3 if isinstance(generator, BatchedGenerator) else len(expected)
    return len(pieces) > 3 and list(pieces[:first]) == list(expected[:first])


def test_it_is_a_generator(generator: seams.Generator) -> None:
    assert isinstance(generator, seams.Generator)
    assert generator.name
    assert generator.context > 0


def test_pieces_come_first_and_make_up_the_text_of_the_one_generation_at_the_end(generator: seams.Generator) -> None:
    pieces, end = ask(generator)
    assert len(pieces) > 3
    assert "".join(pieces) == end.text


def test_greedy_answers_repeat(generator: seams.Generator) -> None:
    assert ask(generator)[0] == ask(generator)[0]


def test_tokens_and_seconds_are_reported(generator: seams.Generator) -> None:
    _, end = ask(generator)
    assert 0 < end.prompt_tokens <= generator.count(generator.render(TURNS))
    assert 0 < end.answer_tokens <= LONG.max_tokens
    assert end.prefill_seconds >= 0
    assert end.decode_seconds >= 0


def test_max_tokens_cuts_the_answer_and_says_so(generator: seams.Generator) -> None:
    _, whole = ask(generator)
    _, cut = ask(generator, Sampling(max_tokens=3))
    assert cut.finish == "length"
    assert cut.answer_tokens == 3
    assert whole.text.startswith(cut.text)
    assert len(cut.text) < len(whole.text)


def test_a_stop_string_ends_the_answer_and_is_never_shown(generator: seams.Generator) -> None:
    _, whole = ask(generator)
    stop = whole.text[9:14]
    pieces, end = ask(generator, Sampling(max_tokens=40, stop=("\x00never", stop)))
    assert end.finish == "stop"
    assert "".join(pieces) == whole.text[: whole.text.index(stop)]


def test_a_json_schema_shapes_the_answer(generator: seams.Generator) -> None:
    if isinstance(generator, ScriptedGenerator | EndpointGenerator):
        pytest.skip("says what it is told; what it hands on is tested in test_generators_endpoint_schema.py")
    turns = [Message("user", "How many days has a week? Answer in JSON.")]
    shape = {"type": "object", "properties": {"days": {"type": "integer", "maximum": 99}}, "required": ["days"]}
    schema = json.dumps({**shape, "additionalProperties": False})
    *pieces, _ = generator.stream(turns, Sampling(max_tokens=40, json_schema=schema))
    assert list(json.loads("".join(map(str, pieces)))) == ["days"]


def test_a_schema_that_cannot_be_followed_is_refused_and_the_next_answer_is_whole(generator: seams.Generator) -> None:
    if isinstance(generator, ScriptedGenerator | EndpointGenerator):
        pytest.skip("knows no schema")
    expected, _ = ask(generator)
    with pytest.raises(UsageError, match="cannot be followed"):
        list(generator.stream(TURNS, Sampling(max_tokens=40, json_schema='{"type": "nonsense"}')))
    assert ask(generator)[0] == expected


def test_closing_the_iterator_cancels_and_the_next_answer_is_whole(generator: seams.Generator) -> None:
    expected, _ = ask(generator)
    stream = generator.stream(TURNS, Sampling(max_tokens=400))
    assert isinstance(next(stream), str)
    start = time.perf_counter()
    stream.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - start < 1
    assert ask(generator)[0] == expected


def test_an_unfinished_answer_does_not_block_another_in_the_same_thread(generator: seams.Generator) -> None:
    expected, _ = ask(generator)
    unfinished = generator.stream(TURNS, LONG)
    first = next(unfinished)
    assert alike(generator, ask(generator)[0], expected)
    assert alike(generator, [first, *unfinished][:-1], expected)


def test_threads_get_the_answers_they_would_get_alone(generator: seams.Generator) -> None:
    expected, _ = ask(generator)
    answers: list[list[str]] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(generator)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    assert all(alike(generator, answer, expected) for answer in answers)


def test_the_rendered_prompt_holds_every_message_once_and_in_order(generator: seams.Generator) -> None:
    prompt = generator.render(TURNS)
    places = [prompt.index(message.content) for message in TURNS]
    assert places == sorted(places)
    assert all(prompt.count(message.content) == 1 for message in TURNS[:2])


def test_counting_grows_with_the_text(generator: seams.Generator) -> None:
    assert generator.count("") == 0
    assert 1 <= generator.count("word") < generator.count("word " * 50)


def test_a_prompt_that_leaves_no_room_for_the_answer_is_refused_at_once(generator: seams.Generator) -> None:
    with pytest.raises(PromptTooLong, match="shorten the question"):
        generator.stream(TURNS, Sampling(max_tokens=generator.context))
    with pytest.raises(PromptTooLong):
        generator.stream([Message("user", "word " * (generator.context + 1))], Sampling(max_tokens=1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_generator_refuses_and_may_be_closed_again(kind: str) -> None:
    with made(kind) as generator:
        generator.close()
        with pytest.raises(ModelError, match="closed"):
            generator.stream(TURNS, LONG)
        generator.close()


@pytest.mark.model
@pytest.mark.parametrize("kind", ["openvino-throughput", "batched"])
def test_closing_from_another_thread_lets_go_of_who_waits_for_a_long_prompt(kind: str) -> None:
    turns = [Message("user", " ".join(f"word{n}" for n in range(1200)) + " Say which words these were.")]
    with made(kind) as generator:
        expected, _ = ask(generator)
        stream, got = generator.stream(turns, Sampling(max_tokens=400)), list[object]()
        reading = threading.Thread(target=lambda: got.extend(stream))
        reading.start()
        time.sleep(0.3)
        assert not got, "the prompt is being read"
        stream.close()  # type: ignore[attr-defined]
        reading.join(2)
        assert not reading.is_alive()
        assert not got
        assert ask(generator)[0] == expected
        if kind == "batched":
            assert generator._child is not None  # type: ignore[attr-defined]
            assert not generator._child._runs  # type: ignore[attr-defined]


@pytest.mark.model
def test_in_a_batch_a_schema_and_a_stop_string_hold_beside_other_answers() -> None:
    turns = [Message("user", "How many days has a week? Answer in JSON.")]
    shape = {"type": "object", "properties": {"days": {"type": "integer", "maximum": 99}}, "required": ["days"]}
    schema = json.dumps({**shape, "additionalProperties": False})
    with made("batched") as generator:
        beside = generator.stream(TURNS, Sampling(max_tokens=200))
        next(beside)
        ends: list[Generation] = []

        def answer(sampling: Sampling) -> None:
            *_, end = generator.stream(turns, sampling)
            assert isinstance(end, Generation)
            ends.append(end)

        orders = (Sampling(max_tokens=40, json_schema=schema), Sampling(max_tokens=40, stop=("e", "a", "i", "o")))
        threads = [threading.Thread(target=answer, args=(order,)) for order in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ends) == 2
        shaped = next(end for end in ends if end.text.startswith("{"))
        assert list(json.loads(shaped.text)) == ["days"]
        stopped = next(end for end in ends if end is not shaped)
        assert stopped.finish == "stop"
        assert not set(stopped.text) & set("eaio")
        beside.close()  # type: ignore[attr-defined]


@pytest.mark.model
def test_a_batch_left_by_an_answer_at_any_word_answers_the_same_prompt_as_before() -> None:
    with made("batched") as generator:
        for number in range(6):
            turns = [Message("user", "leave policy travel badge " * (10 + number) + "What is said about leave?")]
            for _ in range(2):
                *_, expected = generator.stream(turns, Sampling(max_tokens=24))
            stream = generator.stream(turns, Sampling(max_tokens=400))
            next(stream)
            stream.close()  # type: ignore[attr-defined]
            *_, end = generator.stream(turns, Sampling(max_tokens=24))
            assert isinstance(end, Generation)
            assert isinstance(expected, Generation)
            assert end.text == expected.text
