"""What MCP clients get, with the official client: over HTTP, and straight from the desks of different callers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import jsonschema
import pytest
from mcp import Client, MCPError
from mcp_types import CallToolResult, TextContent, TextResourceContents

from openbook.errors import EndpointError
from openbook.records import Answer, Condition
from openbook.serve.access import Caller
from openbook.serve.mcp_desks import Served
from openbook.serve.mcp_protocol import PAGE, protocol
from openbook.serve.state import Server
from openbook.workspace import Workspace
from tests.serving import DOCUMENTS, desk, running

QUESTION = "How many vacation days does a colleague get?"
ODD = "Räume & Flure?#1 100%.md"
MANY = {f"many/{number:03}.md": (f"# Note {number}\n\nNote {number} is short.\n", ("*",)) for number in range(PAGE)}
LONG = {"Long.md": ("# Long\n\n" + "".join(f"Line {n} of a long text.\n" for n in range(4_000)), ("*",))}
HR = "Salaries.md"

T = TypeVar("T")
ClientWork = Callable[[Client], Awaitable[T]]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    documents = {**DOCUMENTS, **LONG, ODD: ("# Rooms\n\nThe red room is upstairs.\n", ("*",))}
    made = desk(tmp_path_factory.mktemp("mcp"), documents=documents)
    folder = made.root / "many"
    for name, (text, _) in MANY.items():
        place = folder / name.removeprefix("many/")
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="utf-8")
    made.sync([folder])
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Server:
    return Server(workspace)


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> Iterator[str]:
    with running(workspace) as address:
        yield address


def caller(*groups: str, scopes: tuple[str, ...] = ("ask", "search")) -> Caller:
    return Caller(f"key-{'-'.join(groups)}", "a key", frozenset(scopes), groups)


def over(target: Any, work: ClientWork[T], mode: str = "auto") -> T:
    async def run() -> T:
        async with Client(target, mode=mode) as client:
            try:
                return await work(client)
            except MCPError as error:  # leaving the client would wrap it into a group
                failed = error
        raise failed

    return asyncio.run(run())


def at(server: Server, who: Caller, work: ClientWork[T]) -> T:
    return over(protocol(lambda _: Served(server, who)), work)


def called(name: str, **arguments: Any) -> ClientWork[CallToolResult]:
    return lambda client: client.call_tool(name, arguments)


def said(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def text_of(content: object) -> str:
    assert isinstance(content, TextResourceContents)
    return content.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_question_over_http_is_answered_with_its_source(url: str, mode: str) -> None:
    result = over(f"{url}/mcp", called("ask", question=QUESTION), mode)
    assert not result.is_error
    told = result.structured_content
    (cited,) = told["citations"]
    assert (cited["number"], cited["document"]) == (1, "Vacation.md")
    text = DOCUMENTS["Vacation.md"][0].rstrip("\n")
    assert text[cited["start"] : cited["end"]] == cited["quote"]
    assert told["sentences"] == [{"text": "Every colleague gets 24 paid vacation days a year.", "supported": True}]
    shown = said(result)
    assert shown.startswith(told["answer"])
    assert f'[1] Vacation.md, characters {cited["start"]}-{cited["end"]}: "{cited["quote"]}"' in shown


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search", {"question": QUESTION, "k": 3}),
        ("ask", {"question": QUESTION}),
        ("ask", {"question": "What does the moon weigh?", "where": "format=pdf"}),
        ("read_document", {"document": "Vacation.md"}),
    ],
)
def test_results_are_what_the_tools_schemas_say(url: str, tool: str, arguments: dict[str, Any]) -> None:
    async def work(client: Client) -> None:
        tools = {one.name: one for one in (await client.list_tools()).tools}
        assert set(tools) == {"search", "ask", "read_document"}
        for one in tools.values():
            jsonschema.Draft202012Validator.check_schema(one.input_schema)
            assert one.description
            assert one.annotations is not None
            assert one.annotations.read_only_hint
        jsonschema.validate(arguments, tools[tool].input_schema)
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result
        assert tools[tool].output_schema is not None
        jsonschema.validate(result.structured_content, tools[tool].output_schema)

    over(f"{url}/mcp", work)


def test_a_search_brings_passages_with_their_places(url: str) -> None:
    result = over(f"{url}/mcp", called("search", question=QUESTION, k=2))
    hits = result.structured_content["hits"]
    assert len(hits) == 2
    assert (hits[0]["document"], hits[0]["heading"]) == ("Vacation.md", ["Vacation"])
    assert said(result).startswith(f"[1] Vacation.md, characters {hits[0]['start']}-{hits[0]['end']}, section Vacation")
    assert hits[0]["text"] in said(result)


def test_a_filter_narrows_a_search(url: str) -> None:
    result = over(f"{url}/mcp", called("search", question=QUESTION, where="document='Travel.md'"))
    assert {one["document"] for one in result.structured_content["hits"]} == {"Travel.md"}


def test_a_long_document_is_read_part_by_part(url: str) -> None:
    async def work(client: Client) -> tuple[str, int]:
        whole, start, calls = "", 0, 0
        while start != -1:
            part = (await client.call_tool("read_document", {"document": "Long.md", "start": start})).structured_content
            assert part["start"] == start
            whole, start, calls = whole + part["text"], -1 if part["next"] is None else part["next"], calls + 1
        return whole, calls

    whole, calls = over(f"{url}/mcp", work)
    assert whole == LONG["Long.md"][0].rstrip("\n")
    assert calls > 5


def test_a_span_of_a_document_is_read_as_citations_count_it(url: str) -> None:
    result = over(f"{url}/mcp", called("read_document", document="Vacation.md", start=12, end=17))
    assert result.structured_content["text"] == DOCUMENTS["Vacation.md"][0][12:17]
    assert said(result) == "Vacation.md, characters 12-17 of 62\n\nEvery\n\n(goes on: read_document with start 17)"


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("read_document", {"document": "Nope.md"}, "no document 'Nope.md'"),
        ("read_document", {"document": "Long.md", "start": 9, "end": 3}, "end 3 lies before start 9"),
        ("search", {"question": "x", "k": 0}, "k: Input should be greater than or equal to 1"),
        ("search", {"question": "x", "where": "colour=red"}, "unknown filter field 'colour'"),
        ("search", {}, "question: Field required"),
        ("ask", {"question": "x", "arm": "base"}, "arm: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    url: str, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    result = over(f"{url}/mcp", called(tool, **arguments))
    assert result.is_error
    assert said(result).startswith(sentence)
    assert "\n" not in said(result)


def test_an_unknown_tool_is_an_error_of_the_protocol(url: str) -> None:
    with pytest.raises(MCPError, match="there is no tool 'delete'; there are: search, ask, read_document"):
        over(f"{url}/mcp", called("delete"))


def test_documents_are_listed_as_resources_a_page_at_a_time(url: str) -> None:
    async def work(client: Client) -> list[list[str]]:
        page = await client.list_resources()
        pages = [page]
        while page.next_cursor is not None:
            page = await client.list_resources(cursor=page.next_cursor)
            pages.append(page)
        return [[one.name for one in page.resources] for page in pages]

    pages = over(f"{url}/mcp", work)
    assert [len(page) for page in pages] == [PAGE, len(DOCUMENTS) + 2]
    assert [name for page in pages for name in page] == sorted([*DOCUMENTS, *MANY, "Long.md", ODD])


def test_a_cursor_of_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(MCPError, match="is no cursor of this list"):
        over(f"{url}/mcp", lambda client: client.list_resources(cursor="page 2"))


def test_every_listed_resource_can_be_read_whatever_its_name(url: str) -> None:
    async def work(client: Client) -> list[str]:
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "openbook://document/{name}{?start,end}"
        page = await client.list_resources()
        listed = [*page.resources, *(await client.list_resources(cursor=page.next_cursor)).resources]
        uris = {one.name: one.uri for one in listed}
        return [text_of((await client.read_resource(uris[name])).contents[0]) for name in (ODD, "many/007.md")]

    assert over(f"{url}/mcp", work) == ["# Rooms\n\nThe red room is upstairs.", "# Note 7\n\nNote 7 is short."]


def test_a_long_resource_says_where_it_goes_on(url: str) -> None:
    async def work(client: Client) -> str:
        whole, uri = "", "openbook://document/Long.md"
        while uri:
            text, *rest = (await client.read_resource(uri)).contents
            whole, uri = whole + text_of(text), rest[0].uri if rest else ""
        return whole

    assert over(f"{url}/mcp", work) == LONG["Long.md"][0].rstrip("\n")


@pytest.mark.parametrize("uri", ["openbook://document/Nope.md", "openbook://document/", "file:///etc/passwd"])
def test_a_resource_that_is_not_there_is_an_error(url: str, uri: str) -> None:
    with pytest.raises(MCPError, match=r"no document|no address of a document"):
        over(f"{url}/mcp", lambda client: client.read_resource(uri))


def test_each_caller_finds_reads_and_lists_what_its_groups_may_see(server: Server) -> None:
    async def seen(client: Client) -> dict[str, Any]:
        found = await client.call_tool("search", {"question": "Where does the salary band end?", "k": 50})
        answer = await client.call_tool("ask", {"question": "Where does the salary band of a senior engineer end?"})
        read = await client.call_tool("read_document", {"document": HR})
        listed = (await client.list_resources()).resources
        return {
            "found": HR in {one["document"] for one in found.structured_content["hits"]},
            "cited": HR in {one["document"] for one in answer.structured_content["citations"]},
            "read": not read.is_error,
            "listed": HR in {one.name for one in listed},
            "told": "98,000" in f"{said(found)}{said(answer)}{said(read)}",
        }

    assert at(server, caller("hr"), seen) == dict.fromkeys(["found", "cited", "read", "listed", "told"], True)
    assert at(server, caller("staff"), seen) == dict.fromkeys(["found", "cited", "read", "listed", "told"], False)


def test_a_hidden_document_and_an_absent_one_are_spoken_of_alike(server: Server) -> None:
    words = []
    for name in (HR, "Nope.md"):
        words.append(said(at(server, caller("staff"), called("read_document", document=name))).replace(name, "X"))
        uri = f"openbook://document/{name}"
        with pytest.raises(MCPError) as error:
            at(server, caller("staff"), partial(Client.read_resource, uri=uri))
        words.append(f"{error.value.code} {error.value}".replace(name, "X"))
    assert words[:2] == words[2:]


def test_a_key_is_offered_only_the_tools_of_its_scopes(server: Server) -> None:
    async def work(client: Client) -> list[str]:
        return [one.name for one in (await client.list_tools()).tools]

    assert at(server, caller(scopes=("ask",)), work) == ["ask"]
    assert at(server, caller(scopes=("search",)), work) == ["search", "read_document"]
    assert at(server, caller(scopes=("admin",)), work) == ["search", "ask", "read_document"]


def test_a_tool_beyond_the_scopes_says_which_one_is_lacking(server: Server) -> None:
    result = at(server, caller(scopes=("search",)), called("ask", question=QUESTION))
    assert result.is_error
    assert said(result) == "this key may not do that: it lacks the scope 'ask'"
    with pytest.raises(MCPError, match="lacks the scope 'search'"):
        at(server, caller(scopes=("ask",)), lambda client: client.list_resources())


class Broken(Served):
    """A desk whose model server is away, and whose search has a fault."""

    async def search(self, question: str, *, k: int | None, where: tuple[Condition, ...]) -> Any:
        raise ZeroDivisionError("secret inside")

    async def ask(self, question: str, *, where: tuple[Condition, ...]) -> AsyncGenerator[str | Answer, None]:
        if question:
            raise EndpointError("the model server did not answer; start it")
        yield ""


def test_a_fault_shows_a_model_nothing_of_our_inside(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    broken = protocol(lambda _: Broken(server, caller()))
    with caplog.at_level(logging.CRITICAL, "openbook.serve.mcp_protocol"):
        result = over(broken, called("search", question="x"))
    assert said(result) == "search failed unexpectedly (ZeroDivisionError); the server's log says where"
    result = over(broken, called("ask", question="x"))
    assert (result.is_error, said(result)) == (True, "the model server did not answer; start it")


def test_no_session_is_made_and_none_can_be_taken_over(url: str) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    headers = {"Accept": "application/json, text/event-stream"}
    with httpx2.Client(base_url=url, headers=headers) as http:
        first = http.post("/mcp", json=hello)
        assert first.status_code == 200
        assert "mcp-session-id" not in first.headers
        asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        assert http.post("/mcp", json=asked, headers={"Mcp-Session-Id": "of-another"}).status_code == 200
        for method in ("GET", "DELETE"):
            refused = http.request(method, "/mcp", headers={"Mcp-Session-Id": "of-another"})
            assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_a_client_that_goes_away_stops_the_answer(tmp_path: Path) -> None:
    ended: list[str] = []
    began = asyncio.Event()

    class Slow(Served):
        async def ask(self, question: str, *, where: tuple[Condition, ...]) -> AsyncGenerator[str | Answer, None]:
            began.set()
            try:
                for _ in range(5000):
                    await asyncio.sleep(0.02)
                    yield "word "
            finally:
                ended.append(question)

    async def work(client: Client) -> None:
        call = asyncio.create_task(client.call_tool("ask", {"question": "a"}))
        await asyncio.wait_for(began.wait(), 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        for _ in range(1000):
            if ended:
                return
            await asyncio.sleep(0.02)

    made = desk(tmp_path / "slow")
    try:
        over(protocol(lambda _: Slow(Server(made), caller())), work)
    finally:
        made.close()
    assert ended == ["a"]


def test_long_answers_report_that_they_go_on(server: Server) -> None:
    class Long(Served):
        async def ask(self, question: str, *, where: tuple[Condition, ...]) -> AsyncGenerator[str | Answer, None]:
            for _ in range(5):
                await asyncio.sleep(0.3)
                yield "word "
            async for part in super().ask(question, where=where):
                yield part

    heard: list[float] = []

    async def work(client: Client) -> CallToolResult:
        async def note(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)

        return await client.call_tool("ask", {"question": QUESTION}, progress_callback=note)

    assert not over(protocol(lambda _: Long(server, caller())), work).is_error
    assert heard
    assert heard == sorted(heard)
