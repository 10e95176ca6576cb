"""Texts in, unit vectors out: by an OpenVINO graph, or by hashing words for tests. Knows no library and no catalogue.

Texts are tokenized, sorted by length, cut into batches of about equal work without padding to a fixed length, and run
on all cores at once; the vectors come back in the order of the texts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from openbook import provenance
from openbook.errors import ModelError
from openbook.records import ModelFiles
from openbook.retrieve.runner import Runner
from openbook.seams import Progress

if TYPE_CHECKING:
    import numpy.typing as npt

    from openbook.seams import Vectors

    Ids = npt.NDArray[np.int64]

BATCH_TOKENS = 1024
"""Padded tokens of one batch: larger ones leave the cache of a core (bench/embed.py)."""
WINDOW = 4096
"""Texts tokenized and sorted together; bounds the memory of a long call."""


class OpenVINOEmbedder:
    """A seams.Embedder over a graph that pools and normalizes; safe to use from several threads.

    Raises ModelError when the files cannot be loaded.
    """

    def __init__(self, files: ModelFiles, *, precision: Literal["auto", "f32", "bf16"] = "auto") -> None:
        self._files = files
        self._tokens = load_tokenizer(files)
        self._graph = compile_graph(files, precision, hint="THROUGHPUT")
        self._suffix = _suffix(self._tokens)
        self._inputs = {name for node in self._graph.inputs for name in node.get_names()}
        self._runner = Runner(self._graph)

    @property
    def files(self) -> ModelFiles:
        """What it was loaded from; another process can load the same."""
        return self._files

    @property
    def fingerprint(self) -> str:
        """Name and a hash of all that decides the vectors."""
        files = self._files
        decisive = (files.sha256, files.pooling, files.query_prefix, files.document_prefix, str(files.context))
        return f"{files.name}:{hashlib.sha256(chr(0).join(decisive).encode()).hexdigest()[:16]}"

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._files.dimensions

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special tokens included."""
        return self._files.context

    def embed(
        self, texts: Sequence[str], *, kind: Literal["document", "query"], progress: Progress | None = None
    ) -> Vectors:
        """Unit vectors [len(texts), dimensions], in the order of the texts; longer texts are cut at max_tokens."""
        prefix = self._files.query_prefix if kind == "query" else self._files.document_prefix
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(texts), WINDOW):
            window = [prefix + text for text in texts[start : start + WINDOW]]
            ids = [self._cut(encoding.ids) for encoding in self._tokens.encode_batch_fast(window)]
            batches = list(batched([len(one) for one in ids]))
            target = vectors[start : start + WINDOW]
            feeds = (self._feed(ids, batch) for batch in batches)
            outputs = self._runner.each(feeds) if len(batches) > 1 else map(self._runner.one, feeds)
            done = start
            for batch, output in zip(batches, outputs, strict=True):
                target[batch] = output
                done += len(batch)
                if progress is not None:
                    progress("embed", done, len(texts))
        return vectors

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens, never cut."""
        found: list[int] = []
        for start in range(0, len(texts), WINDOW):
            window = list(texts[start : start + WINDOW])
            encodings = self._tokens.encode_batch_fast(window, add_special_tokens=False)
            found.extend(len(encoding) for encoding in encodings)
        return found

    def _cut(self, ids: list[int]) -> list[int]:
        if len(ids) <= self.max_tokens:
            return ids
        return ids[: self.max_tokens - self._suffix] + ids[len(ids) - self._suffix :]

    def _feed(self, ids: list[list[int]], batch: list[int]) -> dict[str, Ids]:
        return padded([ids[row] for row in batch], None, self._inputs)


def batched(lengths: Sequence[int], *, budget: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Row numbers in batches of at most `budget` padded tokens (one row at least), longest first.

    >>> list(batched([2, 9, 8], budget=18))
    [[1, 2], [0]]
    """
    batch: list[int] = []
    longest = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and longest * (len(batch) + 1) > budget:
            yield batch
            batch = []
        if not batch:
            longest = lengths[row]
        batch.append(row)
    if batch:
        yield batch


def padded(ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None, inputs: set[str]) -> dict[str, Ids]:
    """Rows of token ids as the arrays [rows, longest] a BERT-like graph reads; zeros where a row is shorter."""
    longest = max(len(row) for row in ids)
    feed = {name: np.zeros((len(ids), longest), dtype=np.int64) for name in inputs}
    for number, row in enumerate(ids):
        feed["input_ids"][number, : len(row)] = row
        feed["attention_mask"][number, : len(row)] = 1
        if types is not None and "token_type_ids" in feed:
            feed["token_type_ids"][number, : len(row)] = types[number]
    return feed


def load_tokenizer(files: ModelFiles) -> Any:
    """The model's tokenizer without the padding and truncation its file may ask for.

    Raises ModelError when it cannot be read.
    """
    from tokenizers import Tokenizer

    path = files.folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  (the library raises bare Exception)
        raise ModelError(
            f"the tokenizer of model {files.name!r} cannot be read ({error}); "
            f"mend it with: openbook models pull {files.name}"
        ) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def compile_graph(files: ModelFiles, precision: Literal["auto", "f32", "bf16"], *, hint: str) -> Any:
    """The model's graph, ready to run on the processor; the compiled form is kept in files.cache_dir.

    Raises ModelError when it cannot be loaded.
    """
    import openvino as ov

    if precision == "auto":
        precision = "bf16" if provenance.cpu()[1] & {"amx_bf16", "avx512_bf16"} else "f32"
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": hint}
    # OpenVINO refuses to load when it cannot write its blobs; a read-only cache shall only cost the time to compile.
    with contextlib.suppress(OSError):
        files.cache_dir.mkdir(parents=True, exist_ok=True)
        if os.access(files.cache_dir, os.W_OK):
            settings["CACHE_DIR"] = str(files.cache_dir)
    try:
        return ov.Core().compile_model(files.model, "CPU", settings)
    except RuntimeError as error:
        says = (str(error).strip().splitlines() or [""])[-1][:200]
        raise ModelError(
            f"model {files.name!r} cannot be loaded ({says}); mend it with: openbook models pull {files.name}"
        ) from None


def _suffix(tokenizer: Any) -> int:
    """How many special tokens stand after the text."""
    mask = tokenizer.encode("a").special_tokens_mask
    return next((place for place, special in enumerate(reversed(mask)) if not special), 0)


class FakeEmbedder:
    """A seams.Embedder for tests: each word adds a pseudo-random direction, so texts sharing words are near.

    >>> FakeEmbedder(dimensions=8).embed(["leave policy"], kind="query").shape
    (1, 8)
    """

    def __init__(self, *, dimensions: int = 64, max_tokens: int = 256) -> None:
        self._dimensions = dimensions
        self._max_tokens = max_tokens

    @property
    def fingerprint(self) -> str:
        """Name and shape."""
        return f"fake:{self._dimensions}:{self._max_tokens}"

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._dimensions

    @property
    def max_tokens(self) -> int:
        """Longest input in words, two special ones included."""
        return self._max_tokens

    def embed(
        self,
        texts: Sequence[str],
        *,
        kind: Literal["document", "query"],  # noqa: ARG002  (the Protocol's; words mean the same in both)
        progress: Progress | None = None,
    ) -> Vectors:
        """Unit vectors [len(texts), dimensions]; a text without words gets the first axis."""
        vectors = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        for number, text in enumerate(texts):
            for word in _words(text)[: self._max_tokens - 2]:
                generator = np.random.default_rng(zlib.crc32(word.encode()))
                vectors[number] += generator.standard_normal(self._dimensions, dtype=np.float32)
            length = float(np.linalg.norm(vectors[number]))
            vectors[number] = vectors[number] / length if length else np.eye(1, self._dimensions, dtype=np.float32)[0]
            if progress is not None:
                progress("embed", number + 1, len(texts))
        return vectors

    def count(self, texts: Sequence[str]) -> list[int]:
        """Words of each text."""
        return [len(_words(text)) for text in texts]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
