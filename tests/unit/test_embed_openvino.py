from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openbook.errors import ModelError
from openbook.models.fetch import ensure
from openbook.records import ModelFiles
from openbook.retrieve.embed import WINDOW, FakeEmbedder, OpenVINOEmbedder, batched
from openbook.retrieve.rerank import OpenVINOReranker
from openbook.seams import Reranker
from tests.tiny_models import write_bert


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBOOK_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def embedder_files(cache: Path) -> ModelFiles:
    write_bert(cache / "embedder")
    return ensure(str(cache / "embedder"))


@pytest.fixture(scope="module")
def reranker_files(cache: Path) -> ModelFiles:
    write_bert(cache / "reranker", reranker=True)
    return ensure(str(cache / "reranker"))


def test_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = [int(n) for n in np.random.default_rng(1).integers(1, 300, 500)]
    batches = list(batched(lengths, budget=1000))
    assert sorted(row for batch in batches for row in batch) == list(range(500))
    assert all(len(batch) * max(lengths[row] for row in batch) <= 1000 for batch in batches)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    assert list(batched([5, 50, 5], budget=10)) == [[1], [0, 2]]


def test_the_prefixes_of_the_model_are_put_before_texts(embedder_files: ModelFiles) -> None:
    plain = OpenVINOEmbedder(embedder_files)
    prefixed = OpenVINOEmbedder(replace(embedder_files, query_prefix="what is ", document_prefix="the "))
    for kind, text in (("query", "what is leave"), ("document", "the leave")):
        ours = prefixed.embed(["leave"], kind=kind)[0]
        assert float(ours @ plain.embed([text], kind=kind)[0]) > 0.9999


def test_the_fingerprint_follows_what_decides_the_vectors_and_not_the_precision(embedder_files: ModelFiles) -> None:
    known = OpenVINOEmbedder(embedder_files).fingerprint
    assert OpenVINOEmbedder(embedder_files, precision="f32").fingerprint == known
    for change in ({"sha256": "0" * 64}, {"pooling": "cls"}, {"query_prefix": "q: "}, {"context": 32}):
        assert OpenVINOEmbedder(replace(embedder_files, **change)).fingerprint != known


def test_a_long_text_keeps_its_closing_token_when_cut(embedder_files: ModelFiles) -> None:
    embedder = OpenVINOEmbedder(embedder_files, precision="f32")
    exact = "the " * (embedder.max_tokens - 2)
    longer = embedder.embed([exact + "leave " * 500, exact], kind="document")
    assert float(longer[0] @ longer[1]) > 0.99999


def test_threads_may_embed_at_the_same_time(embedder_files: ModelFiles) -> None:
    embedder = OpenVINOEmbedder(embedder_files)
    texts = [f"{'vacation days ' * (n % 9)}{n}" for n in range(300)]
    expected = embedder.embed(texts, kind="document")
    results: list[float] = []

    def work(bulk: bool) -> None:
        for round_ in range(5):
            part = texts if bulk else [texts[round_]]
            vectors = embedder.embed(part, kind="document")
            results.append(
                float((vectors * expected[: len(part)] if bulk else vectors * expected[round_]).sum(1).min())
            )

    threads = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 30
    assert min(results) > 0.9999


def test_more_texts_than_a_window_keep_their_order(embedder_files: ModelFiles) -> None:
    embedder = OpenVINOEmbedder(embedder_files)
    texts = [f"{n % 7} leave {n % 11}" for n in range(WINDOW + 500)]
    vectors = embedder.embed(texts, kind="document")
    assert float((vectors[:7] * embedder.embed(texts[:7], kind="document")).sum(1).min()) > 0.9999
    assert float((vectors[-7:] * embedder.embed(texts[-7:], kind="document")).sum(1).min()) > 0.9999


def test_a_damaged_graph_or_tokenizer_is_refused_in_one_sentence(embedder_files: ModelFiles, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer of model .* cannot be read .* openbook models pull"):
        OpenVINOEmbedder(replace(embedder_files, folder=tmp_path))
    (tmp_path / "broken.xml").write_text("<net")
    with pytest.raises(ModelError, match=r"cannot be loaded .* openbook models pull"):
        OpenVINOEmbedder(replace(embedder_files, model=tmp_path / "broken.xml"))


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(embedder_files: ModelFiles, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    embedder = OpenVINOEmbedder(replace(embedder_files, cache_dir=tmp_path / "file" / "compiled"))
    assert embedder.embed(["leave"], kind="query").shape == (1, 32)


@pytest.mark.parametrize("keep", [0, 100, 10_000])
def test_a_compiled_blob_cut_short_is_made_again(embedder_files: ModelFiles, tmp_path: Path, keep: int) -> None:
    files = replace(embedder_files, cache_dir=tmp_path / "compiled")
    expected = OpenVINOEmbedder(files).embed(["leave"], kind="query")
    (blob,) = files.cache_dir.iterdir()
    blob.write_bytes(blob.read_bytes()[:keep])
    assert float((OpenVINOEmbedder(files).embed(["leave"], kind="query") * expected).sum()) > 0.9999


def test_texts_that_share_words_are_near_for_the_fake() -> None:
    one, two, three = FakeEmbedder().embed(["leave policy", "the leave policy", "penguins swim"], kind="document")
    assert one @ two > 0.6 > one @ three


def test_the_reranker_scores_in_the_given_order(reranker_files: ModelFiles) -> None:
    reranker = OpenVINOReranker(reranker_files)
    assert isinstance(reranker, Reranker)
    texts = [f"{'leave policy ' * (n % 20)}{n}" for n in range(60)]
    together = reranker.score("what is the leave policy", texts)
    assert reranker.score("what is the leave policy", []) == []
    for number in (0, 17, 59):
        assert together[number] == pytest.approx(
            reranker.score("what is the leave policy", [texts[number]])[0], abs=0.05
        )


def test_the_reranker_takes_any_length_of_question_and_text(reranker_files: ModelFiles) -> None:
    reranker = OpenVINOReranker(reranker_files)
    scores = reranker.score("how many days " * 1000, ["vacation " * 1000, "", "🙂"])
    assert len(scores) == 3
    assert all(np.isfinite(scores))
    assert reranker.score("", ["text"])
