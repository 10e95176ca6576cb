"""Files that callers hand over, kept under .openbook/uploads by an id, never by the name they came with.

Bytes in, a file that is whole or not there. Documents' originals and the files of the OpenAI API lie side by side; what
no row, document or job speaks of is swept away.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import sqlalchemy as sa

from openbook.errors import LibraryError
from openbook.files import fsync_folder
from openbook.ingest.plan import INNER
from openbook.ingest.readers import detect
from openbook.ingest.reading import INLINE
from openbook.serve import keys, reach
from openbook.serve.access import Caller, of_key
from openbook.serve.errors import Refused
from openbook.serve.store import FILES, JOBS, new_id

if TYPE_CHECKING:
    from openbook.records import DocumentInfo
    from openbook.serve.state import Server

DOCUMENT = "document"
"""The purpose of files that became documents; they are no files of the OpenAI API."""
SOURCE = "upload:"
"""With the id of its file, the source of a document that was uploaded."""
_STEP, _STEPS = 120, 8
"""Characters of one step of a name, and steps."""
_PIECE = 1 << 20
_GRACE = 3600
"""Seconds in which a file has been written and its job is in line."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file as it lies here."""

    id: str
    name: str
    bytes: int
    sha256: str

    def json(self) -> dict[str, Any]:
        """As stored with a job."""
        return {"id": self.id, "name": self.name, "bytes": self.bytes, "sha256": self.sha256}


def keep(server: Server, stream: IO[bytes], name: str) -> Kept:
    """Write a stream to the disk under a new id; killed before the end, only a .part is left, which is swept."""
    named, key, hashed, size = cleaned(name), new_id("file"), hashlib.sha256(), 0
    home = _home(server)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = home / f"{key}.part"
    try:
        with part.open("xb") as out:
            head = b""
            while piece := stream.read(_PIECE):
                head = head or piece
                out.write(piece)
                hashed.update(piece)
                size += len(piece)
            out.flush()
            os.fsync(out.fileno())
        part.replace(home / f"{key}{_suffix(named, head)}")
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    fsync_folder(home)
    return Kept(key, named, size, hashed.hexdigest())


def path_of(server: Server, key: str) -> Path | None:
    """Where a kept file lies; None when it does not."""
    if not re.fullmatch(r"file-[0-9a-f]+", key):
        return None
    return next((one for one in _home(server).glob(f"{key}*") if one.suffix != ".part"), None)


def original(server: Server, info: DocumentInfo) -> Path | None:
    """The file an uploaded document was read from; None for a document of another source, or when it is gone.

    Of a document found inside an archive or a mail it is the outermost file.
    """
    return path_of(server, info.source.removeprefix(SOURCE)) if info.source.startswith(SOURCE) else None


def record(server: Server, kept: Collection[Kept], purpose: str, who: Caller) -> None:
    """Note whose files they are; done before, it stays as it was."""
    with server.store.begin() as db:
        known = set(db.execute(sa.select(FILES.c.id).where(FILES.c.id.in_([one.id for one in kept]))).scalars())
        for one in kept:
            if one.id not in known:
                values = {**one.json(), "owner": who.id, "purpose": purpose, "created": time.time()}
                db.execute(sa.insert(FILES).values(**values))


def find(server: Server, key: str, who: Caller) -> sa.Row[Any]:
    """The row of a file of the caller's own; for an admin also of those who see no more. Raises Refused 404."""
    with server.store.connect() as db:
        row = db.execute(sa.select(FILES).where(FILES.c.id == key, FILES.c.purpose != DOCUMENT)).one_or_none()
    if row is None or not (row.owner == who.id or (who.may("admin") and _covers(server, who, row.owner))):
        raise Refused(404, f"no file {key!r}", code="no_such_file", param="id")
    return row


def same(server: Server, name: str, sha256: str, who: Caller) -> Kept | None:
    """The caller's own file of that name and content; None when there is none."""
    wanted = sa.and_(FILES.c.owner == who.id, FILES.c.name == name, FILES.c.sha256 == sha256)
    with server.store.connect() as db:
        row = db.execute(sa.select(FILES).where(wanted, FILES.c.purpose != DOCUMENT).limit(1)).one_or_none()
    return None if row is None else Kept(row.id, row.name, row.bytes, row.sha256)


def _covers(server: Server, who: Caller, owner: str) -> bool:
    """Whether a caller sees all that the owner of a file may have put into it, as far as that is known."""
    key = keys.get(server.store, owner)
    return who.all_groups or (key is not None and reach.covers(who, of_key(key)))


def forget(server: Server, keys: Collection[str]) -> None:
    """Delete files and their rows."""
    with server.store.begin() as db:
        db.execute(sa.delete(FILES).where(FILES.c.id.in_(list(keys))))
    for key in keys:
        if (path := path_of(server, key)) is not None:
            path.unlink(missing_ok=True)


def sweep(server: Server) -> None:
    """Delete what a killed upload left, and originals that no kept version of the library speaks of any more."""
    home = _home(server)
    if not home.is_dir():
        return
    # What may go is listed before what is used, and younger files are left alone: others are uploaded meanwhile.
    settled = time.time() - _GRACE
    old = [path for path in home.iterdir() if _written(path) < settled]
    lying = {path.stem for path in old if path.name.startswith("file-") and path.suffix != ".part"}
    with server.store.connect() as db:
        rows = set(db.execute(sa.select(FILES.c.id).where(FILES.c.purpose == DOCUMENT)).scalars())
        waiting = db.execute(
            sa.select(JOBS.c.args).where(JOBS.c.kind == "upload", JOBS.c.state.in_(("queued", "running", "paused")))
        ).scalars()
        used = {one["id"] for args in waiting for one in args["files"]}
        used |= set(db.execute(sa.select(FILES.c.id).where(FILES.c.purpose != DOCUMENT)).scalars())
    used |= _spoken_of(server)
    forget(server, (rows | lying) - used)
    for part in old:
        if part.suffix == ".part":
            part.unlink(missing_ok=True)


def cleaned(name: str) -> str:
    """A client's file name as a document may be called: relative, printable, of bounded length.

    >>> cleaned("C:\\\\docs\\\\..\\\\Plan 2026.pdf"), cleaned("/etc/../.hidden\\x00"), cleaned("..")
    ('C/docs/Plan 2026.pdf', 'etc/hidden', 'unnamed')
    """
    steps = []
    for step in unicodedata.normalize("NFC", name).replace("\\", "/").split("/"):
        kept = "".join(char for char in step if unicodedata.category(char)[0] != "C" and char not in '<>:"|?*!')
        kept = " ".join(kept.split()).strip(". ")
        if kept:
            stem, suffix = PurePosixPath(kept).stem, PurePosixPath(kept).suffix[:16]
            steps.append(f"{stem[: _STEP - len(suffix)]}{suffix}")
    return "/".join(steps[-_STEPS:]) or "unnamed"


def names_for(server: Server, kept: Collection[Kept], who: Caller) -> dict[str, str]:
    """Id -> the name of its document; an earlier upload of the caller gives its name to the next of the same name.

    Callers who do not see every document have a folder of their own, so that no name tells of documents they may not
    see.
    """
    folder = "" if who.all_groups else f"{_slug(who.name)}-{hashlib.sha256(who.id.encode()).hexdigest()[:6]}/"
    with server.store.connect() as db:
        own = set(db.execute(sa.select(FILES.c.id).where(FILES.c.owner == who.id)).scalars())
    taken = {
        info.name.split(INNER, 1)[0]
        for info in server.house.library.documents()
        if info.source.removeprefix(SOURCE) not in own
    }
    found: dict[str, str] = {}
    for one in kept:
        path, number = PurePosixPath(folder + one.name), 2
        wanted = path
        while str(wanted) in taken:
            wanted, number = path.with_name(f"{path.stem} ({number}){path.suffix}"), number + 1
        taken.add(str(wanted))
        found[one.id] = str(wanted)
    return found


def _spoken_of(server: Server) -> set[str]:
    """Ids of the originals of documents in every version that can still be read."""
    library = server.house.library
    found: set[str] = set()
    for version in library.versions():
        try:
            infos = library.documents(version=version.version)
        except LibraryError:  # swept meanwhile
            continue
        found |= {info.source.removeprefix(SOURCE) for info in infos if info.source.startswith(SOURCE)}
    return found


def _suffix(name: str, head: bytes) -> str:
    """The extension of a format that is read, "" else; a text's only for what looks like text.

    Texts are read in this process; what else calls itself one is left to the readers' own, which find out what it is.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in detect.EXTENSIONS:
        return ""
    looks_binary = detect.is_binary(head) or head.lstrip()[:5] == b"%PDF-" or head[:4] == b"PK\x03\x04"
    return "" if suffix in INLINE and looks_binary else suffix


def _written(path: Path) -> float:
    """When a file was written, unix seconds; one that has just gone is young."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24] or "caller"


def _home(server: Server) -> Path:
    return server.workspace.state / "uploads"
