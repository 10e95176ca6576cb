"""Settings in, an open Library out: lock, catalog, index, and the checks that they belong together."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from openbook.errors import EmbedderMismatch, LibraryError
from openbook.library.catalog import Catalog, sqlite_url
from openbook.library.generations import NEXT, PREVIOUS, Made, Store, as_facts, current, other
from openbook.library.index import REPAIR
from openbook.library.owner import Ownership
from openbook.library.stored import StoredLibrary
from openbook.library.terms import SCHEME
from openbook.settings import LibrarySettings

_CATALOG = "catalog.db"
_POINT = 2000
"""Bytes of a point beside its vector: terms, payload, the engine's own."""
_SPARE = 64 * 1024 * 1024
"""Free bytes an open library needs: Edge maps its files into memory, and a full disk then ends the process (SIGBUS)."""


def open_library(
    folder: Path,
    *,
    settings: LibrarySettings,
    embedder_fingerprint: str,
    dimensions: int,
    embedder_name: str = "",
    create: bool = True,
    brief: bool = False,
) -> StoredLibrary:
    """Open a library, making it when it is new and `create` allows; this process owns it until close().

    `embedder_name` is remembered, so that the library can say which embedder it needs. Other processes wait for a
    `brief` owner instead of being turned away.

    Raises LibraryBusy when another process owns it, EmbedderMismatch when it was made with another embedder,
    LibraryError when it is missing, damaged, made by a newer Openbook, or cannot be written.
    """
    if not create and not settings.catalog_url and not (folder / _CATALOG).exists():
        raise LibraryError(f"there is no library in {str(folder)!r} yet; make one with: openbook sync FOLDER")
    owner, room = Ownership(folder, brief=brief), room_in(folder)
    catalog: Catalog | None = None
    try:
        catalog = catalog_in(folder, settings, create=create)
        facts = catalog.facts()
        if not facts:
            made = Made(1, embedder_fingerprint, dimensions, embedder_name)
            facts = {"library": uuid.uuid4().hex, "terms": SCHEME, "next_chunk": "1", "next_content": "1"}
            facts |= {name: value for name, value in as_facts(made).items() if value is not None}
            index = Store(folder, settings, facts["library"]).open(made, create=True)
            catalog.found(facts, at=datetime.now(UTC).isoformat(timespec="seconds"))
        else:
            _fits(facts, embedder_fingerprint, dimensions)
            room(0)
            store, made = Store(folder, settings, facts["library"]), current(facts)
            if embedder_name and not made.name:
                made = replace(made, name=embedder_name)
                catalog.note(as_facts(made))
            if not settings.qdrant_url:  # on a server only a migration leaves anything, and looks for it itself
                store.sweep(catalog.facts)
            index = store.open(made, create=False)
        return StoredLibrary(catalog, index, dimensions=dimensions, room=room, release=owner.release)
    except BaseException:
        if catalog is not None:
            catalog.close()
        owner.release()
        raise


def catalog_in(folder: Path, settings: LibrarySettings, *, create: bool) -> Catalog:
    """The catalog of a library; several processes may read it. Raises LibraryError."""
    if not create and not settings.catalog_url and not (folder / _CATALOG).exists():
        raise LibraryError(f"there is no library in {str(folder)!r} yet; make one with: openbook sync FOLDER")
    return Catalog(settings.catalog_url or sqlite_url(folder / _CATALOG), create=create)


@dataclass(frozen=True, slots=True)
class Standing:
    """Which embedders a library has vectors of."""

    current: Made
    previous: Made | None
    """Kept for roll-back."""
    coming: Made | None
    """Being filled, or left unfinished."""
    version: int
    chunks: int
    """Of all kept versions."""


def index_size(chunks: int, dimensions: int) -> int:
    """Bytes that so many chunks take in an index while it is built."""
    return 2 * chunks * (4 * dimensions + _POINT)


def standing(folder: Path, *, settings: LibrarySettings) -> Standing | None:
    """How a library stands, without owning it; None when there is none."""
    if not settings.catalog_url and not (folder / _CATALOG).exists():
        return None
    catalog = catalog_in(folder, settings, create=True)
    try:
        facts = catalog.facts()
        if not facts:
            return None
        newest, chunks = catalog.span()[1], catalog.chunk_counts()[0]
        previous = other(facts, PREVIOUS)
        if previous is not None and not Store(folder, settings, facts["library"]).exists(previous.generation):
            previous = None  # a backup leaves it out
        return Standing(current(facts), previous, other(facts, NEXT), newest, chunks)
    finally:
        catalog.close()


def inspect(folder: Path, *, settings: LibrarySettings) -> str | None:
    """One line about a library for a person, without owning it; None when there is none or nothing in it."""
    if not settings.catalog_url and not (folder / _CATALOG).exists():
        return None
    catalog = catalog_in(folder, settings, create=False)
    try:
        newest = catalog.versions()[-1]
        if newest.version == 0:
            return None
        embedder = catalog.facts()["embedder"]
    finally:
        catalog.close()
    return (
        f"{newest.documents} documents in {newest.chunks} chunks, version {newest.version} "
        f"of {newest.committed_at}, embedder {embedder}"
    )


def _fits(facts: dict[str, str], fingerprint: str, dimensions: int) -> None:
    made = facts["embedder"]
    if made != fingerprint or int(facts["dimensions"]) != dimensions:
        raise EmbedderMismatch(
            f"the library was made with the embedder {made!r} ({facts['dimensions']} dimensions), the settings name "
            f"{fingerprint!r} ({dimensions}); set models.embedder back, or change over with: openbook migrate"
        )
    if facts["terms"] != SCHEME:
        raise LibraryError(
            f"the library's full-text index has the scheme {facts['terms']!r}, this Openbook reads {SCHEME!r}; {REPAIR}"
        )


def room_in(folder: Path) -> Callable[[int], None]:
    """A check that raises LibraryError when the disk of the folder cannot take so many bytes."""

    def room(size: int) -> None:
        free = shutil.disk_usage(folder).free
        if free < size + _SPARE:
            raise LibraryError(
                f"{free // 2**20} MB are free on the disk of {str(folder)!r} and the library needs "
                f"{(size + _SPARE) // 2**20 + 1}; free some space and run the command again"
            )

    return room
