"""A workspace (or none) in, findings out: what works, what is weak, how to change it. Changes and downloads nothing."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openbook import provenance
from openbook.errors import OpenbookError
from openbook.files import cache_dir
from openbook.settings import STATE_DIR, Settings

Level = Literal["ok", "weak", "broken"]
_SMALL = 1_000_000_000
_LOW_DISK = 2_000_000_000
_TRAINING = ("torch", "transformers", "peft", "gguf", "rensa", "matplotlib")
_PACKAGES = ("openvino", "openvino-genai", "qdrant-edge-py", "tokenizers", "sqlalchemy", "openai")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    topic: str
    level: Level
    says: str
    todo: str = ""
    """What to do about it; "" when nothing needs doing."""


def examine(root: Path | None, settings: Settings) -> list[Finding]:
    """Everything worth knowing before relying on this machine and workspace."""
    return [
        _versions(),
        _processor(),
        _disk("workspace", root or Path.cwd()),
        _disk("model cache", cache_dir()),
        *_models(root or Path.cwd(), settings),
        _training(),
        *([_library(root, settings)] if root is not None else []),
    ]


def _versions() -> Finding:
    known = ", ".join(f"{name} {provenance.package_version(name) or 'missing'}" for name in _PACKAGES)
    missing = [name for name in _PACKAGES if provenance.package_version(name) is None]
    return Finding(
        "versions",
        "broken" if missing else "ok",
        f"openbook {provenance.version()}; {known}",
        f"pip install {' '.join(missing)}" if missing else "",
    )


def _processor() -> Finding:
    name, flags = provenance.cpu()
    cores = provenance.machine()["cores"]
    if "amx_bf16" in flags:
        return Finding("processor", "ok", f"{name}, {cores} cores, AMX: models run in bf16")
    if "avx512_bf16" in flags:
        return Finding("processor", "ok", f"{name}, {cores} cores, AVX-512 with bf16: models run in bf16")
    if "avx2" in flags:
        return Finding(
            "processor",
            "weak",
            f"{name}, {cores} cores, AVX2 only",
            "expect answers several times slower than with AMX",
        )
    return Finding("processor", "weak", f"{name}, {cores} cores, no known matrix instructions")


def _training() -> Finding:
    missing = [name for name in _TRAINING if provenance.package_version(name) is None]
    if missing:
        return Finding(
            "fine-tuning", "ok", f"not set up ({', '.join(missing)} missing)", "pip install 'openbook[finetune]'"
        )
    fast = provenance.cpu()[1] & {"amx_bf16", "avx512_bf16"}
    numbers = (
        "bfloat16" if fast else "float32: this processor has no bfloat16 products, so expect a quarter of the speed"
    )
    return Finding("fine-tuning", "ok", f"torch {provenance.package_version('torch')}; on this processor in {numbers}")


def _disk(topic: str, folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    says = f"{folder}: {free / 1e9:.0f} GB free"
    if not os.access(existing, os.W_OK):
        return Finding(topic, "broken", f"{says}, not writable", "choose a folder you may write")
    if free < _LOW_DISK:
        return Finding(topic, "weak", says, "free some space; models and indexes need a few GB")
    return Finding(topic, "ok", says)


def _models(root: Path, settings: Settings) -> list[Finding]:
    from openbook.assemble import placed

    findings = [_model("embedder", placed(settings.models.embedder, root))]
    if settings.models.reranker:
        findings.append(_model("reranker", placed(settings.models.reranker, root)))
    if settings.models.generator == "endpoint":
        findings.append(_endpoint(settings))
    elif settings.models.generator == "extractive":
        findings.append(Finding("generator", "weak", "none: answers are sentences of the documents, word for word"))
    else:
        findings += [_model("generator", settings.models.generator), *_reader(settings)]
    return findings


def _reader(settings: Settings) -> list[Finding]:
    from openbook import readers
    from openbook.assemble import reader_of
    from openbook.models import derive

    found = readers.find(settings.models.generator)
    if found is None:
        return []
    if settings.models.reader == "none":
        return [Finding("reader", "ok", 'bundled, switched off by models.reader = "none"')]
    if reader_of(settings) is None:
        says = f"the bundled one belongs to other weights of {found.name} than those here, so it is not used"
        return [Finding("reader", "weak", says, "upgrade openbook, or fetch the model again into an empty cache")]
    ready = "ready" if derive.here(found.name, found.identity) else "prepared at the first question"
    return [Finding("reader", "ok", f"bundled, used for answers from passages; {ready}")]


def _model(role: str, name: str) -> Finding:
    from openbook.models import fetch

    try:
        model, installed = fetch.show(name)
    except OpenbookError as error:
        return Finding(role, "broken", str(error))
    here = "here" if installed else "not here yet"
    # A hub's model says how large it is once it is here; a file of one's own names no licence.
    size = f"{model.parameters / 1e6:,.0f} M parameters" if model.parameters else ""
    says = f"{name}: " + ", ".join(part for part in (size, model.licence, here) if part)
    if role == "generator" and 0 < model.parameters < _SMALL:
        return Finding(
            role,
            "weak",
            f"{says}; a model this small is for trying things out, not for production: it often misreads passages, "
            "and answers then fall back to sentences of the documents",
            'set models.generator = "qwen3-1.7b" in openbook.toml, or use an endpoint (models.generator = "endpoint")',
        )
    return Finding(role, "ok", says, "" if installed else f"openbook models pull {name}")


def _endpoint(settings: Settings) -> Finding:
    from openbook.answer.generators.endpoint import EndpointGenerator

    try:
        EndpointGenerator(settings.endpoint).check()
    except OpenbookError as error:
        return Finding("endpoint", "broken", str(error), "start the server, or change [endpoint] in openbook.toml")
    return Finding("endpoint", "ok", f"{settings.endpoint.url} answers, model {settings.endpoint.model!r}")


def _library(root: Path, settings: Settings) -> Finding:
    from openbook.library import inspect, standing

    folder = root / STATE_DIR / "library"
    try:
        facts, found = inspect(folder, settings=settings.library), standing(folder, settings=settings.library)
    except OpenbookError as error:
        return Finding("library", "broken", str(error))
    if facts is None:
        return Finding("library", "ok", "empty", "openbook sync FOLDER")
    named = settings.models.embedder
    if found is not None and found.current.name not in ("", named):
        return Finding("library", "weak", f"{facts}; the settings name the embedder {named!r}", "openbook migrate")
    if found is not None and found.coming is not None:
        says = f"{facts}; a migration to {found.coming.name!r} is unfinished"
        return Finding("library", "ok", says, f"openbook migrate --to {found.coming.name}")
    return Finding("library", "ok", facts)
