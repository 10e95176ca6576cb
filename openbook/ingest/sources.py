"""A target as typed in, the files it means out; looks at the disk, never into a file.

A source is the folder, file or web address a person asked for first; it is stored with every document found under it.
A target inside a source already known belongs to that source, so a subfolder or a single file can be synced alone.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from openbook.errors import UsageError

_MAGIC = re.compile(r"[*?\[]")
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Selection:
    """The files one target means: those at or below `start`, which lies at or below the source `root`."""

    root: Path
    start: Path
    pattern: tuple[str, ...] = ()
    """Path steps relative to `start`, with * ? [] and ** for any number of folders; () means all."""
    explicit: bool = False
    """The target names files, not a folder: they are read whatever their extension."""

    def covers(self, key: str) -> bool:
        """Whether the selection means the file with this key, be it there or gone."""
        start = key_of(self.start)
        if not self.pattern:
            return key == start or key.startswith(_below(start))
        return key.startswith(_below(start)) and _match(key[len(_below(start)) :].split("/"), self.pattern)

    def shows(self, path: Path) -> bool:
        """Whether a path lies in the selection, or where its pattern may find something, and is not hidden."""
        if not (path.is_relative_to(self.start) if self.pattern else self.covers(key_of(path))):
            return False
        return not any(step.startswith((".", "~$")) for step in path.relative_to(self.start).parts)


@dataclass(slots=True)
class Listing:
    """What stands on the disk for one selection."""

    files: dict[str, Path] = field(default_factory=dict)
    """By key, in order."""
    failed: dict[str, str] = field(default_factory=dict)
    """Key of a file or folder -> why it cannot be read; what was stored for it stays."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Extension -> number of files that are not of a format we read."""


def is_address(target: str) -> bool:
    """Whether a target is a web address rather than a path."""
    return bool(_ADDRESS.match(target))


def key_of(path: Path) -> str:
    """A path as stored text: absolute, with /, NFC, bytes outside the file system's encoding replaced.

    >>> key_of(Path("/a/e\\u0301.md")) == "/a/\\u00e9.md"
    True
    """
    text = path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return unicodedata.normalize("NFC", text)


def select(target: str, sources: Iterable[str]) -> Selection:
    """What a path or pattern means, given the sources known so far.

    Raises UsageError when it names nothing, neither on the disk nor among the sources.
    """
    path = Path(target).expanduser()
    path = Path(os.path.normpath(Path.cwd() / path))
    steps = path.parts
    magic = next((i for i, step in enumerate(steps) if _MAGIC.search(step)), None)
    if magic is None or os.path.lexists(path):
        start, pattern = _resolved(path), tuple[str, ...]()
    else:
        start, pattern = Path(*steps[:magic]).resolve(), steps[magic:]
    key = key_of(start)
    around = [
        source for source in sources if not is_address(source) and (source == key or key.startswith(_below(source)))
    ]
    if not around and not os.path.lexists(start) and not any(source.startswith(_below(key)) for source in sources):
        raise UsageError(f"{target!r} does not exist; name a file, a folder, a quoted pattern or an http(s) address")
    root = Path(min(around, key=len)) if around else start
    return Selection(root, start, pattern, explicit=bool(pattern) or start.is_file())


def narrow(chosen: Iterable[Selection], paths: Iterable[Path]) -> Iterator[Selection]:
    """Selections of these paths alone; a pattern is looked at whole."""
    paths = list(paths)
    for one in chosen:
        if one.pattern:
            yield one
        else:
            yield from (replace(one, start=path) for path in paths if one.shows(path))


def list_files(selection: Selection, known: Mapping[str, object], formats: Iterable[str]) -> Listing:
    """Walk a selection: no hidden files, no links that lead outside, only `formats` (extensions) or `known` files."""
    listing, wanted = Listing(), frozenset(formats)
    for path in _walk(selection, listing):
        key = key_of(path)
        suffix = path.suffix.lower()
        if selection.pattern and not selection.covers(key):
            continue
        if not selection.explicit and suffix not in wanted and key not in known:
            listing.passed_over[suffix] += 1
        elif key in listing.files:
            listing.failed[key] = "another file has the same name once Unicode is normalized; rename one of them"
        else:
            listing.files[key] = path
    return listing


def prefixes(root: Path) -> Iterator[str]:
    """Names a source may give its documents' first steps, shortest first: its own, then with its parents'.

    >>> list(prefixes(Path("/work/hr/handbook")))
    ['handbook', 'hr/handbook', 'work/hr/handbook']
    """
    steps = key_of(root).strip("/").split("/")
    for count in range(1, len(steps) + 1):
        yield "/".join(steps[-count:]) or "root"


def belongs(name: str, prefix: str) -> bool:
    """Whether a document's name is `prefix` or lies below it."""
    return name == prefix or name.startswith((f"{prefix}/", f"{prefix}!/"))


def inside(key: str, folder: str) -> bool:
    """Whether a key is that of `folder` or of something below it."""
    return key == folder or key.startswith(_below(folder))


def _below(folder: str) -> str:
    return folder if folder.endswith("/") else f"{folder}/"


def _resolved(path: Path) -> Path:
    """A folder without links on the way to it; a named file keeps its own name, even when it is a link."""
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def _match(steps: list[str], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not steps
    if pattern[0] == "**":
        return any(_match(steps[skip:], pattern[1:] or ("*",)) for skip in range(len(steps)))
    return bool(steps) and fnmatchcase(steps[0], pattern[0]) and _match(steps[1:], pattern[1:])


def _walk(selection: Selection, listing: Listing) -> Iterator[Path]:
    """Regular files in order; what cannot be entered or followed goes into listing.failed."""
    start = selection.start
    if not start.is_dir():
        if os.path.lexists(start) and _readable(start, selection, listing) and not _special(start, listing):
            yield start
        return
    deep = not selection.pattern or "**" in selection.pattern
    folders = [(start, 1)]
    while folders:
        folder, depth = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            listing.failed[key_of(folder)] = f"cannot be opened: {error.strerror}"
            continue
        below = []
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith((".", "~$")):
                continue
            if entry.is_symlink() and not _readable(path, selection, listing):
                continue
            if entry.is_dir():
                # A link to a folder inside the source leads to files found anyway, or in a circle.
                if not entry.is_symlink() and (deep or depth < len(selection.pattern)):
                    below.append((path, depth + 1))
            elif entry.is_file():
                yield path
            else:
                listing.passed_over["special file"] += 1
        folders.extend(reversed(below))


def _readable(path: Path, selection: Selection, listing: Listing) -> bool:
    """Whether a path, if it is a link, leads somewhere inside the source. A link named itself may lead anywhere."""
    if not path.is_symlink() or path == selection.root:
        return True
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        listing.failed[key_of(path)] = "a link that leads nowhere"
        return False
    if target.is_relative_to(selection.root):
        return True
    listing.failed[key_of(path)] = f"a link to {str(target)!r}, outside the source; sync that place itself to read it"
    return False


def _special(path: Path, listing: Listing) -> bool:
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return False
        listing.failed[key_of(path)] = "not a regular file"
    except OSError as error:
        listing.failed[key_of(path)] = f"cannot be opened: {error.strerror}"
    return True
