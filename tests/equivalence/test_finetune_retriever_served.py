"""The retriever's training against sentence-transformers' own loss, whole batches, and what serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

import torch

from openbook.finetune.retriever import cross, learn
from openbook.finetune.retriever.pairs import Answers, Corpus, Question
from openbook.finetune.retriever.recipe import recipe
from openbook.models import fetch
from openbook.records import Chunk, ModelFiles
from openbook.retrieve.embed import OpenVINOEmbedder
from openbook.retrieve.rerank import OpenVINOReranker
from tests.tiny_models import write_bert

WORDS = "leave policy vacation days company sick holiday paid year handbook".split()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "cache"))


def texts(count: int) -> list[str]:
    return [
        " ".join(WORDS[(number * step + step) % 10] for step in range(1, 4 + number % 5)) for number in range(count)
    ]


def corpus(count: int) -> Corpus:
    chunks = tuple(Chunk(f"d{number}", 0, len(text), text) for number, text in enumerate(texts(count)))
    return Corpus(tuple(range(count)), chunks, 1)


def base(folder: Path, *, reranker: bool = False, pooling: str = "mean", prefix: str = "") -> tuple[Path, ModelFiles]:
    write_bert(folder, reranker=reranker)
    if pooling == "cls":
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    if prefix:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": prefix}}))
    return folder, fetch.ensure(str(folder))


def test_the_loss_is_that_of_sentence_transformers_when_every_passage_counts() -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    torch.manual_seed(0)
    some = [torch.nn.functional.normalize(torch.randn(6, 16), dim=1) for _ in range(3)]
    theirs = MultipleNegativesRankingLoss(torch.nn.Identity(), scale=20.0).compute_loss_from_embeddings(some, None)
    every = torch.ones(6, 12, dtype=torch.bool)
    ours = learn.ranking_loss(some[0], torch.cat(some[1:]), range(6), every, scale=20.0)
    assert float(ours) == pytest.approx(float(theirs), abs=1e-5)


def test_a_passage_that_does_not_count_changes_nothing() -> None:
    torch.manual_seed(0)
    asked, read = (torch.nn.functional.normalize(torch.randn(n, 8), dim=1) for n in (2, 3))
    wrong = torch.tensor([[True, True, False], [True, True, False]])
    with_it = learn.ranking_loss(asked, read, [0, 1], wrong, scale=20.0)
    without = learn.ranking_loss(asked, read[:2], [0, 1], wrong[:, :2], scale=20.0)
    assert float(with_it) == pytest.approx(float(without), abs=1e-6)


def test_gradients_in_portions_are_those_of_the_whole_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, files = base(tmp_path / "model")
    model = learn.load(weights, files, max_tokens=32).eval()
    some = texts(9)
    every = torch.ones(3, 6, dtype=torch.bool)

    def loss_of(vectors: Any) -> Any:
        return learn.ranking_loss(vectors[:3], vectors[3:], [0, 1, 2], every, scale=20.0)

    def gradients() -> np.ndarray:
        found = np.concatenate([one.grad.numpy().ravel() for one in model.parameters() if one.grad is not None])
        model.zero_grad()
        return found

    whole = model(dict(model.preprocess(some)))["sentence_embedding"]
    loss_of(whole).backward()
    expected = gradients()
    monkeypatch.setattr(learn.steps, "portions", lambda texts: [[8], [0, 3], [1, 2, 7], [4, 5, 6]])
    learn.descend_cached(model, some, loss_of)
    np.testing.assert_allclose(gradients(), expected, atol=1e-5)


@pytest.mark.parametrize(("pooling", "prefix"), [("mean", ""), ("cls", "query: ")])
def test_a_trained_embedder_serves_as_it_was_trained(tmp_path: Path, pooling: str, prefix: str) -> None:
    weights, files = base(tmp_path / "model", pooling=pooling, prefix=prefix)
    assert (files.pooling, files.query_prefix) == (pooling, prefix)
    some = corpus(24)
    asked = [Question(one.text, (), (number,), one.document) for number, one in enumerate(some.chunks)]
    learned = learn.embedder(
        weights,
        files,
        asked,
        [(1,), *[()] * 23],
        some,
        recipe({"epochs": 2, "batch": 8, "learning_rate": 1e-3, "dtype": "float32"}),
        into=tmp_path / "out",
        probes=some.texts(),
    )
    served = fetch.ensure(str(tmp_path / "out"))
    assert (served.pooling, served.context, served.query_prefix) == (files.pooling, files.context, prefix)
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (weights / "tokenizer.json").read_bytes()
    vectors = OpenVINOEmbedder(served, precision="f32").embed(some.texts(), kind="document")
    assert (vectors * learned.probe).sum(1).min() > 0.9999
    untouched = OpenVINOEmbedder(files, precision="f32").embed(some.texts(), kind="document")
    assert (vectors * untouched).sum(1).min() < 0.9999
    assert learned.course.steps == 6


def test_a_trained_reranker_serves_as_it_was_trained_and_learned(tmp_path: Path) -> None:
    weights, files = base(tmp_path / "model", reranker=True)
    some = corpus(20)
    asked = [Question(one.text, (), (number,), one.document) for number, one in enumerate(some.chunks)]
    pools = [((number + 3) % 20, (number + 7) % 20) for number in range(20)]
    pairs = [(asked[0].text, text) for text in some.texts()]
    learned = cross.reranker(
        weights,
        files,
        asked,
        pools,
        some,
        recipe({"epochs": 6, "batch": 12, "learning_rate": 2e-3, "dtype": "float32"}),
        into=tmp_path / "out",
        probes=pairs,
    )
    served = fetch.ensure(str(tmp_path / "out"))
    assert (served.kind, served.context) == ("reranker", files.context)
    scores = OpenVINOReranker(served, precision="f32").score(asked[0].text, some.texts())
    np.testing.assert_allclose(scores, learned.probe, atol=0.02)
    assert learned.course.losses[-1] < learned.course.losses[0]


def test_training_twice_gives_the_same_weights(tmp_path: Path) -> None:
    weights, files = base(tmp_path / "model")
    some = corpus(12)
    asked = [Question(one.text, (), (number,), one.document) for number, one in enumerate(some.chunks)]
    settings = recipe({"epochs": 1, "batch": 6, "dtype": "float32"})
    for name in ("one", "two"):
        learn.embedder(weights, files, asked, [()] * 12, some, settings, into=tmp_path / name, answers=Answers(some))
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
