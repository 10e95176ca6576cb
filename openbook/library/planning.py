"""A change and the documents it touches in, checked and numbered work out; writes nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openbook.errors import LibraryError
from openbook.library.catalog import Row, Stored, storable
from openbook.records import Change, Entry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change ends and moves; what it puts is numbered()."""

    gone: Sequence[Row]
    """Rows that die: of removed, replaced and renamed documents."""
    renamed: Sequence[tuple[Row, str]]

    @property
    def dead_contents(self) -> list[int]:
        """Contents whose chunks die; a renamed document's live on."""
        moved = {row.content for row, _ in self.renamed}
        return [row.content for row in self.gone if row.content not in moved]


def names(change: Change) -> list[str]:
    """Every name a change mentions."""
    put = [entry.document.name for entry in change.put]
    return [*put, *(name for pair in change.rename for name in pair), *change.remove]


def plan(change: Change, present: Sequence[Row], *, dimensions: int) -> Plan:
    """Check a change against the present documents of its names.

    Raises LibraryError for names that are unknown, taken, given twice or no valid Unicode, and for ill-fitting chunks.
    """
    rows = {row.name: row for row in present}
    put = [entry.document.name for entry in change.put]
    old, new = [pair[0] for pair in change.rename], [pair[1] for pair in change.rename]
    if bad := next((name for name in [*put, *new] if not storable(name)), None):
        raise LibraryError(f"the name {bad!r} is not valid Unicode; rename the file")
    if twice := _twice([*put, *new]) or _twice([*old, *change.remove]):
        raise LibraryError(f"the change names {twice!r} twice")
    if missing := next((name for name in [*old, *change.remove] if name not in rows), None):
        raise LibraryError(f"there is no document {missing!r} to remove or rename")
    leaving = {*old, *change.remove}
    if taken := next((name for name in new if name in rows and name not in leaving), None):
        raise LibraryError(f"a document cannot be renamed to {taken!r}: that name is taken")
    for entry in change.put:
        _fits(entry, dimensions)
    gone = [rows[name] for name in dict.fromkeys([*change.remove, *old, *put]) if name in rows]
    return Plan(gone, [(rows[name], target) for name, target in change.rename])


def numbered(put: Sequence[Entry], content: int, chunk: int) -> Iterator[Stored]:
    """Entries with their numbers, counted on from the first free ones."""
    for entry in put:
        yield Stored(entry, content, chunk)
        content, chunk = content + 1, chunk + len(entry.chunks)


def matrix(entry: Entry) -> npt.NDArray[np.float32]:
    """An entry's vectors, one row a chunk."""
    import numpy as np

    return np.asarray(entry.vectors, dtype=np.float32)


def _fits(entry: Entry, dimensions: int) -> None:
    import numpy as np

    name, vectors, shape = entry.document.name, matrix(entry), (len(entry.chunks), dimensions)
    if vectors.shape != shape and (entry.chunks or vectors.size):
        raise LibraryError(f"the vectors of {name!r} have the shape {vectors.shape}, not {shape}")
    if not np.isfinite(vectors).all():
        raise LibraryError(f"the vectors of {name!r} hold a number that is not finite")
    if any(entry.document.text[chunk.start : chunk.end] != chunk.text for chunk in entry.chunks):
        raise LibraryError(f"a chunk of {name!r} is not the text at its offsets")


def _twice(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
