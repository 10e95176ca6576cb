"""The index on a Qdrant server or cluster, one collection per library (extra "server").

`QdrantClient(":memory:")` or a local path runs the same code without a server.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from openbook.errors import LibraryError
from openbook.extras import need
from openbook.library.index import (
    ACL,
    ACORN_BELOW,
    BORN,
    DENSE,
    DIED,
    DOC,
    EVERYTHING,
    HNSW_EF,
    HNSW_EF_CONSTRUCT,
    HNSW_M,
    TERMS,
    Between,
    Clause,
    Point,
    Terms,
    Where,
)
from openbook.records import Scored

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


_shared: dict[str, tuple[QdrantClient, int]] = {}
"""Clients of libraries in this process with how many use each: their folder allows one client only."""
_sharing = threading.Lock()


def connect(url: str, *, api_key_env: str) -> QdrantClient:
    """A client for a server URL; ":memory:" and "local:FOLDER" run in this process. To be given to disconnect()."""
    make = need("qdrant_client", extra="server", purpose="a Qdrant server").QdrantClient
    if url == ":memory:":
        return cast("QdrantClient", make(url))
    if url.startswith("local:"):
        with _sharing:
            client, users = _shared.get(url) or (make(path=url.removeprefix("local:")), 0)
            _shared[url] = client, users + 1
            return client
    return cast("QdrantClient", make(url=url, api_key=os.environ.get(api_key_env) or None, timeout=60))


def disconnect(client: QdrantClient) -> None:
    """Close a client, or for a shared one this use of it."""
    with _sharing:
        url, users = next(((url, users) for url, (one, users) in _shared.items() if one is client), ("", 1))
        if users > 1:
            _shared[url] = client, users - 1
            return
        _shared.pop(url, None)
    client.close()


def collections(url: str, *, api_key_env: str) -> list[str]:
    """Names of all collections of a server."""
    client = connect(url, api_key_env=api_key_env)
    try:
        with _translated("listing"):
            return [one.name for one in client.get_collections().collections]
    finally:
        disconnect(client)


def drop(url: str, collection: str, *, api_key_env: str) -> None:
    """Delete a collection, if it is there."""
    client = connect(url, api_key_env=api_key_env)
    try:
        with _translated("deleting"):
            client.delete_collection(collection)
    finally:
        disconnect(client)


class ServerIndex:
    """An Index in a collection; `create` makes an empty one."""

    def __init__(self, client: QdrantClient, collection: str, *, dimensions: int, create: bool) -> None:
        self._client = client
        self._collection = collection
        from qdrant_client import models
        from qdrant_client.local.qdrant_local import QdrantLocal

        self._models = models
        self._local = isinstance(client._client, QdrantLocal)
        # The client's local mode is no server: its collections are plain numpy arrays that change under a reader.
        self._gate: contextlib.AbstractContextManager[object] = (
            threading.RLock() if self._local else contextlib.nullcontext()
        )
        with self._gate, _translated("opening"):
            if create:
                self._create(dimensions)
            elif not client.collection_exists(collection):
                raise LibraryError(f"the Qdrant server has no collection {collection!r}")

    def upsert(self, points: Sequence[Point]) -> None:
        """See Index."""
        models = self._models
        with self._gate, _translated("writing"):
            self._client.upsert(
                self._collection,
                [
                    models.PointStruct(
                        id=point.id,
                        vector={
                            DENSE: point.dense,
                            TERMS: models.SparseVector(indices=point.terms.indices, values=point.terms.values),
                        },
                        payload=dict(point.payload),
                    )
                    for point in points
                ],
                wait=True,
            )

    def assign(self, where: Where, field: str, value: int | None) -> None:
        """See Index."""
        with self._gate, _translated("writing"):
            if value is None:
                self._client.delete_payload(self._collection, [field], self._filter(where), wait=True)
            else:
                self._client.set_payload(self._collection, {field: value}, self._filter(where), wait=True)

    def delete(self, where: Where) -> None:
        """See Index."""
        with self._gate, _translated("deleting"):
            selector = self._models.FilterSelector(filter=self._filter(where))
            self._client.delete(self._collection, selector, wait=True)

    def search(
        self, dense: list[float] | None, terms: Terms | None, where: Where, limit: int, *, corpus: Where | None
    ) -> tuple[list[Scored], list[Scored]]:
        """See Index."""
        models, wanted, requests = self._models, self._filter(where), []
        if dense is not None:
            acorn = models.AcornSearchParams(enable=True, max_selectivity=ACORN_BELOW)
            params = None if self._local else models.SearchParams(hnsw_ef=max(HNSW_EF, limit), acorn=acorn)
            requests.append(models.QueryRequest(query=dense, using=DENSE, filter=wanted, limit=limit, params=params))
        if terms is not None:
            sparse = models.SparseVector(indices=terms.indices, values=terms.values)
            rarity = (
                None if corpus is None else models.SearchParams(idf=models.IdfCorpusParams(corpus=self._filter(corpus)))
            )
            requests.append(models.QueryRequest(query=sparse, using=TERMS, filter=wanted, limit=limit, params=rarity))
        with self._gate, _translated("searching"):
            found = self._client.query_batch_points(self._collection, requests)
        lists = iter([[Scored(cast(int, point.id), point.score) for point in one.points] for one in found])
        return [] if dense is None else next(lists), [] if terms is None else next(lists)

    def vectors(self, ids: Sequence[int]) -> dict[int, list[float]]:
        """See Index."""
        with self._gate, _translated("reading"):
            records = self._client.retrieve(self._collection, list(ids), with_payload=False, with_vectors=[DENSE])
        return {cast(int, record.id): cast(Any, record.vector)[DENSE] for record in records}

    def count(self, where: Where = EVERYTHING) -> int:
        """See Index."""
        with self._gate, _translated("counting"):
            return self._client.count(self._collection, self._filter(where), exact=True).count

    def flush(self) -> None:
        """Every write above has waited for the server already."""

    def still(self) -> contextlib.AbstractContextManager[None]:
        """No file of it lies here."""
        return contextlib.nullcontext()

    def optimize(self) -> bool:
        """The server does it by itself."""
        return False

    def close(self) -> None:
        """See Index."""
        with self._gate, _translated("closing"):
            disconnect(self._client)

    def _create(self, dimensions: int) -> None:
        models = self._models
        if self._client.collection_exists(self._collection):
            self._client.delete_collection(self._collection)
        self._client.create_collection(
            self._collection,
            vectors_config={DENSE: models.VectorParams(size=dimensions, distance=models.Distance.COSINE)},
            sparse_vectors_config={TERMS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            hnsw_config=models.HnswConfigDiff(m=HNSW_M, ef_construct=HNSW_EF_CONSTRUCT),
        )
        if self._local:
            return
        word, whole = models.KeywordIndexType.KEYWORD, models.IntegerIndexType.INTEGER
        schemas: dict[str, Any] = {ACL: models.KeywordIndexParams(type=word, enable_hnsw=False)}
        schemas |= {
            field: models.IntegerIndexParams(type=whole, lookup=False, range=True, enable_hnsw=False)
            for field in (BORN, DIED)
        }
        schemas[DOC] = models.IntegerIndexParams(type=whole, lookup=True, range=False, enable_hnsw=False)
        for field, schema in schemas.items():
            self._client.create_payload_index(self._collection, field, schema, wait=True)

    def _filter(self, where: Where) -> Any:
        models = self._models

        def condition(clause: Clause) -> Any:
            if isinstance(clause, Between):
                return models.FieldCondition(key=clause.field, range=models.Range(gte=clause.at_least, lt=clause.below))
            return models.FieldCondition(key=clause.field, match=models.MatchAny(any=clause.values))

        return models.Filter(
            must=[condition(clause) for clause in where.must],
            must_not=[condition(clause) for clause in where.must_not],
        )


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except (ApiException, OSError, ValueError) as error:
        text = " ".join(str(error).split())[:300]
        raise LibraryError(f"the Qdrant server failed while {doing}: {text}; check library.qdrant_url") from error
