"""/v1/models and /v1/chat/completions in the official API's shapes, with checked citations beside (decision 0112).

Answers from documents are streamed once they are checked: what was sent never has to be taken back.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any
from uuid import uuid4

import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse

from openbook.errors import OpenbookError, PromptTooLong
from openbook.prose import sentences
from openbook.records import Answer
from openbook.serve import asking, errors, openai_models
from openbook.serve import openai_shapes as shapes
from openbook.serve.access import Caller, caller, needs
from openbook.serve.errors import Refused
from openbook.serve.openai_orders import ChatOrder, question_of
from openbook.serve.openai_sources import cited, cut, listing, sources
from openbook.serve.state import Server, server_of

router = APIRouter(prefix="/v1", tags=["openai"])
Here = Annotated[Server, Depends(server_of)]
_QUIET = 2.0
"""Seconds without a line after which a comment keeps the connection open."""


@router.get("/models", response_model=shapes.ModelCards, summary="Models")
def list_models(server: Here, who: Annotated[Caller, Depends(caller)]) -> dict[str, Any]:
    """Every way of answering that the caller may ask as a model, and the model that embeds."""
    return {"object": "list", "data": openai_models.listed(server, who)}


@router.get("/models/{model:path}", response_model=shapes.ModelCard, summary="One model")
def get_model(model: str, server: Here, who: Annotated[Caller, Depends(caller)]) -> dict[str, Any]:
    """One model by its id."""
    return openai_models.one(server, who, model)


@router.post(
    "/chat/completions",
    summary="Chat",
    response_model=None,
    responses={
        200: {
            "model": shapes.Completion,
            "content": {"text/event-stream": {}},
            "description": "The completion, or its chunks.",
        }
    },
)
async def complete(
    request: Request, order: ChatOrder, server: Here, who: Caller = needs("ask")
) -> dict[str, Any] | Response:
    """An answer by the arm that the model names."""
    arm, adapter = await anyio.to_thread.run_sync(openai_models.arm_of, server, who, order.model)
    question = question_of(order, arm, adapter)
    reply = _Reply(order.model, question)
    try:
        if order.stream:
            return await _streamed(request, server, who, order, reply)
        answer = await asking.unless_gone(request, asking.whole(server, who, question))
    except PromptTooLong as error:
        raise _told(error) from None
    message = {"role": "assistant", "content": reply.text(answer), "refusal": None, **reply.beside(answer)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish(answer)}
    return {**reply.head("chat.completion", answer), "choices": [choice], "usage": _usage(answer)}


@dataclass(frozen=True, slots=True)
class _Reply:
    """What all parts of one completion have in common."""

    model: str
    question: asking.Question
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def reads(self) -> bool:
        """Whether the answer comes from documents, and is checked."""
        return self.question.arm not in ("base", "tuned")

    def head(self, kind: str, answer: Answer | None = None) -> dict[str, Any]:
        """The fields that every part begins with."""
        library = f"library-{answer.library_version}" if answer is not None and self.reads else None
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": library,
            "service_tier": None,
        }

    def text(self, answer: Answer) -> str:
        """The answer up to a stop string, with its sources below."""
        if not self.reads:
            return answer.text
        text = cut(answer.text, self.question.stop)
        below = listing(sources(answer, text))
        return text if any(stop in below for stop in self.question.stop) else text + below

    def beside(self, answer: Answer) -> dict[str, Any]:
        """The extension fields of a message."""
        if not self.reads:
            return {}
        text = cut(answer.text, self.question.stop)
        return {
            "citations": cited(answer, text),
            "sources": sources(answer, text),
            "abstained": answer.abstained,
            "notes": list(answer.notes),
        }

    def finish(self, answer: Answer) -> str:
        """Why the text ends."""
        from openbook.answer.ask import CUT_NOTE, FALLBACK_NOTE

        return "length" if CUT_NOTE in answer.notes and FALLBACK_NOTE not in answer.notes else "stop"


async def _streamed(request: Request, server: Server, who: Caller, order: ChatOrder, reply: _Reply) -> Response:
    """Chunks. What is refused at once is an error status; once the client has been told to wait, it is an event."""
    parts = asking.with_pauses(asking.pieces(server, who, reply.question), _QUIET)

    async def begun() -> str | Answer | None:
        return await anext(parts)

    first = await asking.unless_gone(request, begun())
    usage = {"usage": None} if order.tells_usage else {}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _line({**reply.head("chat.completion.chunk"), "choices": [choice], **usage})

    async def lines() -> AsyncGenerator[str, None]:
        async with aclosing(parts):
            try:
                yield chunk({"role": "assistant", "content": "", "refusal": None})
                part, held, said, at = first, "", False, time.monotonic()
                while not isinstance(part, Answer):
                    if part is not None and not reply.reads:
                        # The whole text has no blanks around it: at its end they are not known to be the end yet.
                        text = held + part if said else (held + part).lstrip()
                        bare = text.rstrip()
                        held = text[len(bare) :]
                        if bare:
                            said = True
                            yield chunk({"content": bare})
                    elif part is None or time.monotonic() - at > _QUIET:
                        at = time.monotonic()
                        yield ": the answer is being written\n\n"
                    part = await anext(parts)
                if reply.reads:
                    for text in _cut_up(reply.text(part)):
                        yield chunk({"content": text})
                yield chunk(reply.beside(part), reply.finish(part))
                if order.tells_usage:
                    yield _line({**reply.head("chat.completion.chunk", part), "choices": [], "usage": _usage(part)})
                yield "data: [DONE]\n\n"
            except (Refused, OpenbookError) as problem:
                yield _line(errors.body(_told(problem)))
            except Exception:
                yield _line(errors.body(errors.BROKEN))
                raise  # for the log

    return StreamingResponse(
        lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def _told(problem: Refused | OpenbookError) -> Refused:
    """What went wrong, by the codes that clients know."""
    if isinstance(problem, PromptTooLong):
        return Refused(400, str(problem), code="context_length_exceeded", param="messages")
    return problem if isinstance(problem, Refused) else errors.of(problem)


def _cut_up(text: str) -> list[str]:
    """A text in sentences, whose joint is the text again."""
    starts = [0, *(span.start for span in sentences(text)[1:]), len(text)]
    return [text[start:end] for start, end in pairwise(starts) if start < end]


def _usage(answer: Answer) -> dict[str, Any]:
    prompt, written = answer.prompt_tokens, answer.answer_tokens
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def _line(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
