"""Which chunk size, overlap and splitter serve retrieval best: tokens of gold found and tokens shown, at top 5 and 3.

    python -m bench.chunking              every size, overlap and splitter; some minutes
    python -m bench.chunking --quick      the default and two sizes

Two sets. `spans`: tests/fixtures/chunking (2 texts, 220 questions with gold spans, MIT), once as they are and once with
the wiki text's `= Title =` lines written as Markdown headings of the same length. `handbook`: the bundled handbook and
its 60 answerable questions (bench/data/handbook), where a question counts as found when one gold quote lies whole in
the chunks shown. Retrieval is the real one: default embedder, embedded library, hybrid search with default settings.
Recall, precision and IoU are over tokens of the embedder, as in Chroma's chunking evaluation, averaged over questions;
intervals are 95 % bootstrap over questions (2,000 resamples, seed 0); + and - mark rows whose paired difference from
`200` (no overlap) has an interval without 0.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import handbook_cases
from bench.common import table, timed, write_json
from openbook import sample
from openbook.ingest import split as splitting
from openbook.ingest.readers import read
from openbook.ingest.split import split
from openbook.library import open_library
from openbook.models.fetch import ensure
from openbook.records import Change, Chunk, Document, Entry
from openbook.retrieve.embed import OpenVINOEmbedder, load_tokenizer
from openbook.retrieve.search import HybridSearcher
from openbook.seams import Library
from openbook.settings import Ingest, LibrarySettings, Retrieve

DATA = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "chunking"
SHOWN = (3, 5)
BUDGET = 600
"""Tokens of a fixed prompt budget, filled with the best chunks whole."""

Cut = Callable[[Document], list[Chunk]]
Span = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    gold: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    name: str
    documents: list[Document]
    questions: list[Question]
    weights: dict[str, npt.NDArray[np.int64]]
    """By document: tokens that start before each character, so that tokens of a span are a difference."""


def span_corpus(tokenizer: Any, *, headings: bool) -> Corpus:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DATA.glob("*.md"))}
    if headings:
        texts["wikitexts"] = re.sub(r"^ ((?:= )+)(.+?)((?: =)+) $", _heading, texts["wikitexts"], flags=re.MULTILINE)
    documents = [Document(f"{name}.md", text, "md", name, len(text)) for name, text in texts.items()]
    with (DATA / "questions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    questions = [
        Question(
            row["question"],
            tuple(
                (f"{row['corpus_id']}.md", gold["start_index"], gold["end_index"])
                for gold in json.loads(row["references"])
            ),
        )
        for row in rows
    ]
    name = "spans, headed" if headings else "spans"
    return Corpus(name, documents, questions, {one.name: _weights(tokenizer, one.text) for one in documents})


def handbook_corpus(tokenizer: Any) -> Corpus:
    with sample.handbook() as folder:
        documents = [
            read(path, name=f"handbook/{path.relative_to(folder).as_posix()}", limits=Ingest()).documents[0]
            for path in sorted(folder.rglob("*.md"))
        ]
    texts = {one.name: one.text for one in documents}
    questions = []
    for case in handbook_cases.cases():
        if case.kind == "answerable":
            places = ((span.document, handbook_cases.locate(span.quote, texts[span.document])) for span in case.spans)
            questions.append(Question(case.question, tuple((name, *place) for name, place in places if place)))
    return Corpus("handbook", documents, questions, {one.name: _weights(tokenizer, one.text) for one in documents})


def _heading(match: re.Match[str]) -> str:
    level = match.group(1).count("=")
    return f"{'#' * level} {match.group(2)}".ljust(len(match.group(0)))


def _weights(tokenizer: Any, text: str) -> npt.NDArray[np.int64]:
    starts = np.zeros(len(text) + 1, np.int64)
    for start, _ in tokenizer.encode(text, add_special_tokens=False).offsets:
        starts[start + 1] += 1
    return np.cumsum(starts)


def ours(embedder: OpenVINOEmbedder, size: int, overlap: float = 0.0, tiny: float | None = None) -> Cut:
    def cut(document: Document) -> list[Chunk]:
        kept, splitting.TINY = splitting.TINY, splitting.TINY if tiny is None else tiny
        try:
            # Sizes beyond the embedder's input are cut by it, as they would be in use with that setting.
            limit = max(embedder.max_tokens, 2 * size)
            return split(
                document, count=embedder.count, max_tokens=limit, chunk_tokens=size, overlap_tokens=int(overlap * size)
            )
        finally:
            splitting.TINY = kept

    return cut


def engine(tokenizer: Any, kind: str, size: int) -> Cut:
    """semantic-text-splitter alone on the whole text, or windows of tokens without regard to structure."""
    import semantic_text_splitter

    def cut(document: Document) -> list[Chunk]:
        text = document.text
        if kind == "tokens":
            offsets = tokenizer.encode(text, add_special_tokens=False).offsets
            spans = [(part[0][0], part[-1][1]) for i in range(0, len(offsets), size) if (part := offsets[i : i + size])]
        else:
            splitter = getattr(semantic_text_splitter, kind).from_huggingface_tokenizer(tokenizer, size)
            spans = [(start, start + len(piece)) for start, piece in splitter.chunk_indices(text)]
        title = document.title or Path(document.name).stem
        return [Chunk(document.name, a, b, text[a:b], title=title) for a, b in spans]

    return cut


def measure(corpus: Corpus, cut: Cut, library: Library, embedder: OpenVINOEmbedder) -> dict[str, Any]:
    """Index a corpus cut one way, ask everything, and average over the questions."""
    chunked, seconds = timed(lambda: [(one, cut(one)) for one in corpus.documents])
    stored = [info.name for info in library.documents()]
    vectors = embedder.embed(
        [chunk.indexed_text for _, chunks in chunked for chunk in chunks], kind="document"
    ).tolist()
    entries, first = [], 0
    for one, chunks in chunked:
        entries.append(Entry(one, chunks, vectors[first : first + len(chunks)]))
        first += len(chunks)
    library.commit(
        Change(put=entries, remove=[name for name in stored if name not in {e.document.name for e in entries}])
    )
    searcher = HybridSearcher(library, embedder, Retrieve())
    rows = []
    for question in corpus.questions:
        hits = [hit.chunk for hit in searcher.search(question.text, k=max(SHOWN) * 4).hits]
        row: dict[str, float] = {}
        for k in SHOWN:
            row |= {f"{name}@{k}": value for name, value in _score(corpus, question, hits[:k]).items()}
        row[f"recall in {BUDGET}"] = _score(corpus, question, _within(corpus, hits))["recall"]
        rows.append(row)
    sizes = np.array([_tokens(corpus, (chunk.document, chunk.start, chunk.end)) for _, cs in chunked for chunk in cs])
    return {
        "chunks": len(sizes),
        "tokens a chunk": float(sizes.mean()),
        "split seconds": seconds,
        "n": len(rows),
        "means": {name: _interval(np.array([row[name] for row in rows])) for name in rows[0]},
        "rows": rows,
    }


def _within(corpus: Corpus, hits: Sequence[Chunk]) -> list[Chunk]:
    kept, left = [], BUDGET
    for chunk in hits:
        size = _tokens(corpus, (chunk.document, chunk.start, chunk.end))
        if size > left:
            break
        kept.append(chunk)
        left -= size
    return kept


def _score(corpus: Corpus, question: Question, chunks: Sequence[Chunk]) -> dict[str, float]:
    shown = [(chunk.document, chunk.start, chunk.end) for chunk in chunks]
    union = _union(shown)
    gold = _union(question.gold)
    both = sum(
        _tokens(corpus, (a[0], max(a[1], b[1]), min(a[2], b[2])))
        for a in union
        for b in gold
        if a[0] == b[0] and max(a[1], b[1]) < min(a[2], b[2])
    )
    wanted, given = sum(_tokens(corpus, s) for s in gold), sum(_tokens(corpus, s) for s in shown)
    whole = any(u[0] == g[0] and u[1] <= g[1] and g[2] <= u[2] for u in union for g in question.gold)
    return {
        "recall": both / wanted if wanted else 0.0,
        "precision": both / given if given else 0.0,
        "iou": both / (given + wanted - both) if given else 0.0,
        "found": float(whole),
    }


def _union(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for name, start, end in sorted(spans):
        if merged and merged[-1][0] == name and start <= merged[-1][2]:
            merged[-1] = (name, merged[-1][1], max(end, merged[-1][2]))
        else:
            merged.append((name, start, end))
    return merged


def _tokens(corpus: Corpus, span: Span) -> int:
    name, start, end = span
    return int(corpus.weights[name][end] - corpus.weights[name][start])


def _interval(values: npt.NDArray[np.float64]) -> list[float]:
    """Mean and 95 % bootstrap interval."""
    picks = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
    return [float(values.mean()), float(low), float(high)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    files = ensure("all-minilm-l6-v2")
    embedder, tokenizer = OpenVINOEmbedder(files), load_tokenizer(files)
    base = "200"
    cuts: dict[str, Cut] = {}
    for size in (100, 200, 400) if quick else (100, 150, 200, 250, 300, 400):
        for overlap in (0.0,) if quick else (0.0, 0.15):
            cuts[f"{size}" + (f", overlap {overlap:.0%}" if overlap else "")] = ours(embedder, size, overlap)
    if not quick:
        for tiny in (0.0, 0.25, 0.5):
            cuts[f"200, joining below {tiny:.0%}"] = ours(embedder, 200, tiny=tiny)
        for kind in ("MarkdownSplitter", "TextSplitter", "tokens"):
            cuts[f"200, {kind} alone"] = engine(tokenizer, kind, 200)
    corpora = [
        span_corpus(tokenizer, headings=False),
        span_corpus(tokenizer, headings=True),
        handbook_corpus(tokenizer),
    ]
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="openbook-bench-") as folder:
        library = open_library(
            Path(folder),
            settings=LibrarySettings(),
            embedder_fingerprint=embedder.fingerprint,
            dimensions=embedder.dimensions,
        )
        for corpus in corpora:
            results[corpus.name] = {name: measure(corpus, cut, library, embedder) for name, cut in cuts.items()}
            print(f"\n{corpus.name}: {len(corpus.questions)} questions; + and -: certainly above or below {base!r}\n")
            print(render(results[corpus.name], base), flush=True)
            library.sweep(keep=1)
        library.close()
    for measured in results.values():
        for result in measured.values():
            del result["rows"]
    print(f"\nwritten: {write_json('chunking', results)}")


def render(results: dict[str, Any], default: str) -> str:
    """Means with intervals; + and - as the module says."""
    columns = ["recall@5", "precision@5", "iou@5", "recall@3", f"recall in {BUDGET}", "found@3"]
    rows = []
    for name, result in results.items():
        cells = []
        for column in columns:
            mean, low, high = result["means"][column]
            mark = ""
            if name != default:
                ours = np.array([row[column] for row in result["rows"]])
                base = np.array([row[column] for row in results[default]["rows"]])
                _, least, most = _interval(ours - base)
                mark = " +" if least > 0 else " -" if most < 0 else ""
            cells.append(f"{mean:.3f} ({low:.3f}-{high:.3f}){mark}")
        rows.append([name, result["chunks"], round(result["tokens a chunk"]), *cells])
    return table(["size", "chunks", "tokens", *columns], rows)


if __name__ == "__main__":
    main()
