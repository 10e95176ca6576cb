"""Trained embedders and rerankers on disk: drafts in, numbered folders out. Does not know how they are trained.

    embedders/NAME/1, 2, 3 ...    whole versions: a folder arrives by one rename, its manifest.json, written last, in it
    embedders/.NAME.ID.part       a draft; a killed training leaves it, and the next one of any name removes it

Nothing here says which one serves: openbook.toml does (models.embedder, models.reranker).
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from openbook import files
from openbook.errors import TrainingError, UsageError

MANIFEST = "manifest.json"
FORMAT = 1
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9_-])?")
_NUMBER = re.compile(r"[1-9][0-9]*")


@contextmanager
def draft(root: Path, name: str) -> Iterator[Path]:
    """A new folder to train into; gone at the end unless published. One training per root at a time.

    Raises UsageError for a name that is no folder name everywhere, TrainingError when another training runs or the
    disk refuses.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a retriever; use up to 64 lower-case letters, digits, '-', '_' and '.', "
            "a letter or digit first"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(root / ".lock", thread_local=False)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise TrainingError(f"another training writes into {str(root)!r}; try again when it is done") from None
    except OSError as error:
        raise TrainingError(
            f"{str(root)!r} cannot be written ({error.strerror}); free the disk or its rights"
        ) from None
    folder = root / f".{name}.{uuid.uuid4().hex}.part"
    try:
        for left in root.glob(".*.part"):
            shutil.rmtree(left, ignore_errors=True)
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def publish(folder: Path, name: str, manifest: Mapping[str, Any]) -> Path:
    """Give a draft its number and its place, manifest last; returns where it is. Raises TrainingError."""
    home = folder.parent / name
    listed = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": files.sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    try:
        home.mkdir(exist_ok=True)
        taken = [int(one.name) for one in home.iterdir() if _NUMBER.fullmatch(one.name)]
        version = max(taken, default=0) + 1
        whole = {"format": FORMAT, "name": name, "version": version, **manifest, "files": listed}
        text = json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False)
        files.write_atomic(folder / MANIFEST, text + "\n")
        place = home / str(version)
        folder.rename(place)
        files.fsync_folder(home)
    except OSError as error:
        raise TrainingError(f"{str(home)!r} cannot be written: {error.strerror}") from None
    return place


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a published folder. Raises TrainingError when it has none."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{str(folder)!r} holds no trained retriever ({error})") from None
    return dict(found)
