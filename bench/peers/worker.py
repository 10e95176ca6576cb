"""The one protocol every side of the comparison speaks: a JSON request a line on stdin, a JSON reply a line on stdout.

A side is an object with the methods of `Side`; `serve` runs it. Runs inside each peer's own environment, so it
imports the standard library and numpy only. Texts and vectors travel as files, numbers as JSON.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Found = list[int]
"""Positions of the found chunks in the list of texts, best first."""
EXACT_UP_TO = 20_000
"""Peers that leave the choice of a FAISS index to the user get a flat one up to here (faster and exact), HNSW above."""


class Side(Protocol):
    """What one library under comparison can do."""

    packages: tuple[str, ...]
    """Distributions whose versions are reported."""

    def open(self, model: str, *, dtype: str, batch: int) -> None:
        """Load the embedding model. dtype is "float32" or "bfloat16"."""

    def embed(self, texts: list[str]) -> Vectors:
        """Embed documents."""

    def ingest(self, texts: list[str]) -> None:
        """Make texts searchable, dense and lexical, from nothing: embed, store, index."""

    def load(self, texts: list[str], vectors: Vectors) -> None:
        """The same with the vectors given."""

    def query(self, question: str, k: int) -> Found:
        """Hybrid search with the question's embedding included."""

    def search(self, question: str, vector: npt.NDArray[np.float32], k: int) -> Found:
        """Hybrid search with the question's vector given."""

    def dense(self, vector: npt.NDArray[np.float32], k: int) -> Found:
        """The dense part alone."""


def peak_mb() -> float:
    """Most memory this process ever held, in MB (VmHWM of Linux; 0 elsewhere)."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def serve(side: Side) -> None:
    """Answer requests until stdin closes; what libraries print goes to stderr."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = _do(side, request)
        except Exception as error:  # noqa: BLE001 - the runner reports whatever a peer raises
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _do(side: Side, request: dict[str, Any]) -> dict[str, Any]:
    do = request["do"]
    if do == "hello":
        return {"versions": {name: importlib.metadata.version(name) for name in side.packages}}
    if do == "open":
        seconds = _clock(lambda: side.open(request["model"], dtype=request["dtype"], batch=request["batch"]))
        return {"seconds": seconds, "peak_mb": peak_mb()}
    if do == "embed":
        texts = _texts(request)
        start = time.perf_counter()
        vectors = side.embed(texts)
        seconds = time.perf_counter() - start
        if request.get("out"):
            np.save(request["out"], vectors)
        return {"seconds": seconds}
    if do == "ingest":
        texts, before = _texts(request), peak_mb()
        seconds = _clock(lambda: side.ingest(texts))
        return {"seconds": seconds, "peak_mb": peak_mb(), "before_mb": before}
    if do == "load":
        texts, given = _texts(request), np.load(request["vectors"])[: request["n"]]
        return {"seconds": _clock(lambda: side.load(texts, given)), "peak_mb": peak_mb()}
    if do == "query":
        questions, k = request["questions"], request["k"]
        return _each((lambda q=q: side.query(q, k)) for q in questions)
    if do in ("search", "dense"):
        vectors, k = np.load(request["vectors"])[request["rows"]], request["k"]
        if do == "dense":
            return _each((lambda v=v: side.dense(v, k)) for v in vectors)
        pairs = zip(request["questions"], vectors, strict=True)
        return _each((lambda q=q, v=v: side.search(q, v, k)) for q, v in pairs)
    # What only one side can do, by the name of its method.
    return dict(getattr(side, do)(**request.get("with", {})))


def _texts(request: dict[str, Any]) -> list[str]:
    texts: list[str] = json.loads(Path(request["texts"]).read_text(encoding="utf-8"))
    return texts[: request["n"]]


def _clock(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _each(calls: Iterator[Callable[[], Found]]) -> dict[str, Any]:
    seconds, found = [], []
    for call in calls:
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
        found.append(result)
    return {"seconds": seconds, "found": found}
