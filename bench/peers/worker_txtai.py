"""txtai: its default Faiss index and its default BM25 terms index, `hybrid=True`, texts kept with `content=True`."""

from __future__ import annotations

from typing import Any

import numpy as np
from txtai import Embeddings
from worker import Found, Vectors, serve


class Txtai:
    packages = ("txtai", "faiss-cpu", "torch", "transformers")

    def open(self, model: str, *, dtype: str, batch: int) -> None:
        self.config: dict[str, Any] = {"hybrid": True, "content": True, "encodebatch": batch}
        self.model = {"path": model, "vectors": {"dtype": dtype}}
        self.encoder = Embeddings(**self.model, encodebatch=batch)
        self.encoder.batchtransform(["warm up"])

    def embed(self, texts: list[str]) -> Vectors:
        return np.asarray(self.encoder.batchtransform(texts, category="data"), dtype=np.float32)

    def ingest(self, texts: list[str]) -> None:
        self.index = Embeddings(**self.config, **self.model, models=self.encoder.models)
        self.index.index(enumerate(texts))

    def load(self, texts: list[str], vectors: Vectors) -> None:
        # txtai takes given vectors beside text through a transform function: documents come in order, in batches;
        # while a question's vector is given (`search`), the function hands that one over; else it embeds.
        self.given: Vectors | None = None
        position = 0

        def transform(batch: list[str]) -> Vectors:
            nonlocal position
            if position < len(vectors):
                position += len(batch)
                return vectors[position - len(batch) : position]
            return self.given if self.given is not None else np.asarray(self.encoder.batchtransform(batch))

        self.index = Embeddings(**self.config, method="external", transform=transform)
        self.index.index(enumerate(texts))

    def query(self, question: str, k: int) -> Found:
        return [int(hit["id"]) for hit in self.index.search(_plain(question), k)]

    def search(self, question: str, vector: np.ndarray, k: int) -> Found:
        self.given = vector[None, :]
        try:
            return self.query(question, k)
        finally:
            self.given = None

    def dense(self, vector: np.ndarray, k: int) -> Found:
        return [int(position) for position, _ in self.index.ann.search(vector[None, :], k)[0]]


def _plain(question: str) -> str:
    """txtai reads a query that starts with "select" as SQL."""
    return " " + question if question.lower().startswith("select") else question


if __name__ == "__main__":
    serve(Txtai())
