"""Does anything leak? Documents x groups x every endpoint, MCP and page, over a real socket.

Every document holds a secret word under labels of its own; every caller has one group, one has none. Each asks every
route for everything: by listing, by guessing names, by questions that fit hidden documents, by the ids of what others
own: conversations, reviews, files, jobs, trainings with their runs and adapters, comparisons with their reports. The
model repeats all it is shown. A leak is a hidden document's secret in any response, its name in one that was not asked
by that name, a thing of somebody else, or a hidden document answered otherwise than one that does not exist. How long a
hidden document and an absent one take is measured by turns and told as the ratio of the medians.

    python -m bench.serve_access --documents 200 --groups 20
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
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
from openbook.finetune.registry import Registry
from openbook.records import Message
from openbook.serve import keys, reach
from openbook.serve.access import Caller, of_key
from openbook.serve.store import EVENTS, JOBS, open_store
from openbook.workspace import Workspace
from tests.serving import desk, running

SCOPES = ("ask", "search", "write", "train")
ABSENT = "vault-h9999x.md"
SHOWN = (
    "/api/jobs",
    "/api/jobs/{train_succeeded}",
    "/api/jobs/{compare_succeeded}",
    "/v1/fine_tuning/jobs",
    "/v1/fine_tuning/jobs/{train_succeeded}",
    "/api/runs/{run}/events",
    "/api/runs/{run}/curves",
    "/api/reports",
    "/api/reports/{report}",
    "/api/reports/{report}/page",
    "/api/review",
    "/api/adapters",
    "/api/arms",
    "/v1/files",
)
"""What shows the owner of trainings, comparisons and reviews what must be shown to nobody else."""
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
    ratios: dict[str, float] = field(default_factory=dict)
    """Route -> median time of a hidden document by that of one that does not exist."""


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

    def others(self, path: str, method: str = "GET", *, asked: str = "", **how: Any) -> None:
        """A thing that belongs to somebody else."""
        response = self.call(method, path, asked=asked, route=f"{method} {_generic(path)} (of another)", **how)
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

    def models(self, one: Secret) -> None:
        """An adapter that learned from hidden documents must be asked for as one that does not exist."""
        hidden, absent = f"tone-{one.handle}", f"tone-{ABSENT[6:-3]}"
        for suffix in ("", "+rag", "@1", "@1+rag"):
            for path, body in (
                ("/api/ask", {"question": "Hello?", "model": "MODEL"}),
                ("/v1/chat/completions", {"model": "MODEL", "messages": [{"role": "user", "content": "Hello?"}]}),
                ("/api/compare", {"made": 1, "tuned": ["MODEL"]}),
                ("/v1/fine_tuning/jobs", {"model": "MODEL", "training_file": "file-0"}),
            ):
                told = [
                    self.call("POST", path, asked=one.handle, json=json.loads(json.dumps(body).replace("MODEL", model)))
                    for model in (hidden + suffix, absent + suffix)
                ]
                if told[0].status_code < 400 or told[0].text != told[1].text.replace(absent, hidden):
                    self.tally.leaks.append(
                        f"{path}: hidden adapter {told[0].text[:80]!r}, absent {told[1].text[:80]!r}"
                    )

    def times(self, one: Secret, rounds: int) -> None:
        """How much longer a hidden document takes than one that does not exist, by turns on one connection."""
        question = f"What is the passphrase of vault {one.handle}?"
        for method, path in (
            *(("GET", f"/api/document{part}") for part in ("", "/text", "/file")),
            ("DELETE", "/api/document"),
            ("POST", "/api/explain"),
        ):
            took: dict[str, list[float]] = {one.name: [], ABSENT: []}
            for number in range(rounds):
                for name in sorted(took, reverse=bool(number % 2)):
                    began = time.perf_counter()
                    if method == "POST":
                        self.http.post(path, json={"question": question, "document": name})
                    else:
                        self.http.request(method, path, params={"name": name})
                    took[name].append(time.perf_counter() - began)
            self.tally.ratios[f"{method} {path}"] = statistics.median(took[one.name]) / statistics.median(took[ABSENT])

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
    return re.sub(r"/([a-z]+-[0-9a-f]{8,}|tone-|run-|report-)[^/]*", "/{id}", path)


def leave(workspace: Workspace, who: Caller, one: Secret) -> dict[str, str]:
    """What trainings and comparisons of a caller leave behind, as if they had been done; their ids."""
    state, now = workspace.state, time.time()
    ids = {"run": f"run-{one.handle[1:-1]}", "report": f"report-{one.handle[1:-1]}"}
    runs = state / "runs" / ids["run"]
    reports = state / "reports" / ids["report"]
    for folder in (runs, reports):
        folder.mkdir(parents=True)
        reach.seal(folder, who)
    (runs / "events.jsonl").write_text(json.dumps({"kind": "start", "t": now, "name": one.word}) + "\n")
    for page in (runs / "page.html", runs / "preflight.html", reports / "report.html"):
        page.write_text(f"<p>{one.word}</p>")
    (reports / "report.json").write_text(json.dumps({"id": ids["report"], "title": one.word, "arms": []}))
    with Registry(state / "adapters").reserve(f"tone-{one.handle}") as draft:
        draft.publish({"library": {"reading": {"groups": list(who.groups)}}, "run": ids["run"], "metric": {}})
    args = {"name": one.word, "settings": {}, "files": [], "validation": [], "openai": {"metadata": {"w": one.word}}}
    result = {"model": f"ft:base:tone-{one.handle}:1", "run": ids["run"], "report": ids["report"], "said": one.word}
    with open_store(state / "server.db").begin() as db:
        for kind, reached in (
            ("train", "succeeded"),
            ("train", "paused"),
            ("preflight", "succeeded"),
            ("compare", "succeeded"),
        ):
            ids[f"{kind} {reached}"] = name = f"job-{one.word[2:]}{len(ids):012x}"
            row = {"id": name, "kind": kind, "owner": who.id, "caller": who.json(), "args": args, "state": reached}
            db.execute(JOBS.insert().values(**row, result=result, error="", wish="", created=now, started=now))
            for event in (
                {"kind": "step", "step": 1, "loss": 1.0, "said": one.word},
                {"state": reached, "result": result},
            ):
                db.execute(EVENTS.insert().values(job=name, at=now, event=event))
    return ids


def own(prober: Prober, one: Secret) -> dict[str, str]:
    """What one caller leaves behind: a conversation, a rated answer, a file, a job; their ids."""
    question = f"What is the passphrase of vault {one.handle}?"
    said = prober.call("POST", "/api/ask", asked=one.handle, json={"question": question, "model": "rag"}).json()
    rated = {"answer": said["id"], "rating": "down", "reason": f"wrong {one.word}"}
    review = prober.call("POST", "/api/feedback", json=rated).json()
    file = prober.call(
        "POST", "/v1/files", data={"purpose": "fine-tune"}, files={"file": (f"{one.word}.jsonl", b"{}\n")}
    ).json()
    job = prober.call(
        "POST", "/api/documents", data={"labels": one.labels[0]}, files={"files": (f"{one.word}.md", one.text.encode())}
    ).json()
    return {
        **{"conversation": said["conversation"], "answer": said["id"], "review": review["id"]},
        **{"file": file["id"], "job": job["job"]["id"]},
    }


def run(documents: int, groups: int, *, sample: int = 0, seed: int = 0, workers: int = 4, rounds: int = 20) -> Tally:
    """The matrix; with `sample`, each caller asks for so many of the documents only; `rounds` are of the timing."""
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
            callers: list[tuple[Caller, str]] = []
            for group in ["", *(f"g{number}" for number in range(groups))]:
                member = (group,) if group else ()
                key, secret = keys.create(store, f"key of {group or 'nobody'}", SCOPES, member)
                callers.append((of_key(key), secret))
            porter = keys.create(store, "an admin of no group", ("admin",))[1]
            mine = [(who, one) for who, _ in callers for one in made if _only(one, who.groups)]
            left = leave(workspace, *mine[0])
            with running(workspace) as url:
                _probe(url, callers, porter, mine[0], left, made, tally, sample, seed, workers, rounds)
        finally:
            workspace.close()
    return tally


def _only(one: Secret, groups: Sequence[str]) -> bool:
    return bool(groups) and "*" not in one.labels and one.seen_by(groups)


def _probe(
    url: str,
    callers: Sequence[tuple[Caller, str]],
    porter: str,
    owned: tuple[Caller, Secret],
    left: Mapping[str, str],
    made: Sequence[Secret],
    tally: Tally,
    sample: int,
    seed: int,
    workers: int,
    rounds: int,
) -> None:
    probers = [Prober(url, key, who.groups, made, tally) for who, key in callers]
    owner, theirs = next(one for one in probers if one.groups == owned[0].groups), owned[1]
    ids = {**left, **own(owner, theirs)}
    paths = owner.http.get("/api/openapi.json").json()["paths"]
    filler = dict.fromkeys(("id", "job", "job_id", "report", "run", "n", "version"), ids["job"])
    filler |= {"file_id": ids["file"], "conversation": ids["conversation"], "model": "rag", "name": "tone"}
    for path in SHOWN:  # else that the others do not see it would prove nothing
        shown = owner.http.get(path.format(**{name.replace(" ", "_"): one for name, one in ids.items()})).text
        tally.found[f"{path} (of the owner)"] += int(theirs.word in shown or f"tone-{theirs.handle}" in shown)
    strangers = [one for one in probers if not theirs.seen_by(one.groups)]
    stranger = strangers[0]
    stranger.hidden |= {theirs.word}
    for path in (
        f"/api/conversations/{ids['conversation']}",
        f"/api/jobs/{ids['job']}",
        f"/api/jobs/{ids['job']}/events",
        f"/v1/files/{ids['file']}",
        f"/v1/files/{ids['file']}/content",
        *(
            f"{home}/{ids[job]}{part}"
            for job in ("train succeeded", "train paused", "preflight succeeded", "compare succeeded")
            for home, part in (
                ("/api/jobs", ""),
                ("/api/jobs", "/events"),
                ("/v1/fine_tuning/jobs", ""),
                ("/v1/fine_tuning/jobs", "/events"),
                ("/v1/fine_tuning/jobs", "/checkpoints"),
            )
        ),
        *(f"/api/runs/{ids['run']}/{page}" for page in ("events", "curves", "preflight")),
        *(f"/api/reports/{ids['report']}{page}" for page in ("", "/page")),
    ):
        for one in strangers:
            one.others(path)
    for one in strangers:
        for home in ("/api/jobs", "/v1/fine_tuning/jobs"):
            for wish in ("pause", "resume", "cancel"):
                one.others(f"{home}/{ids['train paused']}/{wish}", "POST")
        one.others(f"/api/review/{ids['review']}", "POST", json={"decision": "reject"})
        for verb, body in (("promote", {"version": 1}), ("roll-back", {})):
            one.others(f"/api/adapters/tone-{theirs.handle}/{verb}", "POST", asked=theirs.handle, json=body)
        one.models(theirs)
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
    admin = Prober(url, porter, (), made, tally)
    admin.hidden |= {theirs.word}
    admin.listings(paths, {name: one for name, one in filler.items() if name != "conversation"})
    for path in (*SHOWN, *(f"/v1/files/{ids['file']}{part}" for part in ("", "/content"))):
        admin.call(
            "GET", path.format(**{name.replace(" ", "_"): one for name, one in ids.items()}), route="GET (an admin)"
        )
    stranger.times(theirs, rounds)
    probers.append(admin)
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
    parser.add_argument("--rounds", type=int, default=300, help="of the timing of hidden against absent documents")
    given = parser.parse_args()
    began = time.perf_counter()
    tally = run(given.documents, given.groups, sample=given.sample, seed=given.seed, rounds=given.rounds)
    for route, count, seen in rows(tally):
        print(f"{count:7} {seen:7}  {route}")
    print(f"{sum(tally.requests.values())} requests, {len(tally.leaks)} leaks, {time.perf_counter() - began:.0f} s")
    for route, ratio in tally.ratios.items():
        print(f"{ratio:7.3f}  {route}: hidden / absent, medians of {given.rounds}")
    for leak in tally.leaks[:50]:
        print("LEAK", leak)
    OUT.mkdir(parents=True, exist_ok=True)
    found = {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(tally).items()}
    (OUT / "serve_access.json").write_text(json.dumps({**vars(given), **found}, indent=1))
    sys.exit(bool(tally.leaks))


if __name__ == "__main__":
    main()
