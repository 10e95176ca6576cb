"""Openbook beside txtai, LlamaIndex and Haystack: ingest and hybrid query, the same chunks, weights and questions.

    python -m bench.peers.run --model FOLDER_OF_MINILM [--quick] [--sizes 1000,10000,100000] [--peers txtai,...]
                              [--repeat 3] [--envs FOLDER] [--peer-python NAME=PATH]

Every side is a worker process; the sides take turns within one session, so that a slow minute of the machine hits all.
Results are kept after every step in bench/out/peers/partial.json: an interrupted run started again with the same
options goes on where it stopped (--fresh begins anew). Writes bench/out/peers.json and prints the tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import OUT, spread, write_json
from bench.peers import corpus, report
from bench.peers.sides import HERE, OURS, PEERS, Setup, SideFailed, Worker, default_python
from openbook.files import write_atomic

FOLDER = OUT / "peers"
PARTIAL = FOLDER / "partial.json"
K = 10
TRIALS = tuple((dtype, batch) for dtype in ("float32", "bfloat16") for batch in (32, 128))
_RECALLED = 200
"""Questions recall is measured with."""
_INGEST_SHARE = 0.55
"""Part of the time budget after which no further ingest repetition begins."""


@dataclass
class Session:
    """What a run has measured so far, kept on disk after every step."""

    options: dict[str, Any]
    setups: dict[str, Setup]
    results: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def once(self, *keys: str, measure: Callable[[], Any]) -> Any:
        """The result under these keys; measured and saved when it is not there yet."""
        place = self.results
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        if keys[-1] not in place:
            place[keys[-1]] = measure()
            write_atomic(PARTIAL, json.dumps({"options": self.options, "results": self.results}))
        return place[keys[-1]]

    def spent(self) -> float:
        """Seconds since this process began measuring."""
        return time.monotonic() - self.started

    def worker(self, name: str, **changes: Any) -> Worker:
        """A new process of one side."""
        return Worker(replace(self.setups[name], **changes), log=FOLDER / f"{name}.log")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = [name for name in (OURS, *PEERS) if name in options.peers or (name == OURS and not options.peers_only)]
    pythons = {name: default_python(name, options.envs) for name in names} | dict(options.peer_python)
    models = {name: str(options.model) for name in names} | {OURS: options.our_model or str(options.model)}
    session = Session(
        options={key: str(value) for key, value in vars(options).items() if key not in ("fresh", "budget")},
        setups={name: Setup(name, pythons[name], models[name]) for name in names},
    )
    if PARTIAL.exists() and not options.fresh:
        kept = json.loads(PARTIAL.read_text(encoding="utf-8"))
        if kept["options"] == session.options:
            session.results = kept["results"]
            say("going on with bench/out/peers/partial.json")
    try:
        versions(session)
        prepare(session, chunks=options.chunks, largest=max(options.sizes, default=0))
        if not options.untuned:
            tune(session)
        if options.chunks:
            ingest(session, chunks=options.chunks, repeat=options.repeat, until=_INGEST_SHARE * 60 * options.budget)
        for size in options.sizes:
            query(session, size=size, rounds=options.repeat + 2, questions=options.questions)
    except SideFailed as error:
        sys.exit(f"{error}. What was measured is kept; run the same command to go on.")
    session.results["seconds"] = session.spent()
    path = write_json("peers", {"options": session.options, **session.results})
    PARTIAL.unlink()
    print(report.render(session.results))
    say(f"\nwritten to {path}")


def versions(session: Session) -> None:
    for name in session.setups:

        def ask(name: str = name) -> Any:
            with session.worker(name) as worker:
                return worker.ask("hello")["versions"]

        session.once("versions", name, measure=ask)
    peer = next((name for name in session.setups if name != OURS), None)
    if peer:
        command = [session.setups[peer].python, str(HERE / "roofline.py")]
        session.once("roofline", measure=lambda: json.loads(subprocess.check_output(command, text=True)))


def prepare(session: Session, *, chunks: int, largest: int) -> None:
    """Write the texts and vectors every side reads; vectors come from one side and are the same for all."""
    real = corpus.real_chunks(max(chunks, min(largest, 3000)))
    made = corpus.made_chunks(max(0, largest - len(real)))
    texts = [*real, *(chunk.text for chunk in made)]
    questions = corpus.questions()
    sentences = corpus.all_sentences() if made else []
    write_atomic(FOLDER / "texts.json", json.dumps(texts))
    write_atomic(FOLDER / "to_embed.json", json.dumps([*real, *sentences, *questions]))
    session.results["corpus"] = {"real": len(real), "made": len(made), "questions": len(questions)}

    def embed() -> float:
        total = len(real) + len(sentences) + len(questions)
        say(f"embedding {total} texts once, for the search of all sides")
        with session.worker(next(iter(session.setups))) as worker:
            worker.open()
            out = str(FOLDER / "embedded.npy")
            seconds: float = worker.ask("embed", texts=str(FOLDER / "to_embed.json"), n=total, out=out)["seconds"]
        done = np.load(out)
        at = len(real) + len(sentences)
        vectors = corpus.made_vectors(made, done[len(real) : at]) if made else done[:0]
        np.save(FOLDER / "vectors.npy", np.concatenate([done[: len(real)], vectors]))
        np.save(FOLDER / "questions.npy", done[at:])
        return seconds

    session.once("prepared", measure=embed)


def tune(session: Session) -> None:
    """Find each peer's best precision and batch size for ingest, and precision for one question."""
    for name in session.setups:
        if name == OURS:
            continue

        def measure(name: str = name) -> dict[str, Any]:
            trials, texts = [], str(FOLDER / "texts.json")
            with session.worker(name) as worker:
                for dtype, batch in TRIALS:
                    worker.open(dtype=dtype, batch=batch)
                    worker.ask("embed", texts=texts, n=16)
                    rate = 96 / worker.ask("embed", texts=texts, n=96)["seconds"]
                    one = min(worker.ask("embed", texts=texts, n=1)["seconds"] for _ in range(10))
                    trials.append({"dtype": dtype, "batch": batch, "embed_per_second": rate, "one_seconds": one})
            best = max(trials, key=lambda trial: trial["embed_per_second"])
            quick = min(trials, key=lambda trial: trial["one_seconds"])
            say(f"{name}: ingest with {best['dtype']}, batch {best['batch']}; questions with {quick['dtype']}")
            return {
                "trials": trials,
                "ingest": {"dtype": best["dtype"], "batch": best["batch"]},
                "query": {"dtype": quick["dtype"], "batch": quick["batch"]},
            }

        session.once("tune", name, measure=measure)


def ingest(session: Session, *, chunks: int, repeat: int, until: float) -> None:
    """Texts to searchable, a fresh process each time, sides in turns; then embedding alone."""
    names = list(session.setups)
    for turn in range(repeat):
        if turn and session.spent() > until:
            say(f"time budget: ingest measured {turn} times instead of {repeat}")
            break
        for name in names[turn % len(names) :] + names[: turn % len(names)]:

            def measure(name: str = name) -> dict[str, Any]:
                with session.worker(name, **session.results.get("tune", {}).get(name, {}).get("ingest", {})) as worker:
                    opened = worker.open()
                    texts = str(FOLDER / "texts.json")
                    worker.ask("embed", texts=texts, n=32)
                    whole = worker.ask("ingest", texts=texts, n=chunks)
                    part = min(chunks, 512)
                    alone = worker.ask("embed", texts=texts, n=part)
                    files = {"folder": str(_files(chunks))}
                    synced = {"sync": worker.ask("sync", **{"with": files})} if name == OURS else {}
                say(f"ingest {name}: {chunks / whole['seconds']:.1f} chunks/s, peak {whole['peak_mb']:.0f} MB")
                return {
                    "open_seconds": opened["seconds"],
                    "chunks_per_second": chunks / whole["seconds"],
                    "embed_per_second": part / alone["seconds"],
                    "peak_mb": whole["peak_mb"],
                    "grown_mb": whole["peak_mb"] - whole["before_mb"],
                    **synced,
                }

            session.once("ingest", name, str(turn), measure=measure)
    tokens = _tokens(session)
    session.once("tokens_per_chunk", measure=lambda: tokens)


def query(session: Session, *, size: int, rounds: int, questions: int) -> None:
    """Latency of hybrid questions over `size` chunks, sides taking turns, and the recall of each dense part."""

    def measure() -> dict[str, Any]:
        asked = corpus.questions()[:questions]
        vectors = np.load(FOLDER / "questions.npy")[:_RECALLED]
        truth = corpus.exact(np.load(FOLDER / "vectors.npy", mmap_mode="r")[:size], vectors, K)
        result: dict[str, Any] = {}
        with ExitStack() as stack:
            workers = {}
            for name in session.setups:
                tuned = session.results.get("tune", {}).get(name, {}).get("query", {})
                worker = workers[name] = stack.enter_context(session.worker(name, **tuned))
                worker.open()
                given = {"texts": str(FOLDER / "texts.json"), "vectors": str(FOLDER / "vectors.npy")}
                loaded = worker.ask("load", **given, n=size)
                found = worker.ask("dense", vectors=str(FOLDER / "questions.npy"), rows=list(range(_RECALLED)), k=K)
                result[name] = {
                    "load_seconds": loaded["seconds"],
                    "peak_mb": loaded["peak_mb"],
                    "dense_recall": corpus.recall(found["found"], truth),
                    "dense": spread(found["seconds"]),
                    "query": [],
                    "search": [],
                }
                say(f"{size:,} {name}: loaded in {loaded['seconds']:.1f} s, recall {result[name]['dense_recall']:.3f}")
                worker.ask("query", questions=asked[:5], k=K)
            step = max(1, questions // rounds)
            for start in range(0, step * rounds, step):
                rows = list(range(start, min(start + step, questions)))
                part = [asked[row] for row in rows]
                for name, worker in workers.items():
                    result[name]["query"] += worker.ask("query", questions=part, k=K)["seconds"]
                for name, worker in workers.items():
                    asked_with: dict[str, Any] = {
                        "questions": part,
                        "vectors": str(FOLDER / "questions.npy"),
                        "rows": rows,
                    }
                    result[name]["search"] += worker.ask("search", **asked_with, k=K)["seconds"]
        for name, figures in result.items():
            figures["query"], figures["search"] = spread(figures["query"]), spread(figures["search"])
            say(f"{size:,} {name}: query p50 {1000 * figures['query']['median']:.2f} ms")
        return result

    session.once("query", str(size), measure=measure)


def _files(chunks: int) -> Path:
    """The ingested chunks as files of ten paragraphs each."""
    folder = FOLDER / f"files-{chunks}"
    if not folder.exists():
        texts = json.loads((FOLDER / "texts.json").read_text(encoding="utf-8"))[:chunks]
        for at in range(0, chunks, 10):
            write_atomic(folder / f"{at:05}.md", "\n\n".join(texts[at : at + 10]) + "\n")
    return folder


def _tokens(session: Session) -> float:
    from tokenizers import Tokenizer

    folder = Path(session.options["model"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    texts = json.loads((FOLDER / "texts.json").read_text(encoding="utf-8"))[: int(session.options["chunks"])]
    tokenizer.enable_truncation(256)
    return sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts)) / len(texts)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers.run", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="folder with the MiniLM weights for the peers")
    parser.add_argument("--our-model", default="", help="embedder name or folder for openbook (default: --model)")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS))
    parser.add_argument("--peers-only", action="store_true", help="leave openbook out, to try the peers")
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",") if part])
    parser.add_argument("--chunks", type=int, help="real chunks to ingest; 0 leaves ingest out")
    parser.add_argument("--repeat", type=int)
    parser.add_argument("--questions", type=int)
    parser.add_argument("--budget", type=float, default=20, help="minutes to aim at")
    parser.add_argument("--envs", type=Path, default=Path("envs"), help="where setup_envs.sh put the environments")
    parser.add_argument(
        "--peer-python", action="append", default=[], type=lambda text: tuple(text.split("=", 1)), metavar="NAME=PATH"
    )
    parser.add_argument("--untuned", action="store_true", help="peers as installed: float32, batch 32")
    parser.add_argument("--quick", action="store_true", help="small sizes, at most about 4 minutes")
    parser.add_argument("--fresh", action="store_true", help="forget what an interrupted run had measured")
    options = parser.parse_args(arguments)
    usual = {"sizes": [1000, 10_000, 100_000], "chunks": 2000, "repeat": 3, "questions": 100}
    small = {"sizes": [1000, 5000], "chunks": 300, "repeat": 2, "questions": 40}
    for key, value in (small if options.quick else usual).items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    return options


if __name__ == "__main__":
    main()
