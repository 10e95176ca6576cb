"""One process owns a library folder: a lock that dies with its process, and a note saying who holds it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

from openbook.errors import LibraryBusy, LibraryError


class Ownership:
    """Held from construction to release(); raises LibraryBusy when another process (or this one) holds the folder."""

    def __init__(self, folder: Path) -> None:
        self._note = folder / "owner"
        self._lock = FileLock(folder / "lock", thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LibraryBusy(
                f"the library {str(folder)!r} is in use by {_holder(self._note)}; "
                "stop that process or wait for it to finish, then try again"
            ) from None
        except OSError as error:
            raise LibraryError(
                f"the library {str(folder)!r} cannot be opened for writing: {error.strerror or error}; "
                "check the folder's permissions and free space"
            ) from None
        with contextlib.suppress(OSError):
            self._note.write_text(str(os.getpid()), encoding="ascii")

    def release(self) -> None:
        """Let another process have the folder."""
        with contextlib.suppress(OSError):
            self._note.unlink()
        self._lock.release()


def _holder(note: Path) -> str:
    try:
        pid = int(note.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return "another process"
    return "this very process" if pid == os.getpid() else f"process {pid}"
