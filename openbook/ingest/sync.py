"""Targets in, the library brought up to date, a report out; knows the library and embedder by their seams only.

First everything is listed and hashed, and a source that looks lost is refused. Then files are read, split, embedded and
committed in batches; renames and removals go with the last. Stopped at any moment, the library holds each document in
its old or its new state, and the next sync finds what is left to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from openbook.errors import ReadError
from openbook.files import sha256_of
from openbook.ingest.plan import File, Plan, Stored, make, outer_name
from openbook.ingest.readers import ReadOutcome, formats
from openbook.ingest.reading import Reading
from openbook.ingest.sources import Selection, is_address, key_of, narrow, select
from openbook.ingest.split import split
from openbook.ingest.web import canonical, fetch
from openbook.ingest.write import Writer
from openbook.records import Document, DocumentInfo, SyncFailure, SyncReport
from openbook.seams import Embedder, Library, Progress
from openbook.settings import Ingest


def sync(
    targets: Sequence[str],
    *,
    library: Library,
    embedder: Embedder,
    settings: Ingest,
    acl: Sequence[str] = (),
    dry_run: bool = False,
    allow_mass_delete: bool = False,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
    public_only: bool = False,
    only: Sequence[Path] | None = None,
) -> SyncReport:
    """Make the library hold what the targets (files, folders, patterns, http(s) pages) hold now.

    acl: who may see the documents; () keeps the labels of known documents, and a new document takes those most
    documents of its folder carry ("*", everyone, in a new source). dry_run: compare hashes and change nothing; an
    archive counts as one document. progress: called with "read" (files), "embed" (chunks) and "commit" (documents).
    public_only: fetch no page from this machine or a private network. only: look at no page, and at these places inside
    the targets alone.
    Raises UsageError for a target that never existed, SourceVanished when most of a source is gone, and what the
    library raises; batches committed before that stay.
    """

    def choose(sources: Collection[str]) -> list[Selection]:
        chosen: list[Selection] = []
        for target in targets:
            if not is_address(target):
                chosen.append(select(target, [*sources, *(key_of(one.root) for one in chosen)]))
        return chosen if only is None else list(narrow(chosen, only))

    pages = [target for target in targets if is_address(target)] if only is None else []

    return bring(
        choose,
        addresses=list(dict.fromkeys(map(canonical, pages))),
        library=library,
        embedder=embedder,
        settings=settings,
        acl=acl,
        dry_run=dry_run,
        allow_mass_delete=allow_mass_delete,
        progress=progress,
        clock=clock,
        note=f"sync {' '.join(targets)}"[:200] if only is None else "watch",
        public_only=public_only,
    )


def bring(
    choose: Callable[[Collection[str]], Sequence[Selection]],
    *,
    addresses: Sequence[str],
    library: Library,
    embedder: Embedder,
    settings: Ingest,
    acl: Sequence[str],
    dry_run: bool,
    allow_mass_delete: bool,
    progress: Progress | None,
    clock: Callable[[], float],
    note: str,
    public_only: bool = False,
) -> SyncReport:
    """Sync what `choose` selects, given the sources known so far, and the pages at `addresses`; see `sync`."""
    started = clock()
    stored = Stored(library.documents())
    max_bytes = int(settings.max_file_mb * 1e6)
    with TemporaryDirectory(prefix="openbook-") as folder:
        pages, failed = _fetch(addresses, Path(folder), max_bytes, public_only)
        plan = make(
            choose(stored.sources),
            stored,
            formats=formats(),
            acl=acl,
            max_bytes=max_bytes,
            mass_delete_share=None if allow_mass_delete else settings.mass_delete_share,
            pages=pages,
        )
        plan.failed |= failed
        work = _Work(plan, stored, library, embedder, settings)
        if dry_run:
            work.foresee()
        else:
            work.do(Writer(library, embedder, progress=progress, clock=clock, note=note), progress)
    return work.report(seconds=clock() - started, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class Given:
    """A file that was handed over, not found: the caller says what it is called."""

    name: str
    """Of its document."""
    path: Path
    source: str
    """Unlike every path and address, so that no sync takes the document for its own."""


def take(
    given: Sequence[Given],
    *,
    library: Library,
    embedder: Embedder,
    settings: Ingest,
    acl: tuple[str, ...],
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
    note: str = "",
) -> SyncReport:
    """Bring given files into the library under their names; documents of the same names give way. See `sync`."""
    started = clock()
    stored = Stored(library.documents())
    by_name: dict[str, list[DocumentInfo]] = {}
    for info in stored.documents:
        by_name.setdefault(outer_name(info), []).append(info)
    read = [
        File(one.name, one.path, one.name, sha256_of(one.path), acl, one.source, tuple(by_name.get(one.name, ())))
        for one in given
    ]
    work = _Work(Plan(read=read), stored, library, embedder, settings)
    work.do(Writer(library, embedder, progress=progress, clock=clock, note=note), progress)
    return work.report(seconds=clock() - started, dry_run=False)


def _fetch(
    addresses: Sequence[str], folder: Path, max_bytes: int, public_only: bool
) -> tuple[list[tuple[str, Path, str]], dict[str, str]]:
    """(address, file, hash) of each page, and address -> reason of those that could not be had."""
    pages, failed = [], {}
    for address in addresses:
        try:
            path = fetch(address, folder, max_bytes=max_bytes, public_only=public_only)
            pages.append((address, path, sha256_of(path)))
        except ReadError as error:
            failed[address] = str(error)
    return pages, failed


class _Work:
    """A plan being carried out, and the tally of it."""

    def __init__(self, plan: Plan, stored: Stored, library: Library, embedder: Embedder, settings: Ingest) -> None:
        self._plan, self._library, self._embedder, self._settings = plan, library, embedder, settings
        self._names: dict[str, list[str]] = {"added": [], "changed": [], "renamed": [], "removed": []}
        self._unchanged = [info.name for info in plan.unchanged]
        self._failed = [SyncFailure(key, reason) for key, reason in plan.failed.items()]
        self._notes: list[str] = []
        self._chunks = 0
        self._names["renamed"].extend(f"{old} -> {new}" for old, new in plan.rename)
        self._names["removed"].extend(plan.remove)
        # What the library will hold, for finding duplicates without reading twenty thousand rows again.
        self._hashes = {info.name: info.hash for info in stored.documents}
        for name in plan.remove:
            del self._hashes[name]
        for old, new in plan.rename:
            self._hashes[new] = self._hashes.pop(old)

    def do(self, writer: Writer, progress: Progress | None) -> None:
        """Read and write everything."""
        files = self._plan.read
        with Reading(self._settings) as reading:
            for done, (file, outcome) in enumerate(reading.read(files), 1):
                if isinstance(outcome, str):
                    self._failed.append(SyncFailure(file.key, outcome))
                else:
                    self._take(file, outcome, writer)
                if progress:
                    progress("read", done, len(files))
                writer.commit_if_full()
        self._chunks = writer.finish(rename=self._plan.rename, remove=self._plan.remove)

    def foresee(self) -> None:
        """Tally what would be done, as far as hashes tell."""
        for file in self._plan.read:
            if file.moved:
                self._names["renamed"].append(f"{file.moved[0].name} -> {file.name}")
            else:
                self._names["changed" if file.stored else "added"].append(file.name)
            for info in (*file.stored, *file.moved):
                del self._hashes[info.name]
            self._hashes[file.name] = file.hash

    def report(self, *, seconds: float, dry_run: bool) -> SyncReport:
        """What was done, or with dry_run would be."""
        names = {kind: tuple(sorted(found)) for kind, found in self._names.items()}
        passed = self._plan.passed_over
        if passed:
            kinds = ", ".join(f"{count} {suffix or 'without extension'}" for suffix, count in passed.most_common(8))
            self._notes.append(
                f"passed over {passed.total()} files of other formats ({kinds}); name one to read it as text"
            )
        return SyncReport(
            added=len(names["added"]),
            changed=len(names["changed"]),
            renamed=len(names["renamed"]),
            removed=len(names["removed"]),
            unchanged=len(self._unchanged),
            failed=tuple(self._failed),
            chunks=self._chunks,
            seconds=seconds,
            library_version=self._library.version(),
            duplicates=self._duplicates(),
            notes=tuple(self._notes),
            dry_run=dry_run,
            paths=names,
        )

    def _take(self, file: File, outcome: ReadOutcome, writer: Writer) -> None:
        """Hand a file's documents to the writer and tally each against what the file gave before."""
        read_as = file.path.name
        before = {info.name: info for info in (*file.moved, *file.stored)}
        outer = outer_name(next(iter(before.values()))) if before else file.name
        failed = {file.name + failure.path[len(read_as) :]: failure.reason for failure in outcome.failures}
        self._failed.extend(SyncFailure(file.key + name[len(file.name) :], reason) for name, reason in failed.items())
        gone = {name for name in before if file.moved or file.name + name[len(outer) :] not in failed}
        documents = []
        for document in outcome.documents:
            name = file.name + document.name[len(read_as) :]
            inner = file.hash if name != file.name else ""
            document = replace(document, name=name, container_hash=inner)
            earlier = before.get(outer + name[len(file.name) :])
            gone.discard(name)
            if self._tally(file, document, earlier):
                documents.append(document)
            if earlier is not None and earlier.name in gone:
                gone.discard(earlier.name)
                self._remove(earlier.name, writer)
        for document in documents:
            self._notes.extend(f"{document.name}: {note}" for note in document.notes)
            chunks = split(
                document,
                count=self._embedder.count,
                max_tokens=self._embedder.max_tokens,
                chunk_tokens=self._settings.chunk_tokens,
                overlap_tokens=self._settings.overlap_tokens,
            )
            writer.put(document, chunks, acl=file.acl, source=file.source)
            self._hashes[document.name] = document.hash
        for name in sorted(gone):
            self._remove(name, writer)
            self._names["removed"].append(name)

    def _remove(self, name: str, writer: Writer) -> None:
        writer.remove(name)
        del self._hashes[name]

    def _tally(self, file: File, document: Document, earlier: DocumentInfo | None) -> bool:
        """Count a document that was read; False when it need not be written."""
        same = earlier is not None and earlier.hash == document.hash and earlier.acl == file.acl
        if earlier is None:
            self._names["added"].append(document.name)
        elif earlier.name != document.name:
            self._names["renamed"].append(f"{earlier.name} -> {document.name}")
        elif same or self._says_the_same(file, document, earlier):
            self._unchanged.append(document.name)
            # Written nevertheless when it carries the hash of a container that did change.
            return same
        else:
            self._names["changed"].append(document.name)
        return True

    def _says_the_same(self, file: File, document: Document, earlier: DocumentInfo) -> bool:
        """Whether a web page reads as before: servers put times and tokens into the markup."""
        if not is_address(file.key) or earlier.acl != file.acl:
            return False
        stored = self._library.document(document.name)
        return stored is not None and (stored.text, stored.title) == (document.text, document.title)

    def _duplicates(self) -> tuple[tuple[str, str], ...]:
        """(name, earlier name with the same bytes) of the documents this sync looked at."""
        ours = {*self._unchanged, *self._names["added"], *self._names["changed"]}
        ours.update(pair.partition(" -> ")[2] for pair in self._names["renamed"])
        first: dict[str, str] = {}
        found = []
        for name, content in self._hashes.items():
            earlier = first.setdefault(content, name)
            if earlier != name and name in ours:
                found.append((name, earlier))
        return tuple(found)
