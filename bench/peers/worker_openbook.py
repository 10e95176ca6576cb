"""Openbook: a workspace with default settings; chunks go in through the library's seam, questions through the door."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from worker import Found, Vectors, serve

from bench.peers import ours
from openbook import Workspace
from openbook.records import Scope
from openbook.retrieve.search import HybridSearcher


class Openbook:
    packages = ("openbook", "openvino", "qdrant-edge-py")

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="openbook-bench-"))
        self.workspace: Workspace | None = None

    def open(self, model: str, *, dtype: str, batch: int) -> None:
        del dtype, batch  # openbook chooses both itself
        self.model = model
        self._empty()

    def _empty(self) -> None:
        """A new workspace; the embedder stays loaded."""
        old = self.workspace
        new = Workspace.init(tempfile.mkdtemp(dir=self.folder), embedder=self.model)
        if old is not None:
            new.house.__dict__["embedder"] = old.house.embedder
            old.close()
        new.house.embedder.embed(["warm up"], kind="query")
        assert new.house.library.version() == 0
        self.workspace = new

    @property
    def desk(self) -> Workspace:
        assert self.workspace is not None
        return self.workspace

    def embed(self, texts: list[str]) -> Vectors:
        return self.desk.house.embedder.embed(texts, kind="document")

    def ingest(self, texts: list[str]) -> None:
        ours.fill(self.desk.house.library, texts, self.desk.house.embedder)
        self.places = ours.places(texts)

    def load(self, texts: list[str], vectors: Vectors) -> None:
        self._empty()
        ours.fill(self.desk.house.library, texts, vectors)
        self.desk.house.library.optimize()
        self.places = ours.places(texts)
        self.given = _Given(self.desk.house.embedder)
        self.searcher = HybridSearcher(self.desk.house.library, self.given, self.desk.settings.retrieve)

    def query(self, question: str, k: int) -> Found:
        return ours.positions([hit.chunk for hit in self.desk.search(question, k=k)], self.places)

    def search(self, question: str, vector: np.ndarray, k: int) -> Found:
        self.given.vector = vector
        return ours.positions([hit.chunk for hit in self.searcher.search(question, k=k).hits], self.places)

    def dense(self, vector: np.ndarray, k: int) -> Found:
        library, limit = self.desk.house.library, self.desk.settings.retrieve.candidates
        found = library.candidates(vector, "", scope=Scope(), limit=limit).dense[:k]
        chunks = library.chunks([one.id for one in found])
        return ours.positions([chunks[one.id] for one in found], self.places)

    def sync(self, folder: str) -> dict[str, Any]:
        """From files to searchable through the door a user takes: read, split, embed, commit."""
        self._empty()
        report = self.desk.sync([folder])
        return {"seconds": report.seconds, "chunks": report.chunks, "files": report.added, "failed": len(report.failed)}

    def close(self) -> None:
        if self.workspace is not None:
            self.workspace.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Given:
    """An embedder that hands over a vector made before, so that the search alone is measured."""

    def __init__(self, real: Any) -> None:
        self.fingerprint, self.dimensions, self.max_tokens = real.fingerprint, real.dimensions, real.max_tokens
        self.vector = np.zeros(real.dimensions, np.float32)

    def embed(self, texts: Sequence[str], **_: object) -> Vectors:
        return np.tile(self.vector, (len(texts), 1))

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


if __name__ == "__main__":
    side = Openbook()
    try:
        serve(side)
    finally:
        side.close()
