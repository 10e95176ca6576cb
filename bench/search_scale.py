"""How the library behaves as it grows: search latency, recall, loading, replacing, memory, from 1k to 1M chunks.

    python -m bench.search_scale                       1k, 10k, 100k
    python -m bench.search_scale --sizes 1000 1000000  others; a million was never run: expect 5 GB or so

Synthetic on purpose, so that size is the only thing that changes: 384-dimensional unit vectors around one centre per
500 chunks (noise .9 per coordinate: harder for a graph than text embeddings), texts of 120 words drawn from 50,000 by
Zipf's law (exponent 1.2), ten chunks a document. Each document has one of 100 labels; one in a hundred is public.
Writes bench/out/search_scale.json and, where matplotlib is installed, search_scale.png.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import multiprocessing
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.common import OUT, spread, table, timed, write_json
from openbook.library import open_library
from openbook.records import Change, Chunk, Condition, Document, Entry, Scope
from openbook.seams import Library
from openbook.settings import LibrarySettings

DIMENSIONS, WORDS, PER_DOCUMENT, QUERIES = 384, 120, 10, 200
SEED = 7

Mask = npt.NDArray[np.bool_]


class Corpus:
    """`size` chunks, made on demand from the seed: the same every time."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(SEED)
        centres = rng.normal(size=(max(1, size // 500), DIMENSIONS)).astype(np.float32)
        vectors = centres[rng.integers(0, len(centres), size)]
        for start in range(0, size, 10_000):
            part = vectors[start : start + 10_000]
            part += 0.9 * rng.standard_normal(part.shape, dtype=np.float32)
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        self.vectors = vectors
        noise = 0.05 * rng.standard_normal((QUERIES, DIMENSIONS), dtype=np.float32)
        queries = vectors[rng.integers(0, size, QUERIES)] + noise
        self.queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        self.questions = [" ".join(words(rng, 8)) for _ in range(QUERIES)]

    def entries(self, start: int, stop: int, *, salt: int = 0) -> list[Entry]:
        """Documents of the chunks start..stop (multiples of PER_DOCUMENT)."""
        return [self.entry(number, salt=salt) for number in range(start // PER_DOCUMENT, stop // PER_DOCUMENT)]

    def entry(self, number: int, *, salt: int = 0) -> Entry:
        rng = np.random.default_rng((SEED, number, salt))
        pieces = [" ".join(words(rng, WORDS)) for _ in range(PER_DOCUMENT)]
        name, text, chunks, at = f"folder{number % 20}/{number}.md", "\n\n".join(pieces), [], 0
        for piece in pieces:
            chunks.append(Chunk(name, at, at + len(piece), piece, heading=("Part",), title=f"Document {number}"))
            at += len(piece) + 2
        document = Document(name, text, "pdf" if number % 3 else "md", f"{number:064x}", len(text))
        first = number * PER_DOCUMENT
        label = f"group{number % 100}" if number % 100 else "*"
        return Entry(document, chunks, self.vectors[first : first + PER_DOCUMENT], (label,))


def words(rng: np.random.Generator, count: int) -> list[str]:
    return [f"w{rank}" for rank in rng.zipf(1.2, size=count) % 50_000]


def scopes(size: int) -> dict[str, tuple[Scope, Mask]]:
    """Scopes by name, each with the mask of the chunks it lets through."""
    document = np.arange(size) // PER_DOCUMENT
    everyone = tuple(f"group{number}" for number in range(100))
    markdown, folder = Condition("format", "=", "md"), Condition("document", "=", "folder4/*")
    return {
        "all": (Scope(everyone), np.ones(size, bool)),
        "half": (Scope(everyone[:50]), document % 100 < 50),
        "1/6": (Scope(everyone[:50], (markdown,)), (document % 100 < 50) & (document % 3 == 0)),
        "1/20": (Scope(everyone, (folder,)), document % 20 == 4),
        "1 %": (Scope(), document % 100 == 0),
    }


def measure(size: int, folder: Path) -> dict[str, Any]:
    """Everything about one size; run in a process of its own, so that memory is its own."""
    corpus = Corpus(size)
    gc.collect()
    before = resident()
    library = opened(folder)
    seconds = 0.0
    for start in range(0, size, 10_000):
        change = Change(put=corpus.entries(start, min(size, start + 10_000)))
        seconds += timed(lambda change=change: library.commit(change))[1]  # type: ignore[misc]
    library.sweep(keep=1)
    result: dict[str, Any] = {"size": size, "load_s": seconds, "chunks_per_s": size / seconds}
    everything = scopes(size)["all"][0]
    result["no graph: both"] = latency(library, corpus, everything, count=50)
    result["graph built"], result["graph_s"] = timed(library.optimize)
    library.close()
    library, result["open_s"] = timed(lambda: opened(folder))
    result["dense"] = latency(library, corpus, everything, text=False)
    for name, (scope, _) in scopes(size).items():
        result[f"both: {name}"] = latency(library, corpus, scope)
    result["recall@10"] = {name: recall(library, corpus, *one) for name, one in scopes(size).items()}
    ids = np.random.default_rng(1).integers(1, size + 1, (QUERIES, 10)).tolist()
    result["fetch 10 chunks"] = spread([1000 * timed(lambda some=some: library.chunks(some))[1] for some in ids])  # type: ignore[misc]
    result["replace a document"] = spread([1000 * replace(library, corpus, number) for number in range(20)])
    result["rss_mb"] = (resident() - before) / 2**20
    library.close()
    result["disk_mb"] = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()) / 2**20
    return result


def opened(folder: Path) -> Library:
    return open_library(folder, settings=LibrarySettings(), embedder_fingerprint="bench", dimensions=DIMENSIONS)


def latency(
    library: Library, corpus: Corpus, scope: Scope, *, text: bool = True, count: int = QUERIES
) -> dict[str, float]:
    """Milliseconds of 50 candidates from each retriever, catalog included, one after the other."""
    times = []
    for number in range(count):
        vector, question = corpus.queries[number], corpus.questions[number] if text else ""
        start = time.perf_counter()
        library.candidates(vector, question, scope=scope, limit=50)
        times.append(1000 * (time.perf_counter() - start))
    return spread(times)


def recall(library: Library, corpus: Corpus, scope: Scope, mask: Mask) -> float:
    """Share of the 10 exactly nearest chunks within scope among the first 10 found. Ids count from 1 as loaded."""
    hits = wanted = 0
    for query in corpus.queries:
        similar = np.where(mask, corpus.vectors @ query, -2.0)
        exact = {int(at) + 1 for at in np.argpartition(-similar, 10)[:10] if mask[at]}
        found = library.candidates(query, "", scope=scope, limit=50).dense[:10]
        hits, wanted = hits + len(exact & {one.id for one in found}), wanted + len(exact)
    return hits / wanted


def replace(library: Library, corpus: Corpus, number: int) -> float:
    """Seconds until a changed document is what searches see."""
    change = Change(put=[corpus.entry(number * 37 % (len(corpus.vectors) // PER_DOCUMENT), salt=1)])
    return timed(lambda: library.commit(change))[1]


def resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


def report(results: list[dict[str, Any]]) -> str:
    """Milliseconds as p50 / p95."""
    spreads = ["no graph: both", "dense", *[key for key in results[0] if key.startswith("both:")]]
    spreads += ["fetch 10 chunks", "replace a document"]
    rows: list[list[object]] = [
        [f"{key}, ms", *[f"{one[key]['median']:.2f} / {one[key]['p95']:.2f}" for one in results]] for key in spreads
    ]
    rows += [
        [f"recall@10: {key}", *[f"{one['recall@10'][key]:.3f}" for one in results]] for key in results[0]["recall@10"]
    ]
    rows += [
        [key, *[one[key] for one in results]] for key in ("chunks_per_s", "graph_s", "open_s", "rss_mb", "disk_mb")
    ]
    return table(["chunks", *[f"{one['size']:,}" for one in results]], rows)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    sizes = [one["size"] for one in results]
    for key in ("no graph: both", "both: all", "both: half", "both: 1/6", "both: 1 %", "dense"):
        axes.plot(sizes, [one[key]["median"] for one in results], marker="o", label=key)
        axes.fill_between(sizes, [one[key]["p25"] for one in results], [one[key]["p75"] for one in results], alpha=0.15)
    axes.set(xscale="log", yscale="log", xlabel="chunks", ylabel="milliseconds (median, quartiles)")
    axes.set_title("library.candidates, 50 from each retriever")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    sizes = parser.parse_args().sizes
    results = []
    for size in sizes:
        folder = Path(tempfile.mkdtemp(prefix="openbook-scale-"))
        try:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                results.append(process.submit(measure, size, folder / "library").result())
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(report(results), flush=True)
    print(write_json("search_scale", results))
    if importlib.util.find_spec("matplotlib"):
        plot(results, OUT / "search_scale.png")
        print(OUT / "search_scale.png")


if __name__ == "__main__":
    main()
