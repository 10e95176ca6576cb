"""The change that makes a library what it was: from two lists of documents, with vectors taken from the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openbook.library.catalog import Catalog, Row
from openbook.library.index import BATCH, Index
from openbook.records import Change, Entry


def change(catalog: Catalog, index: Index, then: Sequence[Row], now: Sequence[Row]) -> Change:
    """What turns `now` into `then`: only differing documents are written again, moved ones are renamed."""
    present = {row.name: row for row in now}
    owners = {row.content: row.name for row in now}
    changed = [row for row in then if row.name not in present or present[row.name].content != row.content]
    rename = [(owners[row.content], row.name) for row in changed if row.content in owners]
    leaving, arriving = {old for old, _ in rename}, {new for _, new in rename}
    wanted = {row.name for row in then}
    remove = [name for name in present if name not in leaving and (name not in wanted or name in arriving)]
    put = Revived(catalog, index, [row for row in changed if row.content not in owners])
    return Change(put=put, rename=rename, remove=remove)


class Revived(Sequence[Entry]):
    """Documents of an earlier version as entries, each read when it is asked for: memory holds one at a time."""

    def __init__(self, catalog: Catalog, index: Index, rows: Sequence[Row]) -> None:
        self._catalog, self._index, self._rows = catalog, index, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: Any) -> Any:
        row = self._rows[number]
        chunks = self._catalog.chunks_of(row)
        ids = [id_ for id_, _ in chunks]
        vectors: dict[int, list[float]] = {}
        for start in range(0, len(ids), BATCH):
            vectors |= self._index.vectors(ids[start : start + BATCH])
        return Entry(
            document=self._catalog.document(row),
            chunks=[chunk for _, chunk in chunks],
            vectors=[vectors[id_] for id_ in ids],
            acl=tuple(row.info["acl"]),
            source=row.info["source"],
        )
