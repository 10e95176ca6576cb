"""Peak memory of a sync against the number of documents: it should not grow with them.

    python -m bench.ingest_memory                 1,000, 5,000 and 20,000 small documents, test embedder
    python -m bench.ingest_memory --real          500 and 2,000 documents with the default embedder
    python -m bench.ingest_memory --documents N   one size, in this process; used by the two above

Each size runs in a process of its own. Peak is the largest resident size (ru_maxrss); `anonymous` is the part no file
backs, sampled every 50 ms: Qdrant Edge maps its files, and mapped pages count as resident until the system wants them
back. The test embedder hashes words, so its vectors cost little and the rest of the path stands out.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.common import table, write_json
from openbook.ingest.sync import sync
from openbook.library import open_library
from openbook.retrieve.embed import FakeEmbedder, OpenVINOEmbedder
from openbook.settings import Ingest, LibrarySettings

WORDS = "leave vacation policy employee manager days paid request approve travel expense report office remote".split()


def documents(folder: Path, count: int) -> None:
    """Small Markdown files, a thousand to a folder, no two alike."""
    for number in range(count):
        path = folder / f"{number // 1000}" / f"{number}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = [WORDS[(number * 7 + at * (number % 11 + 1)) % len(WORDS)] for at in range(30)]
        path.write_text(f"# Rule {number}\n\n{' '.join(words)} {number}.\n", encoding="utf-8")


class Anonymous:
    """The largest anonymous resident size while the context lasts, in MB; None where the system does not tell."""

    def __enter__(self) -> Anonymous:
        self.peak: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.05):
            found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
            self.peak = max(self.peak or 0.0, int(found[1]) / 1024) if found else None


def measure(count: int, *, real: bool) -> dict[str, Any]:
    """Sync `count` documents into a new library, then once more unchanged."""
    if real:
        from openbook.models.fetch import ensure

        embedder: FakeEmbedder | OpenVINOEmbedder = OpenVINOEmbedder(ensure("all-minilm-l6-v2"))
        embedder.embed(["warm up"], kind="document")
    else:
        embedder = FakeEmbedder(dimensions=384)
    with tempfile.TemporaryDirectory(prefix="openbook-bench-") as name:
        documents(Path(name) / "rules", count)
        library = open_library(
            Path(name) / "library",
            settings=LibrarySettings(),
            embedder_fingerprint=embedder.fingerprint,
            dimensions=embedder.dimensions,
        )
        before = _peak()
        with Anonymous() as sampled:
            report = sync([f"{name}/rules"], library=library, embedder=embedder, settings=Ingest())
        peak = _peak()
        started = time.perf_counter()
        again = sync([f"{name}/rules"], library=library, embedder=embedder, settings=Ingest())
        library.close()
        assert (report.added, again.unchanged) == (count, count)
        return {
            "documents": count,
            "chunks": report.chunks,
            "before MB": before,
            "peak MB": peak,
            "anonymous MB": sampled.peak,
            "seconds": report.seconds,
            "unchanged seconds": time.perf_counter() - started,
        }


def _peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--documents", type=int)
    chosen = parser.parse_args()
    if chosen.documents:
        print(json.dumps(measure(chosen.documents, real=chosen.real)))
        return
    rows = []
    for count in (500, 2000) if chosen.real else (1000, 5000, 20_000):
        command = [sys.executable, "-m", "bench.ingest_memory", "--documents", str(count), *["--real"] * chosen.real]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    print(table(list(rows[0]), [list(row.values()) for row in rows]))
    print(f"\nwritten: {write_json('ingest-memory-real' if chosen.real else 'ingest-memory', rows)}")


if __name__ == "__main__":
    main()
