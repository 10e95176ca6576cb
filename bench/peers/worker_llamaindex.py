"""LlamaIndex: FAISS vector store, BM25 retriever (bm25s), fused by QueryFusionRetriever without a language model."""

from __future__ import annotations

import faiss
import numpy as np
from llama_index.core import QueryBundle, StorageContext, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import TextNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.retrievers.bm25 import BM25Retriever
from llama_index.vector_stores.faiss import FaissVectorStore
from worker import EXACT_UP_TO, Found, Vectors, serve


class LlamaIndex:
    packages = (
        "llama-index-core",
        "llama-index-retrievers-bm25",
        "bm25s",
        "faiss-cpu",
        "sentence-transformers",
        "torch",
    )

    def open(self, model: str, *, dtype: str, batch: int) -> None:
        self.encoder = HuggingFaceEmbedding(
            model, embed_batch_size=batch, device="cpu", model_kwargs={"torch_dtype": dtype}
        )
        self.encoder.get_query_embedding("warm up")

    def embed(self, texts: list[str]) -> Vectors:
        return np.asarray(self.encoder.get_text_embedding_batch(texts), dtype=np.float32)

    def ingest(self, texts: list[str]) -> None:
        self._index([TextNode(id_=str(position), text=text) for position, text in enumerate(texts)])

    def load(self, texts: list[str], vectors: Vectors) -> None:
        given = zip(texts, vectors.tolist(), strict=True)
        self._index([TextNode(id_=str(at), text=text, embedding=vector) for at, (text, vector) in enumerate(given)])

    def _index(self, nodes: list[TextNode]) -> None:
        self.faiss = faiss.IndexFlatIP(384) if len(nodes) <= EXACT_UP_TO else _graph()
        storage = StorageContext.from_defaults(vector_store=FaissVectorStore(self.faiss))
        index = VectorStoreIndex(nodes, storage_context=storage, embed_model=self.encoder)
        self.retrievers = [
            index.as_retriever(similarity_top_k=10),
            BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=10),
        ]
        self.fusion = QueryFusionRetriever(
            self.retrievers,
            llm=MockLLM(),
            mode="reciprocal_rerank",
            similarity_top_k=10,
            num_queries=1,
            use_async=False,
        )

    def query(self, question: str, k: int) -> Found:
        return [int(hit.node.node_id) for hit in self.fusion.retrieve(question)[:k]]

    def search(self, question: str, vector: np.ndarray, k: int) -> Found:
        bundle = QueryBundle(question, embedding=vector.tolist())
        return [int(hit.node.node_id) for hit in self.fusion.retrieve(bundle)[:k]]

    def dense(self, vector: np.ndarray, k: int) -> Found:
        bundle = QueryBundle("", embedding=vector.tolist())
        return [int(hit.node.node_id) for hit in self.retrievers[0].retrieve(bundle)[:k]]


def _graph() -> faiss.Index:
    index = faiss.IndexHNSWFlat(384, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = 128
    return index


if __name__ == "__main__":
    serve(LlamaIndex())
