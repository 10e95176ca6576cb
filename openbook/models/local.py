"""A path of the user's own in, what kind of model lies there and its converted files out. Downloads nothing.

A .gguf, an OpenVINO folder, a transformers folder (a language model), or a folder of an embedder or reranker.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from openbook import files as disk
from openbook.errors import ModelError
from openbook.models import convert, download, to_gguf
from openbook.models.catalogue import File, FileSource, Kind, Model
from openbook.models.gguf import read_header
from openbook.models.weights import stored
from openbook.records import ModelFiles
from openbook.seams import Progress

ORIGINAL = "model.gguf"


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of a model, and where what it came in lies."""

    facts: convert.Facts
    folder: Path
    """Holds the graph."""
    sha256: str
    """Of the weights as they came."""
    original: Path | None = None
    """The GGUF."""
    transformers: Path | None = None


def describe(path: Path) -> Model:
    """What lies at a path, without converting it.

    Raises ModelError when nothing does, or nothing that is known.
    """
    real = path.expanduser()
    if not real.exists():
        raise ModelError(f"no model lies at {str(path)!r}; mend the path, or choose a name from: openbook models list")
    kind: Kind = "generator"
    parameters = context = 0
    if real.is_file():
        header = read_header(real)
        parameters = header.parameters
        context = header.number(f"{header.text('general.architecture')}.context_length") or 0
    elif is_transformers(real):
        context = to_gguf.describe(real, name=str(path)).context
        parameters = sum(tensor.size for part in to_gguf.weight_files(real) for tensor in stored(part).values())
    elif (real / "tokenizer.json").exists() and not (real / "openvino_detokenizer.xml").exists():
        kind = "reranker" if "SequenceClassification" in _architectures(real) else "embedder"
    parts = _weights(real)
    size = sum(part.stat().st_size for part in parts)
    file = File(parts[0].name, size, None, (FileSource(str(real)),))
    return Model(str(path), kind, "your own model", "", parameters, context, (file,))


def key(path: Path) -> str:
    """Changes when a file that makes the model does (by size and time)."""
    parts = _weights(path)
    if is_transformers(path):
        parts += tuple(path / name for name in (*to_gguf.NEEDED, *to_gguf.OPTIONAL) if (path / name).exists())
    text = "\0".join(f"{part}\0{part.stat().st_size}\0{part.stat().st_mtime_ns}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def converted(path: Path, described: Model, staging: Path, progress: Progress | None) -> Converted:
    """Write what loading needs into `staging`, and nothing beside the model. Raises ModelError."""
    name = described.name
    if path.is_dir() and described.kind == "generator" and not is_transformers(path):
        staging.mkdir(parents=True, exist_ok=True)
        return Converted(convert.openvino_folder(path), path, disk.sha256_of(_weights(path)[0]))
    with download.writing(staging / convert.GRAPH, 2 * described.bytes), openvino_errors(name):
        if path.is_file():
            facts = gguf(path, staging, name=name)
            return Converted(facts, staging, disk.sha256_of(path), original=path)
        if described.kind == "generator":
            return transformers(path, staging, name=name, progress=progress)
        facts = convert.encoder(path, described.kind, name=name, pooling="", into=staging)
        shutil.copyfile(path / "tokenizer.json", staging / "tokenizer.json")
        return Converted(facts, staging, disk.sha256_of(_weights(path)[0]))


def gguf(path: Path, into: Path, *, name: str) -> convert.Facts:
    """Convert a GGUF that may lie where we must not write; OpenVINO writes its files beside it."""
    link = into / ORIGINAL
    link_or_copy(path, link)
    facts = convert.gguf(link, name=name)
    link.unlink()
    return facts


def transformers(folder: Path, into: Path, *, name: str, progress: Progress | None) -> Converted:
    """Write a transformers folder as `into`/model.gguf and convert that. Raises ModelError, MissingExtra."""

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(f"{name}: convert", done, total)

    to_gguf.write(folder, into / ORIGINAL, name=Path(name).name, report=report)
    facts = convert.gguf(into / ORIGINAL, name=name)
    sha256 = to_gguf.weights_hash(folder)
    return Converted(facts, into, sha256, original=into / ORIGINAL, transformers=folder)


def record(converted: Converted, *, name: str, kind: Kind, folder: Path) -> ModelFiles:
    """The record of a converted model that will stand in `folder`."""
    facts = converted.facts
    return ModelFiles(
        name=name,
        kind=kind,
        folder=converted.folder,
        model=converted.folder / convert.GRAPH,
        sha256=converted.sha256,
        context=facts.context,
        cache_dir=folder / "compiled",
        original=converted.original,
        transformers=converted.transformers,
        architecture=facts.architecture,
        chat_template=facts.chat_template,
        bos_token=facts.bos_token,
        eos_token=facts.eos_token,
        eos_token_ids=facts.eos_token_ids,
        dimensions=facts.dimensions,
        pooling=facts.pooling,
        query_prefix=facts.query_prefix,
        document_prefix=facts.document_prefix,
        licence=facts.licence,
        parameters=facts.parameters,
    )


def with_facts(record: ModelFiles, model: Model) -> ModelFiles:
    """The record with what the catalogue knows better than the files."""
    return replace(
        record,
        context=model.context,
        query_prefix=model.query_prefix,
        document_prefix=model.document_prefix,
        licence=model.licence,
        parameters=model.parameters,
    )


def is_transformers(path: Path) -> bool:
    """Whether a folder holds a language model as transformers saves it."""
    return "ForCausalLM" in _architectures(path) and not (path / convert.GRAPH).exists()


def _weights(path: Path) -> tuple[Path, ...]:
    """The files that hold the weights; never empty."""
    if path.is_file():
        return (path,)
    if is_transformers(path) and (shards := to_gguf.weight_files(path)):
        return shards
    for name in ("openvino_model.bin", "model.safetensors", "model.onnx", "onnx/model.onnx"):
        if (path / name).exists():
            return (path / name,)
    raise ModelError(
        f"{str(path)!r} holds no model; expected openvino_model.xml and .bin, model.safetensors or model.onnx, "
        "or the path of a .gguf file"
    )


def _architectures(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures"))
    return ""


def link_or_copy(path: Path, link: Path) -> None:
    """Another name for a file: a hard link, else a symbolic one, else a copy."""
    path = path.absolute()
    for way in (link.hardlink_to, link.symlink_to):
        with contextlib.suppress(OSError):
            way(path)
            return
    shutil.copyfile(path, link)


@contextlib.contextmanager
def openvino_errors(name: str) -> Iterator[None]:
    """Turn what OpenVINO raises into one sentence (ModelError)."""
    try:
        yield
    except RuntimeError as error:
        says = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        raise ModelError(f"model {name!r} could not be converted by OpenVINO ({says})") from None
