"""What a client of the official chat API sends, in; the Question that it asks, out; refusals of what cannot be done."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from openbook.records import Arm, Message
from openbook.retrieve.where import parse
from openbook.serve.asking import Question
from openbook.serve.errors import Refused
from openbook.serve.openai_sources import without_listing
from openbook.serve.shapes import Text, Where

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
}
"""Parameters whose effect a client relies on and does not get here, with the values that ask for none. All others that
are not known, and how tokens are drawn beyond temperature and seed, are taken and change nothing."""
_ANY_OBJECT = {"type": "object"}
_MOST_STOPS = 4


class Part(BaseModel):
    """A part of a turn's content; only text is read."""

    model_config = ConfigDict(extra="allow")

    type: Text
    text: Text | None = None
    refusal: Text | None = None


class ChatTurn(BaseModel):
    """A turn of the conversation."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | list[Part] | None = None
    tool_calls: list[Any] | None = None


class JsonSchema(BaseModel):
    """A schema with its name."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    name: Text = ""
    given: dict[str, Any] | None = Field(None, alias="schema")


class Format(BaseModel):
    """The shape of the answer's text."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(BaseModel):
    """How to stream."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = None


class ChatOrder(BaseModel):
    """What POST /v1/chat/completions takes."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"model": "rag", "messages": [{"role": "user", "content": "How many vacation days do we get?"}]}
            ]
        },
    )

    model: Annotated[Text, Field(max_length=300, examples=["rag", "base"])]
    messages: Annotated[list[ChatTurn], Field(min_length=1, max_length=2000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=200)]] | None,
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    ] = None
    response_format: Format | None = None
    where: Where = ""

    @property
    def tells_usage(self) -> bool:
        """Whether the last chunk counts tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


def question_of(order: ChatOrder, arm: Arm, adapter: str | None) -> Question:
    """The question of an order. Raises Refused 400 for what cannot be done, naming the parameter."""
    _check(order)
    if order.stream_options is not None and not order.stream:
        raise _refused("stream_options may only be given with stream", "stream_options", "invalid_value")
    if order.stop and len(order.stop) > _MOST_STOPS:
        raise _refused(f"at most {_MOST_STOPS} stop strings may be given", "stop", "invalid_value")
    told, turns = _turns(order)
    if not turns or turns[-1].role != "user":
        raise _refused("the last message must be the user's", "messages", "invalid_value")
    reads = arm not in ("base", "tuned")
    if reads:
        turns = [Message(turn.role, without_listing(turn.content)) for turn in turns]
    question = turns[-1].content
    if not question.strip():
        raise _refused("the last message is empty; ask something", "messages", "invalid_value")
    return Question(
        question,
        arm=arm,
        adapter=adapter,
        history=tuple(turns[:-1]),
        where=parse(order.where),
        task="\n\n".join(told),
        max_tokens=order.max_completion_tokens or order.max_tokens,
        temperature=order.temperature,
        seed=order.seed,
        stop=tuple(order.stop or ()),
        json_schema=_schema(order, reads=reads),
    )


def _check(order: ChatOrder) -> None:
    for name, value in (order.model_extra or {}).items():
        if value is not None and name in _NEUTRAL and value not in _NEUTRAL[name]:
            only = ", ".join(json.dumps(one) for one in _NEUTRAL[name])
            but = f"; leave it out or send {only}" if only else "; leave it out"
            raise _refused(f"{name} is not supported by this server{but}", name, "unsupported_parameter")


def _turns(order: ChatOrder) -> tuple[list[str], list[Message]]:
    """Instructions, and the conversation in turns that alternate: two of one side in a row are one."""
    told: list[str] = []
    turns: list[Message] = []
    for number, turn in enumerate(order.messages):
        place = f"messages[{number}]"
        if turn.role in ("tool", "function") or turn.tool_calls:
            raise _refused("tools are not supported by this server", f"{place}.role", "unsupported_parameter")
        text = _text(turn, place)
        if turn.role in ("system", "developer"):
            told.append(text)
        elif turns and turns[-1].role == turn.role:
            turns[-1] = Message(turns[-1].role, f"{turns[-1].content}\n\n{text}")
        else:
            turns.append(Message("user" if turn.role == "user" else "assistant", text))
    return [text for text in told if text.strip()], turns


def _text(turn: ChatTurn, place: str) -> str:
    if turn.content is None:
        raise _refused("the content of a message must be text", f"{place}.content", "invalid_type")
    if isinstance(turn.content, str):
        return turn.content
    texts: list[str] = []
    for number, part in enumerate(turn.content):
        text = {"text": part.text, "refusal": part.refusal}.get(part.type)
        if text is None:
            what = f"content of type {part.type!r} cannot be read by this server; send text"
            raise _refused(what, f"{place}.content[{number}].type", "invalid_value")
        texts.append(text)
    return "\n".join(texts)


def _schema(order: ChatOrder, *, reads: bool) -> str:
    form = order.response_format
    if form is None or form.type == "text":
        return ""
    if reads:
        raise _refused(
            f"model {order.model!r} answers in checked, cited sentences, not in JSON; "
            "ask 'base' or an adapter without +rag for JSON",
            "response_format",
            "unsupported_value",
        )
    if form.type == "json_object":
        return json.dumps(_ANY_OBJECT)
    if form.json_schema is None or form.json_schema.given is None:
        raise _refused("give the schema as json_schema.schema", "response_format.json_schema", "missing_parameter")
    return json.dumps(form.json_schema.given)


def _refused(message: str, param: str, code: str) -> Refused:
    return Refused(400, message, code=code, param=param)
