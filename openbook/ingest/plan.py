"""What stands on the disk and what is stored in, what a sync has to do out; reads hashes, never contents."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from openbook.errors import SourceVanished
from openbook.files import sha256_of
from openbook.ingest.sources import Listing, Selection, belongs, inside, is_address, key_of, list_files, prefixes
from openbook.records import PUBLIC, DocumentInfo

INNER = "!/"
"""Between a file's name and the name of what was found inside it."""


@dataclass(frozen=True, slots=True)
class File:
    """A file to read, and what the library holds of it."""

    key: str
    """Its absolute path or address: how failures name it."""
    path: Path
    name: str
    hash: str
    acl: tuple[str, ...]
    source: str
    stored: tuple[DocumentInfo, ...] = ()
    """The documents this file gave when it was last read."""
    moved: tuple[DocumentInfo, ...] = ()
    """Documents of the file that had these bytes under another name; they go when this one has been read."""


@dataclass(slots=True)
class Plan:
    """The work of one sync."""

    read: list[File] = field(default_factory=list)
    rename: list[tuple[str, str]] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    unchanged: list[DocumentInfo] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)


class Stored:
    """The library's documents by the file they came from, and the name each source gives its documents."""

    def __init__(self, documents: Sequence[DocumentInfo]) -> None:
        self.documents = documents
        self.sources = {info.source for info in documents if info.source}
        self.prefix: dict[str, str] = {}
        self.files: dict[str, list[DocumentInfo]] = defaultdict(list)
        """By key."""
        names: dict[str, list[str]] = defaultdict(list)
        for info in documents:
            names[info.source].append(info.name)
        for source in self.sources:
            if not is_address(source) and (shared := _prefix_of(source, names[source])):
                self.prefix[source] = shared
        for info in documents:
            self.files[self.key(info)].append(info)

    def key(self, info: DocumentInfo) -> str:
        """The key of the file a document came from."""
        outer = outer_name(info)
        if not info.source or is_address(info.source):
            return outer
        prefix = self.prefix.get(info.source) or _prefix_of(info.source, [outer])
        return outer if prefix is None else info.source + outer[len(prefix) :]

    def name_source(self, root: Path) -> str:
        """The first steps of the names of a source's documents, unlike those of every other source."""
        source = key_of(root)
        if source not in self.prefix:
            taken = [prefix for other, prefix in self.prefix.items() if not inside(other, source)]
            taken += [info.name for info in self.documents if not inside(info.source, source)]
            free = (p for p in prefixes(root) if not any(belongs(one, p) or belongs(p, one) for one in taken))
            self.prefix[source] = next(free, source)
            self.sources.add(source)
        return self.prefix[source]

    def adopt(self, root: Path, hashes: Mapping[str, str]) -> None:
        """Take a source that is gone as `root` at its old place when half of its files stand in `root` (key -> hash).

        A workspace carried to another machine, or a folder moved, is then not read anew beside its old self.
        """
        here = key_of(root)
        for source, prefix in sorted(self.prefix.items()):
            if PurePosixPath(source).name != root.name or self.prefix.get(here, prefix) != prefix or source == here:
                continue
            old = {key: infos for key, infos in self.files.items() if infos[0].source == source}
            moved = {key: here + key[len(source) :] for key in old}
            same = sum(is_current(infos, hashes.get(moved[key], "")) for key, infos in old.items())
            if 2 * same < len(old) or Path(source).exists():
                continue
            self.prefix[here] = prefix
            for key, infos in old.items():
                del self.files[key]
                self.files[moved[key]].extend(infos)


def is_current(stored: Sequence[DocumentInfo], found: str) -> bool:
    """Whether the stored documents of a file are those of its bytes as they hash now."""
    return bool(stored) and all((info.container_hash or info.hash) == found for info in stored)


def make(
    selections: Sequence[Selection],
    stored: Stored,
    *,
    formats: Collection[str],
    acl: Sequence[str],
    max_bytes: int,
    mass_delete_share: float | None,
    pages: Sequence[tuple[str, Path, str]] = (),
) -> Plan:
    """Compare what the selections mean with what is stored.

    pages: (address, file it was fetched into, hash) of each web page.
    acl: labels asked for; () keeps those of known documents and gives a new one those of its neighbours.
    mass_delete_share: see settings.Ingest; None allows any deletion. Raises SourceVanished otherwise.
    """
    plan, present = Plan(), dict[str, File]()
    wanted = tuple(sorted(set(acl)))
    gone, neighbours = dict[str, list[DocumentInfo]](), dict[str, _Labels]()
    for selection in selections:
        listing = list_files(selection, stored.files, formats)
        hashes = _hash(listing, max_bytes)
        stored.adopt(selection.root, hashes)
        source, prefix = key_of(selection.root), stored.name_source(selection.root)
        if source not in neighbours:
            neighbours[source] = _Labels(stored, source)
        for key, found in hashes.items():
            infos = tuple(stored.files.get(key, ()))
            allowed = wanted or (infos[0].acl if infos else neighbours[source].near(key))
            if not allowed:
                listing.failed[key] = "the documents beside it carry different labels; say who may see it with --acl"
            elif key not in present:
                name = prefix + key[len(source) :]
                present[key] = File(key, listing.files[key], name, found, allowed, source, infos)
        plan.failed |= listing.failed
        plan.passed_over += listing.passed_over
        missing = {
            key: infos
            for key, infos in stored.files.items()
            if selection.covers(key) and key not in hashes and not any(inside(key, bad) for bad in listing.failed)
        }
        gone |= missing
    for address, path, found in pages:
        infos = tuple(stored.files.get(address, ()))
        allowed = wanted or (infos[0].acl if infos else (PUBLIC,))
        present[address] = File(address, path, address, found, allowed, address, infos)
    _sort(plan, present, gone)
    if mass_delete_share is not None:
        for root in {selection.root for selection in selections}:
            _guard(root, stored, gone, mass_delete_share)
    return plan


def _hash(listing: Listing, max_bytes: int) -> dict[str, str]:
    """Hashes by key; a file too large or unreadable goes into listing.failed."""
    hashes = {}
    for key, path in listing.files.items():
        try:
            if (size := path.stat().st_size) > max_bytes:
                listing.failed[key] = (
                    f"larger than {max_bytes / 1e6:g} MB ({size / 1e6:.0f} MB); raise ingest.max_file_mb to read it"
                )
            else:
                hashes[key] = sha256_of(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            listing.failed[key] = f"cannot be opened: {error.strerror}"
    return hashes


class _Labels:
    """Which labels a new document takes when none are asked for: those most documents of its folder carry."""

    def __init__(self, stored: Stored, source: str) -> None:
        self._source = source
        self._by_folder: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
        for key, infos in stored.files.items():
            if inside(key, source):
                for folder in self._folders(key):
                    self._by_folder[folder][infos[0].acl] += 1

    def near(self, key: str) -> tuple[str, ...]:
        """The labels of the nearest folder with documents, () when two sets are equally common."""
        for folder in self._folders(key):
            if found := self._by_folder.get(folder):
                (first, most), *rest = found.most_common(2)
                return () if rest and rest[0][1] == most else first
        return (PUBLIC,)

    def _folders(self, key: str) -> Iterator[str]:
        while len(key) > len(self._source):
            key = key.rpartition("/")[0]
            yield key


def _guard(root: Path, stored: Stored, gone: Mapping[str, list[DocumentInfo]], share: float) -> None:
    source = key_of(root)
    known = sum(len(infos) for key, infos in stored.files.items() if inside(key, source))
    lost = sum(len(infos) for key, infos in gone.items() if inside(key, source))
    remedy = "if they are to go, sync again with --allow-mass-delete (allow_mass_delete=True)"
    if known and lost == known and not root.exists():
        raise SourceVanished(f"{source!r} is gone and the library holds {known} documents from it; {remedy}")
    if known and lost == known and root.is_dir():
        raise SourceVanished(f"{source!r} holds none of its {known} documents any more; {remedy}")
    if lost >= 5 and lost > share * known:
        raise SourceVanished(f"{lost} of {known} documents of {source!r} are gone; {remedy}")


def _sort(plan: Plan, present: Mapping[str, File], gone: dict[str, list[DocumentInfo]]) -> None:
    """Turn files present and files gone into work: unchanged, renamed, to read, to remove."""
    by_hash: dict[str, list[str]] = defaultdict(list)
    for key in sorted(gone, reverse=True):
        if key in present:
            del gone[key]
        elif is_current(gone[key], found := gone[key][0].container_hash or gone[key][0].hash):
            by_hash[found + _suffix(key)].append(key)
    for file in present.values():
        same = is_current(file.stored, file.hash) and all(info.acl == file.acl for info in file.stored)
        if same and outer_name(file.stored[0]) == file.name:
            plan.unchanged.extend(file.stored)
        elif same:
            _move(plan, file, file.stored)
        elif not file.stored and (earlier := by_hash.get(file.hash + _suffix(file.key))):
            _move(plan, file, tuple(gone.pop(earlier.pop())))
        else:
            plan.read.append(file)
    plan.remove.extend(info.name for infos in gone.values() for info in infos)


def _move(plan: Plan, file: File, stored: tuple[DocumentInfo, ...]) -> None:
    """Rename documents, or read the file anew where its name, labels or source decide what is stored."""
    old = outer_name(stored[0])
    at_home = all(inside(info.source, file.source) for info in stored)
    titled = all(info.title or info.container_hash for info in stored) or _stem(old) == _stem(file.name)
    if titled and at_home and all(info.acl == file.acl for info in stored):
        plan.rename.extend((info.name, file.name + info.name[len(old) :]) for info in stored)
    else:
        plan.read.append(File(file.key, file.path, file.name, file.hash, file.acl, file.source, moved=stored))


def outer_name(info: DocumentInfo) -> str:
    """The name of the file a document came from: its own, or that of the outermost archive or mail."""
    return info.name.split(INNER, 1)[0] if info.container_hash else info.name


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _suffix(key: str) -> str:
    return PurePosixPath(key).suffix.lower()


def _prefix_of(source: str, names: Sequence[str]) -> str | None:
    """The first steps that all these documents of a source share, of those name_source chooses from."""
    fit = (prefix for prefix in (*prefixes(Path(source)), source) if all(belongs(name, prefix) for name in names))
    return next(fit, None)
