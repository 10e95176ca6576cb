"""A catalogue model and a change of its weights in; its files with the change in them out, made once and kept.

They stand in `models/derived/NAME-KEY/`, as fetch's do: a folder appears by one rename, its manifest.json written last.
Does not know what the change is.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from openbook import files as disk
from openbook.errors import ModelError
from openbook.models import convert, download, fetch, home, local
from openbook.models.catalogue import get
from openbook.records import ModelFiles
from openbook.seams import Progress


def derived(
    name: str,
    key: str,
    change: Callable[[Path, Path], object],
    *,
    says: str,
    offline: bool = False,
    progress: Progress | None = None,
) -> ModelFiles:
    """The files of a catalogue GGUF with other weights: `change(gguf, new_gguf)`, run and converted once per `key`.

    The untouched GGUF is fetched if need be, but not converted. A result damaged since is made again. `says` names the
    work for progress. Raises ModelError as fetch.ensure does, and what `change` raises.
    """
    place = _place(name, key)
    if (found := _whole(place)) is not None:
        return home.files(found, place)
    with home.locked(place, f"{name}: {says}", progress):
        if (found := _whole(place)) is not None:
            return home.files(found, place)
        staging = place.with_name(f".{place.name}.part")
        shutil.rmtree(staging, ignore_errors=True)

        def report(done: int) -> None:
            if progress is not None:
                progress(f"{name}: {says}", done, 2)

        gguf = staging / local.ORIGINAL
        with fetch.original(name, offline=offline, progress=progress) as original:
            report(0)
            # 4-bit weights may become 8-bit ones, and the converted form is as large as the GGUF.
            with download.writing(gguf, 4 * original.stat().st_size):
                change(original, gguf)
        report(1)
        with download.writing(staging / convert.GRAPH, gguf.stat().st_size), local.openvino_errors(name):
            facts = convert.gguf(gguf, name=name)
        converted = local.Converted(facts, staging, disk.sha256_of(gguf))
        gguf.unlink()
        record = local.record(converted, name=name, kind="generator", folder=staging)
        files = home.publish(local.with_facts(record, get(name)), staging, place)
        report(2)
        return files


def here(name: str, key: str) -> bool:
    """Whether `derived` has its result here, ready to load."""
    return _whole(_place(name, key)) is not None


def _place(name: str, key: str) -> Path:
    return disk.cache_dir() / "models" / "derived" / f"{get(name).name}-{key}"


def _whole(place: Path) -> home.Manifest | None:
    found = home.read(place)
    with contextlib.suppress(ModelError):
        if found is not None:
            home.check_sizes(found, place, mend="")
            return found
    return None
