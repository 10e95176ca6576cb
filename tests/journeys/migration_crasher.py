"""A process that changes a library and its embedder without pause until it is killed."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

from openbook.library import migration, standing
from openbook.library.migration import drop_previous
from openbook.library.stored import StoredLibrary
from openbook.records import Scope
from openbook.settings import LibrarySettings
from tests.journeys import library_crasher
from tests.migrations import NEW, OLD, ask, changeover, opened

BOTH = {OLD.fingerprint: OLD, NEW.fingerprint: NEW}


def run(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    migration.WINDOW = 7
    library = reopened(folder / "library")
    while True:
        commit(library, folder, rng)
        with contextlib.closing(
            changeover(folder / "library", to=_other(library), library=library if rng.random() < 0.5 else None)
        ) as coming:
            coming.fill()
            if rng.random() < 0.5:
                commit(library, folder, rng)
            if rng.random() < 0.3:
                coming.attach(library)
            if rng.random() < 0.8:
                coming.switch(library)
        kept = standing(folder / "library", settings=LibrarySettings())
        if rng.random() < 0.2 and kept is not None and kept.previous is not None:
            drop_previous(folder / "library", library, settings=LibrarySettings())


def _other(library: StoredLibrary) -> object:
    return OLD if library.made.embedder == NEW.fingerprint else NEW


def reopened(folder: Path) -> StoredLibrary:
    """The library with whichever embedder it uses."""
    found = standing(folder, settings=LibrarySettings())
    return opened(folder, embedder=BOTH[found.current.embedder] if found is not None else OLD)


def commit(library: StoredLibrary, folder: Path, rng: random.Random) -> None:
    """A random change with vectors of the embedder in use; swept down to a few versions now and then."""
    embedder = BOTH[library.made.embedder]
    library._embed = lambda texts: embedder.embed(texts, kind="document")  # type: ignore[assignment,return-value]
    library_crasher.step(_Converted(library), folder, rng)  # type: ignore[arg-type]


class _Converted:
    """A library that takes entries with the vectors of library_data and embeds them as it needs them."""

    def __init__(self, library: StoredLibrary) -> None:
        self._library = library

    def __getattr__(self, name: str) -> object:
        return getattr(self._library, name)

    def commit(self, change: object, *, note: str = "") -> int:
        from dataclasses import replace

        return self._library.commit(replace(change, embedder="of the test's data"), note=note)  # type: ignore[type-var]


def check(library: StoredLibrary, folder: Path) -> None:
    """Every version that can be read is whole: the texts, and what each retriever finds by the present embedder."""
    embedder = BOTH[library.made.embedder]
    for info in library.versions():
        state = library_crasher.read(folder, info.version)
        ids: list[int] = []
        for one in library.documents(version=info.version):
            chunks = library.chunks_of(one.name, version=info.version)
            assert [chunk.text for _, chunk in chunks] == state[one.name], (info.version, one.name)
            ids += [id_ for id_, _ in chunks]
        found = ask(library, "piece of version", embedder, Scope(version=info.version), limit=len(ids) + 100)
        assert sorted(one.id for one in found.dense) == sorted(ids), info.version
        assert sorted(one.id for one in found.lexical) == sorted(ids), info.version
        for one in found.dense[:3]:
            text = library.chunks([one.id])[one.id].indexed_text
            exact = embedder.embed([text], kind="document")[0] @ embedder.embed(["piece of version"], kind="query")[0]
            assert abs(one.score - float(exact)) < 1e-4, "a vector of the other embedder"
