"""How fast a library changes its embedder, and what searches feel of it.

    python -m bench.migration                     10,000 chunks, all-minilm-l6-v2 to all-minilm-l6-v2-int8
    python -m bench.migration --chunks 2000 --to PATH

Chunks are made of sentences of real text (bench/peers/corpus.py), ten a document. A thread asks a question every 0.2
seconds: first while nothing else happens, then while `Workspace.migrate` runs in the same process. Speed is compared
with what a sync does with the same embedder in the same process: embed and commit 2,000 of the chunks. At the end
every search must have found something, before, while and after. Writes bench/out/migration.json.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import spread, table, timed, write_json
from bench.peers import corpus
from openbook.library import open_library
from openbook.records import Change, Chunk, Document, Entry
from openbook.seams import Embedder, Library
from openbook.settings import LibrarySettings
from openbook.workspace import Workspace

PER_DOCUMENT, EVERY, IDLE, INGESTED = 10, 0.2, 100, 2000


def entry(number: int, texts: Sequence[str], vectors: Any) -> Entry:
    name, text, chunks, at = f"{number}.md", "\n\n".join(texts), [], 0
    for piece in texts:
        chunks.append(Chunk(name, at, at + len(piece), piece, title=f"Document {number}"))
        at += len(piece) + 2
    return Entry(Document(name, text, "md", f"{number:064x}", len(text)), chunks, vectors)


def fill(library: Library, texts: Sequence[str], vectors: Any) -> None:
    """One commit of all texts, ten a document."""
    put = [
        entry(at // PER_DOCUMENT, texts[at : at + PER_DOCUMENT], vectors[at : at + PER_DOCUMENT])
        for at in range(0, len(texts), PER_DOCUMENT)
    ]
    library.commit(Change(put=put))


def ingest(embedder: Embedder, texts: Sequence[str]) -> dict[str, float]:
    """Chunks a second of embedding and of embedding and committing into a library of its own."""
    with tempfile.TemporaryDirectory(prefix="openbook-migration-") as folder:
        library = open_library(
            Path(folder),
            settings=LibrarySettings(),
            embedder_fingerprint=embedder.fingerprint,
            dimensions=embedder.dimensions,
        )
        indexed = [f"Document {at // PER_DOCUMENT}\n\n{text}" for at, text in enumerate(texts)]
        vectors, embedding = timed(lambda: embedder.embed(indexed, kind="document"))
        _, committing = timed(lambda: fill(library, texts, vectors))
        library.close()
    return {"embed": len(texts) / embedding, "embed and commit": len(texts) / (embedding + committing)}


class Asker:
    """Asks at a modest rate until stopped, in a thread; milliseconds of each search by the phase it began in."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.phase, self.milliseconds = workspace, "", dict[str, list[float]]()
        self.empty = 0
        self._questions = corpus.questions()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        at = 0
        while not self._stop.wait(EVERY):
            phase, question = self.phase, self._questions[at % len(self._questions)]
            hits, seconds = timed(lambda question=question: self.workspace.search(question))  # type: ignore[misc]
            self.empty += not hits
            if phase:
                self.milliseconds.setdefault(phase, []).append(1000 * seconds)
            at += 1


def measure(folder: Path, chunks: int, source: str, target: str) -> dict[str, Any]:
    found = corpus.made_chunks(chunks)
    texts = [made.text for made in found]
    with Workspace.init(folder, model="extractive", embedder=source) as workspace:
        sentences = workspace.house.embedder.embed(corpus.all_sentences(), kind="document")
        fill(workspace.house.library, texts, corpus.made_vectors(found, sentences))
        workspace.house.library.optimize()
        embedder = workspace.house.load_embedder(target)
        embedder.embed(texts[:64], kind="document")
        result: dict[str, Any] = {"chunks": chunks, "source": source, "target": target}
        result["ingest_before"] = ingest(embedder, texts[:INGESTED])
        with Asker(workspace) as asker:
            time.sleep(2)
            asker.phase = "idle"
            while len(asker.milliseconds.get("idle", [])) < IDLE:
                time.sleep(0.1)
            phases: list[str] = []

            def progress(step: str, done: int, total: int) -> None:
                asker.phase = step if done < total else ""
                phases.append(step)

            asker.phase = "start"
            migration, result["wall_s"] = timed(lambda: workspace.migrate(embedder=target, progress=progress))
            asker.phase = "after"
            time.sleep(5)
        result["ingest_after"] = ingest(embedder, texts[:INGESTED])
    result["embedded"] = migration.embedded
    result["chunks_per_s"] = migration.chunks_per_second
    result["overlap@10"] = migration.compared[0].after
    result["searches"] = {phase: spread(values) for phase, values in asker.milliseconds.items()}
    result["empty"] = asker.empty
    during = {phase: values for phase, values in asker.milliseconds.items() if phase not in ("idle", "after")}
    result["searches"]["during"] = spread([value for values in during.values() for value in values])
    return result


def report(result: dict[str, Any]) -> str:
    """Searches in milliseconds by phase, then the speeds."""
    rows = [[name, one["n"], one["median"], one["p95"], one["max"]] for name, one in result["searches"].items()]
    before, after = result["ingest_before"], result["ingest_after"]
    speeds = [
        ["migration", result["chunks_per_s"], result["chunks_per_s"]],
        *[[f"ingest: {name}", before[name], after[name]] for name in before],
    ]
    idle, during = result["searches"]["idle"]["p95"], result["searches"]["during"]["p95"]
    return "\n\n".join(
        [
            table(["searches", "n", "p50 ms", "p95 ms", "max ms"], rows),
            table(["chunks/s", "before", "after"], speeds),
            f"p95 during / idle: {during / idle:.2f}; wall {result['wall_s']:.0f} s; empty results: {result['empty']}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--source", default="all-minilm-l6-v2")
    parser.add_argument("--to", default="all-minilm-l6-v2-int8")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openbook-migration-") as folder:
        result = measure(Path(folder) / "desk", options.chunks, options.source, options.to)
    print(report(result))
    print(write_json("migration", result))


if __name__ == "__main__":
    main()
