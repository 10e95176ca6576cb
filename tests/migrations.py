"""Libraries under two fake embedders, for tests of changing from one to the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from openbook.library import open_library
from openbook.library.migration import Changeover
from openbook.library.stored import StoredLibrary
from openbook.records import Candidates, Change, Entry, Scope
from openbook.retrieve.embed import FakeEmbedder
from tests.contracts import library_data

OLD, NEW = FakeEmbedder(dimensions=16), FakeEmbedder(dimensions=24)
NAMES = {OLD.fingerprint: "old", NEW.fingerprint: "new"}


def opened(folder: Path, backend: str = "edge", *, embedder: FakeEmbedder = OLD) -> StoredLibrary:
    return open_library(
        folder,
        settings=library_data.settings(backend, folder),
        embedder_fingerprint=embedder.fingerprint,
        dimensions=embedder.dimensions,
        embedder_name=NAMES[embedder.fingerprint],
    )


def entry(name: str, *pieces: str, embedder: FakeEmbedder = OLD, acl: tuple[str, ...] = ("*",)) -> Entry:
    made = library_data.entry(name, *pieces, acl=acl)
    vectors = embedder.embed([chunk.indexed_text for chunk in made.chunks], kind="document")
    return dataclasses.replace(made, vectors=vectors)  # type: ignore[arg-type]


def put(library: StoredLibrary, name: str, *pieces: str, embedder: FakeEmbedder = OLD, **options: object) -> int:
    made = entry(name, *pieces, embedder=embedder, **options)  # type: ignore[arg-type]
    return library.commit(Change(put=[made], embedder=embedder.fingerprint))


def changeover(
    folder: Path, backend: str = "edge", *, to: FakeEmbedder = NEW, library: StoredLibrary | None = None
) -> Changeover:
    return Changeover(
        folder,
        settings=library_data.settings(backend, folder),
        embedder=to,
        name=NAMES[to.fingerprint],
        library=library,
    )


def migrated(folder: Path, library: StoredLibrary, backend: str = "edge", *, to: FakeEmbedder = NEW) -> int:
    """Change an open library over; returns how many chunks were embedded."""
    coming = changeover(folder, backend, to=to, library=library)
    try:
        embedded = coming.fill()
        coming.switch(library)
    finally:
        coming.close()
    return embedded


def ask(
    library: StoredLibrary, text: str, embedder: FakeEmbedder, scope: Scope | None = None, limit: int = 50
) -> Candidates:
    vector: Sequence[float] = embedder.embed([text], kind="query")[0]
    return library.candidates(vector, text, scope=scope or Scope(), limit=limit, embedder=embedder.fingerprint)


def texts(library: StoredLibrary, embedder: FakeEmbedder, scope: Scope | None = None) -> set[str]:
    """What a search for anything finds."""
    candidates = ask(library, "piece", embedder, scope, limit=500)
    return {chunk.text for chunk in library.chunks([one.id for one in candidates.dense]).values()}
