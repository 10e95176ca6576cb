"""A folder of fetched files in, an OpenVINO graph that loads fast and the facts it lacks out. Downloads nothing.

A GGUF is converted by OpenVINO GenAI in a process of its own: its reader writes to the terminal, holds twice the
model's size, and ends the process on input it does not expect. A BERT is built here from its weights; an ONNX file gets
pooling added.
"""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openbook.errors import ModelError
from openbook.models import bert, rotary, zero_points
from openbook.models.catalogue import Kind
from openbook.models.gguf import Header, read_header

GRAPH = "openvino_model.xml"
ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""GGUF architectures OpenVINO's reader knows."""

_ENDS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>")
"""Tokens that end an answer in the known families, besides the one a file names."""

_GGUF_TO_IR = """
import pathlib, sys, openbook, openvino_genai
openvino_genai.LLMPipeline(sys.argv[1], "CPU", ATTENTION_BACKEND="SDPA", enable_save_ov_model=True)
from openbook.models import tokenizer_graph
tokenizer_graph.mend(pathlib.Path(sys.argv[1]).with_name("openvino_tokenizer.xml"), sys.argv[2])
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the files say of a model beyond the graph."""

    context: int
    architecture: str = ""
    chat_template: str | None = None
    bos_token: str = ""
    eos_token: str = ""
    eos_token_ids: tuple[int, ...] = ()
    dimensions: int = 0
    pooling: Literal["mean", "cls", ""] = ""
    query_prefix: str = ""
    document_prefix: str = ""
    parameters: int = 0
    licence: str = ""


def gguf(path: Path, *, name: str) -> Facts:
    """Write the OpenVINO graph and tokenizer beside a GGUF, and return what its header says.

    Raises ModelError for a damaged file or an architecture OpenVINO does not read.
    """
    header = read_header(path)
    architecture = header.text("general.architecture")
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"model {name!r} is a GGUF of architecture {architecture!r}; OpenVINO reads {', '.join(ARCHITECTURES)}: "
            "choose another model, or convert it to an OpenVINO folder and give its path"
        )
    command = [sys.executable, "-c", _GGUF_TO_IR, str(path), header.text("tokenizer.ggml.pre")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    needed = [path.with_name(f"openvino_{part}.xml") for part in ("model", "tokenizer", "detokenizer")]
    if run.returncode or not all(file.with_suffix(ending).exists() for file in needed for ending in (".xml", ".bin")):
        says = (run.stderr.strip() or run.stdout.strip() or f"it ended with {run.returncode}").splitlines()[-1][:200]
        raise ModelError(f"model {name!r} could not be converted by OpenVINO ({says}); choose another file of it")
    zero_points.restore(path.with_name(GRAPH), path, header)
    rotary.restore(path.with_name(GRAPH), path, header)
    return _gguf_facts(header, architecture)


def _gguf_facts(header: Header, architecture: str) -> Facts:
    tokens = header.texts("tokenizer.ggml.tokens")
    bos, eos, *more = (header.number(f"tokenizer.ggml.{part}_token_id") for part in ("bos", "eos", "eot", "eom"))
    ends = {number for number in (eos, *more) if number is not None}
    ends |= {number for number, token in enumerate(tokens) if token in _ENDS}

    def token(number: int | None) -> str:
        return tokens[number] if number is not None and 0 <= number < len(tokens) else ""

    return Facts(
        context=header.number(f"{architecture}.context_length") or 2048,
        architecture=architecture,
        chat_template=header.text("tokenizer.chat_template") or None,
        bos_token=token(bos),
        eos_token=token(eos),
        eos_token_ids=tuple(sorted(ends)),
        parameters=header.parameters,
        licence=header.text("general.license"),
    )


def openvino_folder(folder: Path) -> Facts:
    """What an OpenVINO generator folder (as exported by Optimum) says of itself.

    Raises ModelError when graph or tokenizer are missing.
    """
    for part in (GRAPH, "openvino_model.bin", "openvino_tokenizer.xml", "openvino_detokenizer.xml"):
        if not (folder / part).exists():
            raise ModelError(
                f"{str(folder)!r} has no {part}; give a folder that OpenVINO GenAI can load, or a .gguf file"
            )
    config = {**_json(folder / "config.json"), **_json(folder / "generation_config.json")}
    tokenizer, noted = _json(folder / "tokenizer_config.json"), _rt_info(folder / "openvino_tokenizer.xml")
    template = folder / "chat_template.jinja"
    written = tokenizer.get("chat_template") or noted.get("chat_template")
    ends = config.get("eos_token_id", noted.get("eos_token_id"))
    return Facts(
        context=int(config.get("max_position_embeddings", 2048)),
        architecture=str(config.get("model_type", "")),
        chat_template=template.read_text(encoding="utf-8") if template.exists() else written,
        bos_token=_token(tokenizer.get("bos_token")),
        eos_token=_token(tokenizer.get("eos_token")),
        eos_token_ids=tuple(
            int(end) for end in (ends if isinstance(ends, list) else [ends] if ends is not None else [])
        ),
    )


def encoder(
    folder: Path, kind: Kind, *, name: str, pooling: Literal["mean", "cls", ""], into: Path, max_tokens: int = 0
) -> Facts:
    """Write `into`/openvino_model.xml from the folder's model.safetensors or model.onnx and return what it is.

    Pooling "" and max_tokens 0 are taken from the folder's sentence-transformers files. Raises ModelError.
    """
    import openvino as ov

    config = _json(folder / "config.json")
    pooling = pooling or _pooling(folder)
    weights, onnx = folder / "model.safetensors", _onnx(folder)
    if weights.exists() and config:
        tensors = bert.read_safetensors(weights)
        model = bert.reranker(tensors, config) if kind == "reranker" else bert.embedder(tensors, config, pooling)
        parameters = sum(tensor.size for tensor in tensors.values())
    elif onnx is not None:
        model, parameters = _from_onnx(onnx, kind, name, pooling), 0
    else:
        raise ModelError(
            f"{str(folder)!r} has neither model.safetensors with config.json nor model.onnx; fetch it again"
        )
    if not (folder / "tokenizer.json").exists():
        raise ModelError(f"{str(folder)!r} has no tokenizer.json; save the model's fast tokenizer there")
    width = model.outputs[0].get_partial_shape()[1]
    # Half precision keeps the vectors (cosine > 0.99999) and halves the file; an ONNX file keeps its own.
    ov.save_model(model, into / GRAPH, compress_to_fp16=weights.exists())
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    return Facts(
        context=max_tokens or _longest(folder, min(int(config.get("max_position_embeddings", 512)), 512)),
        architecture=str(config.get("model_type", "")),
        dimensions=width.get_length() if kind == "embedder" and width.is_static else 0,
        pooling=pooling if kind == "embedder" else "",
        query_prefix=str(prompts.get("query") or ""),
        document_prefix=str(prompts.get("document") or ""),
        parameters=parameters,
    )


def _longest(folder: Path, most: int) -> int:
    """Longest input the folder's sentence-transformers files ask for; newer releases keep it with the tokenizer."""
    asked = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    return min(int(asked or _json(folder / "tokenizer_config.json").get("model_max_length") or most), most)


def _from_onnx(path: Path, kind: Kind, name: str, pooling: Literal["mean", "cls"]) -> Any:
    import openvino as ov

    try:
        model = ov.Core().read_model(path)
    except RuntimeError as error:
        raise ModelError(f"model {name!r}: {path.name} cannot be read ({_last_line(error)}); fetch it again") from None
    ranks = {len(output.get_partial_shape()): output for output in reversed(model.outputs)}
    if kind == "reranker":
        if 2 not in ranks:
            raise ModelError(f"model {name!r} gives no score per pair; it is not a reranker")
        return model
    mask = next((node for node in model.inputs if "attention_mask" in node.get_names()), None)
    if mask is None or not ranks.keys() & {2, 3}:
        raise ModelError(f"model {name!r} has no attention_mask or no token states; it is not a text embedder")
    if 2 in ranks:
        vectors = bert.normalized(ranks[2].get_node().input_value(0))
    else:
        vectors = bert.pooled(ranks[3].get_node().input_value(0), mask, pooling)
    return ov.Model([vectors], model.get_parameters(), "embedder")


def _onnx(folder: Path) -> Path | None:
    return next((path for path in (folder / "model.onnx", folder / "onnx" / "model.onnx") if path.exists()), None)


def _pooling(folder: Path) -> Literal["mean", "cls"]:
    config = _json(folder / "1_Pooling" / "config.json")
    return "cls" if config.get("pooling_mode_cls_token") or config.get("pooling_mode") == "cls" else "mean"


def _json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read ({error}); fetch the model again") from None
    return loaded if isinstance(loaded, dict) else {}


def _rt_info(path: Path) -> dict[str, str]:
    try:
        found = ElementTree.parse(path).getroot().find("rt_info")
    except ElementTree.ParseError as error:
        raise ModelError(f"{str(path)!r} is damaged ({error}); convert the model again") from None
    return {} if found is None else {entry.tag: entry.get("value", "") for entry in found}


def _token(value: object) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _last_line(error: RuntimeError) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1][:200] if lines else type(error).__name__
