"""A library, groups and a version in, the documents a training may see out. Knows nothing of questions.

Everything is read under one version, whatever is committed meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from openbook.records import PUBLIC, Chunk, Document, DocumentInfo
from openbook.seams import Library


class Shelf:
    """The documents open to all or to one of the groups, as they stand in one version (None: the newest)."""

    def __init__(
        self,
        library: Library,
        *,
        groups: Sequence[str] = (),
        version: int | None = None,
        apart: Collection[str] = (),
    ) -> None:
        """`apart` are documents to leave out of `infos`."""
        self._library = library
        self.version = library.version() if version is None else version
        labels = {PUBLIC, *groups}
        infos = library.documents(version=self.version) if self.version else []
        seen = [info for info in infos if labels & set(info.acl)]
        self.infos: list[DocumentInfo] = [info for info in seen if info.name not in apart]
        """Sorted by name."""
        self.closed = {info.name for info in infos} - {info.name for info in seen}
        """Names of the documents kept out."""

    def document(self, name: str) -> Document | None:
        """The document, or None when there is none that may be seen."""
        return None if name in self.closed else self._library.document(name, version=self.version)

    def chunks(self, name: str) -> list[Chunk]:
        """The document's chunks in reading order; none when it may not be seen."""
        if name in self.closed:
            return []
        return [chunk for _, chunk in self._library.chunks_of(name, version=self.version)]

    @property
    def moved(self) -> int | None:
        """The newest version when it is another one by now, else None."""
        newest = self._library.version()
        return None if newest == self.version else newest
