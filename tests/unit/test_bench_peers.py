from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.peers import cold, corpus, docs, ours, report
from bench.peers.sides import Setup, SideFailed, Worker

SIDE = Path(__file__).resolve().parents[1] / "fixtures" / "bench" / "word_side.py"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with Worker(Setup("words", sys.executable, "no model", script=SIDE), log=tmp_path / "side.log") as worker:
        worker.open()
        yield worker


@pytest.fixture
def texts(tmp_path: Path) -> str:
    path = tmp_path / "texts.json"
    path.write_text(json.dumps(["apples are red", "pears are green", "plums are blue"]), encoding="utf-8")
    return str(path)


def test_a_side_tells_its_versions(worker: Worker) -> None:
    assert worker.ask("hello")["versions"] == {"numpy": np.__version__}


def test_a_side_finds_what_was_ingested_and_times_every_question(worker: Worker, texts: str) -> None:
    assert worker.ask("ingest", texts=texts, n=2)["seconds"] >= 0
    reply = worker.ask("query", questions=["green pears", "red"], k=1)
    assert reply["found"] == [[1], [0]]
    assert len(reply["seconds"]) == 2


def test_vectors_go_to_and_come_from_files(worker: Worker, texts: str, tmp_path: Path) -> None:
    path = str(tmp_path / "vectors.npy")
    worker.ask("embed", texts=texts, n=3, out=path)
    worker.ask("load", texts=texts, vectors=path, n=3)
    assert worker.ask("dense", vectors=path, rows=[1], k=1)["found"] == [[1]]
    assert worker.ask("search", questions=["blue"], vectors=path, rows=[0], k=1)["found"] == [[2]]


def test_what_only_one_side_can_do_is_asked_by_name(worker: Worker) -> None:
    assert worker.ask("shout", **{"with": {"word": "sync"}}) == {"said": "SYNC"}


def test_what_a_side_raises_is_reported_with_its_name_and_it_lives_on(worker: Worker) -> None:
    with pytest.raises(SideFailed, match=r"words failed at 'open': ValueError: no such precision; see .*side\.log"):
        worker.open(dtype="float16")
    assert worker.ask("hello")["versions"]


@pytest.mark.parametrize("wait", [0.0, 1.0])
def test_a_side_that_dies_is_reported(tmp_path: Path, wait: float) -> None:
    missing = Setup("words", sys.executable, "", script=tmp_path / "missing.py")
    with Worker(missing, log=tmp_path / "side.log") as worker:
        time.sleep(wait)
        with pytest.raises(SideFailed, match="words died"):
            worker.ask("hello")


def test_real_chunks_are_distinct_stand_in_the_documents_and_are_the_same_every_time() -> None:
    chunks = corpus.real_chunks(3000)
    assert len(set(chunks)) == 3000
    assert chunks == corpus.real_chunks(3000)
    assert all(20 <= len(chunk.split()) <= 150 or len(corpus.sentences(chunk)) == 1 for chunk in chunks)
    stands = {" ".join(corpus.sentences(document)) for document in corpus.documents()}
    assert all(any(chunk in document for document in stands) for chunk in chunks[:50])


def test_made_chunks_are_distinct_and_the_first_do_not_depend_on_their_number() -> None:
    few, many = corpus.made_chunks(50), corpus.made_chunks(500)
    assert many[:50] == few
    assert len({chunk.text for chunk in many}) == 500
    sentences = corpus.all_sentences()
    assert all(" ".join(sentences[at] for at in chunk.sentences) == chunk.text for chunk in many)


def test_made_vectors_are_unit_and_nearest_to_those_of_their_own_made_document() -> None:
    sentences = np.random.default_rng(1).standard_normal((len(corpus.all_sentences()), 384), dtype=np.float32)
    sentences /= np.linalg.norm(sentences, axis=1, keepdims=True)
    vectors = corpus.made_vectors(corpus.made_chunks(60), sentences)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines = vectors @ vectors.T
    document = np.arange(60) // 20
    same = document[:, None] == document[None, :]
    assert cosines[same & ~np.eye(60, dtype=bool)].min() > cosines[~same].mean() + 0.2


def test_recall_is_the_share_of_true_neighbours_found() -> None:
    vectors = np.eye(4, dtype=np.float32)
    truth = corpus.exact(vectors, np.array([[0.1, 1, 0.5, 0]], np.float32), 2)
    assert truth == [[1, 2]]
    assert corpus.recall([[1, 3]], truth) == 0.5


def test_entries_hold_their_chunks_at_the_offsets_and_places_lead_back() -> None:
    texts = [f"chunk number {at}" for at in range(ours.PER_DOCUMENT + 5)]
    entries = list(ours.entries(texts, np.zeros((len(texts), 2), np.float32)))
    assert [len(entry.chunks) for entry in entries] == [ours.PER_DOCUMENT, 5]
    chunks = [chunk for entry in entries for chunk in entry.chunks]
    assert all(
        entry.document.text[chunk.start : chunk.end] == chunk.text for entry in entries for chunk in entry.chunks
    )
    assert ours.positions(chunks, ours.places(texts)) == list(range(len(texts)))


def figures(query: float, search: float, recall: float = 1.0) -> dict[str, Any]:
    times = {"median": query, "p95": 2 * query}, {"median": search, "p95": 2 * search}
    return {
        "query": times[0],
        "search": times[1],
        "dense": {"median": search / 2},
        "dense_recall": recall,
        "load_seconds": 1.0,
        "peak_mb": 500.0,
    }


RESULTS: dict[str, Any] = {
    "ingest": {
        name: {
            "0": {"chunks_per_second": rate, "embed_per_second": 1.2 * rate, "peak_mb": 800.0, "grown_mb": 90.0},
            "1": {"chunks_per_second": rate + 10, "embed_per_second": 1.2 * rate, "peak_mb": 820.0, "grown_mb": 92.0},
        }
        for name, rate in (("openbook", 245.0), ("txtai", 90.0), ("haystack", 75.0))
    },
    "query": {
        "100000": {"openbook": figures(0.008, 0.003, 0.97), "txtai": figures(0.020, 0.010)},
        "1000": {"openbook": figures(0.004, 0.001), "txtai": figures(0.010, 0.006)},
    },
    "roofline": {"bfloat16": 850.0},
    "tokens_per_chunk": 100.0,
}


def test_aims_compare_medians_with_the_fastest_peer() -> None:
    rows = {str(row[0]): row[1:] for row in report.aims(RESULTS)}
    assert rows["ingest, chunks/s"] == ["2.5 x", "2.63 x", "yes"]
    assert rows["query p50 at 1,000"] == ["2.0 x", "2.50 x", "yes"]
    assert rows["search p50 at 100,000"] == ["5.0 x", "3.33 x", "no"]
    assert rows["dense recall@10 at 100,000"] == [">= 0.98", "0.970", "no"]


def test_the_report_shows_sizes_in_order_and_the_matrix_limit() -> None:
    text = report.render(RESULTS)
    assert text.index("over 1,000 chunks") < text.index("over 100,000 chunks")
    assert "400 chunks/s" in text
    assert "| openbook |    2 |      250 |    245 |     255 |" in text


def test_a_sync_of_the_same_text_as_files_is_reported_when_measured() -> None:
    run = {**RESULTS["ingest"]["openbook"]["0"], "sync": {"seconds": 2.0, "chunks": 300, "files": 30, "failed": 0}}
    text = report.render({"ingest": {"openbook": {"0": run}}})
    assert "The same text as 30 files through `openbook sync`: 150 chunks/s." in text


def test_without_openbook_there_is_nothing_to_judge() -> None:
    assert report.aims(RESULTS | {"versions": {"txtai": {}}}) == []


@pytest.mark.parametrize(
    ("shown", "visible"),
    [(b"", False), (b"\x1b[2m", False), (b"\x1b[2m \r\n\x1b[0m", False), (b"\x1b[2mFifteen", True), (b"\x1b[", False)],
)
def test_colour_codes_are_not_yet_an_answer(shown: bytes, visible: bool) -> None:
    assert cold._visible(shown) is visible


def test_a_part_of_the_page_says_date_machine_and_command_without_this_machines_folders() -> None:
    measured = {
        "date": "2026-01-02T03:04:05+00:00",
        "command": "python -m bench.peers.run --model /data/minilm --peer-python txtai=/x/bin/python",
        "machine": {"cpu": "CPU 9", "cores": 2, "matrix": ["avx2"], "python": "3.12.1"},
        "results": {"chunks": 1},
    }
    assert docs.part(measured, lambda results: f"{results['chunks']} chunk") == (
        "Measured 2026-01-02T03:04:05+00:00 on CPU 9, 2 cores (avx2), Python 3.12.1, with "
        "`python -m bench.peers.run --model minilm --peer-python txtai=python`.\n\n1 chunk"
    )


def test_the_page_has_a_place_for_every_part_and_keeps_the_rest() -> None:
    page = docs.PAGE.read_text(encoding="utf-8")
    for name in docs.PARTS:
        page = docs.filled(page, name, f"the {name} part")
    assert "the peers part" in page
    assert page.startswith("# How fast")
    assert page.rstrip().endswith("`python -m bench.search_scale`.")
