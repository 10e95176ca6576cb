"""/v1 models, chat and embeddings with the official client over a real socket, and as Open WebUI asks them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2
import openai
import pytest
from pydantic import BaseModel

from openbook.records import Message
from openbook.serve import keys
from openbook.serve.store import open_store
from openbook.workspace import Workspace
from tests.serving import desk, first_sentence, running

VACATION = "How many paid vacation days do colleagues get?"
CITED = "Every colleague gets 24 paid vacation days a year [1]."
SOURCES = 'Sources:\n[1] Vacation.md: "Every colleague gets 24 paid vacation days a year."'
BASE = "\n One two three, four five. \n"


def told(messages: Sequence[Message]) -> str:
    """Quotes where there are passages; else what stands above, or the roles it was given."""
    text = messages[-1].content
    if "[1]" in text and "passage" in " ".join(one.content for one in messages).lower():
        return "Pigs can fly over rivers [1]." if "nonsense" in text else first_sentence(messages)
    if text == "record":
        return '{"days": 24}'
    if text == "roles":
        return " ".join(f"{one.role}:{one.content}" for one in messages)
    return BASE


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    made = desk(tmp_path_factory.mktemp("chat"), script=told)
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> Iterator[str]:
    with running(workspace) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, text: str = VACATION, model: str = "rag", **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def refused(work: Callable[[], Any], kind: type[openai.APIStatusError] = openai.BadRequestError) -> Any:
    with pytest.raises(kind) as caught:
        work()
    assert caught.value.type
    return caught.value


def test_every_way_of_answering_is_a_model_and_so_is_the_embedder(client: openai.OpenAI, workspace: Workspace) -> None:
    names = [one.id for one in client.models.list()]
    assert names == ["rag", "base", "extractive", workspace.settings.models.embedder]
    assert client.models.retrieve("rag").owned_by == "openbook"
    assert client.models.retrieve(workspace.settings.models.generator).object == "model"


def test_an_unknown_model_is_told_as_the_official_api_does(client: openai.OpenAI) -> None:
    for work in (lambda: ask(client, model="gpt-9"), lambda: client.models.retrieve("gpt-9")):
        error = refused(work, openai.NotFoundError)
        assert error.code == "model_not_found"
        assert "gpt-9" in error.message


def test_an_answer_has_its_sources_in_the_text_and_its_citations_beside(client: openai.OpenAI) -> None:
    done = ask(client)
    choice = done.choices[0]
    assert choice.message.content == f"{CITED}\n\n{SOURCES}"
    assert choice.finish_reason == "stop"
    source = {"number": 1, "document": "Vacation.md", "page": None, "quote": CITED.replace(" [1]", "")}
    assert choice.message.sources == [source]
    assert choice.message.citations == [source | {"start": 12, "end": 62, "sentence": 0}]
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0


@pytest.mark.parametrize("model", ["rag", "base", "extractive"])
@pytest.mark.parametrize("text", [VACATION, "nonsense about paid vacation days?", "What is the airspeed of swallows?"])
def test_the_pieces_of_a_stream_are_the_text_of_the_whole(client: openai.OpenAI, model: str, text: str) -> None:
    chunks = list(ask(client, text, model, stream=True, stream_options={"include_usage": True}))
    whole = ask(client, text, model)
    assert (
        "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == whole.choices[0].message.content
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [one.choices[0].finish_reason for one in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert all(one.usage is None for one in chunks[:-1])
    assert len({one.id for one in chunks}) == 1
    if model != "base":
        assert chunks[-2].choices[0].delta.citations == whole.choices[0].message.citations


def test_what_the_passages_do_not_support_is_never_streamed(client: openai.OpenAI) -> None:
    chunks = list(ask(client, "nonsense about paid vacation days?", stream=True))
    text = "".join(one.choices[0].delta.content or "" for one in chunks)
    assert "Pigs" not in text
    assert "24 paid vacation days" in text
    assert "verbatim" in chunks[-1].choices[0].delta.notes[0]


def test_the_helper_for_streams_puts_the_message_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="rag", messages=[{"role": "user", "content": VACATION}]) as stream:
        done = stream.get_final_completion()
    assert done.choices[0].message.content == f"{CITED}\n\n{SOURCES}"


def test_the_asynchronous_client_gets_the_same(url: str) -> None:
    async def both() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
            turns: Any = [{"role": "user", "content": VACATION}]
            whole: Any = await client.chat.completions.create(model="rag", messages=turns)
            parts: Any = await client.chat.completions.create(model="rag", messages=turns, stream=True)
            return whole.choices[0].message.content, "".join(
                [part.choices[0].delta.content or "" async for part in parts]
            )

    whole, streamed = asyncio.run(both())
    assert whole == streamed == f"{CITED}\n\n{SOURCES}"


def test_raw_responses_are_json_and_not_kept(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="rag", messages=[{"role": "user", "content": VACATION}]
    )
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().choices[0].message.content == f"{CITED}\n\n{SOURCES}"


def test_system_and_developer_turns_and_parts_reach_the_model(client: openai.OpenAI) -> None:
    done: Any = client.chat.completions.create(
        model="base",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": "three"},
            {"role": "user", "content": "roles"},
        ],
    )
    assert done.choices[0].message.content == ("system:Be brief.\n\nBe kind. user:one\ntwo assistant:three user:roles")


def test_sources_below_an_earlier_answer_are_no_part_of_the_conversation(client: openai.OpenAI) -> None:
    turns: Any = [
        {"role": "user", "content": VACATION},
        {"role": "assistant", "content": ask(client).choices[0].message.content},
        {"role": "user", "content": "And how many paid vacation days in a year?"},
    ]
    answer: Any = client.chat.completions.create(model="rag", messages=turns)
    assert answer.choices[0].message.citations[0]["document"] == "Vacation.md"


def test_stop_strings_are_never_shown(client: openai.OpenAI) -> None:
    assert ask(client, "Hi", "base", stop=" three").choices[0].message.content == "One two"
    assert ask(client, stop=["paid"]).choices[0].message.content == "Every colleague gets 24 [1]"
    assert ask(client, stop=["[1]"]).choices[0].message.sources == []
    assert ask(client, stop=["\n"]).choices[0].message.content == CITED
    assert refused(lambda: ask(client, stop=["a", "b", "c", "d", "e"])).param == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_that_is_cut_says_so(client: openai.OpenAI, name: str) -> None:
    done = ask(client, "Hi", "base", **{name: 3})
    assert (done.choices[0].finish_reason, done.usage.completion_tokens) == ("length", 3)
    chunks = list(ask(client, "Hi", "base", stream=True, **{name: 3}))
    assert chunks[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"max_tokens": 1_000_000}, "messages", "context_length_exceeded"),
        ({"temperature": 3}, "temperature", None),
    ],
)
def test_what_cannot_be_done_is_refused_and_named(
    client: openai.OpenAI, more: dict[str, Any], param: str, code: str | None
) -> None:
    error = refused(lambda: ask(client, **more))
    assert (error.param, error.code, error.type) == (param, code, "invalid_request_error")


def test_a_refusal_of_a_stream_is_a_status_and_no_event(client: openai.OpenAI) -> None:
    assert refused(lambda: ask(client, max_tokens=1_000_000, stream=True)).code == "context_length_exceeded"


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [{"role": "assistant", "content": "Hello"}],
        [{"role": "user", "content": " "}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}],
        [{"role": "tool", "tool_call_id": "1", "content": "x"}],
        [{"role": "nobody", "content": "x"}],
        [{"role": "user", "content": "a\ud800b"}],
    ],
)
def test_messages_that_are_no_question_are_refused(url: str, turns: list[dict[str, Any]]) -> None:
    body = json.dumps({"model": "rag", "messages": turns})
    reply = httpx2.post(f"{url}/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_parameters_that_change_nothing_are_taken(client: openai.OpenAI) -> None:
    done = ask(
        client,
        n=1,
        top_p=0.9,
        seed=7,
        temperature=0.5,
        user="me",
        logprobs=False,
        presence_penalty=1,
        store=False,
        extra_body={"repetition_penalty": 1.1, "chat_id": "of a client of its own"},
    )
    assert done.choices[0].message.citations


def test_a_filter_may_be_given_beside(client: openai.OpenAI) -> None:
    done = ask(client, extra_body={"where": "document=Travel.md"})
    assert all(one["document"] == "Travel.md" for one in done.choices[0].message.citations)


def test_open_webui_is_answered(url: str) -> None:
    """The list of models, and a stream with usage, its headers and what a user may have set there; written by hand, not
    recorded from it."""
    headers = {"Authorization": "Bearer 0p3n-w3bu!", "Content-Type": "application/json", "X-OpenWebUI-User-Name": "Ann"}
    with httpx2.Client(base_url=f"{url}/v1", headers=headers, timeout=60) as http:
        assert {"id", "object"} <= set(http.get("/models").json()["data"][0])
        body = {
            "stream": True,
            "model": "rag",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": VACATION}],
            "stream_options": {"include_usage": True},
            "temperature": 0.7,
            "top_p": 0.9,
            "frequency_penalty": 0.5,
            "seed": 3,
        }
        with http.stream("POST", "/chat/completions", json=body) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            lines = [line for line in reply.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    parts = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(part["choices"][0]["delta"].get("content", "") for part in parts if part["choices"])
    assert text == f"{CITED}\n\n{SOURCES}"
    assert parts[-1]["usage"]["total_tokens"] > 0


def test_texts_are_embedded_as_the_library_embeds_them(client: openai.OpenAI, workspace: Workspace) -> None:
    embedder = workspace.settings.models.embedder
    texts = ["vacation days", "travel"]
    expected = workspace.house.embedder.embed(texts, kind="document")
    for form in ({}, {"encoding_format": "float"}, {"dimensions": expected.shape[1]}):
        found = client.embeddings.create(model=embedder, input=texts, **form)
        assert [one.index for one in found.data] == [0, 1]
        for row, one in zip(expected, found.data, strict=True):
            assert one.embedding == pytest.approx(row.tolist())
    assert found.usage.prompt_tokens == 3
    assert len(client.embeddings.create(model=embedder, input="one").data) == 1


@pytest.mark.parametrize(
    "more", [{"dimensions": 7}, {"input": [[1, 2]]}, {"input": [1, 2]}, {"input": []}, {"input": ["", "a"]}]
)
def test_what_cannot_be_embedded_is_refused(client: openai.OpenAI, workspace: Workspace, more: dict[str, Any]) -> None:
    order = {"model": workspace.settings.models.embedder, "input": "a", **more}
    assert refused(lambda: client.embeddings.create(**order)).param == next(iter(more))
    assert refused(lambda: client.embeddings.create(**order | {"model": "x"}), openai.NotFoundError)


def test_keys_decide_what_is_answered_and_what_is_cited(tmp_path_factory: pytest.TempPathFactory) -> None:
    workspace = desk(tmp_path_factory.mktemp("keys"))
    store = open_store(workspace.state / "server.db")
    clerk, hr, finder = (
        keys.create(store, name, scopes, groups)[1]
        for name, scopes, groups in (("clerk", ("ask",), ()), ("hr", ("ask",), ("hr",)), ("finder", ("search",), ()))
    )
    store.dispose()

    def made(secret: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0)

    band = "Where does the salary band of a senior engineer end?"
    try:
        with running(workspace) as url, made(clerk) as one, made(hr) as two, made(finder) as three, made("x") as four:
            assert "98,000" not in json.dumps(ask(one, band).model_dump())
            assert "Salaries" not in json.dumps(ask(one, band).model_dump())
            assert ask(two, band).choices[0].message.sources[0]["document"] == "Salaries.md"
            assert refused(lambda: ask(three), openai.PermissionDeniedError).code == "missing_scope"
            assert refused(lambda: ask(four), openai.AuthenticationError).code == "invalid_api_key"
            embedder = workspace.settings.models.embedder
            assert three.embeddings.create(model=embedder, input="a").data
            refused(lambda: one.embeddings.create(model=embedder, input="a"), openai.PermissionDeniedError)
    finally:
        workspace.close()


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("POST", "/v1/responses", "/v1/chat/completions"),
        ("POST", "/v1/completions", "/v1/chat/completions"),
        ("POST", "/chat/completions", "base URL"),
        ("GET", "/models", "base URL"),
        ("POST", "/v1/moderations", "/api/docs"),
        ("PUT", "/v1/chat/completions", "PUT /v1/chat/completions"),
    ],
)
def test_what_is_not_offered_is_told_with_what_is(url: str, method: str, path: str, hint: str) -> None:
    reply = httpx2.request(method, url + path)
    assert reply.status_code == (405 if method == "PUT" else 404)
    assert (reply.json()["error"]["code"], hint in reply.json()["error"]["message"]) == ("unknown_url", True)


def test_the_responses_api_is_told_to_be_absent(client: openai.OpenAI) -> None:
    error = refused(lambda: client.responses.create(model="rag", input=VACATION), openai.NotFoundError)
    assert "no Responses API: use POST /v1/chat/completions" in error.message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"model": ', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"", "must be a JSON object"),
        (b'{"model": "rag"}', "messages"),
    ],
)
def test_a_body_that_is_no_order_is_told_so(url: str, body: bytes, says: str) -> None:
    headers = {"Content-Type": "application/json"}
    error = httpx2.post(f"{url}/v1/chat/completions", content=body, headers=headers).json()["error"]
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == ("messages" if says == "messages" else None)


class Days(BaseModel):
    """A record."""

    days: int


def test_the_parsing_helper_gets_records_or_is_told_why_not(client: openai.OpenAI) -> None:
    turns: Any = [{"role": "user", "content": "record"}]
    done = client.chat.completions.parse(model="base", messages=turns, response_format=Days)
    assert done.choices[0].message.parsed == Days(days=24)
    with client.chat.completions.stream(model="base", messages=turns, response_format=Days) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Days(days=24)
    error = refused(lambda: client.chat.completions.parse(model="rag", messages=turns, response_format=Days))
    assert (error.param, "cited sentences" in error.message) == ("response_format", True)


def test_every_operation_is_described_with_its_shapes_and_an_example(url: str) -> None:
    told = httpx2.get(f"{url}/api/openapi.json").json()
    shapes = told["components"]["schemas"]

    def shown(schema: dict[str, Any]) -> bool:
        shape = shapes[schema["$ref"].rpartition("/")[2]]
        return "examples" in shape or shown(shape["properties"]["data"]["items"])

    found = {
        f"{how} {path}": one for path, ways in told["paths"].items() for how, one in ways.items() if "/v1/" in path
    }
    assert len(found) > 16
    for name, one in found.items():
        assert one["tags"] == ["openai"], name
        assert one["summary"], name
        sent = one.get("requestBody", {}).get("content", {}).get("application/json")
        assert sent is None or shown(sent["schema"]), name
        got = one["responses"]["200"]["content"]
        assert "application/octet-stream" in got or shown(got["application/json"]["schema"]), name
