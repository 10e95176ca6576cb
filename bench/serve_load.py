"""The server under load beside its peers: each server is a process, the askers are this one, the way is the loopback.

    python -m bench.serve_load chat   --gguf MODEL.gguf --llama-python PY --transformers PY --hf FOLDER
    python -m bench.serve_load search --txtai PY --hf-embedder FOLDER
    python -m bench.serve_load sync
    python -m bench.serve_load memory --requests 10000
    python -m bench.serve_load first --questions 40

chat: seconds to the first token (p50, p95) and tokens/s of all askers together, with 1, 4 and 16 askers who each ask
again as soon as they have an answer. Prompts differ, are about 500 tokens long and begin alike; answers are greedy and
at most 64 tokens. Openbook, llama-cpp-python's server (same GGUF) and `transformers serve` (the same weights,
dequantized) get the same messages at /v1/chat/completions, so no retrieval is in it.
search: requests/s and p95 of 1 and 4 askers over about 10,000 chunks; both hybrid, with the same embedder.
sync: p95 of searches while a sync of new documents runs, against the same searches without one.
memory: resident memory of server and model process over many searches and some answers.
first: seconds to the first text of answers about the sample handbook, one after the other, from /v1, which streams them
once they are checked, and from /api/ask, which streams them as they are written.
A peer whose options are not given is left out. Results: bench/out/serve_{chat,search,sync,memory,first}.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2

from bench.common import number, spread, table, write_json

WORDS = (
    "leave policy travel finance badge employee senior salary approve remote office holiday contract manager report "
    "week day request system form team process review laptop invoice customer meeting room training budget"
).split()
MAX_TOKENS = 64
NO_WORDS = "No answer was counted; the server said {!r}"


def text(seed: object, words: int) -> str:
    """Sentences of ten words, the same for the same seed."""
    draw = random.Random(str(seed))
    drawn = [draw.choice(WORDS) for _ in range(words)]
    return " ".join(" ".join(drawn[at : at + 10]).capitalize() + "." for at in range(0, words, 10))


def messages(number: int) -> list[dict[str, str]]:
    """A prompt like one with three passages."""
    passages = "\n\n".join(f"[{at + 1}] {text((number, at), 110)}" for at in range(3))
    question = f"What do the passages say about {random.Random(number).choice(WORDS)}? Answer in three sentences."
    return [
        {"role": "system", "content": "You answer questions from the passages you are shown, and only from them."},
        {"role": "user", "content": f"{passages}\n\nQuestion {number}: {question}"},
    ]


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    url: str
    model: str
    pid: int
    headers: dict[str, str]
    native: bool = False
    """Asked at /api/ask instead of /v1/chat/completions."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def process(command: Sequence[str], path: str, port: int, *, model: str, **how: Any) -> Iterator[Served]:
    """A server as a process, once it answers at `path`; `how` goes to Popen."""
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    child = subprocess.Popen(list(command), stdout=log, stderr=log, start_new_session=True, **how)
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + 300
    try:
        while True:
            if child.poll() is not None or time.monotonic() > until:
                log.seek(0)
                sys.exit(f"{command[0]} did not start:\n{log.read().decode(errors='replace')[-2000:]}")
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(url + path, timeout=2).status_code < 500:
                    break
            time.sleep(0.2)
        yield Served(url, model, child.pid, {})
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        log.close()


@contextlib.contextmanager
def openbook(folder: Path, *, model: str = "base", native: bool = False) -> Iterator[Served]:
    """`openbook serve` on a workspace, made when there is none."""
    if not (folder / "openbook.toml").exists():
        subprocess.run([sys.executable, "-m", "openbook", "init", str(folder)], check=True, stdout=subprocess.DEVNULL)
        with (folder / "openbook.toml").open("a") as file:
            file.write("\n[serve]\nrequests_per_minute = 0\nconcurrent = 16\nkeep_conversations = false\n")
            file.write(f"\n[answer]\nmax_tokens = {MAX_TOKENS}\n")
    port = free_port()
    with process(
        [sys.executable, "-m", "openbook", "serve", "--port", str(port)], "/healthz", port, model=model, cwd=folder
    ) as served:
        yield replace(served, native=native)


async def chat(client: httpx2.AsyncClient, served: Served, number: int, max_tokens: int) -> tuple[float, int]:
    """Seconds to the first text, and tokens by the server's own count (else the pieces that came)."""
    path, body = (
        "/v1/chat/completions",
        {
            "model": served.model,
            "messages": messages(number),
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    )
    if served.native:
        whole = "\n\n".join(one["content"] for one in messages(number))
        path, body = "/api/ask", {"question": whole, "model": served.model, "stream": True}
    return await streamed(client, served, path, body)


async def streamed(client: httpx2.AsyncClient, served: Served, path: str, body: dict[str, Any]) -> tuple[float, int]:
    """Seconds to the first text of a stream, and its tokens."""
    start, first, came, counted = time.perf_counter(), 0.0, 0, 0
    async with client.stream("POST", served.url + path, json=body, headers=served.headers) as reply:
        if reply.status_code != 200:
            raise RuntimeError(NO_WORDS.format((await reply.aread())[:300]))
        async for line in reply.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            event = json.loads(line.removeprefix("data: "))
            counted = (event.get("usage") or {}).get("completion_tokens") or counted
            if (served.native and set(event) == {"text"}) or any(
                (choice.get("delta") or {}).get("content") for choice in event.get("choices", ())
            ):
                first = first or time.perf_counter() - start
                came += 1
    if not first:
        raise RuntimeError(NO_WORDS.format("nothing"))
    return first, counted or came


async def load(
    askers: int, total: int, ask: Callable[[httpx2.AsyncClient, int], Any]
) -> tuple[list[tuple[float, Any]], float]:
    """(seconds, result) of each of `total` asks by so many askers, and the seconds of all."""
    numbers, found = iter(range(total)), list[tuple[float, Any]]()
    limits = httpx2.Limits(max_connections=askers)
    async with httpx2.AsyncClient(timeout=600, limits=limits) as client:

        async def asker() -> None:
            for number in numbers:
                start = time.perf_counter()
                result = await ask(client, number)
                found.append((time.perf_counter() - start, result))

        start = time.perf_counter()
        await asyncio.gather(*(asker() for _ in range(askers)))
        return found, time.perf_counter() - start


def measure_chat(served: Served, name: str, askers: Sequence[int], each: int) -> Iterator[dict[str, Any]]:
    """Rows of one server, after an answer that loads its model."""
    asyncio.run(load(1, 1, lambda client, _: chat(client, served, 10_000, 4)))
    for many in askers:
        base, total = many * 1000, max(6, many * each)
        found, seconds = asyncio.run(
            load(many, total, lambda client, number: chat(client, served, base + number, MAX_TOKENS))  # noqa: B023
        )
        firsts, whole = spread([first for _, (first, _) in found]), spread([took for took, _ in found])
        yield {
            "server": name,
            "askers": many,
            "answers": total,
            "ttft_p50": firsts["median"],
            "ttft_p95": firsts["p95"],
            "answer_p50": whole["median"],
            "answer_p95": whole["p95"],
            "tokens_per_second": sum(tokens for _, (_, tokens) in found) / seconds,
            "tokens": sum(tokens for _, (_, tokens) in found),
        }


def peers(given: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """(name, a context manager that serves) of each server that was asked for."""
    threads = str(given.threads or len(os.sched_getaffinity(0)))
    yield "openbook", openbook(given.workspace, native=given.native)
    if given.llama_python:
        port = free_port()
        command = [given.llama_python, "-m", "llama_cpp.server", "--model", given.gguf, "--port", str(port)]
        command += ["--n_ctx", "8192", "--n_threads", threads, "--n_threads_batch", threads]
        yield (
            "llama-cpp-python",
            process([*command, "--interrupt_requests", "false"], "/v1/models", port, model=given.gguf),
        )
    if given.transformers:
        for name, more in (("transformers serve", ()), ("transformers serve, batching", ("--continuous-batching",))):
            port = free_port()
            command = [str(Path(given.transformers).with_name("transformers")), "serve", given.hf, "--port", str(port)]
            command += ["--device", "cpu", *more]
            env = {**os.environ, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
            yield name, process(command, "/health", port, model=given.hf, env=env)


def run_chat(given: argparse.Namespace) -> None:
    """Every server, one after the other, as many rounds as wanted; the table has the medians of the rounds."""
    rows: list[dict[str, Any]] = []
    for at in range(given.rounds):
        for name, serving in peers(given):
            if given.only and given.only not in name:
                continue
            with serving as served:
                for row in measure_chat(served, name, given.askers, given.each):
                    rows.append({"round": at, **row})
                    print(rows[-1], file=sys.stderr)
    figures = ["ttft_p50", "ttft_p95", "answer_p50", "answer_p95", "tokens_per_second"]
    medians = []
    for name, askers in dict.fromkeys((row["server"], row["askers"]) for row in rows):
        of = [row for row in rows if (row["server"], row["askers"]) == (name, askers)]
        found = {key: statistics.median(row[key] for row in of) for key in figures}
        medians.append({"server": name, "askers": askers, "answers": sum(row["answers"] for row in of), **found})
    head = ["server", "askers", "answers", *figures]
    print(table([one.replace("_", " ") for one in head], [[row[key] for key in head] for row in medians]))
    print(write_json("serve_chat", {"rows": rows, "medians": medians, "max_tokens": MAX_TOKENS}))


def documents(folder: Path, files: int, sections: int, *, called: str = "doc") -> None:
    """Markdown files of so many sections, each about one chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in range(files):
        parts = (f"## {called} {one} part {at}\n\n{text((called, one, at), 90)}\n" for at in range(sections))
        (folder / f"{called}-{one}.md").write_text(f"# {called} {one}\n\n" + "\n".join(parts), encoding="utf-8")


def library(workspace: Path, files: int = 100) -> int:
    """A workspace with about 100 chunks of each of so many files, synced once; how many it has."""
    if not (workspace / "documents").exists():
        with openbook(workspace):
            pass
        documents(workspace / "documents", files, 100)
    # Does nothing where it is done; goes on where it was stopped.
    command = [sys.executable, "-m", "openbook", "sync", "documents"]
    subprocess.run(command, cwd=workspace, check=True, stdout=subprocess.DEVNULL)
    listed = subprocess.run(
        [sys.executable, "-m", "openbook", "documents", "--json"], cwd=workspace, check=True, stdout=subprocess.PIPE
    )
    found = json.loads(listed.stdout)
    infos = found["documents"] if isinstance(found, dict) else found
    return sum(int(info["chunks"]) for info in infos)


async def find(client: httpx2.AsyncClient, served: Served, number: int) -> int:
    """Hits of a search in Openbook."""
    body = {"question": text(("question", number), 8), "k": 5}
    reply = await client.post(served.url + "/api/search", json=body, headers=served.headers)
    reply.raise_for_status()
    return len(reply.json()["hits"])


async def find_txtai(client: httpx2.AsyncClient, served: Served, number: int) -> int:
    """Hits of a search in txtai."""
    query: dict[str, str | int] = {"query": text(("question", number), 8), "limit": 5}
    reply = await client.get(served.url + "/search", params=query)
    reply.raise_for_status()
    return len(reply.json())


def measure_search(
    served: Served, name: str, ask: Callable[..., Any], total: int, askers: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Rows of one server, after some searches that warm it."""
    asyncio.run(load(1, 20, lambda client, number: ask(client, served, 10**6 + number)))
    for many in askers:
        found, seconds = asyncio.run(load(many, total, lambda client, number: ask(client, served, number)))
        took = spread([one for one, _ in found])
        yield {
            "server": name,
            "askers": many,
            "requests": total,
            "requests_per_second": total / seconds,
            "p50": took["median"],
            "p95": took["p95"],
            "hits": sum(hits for _, hits in found) / total,
        }


def run_search(given: argparse.Namespace) -> None:
    """Openbook and txtai's API over the same texts."""
    chunks = library(given.workspace, given.library)
    rows: list[dict[str, Any]] = []
    with openbook(given.workspace) as served:
        rows += measure_search(served, "openbook", find, given.requests, (1, 4))
    if given.txtai:
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "texts.json").write_text(
                json.dumps([text(("doc", one, at), 90) for one in range(given.library) for at in range(100)])
            )
            Path(folder, "app.yml").write_text(
                f"writable: true\nembeddings:\n  path: {given.hf_embedder}\n  hybrid: true\n  content: true\n"
            )
            command = [given.txtai, "-m", "uvicorn", "txtai.api:app", "--port", str(port), "--log-level", "warning"]
            env = {**os.environ, "CONFIG": str(Path(folder, "app.yml")), "HF_HUB_OFFLINE": "1"}
            with process(command, "/count", port, model="", env=env, cwd=folder) as served:
                texts = json.loads(Path(folder, "texts.json").read_text())
                with httpx2.Client(timeout=1800) as client:
                    for at in range(0, len(texts), 1000):
                        part = [{"id": str(at + n), "text": one} for n, one in enumerate(texts[at : at + 1000])]
                        client.post(served.url + "/add", json=part).raise_for_status()
                    client.get(served.url + "/index").raise_for_status()
                rows += measure_search(served, "txtai", find_txtai, given.requests, (1, 4))
    head = ["server", "askers", "requests", "requests_per_second", "p50", "p95"]
    print(f"{chunks:,} chunks\n" + table(head, [[row[key] for key in head] for row in rows]))
    print(write_json("serve_search", {"chunks": chunks, "rows": rows}))


def run_sync(given: argparse.Namespace) -> None:
    """Searches of one asker without a sync, then while one runs, then without again."""
    chunks = library(given.workspace, given.library)
    fresh = given.workspace / f"fresh-{time.time_ns()}"
    documents(fresh, given.files, 100, called=fresh.name)
    took: dict[str, list[float]] = {"idle": [], "while a sync runs": [], "idle again": []}
    with openbook(given.workspace) as served:

        async def searches(until: Callable[[], bool], into: list[float]) -> None:
            async with httpx2.AsyncClient(timeout=600) as client:
                number = 0
                while not until():
                    start = time.perf_counter()
                    await find(client, served, number)
                    into.append(time.perf_counter() - start)
                    number += 1
                    await asyncio.sleep(0.02)

        def some(into: list[float]) -> Callable[[], bool]:
            return lambda: len(into) >= given.requests

        asyncio.run(load(1, 50, lambda client, number: find(client, served, number)))
        asyncio.run(searches(some(took["idle"]), took["idle"]))
        with httpx2.Client(timeout=600, headers=served.headers) as client:
            order = client.post(served.url + "/api/sync", json={"targets": [str(fresh)]})
            order.raise_for_status()
            job, began, states = order.json()["job"]["id"], time.perf_counter(), {0.0: "queued"}

            def ended() -> bool:
                if time.perf_counter() - max(states) > 0.5:
                    states[time.perf_counter()] = client.get(f"{served.url}/api/jobs/{job}").json()["state"]
                return states[max(states)] in ("succeeded", "failed", "cancelled")

            asyncio.run(searches(ended, took["while a sync runs"]))
            state, seconds = states[max(states)], time.perf_counter() - began
        asyncio.run(searches(some(took["idle again"]), took["idle again"]))
    spreads = {when: spread(times) for when, times in took.items()}
    rows = [{"when": when, **found} for when, found in spreads.items()]
    ratio = spreads["while a sync runs"]["p95"] / spreads["idle"]["p95"]
    head = ["when", "n", "median", "p95", "max"]
    print(table(head, [[row[key] for key in head] for row in rows]))
    print(f"p95 while a sync of {given.files * 100:,} chunks ran ({state}, {number(seconds)} s): {ratio:.2f} x idle")
    print(write_json("serve_sync", {"chunks": chunks, "rows": rows, "ratio": ratio, "sync_seconds": seconds}))


def resident(pid: int) -> tuple[float, float]:
    """Megabytes in memory: of a process, and of those it started together."""
    own, children = 0.0, 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            said = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            size = int(said.get("VmRSS", "0 kB").split()[0]) * 1024 / 1e6
            own += size if int(status.parent.name) == pid else 0
            children += size if int(said["PPid"]) == pid else 0
    return own, children


def run_memory(given: argparse.Namespace) -> None:
    """Searches by eight askers and some answers, and memory after each tenth of them."""
    library(given.workspace, given.library)
    tenth, rows = given.requests // 10, list[tuple[int, float, float]]()
    with openbook(given.workspace, model=given.model, native=given.native) as served:

        async def one(client: httpx2.AsyncClient, at: int) -> None:
            if at % given.every == given.every - 1:
                await chat(client, served, at, 16)
            else:
                await find(client, served, at)

        asyncio.run(load(8, 400, one))
        rows.append((0, *resident(served.pid)))
        for part in range(10):
            base = 1000 + part * tenth
            asyncio.run(load(8, tenth, lambda client, at: one(client, base + at)))  # noqa: B023
            rows.append(((part + 1) * tenth, *resident(served.pid)))
    print(table(["requests", "MB server", "MB children"], rows))
    grown = [after - before for before, after in zip(rows[0][1:], rows[-1][1:], strict=True)]
    print(write_json("serve_memory", {"rows": rows, "grown_mb": {"server": grown[0], "children": grown[1]}}))


def run_first(given: argparse.Namespace) -> None:
    """Each question once a way, by turns and in a process each: neither finds the attention state the other left."""
    from openbook.sample import copy_handbook

    workspace = given.workspace
    if not (workspace / "documents").exists():
        with openbook(workspace):
            copy_handbook(workspace / "documents")
    command = [sys.executable, "-m", "openbook", "sync", "documents"]
    subprocess.run(command, cwd=workspace, check=True, stdout=subprocess.DEVNULL)
    cases = Path(__file__).parent / "data" / "handbook" / "cases.jsonl"
    told = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
    asked = [one["question"] for one in told if one["kind"] == "answerable"][: given.questions]
    ways: dict[str, Callable[[str], dict[str, Any]]] = {
        "/v1/chat/completions": lambda question: {"messages": [{"role": "user", "content": question}]},
        "/api/ask": lambda question: {"question": question},
    }
    found: dict[str, list[float]] = {path: [] for path in ways}

    async def ask(served: Served, turn: int) -> None:
        async with httpx2.AsyncClient(timeout=600) as client:
            for at, question in enumerate(["What is the company called?", *asked]):
                path = list(ways)[(at + turn) % 2]
                way = replace(served, native=path == "/api/ask")
                seconds, _ = await streamed(client, way, path, {"model": "rag", "stream": True, **ways[path](question)})
                if at:  # the first one loads the model
                    found[path].append(seconds)

    for turn in (0, 1):
        with openbook(workspace, model="rag") as served:
            asyncio.run(ask(served, turn))
    spreads = {path: spread(seconds) for path, seconds in found.items()}
    rows = [(path, *(number(one[key]) for key in ("median", "p25", "p75", "n"))) for path, one in spreads.items()]
    print(table(["streamed by", "first text s p50", "p25", "p75", "n"], rows))
    print(write_json("serve_first", {"seconds": found, "spreads": spreads}))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    place = Path(__file__).resolve().parent / "out" / "serve_workspace"
    runs = {"chat": run_chat, "search": run_search, "sync": run_sync, "memory": run_memory, "first": run_first}
    for name, run in runs.items():
        kind = kinds.add_parser(name)
        kind.set_defaults(run=run)
        kind.add_argument("--native", action="store_true", help="ask Openbook at /api/ask")
        home = place.with_name("serve_handbook") if name == "first" else place
        kind.add_argument("--workspace", type=Path, default=home, help="made and kept; give a new one to start afresh")
        if name == "chat":
            kind.add_argument("--askers", type=int, nargs="+", default=[1, 4, 16])
            kind.add_argument("--threads", type=int, default=0, help="of the peers; 1 where the machine is not quiet")
            kind.add_argument("--each", type=int, default=4, help="answers per asker (at least 6 in all)")
            kind.add_argument("--rounds", type=int, default=1, help="each starts every server anew, in turn")
            kind.add_argument("--only", default="", help="servers whose name has this")
            kind.add_argument("--gguf", default="", help="the model file for llama-cpp-python")
            kind.add_argument("--llama-python", default="", help="a Python that has llama-cpp-python[server]")
            kind.add_argument("--transformers", default="", help="a Python that has transformers[serving]")
            kind.add_argument("--hf", default="", help="the same weights as a transformers folder")
        elif name == "first":
            kind.add_argument("--questions", type=int, default=40)
        else:
            kind.add_argument("--library", type=int, default=100, help="hundreds of chunks in the library")
            kind.add_argument("--requests", type=int, default=10_000 if name == "memory" else 1000)
        if name == "search":
            kind.add_argument("--txtai", default="", help="a Python that has txtai[api]")
            kind.add_argument("--hf-embedder", default="", help="the embedder as a sentence-transformers folder")
        if name == "sync":
            kind.add_argument("--files", type=int, default=20, help="new documents of 100 chunks each")
        if name == "memory":
            kind.add_argument("--model", default="base")
            kind.add_argument("--every", type=int, default=100, help="one answer in so many requests")
    given = parser.parse_args()
    given.workspace.mkdir(parents=True, exist_ok=True)
    given.run(given)


if __name__ == "__main__":
    main()
