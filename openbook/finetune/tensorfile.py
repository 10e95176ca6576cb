"""Safetensors files in, float32 arrays out; and back, everything unchanged byte for byte.

Reads bfloat16, which numpy lacks. Knows no adapters. Format: 8 bytes length, a JSON header, the tensors.
"""

from __future__ import annotations

import json
import os
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openbook.errors import AdapterError
from openbook.files import fsync_folder, write_atomic

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Weights = npt.NDArray[np.float32]

_FLOATS = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "BF16": "<u2"}


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one tensor stands in a file."""

    dtype: str
    """As the format names it: "F32", "BF16"."""
    shape: tuple[int, ...]
    start: int
    """First byte, from the start of the file."""
    bytes: int


def tensors_of(path: Path) -> dict[str, Stored]:
    """The tensors of a file by name. Raises AdapterError when it is no whole safetensors file."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > path.stat().st_size:
                raise ValueError("it ends within its header")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        found = {name: _stored(entry, 8 + length) for name, entry in header.items()}
        if max((each.start + each.bytes for each in found.values()), default=0) > path.stat().st_size:
            raise ValueError("it ends within a tensor")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterError(
            f"{str(path)!r} is not a whole safetensors file ({error}); train or fetch it again"
        ) from None
    except OSError as error:
        raise AdapterError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    return found


def read(path: Path, stored: Stored) -> Weights:
    """One tensor as float32. Raises AdapterError for whole numbers and 8-bit floats."""
    import numpy as np

    if stored.dtype not in _FLOATS:
        raise AdapterError(f"{path.name!r} holds a tensor of type {stored.dtype}, which cannot be merged")
    raw = np.fromfile(path, _FLOATS[stored.dtype], offset=stored.start, count=int(np.prod(stored.shape)))
    if stored.dtype == "BF16":
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32).reshape(stored.shape)


def files_of(folder: Path) -> Iterator[tuple[Path, dict[str, Stored]]]:
    """Each model*.safetensors of a transformers folder with its tensors; raises AdapterError when there is none."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise AdapterError(f"{str(folder)!r} holds no model.safetensors; give a transformers folder")
    for path in files:
        yield path, tensors_of(path)


def rewrite(base: Path, changes: Mapping[str, Callable[[Weights], Weights]], out: Path) -> None:
    """Copy a file with the named tensors replaced by change(their weights), each in its own dtype.

    Raises AdapterError when the disk refuses or a replacement has another shape.
    """
    draft = out.with_name(f".{out.name}.{uuid.uuid4().hex}.tmp")
    try:
        with base.open("rb") as source, draft.open("xb") as target:
            tensors = tensors_of(base)
            target.write(source.read(min((each.start for each in tensors.values()), default=0)))
            for name, stored in sorted(tensors.items(), key=lambda item: item[1].start):
                target.seek(stored.start)
                if change := changes.get(name):
                    target.write(_encoded(name, change(read(base, stored)), stored))
                else:
                    source.seek(stored.start)
                    target.write(source.read(stored.bytes))
            target.flush()
            os.fsync(target.fileno())
        draft.replace(out)
    except OSError as error:
        raise AdapterError(f"{str(out)!r} could not be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    fsync_folder(out.parent)


def write(path: Path, tensors: Mapping[str, Weights], *, dtype: str = "BF16") -> None:
    """Write a file with these tensors, in the order given. Raises AdapterError when the disk refuses."""
    entries: dict[str, Stored] = {}
    at = 0
    for name, weights in tensors.items():
        entries[name] = Stored(dtype, weights.shape, at, weights.size * int(_FLOATS[dtype][-1]))
        at += entries[name].bytes
    header = {
        name: {"dtype": dtype, "shape": list(one.shape), "data_offsets": [one.start, one.start + one.bytes]}
        for name, one in entries.items()
    }
    told = json.dumps({"__metadata__": {"format": "pt"}, **header}, separators=(",", ":")).encode()
    told += b" " * (-len(told) % 8)
    data = b"".join(_encoded(name, weights, entries[name]) for name, weights in tensors.items())
    try:
        write_atomic(path, struct.pack("<Q", len(told)) + told + data)
    except OSError as error:
        raise AdapterError(f"{str(path)!r} could not be written: {error.strerror}") from None


def check(name: str, weights: Weights, shape: tuple[int, ...]) -> None:
    """Make sure that trained weights can take a base tensor's place. Raises AdapterError."""
    import numpy as np

    if weights.shape != shape:
        raise AdapterError(
            f"{name!r} has shape {list(shape)} in the base model and {list(weights.shape)} in what was trained; "
            "give the base it was trained on"
        )
    if not np.isfinite(weights).all():
        raise AdapterError(f"{name!r} holds numbers that are not finite; this training cannot be served")


def _encoded(name: str, weights: Weights, stored: Stored) -> bytes:
    import numpy as np

    check(name, weights, stored.shape)
    if stored.dtype == "BF16":  # to the nearest, ties to even, as torch rounds
        bits = np.ascontiguousarray(weights).view(np.uint32)
        return ((bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16).astype("<u2").tobytes()
    return weights.astype(_FLOATS[stored.dtype]).tobytes()


def _stored(entry: dict[str, list[int]], data: int) -> Stored:
    start, end = entry["data_offsets"]
    return Stored(str(entry["dtype"]), tuple(entry["shape"]), data + start, end - start)
