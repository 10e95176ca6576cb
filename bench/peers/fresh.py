"""Freshness with a running process: from a file saved to a search that finds its new text, and stale hits meanwhile.

    python -m bench.peers.fresh [--model NAME_OR_FOLDER] [--chunks 100000] [--edits 20]

A library of 100,000 chunks is filled; a folder beside it is watched, as `openbook sync --watch` does; a file of it is
saved again and again with another fact while a second thread searches for the fact without pause. Writes
bench/out/fresh.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common import spread, table, timed, write_json
from bench.peers import corpus, ours
from openbook import Workspace
from openbook.ingest.watch import watch
from openbook.records import SyncReport

QUESTION = "What is the access word of the archive room in the north wing?"
AIM_SECONDS = 2.0
_WAIT = 30.0
_SETTLE = 2.0
"""The watch on the folder begins after the first sync's report."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers.fresh", description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="all-minilm-l6-v2", help="embedder name or folder")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--edits", type=int, default=20)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="openbook-fresh-") as folder:
        results = measure(Path(folder), model=options.model, chunks=options.chunks, edits=options.edits)
    print(render(results))
    print(f"\nwritten to {write_json('fresh', results)}", file=sys.stderr)


def render(results: Mapping[str, Any]) -> str:
    """The measurements as Markdown."""
    seconds = results["save_to_found_seconds"]
    rows = [
        ["save to found, median s", f"<= {AIM_SECONDS}", seconds["median"]],
        ["save to found, longest s", f"<= {AIM_SECONDS}", seconds["max"]],
        ["stale hits after a commit", "0", results["stale_hits"]],
    ]
    title = f"{results['chunks']:,} chunks, {seconds['n']} saves, {results['searches']:,} searches meanwhile:"
    return f"{title}\n\n{table(['freshness', 'wanted', 'measured'], rows)}"


def measure(folder: Path, *, model: str, chunks: int, edits: int) -> dict[str, Any]:
    """Fill, watch, edit, search; see the module."""
    watched = folder / "notes"
    watched.mkdir()
    for at, document in enumerate(corpus.documents()):
        (watched / f"note-{at:03}.md").write_text(document, encoding="utf-8")
    file = watched / "north-wing.md"
    file.write_text(_fact(0), encoding="utf-8")
    with Workspace.init(folder / "desk", embedder=model) as desk:
        house = desk.house
        made = corpus.made_chunks(chunks)
        vectors = corpus.made_vectors(made, house.embedder.embed(corpus.all_sentences(), kind="document"))
        ours.fill(house.library, [chunk.text for chunk in made], vectors)
        house.library.optimize()
        watcher = _Watcher(desk, watched)
        watcher.start()
        searcher = _Searcher(desk)
        watcher.wait_for(1)
        searcher.start()
        time.sleep(_SETTLE)
        seconds = []
        for edit in range(1, edits + 1):
            file.write_text(_fact(edit), encoding="utf-8")
            saved = time.perf_counter()
            seconds.append(searcher.first_with(_word(edit), since=saved) - saved)
            watcher.wait_for(edit + 1)
            time.sleep(0.2)
        searcher.stop()
        watcher.stop()
        stale = sum(
            any(_word(old) in text for old in range(edit) for text in texts)
            for edit, report in enumerate(watcher.reports)
            for version, _, texts in searcher.seen
            if edit and version >= report.library_version
        )
        late = sum(
            version < report.library_version
            for report, at in zip(watcher.reports, watcher.times, strict=True)
            for version, started, _ in searcher.seen
            if started > at
        )
        return {
            "chunks": chunks,
            "save_to_found_seconds": spread(seconds),
            "searches": len(searcher.seen),
            "stale_hits": stale + late,
        }


def _word(edit: int) -> str:
    return f"quartz{edit:04}"


def _fact(edit: int) -> str:
    return f"# North wing\n\nThe access word of the archive room in the north wing is {_word(edit)}.\n"


class _Watcher:
    """`Workspace.watch` in a thread that can be ended."""

    def __init__(self, desk: Workspace, folder: Path) -> None:
        self.reports: list[SyncReport] = []
        self.times: list[float] = []
        self._desk, self._folder = desk, folder
        self._end, self._news = threading.Event(), threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def wait_for(self, count: int) -> None:
        """Until so many reports have come."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.reports) >= count, timeout=_WAIT + 60):
                sys.exit(f"the watcher reported {len(self.reports)} syncs, not {count}")

    def _run(self) -> None:
        library, settings = self._desk.house.library, self._desk.settings
        for report in watch(
            [str(self._folder)],
            library=library,
            embedder=self._desk.house.embedder,
            settings=settings.ingest,
            stop=self._end,
        ):
            with self._news:
                self.reports.append(report)
                self.times.append(time.perf_counter())
                self._news.notify_all()
            library.sweep(keep=settings.library.keep_versions)


class _Searcher:
    """Asks the one question without pause and remembers version, start and texts of every result."""

    def __init__(self, desk: Workspace) -> None:
        self.seen: list[tuple[int, float, tuple[str, ...]]] = []
        self._desk = desk
        self._end, self._news = False, threading.Condition()
        self._found: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end = True
        self._thread.join()

    def first_with(self, word: str, *, since: float) -> float:
        """When a search first brought the word."""
        with self._news:
            if not self._news.wait_for(lambda: word in self._found, timeout=_WAIT):
                sys.exit(f"{word!r} was not found within {_WAIT:.0f} s of saving ({time.perf_counter() - since:.1f} s)")
            return self._found[word]

    def _run(self) -> None:
        while not self._end:
            started = time.perf_counter()
            result, _ = timed(lambda: self._desk.search_result(QUESTION, k=5))
            texts = tuple(hit.chunk.text for hit in result.hits)
            self.seen.append((result.version, started, texts))
            words = {word.strip(".") for text in texts for word in text.split() if word.startswith("quartz")}
            with self._news:
                for word in words:
                    self._found.setdefault(word, time.perf_counter())
                self._news.notify_all()
            time.sleep(0.005)


if __name__ == "__main__":
    main()
