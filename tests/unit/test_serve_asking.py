"""Answers of a server: through the line, stopped when nobody listens, over a real socket."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import aclosing, contextmanager
from pathlib import Path

import httpx2
import openai
import pytest
import uvicorn

from openbook.answer.generators.fake import ScriptedGenerator
from openbook.errors import UsageError
from openbook.records import Answer, Generation, Message, Sampling
from openbook.seams import Generator
from openbook.serve.access import OPEN, Caller
from openbook.serve.app import create_app
from openbook.serve.asking import Question, pieces, whole
from openbook.serve.errors import Refused
from openbook.serve.run import _bind
from openbook.serve.state import Server
from openbook.serve.stopping import Stoppable
from tests.serving import desk

LONG = " ".join(f"word{n}" for n in range(400))


class Slow(ScriptedGenerator):
    """Says a word when it may, and counts what it said."""

    def __init__(self) -> None:
        super().__init__(lambda messages: LONG)
        self.may = threading.Semaphore(0)
        self.said = 0
        self.asked = False
        self.fails: Exception | None = None
        self.ended = threading.Event()

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Generation]:
        def paced() -> Iterator[str | Generation]:
            self.asked = True
            try:
                for piece in ScriptedGenerator.stream(self, messages, sampling):
                    self.may.acquire()
                    if self.fails:
                        raise self.fails
                    self.said += 1
                    yield piece
            finally:
                self.ended.set()

        return paced()


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def server(tmp_path: Path, slow: Slow) -> Iterator[Server]:
    workspace = desk(tmp_path, toml="[serve]\nconcurrent = 1\nwaiting = 1\n")
    ready: Future[Generator] = Future()
    ready.set_result(slow)
    for key in ("", "reader"):
        workspace.house._loaded[key] = ready
    yield Server(workspace)
    slow.may.release(10_000)
    workspace.close()


def caller(name: str) -> Caller:
    return Caller(name, name, OPEN.scopes)


SLOW = Question("Say something long.", arm="base")


def test_pieces_come_while_the_answer_is_written_and_the_answer_last(server: Server, slow: Slow) -> None:
    async def work() -> None:
        async with aclosing(pieces(server, OPEN, SLOW)) as parts:
            slow.may.release()
            assert await anext(parts) == "word0"
            slow.may.release(10_000)
            rest = [part async for part in parts]
        assert isinstance(rest[-1], Answer)
        assert all(isinstance(part, str) for part in rest[:-1])
        assert rest[-1].text.startswith("word0 word1")
        assert server.admission.running == 0 or await server.admission.ended(60)

    asyncio.run(work())


def test_closing_stops_the_model_within_a_token_and_frees_the_turn(server: Server, slow: Slow) -> None:
    async def work() -> None:
        async with aclosing(pieces(server, OPEN, SLOW)) as parts:
            slow.may.release(3)
            for _ in range(3):
                await anext(parts)
        slow.may.release()
        assert await server.admission.ended(60)
        assert slow.ended.is_set()
        assert slow.said <= 4

    asyncio.run(work())


def test_who_goes_while_the_model_is_silent_is_let_go_at_once(server: Server, slow: Slow) -> None:
    async def work() -> None:
        task = asyncio.create_task(whole(server, OPEN, SLOW))
        while not server.admission.running:
            await asyncio.sleep(0.01)
        task.cancel()
        started = time.perf_counter()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.perf_counter() - started < 20
        assert server.admission.running == 1, "the model is still busy, so its turn is not given away"
        slow.may.release()
        assert await server.admission.ended(60)

    asyncio.run(work())


def test_the_second_waits_the_third_is_refused_and_nothing_is_generated_for_who_left(
    server: Server, slow: Slow
) -> None:
    async def work() -> None:
        first = asyncio.create_task(whole(server, caller("a"), SLOW))
        second = asyncio.create_task(whole(server, caller("b"), SLOW))
        while server.admission.waiting != 1:
            await asyncio.sleep(0.01)
        with pytest.raises(Refused) as refused:
            await whole(server, caller("c"), SLOW)
        assert refused.value.status == 429
        assert int(refused.value.headers["Retry-After"]) >= 1
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert server.admission.waiting == 0
        slow.may.release(10_000)
        assert isinstance(await first, Answer)

    asyncio.run(work())


def test_what_goes_wrong_reaches_who_asked_and_frees_the_turn(server: Server) -> None:
    async def work() -> None:
        with pytest.raises(UsageError, match="needs a fine-tuned adapter"):
            await whole(server, OPEN, Question("Hello?", arm="tuned"))
        assert await server.admission.ended(60)

    asyncio.run(work())


def test_a_server_that_stops_finishes_answers_and_refuses_new_ones(server: Server, slow: Slow) -> None:
    async def work() -> None:
        first = asyncio.create_task(whole(server, OPEN, SLOW))
        while not server.admission.running:
            await asyncio.sleep(0.01)
        server.admission.stop()
        with pytest.raises(Refused) as refused:
            await whole(server, OPEN, SLOW)
        assert refused.value.status == 503
        slow.may.release(10_000)
        assert isinstance(await first, Answer)

    asyncio.run(work())


def test_an_asker_sees_only_what_its_groups_may(server: Server) -> None:
    async def work() -> None:
        question = Question("Where does the salary band of a senior engineer end?", arm="extractive")
        assert "98,000" in (await whole(server, OPEN, question)).text
        assert "98,000" not in (await whole(server, caller("a"), question)).text

    asyncio.run(work())


def test_told_to_stop_a_listening_server_ends_the_answer_refuses_the_next_and_leaves(
    server: Server, slow: Slow
) -> None:
    bound = _bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/api/ask"
    listening = Stoppable(uvicorn.Config(create_app(server), log_level="warning"), server)
    thread = threading.Thread(target=listening.run, kwargs={"sockets": [bound]})
    thread.start()
    while not listening.started:
        time.sleep(0.01)
    found: list[httpx2.Response] = []
    order = {"question": "Say something long.", "model": "base"}
    asker = threading.Thread(target=lambda: found.append(httpx2.post(url, json=order, timeout=30)))
    asker.start()
    while not server.admission.running:
        time.sleep(0.01)
    listening.handle_exit(signal.SIGTERM, None)
    while not server.admission.stopping:
        time.sleep(0.01)
    refused = httpx2.post(url, json=order, timeout=30)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    slow.may.release(10_000)
    asker.join(30)
    thread.join(30)
    assert found[0].status_code == 200
    assert found[0].json()["answer"].startswith("word0 word1")
    assert not thread.is_alive()


@contextmanager
def listening(server: Server) -> Iterator[httpx2.URL]:
    bound = _bind("127.0.0.1", 0)
    one = uvicorn.Server(uvicorn.Config(create_app(server), log_level="warning"))
    thread = threading.Thread(target=one.run, kwargs={"sockets": [bound]})
    thread.start()
    while not one.started:
        time.sleep(0.01)
    try:
        yield httpx2.URL(f"http://127.0.0.1:{bound.getsockname()[1]}")
    finally:
        one.should_exit = True
        thread.join(30)


CHAT = {"model": "base", "messages": [{"role": "user", "content": "Say something long."}]}


@pytest.mark.parametrize("speaks", [True, False], ids=["writing", "silent"])
@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("/api/ask", {"question": "Say something long.", "model": "base"}),
        ("/api/ask", {"question": "Say something long.", "model": "base", "stream": True}),
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/chat/completions", {**CHAT, "model": "rag", "stream": True}),
    ],
)
def test_a_client_that_hangs_up_stops_the_model_and_frees_its_turn(
    server: Server, slow: Slow, path: str, order: dict[str, object], speaks: bool
) -> None:
    if order["model"] == "rag":
        order = {**order, "messages": [{"role": "user", "content": "How many paid vacation days do colleagues get?"}]}
    body = json.dumps(order).encode()
    with listening(server) as place:
        with socket.create_connection((place.host, place.port or 0)) as wire:
            head = f"POST {path} HTTP/1.1\r\nHost: {place.host}:{place.port}\r\nContent-Type: application/json\r\n"
            wire.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            while not slow.asked:
                time.sleep(0.01)
            if speaks:
                slow.may.release()
                while not slow.said:
                    time.sleep(0.01)
        while server.admission.running:  # the server has to notice first; who is silent is not waited for
            slow.may.release()
            assert slow.said < 50
            time.sleep(0.05)
        assert slow.ended.is_set()
        assert server.admission.waiting == 0


def test_a_stream_says_that_it_is_alive_before_the_first_word_and_tells_late_errors_as_events(
    server: Server, slow: Slow
) -> None:
    with (
        listening(server) as place,
        httpx2.stream("POST", f"{place}/v1/chat/completions", json={**CHAT, "stream": True}, timeout=30) as reply,
    ):
        lines = (line for line in reply.iter_lines() if line)
        assert reply.status_code == 200
        assert json.loads(next(lines).removeprefix("data: "))["choices"][0]["delta"]["role"] == "assistant"
        assert next(lines).startswith(": ")
        assert slow.said == 0
        slow.fails = UsageError("the model fell over")
        slow.may.release(10_000)
        told = json.loads([line for line in lines if line.startswith("data: ")][-1].removeprefix("data: "))
        assert told["error"]["message"] == "the model fell over"


def test_the_official_client_is_told_to_come_back_later(server: Server, slow: Slow) -> None:
    def ask() -> None:
        client.chat.completions.create(**CHAT)  # type: ignore[call-overload]

    with listening(server) as place, openai.OpenAI(base_url=f"{place}/v1", api_key="any", max_retries=0) as client:
        askers = [threading.Thread(target=ask) for _ in range(2)]
        for asker in askers:
            asker.start()
        while not server.admission.waiting:
            time.sleep(0.01)
        with pytest.raises(openai.RateLimitError) as full:
            ask()
        assert (full.value.code, full.value.type) == ("too_many_waiting", "rate_limit_error")
        assert int(full.value.response.headers["Retry-After"]) >= 1
        slow.may.release(10_000)
        for asker in askers:
            asker.join(30)
        server.admission.stop()
        with pytest.raises(openai.InternalServerError) as stopping:
            ask()
        assert (stopping.value.status_code, stopping.value.code) == (503, "stopping")
        assert int(stopping.value.response.headers["Retry-After"]) >= 1


def test_a_mistake_of_the_server_is_told_as_an_error_and_not_what_it_was(
    server: Server, slow: Slow, capfd: pytest.CaptureFixture[str]
) -> None:
    def told(error: openai.APIError) -> tuple[str | None, str | None, bool]:
        return error.code, error.type, "secret" in str(error)

    with listening(server) as place, openai.OpenAI(base_url=f"{place}/v1", api_key="any", max_retries=0) as client:
        slow.may.release()
        parts = client.chat.completions.create(**CHAT, stream=True)  # type: ignore[call-overload]
        next(parts)
        slow.fails = ZeroDivisionError("a secret")
        slow.may.release(2)
        with pytest.raises(openai.APIError) as late:
            list(parts)
        with pytest.raises(openai.InternalServerError) as early:
            client.chat.completions.create(**CHAT)  # type: ignore[call-overload]
    assert told(early.value) == told(late.value) == ("internal_error", "server_error", False)
    assert capfd.readouterr().err.count("ZeroDivisionError: a secret") >= 2, "the log says it"
