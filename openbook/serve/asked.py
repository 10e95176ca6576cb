"""Questions over HTTP in JSON: the ways of answering, an answer whole or as a stream of events, and conversations."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from openbook.errors import OpenbookError
from openbook.records import Answer, Message
from openbook.retrieve.where import parse
from openbook.serve import arms, asking, errors, history, openai_models
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.shapes import Arms, Asked, Conversations, Deleted, Order, Reply, Talk, Text, Where
from openbook.serve.state import Server, server_of
from openbook.wire import answer_json

router = APIRouter(prefix="/api", tags=["ask"])
Here = Annotated[Server, Depends(server_of)]
Id = Annotated[Text, Path(max_length=200, examples=["conv-3f9a"])]


class Earlier(Order):
    """A turn before the question."""

    role: Literal["user", "assistant"]
    content: Text


class AskOrder(Order):
    """A question, and who answers it how."""

    question: Asked
    model: Annotated[
        Text, Field(max_length=300, description="An id of GET /api/arms.", examples=["rag", "base", "support+rag"])
    ] = "rag"
    where: Where = ""
    conversation: Annotated[
        Annotated[Text, Field(max_length=200)] | None, Field(description="Of an earlier answer, for a follow-up.")
    ] = None
    history: Annotated[
        tuple[Earlier, ...], Field(max_length=1000, description="Earlier turns, where the client keeps them itself.")
    ] = ()
    contexts: Annotated[
        list[Text] | None, Field(max_length=1000, description="Passages to answer from instead of searching.")
    ] = None
    keep: Annotated[bool, Field(description="False keeps nothing of it, whatever the settings.")] = True
    stream: Annotated[
        bool,
        Field(description="Server-sent events: `piece` {text}, then `answer` (as without), or `error` {error}."),
    ] = False


@router.get("/arms", response_model=Arms, summary="Ways of answering")
def list_arms(server: Here, who: Caller = needs("ask")) -> Any:
    """What the caller may ask: the base model, its documents, adapters with and without them."""
    return {"arms": [one.json() for one in arms.listed(server, who)]}


@router.post(
    "/ask",
    response_model=Reply,
    summary="Ask a question",
    responses={200: {"content": {"text/event-stream": {}}, "description": "The answer, or its events."}},
)
async def ask(request: Request, order: AskOrder, server: Here, who: Caller = needs("ask")) -> Any:
    """An answer with checked citations from the documents the caller may see."""
    arm, adapter = await anyio.to_thread.run_sync(openai_models.arm_of, server, who, order.model)
    turns = await anyio.to_thread.run_sync(history.turns, server, who, order.conversation)
    question = asking.Question(
        order.question,
        arm=arm,
        adapter=adapter,
        history=(*turns, *(Message(one.role, one.content) for one in order.history)),
        where=parse(order.where),
        contexts=None if order.contexts is None else tuple(order.contexts),
    )
    if order.stream:
        return await _streamed(request, server, who, order, question)
    answer = await asking.unless_gone(request, asking.whole(server, who, question))
    return await anyio.to_thread.run_sync(_kept, server, who, order, answer)


@router.get("/conversations", response_model=Conversations, summary="Your conversations")
def list_conversations(server: Here, who: Caller = needs("ask")) -> Any:
    """The caller's own conversations, the newest first."""
    return {"conversations": history.listed(server, who)}


@router.get("/conversations/{conversation}", response_model=Talk, summary="A conversation")
def get_conversation(conversation: Id, server: Here, who: Caller = needs("ask")) -> Any:
    """Its questions and answers; what rested on documents that are not the caller's to see any more is left out."""
    return history.talk(server, who, conversation)


@router.delete("/conversations/{conversation}", response_model=Deleted, summary="Delete a conversation")
def delete_conversation(conversation: Id, server: Here, who: Caller = needs("ask")) -> Any:
    """Its questions and answers are removed for good."""
    history.forget(server, who, conversation)
    return {"id": conversation}


async def _streamed(
    request: Request, server: Server, who: Caller, order: AskOrder, question: asking.Question
) -> Response:
    """The events of an answer. What is refused before the first piece is an error status, not an event."""
    parts = asking.pieces(server, who, question)

    async def begun() -> str | Answer:
        return await anext(parts)

    first = await asking.unless_gone(request, begun())

    async def lines() -> AsyncGenerator[str, None]:
        async with aclosing(parts):
            try:
                part: str | Answer = first
                while True:
                    if isinstance(part, Answer):
                        yield _event("answer", await anyio.to_thread.run_sync(_kept, server, who, order, part))
                        return
                    yield _event("piece", {"text": part})
                    part = await anext(parts)
            except (Refused, OpenbookError) as problem:
                refused = problem if isinstance(problem, Refused) else errors.of(problem)
                yield _event("error", errors.body(refused))

    return StreamingResponse(
        lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def _kept(server: Server, who: Caller, order: AskOrder, answer: Answer) -> dict[str, Any]:
    if not order.keep:
        return {**answer_json(answer), "id": None, "conversation": order.conversation}
    key, conversation = history.keep(server, who, order.question, order.model, answer, order.conversation)
    return {**answer_json(answer), "id": key, "conversation": conversation}


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
