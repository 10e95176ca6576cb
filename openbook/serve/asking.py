"""A question in, pieces of its answer and then the Answer out, for every door that asks: OpenAI, native, MCP, pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from openbook.errors import OpenbookError
from openbook.records import Answer, Arm, Condition, Message
from openbook.serve.access import Caller

if TYPE_CHECKING:
    from openbook.answer.ask import AnswerStream
    from openbook.serve.state import Server


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how."""

    text: str
    arm: Arm = "rag"
    adapter: str | None = None
    history: tuple[Message, ...] = ()
    where: tuple[Condition, ...] = ()
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

    Close the iterator (contextlib.aclosing) to stop generating. Raises Refused (429 with Retry-After when too many
    wait), OpenbookError.
    """
    given = {"max_tokens": question.max_tokens, "temperature": question.temperature, "seed": question.seed}
    settings = server.house.settings.answer.model_copy(update={k: v for k, v in given.items() if v is not None})

    def start() -> AnswerStream:
        assistant = server.house.assistant(question.arm, adapter=question.adapter, settings=settings)
        return assistant.stream(
            question.text,
            history=question.history,
            scope=who.scope(server.labels, question.where),
            task=question.task,
        )

    stream = await anyio.to_thread.run_sync(start)
    try:
        while (piece := await anyio.to_thread.run_sync(next, stream, None)) is not None:
            yield piece
        yield stream.answer
    finally:
        stream.close()


async def whole(server: Server, who: Caller, question: Question) -> Answer:
    """The Answer alone; see pieces."""
    async with aclosing(pieces(server, who, question)) as parts:
        async for part in parts:
            if isinstance(part, Answer):
                return part
    raise OpenbookError("the answer ended without a result; ask again")
