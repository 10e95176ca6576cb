"""A question and texts in, one score per text out: a cross-encoder reads both together. Knows no search.

Slower than comparing vectors and more exact, so it reorders the best few hits only (settings: models.reranker,
retrieve.rerank_depth).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal

from openbook.records import ModelFiles
from openbook.retrieve.embed import batched, compile_graph, load_tokenizer, padded
from openbook.retrieve.runner import Runner


class OpenVINOReranker:
    """A seams.Reranker over a cross-encoder graph; safe to use from several threads.

    Raises ModelError when the files cannot be loaded.
    """

    def __init__(self, files: ModelFiles, *, precision: Literal["auto", "f32", "bf16"] = "auto") -> None:
        self._files = files
        self._tokens = load_tokenizer(files)
        self._graph = compile_graph(files, precision, hint="THROUGHPUT")
        self._inputs = {name for node in self._graph.inputs for name in node.get_names()}
        self._lock = threading.Lock()
        self._runner = Runner(self._graph)

    @property
    def name(self) -> str:
        """The catalogue name, or the path the user gave."""
        return self._files.name

    def score(self, question: str, texts: Sequence[str]) -> list[float]:
        """One raw logit per text in the given order, higher is better; comparable for one question only."""
        if not texts:
            return []
        scores = [0.0] * len(texts)
        with self._lock:
            pairs = self._pairs(question, texts)
        ids, types = [pair.ids for pair in pairs], [pair.type_ids for pair in pairs]
        batches = list(batched([len(row) for row in ids]))
        feeds = (padded([ids[row] for row in batch], [types[row] for row in batch], self._inputs) for batch in batches)
        for batch, logits in zip(batches, self._runner.each(feeds), strict=True):
            for row, logit in zip(batch, logits, strict=True):
                # A two-class head puts "relevant" last.
                scores[row] = float(logit[-1])
        return scores

    def _pairs(self, question: str, texts: Sequence[str]) -> list[Any]:
        """Encodings within the context: the text is cut, the question only where it would take more than half."""
        self._tokens.no_truncation()
        encoding = self._tokens.encode(question, add_special_tokens=False)
        most = self._files.context // 2
        if len(encoding) > most:
            question = question[: encoding.offsets[most - 1][1]]
        self._tokens.enable_truncation(self._files.context, strategy="only_second")
        pairs: list[Any] = self._tokens.encode_batch([(question, text) for text in texts])
        return pairs
