"""A house in, a house over a copy of its library out: what is done there leaves the first one as it was.

The copy lies in a temporary folder, and is gone at the end however that comes about. It answers with the first one's
models and adapters, so nothing is loaded twice.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.assemble import House
from openbook.errors import CompareError, UsageError
from openbook.seams import Generator
from openbook.settings import STATE_DIR

if TYPE_CHECKING:
    from openbook.finetune.registry import Registry

_TIDY = ("lock", "owner", "part")
"""Ends of names in a library's folder that belong to a process, not to the library."""


class Copy(House):
    """A house over a copy of another's library, with that one's models and adapters."""

    def __init__(self, house: House, root: Path) -> None:
        super().__init__(root, house.settings, notice=house.notice)
        self._lender = house
        self._registry = house.adapters
        self._own: set[str] = set()
        self.__dict__ |= {name: getattr(house, name) for name in ("embedder", "reranker", "reader")}
        self._embedder_name = house._embedder_name

    @property
    def adapters(self) -> Registry:
        """The lender's adapters, read only; after `adopt` those trained here."""
        return self._registry

    def adopt(self, registry: Registry) -> None:
        """From here on, answer with adapters trained in the copy."""
        self._registry = registry
        self._own = {one.ref for one in registry.list()}

    def _start(self, key: str, load: Callable[[], Generator]) -> Future[Generator]:
        return super()._start(key, load) if key in self._own else self._lender._start(key, load)

    def _files(self, name: str, kind: Any) -> Any:
        return self._lender._files(name, kind)


@contextmanager
def copied(house: House) -> Iterator[Copy]:
    """The house over a copy of its library in a temporary folder, which is gone afterwards."""
    from openbook.library.migration import at_rest
    from openbook.library.owner import Ownership

    settings = house.settings.library
    if settings.catalog_url or settings.qdrant_url:
        raise CompareError(
            "this library is kept on servers and cannot be copied to be edited; measure how fresh answers are in a "
            "workspace whose library is its own"
        )
    source = house.library_folder
    if not (source / "catalog.db").exists():
        raise CompareError(f"there is no library in {str(house.root)!r} yet; make one with: openbook sync FOLDER")
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openbook-fresh-"))).resolve()
        with ExitStack() as held:
            if house.open_library is None:
                held.callback(Ownership(source, brief=True).release)
            left_out = held.enter_context(at_rest(source, settings=settings))
            _copy_folder(source, root / STATE_DIR / "library", left_out)
        copy = Copy(house, root)
        # Before the folder goes: it is the copy's process that has its files open.
        stack.callback(copy.close)
        yield copy


def copy_library(house: House, target: Path) -> int:
    """Copy the library that this house has open, as it is between two commits; returns its version.

    `target` must not exist; its parents do. Raises UsageError for a library kept on servers, CompareError when there
    is no room for a copy, LibraryBusy while a migration is running.
    """
    from openbook.library.migration import at_rest

    settings, library = house.settings.library, house.library
    if settings.catalog_url or settings.qdrant_url:
        raise UsageError("this library is kept on servers and has no folder that could be copied")
    with library.still(), at_rest(house.library_folder, settings=settings) as left_out:
        _copy_folder(house.library_folder, target, left_out)
        return library.version()


def _copy_folder(source: Path, target: Path, left_out: set[str]) -> None:
    def ignored(folder: str, names: list[str]) -> set[str]:
        top = left_out if Path(folder) == source else set()
        used = _used(Path(folder))
        return {
            name
            for name in names
            if name in top or name.split(".")[-1] in _TIDY or (used and name.startswith("shard-") and name != used)
        }

    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    free = shutil.disk_usage(target.parents[1]).free
    if free < size:
        raise CompareError(
            f"the library has {size // 2**20} MB and the temporary folder {free // 2**20} MB free, too little for a "
            "copy; set TMPDIR to a folder with more room"
        )
    shutil.copytree(source, target, ignore=ignored)


def _used(folder: Path) -> str:
    """Which shard of an index counts: others are being built or deleted; "" for a folder that is no index."""
    with contextlib.suppress(OSError):
        return (folder / "current").read_text(encoding="ascii")
    return ""
