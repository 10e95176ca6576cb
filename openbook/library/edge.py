"""The index inside this process: Qdrant Edge, one shard in a folder.

A better index is built by a child process on a copy (Edge holds the interpreter lock while it builds, which would
stop every search for a minute), then brought up to date and switched to by one atomic rename.

    index/current        name of the shard folder in use
    index/shard-XXXX/    a Qdrant Edge shard; any other shard folder is left over and removed at the next start
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from openbook.errors import LibraryError
from openbook.files import write_atomic
from openbook.library.index import (
    ACL,
    ACORN_BELOW,
    BATCH,
    BORN,
    DENSE,
    DIED,
    DOC,
    EVERYTHING,
    HNSW_EF,
    HNSW_EF_CONSTRUCT,
    HNSW_M,
    REPAIR,
    TERMS,
    Between,
    Clause,
    Point,
    Terms,
    Where,
)
from openbook.records import Scored

if TYPE_CHECKING:
    import qdrant_edge

WORTH = 10_000
"""Chunks that may wait without an HNSW graph: to compare with each takes 1 ms at 384 dimensions, 4 with 100 groups."""

_Write = tuple[str, Any]


class EdgeIndex:
    """An Index in a folder; `create` makes an empty one."""

    def __init__(self, folder: Path, *, dimensions: int, create: bool, worth: int = WORTH) -> None:
        self._folder = folder
        self._worth = worth
        self._gate = threading.RLock()
        """Held for each call into the shard: Edge serializes them anyway, and the shard may be switched."""
        self._writes = threading.RLock()
        """Held, before the gate, by all that changes the shard: a copy needs it still, while searches go on."""
        self._building = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._since_copy: list[_Write] | None = None
        self._closed = False
        with _translated("opening"):
            if create:
                self._path = _new_shard(folder, dimensions, worth)
                write_atomic(folder / "current", self._path.name)
            else:
                self._path = folder / (folder / "current").read_text(encoding="ascii")
            for other in folder.glob("shard-*"):
                if other != self._path:
                    shutil.rmtree(other, ignore_errors=True)
            self._shard = _load(self._path)

    def upsert(self, points: Sequence[Point]) -> None:
        """See Index."""
        import qdrant_edge as edge

        with self._writes, self._gate, _translated("writing"):
            self._shard.update(
                edge.UpdateOperation.upsert_points(
                    [
                        edge.Point(
                            point.id,
                            {DENSE: point.dense, TERMS: edge.SparseVector(point.terms.indices, point.terms.values)},
                            dict(point.payload),
                        )
                        for point in points
                    ]
                )
            )
            self._note("upsert", [point.id for point in points])

    def assign(self, where: Where, field: str, value: int | None) -> None:
        """See Index."""
        with self._writes, self._gate, _translated("writing"):
            self._shard.update(_assignment(where, field, value))
            self._note("assign", (where, field, value))

    def delete(self, where: Where) -> None:
        """See Index."""
        import qdrant_edge as edge

        with self._writes, self._gate, _translated("deleting"):
            self._shard.update(edge.UpdateOperation.delete_points_by_filter(_filter(where)))
            self._note("delete", where)

    def search(
        self, dense: list[float] | None, terms: Terms | None, where: Where, limit: int, *, corpus: Where | None
    ) -> tuple[list[Scored], list[Scored]]:
        """See Index."""
        import qdrant_edge as edge

        wanted, requests = _filter(where), []
        if dense is not None:
            acorn = edge.AcornSearchParams(enable=True, max_selectivity=ACORN_BELOW)
            params = edge.SearchParams(hnsw_ef=max(HNSW_EF, limit), acorn=acorn)
            nearest = edge.Query.Nearest(dense, using=DENSE)
            requests.append(edge.QueryRequest(limit, query=nearest, filter=wanted, params=params))
        if terms is not None:
            matching = edge.Query.Nearest(edge.SparseVector(terms.indices, terms.values), using=TERMS)
            rarity = None if corpus is None else edge.SearchParams(idf=edge.IdfParams(_filter(corpus)))
            requests.append(edge.QueryRequest(limit, query=matching, filter=wanted, params=rarity))
        with self._gate, _translated("searching"):
            found = self._shard.query_batch(edge.QueryBatchRequest(requests))
        lists = iter([[Scored(cast(int, point.id), point.score) for point in points] for points in found])
        return [] if dense is None else next(lists), [] if terms is None else next(lists)

    def vectors(self, ids: Sequence[int]) -> dict[int, list[float]]:
        """See Index."""
        with self._gate, _translated("reading"):
            records = self._shard.retrieve(list(ids), with_payload=False, with_vector=[DENSE])
        return {cast(int, record.id): cast(Any, record.vector)[DENSE] for record in records}

    def count(self, where: Where = EVERYTHING) -> int:
        """See Index."""
        import qdrant_edge as edge

        with self._gate, _translated("counting"):
            return self._shard.count(edge.CountRequest(exact=True, filter=_filter(where)))

    def flush(self) -> None:
        """See Index."""
        with self._writes, self._gate, _translated("flushing"):
            self._shard.flush()

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """See Index. Searches go on, and so does a build: it waits before it switches."""
        with self._writes:
            self.flush()
            yield

    def optimize(self) -> bool:
        """See Index. Searches and writes go on meanwhile; writers wait only while files are copied and switched."""
        if not self._building.acquire(blocking=False):
            return False
        try:
            if self._closed or not self._pays() or not self._has_room():
                return False
            return self._rebuild()
        finally:
            self._building.release()

    def close(self) -> None:
        """See Index. A build under way is given up."""
        with self._gate:
            self._closed = True
            if self._child is not None:
                self._child.kill()
        with self._building, self._gate, _translated("closing"):
            self._shard.close()

    def _pays(self) -> bool:
        with self._gate, _translated("reading"):
            info = self._shard.info()
            # indexed_vectors_count counts both vectors of a point; BM25 is always indexed.
            return 2 * info.points_count - info.indexed_vectors_count >= self._worth

    def _has_room(self) -> bool:
        size = sum(file.stat().st_size for file in self._path.rglob("*") if file.is_file())
        return shutil.disk_usage(self._folder).free > 3 * size

    def _rebuild(self) -> bool:
        copy = Path(tempfile.mkdtemp(prefix="shard-", dir=self._folder))
        try:
            with self._writes, _translated("copying"):
                self.flush()
                shutil.copytree(self._path, copy, dirs_exist_ok=True)
                self._since_copy = []
            if not self._build(copy):
                return False
            with self._writes, _translated("switching"):
                better = _load(copy)
                self._catch_up(better, self._since_copy or [])
                better.flush()
                with self._gate:
                    if self._closed:
                        better.close()
                        return False
                    write_atomic(self._folder / "current", copy.name)
                    worse, old = self._shard, self._path
                    self._shard, self._path = better, copy
                    worse.close()
            shutil.rmtree(old, ignore_errors=True)
            return True
        finally:
            self._since_copy = None
            if self._path != copy:
                shutil.rmtree(copy, ignore_errors=True)

    def _build(self, folder: Path) -> bool:
        with self._gate:
            if self._closed:
                return False
            self._child = subprocess.Popen(
                [sys.executable, "-m", "openbook.library.build", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        _, errors = self._child.communicate()
        code, self._child = self._child.returncode, None
        if code and not self._closed:
            last = errors.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
            raise LibraryError(f"building a better search index failed ({last or code}); searches still work, slower")
        return code == 0

    def _note(self, kind: str, what: object) -> None:
        if self._since_copy is not None:
            self._since_copy.append((kind, what))

    def _catch_up(self, better: qdrant_edge.EdgeShard, writes: Sequence[_Write]) -> None:
        """Repeat writes in their order; points come as they are now, which repeating the later writes keeps so."""
        import qdrant_edge as edge

        for kind, what in writes:
            if kind == "upsert":
                for start in range(0, len(what), BATCH):
                    with self._gate:
                        records = self._shard.retrieve(what[start : start + BATCH], with_payload=True, with_vector=True)
                    points = [edge.Point(one.id, cast(Any, one.vector), one.payload) for one in records]
                    better.update(edge.UpdateOperation.upsert_points(points))
            elif kind == "assign":
                better.update(_assignment(*what))
            else:
                better.update(edge.UpdateOperation.delete_points_by_filter(_filter(what)))


def _new_shard(folder: Path, dimensions: int, worth: int) -> Path:
    import qdrant_edge as edge

    folder.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="shard-", dir=folder))
    shard = edge.EdgeShard.create(
        str(path),
        edge.EdgeConfig(
            vectors={DENSE: edge.EdgeVectorParams(dimensions, edge.Distance.Cosine)},
            sparse_vectors={TERMS: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            hnsw_config=edge.HnswIndexConfig(m=HNSW_M, ef_construct=HNSW_EF_CONSTRUCT, full_scan_threshold=10_000),
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=max(1, worth * dimensions * 4 // 1024 // 2)),
        ),
    )
    # Extra graph links per payload value (enable_hnsw) would cost half the building time again; see ACORN_BELOW.
    schemas: dict[str, Any] = {ACL: edge.KeywordIndexParams(enable_hnsw=False)}
    schemas |= {field: edge.IntegerIndexParams(lookup=False, range=True, enable_hnsw=False) for field in (BORN, DIED)}
    schemas[DOC] = edge.IntegerIndexParams(lookup=True, range=False, enable_hnsw=False)
    for field, schema in schemas.items():
        shard.update(edge.UpdateOperation.create_field_index(field, schema))
    shard.flush()
    shard.close()
    return path


def _load(path: Path) -> qdrant_edge.EdgeShard:
    import qdrant_edge as edge

    return edge.EdgeShard.load(str(path))


def _assignment(where: Where, field: str, value: int | None) -> qdrant_edge.UpdateOperation:
    import qdrant_edge as edge

    if value is None:
        return edge.UpdateOperation.delete_payload_by_filter(_filter(where), [field])
    return edge.UpdateOperation.set_payload_by_filter(_filter(where), {field: value})


def _filter(where: Where) -> qdrant_edge.Filter:
    import qdrant_edge as edge

    def condition(clause: Clause) -> qdrant_edge.FieldCondition:
        if isinstance(clause, Between):
            return edge.FieldCondition(clause.field, range=edge.RangeFloat(gte=clause.at_least, lt=clause.below))
        return edge.FieldCondition(clause.field, match=edge.MatchAny(clause.values))

    return edge.Filter(
        must=[condition(clause) for clause in where.must], must_not=[condition(clause) for clause in where.must_not]
    )


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except LibraryError:
        raise
    except BaseException as error:
        # The binding raises bare Exception, and PanicException (a BaseException) on damaged files.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        remedy = f"; {REPAIR}" if doing == "opening" else ""
        raise LibraryError(f"the search index failed while {doing}: {error}{remedy}") from error
