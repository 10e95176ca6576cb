"""The bundled sample: Clef's employee handbook, 39 Markdown files, CC0 1.0 (its LICENSE beside it).

Gives a folder to read or a copy to edit; knows nothing of libraries or models.
"""

from __future__ import annotations

import importlib.resources
from contextlib import AbstractContextManager
from importlib.resources.abc import Traversable
from pathlib import Path

from openbook.errors import OpenbookError
from openbook.files import write_atomic


def handbook() -> AbstractContextManager[Path]:
    """The handbook's folder, to read only; it may be temporary when Openbook runs from a zip file.

    >>> with handbook() as folder:
    ...     len(list(folder.rglob("*.md")))
    39
    """
    return importlib.resources.as_file(_root())


def copy_handbook(destination: Path) -> Path:
    """Copy the handbook to a new folder `destination`, writable, licence included; returns it.

    Raises OpenbookError when `destination` exists already.
    """
    if destination.exists():
        raise OpenbookError(f"{str(destination)!r} exists already; name a new folder for the handbook")
    _copy(_root(), destination)
    return destination


def _root() -> Traversable:
    return importlib.resources.files(__package__) / "handbook"


def _copy(source: Traversable, destination: Path) -> None:
    for entry in source.iterdir():
        target = destination / entry.name
        if entry.is_dir():
            _copy(entry, target)
        else:
            write_atomic(target, entry.read_bytes())
