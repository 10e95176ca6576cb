"""Zip bytes in, members out, every unpacked byte counted; knows nothing of what the members mean."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator

from openbook.errors import ReadError
from openbook.ingest.readers.parsed import Budget, Inner, Parsed

_PIECE = 1 << 20
MAX_MEMBERS = 100_000
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)
"""What the standard library raises on damaged members and unknown methods; lzma and bz2 errors are OSError or below."""


def read(data: bytes, budget: Budget, max_member_mb: float) -> Parsed:
    """The members of an archive in stored order; folders and Mac resource forks are passed over."""
    return Parsed(inner=_members(open_zip(data), budget, max_member_mb), container=True)


def open_zip(data: bytes) -> zipfile.ZipFile:
    """Open an archive; ReadError when it is damaged or holds absurdly many members."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _BROKEN as error:
        raise ReadError(f"damaged zip archive ({error})") from None
    if len(archive.infolist()) > MAX_MEMBERS:
        raise ReadError(f"zip archive with {len(archive.infolist())} members; at most {MAX_MEMBERS} are read")
    return archive


def unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget, *, max_bytes: int | None = None) -> bytes:
    """A member's bytes. What really comes out is counted; the size its header claims is not believed."""
    if info.flag_bits & 0x1:
        raise ReadError("encrypted archive member; unpack it with its password first")
    pieces: list[bytes] = []
    size = 0
    try:
        with archive.open(info) as stream:
            while piece := stream.read(_PIECE):
                budget.take(len(piece))
                size += len(piece)
                if max_bytes is not None and size > max_bytes:
                    raise ReadError(f"larger than {max_bytes / 1e6:g} MB; raise ingest.max_file_mb to read it")
                pieces.append(piece)
    except ReadError:
        raise
    except Exception as error:  # noqa: BLE001 - lzma, bz2 and zlib each raise errors of their own on damaged data
        raise ReadError(f"damaged archive member ({type(error).__name__}: {error})") from None
    return b"".join(pieces)


def parts(data: bytes, budget: Budget) -> dict[str, bytes]:
    """All members of a small archive such as an Office file or e-book, by normalised name.

    XML that declares entities is refused: no Office writer makes it, and it is how small files become huge ones.
    """
    archive = open_zip(data)
    found: dict[str, bytes] = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        content = unpack(archive, info, budget)
        if b"<!ENTITY" in content or "<!ENTITY".encode("utf-16-le") in content:
            raise ReadError(f"holds XML with entity declarations in {info.filename!r}, which is never needed")
        found[harmless(info.filename)] = content
    return found


def harmless(name: str) -> str:
    """A member's name without drive, leading slashes or steps upwards.

    >>> harmless("..\\\\../etc/passwd"), harmless("/a/./b.md")
    ('etc/passwd', 'a/b.md')
    """
    steps = [step for step in name.replace("\\", "/").split("/") if step not in ("", ".", "..") and step[-1:] != ":"]
    return "/".join("".join(char for char in step if char.isprintable()) for step in steps) or "unnamed"


def resolve(base: str, target: str) -> str:
    """The name of the part that a part in folder `base` points to."""
    joined = target if target.startswith("/") else posixpath.join(base, target)
    return posixpath.normpath(joined).lstrip("/")


def _members(archive: zipfile.ZipFile, budget: Budget, max_member_mb: float) -> Iterator[Inner]:
    for info in archive.infolist():
        name = harmless(info.filename)
        if info.is_dir() or name.startswith("__MACOSX/"):
            continue
        try:
            yield Inner(name, unpack(archive, info, budget, max_bytes=int(max_member_mb * 1e6)))
        except ReadError as error:
            yield Inner(name, failure=str(error))
            if budget.left < 0:
                return
