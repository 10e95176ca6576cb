"""Who gets what over MCP's HTTP: keys with different groups, on one server, with the official client."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from openbook.answer.generators.fake import ScriptedGenerator
from openbook.records import Generation, Message, Sampling
from openbook.seams import Generator
from openbook.serve import keys
from openbook.serve.store import open_store
from tests.serving import desk, first_sentence, running

SALARY = "Where does the salary band of a senior engineer end?"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}

T = TypeVar("T")


@dataclass(frozen=True)
class Office:
    """A served workspace with keys."""

    url: str
    state: Path
    hr: str
    staff: str

    def key(self, *scopes: str, groups: Sequence[str] = (), **options: Any) -> tuple[str, str]:
        made, secret = keys.create(open_store(self.state / "server.db"), "a test", scopes, groups, **options)
        return made.id, secret


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    workspace = desk(tmp_path_factory.mktemp("office"))
    store = open_store(workspace.state / "server.db")
    _, hr = keys.create(store, "Human resources", ["ask", "search"], ["hr"])
    _, staff = keys.create(store, "Staff", ["ask", "search"], ["staff"])
    with running(workspace) as url:
        yield Office(url, workspace.state, hr, staff)
    workspace.close()


@asynccontextmanager
async def client(office: Office, secret: str, mode: str = "auto") -> Any:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {secret}"}, timeout=60) as http:
        transport = streamable_http_client(f"{office.url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as made:
            yield made


def as_caller(office: Office, secret: str, work: Callable[[Client], Awaitable[T]], mode: str = "auto") -> T:
    async def run() -> T:
        async with client(office, secret, mode) as made:
            return await work(made)

    return asyncio.run(run())


async def everything(made: Client) -> str:
    """All words that come out for questions about salaries."""
    results = [
        await made.call_tool("search", {"question": SALARY, "k": 50}),
        await made.call_tool("ask", {"question": SALARY}),
        await made.call_tool("read_document", {"document": "Salaries.md"}),
        await made.list_resources(),
    ]
    return " ".join(one.model_dump_json() for one in results)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_two_keys_on_one_server_see_what_their_own_groups_may_see(office: Office, mode: str) -> None:
    async def both() -> list[str]:
        async with client(office, office.hr, mode) as hr, client(office, office.staff, mode) as staff:
            told = await asyncio.gather(*(everything(one) for one in (hr, staff) * 3))
        return list(told)

    told = asyncio.run(both())
    for words in told[0::2]:
        assert "98,000" in words
        assert "openbook://document/Salaries.md" in words
    for words in told[1::2]:
        assert "98,000" not in words
        assert "openbook://document/Salaries.md" not in words
        assert "Vacation.md" in words


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer ob_0123456789ab_wrong"}])
def test_without_a_known_key_nothing_is_said_but_how_to_get_in(office: Office, headers: dict[str, str]) -> None:
    for method in ("POST", "GET", "DELETE"):
        refused = httpx2.request(method, f"{office.url}/mcp", json=HELLO, headers={**ACCEPT, **headers})
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert set(refused.json()["error"]) == {"code", "message", "data"}
        assert refused.json()["id"] is None


def test_a_revoked_or_expired_key_is_refused_in_the_middle_of_a_conversation(office: Office) -> None:
    name, secret = office.key("search")
    _, short = office.key("search", expires=time.time() + 0.2)

    async def work(made: Client) -> None:
        assert (await made.list_tools()).tools
        keys.revoke(open_store(office.state / "server.db"), name)
        with pytest.raises(MCPError, match="was revoked, or has expired"):
            await made.call_tool("search", {"question": SALARY})

    as_caller(office, secret, work)
    time.sleep(0.2)
    for gone in (secret, short):
        headers = {**ACCEPT, "Authorization": f"Bearer {gone}"}
        assert httpx2.post(f"{office.url}/mcp", json=HELLO, headers=headers).status_code == 401


def test_a_key_for_other_things_is_refused_with_the_scopes_it_lacks(office: Office) -> None:
    _, secret = office.key("write")
    refused = httpx2.post(f"{office.url}/mcp", json=HELLO, headers={**ACCEPT, "Authorization": f"Bearer {secret}"})
    assert (refused.status_code, refused.json()["error"]["data"]["code"]) == (403, "missing_scope")


def test_the_official_client_says_why_it_is_not_let_in(office: Office) -> None:
    async def said(**headers: str) -> str:
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(f"{office.url}/mcp", http_client=http)
            with pytest.raises((MCPError, ExceptionGroup)) as raised:
                async with Client(transport, mode="legacy") as made:
                    await made.list_tools()
            return repr(raised.value)

    _, other = office.key("write")
    assert "wants a key" in asyncio.run(said())
    assert "lacks the scope" in asyncio.run(said(Authorization=f"Bearer {other}"))
    assert "serve.cors" in asyncio.run(said(Origin="https://evil.example.com"))
    assert "serve.names" in asyncio.run(said(Host="evil.example.com"))


def test_a_session_of_one_key_serves_no_other(office: Office) -> None:
    """None is made; and a request that names one is answered by what its own key may see."""
    found = []
    for secret in (office.hr, office.staff):
        headers = {**ACCEPT, "Authorization": f"Bearer {secret}"}
        opened = httpx2.post(f"{office.url}/mcp", json=HELLO, headers=headers)
        assert (opened.status_code, opened.headers.get("mcp-session-id")) == (200, None)
        call = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "search", "arguments": {"question": SALARY, "k": 50}},
        }
        named = {**headers, "Mcp-Session-Id": "1868a90c-the-session-of-human-resources"}
        found.append(httpx2.post(f"{office.url}/mcp", json=call, headers=named, timeout=60).text)
    assert ["98,000" in text for text in found] == [True, False]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example.com"}, 421), ({"Origin": "https://evil.example.com"}, 403)],
)
def test_a_page_elsewhere_cannot_speak_to_it(office: Office, headers: dict[str, str], status: int) -> None:
    known = {**ACCEPT, "Authorization": f"Bearer {office.hr}", **headers}
    assert httpx2.post(f"{office.url}/mcp", json=HELLO, headers=known).status_code == status


def test_when_too_many_wait_the_tool_says_when_to_come_back(tmp_path: Path) -> None:
    go = threading.Event()

    def slow(messages: Sequence[Message]) -> str:
        go.wait(30)
        return first_sentence(messages)

    async def crowd(url: str) -> list[tuple[bool, str]]:
        async def one() -> tuple[bool, str]:
            async with Client(f"{url}/mcp") as made:
                result = await made.call_tool("ask", {"question": "How many vacation days does a colleague get?"})
                assert isinstance(result.content[0], TextContent)
                return result.is_error, result.content[0].text

        asked = [asyncio.create_task(one()) for _ in range(6)]
        while sum(task.done() for task in asked) < 4:
            await asyncio.sleep(0.02)
        go.set()
        return list(await asyncio.gather(*asked))

    workspace = desk(tmp_path / "busy", script=slow, toml="[serve]\nconcurrent = 1\nwaiting = 1\n")
    try:
        with running(workspace) as url:
            told = asyncio.run(crowd(url))
    finally:
        go.set()
        workspace.close()
    refused = [text for failed, text in told if failed]
    assert len(refused) == 4
    assert all("\n" not in text for text in refused)
    assert all("24 paid vacation days" in text for failed, text in told if not failed)


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("2025-06-18", {}),
        (
            "2026-07-28",
            {
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {},
                }
            },
        ),
    ],
)
def test_a_client_that_goes_away_frees_its_place_in_line(tmp_path: Path, version: str, more: dict[str, Any]) -> None:
    class Slow(ScriptedGenerator):
        def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Generation]:
            for piece in super().stream(messages, sampling):
                time.sleep(0.1)
                yield piece

    workspace = desk(tmp_path / "slow", toml="[serve]\nconcurrent = 1\nwaiting = 0\n")
    slow: Future[Generator] = Future()
    slow.set_result(Slow(lambda _: "word " * 400))
    for key in ("", "reader"):
        workspace.house._loaded[key] = slow
    question = "How many vacation days does a colleague get?"
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "ask", "arguments": {"question": question}, **more},
    }
    headers = {**ACCEPT, "MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": "ask"}
    try:
        with running(workspace) as url, httpx2.Client(base_url=url) as http:
            with pytest.raises(httpx2.TimeoutException):
                http.post("/mcp", json=call, headers=headers, timeout=httpx2.Timeout(10, read=1.5))
            until = time.monotonic() + 60
            while http.post("/api/ask", json={"question": question, "model": "extractive"}).status_code != 200:
                assert time.monotonic() < until, "the answer nobody waits for went on"
                time.sleep(0.1)
    finally:
        workspace.close()
