"""Targets in, a report for every change on disk out, until stopped; knows sync and the file system's events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from openbook.errors import OpenbookError
from openbook.ingest.plan import Stored
from openbook.ingest.sources import is_address, select
from openbook.ingest.sync import sync as syncing
from openbook.records import SyncFailure, SyncReport
from openbook.seams import Embedder, Library, Progress
from openbook.settings import Ingest

QUIET_MS = 100
"""A burst of events is over when nothing happened for this long."""
BURST_MS = 1000
"""Events are acted on after this long even when more keep coming."""
WAKE_MS = 500
"""Longest wait without events."""
MANY = 64
"""More changed paths than this, and everything is compared anew instead of one by one."""


def watch(
    targets: Sequence[str],
    *,
    library: Library,
    embedder: Embedder,
    settings: Ingest,
    acl: Sequence[str] = (),
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Iterator[SyncReport]:
    """Sync the targets, then again whenever files under them change, yielding each report; see `follow`."""

    def bring(only: Sequence[Path] | None) -> SyncReport:
        return syncing(
            targets, library=library, embedder=embedder, settings=settings, acl=acl, progress=progress, only=only
        )

    def sources() -> Collection[str]:
        return Stored(library.documents()).sources

    return follow(targets, sync=bring, sources=sources, version=library.version, stop=stop)


def follow(
    targets: Sequence[str],
    *,
    sync: Callable[[Sequence[Path] | None], SyncReport],
    sources: Callable[[], Collection[str]],
    version: Callable[[], int],
    stop: threading.Event | None = None,
) -> Iterator[SyncReport]:
    """Have the targets synced now (None), then whatever changes under them (its paths), yielding each report.

    Only what changed is looked at. Web pages are synced once, at the start. A sync that refuses (SourceVanished,
    LibraryBusy) is reported as failed and watching goes on; the first one raises. Ends on Ctrl-C or when `stop` is set.
    """
    from watchfiles import Change as Event
    from watchfiles import watch as events

    try:
        yield sync(None)
        known = sources()
        chosen = [select(target, known) for target in targets if not is_address(target)]
        # A file is watched through its folder: editors replace files, and a watch on the old one would end.
        folders = {one.start if one.start.is_dir() else one.start.parent for one in chosen}
        if not folders:
            return

        def seen(_: Event, path: str) -> bool:
            return any(one.shows(Path(path)) for one in chosen)

        # What changed between the first sync and the start of watching sent no event: the first wake-up looks at all.
        everything = True
        for changes in events(
            *folders,
            watch_filter=seen,
            step=QUIET_MS,
            debounce=BURST_MS,
            rust_timeout=WAKE_MS,
            yield_on_timeout=True,
            stop_event=stop,
            raise_interrupt=False,
        ):
            if not changes and not everything:
                continue
            paths = sorted({Path(path) for _, path in changes})
            if everything or len(paths) > MANY:
                paths = [one.start for one in chosen]
            everything = False
            try:
                report = sync(paths)
            except OpenbookError as error:
                failed = SyncFailure(", ".join(map(str, folders)), str(error))
                report = SyncReport(0, 0, 0, 0, 0, (failed,), 0, 0.0, version())
            if report.added or report.changed or report.renamed or report.removed or report.failed:
                yield report
    except KeyboardInterrupt:
        return
