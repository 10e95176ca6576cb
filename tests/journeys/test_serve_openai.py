"""The official client, and nothing else, gets a cited answer and JSON from a server with the real default model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from openbook.workspace import Workspace
from tests.serving import DOCUMENTS, Process

pytestmark = pytest.mark.model
VACATION = "How many paid vacation days does every colleague get a year?"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("openai")
    with Workspace.init(folder / "desk") as workspace:
        for name, (text, _) in DOCUMENTS.items():
            place = Path(folder / "desk" / "documents" / name)
            place.parent.mkdir(exist_ok=True)
            place.write_text(text, encoding="utf-8")
        workspace.sync([folder / "desk" / "documents"])
    with Process(folder / "desk") as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="any") as made:
        yield made


def ask(client: openai.OpenAI, model: str, text: str, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def test_an_answer_is_cited_whole_and_streamed(client: openai.OpenAI) -> None:
    message = ask(client, "rag", VACATION).choices[0].message
    assert "24" in message.content
    assert "Sources:\n[" in message.content
    assert message.sources[0]["document"].endswith("Vacation.md")
    began, first, text = time.perf_counter(), 0.0, ""
    for chunk in ask(client, "rag", VACATION, stream=True):
        if chunk.choices[0].delta.content:
            first = first or time.perf_counter() - began
            text += chunk.choices[0].delta.content
    assert text == message.content
    print(f"rag: first text after {first:.2f} s, all after {time.perf_counter() - began:.2f} s")


def test_the_model_alone_writes_json_and_stops_where_it_is_told(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"river": {"type": "string", "maxLength": 20}},
        "required": ["river"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "found", "schema": schema, "strict": True}}
    text = "Name a river in Europe."
    found = ask(client, "base", text, response_format=form, max_tokens=60).choices[0]
    assert isinstance(json.loads(found.message.content)["river"], str)
    wrong = {"type": "json_schema", "json_schema": {"name": "found", "schema": {"type": "nonsense"}}}
    with pytest.raises(openai.BadRequestError, match="cannot be followed"):
        ask(client, "base", text, response_format=wrong)
    whole = ask(client, "base", text, max_tokens=30).choices[0].message.content
    word = whole.split()[3]
    cut = ask(client, "base", text, max_tokens=30, stop=[word]).choices[0]
    assert (cut.message.content, cut.finish_reason) == (whole[: whole.index(word)].strip(), "stop")


def test_texts_are_embedded(client: openai.OpenAI) -> None:
    found = client.embeddings.create(model="all-minilm-l6-v2", input=["vacation", "holidays", "a spanner"])
    near, far = (
        sum(a * b for a, b in zip(found.data[0].embedding, one.embedding, strict=True)) for one in found.data[1:]
    )
    assert near > far


def test_a_seed_and_no_temperature_repeat_themselves_and_json_is_an_object(client: openai.OpenAI) -> None:
    text = "Tell me something about a river."
    same = [ask(client, "base", text, seed=5, temperature=1.2, max_tokens=12).choices[0].message.content for _ in "ab"]
    other = ask(client, "base", text, seed=6, temperature=1.2, max_tokens=12).choices[0].message.content
    assert same[0] == same[1] != other
    cold = [ask(client, "base", text, temperature=0, max_tokens=12).choices[0].message.content for _ in "ab"]
    assert cold[0] == cold[1]
    form = {"type": "json_object"}
    chunks = list(
        ask(
            client,
            "base",
            "Name a river as a JSON object.",
            response_format=form,
            max_tokens=40,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices).startswith("{")
    assert chunks[-1].usage.completion_tokens > 0


def test_a_question_that_is_too_long_is_told_so(client: openai.OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, "base", "word " * 20_000, stream=stream)
        assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")
