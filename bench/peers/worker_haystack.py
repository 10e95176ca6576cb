"""Haystack: FAISS document store, in-memory BM25 (its local ones), fused by DocumentJoiner in a Pipeline."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)
from haystack_integrations.components.retrievers.faiss import FAISSEmbeddingRetriever
from haystack_integrations.document_stores.faiss import FAISSDocumentStore
from worker import EXACT_UP_TO, Found, Vectors, serve


class Haystack:
    packages = ("haystack-ai", "faiss-haystack", "faiss-cpu", "sentence-transformers", "torch")

    def open(self, model: str, *, dtype: str, batch: int) -> None:
        shared: dict[str, Any] = {"model": model, "model_kwargs": {"torch_dtype": dtype}, "progress_bar": False}
        self.shared = shared
        self.documents = SentenceTransformersDocumentEmbedder(batch_size=batch, **shared)
        self.documents.warm_up()

    def embed(self, texts: list[str]) -> Vectors:
        done = self.documents.run([Document(content=text) for text in texts])["documents"]
        return np.asarray([document.embedding for document in done], dtype=np.float32)

    def ingest(self, texts: list[str]) -> None:
        plain = [Document(id=str(position), content=text) for position, text in enumerate(texts)]
        self._index(self.documents.run(plain)["documents"])

    def load(self, texts: list[str], vectors: Vectors) -> None:
        given = zip(texts, vectors.tolist(), strict=True)
        self._index([Document(id=str(at), content=text, embedding=vector) for at, (text, vector) in enumerate(given)])

    def _index(self, documents: list[Document]) -> None:
        exact = len(documents) <= EXACT_UP_TO
        self.dense_store = FAISSDocumentStore(index_string="Flat" if exact else "HNSW32,Flat", embedding_dim=384)
        self.dense_store.write_documents(documents)
        if not exact:
            faiss.downcast_index(self.dense_store.index.index).hnsw.efSearch = 128
        lexical_store = InMemoryDocumentStore(shared=False, return_embedding=False)
        lexical_store.write_documents([Document(id=document.id, content=document.content) for document in documents])
        self.hybrid = self._pipeline(lexical_store)
        self.with_question = self._pipeline(lexical_store)
        self.with_question.add_component("embedder", SentenceTransformersTextEmbedder(**self.shared))
        self.with_question.connect("embedder.embedding", "dense.query_embedding")
        self.with_question.warm_up()

    def _pipeline(self, lexical_store: InMemoryDocumentStore) -> Pipeline:
        pipeline = Pipeline()
        pipeline.add_component("dense", FAISSEmbeddingRetriever(document_store=self.dense_store, top_k=10))
        pipeline.add_component("lexical", InMemoryBM25Retriever(lexical_store, top_k=10))
        pipeline.add_component("join", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=10))
        pipeline.connect("dense", "join")
        pipeline.connect("lexical", "join")
        return pipeline

    def query(self, question: str, k: int) -> Found:
        given = {"embedder": {"text": question}, "lexical": {"query": question}}
        return _positions(self.with_question.run(given)["join"]["documents"][:k])

    def search(self, question: str, vector: np.ndarray, k: int) -> Found:
        given = {"dense": {"query_embedding": vector.tolist()}, "lexical": {"query": question}}
        return _positions(self.hybrid.run(given)["join"]["documents"][:k])

    def dense(self, vector: np.ndarray, k: int) -> Found:
        return _positions(self.dense_store.search(vector.tolist(), top_k=k))


def _positions(documents: list[Document]) -> Found:
    return [int(document.id) for document in documents]


if __name__ == "__main__":
    serve(Haystack())
