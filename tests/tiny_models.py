"""Tiny models with random weights, in the formats real ones come in, for tests that need no download."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

WORDS = "the a leave policy vacation days how many of company is what sick holiday paid year handbook".split()


def write_tokenizer(folder: Path) -> int:
    """A BERT-like tokenizer.json, with the padding and truncation real ones carry; returns the vocabulary's size."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [chr(code) for code in range(33, 127)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), *WORDS]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return len(vocabulary)


def bert_weights(vocabulary: int, *, hidden: int = 32, layers: int = 2, positions: int = 64) -> dict[str, np.ndarray]:
    """Random weights of a BERT with a pooler and a one-label classifier."""
    generator = np.random.default_rng(7)

    def some(*shape: int) -> np.ndarray:
        return generator.normal(0, 0.5 / shape[-1] ** 0.5, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": some(vocabulary, hidden) * 4,
        "embeddings.position_embeddings.weight": some(positions, hidden),
        "embeddings.token_type_embeddings.weight": some(2, hidden),
        "pooler.dense.weight": some(hidden, hidden),
        "pooler.dense.bias": some(hidden),
        "classifier.weight": some(1, hidden) * 4,
        "classifier.bias": some(1),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(layers):
        name = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            weights[f"{name}.attention.self.{part}.weight"] = some(hidden, hidden) * 3
            weights[f"{name}.attention.self.{part}.bias"] = some(hidden)
        for part, shape in (
            ("attention.output.dense", (hidden, hidden)),
            ("intermediate.dense", (4 * hidden, hidden)),
            ("output.dense", (hidden, 4 * hidden)),
        ):
            weights[f"{name}.{part}.weight"] = some(*shape)
            weights[f"{name}.{part}.bias"] = some(shape[0])
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
    for norm in norms:
        weights[f"{norm}.weight"] = 1 + some(hidden)
        weights[f"{norm}.bias"] = some(hidden)
    return weights


def write_safetensors(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Float32 tensors in the safetensors format."""
    header, body = {}, b""
    for name, tensor in weights.items():
        raw = np.ascontiguousarray(tensor, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + body)


def write_bert(folder: Path, *, reranker: bool = False) -> dict[str, np.ndarray]:
    """A folder as sentence-transformers saves it: weights, config.json, tokenizer.json; returns the weights."""
    vocabulary = write_tokenizer(folder)
    weights = bert_weights(vocabulary)
    prefixed = {name if name.startswith("classifier") else f"bert.{name}": each for name, each in weights.items()}
    write_safetensors(folder / "model.safetensors", prefixed if reranker else weights)
    config = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification" if reranker else "BertModel"],
        "hidden_act": "gelu",
        "hidden_size": 32,
        "intermediate_size": 128,
        "vocab_size": vocabulary,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 64,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return weights


def write_gguf(path: Path, *, architecture: str = "llama", cut: int = 0) -> None:
    """A one-layer language model with a byte-level vocabulary; `cut` bytes are missing at the end."""
    tokens = [*_byte_letters(), "th", "the", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    hidden, heads, inner = 64, 2, 128
    fields: list[tuple[str, int, object]] = [
        ("general.architecture", 8, architecture),
        ("general.name", 8, "tiny"),
        ("general.file_type", 4, 1),
        (f"{architecture}.block_count", 4, 1),
        (f"{architecture}.context_length", 4, 512),
        (f"{architecture}.embedding_length", 4, hidden),
        (f"{architecture}.feed_forward_length", 4, inner),
        (f"{architecture}.attention.head_count", 4, heads),
        (f"{architecture}.attention.head_count_kv", 4, heads),
        (f"{architecture}.rope.freq_base", 6, 10000.0),
        (f"{architecture}.rope.dimension_count", 4, hidden // heads),
        (f"{architecture}.attention.layer_norm_rms_epsilon", 6, 1e-5),
        (f"{architecture}.vocab_size", 4, len(tokens)),
        ("tokenizer.ggml.model", 8, "gpt2"),
        ("tokenizer.ggml.pre", 8, "smollm"),
        ("tokenizer.ggml.tokens", 9, (8, tokens)),
        ("tokenizer.ggml.token_type", 9, (5, [1] * 258 + [3] * 3)),
        ("tokenizer.ggml.merges", 9, (8, ["t h", "th e"])),
        ("tokenizer.ggml.bos_token_id", 4, 259),
        ("tokenizer.ggml.eos_token_id", 4, 260),
        ("tokenizer.ggml.unknown_token_id", 4, 258),
        ("tokenizer.ggml.padding_token_id", 4, 260),
        ("tokenizer.chat_template", 8, "{% for m in messages %}{{ m['content'] }}{% endfor %}"),
        ("general.quantization_version", 4, 2),
    ]
    shapes = {
        "token_embd.weight": (hidden, len(tokens)),
        "output_norm.weight": (hidden,),
        "blk.0.attn_norm.weight": (hidden,),
        "blk.0.ffn_norm.weight": (hidden,),
        "blk.0.attn_q.weight": (hidden, hidden),
        "blk.0.attn_k.weight": (hidden, hidden),
        "blk.0.attn_v.weight": (hidden, hidden),
        "blk.0.attn_output.weight": (hidden, hidden),
        "blk.0.ffn_gate.weight": (hidden, inner),
        "blk.0.ffn_up.weight": (hidden, inner),
        "blk.0.ffn_down.weight": (inner, hidden),
    }
    generator = np.random.default_rng(3)
    table, body = b"", b""
    for name, shape in shapes.items():
        kind, dtype = (0, "<f4") if len(shape) == 1 else (1, "<f2")
        table += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(body))
        raw = generator.normal(0, 0.1, shape[::-1]).astype(dtype).tobytes()
        body += raw + bytes(-len(raw) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(fields))
    head += b"".join(_text(name) + struct.pack("<I", kind) + _gguf_value(kind, value) for name, kind, value in fields)
    head += table
    whole = head + bytes(-len(head) % 32) + body
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole[: len(whole) - cut])


def _gguf_value(kind: int, value: object) -> bytes:
    if kind == 8:
        return _text(str(value))
    if kind == 9:
        inner, items = value  # type: ignore[misc]
        return struct.pack("<IQ", inner, len(items)) + b"".join(_gguf_value(inner, item) for item in items)
    return struct.pack({4: "<I", 5: "<i", 6: "<f"}[kind], value)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _byte_letters() -> list[str]:
    """The 256 printable stand-ins for bytes of GPT-2's tokenizer."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256)]
