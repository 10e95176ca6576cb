"""An embedder's or reranker's name or path in, the folder of the float weights it came in out, for training it further.

What serves is converted and half as precise, and the download is not kept; here it is fetched again, verified against
the same hash, and kept in `openbook.files.cache_dir()/originals/NAME/`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from openbook import files as disk
from openbook.errors import ModelError
from openbook.models import fetch, home
from openbook.models.catalogue import get, looks_like_path
from openbook.seams import Progress

WEIGHTS = "model.safetensors"
_NEEDED = (WEIGHTS, "config.json", "tokenizer.json")
_LISTED = "originals.json"


def weights(name: str, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """A folder with model.safetensors, config.json and tokenizer.json; the user's own folder where `name` is a path.

    Raises ModelError: unknown, without such weights (an ONNX file holds rounded or frozen ones), or not here while
    offline.
    """
    if looks_like_path(name):
        folder = Path(name).expanduser()
        if missing := [part for part in _NEEDED if not (folder / part).is_file()]:
            raise ModelError(f"{name!r} cannot be trained further: it has no {missing[0]}; give a folder that has")
        return folder
    model = get(name)
    if missing := [part for part in _NEEDED if part not in {file.name for file in model.files}]:
        raise ModelError(
            f"model {name!r} cannot be trained further: it comes without {missing[0]}; choose another, such as "
            "all-minilm-l6-v2"
        )
    place = disk.cache_dir() / "originals" / name
    if _whole(place):
        return place
    if offline:
        raise ModelError(
            f"the weights of model {name!r} are not on this machine and downloads are switched off (offline); "
            "run once with a network"
        )
    with home.locked(place, name, progress):
        if not _whole(place):
            staging = place.with_name(f".{name}.part")
            hashes = fetch.download_into(staging, name, progress)
            shutil.rmtree(place, ignore_errors=True)
            sizes = {part: (staging / part).stat().st_size for part in hashes}
            disk.write_atomic(staging / _LISTED, json.dumps({"bytes": sizes, "sha256": hashes}, indent=1))
            staging.rename(place)
            disk.fsync_folder(place.parent)
    return place


def _whole(place: Path) -> bool:
    """Whether all files of the list, which is written last, are here and of their size."""
    try:
        sizes = json.loads((place / _LISTED).read_text(encoding="utf-8"))["bytes"]
        return all((place / part).stat().st_size == size for part, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False
