"""A workspace in, one archive out, and back. Knows files, not what is in them.

The archive is a .tar.gz of openbook.toml, the embedded library, what was trained here, and what the server keeps: keys
(as hashes), conversations, reviews and uploaded files, but no sessions. Other models are not in it. It opens to this
user alone.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from openbook.errors import OpenbookError, UsageError
from openbook.settings import FILE_NAME, STATE_DIR
from openbook.workspace import Workspace

_KEPT = ("adapters", "embedders", "rerankers", "reports", "uploads")
"""Folders of what was trained, compared and handed over here; the library may need an embedder among them."""
_STORE = "server.db"
_LEFT_OUT = ("lock", "owner", "part")


def write(workspace: Workspace, file: Path) -> int:
    """Write a backup; returns its size in bytes. The library is held, so that nothing changes meanwhile.

    Of the vectors only those in use go in, not those kept for roll-back or being made by a migration.
    Raises UsageError for a library kept on servers, OpenbookError when the file exists or cannot be written,
    LibraryBusy while a migration is running.
    """
    from openbook.library.migration import at_rest

    settings = workspace.settings.library
    if settings.catalog_url or settings.qdrant_url:
        raise UsageError("this library is kept on servers; back up its database and its Qdrant collection there")
    if file.exists():
        raise OpenbookError(f"{str(file)!r} exists already; choose another name")
    workspace.house.library.version()
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    os.close(handle)
    try:
        with (
            at_rest(workspace.house.library_folder, settings=settings) as left_out,
            tarfile.open(name, "w:gz", compresslevel=3) as archive,
        ):
            archive.add(workspace.root / FILE_NAME, FILE_NAME)
            for path in sorted(workspace.house.library_folder.iterdir()):
                if path.name not in left_out:
                    archive.add(path, f"{STATE_DIR}/library/{path.name}", filter=_lasting)
            for part in _KEPT:
                if (workspace.state / part).is_dir():
                    archive.add(workspace.state / part, f"{STATE_DIR}/{part}", filter=_lasting)
            _add_store(archive, workspace.state / _STORE)
        Path(name).replace(file)
    except OSError as error:
        raise OpenbookError(f"cannot write {str(file)!r}: {error.strerror or error}") from None
    finally:
        Path(name).unlink(missing_ok=True)
    return file.stat().st_size


def read(file: Path, folder: Path) -> int:
    """Make a workspace from a backup; returns its number of documents. The folder must not exist or be empty."""
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        raise OpenbookError(f"{str(folder)!r} is not empty; restore into a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with tarfile.open(file) as archive:
            archive.extractall(room, filter="data")
        if not (room / FILE_NAME).is_file():
            raise OpenbookError(f"{str(file)!r} is no Openbook backup: it holds no {FILE_NAME}")
        for private, mode in ((_STORE, 0o600), ("uploads", 0o700)):
            if (room / STATE_DIR / private).exists():
                (room / STATE_DIR / private).chmod(mode)
        room.replace(folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise OpenbookError(f"cannot restore from {str(file)!r}: {error}") from None
    finally:
        shutil.rmtree(room, ignore_errors=True)
    with Workspace.open(folder) as workspace:
        return len(workspace.documents())


def _add_store(archive: tarfile.TarFile, file: Path) -> None:
    from openbook.serve.store import copy_store

    if file.is_file():
        with tempfile.TemporaryDirectory(dir=file.parent) as room:
            copy_store(file, Path(room) / _STORE)
            archive.add(Path(room) / _STORE, f"{STATE_DIR}/{_STORE}")


def _lasting(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(info.name).name.split(".")[-1] in _LEFT_OUT else info
