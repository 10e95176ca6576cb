"""The OpenVINO graph of a BERT against the same arithmetic in numpy, written from the paper (Devlin et al. 2019)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from openbook.errors import ModelError
from openbook.models import bert, fetch
from openbook.records import ModelFiles
from openbook.retrieve.embed import OpenVINOEmbedder
from openbook.retrieve.rerank import OpenVINOReranker
from tests.tiny_models import write_bert, write_safetensors

Array = npt.NDArray[np.floating]
TEXTS = ["the leave policy", "how many paid vacation days is it a year?", "", "holiday " * 30]


def ensure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFiles:
    monkeypatch.setenv("OPENBOOK_CACHE", str(folder / "cache"))
    return fetch.ensure(str(folder / "model"))


def norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def states(ids: list[int], types: list[int], weights: dict[str, Array], heads: int = 4) -> Array:
    """Token states [tokens, hidden] of one unpadded text."""
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][types]
    x = norm(x + weights["embeddings.position_embeddings.weight"][: len(ids)], weights, "embeddings.LayerNorm")
    for layer in range(2):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            linear(x, weights, f"{name}.attention.self.{part}").reshape(len(ids), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        logits = query @ key.swapaxes(1, 2) / math.sqrt(query.shape[-1])
        share = np.exp(logits - logits.max(-1, keepdims=True))
        mixed = (share / share.sum(-1, keepdims=True)) @ value
        joined = mixed.swapaxes(0, 1).reshape(len(ids), -1)
        x = norm(
            x + linear(joined, weights, f"{name}.attention.output.dense"), weights, f"{name}.attention.output.LayerNorm"
        )
        inner = linear(x, weights, f"{name}.intermediate.dense")
        inner = inner * np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(inner)
        x = norm(x + linear(inner, weights, f"{name}.output.dense"), weights, f"{name}.output.LayerNorm")
    return x


def encodings(folder: Path, *inputs: object) -> list[tuple[list[int], list[int]]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)
    return [(one.ids, one.type_ids) for one in tokenizer.encode_batch(list(inputs))]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_embeddings_equal_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooling: str) -> None:
    weights = write_bert(tmp_path / "model")
    if pooling == "cls":
        (tmp_path / "model" / "1_Pooling").mkdir()
        (tmp_path / "model" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    ours = OpenVINOEmbedder(ensure(tmp_path, monkeypatch), precision="f32").embed(TEXTS, kind="document")
    for vector, (ids, types) in zip(ours, encodings(tmp_path, *TEXTS), strict=True):
        hidden = states(ids, types, weights)
        expected = hidden.mean(0) if pooling == "mean" else hidden[0]
        assert np.allclose(vector, expected / np.linalg.norm(expected), atol=2e-3)


def test_rerank_scores_equal_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write_bert(tmp_path / "model", reranker=True)
    files = ensure(tmp_path, monkeypatch)
    assert files.kind == "reranker"
    question = "what is the leave policy"
    ours = OpenVINOReranker(files, precision="f32").score(question, TEXTS)
    pairs = [(question, text) for text in TEXTS]
    for score, (ids, types) in zip(ours, encodings(tmp_path, *pairs), strict=True):
        first = np.tanh(linear(states(ids, types, weights)[0], weights, "pooler.dense"))
        assert score == pytest.approx(float(linear(first, weights, "classifier")[0]), abs=0.02)


def test_half_precision_weights_are_read_as_float32(tmp_path: Path) -> None:
    tensor = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    header = {"a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}
    header["b"] = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [12, 24]}
    encoded = json.dumps(header).encode()
    bfloat = (tensor.view(np.uint32) >> 16).astype("<u2").tobytes()
    body = tensor.astype("<f2").tobytes() + bfloat
    (tmp_path / "w").write_bytes(len(encoded).to_bytes(8, "little") + encoded + body)
    read = bert.read_safetensors(tmp_path / "w")
    assert np.allclose(read["a"], tensor, atol=1e-3)
    assert np.allclose(read["b"], tensor, atol=2e-2)


@pytest.mark.parametrize("keep", [0, 4, 100, 10_000])
def test_a_safetensors_file_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    write_safetensors(tmp_path / "w", {"a": np.zeros((100, 100), dtype=np.float32)})
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:keep])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        bert.read_safetensors(tmp_path / "w")


def test_another_kind_of_model_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bert(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"bert"', '"modernbert"'))
    with pytest.raises(ModelError, match="model type 'modernbert'"):
        ensure(tmp_path, monkeypatch)
