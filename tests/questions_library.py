"""Libraries for the tests of questions: a real one in a folder, one in memory that is quick to make."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from openbook.errors import LibraryError
from openbook.library import open_library
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
    VersionInfo,
)
from openbook.seams import Library
from openbook.settings import LibrarySettings


def document(name: str, text: str, title: str = "") -> Document:
    return Document(name, text, name.rsplit(".", 1)[-1], str(hash(text)), len(text), title=title)


def chunks_of(document: Document, size: int = 700) -> list[Chunk]:
    """The text cut at paragraph ends near `size` characters."""
    found, start, text = [], 0, document.text
    while start < len(text):
        end = text.find("\n\n", start + size)
        end = len(text) if end < 0 else end
        if text[start:end].strip():
            found.append(Chunk(document.name, start, end, text[start:end], title=document.title))
        start = end
    return found


class MemoryLibrary:
    """A seams.Library of whole texts that keeps every version; finds nothing by similarity."""

    def __init__(self, texts: Mapping[str, str], *, acl: Mapping[str, Sequence[str]] | None = None) -> None:
        self._acl = acl or {}
        self._versions = [{name: document(name, text) for name, text in texts.items()}]

    def put(self, name: str, text: str) -> int:
        self._versions.append({**self._versions[-1], name: document(name, text)})
        return len(self._versions)

    def version(self) -> int:
        return len(self._versions)

    def _at(self, version: int | None) -> dict[str, Document]:
        return self._versions[(version or self.version()) - 1]

    def documents(self, *, version: int | None = None) -> list[DocumentInfo]:
        return [
            DocumentInfo(
                one.name, one.hash, one.bytes, None, len(chunks_of(one)), tuple(self._acl.get(one.name, (PUBLIC,))),
                "", "", one.format, one.title, "", "", "", (),
            )
            for _, one in sorted(self._at(version).items())
        ]  # fmt: skip

    def document(self, name: str, *, version: int | None = None) -> Document | None:
        return self._at(version).get(name)

    def chunks_of(self, name: str, *, version: int | None = None) -> list[tuple[int, Chunk]]:
        found = self._at(version).get(name)
        return list(enumerate(chunks_of(found))) if found else []

    def candidates(
        self, vector: Sequence[float], text: str, *, scope: Scope, limit: int, embedder: str = ""
    ) -> Candidates:
        return Candidates((), (), self.version())

    def chunks(self, ids: Sequence[int]) -> Mapping[int, Chunk]:
        return {}

    def matches(self, condition: Condition, name: str) -> bool:
        return False

    def commit(self, change: Change, *, note: str = "") -> int:
        raise LibraryError("read only")

    def versions(self) -> list[VersionInfo]:
        return []

    def roll_back(self, version: int) -> int:
        raise LibraryError("read only")

    def sweep(self, *, keep: int) -> int:
        return 0

    def optimize(self) -> bool:
        return False

    def close(self) -> None:
        return None


def real_library(
    folder: Path, texts: Mapping[str, str], *, acl: Mapping[str, tuple[str, ...]] | None = None
) -> Library:
    """The embedded library with documents in it; vectors tell nothing."""
    library = open_library(folder, settings=LibrarySettings(), embedder_fingerprint="test/1", dimensions=4)
    library.commit(
        Change(put=[entry(name, text, acl=(acl or {}).get(name, (PUBLIC,))) for name, text in texts.items()])
    )
    return library


def entry(name: str, text: str, *, acl: tuple[str, ...] = (PUBLIC,)) -> Entry:
    one = document(name, text)
    chunks = [dataclasses.replace(chunk) for chunk in chunks_of(one)]
    vectors = np.zeros((len(chunks), 4), np.float32)
    vectors[:, 0] = 1
    return Entry(one, chunks, vectors, acl)
