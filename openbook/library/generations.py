"""The generations of a library's index: what each was made with, and where it lies.

A library that changes to another embedder gets a new generation beside the current one. The catalog's facts say which
is current, which one before it is kept for roll-back, and which is being filled; any other is left over.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from openbook.library.edge import EdgeIndex
from openbook.library.index import Index
from openbook.settings import LibrarySettings

PREVIOUS, NEXT = "previous", "next"
"""Facts that hold a Made as JSON."""
_FIRST = "index"


@dataclass(frozen=True, slots=True)
class Made:
    """What a generation of the index was made with."""

    generation: int
    embedder: str
    """The embedder's fingerprint."""
    dimensions: int
    name: str = ""
    """The embedder as openbook.toml names it; "" when no one wrote it down."""

    def json(self) -> str:
        """As the facts keep it."""
        return json.dumps(asdict(self))


def current(facts: Mapping[str, str]) -> Made:
    """The generation searches use."""
    return Made(
        int(facts.get("generation", 1)), facts["embedder"], int(facts["dimensions"]), facts.get("embedder_name", "")
    )


def other(facts: Mapping[str, str], which: str) -> Made | None:
    """The generation kept for roll-back (PREVIOUS) or being filled (NEXT)."""
    return Made(**json.loads(facts[which])) if which in facts else None


def as_facts(made: Made) -> dict[str, str | None]:
    """The facts that make a generation the current one."""
    return {
        "generation": str(made.generation),
        "embedder": made.embedder,
        "dimensions": str(made.dimensions),
        "embedder_name": made.name,
    }


def named(facts: Mapping[str, str]) -> set[int]:
    """The generations the facts know."""
    known = [current(facts), other(facts, PREVIOUS), other(facts, NEXT)]
    return {made.generation for made in known if made is not None}


class Store:
    """Where the generations are: folders beside the catalog, or collections of a Qdrant server."""

    def __init__(self, folder: Path, settings: LibrarySettings, library: str) -> None:
        self._folder, self._settings, self._library = folder, settings, library

    def open(self, made: Made, *, create: bool) -> Index:
        """The index of a generation; `create` makes an empty one in place of whatever is there."""
        if not self._settings.qdrant_url:
            if create:
                self.drop(made.generation)
            return EdgeIndex(self._path(made.generation), dimensions=made.dimensions, create=create)
        from openbook.library.server import ServerIndex, connect

        client = connect(self._settings.qdrant_url, api_key_env=self._settings.qdrant_api_key_env)
        return ServerIndex(client, self._collection(made.generation), dimensions=made.dimensions, create=create)

    def exists(self, generation: int) -> bool:
        """Whether a generation is there, so far that it can be opened."""
        whole = bool(self._settings.qdrant_url) or (self._path(generation) / "current").exists()
        return whole and generation in self._present()

    def unused(self, facts: Mapping[str, str]) -> int:
        """The number of a new generation: none that anything is left of, which another process may be sweeping."""
        return max(named(facts) | self._present()) + 1

    def drop(self, generation: int) -> None:
        """Delete a generation that no one has open."""
        if not self._settings.qdrant_url:
            shutil.rmtree(self._path(generation), ignore_errors=True)
            return
        from openbook.library.server import drop

        drop(self._settings.qdrant_url, self._collection(generation), api_key_env=self._settings.qdrant_api_key_env)

    def sweep(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """Delete what the facts do not know.

        They are read after looking, and name a generation before it is made: a migration that begins meanwhile in
        another process is safe.
        """
        present = self._present()
        if len(present) > 1:
            for generation in present - named(facts()):
                self.drop(generation)

    def size(self, generation: int) -> int:
        """Bytes of a generation on this disk; 0 on a server."""
        if self._settings.qdrant_url:
            return 0
        return sum(file.stat().st_size for file in self._path(generation).rglob("*") if file.is_file())

    def _present(self) -> set[int]:
        if not self._settings.qdrant_url:
            names: Collection[str] = [path.name for path in self._folder.glob(f"{_FIRST}*")]
            begin = _FIRST
        else:
            from openbook.library.server import collections

            names = collections(self._settings.qdrant_url, api_key_env=self._settings.qdrant_api_key_env)
            begin = self._collection(1)
        rest = {name.removeprefix(begin) for name in names if name.startswith(begin)}
        return {1 if not one else int(one[1:]) for one in rest if not one or (one[0] == "-" and one[1:].isdecimal())}

    def _path(self, generation: int) -> Path:
        return self._folder / folder_name(generation)

    def _collection(self, generation: int) -> str:
        return f"openbook-{self._library}" + (f"-{generation}" if generation > 1 else "")


def folder_name(generation: int) -> str:
    """The folder of an embedded generation, beside the catalog."""
    return _FIRST if generation == 1 else f"{_FIRST}-{generation}"
