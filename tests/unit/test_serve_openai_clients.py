"""The clients people already use against /v1: `llm` on the command line and LangChain's ChatOpenAI."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from openbook.records import Message
from tests.serving import desk, first_sentence, running

VACATION = "How many paid vacation days do colleagues get?"
CITED = "Every colleague gets 24 paid vacation days a year [1]."


class Person(BaseModel):
    """Whom a text is about."""

    name: str
    age: int


def told(messages: Sequence[Message]) -> str:
    return json.dumps({"name": "Ann", "age": 7}) if messages[-1].content == "Who?" else first_sentence(messages)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    workspace = desk(tmp_path_factory.mktemp("clients"), script=told)
    try:
        with running(workspace) as address:
            yield f"{address}/v1"
    finally:
        workspace.close()


@pytest.mark.parametrize("options", [(), ("--no-stream",)])
def test_llm_answers_with_sources(url: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    models = [{"model_id": "desk", "model_name": "rag", "api_base": url}]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "llm", "-m", "desk", *options, VACATION],
        env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(CITED)
    assert "[1] Vacation.md" in done.stdout


def made(url: str, model: str, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(base_url=url, api_key=SecretStr("any"), model=model, max_retries=0, **more)


def test_langchain_invokes_and_streams(url: str) -> None:
    chat = made(url, "rag", temperature=0.2, stream_usage=True)
    whole = chat.invoke([("system", "Be brief."), ("human", VACATION)])
    assert str(whole.content).startswith(CITED)
    assert whole.usage_metadata is not None
    parts = list(chat.stream(VACATION))
    assert "".join(str(part.content) for part in parts) == chat.invoke(VACATION).content
    assert any(part.usage_metadata for part in parts)


def test_langchain_binds_stop_strings(url: str) -> None:
    assert made(url, "base").bind(stop=[" documents"]).invoke("Hello").content == "I can't find this in the"


def test_langchain_gets_records_from_a_model_that_can_write_json(url: str) -> None:
    for method in ("json_schema", "json_mode"):
        found = made(url, "base").with_structured_output(Person, method=method).invoke("Who?")
        assert found == Person(name="Ann", age=7)


def test_langchain_is_told_what_cannot_be_had(url: str) -> None:
    with pytest.raises(openai.BadRequestError, match="checked, cited sentences"):
        made(url, "rag").with_structured_output(Person, method="json_schema").invoke("Who?")
    with pytest.raises(openai.BadRequestError, match="tool_choice is not supported"):
        made(url, "base").with_structured_output(Person, method="function_calling").invoke("Who?")


def test_langchain_asks_and_streams_asynchronously(url: str) -> None:
    async def both() -> tuple[str, str]:
        chat = made(url, "rag")
        whole = await chat.ainvoke(VACATION)
        return str(whole.content), "".join([str(part.content) async for part in chat.astream(VACATION)])

    whole, streamed = asyncio.run(both())
    assert whole == streamed
    assert whole.startswith(CITED)


def test_langchain_embeds_text_and_is_told_why_it_cannot_send_tokens(url: str) -> None:
    def embeddings(**more: Any) -> OpenAIEmbeddings:
        return OpenAIEmbeddings(base_url=url, api_key=SecretStr("any"), model="all-minilm-l6-v2", max_retries=0, **more)

    one, two = embeddings(check_embedding_ctx_length=False).embed_documents(["vacation", "travel"])
    assert one != two
    assert embeddings(check_embedding_ctx_length=False).embed_query("vacation") == one
    with (
        openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"),
    ):
        client.embeddings.create(model="all-minilm-l6-v2", input=[[1, 2], [3]])
