"""Writing files so that a crash leaves the old or the new one; hashing; cache folders. Knows no format."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from pathlib import Path

import platformdirs


def write_atomic(path: Path, data: str | bytes, *, mode: int = 0o666) -> None:
    """Write a whole file: temporary name beside it, fsync, rename. It has its `mode` from the first byte on."""
    payload = data.encode("utf-8") if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make a rename in the folder durable; does nothing where folders cannot be opened (Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256_of(path: Path) -> str:
    """sha256 hex of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_dir() -> Path:
    """The user's model cache, shared by workspaces; OPENBOOK_CACHE overrides it. Not created here."""
    override = os.environ.get("OPENBOOK_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("openbook", appauthor=False))
