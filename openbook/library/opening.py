"""Settings in, an open Library out: lock, catalog, index, and the checks that they belong together."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from openbook.errors import EmbedderMismatch, LibraryError
from openbook.library.catalog import Catalog, sqlite_url
from openbook.library.edge import EdgeIndex
from openbook.library.index import REPAIR, Index
from openbook.library.owner import Ownership
from openbook.library.stored import StoredLibrary
from openbook.library.terms import SCHEME
from openbook.seams import Library
from openbook.settings import LibrarySettings

_CATALOG = "catalog.db"
_SPARE = 64 * 1024 * 1024
"""Free bytes an open library needs: Edge maps its files into memory, and a full disk then ends the process (SIGBUS)."""


def open_library(
    folder: Path,
    *,
    settings: LibrarySettings,
    embedder_fingerprint: str,
    dimensions: int,
    create: bool = True,
) -> Library:
    """Open a library, making it when it is new and `create` allows; this process owns it until close().

    Raises LibraryBusy when another process owns it, EmbedderMismatch when it was made with another embedder,
    LibraryError when it is missing, damaged, made by a newer Openbook, or cannot be written.
    """
    if not create and not settings.catalog_url and not (folder / _CATALOG).exists():
        raise LibraryError(f"there is no library in {str(folder)!r} yet; make one with: openbook sync FOLDER")
    owner, room = Ownership(folder), _room_in(folder)
    catalog: Catalog | None = None
    try:
        catalog = Catalog(settings.catalog_url or sqlite_url(folder / _CATALOG), create=create)
        facts = catalog.facts()
        if not facts:
            facts = {
                "library": uuid.uuid4().hex,
                "embedder": embedder_fingerprint,
                "dimensions": str(dimensions),
                "terms": SCHEME,
                "next_chunk": "1",
                "next_content": "1",
            }
            index = _index(folder, settings, facts, create=True)
            catalog.found(facts, at=datetime.now(UTC).isoformat(timespec="seconds"))
        else:
            _fits(facts, embedder_fingerprint, dimensions)
            room(0)
            index = _index(folder, settings, facts, create=False)
        return StoredLibrary(catalog, index, dimensions=dimensions, room=room, release=owner.release)
    except BaseException:
        if catalog is not None:
            catalog.close()
        owner.release()
        raise


def inspect(folder: Path, *, settings: LibrarySettings) -> str | None:
    """One line about a library for a person, without owning it; None when there is none or nothing in it."""
    if not settings.catalog_url and not (folder / _CATALOG).exists():
        return None
    catalog = Catalog(settings.catalog_url or sqlite_url(folder / _CATALOG), create=False)
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


def _index(folder: Path, settings: LibrarySettings, facts: dict[str, str], *, create: bool) -> Index:
    dimensions = int(facts["dimensions"])
    if not settings.qdrant_url:
        if create:
            shutil.rmtree(folder / "index", ignore_errors=True)
        return EdgeIndex(folder / "index", dimensions=dimensions, create=create)
    from openbook.library.server import ServerIndex, connect

    client = connect(settings.qdrant_url, api_key_env=settings.qdrant_api_key_env)
    return ServerIndex(client, f"openbook-{facts['library']}", dimensions=dimensions, create=create)


def _fits(facts: dict[str, str], fingerprint: str, dimensions: int) -> None:
    made = facts["embedder"]
    if made != fingerprint or int(facts["dimensions"]) != dimensions:
        raise EmbedderMismatch(
            f"the library was made with the embedder {made!r} ({facts['dimensions']} dimensions), the settings name "
            f"{fingerprint!r} ({dimensions}); set models.embedder back, or make a new workspace with: openbook init"
        )
    if facts["terms"] != SCHEME:
        raise LibraryError(
            f"the library's full-text index has the scheme {facts['terms']!r}, this Openbook reads {SCHEME!r}; {REPAIR}"
        )


def _room_in(folder: Path) -> Callable[[int], None]:
    def room(size: int) -> None:
        free = shutil.disk_usage(folder).free
        if free < size + _SPARE:
            raise LibraryError(
                f"{free // 2**20} MB are free on the disk of {str(folder)!r} and the library needs "
                f"{(size + _SPARE) // 2**20 + 1}; free some space and run the command again"
            )

    return room
