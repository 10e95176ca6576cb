"""A library and another embedder in, a whole new generation of its index out: resumable, beside searches and commits.

Chunks of all kept versions are in the catalog; the new index is filled from there, so this needs to own nothing but
the new index itself. What is committed meanwhile is brought in later by the same code, for the last time while the
library holds its writers (StoredLibrary.switch). Until that one catalog transaction the old index is the library's,
after it the new one. Knows no model and asks no question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from openbook.errors import LibraryError
from openbook.library import generations, pieces
from openbook.library.generations import NEXT, PREVIOUS, Made, Store
from openbook.library.index import ACL, BATCH, BORN, DIED, DOC, Index, OneOf, Point, Where
from openbook.library.opening import catalog_in, index_size, room_in, standing
from openbook.library.owner import Ownership
from openbook.library.pieces import Piece
from openbook.library.stored import StoredLibrary, outside
from openbook.library.terms import Bm25
from openbook.seams import Embedder, Progress
from openbook.settings import LibrarySettings

WINDOW = 1000
"""Chunks embedded in one call, so that short ones meet short ones; what a crash loses at most."""


class Changeover:
    """The generation of a library's index that an embedder's vectors go to. One at a time; others get LibraryBusy."""

    def __init__(
        self,
        folder: Path,
        *,
        settings: LibrarySettings,
        embedder: Embedder,
        name: str,
        library: StoredLibrary | None = None,
    ) -> None:
        """Begin, go on with what was interrupted, or take up the generation kept for roll-back.

        `name` is how openbook.toml names the embedder. `library` is the open library; without it another process may
        own it meanwhile, and the generation kept for roll-back, which that process may have open, is left alone.
        Raises LibraryBusy when a migration is running, LibraryError when there is no library, no room on the disk, or
        the library uses this embedder already.
        """
        self._embedder, self._bm25 = embedder, Bm25()
        self._through, self._settled = 0, -1
        self._holder: StoredLibrary | None = None
        """The library that has the index open and closes it; None: this does."""
        self._switched = False
        with contextlib.ExitStack() as undo:
            lock = Ownership(folder, of="migration")
            undo.callback(lock.release)
            self._catalog = catalog_in(folder, settings, create=False)
            undo.callback(self._catalog.close)
            facts = self._catalog.facts()
            if not facts:
                raise LibraryError(f"the library in {str(folder)!r} is unfinished; run: openbook sync FOLDER")
            if generations.current(facts).embedder == embedder.fingerprint:
                raise LibraryError(f"the library uses {embedder.fingerprint!r} already; there is nothing to do")
            self._store = Store(folder, settings, facts["library"])
            room = None if settings.qdrant_url else room_in(folder)
            if room is not None:
                room(0)
            self.made, self.index = self._taken(facts, name, library)
            undo.callback(self._close_index)
            if room is not None:
                room(index_size(self.missing, embedder.dimensions))
            self._undo = undo.pop_all()

    @property
    def chunks(self) -> int:
        """Chunks of all kept versions."""
        return self._catalog.chunk_counts()[0]

    @property
    def missing(self) -> int:
        """About how many chunks have no vector yet."""
        return max(0, self.chunks - self.index.count())

    def fill(self, progress: Progress | None = None) -> int:
        """Embed every chunk that has no vector yet; returns how many. Stopped at any moment, what was done stays.

        Searches and commits go on meanwhile; what is committed after this looked is for the next call.
        """
        embedded = 0
        while found := pieces.after(self._catalog, self._through, WINDOW):
            missing = self._missing(found)
            if missing:
                self._write(missing, self._vectors(missing, progress, embedded))
                embedded += len(missing)
            self._through = found[-1].id
        return embedded

    def settle(self) -> None:
        """Mark what died and forget what was swept since this was last called."""
        newest = self._catalog.span()[1]
        for died, contents in pieces.deaths(self._catalog, after=self._settled).items():
            for start in range(0, len(contents), BATCH):
                self.index.assign(Where(must=(OneOf(DOC, contents[start : start + BATCH]),)), DIED, died)
        if self.index.count() != self.chunks:
            self.index.delete(Where(must_not=(OneOf(DOC, pieces.held(self._catalog)),)))
        self.index.flush()
        self._settled = newest

    def optimize(self) -> bool:
        """Build the search graph where it pays, so that the first search after the switch is as fast as any."""
        return self.index.optimize()

    def finish(self) -> None:
        """See stored.Coming."""
        self.fill()
        self.settle()
        found, stored = self.index.count(), self.chunks
        for version in self._catalog.versions():
            if found == stored:
                found, stored = self.index.count(Where(must_not=outside(version.version))), version.chunks
        if found != stored:
            self._forget()
            raise LibraryError(
                f"the new search index holds {found} chunks where the catalog has {stored}, so it was damaged and is "
                f"thrown away; the library is as it was; run again: openbook migrate --to {self.made.name}"
            )

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """See stored.Coming."""
        # An array, which is a sequence in all but its declared type.
        return cast("Sequence[Sequence[float]]", self._embedder.embed(texts, kind="document"))

    def attach(self, library: StoredLibrary) -> int:
        """Let the library search this generation beside its own; returns the version both can be compared at."""
        version = library.attach(self)
        self._holder = library
        return version

    def switch(self, library: StoredLibrary) -> None:
        """Make the library use this generation; the one of before is kept for roll-back, an earlier one deleted."""
        library.switch(self)
        self._holder, self._switched = library, True
        facts = self._catalog.facts()
        for made in library.others():
            if made.generation not in generations.named(facts):
                library.detach(made.embedder)
        self._store.sweep(self._catalog.facts)

    def close(self) -> None:
        """Let go of everything; an unfinished generation stays for the next time."""
        self._undo.close()

    def _taken(self, facts: dict[str, str], name: str, library: StoredLibrary | None) -> tuple[Made, Index]:
        fingerprint = self._embedder.fingerprint
        previous, coming = generations.other(facts, PREVIOUS), generations.other(facts, NEXT)
        if library is not None and previous is not None and previous.embedder == fingerprint:
            library.detach(fingerprint)
            with contextlib.suppress(LibraryError):
                return previous, self._store.open(previous, create=False)
        if coming is not None and coming.embedder == fingerprint and self._store.exists(coming.generation):
            # A damaged unfinished index costs its vectors only: it is made anew below.
            with contextlib.suppress(LibraryError):
                return coming, self._store.open(coming, create=False)
        made = Made(self._store.unused(facts), fingerprint, self._embedder.dimensions, name)
        self._catalog.note({NEXT: made.json()})
        self._store.sweep(self._catalog.facts)
        return made, self._store.open(made, create=True)

    def _missing(self, found: Sequence[Piece]) -> list[Piece]:
        missing: list[Piece] = []
        for start in range(0, len(found), BATCH):
            some = found[start : start + BATCH]
            there = self.index.vectors([piece.id for piece in some])
            missing += [piece for piece in some if piece.id not in there]
        return missing

    def _vectors(self, missing: Sequence[Piece], progress: Progress | None, before: int) -> Sequence[Sequence[float]]:
        rows = {piece.text: 0 for piece in missing}
        for row, text in enumerate(rows):
            rows[text] = row
        total = before + self.missing

        def report(_: str, done: int, __: int) -> None:
            if progress is not None:
                progress("embed", before + done, max(total, before + done))

        vectors = self._embedder.embed(list(rows), kind="document", progress=report)
        return cast("Sequence[Sequence[float]]", vectors[[rows[piece.text] for piece in missing]])

    def _write(self, missing: Sequence[Piece], vectors: Sequence[Sequence[float]]) -> None:
        points = [self._point(piece, vector) for piece, vector in zip(missing, vectors, strict=True)]
        for start in range(0, len(points), BATCH):
            self.index.upsert(points[start : start + BATCH])
        self.index.flush()

    def _point(self, piece: Piece, vector: Sequence[float]) -> Point:
        payload: dict[str, int | list[str]] = {DOC: piece.content, BORN: piece.born, ACL: sorted(set(piece.acl))}
        if piece.died is not None:
            payload[DIED] = piece.died
        return Point(piece.id, [float(x) for x in vector], self._bm25.document(piece.text), payload)

    def _forget(self) -> None:
        facts = self._catalog.facts()
        for which in (PREVIOUS, NEXT):
            made = generations.other(facts, which)
            if made is not None and made.generation == self.made.generation:
                self._catalog.note({which: None})

    def _close_index(self) -> None:
        if self._holder is None:
            self.index.close()
        elif not self._switched:
            self._holder.detach(self.made.embedder)


def sample(folder: Path, *, settings: LibrarySettings, count: int) -> list[str]:
    """The indexed texts of the first `count` chunks, without owning the library."""
    catalog = catalog_in(folder, settings, create=False)
    try:
        return [piece.text for piece in pieces.after(catalog, 0, count)]
    finally:
        catalog.close()


@contextlib.contextmanager
def at_rest(folder: Path, *, settings: LibrarySettings) -> Iterator[set[str]]:
    """Keep migrations from running; gives the names in the folder that hold vectors not in use.

    Raises LibraryBusy while one is running.
    """
    lock = Ownership(folder, of="migration")
    try:
        found = standing(folder, settings=settings)
        used = generations.folder_name(found.current.generation if found is not None else 1)
        yield {path.name for path in folder.glob("index*")} - {used}
    finally:
        lock.release()


def drop_previous(folder: Path, library: StoredLibrary, *, settings: LibrarySettings) -> int:
    """Delete the generation kept for roll-back; returns the bytes freed on this disk. The library must be owned.

    Raises LibraryError when none is kept, LibraryBusy while a migration is running.
    """
    lock = Ownership(folder, of="migration")
    try:
        catalog = catalog_in(folder, settings, create=False)
        try:
            facts = catalog.facts()
            previous = generations.other(facts, PREVIOUS)
            if previous is None:
                raise LibraryError("no earlier embedder's vectors are kept; there is nothing to drop")
            store = Store(folder, settings, facts["library"])
            size = store.size(previous.generation)
            catalog.note({PREVIOUS: None})
            library.detach(previous.embedder)
            store.drop(previous.generation)
            return size
        finally:
            catalog.close()
    finally:
        lock.release()
