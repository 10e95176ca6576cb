"""The Library: a catalog and an index kept in step by version numbers.

A commit writes new points born = S+1, marks replaced ones died = S+1, flushes the index, and then commits S+1 in one
catalog transaction: the only moment that counts. A search of version v sees what was born <= v and had not died by v,
so unfinished work is invisible; whatever a crash left behind is undone before the next commit and at every start.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from openbook.errors import EmbedderMismatch, LibraryError
from openbook.library import generations, planning, revival
from openbook.library.catalog import Catalog, Stored, document_info
from openbook.library.generations import Made
from openbook.library.index import (
    ACL,
    BATCH,
    BORN,
    DIED,
    DOC,
    REPAIR,
    Between,
    Clause,
    Index,
    OneOf,
    Point,
    Where,
)
from openbook.library.terms import Bm25
from openbook.records import (
    PUBLIC,
    Candidates,
    Change,
    Chunk,
    Condition,
    Document,
    DocumentInfo,
    Entry,
    Scope,
    Scored,
    VersionInfo,
)

_COSINE_DIGITS, _BM25_DIGITS = 6, 4
"""Beyond these, scores of equal texts differ by the order of summation."""
_EXACT_RARITY = 10_000
"""Up to so many chunks, BM25 counts only what the caller may see of the version read: then no unfinished commit, older
version or hidden document changes a score. Beyond it that takes milliseconds, and counting everything comes near."""
_CONDITIONS = 32
"""Conditions whose documents are remembered; a version's never change."""
_SLACK = 10
_LONGEST_TIE = 16
"""Ties across the end of a list are followed up to this many times its length."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """An index with the versions it can tell of; replaced as a whole, so that a search reads one state."""

    made: Made
    index: Index
    oldest: int
    newest: int


class Coming(Protocol):
    """A generation that is to become the current one."""

    made: Made
    index: Index

    def finish(self) -> None:
        """Bring in what is missing and check all of it, while nothing is committed. Raises LibraryError."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Vectors of its embedder."""


class StoredLibrary:
    """seams.Library over any Catalog and Index. Searches may run in many threads beside one writer."""

    def __init__(
        self,
        catalog: Catalog,
        index: Index,
        *,
        dimensions: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        room: Callable[[int], None] = lambda _: None,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """`room` is asked before `size` bytes are written and raises LibraryError; `release` is called on close.

        Raises LibraryError when the index does not hold what the catalog says.
        """
        self._catalog = catalog
        made = replace(generations.current(catalog.facts()), dimensions=dimensions)
        self._seen = _Seen(made, index, 0, 0)
        self._beside: dict[str, _Seen] = {}
        """By fingerprint: a generation that is measured before the switch, or left by one; searchable as it was."""
        self._embed: Callable[[Sequence[str]], Sequence[Sequence[float]]] | None = None
        self._clock, self._room, self._release = clock, room, release
        self._bm25 = Bm25()
        self._meeting = functools.lru_cache(_CONDITIONS)(catalog.meeting)
        self._write = threading.RLock()
        self._closed = False
        self._recover()
        self._check()

    @property
    def made(self) -> Made:
        """What the index in use was made with."""
        return self._seen.made

    @property
    def _index(self) -> Index:
        return self._seen.index

    @property
    def _newest(self) -> int:
        return self._seen.newest

    def version(self) -> int:
        """See seams.Library."""
        self._open()
        return self._newest

    def documents(self, *, version: int | None = None) -> list[DocumentInfo]:
        """See seams.Library."""
        return [document_info(row) for row in self._catalog.rows(self._readable(version))]

    def document(self, name: str, *, version: int | None = None) -> Document | None:
        """See seams.Library."""
        rows = self._catalog.rows(self._readable(version), names=[name])
        return self._catalog.document(rows[0]) if rows else None

    def chunks_of(self, name: str, *, version: int | None = None) -> list[tuple[int, Chunk]]:
        """See seams.Library."""
        rows = self._catalog.rows(self._readable(version), names=[name])
        return self._catalog.chunks_of(rows[0]) if rows else []

    def candidates(
        self, vector: Sequence[float], text: str, *, scope: Scope, limit: int, embedder: str = ""
    ) -> Candidates:
        """See seams.Library. Equal scores stand in the order of ids."""
        seen = self._seen
        if embedder and embedder != seen.made.embedder:
            seen = self._other(embedder)
        version = self._readable(scope.version, seen)
        if len(vector) != seen.made.dimensions:
            raise LibraryError(
                f"the question's vector has {len(vector)} dimensions, the library's {seen.made.dimensions}"
            )
        where = self._where(scope, version)
        if where is None or limit < 1:
            return Candidates((), (), version)
        terms = self._bm25.query(text)
        search = functools.partial(seen.index.search, where=where, corpus=self._corpus(scope, version))
        near, lexical = search([float(x) for x in vector], terms if terms.indices else None, limit=limit + _SLACK)
        dense = _settled(near, _COSINE_DIGITS)[:limit]
        return Candidates(
            tuple(Scored(one.id, max(-1.0, min(1.0, one.score))) for one in dense),
            tuple(_whole_ties(lexical, limit, lambda more: search(None, terms, limit=more)[1])),
            version,
        )

    def chunks(self, ids: Sequence[int]) -> Mapping[int, Chunk]:
        """See seams.Library. A chunk names its document as it is called now."""
        self._open()
        return self._catalog.chunks(ids)

    def matches(self, condition: Condition, name: str) -> bool:
        """See seams.Library. False for a name that is not in the library."""
        return bool(self._catalog.meeting(self.version(), condition, name=name))

    def commit(self, change: Change, *, note: str = "") -> int:
        """See seams.Library. An empty change makes no version.

        Removals and renames are applied to the present state, then documents are put.
        Raises LibraryError for unknown names, names used twice, and vectors that do not fit; nothing is written then.
        """
        with self._writing():
            if not (change.put or change.rename or change.remove):
                return self._newest
            change = self._of_now(change)
            names = planning.names(change)
            plan = planning.plan(change, self._catalog.rows(self._newest, names=names), dimensions=self.made.dimensions)
            self._room(sum(4 * len(entry.document.text) + 3000 * len(entry.chunks) for entry in change.put))
            return self._commit(change.put, plan, note)

    def versions(self) -> list[VersionInfo]:
        """See seams.Library. Version 0 is the empty library."""
        self._open()
        return self._catalog.versions()

    def roll_back(self, version: int) -> int:
        """See seams.Library. Only documents that differ are written; access labels come back as they were."""
        with self._writing():
            version = self._readable(version)
            then, now = self._catalog.rows(version), self._catalog.rows(self._newest)
            return self.commit(revival.change(self._catalog, self._index, then, now), note=f"as version {version} was")

    def sweep(self, *, keep: int) -> int:
        """See seams.Library."""
        if keep < 1:
            raise LibraryError(f"sweep must keep at least 1 version, not {keep}")
        with self._writing():
            oldest = self._newest - keep + 1
            if oldest <= self._seen.oldest:
                return 0
            self._dirty = True
            freed = self._catalog.sweep(oldest)
            self._recover()
            return freed

    def optimize(self) -> bool:
        """See seams.Library. Searches and commits go on meanwhile."""
        self._open()
        return self._index.optimize()

    def attach(self, coming: Coming) -> int:
        """Let a generation be searched, by its embedder's fingerprint, as of the version returned."""
        with self._writing():
            coming.finish()
            self._beside[coming.made.embedder] = replace(self._seen, made=coming.made, index=coming.index)
            return self._newest

    def switch(self, coming: Coming) -> None:
        """Use another generation from here on; it belongs to the library then. The one of before is kept beside it.

        Searches in flight end on the index they began with. One catalog transaction is the moment that counts.
        Raises LibraryError and changes nothing when the generation is not whole.
        """
        with self._writing():
            coming.finish()
            before = self._seen
            facts = generations.as_facts(coming.made)
            self._catalog.note({**facts, generations.PREVIOUS: before.made.json(), generations.NEXT: None})
            self._embed = coming.embed
            self._beside[before.made.embedder] = before
            self._seen = replace(before, made=coming.made, index=coming.index)
            self._beside.pop(coming.made.embedder, None)

    def others(self) -> list[Made]:
        """The generations that are open beside the current one."""
        return [seen.made for seen in self._beside.values()]

    def detach(self, embedder: str) -> None:
        """Forget another generation and close its index, if it is open."""
        with self._write:
            gone = self._beside.pop(embedder, None)
            if gone is not None:
                gone.index.close()

    def close(self) -> None:
        """See seams.Library."""
        with self._write:
            if self._closed:
                return
            self._closed = True
            try:
                with contextlib.ExitStack() as stack:
                    for seen in (self._seen, *self._beside.values()):
                        stack.callback(seen.index.close)
            finally:
                self._catalog.close()
                self._release()

    def _open(self) -> None:
        if self._closed:
            raise LibraryError("the library is closed; open it again")

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Hold off commits while the folder is copied; searches go on. Raises LibraryError when it is closed."""
        with self._writing(), self._index.still():
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._write:
            self._open()
            if self._dirty:
                self._recover()
            yield

    def _other(self, embedder: str) -> _Seen:
        if embedder not in self._beside:
            raise EmbedderMismatch(
                f"the question was embedded with {embedder!r}, and the library uses {self.made.embedder!r}; ask again"
            )
        return self._beside[embedder]

    def _of_now(self, change: Change) -> Change:
        """A change whose vectors were made before the library changed its embedder, with vectors made anew."""
        if change.embedder in ("", self.made.embedder) or not change.put:
            return change
        if self._embed is None:
            raise EmbedderMismatch(
                f"the vectors are of {change.embedder!r}, and the library uses {self.made.embedder!r}; sync again"
            )
        embed = self._embed
        put = [
            replace(entry, vectors=embed([chunk.indexed_text for chunk in entry.chunks]) if entry.chunks else [])
            for entry in change.put
        ]
        return replace(change, put=put, embedder=self.made.embedder)

    def _recover(self) -> None:
        """Make the index what the catalog says: undo an unfinished commit, finish an unfinished sweep."""
        oldest, newest = self._catalog.span()
        unborn = Where(must=(Between(BORN, at_least=newest + 1),))
        undead = Where(must=(Between(DIED, at_least=newest + 1),))
        swept = Where(must=(Between(DIED, below=oldest + 1),))
        if any(self._index.count(where) for where in (unborn, undead, swept)):
            self._index.delete(unborn)
            self._index.assign(undead, DIED, None)
            self._index.delete(swept)
            self._index.flush()
        self._seen, self._dirty = replace(self._seen, oldest=oldest, newest=newest), False
        self._chunks = self._catalog.chunk_counts()[0]

    def _check(self) -> None:
        stored, alive = self._catalog.chunk_counts()
        found = self._index.count(), self._index.count(Where(must_not=outside(self._newest)))
        if found != (stored, alive):
            raise LibraryError(
                f"the search index holds {found[0]} chunks, {found[1]} of them current, where the catalog has {stored} "
                f"and {alive}, so it was lost or damaged; {REPAIR}"
            )

    def _readable(self, version: int | None, seen: _Seen | None = None) -> int:
        self._open()
        seen = seen or self._seen
        if version is None:
            return seen.newest
        if not seen.oldest <= version <= seen.newest:
            raise LibraryError(
                f"version {version} cannot be read; the library has versions {seen.oldest} to {seen.newest}"
            )
        return version

    def _where(self, scope: Scope, version: int) -> Where | None:
        must = [_allowed(scope)]
        if scope.where:
            kept = set.intersection(*(set(self._meeting(version, condition)) for condition in scope.where))
            if not kept:
                return None
            must.append(OneOf(DOC, sorted(kept)))
        return Where(tuple(must), outside(version))

    def _corpus(self, scope: Scope, version: int) -> Where | None:
        if self._chunks > _EXACT_RARITY:
            return None
        return Where((_allowed(scope),), outside(version))

    def _commit(self, put: Sequence[Entry], plan: planning.Plan, note: str) -> int:
        version, at = self._newest + 1, self._clock().isoformat(timespec="seconds")
        facts = self._catalog.facts()
        first_content, first_chunk = int(facts["next_content"]), int(facts["next_chunk"])
        next_chunk = first_chunk + sum(len(entry.chunks) for entry in put)
        self._dirty = True
        batch: list[Point] = []
        for stored in planning.numbered(put, first_content, first_chunk):
            for point in self._points(stored, version):
                batch.append(point)
                if len(batch) == BATCH:
                    self._index.upsert(batch)
                    batch = []
        if batch:
            self._index.upsert(batch)
        dead = plan.dead_contents
        for start in range(0, len(dead), BATCH):
            self._index.assign(Where(must=(OneOf(DOC, dead[start : start + BATCH]),)), DIED, version)
        self._index.flush()
        self._catalog.commit(
            version,
            at=at,
            note=note,
            gone=[row.id for row in plan.gone],
            renamed=plan.renamed,
            put=planning.numbered(put, first_content, first_chunk),
            counters={"next_content": first_content + len(put), "next_chunk": next_chunk},
        )
        self._seen, self._dirty = replace(self._seen, newest=version), False
        self._chunks += next_chunk - first_chunk
        return version

    def _points(self, stored: Stored, version: int) -> Iterator[Point]:
        entry = stored.entry
        payload: dict[str, int | list[str]] = {DOC: stored.content, BORN: version, ACL: sorted(set(entry.acl))}
        for number, (chunk, vector) in enumerate(zip(entry.chunks, planning.matrix(entry), strict=True)):
            terms = self._bm25.document(chunk.indexed_text)
            yield Point(stored.first_chunk + number, vector.tolist(), terms, payload)


def outside(version: int) -> tuple[Clause, ...]:
    """Excluded from a version. Said as exclusions because few points match: 5 ms a search less than inclusions."""
    return Between(BORN, at_least=version + 1), Between(DIED, below=version + 1)


def _allowed(scope: Scope) -> Clause:
    return OneOf(ACL, sorted({*scope.groups, PUBLIC}))


def _whole_ties(found: list[Scored], limit: int, search: Callable[[int], list[Scored]]) -> list[Scored]:
    """The first `limit` by score and id; which of equal scores an index returns first is chance."""
    asked = limit + _SLACK
    while True:
        settled = _settled(found, _BM25_DIGITS)
        cut = len(settled) == asked and settled[-1].score == settled[limit - 1].score
        if not cut or asked >= _LONGEST_TIE * limit:
            return settled[:limit]
        asked *= 4
        found = search(asked)


def _settled(scored: Sequence[Scored], digits: int) -> list[Scored]:
    rounded = [Scored(one.id, round(one.score, digits)) for one in scored]
    return sorted(rounded, key=lambda one: (-one.score, one.id))
