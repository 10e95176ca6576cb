"""Does anything leak? Documents x groups x every endpoint, MCP and page, over a real socket.

Every document holds a secret word under labels of its own; every caller has one group, one has none. Each asks every
route for everything: by listing, by guessing names, by questions that fit hidden documents, by the ids of what others
own. The model repeats all it is shown. A leak is a hidden document's secret in any response, its name in one that was
not asked by that name, a thing of somebody else, or a hidden document answered otherwise than one that does not exist.

    python -m bench.serve_access --documents 200 --groups 20
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from bench.common import OUT
from openbook.records import Message
from openbook.serve import keys
from openbook.serve.store import open_store
from tests.serving import desk, running

SCOPES = ("ask", "search", "write", "train")
ABSENT = "vault-h9999x.md"
_WORD, _NAME = re.compile(r"zq[0-9a-f]{12}"), re.compile(r"h\d{4}x")
_PLACE = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A document, who may see it, and the word only it holds."""

    handle: str
    word: str
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"vault-{self.handle}.md"

    @property
    def text(self) -> str:
        return f"# Vault {self.handle}\n\nThe passphrase of vault {self.handle} is {self.word}.\n"

    def seen_by(self, groups: Sequence[str]) -> bool:
        return "*" in self.labels or not set(groups).isdisjoint(self.labels)


@dataclass
class Tally:
    """What was asked and what leaked."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    """Own secrets seen, by route: shows that the route can show any."""


def secrets(count: int, groups: int, seed: int) -> list[Secret]:
    """Documents with one to three labels each; one in ten is open to all."""
    draw = random.Random(seed)
    return [
        Secret(
            f"h{number:04}x",
            f"zq{draw.getrandbits(48):012x}",
            ("*",) if draw.random() < 0.1 else tuple(sorted({f"g{draw.randrange(groups)}" for _ in range(3)})),
        )
        for number in range(count)
    ]


def parrot(messages: Sequence[Message]) -> str:
    """A model that gives away all it is shown."""
    return " ".join(message.content for message in messages)[-3000:]


class Prober:
    """One caller and everything they try."""

    def __init__(self, url: str, key: str, groups: Sequence[str], documents: Sequence[Secret], tally: Tally) -> None:
        self.url, self.key, self.groups, self.tally = url, key, groups, tally
        self.documents = documents
        self.hidden = {one.word for one in documents if not one.seen_by(groups)}
        self.hidden_names = {one.handle for one in documents if not one.seen_by(groups)}
        self.http = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def call(self, method: str, path: str, *, asked: str = "", route: str = "", **how: Any) -> httpx2.Response:
        """One request, judged; `asked` is the handle the request itself holds."""
        response = self.http.request(method, path, **how)
        route = route or f"{method} {path.partition('?')[0]}"
        self.tally.requests[route] += 1
        self.tally.statuses[f"{route} {response.status_code}"] += 1
        self.judge(route, response.text, asked)
        if response.status_code >= 500:
            self.tally.leaks.append(f"{route}: {response.status_code} {response.text[:200]}")
        return response

    def judge(self, route: str, text: str, asked: str = "") -> None:
        """Count what a response gives away."""
        words, names = set(_WORD.findall(text)), set(_NAME.findall(text))
        for word in words & self.hidden:
            self.tally.leaks.append(f"{route}: {self.groups} saw the secret {word}")
        for name in (names & self.hidden_names) - {asked}:
            self.tally.leaks.append(f"{route}: {self.groups} saw the name {name}")
        self.tally.found[route] += len(words)

    def listings(self, paths: Mapping[str, Any], ids: Mapping[str, str]) -> None:
        """Every GET route: those without parameters, and those with, filled with what others own."""
        for path, methods in paths.items():
            if "get" not in methods or path.endswith("/events"):
                continue
            needed = [one["name"] for one in methods["get"].get("parameters", ()) if one.get("required")]
            if any(name not in ids and name != "name" for name in needed) or "name" in needed:
                continue
            filled = _PLACE.sub(lambda place: ids[place.group()[1:-1].partition(":")[0]], path)
            self.call("GET", filled, route=f"GET {path}")

    def others(self, path: str, method: str = "GET", **how: Any) -> None:
        """A thing that belongs to somebody else."""
        response = self.call(method, path, route=f"{method} {_generic(path)} (of another)", **how)
        if response.status_code not in (403, 404):
            self.tally.leaks.append(f"{method} {path}: {response.status_code} for {self.groups}, who does not own it")

    def document(self, one: Secret) -> None:
        """Everything that can be asked of one document."""
        question = f"What is the passphrase of vault {one.handle}?"
        hidden = not one.seen_by(self.groups)
        for path, more in (
            ("/api/document", {}),
            ("/api/document/text", {}),
            ("/api/document/text", {"start": 0, "end": 20}),
            ("/api/document/file", {}),
            ("/api/document/page", {"page": 1}),
        ):
            response = self.call("GET", path, asked=one.handle, params={"name": one.name, **more})
            if hidden:
                absent = self.http.get(path, params={"name": ABSENT, **more})
                self.same(path, response, absent, one)
        explained = {"question": question, "document": one.name}
        response = self.call("POST", "/api/explain", asked=one.handle, json=explained)
        if hidden:
            absent = self.http.post("/api/explain", json={**explained, "document": ABSENT})
            self.same("/api/explain", response, absent, one)
            self.call("DELETE", "/api/document", asked=one.handle, params={"name": one.name})
        self.call("POST", "/api/search", asked=one.handle, json={"question": question, "k": 20})
        self.call("POST", "/api/ask", asked=one.handle, json={"question": question, "model": "rag"})
        body = {"model": "rag", "messages": [{"role": "user", "content": question}]}
        self.call("POST", "/v1/chat/completions", asked=one.handle, json=body)
        self.call("POST", "/v1/chat/completions", asked=one.handle, json={**body, "stream": True})
        self.call("POST", "/", asked=one.handle, data={"question": question}, route="POST / (page)")
        for page in ("/", "/library"):
            self.call("GET", page, asked=one.handle, params={"document": one.name}, route=f"GET {page} (page)")

    def same(self, path: str, hidden: httpx2.Response, absent: httpx2.Response, one: Secret) -> None:
        """A hidden document must be answered as one that does not exist."""
        told = absent.text.replace(ABSENT, one.name)
        if hidden.status_code != absent.status_code or hidden.text != told:
            self.tally.leaks.append(f"{path}: hidden {hidden.status_code} {hidden.text[:80]!r}, absent {told[:80]!r}")

    async def mcp(self, documents: Sequence[Secret]) -> None:
        """The same through the official MCP client."""
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {self.key}"}, timeout=60) as http,
            Client(streamable_http_client(f"{self.url}/mcp", http_client=http)) as client,
        ):
            self.said("MCP resources", str(await client.list_resources()))
            for one in documents:
                question = f"What is the passphrase of vault {one.handle}?"
                for tool, arguments in (
                    ("search", {"question": question}),
                    ("ask", {"question": question}),
                    ("read_document", {"document": one.name}),
                ):
                    self.said(f"MCP {tool}", str(await client.call_tool(tool, arguments)), one.handle)
                try:
                    read = str(await client.read_resource(f"openbook://document/{one.name}"))
                except Exception as error:  # noqa: BLE001 - whatever it says is what is judged
                    read = str(error)
                self.said("MCP resource", read, one.handle)

    def said(self, route: str, text: str, asked: str = "") -> None:
        """An MCP result."""
        self.tally.requests[route] += 1
        self.judge(route, text, asked)


def _generic(path: str) -> str:
    return re.sub(r"/[a-z]+-[0-9a-f]{8,}[^/]*", "/{id}", path)


def own(prober: Prober, one: Secret) -> dict[str, str]:
    """What one caller leaves behind: a conversation, a rated answer, a file, a job; their ids."""
    question = f"What is the passphrase of vault {one.handle}?"
    said = prober.call("POST", "/api/ask", asked=one.handle, json={"question": question, "model": "rag"}).json()
    prober.call("POST", "/api/feedback", json={"answer": said["id"], "rating": "down", "reason": f"wrong {one.word}"})
    file = prober.call(
        "POST", "/v1/files", data={"purpose": "fine-tune"}, files={"file": (f"{one.word}.jsonl", b"{}\n")}
    ).json()
    job = prober.call(
        "POST", "/api/documents", data={"labels": one.labels[0]}, files={"files": (f"{one.word}.md", one.text.encode())}
    ).json()
    return {"conversation": said["conversation"], "answer": said["id"], "file": file["id"], "job": job["job"]["id"]}


def run(documents: int, groups: int, *, sample: int = 0, seed: int = 0, workers: int = 4) -> Tally:
    """The matrix; with `sample`, each caller asks for so many of the documents only."""
    made, tally = secrets(documents, groups, seed), Tally()
    toml = "[serve]\nrequests_per_minute = 0\nwaiting = 1000\n[answer]\nabstain_below = 0.0\n"
    with tempfile.TemporaryDirectory() as folder:
        workspace = desk(Path(folder) / "desk", documents={}, script=parrot, toml=toml)
        try:
            for labels in sorted({one.labels for one in made}):
                place = Path(folder) / "documents" / "-".join(labels).replace("*", "all")
                place.mkdir(parents=True)
                for one in made:
                    if one.labels == labels:
                        (place / one.name).write_text(one.text)
                workspace.sync([place / one.name for one in made if one.labels == labels], acl=labels)
            store = open_store(workspace.state / "server.db")
            callers: list[tuple[str, tuple[str, ...]]] = []
            for group in ["", *(f"g{number}" for number in range(groups))]:
                member = (group,) if group else ()
                callers.append((keys.create(store, f"key of {group or 'nobody'}", SCOPES, member)[1], member))
            with running(workspace) as url:
                _probe(url, callers, made, tally, sample, seed, workers)
        finally:
            workspace.close()
    return tally


def _probe(
    url: str,
    callers: Sequence[tuple[str, tuple[str, ...]]],
    made: Sequence[Secret],
    tally: Tally,
    sample: int,
    seed: int,
    workers: int,
) -> None:
    probers = [Prober(url, key, groups, made, tally) for key, groups in callers]
    owner = next(
        one for one in probers if one.groups and any("*" not in s.labels and s.seen_by(one.groups) for s in made)
    )
    theirs = next(one for one in made if "*" not in one.labels and one.seen_by(owner.groups))
    ids = own(owner, theirs)
    paths = owner.http.get("/api/openapi.json").json()["paths"]
    filler = dict.fromkeys(("id", "job", "job_id", "report", "run", "n", "version"), ids["job"])
    filler |= {"file_id": ids["file"], "conversation": ids["conversation"], "model": "rag", "name": "tone"}
    strangers = [one for one in probers if not theirs.seen_by(one.groups)]
    stranger = strangers[0]
    stranger.hidden |= {theirs.word}
    for path in (
        f"/api/conversations/{ids['conversation']}",
        f"/api/jobs/{ids['job']}",
        f"/api/jobs/{ids['job']}/events",
        f"/v1/files/{ids['file']}",
        f"/v1/files/{ids['file']}/content",
        f"/v1/fine_tuning/jobs/{ids['job']}",
    ):
        for one in strangers:
            one.others(path)
    stranger.others(f"/api/conversations/{ids['conversation']}", "DELETE")
    stranger.others(f"/v1/files/{ids['file']}", "DELETE")
    stranger.others(f"/api/jobs/{ids['job']}/cancel", "POST")
    stranger.others("/api/feedback", "POST", json={"answer": ids["answer"], "rating": "down", "reason": ""})

    def everything(prober: Prober) -> None:
        prober.listings(paths, filler)
        for page in ("/", "/library", "/train", "/compare", "/review", "/settings"):
            prober.call("GET", page, route=f"GET {page} (page)")
        draw = random.Random(f"{seed}{prober.groups}")
        some = draw.sample(list(made), sample) if sample else list(made)
        for one in some:
            prober.document(one)
        anyio.run(prober.mcp, some)

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(everything, probers):
            pass
    for prober in probers:
        prober.http.close()


def rows(tally: Tally) -> Iterator[tuple[str, int, int]]:
    """Route, requests, own secrets seen."""
    for route in sorted(tally.requests):
        yield route, tally.requests[route], tally.found[route]


def main() -> None:
    """Print the matrix; exit 1 when anything leaked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--groups", type=int, default=20)
    parser.add_argument("--sample", type=int, default=0, help="documents each caller asks for; 0 is all")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.perf_counter()
    tally = run(given.documents, given.groups, sample=given.sample, seed=given.seed)
    for route, count, found in rows(tally):
        print(f"{count:7} {found:7}  {route}")
    print(f"{sum(tally.requests.values())} requests, {len(tally.leaks)} leaks, {time.perf_counter() - began:.0f} s")
    for leak in tally.leaks[:50]:
        print("LEAK", leak)
    OUT.mkdir(parents=True, exist_ok=True)
    found = {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(tally).items()}
    (OUT / "serve_access.json").write_text(json.dumps({**vars(given), **found}, indent=1))
    sys.exit(bool(tally.leaks))


if __name__ == "__main__":
    main()
