"""The real default embedder, trained a few steps and served."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from openbook.finetune.retriever import learn
from openbook.finetune.retriever.pairs import Corpus, Question
from openbook.finetune.retriever.recipe import recipe
from openbook.models import fetch, originals
from openbook.records import Chunk
from openbook.retrieve.embed import OpenVINOEmbedder

NAME = "all-minilm-l6-v2"
PAIRS = {
    "When do I get paid?": "Salaries are transferred on the last working day of the month.",
    "Can I bring my dog?": "Pets are welcome in the office on Fridays.",
    "Who fixes my laptop?": "Hardware problems go to the help desk on the second floor.",
    "How long is parental leave?": "New parents may stay at home for twelve weeks.",
    "Is lunch free?": "The kitchen is stocked with food for everyone at noon.",
    "What is the wifi password?": "Network access is given by the help desk on the first day.",
}


@pytest.mark.model
def test_the_default_embedder_trained_further_serves_the_vectors_it_learned(tmp_path: Path) -> None:
    chunks = tuple(Chunk(f"d{number}", 0, len(text), text) for number, text in enumerate(PAIRS.values()))
    corpus = Corpus(tuple(range(len(chunks))), chunks, 1)
    asked = [Question(text, (), (number,), f"d{number}") for number, text in enumerate(PAIRS)]
    files = fetch.ensure(NAME)
    learned = learn.embedder(
        originals.weights(NAME),
        files,
        asked,
        [()] * len(asked),
        corpus,
        recipe({"epochs": 3, "batch": 6, "max_tokens": 32}),
        into=tmp_path / "out",
        probes=corpus.texts(),
    )
    served = fetch.ensure(str(tmp_path / "out"))
    assert (served.context, served.pooling, served.dimensions) == (256, "mean", 384)
    embedder = OpenVINOEmbedder(served)
    vectors = embedder.embed(corpus.texts(), kind="document")
    assert (vectors * learned.probe).sum(1).min() > 0.999
    nearer = (embedder.embed(list(PAIRS), kind="query") * vectors).sum(1).mean()
    untouched = OpenVINOEmbedder(files)
    before = untouched.embed(list(PAIRS), kind="query") * untouched.embed(corpus.texts(), kind="document")
    assert nearer > before.sum(1).mean()
