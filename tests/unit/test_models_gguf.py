from __future__ import annotations

from pathlib import Path

import pytest

from openbook.errors import ModelError
from openbook.models.fetch import ensure, show
from openbook.models.gguf import read_header
from tests.tiny_models import write_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "cache"))


def test_a_header_tells_what_the_model_is(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    header = read_header(tmp_path / "tiny.gguf")
    assert header.text("general.architecture") == "llama"
    assert header.number("llama.context_length") == 512
    assert header.texts("tokenizer.ggml.tokens")[-1] == "<|im_end|>"
    assert len(header.tensors) == 11
    assert header.parameters == 57_856


@pytest.mark.parametrize("keep", [0, 3, 4, 20, 500, 5000])
def test_a_file_cut_in_its_header_is_refused_in_one_sentence(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"is not a whole GGUF file \(.*\); download it again"):
        read_header(path)


def test_a_file_without_its_last_tensor_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", cut=1000)
    with pytest.raises(ModelError, match="bytes of"):
        ensure(str(tmp_path / "tiny.gguf"))


def test_random_bytes_after_the_magic_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.gguf"
    for seed in range(50):
        path.write_bytes(b"GGUF\x03\0\0\0" + bytes((seed * 37 + place * 11) % 256 for place in range(400)))
        with pytest.raises(ModelError):
            read_header(path)


def test_an_unsupported_architecture_is_named_with_the_supported_ones(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", architecture="mamba")
    with pytest.raises(ModelError, match="architecture 'mamba'; OpenVINO reads llama, qwen2, qwen3"):
        ensure(str(tmp_path / "tiny.gguf"))


def test_a_gguf_becomes_a_folder_that_openvino_loads(tmp_path: Path) -> None:
    path = tmp_path / "shelf" / "tiny.gguf"
    write_gguf(path)
    files = ensure(str(path))
    assert files.kind == "generator"
    assert files.model.name == "openvino_model.xml"
    assert all((files.folder / f"openvino_{part}.bin").exists() for part in ("model", "tokenizer", "detokenizer"))
    assert (files.context, files.architecture, files.eos_token, files.bos_token) == (
        512,
        "llama",
        "<|im_end|>",
        "<|im_start|>",
    )
    assert files.eos_token_ids == (258, 260)
    assert files.chat_template
    assert files.original == path
    assert [each.name for each in path.parent.iterdir()] == ["tiny.gguf"]


def test_a_gguf_is_converted_once_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    first = ensure(str(path))
    before = first.model.stat().st_mtime_ns
    assert ensure(str(path), offline=True) == first
    assert first.model.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes() + b"\0")
    assert ensure(str(path)).folder != first.folder


def test_a_converted_folder_is_itself_a_model(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    folder = ensure(str(tmp_path / "tiny.gguf")).folder
    again = ensure(str(folder))
    assert (again.kind, again.folder) == ("generator", folder)
    assert again.eos_token_ids == (260,)
    assert again.chat_template


def test_a_file_of_ones_own_is_described_by_its_header(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    model, installed = show(str(tmp_path / "tiny.gguf"))
    assert installed
    assert (model.kind, model.parameters, model.context) == ("generator", 57_856, 512)


def test_a_path_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model lies at"):
        ensure(str(tmp_path / "away.gguf"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no model"):
        ensure(str(tmp_path / "empty"))
