"""What every seams.Embedder must do; each implementation runs the whole suite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from openbook.models.fetch import ensure
from openbook.retrieve.embed import FakeEmbedder, OpenVINOEmbedder
from openbook.seams import Embedder
from openbook.serve.embedding import ChildEmbedder
from tests.tiny_models import write_bert

TEXTS = [
    "What is our company leave policy?",
    "",
    "vacation days " * 300,
    "How many sick days?",
    "é 日本語 🙂 \x00 \n\t \u202e",
    "vacation",
    "How many sick days?",
]


KINDS = ["fake", "tiny", "child", pytest.param("default", marks=pytest.mark.model)]


@pytest.fixture(scope="module", params=KINDS)
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    if request.param == "fake":
        yield FakeEmbedder()
        return
    if request.param == "default":
        yield OpenVINOEmbedder(ensure("all-minilm-l6-v2"))
        return
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBOOK_CACHE", str(folder / "cache"))
        write_bert(folder / "model")
        files = ensure(str(folder / "model"))
    if request.param == "tiny":
        yield OpenVINOEmbedder(files)
    else:
        with ChildEmbedder(files) as child:
            yield child


def test_it_is_an_embedder(embedder: Embedder) -> None:
    assert isinstance(embedder, Embedder)


def test_vectors_are_float32_rows_of_unit_length(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS, kind="document")
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([], kind="document").shape == (0, embedder.dimensions)
    assert embedder.count([]) == []


def test_vectors_come_in_the_order_of_the_texts(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS, kind="document")
    for text, vector in zip(TEXTS, vectors, strict=True):
        alone = embedder.embed([text], kind="document")[0]
        assert float(alone @ vector) > 0.9999


def test_a_text_has_the_same_vector_whatever_stands_beside_it(embedder: Embedder) -> None:
    alone = embedder.embed(["How many sick days?"], kind="query")[0]
    many = embedder.embed(
        [f"{'leave policy ' * (n % 40)}{n}" for n in range(200)] + ["How many sick days?"], kind="query"
    )
    assert float(many[-1] @ alone) > 0.9999


def test_running_twice_gives_the_same_bytes(embedder: Embedder) -> None:
    assert embedder.embed(TEXTS, kind="document").tobytes() == embedder.embed(TEXTS, kind="document").tobytes()


def test_a_text_longer_than_max_tokens_is_cut_and_not_refused(embedder: Embedder) -> None:
    long, longer = ("vacation " * n for n in (1000, 2000))
    vectors = embedder.embed([long, longer], kind="document")
    assert float(vectors[0] @ vectors[1]) > 0.9999


def test_tokens_are_counted_without_special_ones_and_never_cut(embedder: Embedder) -> None:
    once, often, none = embedder.count(["vacation", "vacation " * 1000, ""])
    assert once >= 1
    assert often == 1000 * once > embedder.max_tokens
    assert none == 0


def test_progress_ends_at_the_number_of_texts(embedder: Embedder) -> None:
    seen: list[tuple[str, int, int]] = []
    texts = [f"text {n} " * (n % 30) for n in range(100)]
    embedder.embed(texts, kind="document", progress=lambda *step: seen.append(step))
    assert seen[-1][1:] == (100, 100)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_the_fingerprint_is_a_stable_short_text(embedder: Embedder) -> None:
    assert embedder.fingerprint == embedder.fingerprint
    assert 0 < len(embedder.fingerprint) < 200
