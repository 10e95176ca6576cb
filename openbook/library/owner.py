"""One process owns a library folder, and one fills the next index: locks that die with their process, and notes of who
holds them."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from openbook.errors import LibraryBusy, LibraryError

_PATIENCE = 20.0
"""Seconds to wait for an owner that wrote down that it will be brief."""
_GRACE = 2.0
"""Seconds to wait for an owner that has not written yet how long it will be, or that is just leaving."""
_PAUSE = 0.05
_BRIEF = "for a moment"
_FILES = {"library": ("lock", "owner"), "migration": ("migration.lock", "migration.owner")}


class Ownership:
    """Held from construction to release(); raises LibraryBusy when another process (or this one) holds the folder."""

    def __init__(self, folder: Path, *, of: Literal["library", "migration"] = "library", brief: bool = False) -> None:
        """Own the library, or (`of` "migration") the next generation of its index. Others wait for a `brief` owner."""
        lock, note = _FILES[of]
        self._note = folder / note
        self._lock = FileLock(folder / lock, thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._acquire()
        except Timeout:
            used = "is in use by" if of == "library" else "is being migrated already by"
            raise LibraryBusy(
                f"the library {str(folder)!r} {used} {_holder(self._note)}; "
                "stop that process or wait for it to finish, then try again"
            ) from None
        except OSError as error:
            raise LibraryError(
                f"the library {str(folder)!r} cannot be opened for writing: {error.strerror or error}; "
                "check the folder's permissions and free space"
            ) from None
        with contextlib.suppress(OSError):
            self._note.write_text(f"{os.getpid()} {_BRIEF}" if brief else str(os.getpid()), encoding="ascii")

    def release(self) -> None:
        """Let another process have the folder."""
        with contextlib.suppress(OSError):
            self._note.unlink()
        self._lock.release()

    def _acquire(self) -> None:
        started = time.monotonic()
        while True:
            try:
                self._lock.acquire(timeout=0)
                return
            except Timeout:
                said = _read(self._note)
                patience = _PATIENCE if said.endswith(_BRIEF) else 0.0 if said else _GRACE
                if time.monotonic() - started >= patience:
                    raise
            time.sleep(_PAUSE)


def _read(note: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return note.read_text(encoding="ascii")
    return ""


def _holder(note: Path) -> str:
    pid = _read(note).partition(" ")[0]
    if not pid.isdecimal():
        return "another process"
    return "this very process" if int(pid) == os.getpid() else f"process {pid}"
