"""A question in, pieces of its answer and then the Answer out, for every door that asks: OpenAI, native, MCP, pages."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread
from fastapi import Request

from openbook.errors import OpenbookError
from openbook.records import Answer, Arm, Condition, Message
from openbook.serve import reach
from openbook.serve.access import Caller
from openbook.serve.errors import Refused

if TYPE_CHECKING:
    from openbook.answer.ask import AnswerStream
    from openbook.serve.admission import Turn
    from openbook.serve.state import Server

_T = TypeVar("_T")


class _End:
    """No more parts."""


_END = _End()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how."""

    text: str
    arm: Arm = "rag"
    adapter: str | None = None
    history: tuple[Message, ...] = ()
    where: tuple[Condition, ...] = ()
    contexts: tuple[str, ...] | None = None
    """Passages to answer from instead of searching."""
    task: str = ""
    """The conversation's own system turn."""
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: str = ""
    """The answer's text must be JSON of this schema; "" is free text."""


async def pieces(server: Server, who: Caller, question: Question) -> AsyncGenerator[str | Answer, None]:
    """Pieces of text as they come, then the checked Answer.

    Close the iterator (contextlib.aclosing) to stop generating: in line it gives up its place, later the model stops
    within a token. Raises Refused (429 with Retry-After when too many wait, 503 when the server stops), OpenbookError.
    """
    if question.arm in ("tuned", "tuned+rag"):
        await anyio.to_thread.run_sync(reach.check_adapter, server, who, question.adapter)
    run = _Run(server, who, question, await server.admission.turn(who.id))
    threading.Thread(target=contextvars.copy_context().run, args=(run.answer,), name="openbook-answer").start()
    try:
        while True:
            part = await run.parts.get()
            if isinstance(part, BaseException):
                raise part
            yield part
            if isinstance(part, Answer):
                return
    finally:
        run.cancel()


async def with_pauses(parts: AsyncGenerator[_T, None], seconds: float) -> AsyncGenerator[_T | None, None]:
    """The parts as they come, and None for every `seconds` without one: who waits can be told that there is more."""
    async with aclosing(parts):
        while True:
            coming = asyncio.ensure_future(anext(parts, _END))
            try:
                while not (await asyncio.wait((coming,), timeout=seconds))[0]:
                    yield None
            finally:
                coming.cancel()  # nothing to one that has ended
                await asyncio.gather(coming, return_exceptions=True)
            part = coming.result()
            if isinstance(part, _End):
                return
            yield part


async def whole(server: Server, who: Caller, question: Question) -> Answer:
    """The Answer alone; see pieces."""
    async with aclosing(pieces(server, who, question)) as parts:
        async for part in parts:
            if isinstance(part, Answer):
                return part
    raise OpenbookError("the answer ended without a result; ask again")


async def unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """What the work returns; it is cancelled when the client goes away before that.

    For endpoints that answer in one piece: `await unless_gone(request, whole(server, who, question))`. A streamed
    response notices by itself. Raises Refused 499, which nobody reads.
    """

    async def until_gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(until_gone())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Refused(499, "the client went away", code="client_gone")
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


class _Run:
    """One answer in a thread of its own, which keeps its turn until the model has let go of it."""

    def __init__(self, server: Server, who: Caller, question: Question, turn: Turn) -> None:
        self._gone = threading.Event()
        self.parts: asyncio.Queue[str | Answer | BaseException] = asyncio.Queue()
        """What came so far; as short as an answer."""
        self._server, self._who, self._question, self._turn = server, who, question, turn
        self._loop = asyncio.get_running_loop()
        self._writing: AnswerStream | None = None

    def cancel(self) -> None:
        """Nobody wants the rest: a model that is silent, still reading its prompt, is told so too. Does not wait."""
        self._gone.set()
        if self._writing is not None:
            self._loop.run_in_executor(None, self._writing.close)  # writes to a pipe, which may be full

    def answer(self) -> None:
        """Write the answer, to its end or to its cancellation."""
        began, answer, problem = time.time_ns(), None, None
        try:
            answer = self._write()
        except Exception as error:  # noqa: BLE001 - a thread has no caller: whatever it was travels to who asked
            problem = error
            self._put(error)
        finally:
            self._turn.done()
        self._server.meters.answered(self._question.arm, answer, failed=problem is not None)
        self._server.traces.answered(self._question, answer, began=began, error=problem)

    def _write(self) -> Answer | None:
        stream = self._writing = self._stream()
        try:
            if self._gone.is_set():  # before there was anything to close
                return None
            for piece in stream:
                if self._gone.is_set():
                    return None
                self._put(piece)
            if self._gone.is_set():
                return None
            self._put(stream.answer)
            return stream.answer
        finally:
            stream.close()

    def _stream(self) -> AnswerStream:
        question, house = self._question, self._server.house
        given = {"max_tokens": question.max_tokens, "temperature": question.temperature, "seed": question.seed}
        settings = house.settings.answer.model_copy(update={k: v for k, v in given.items() if v is not None})
        assistant = house.assistant(question.arm, adapter=question.adapter, settings=settings)
        return assistant.stream(
            question.text,
            history=question.history,
            scope=self._who.scope(self._server.labels, question.where),
            contexts=question.contexts,
            task=question.task,
            stop=question.stop,
            json_schema=question.json_schema,
        )

    def _put(self, part: str | Answer | BaseException) -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody listens any more
            self._loop.call_soon_threadsafe(self.parts.put_nowait, part)
