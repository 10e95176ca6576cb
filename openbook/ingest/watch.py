"""Targets in, a report for every change on disk out, until stopped; knows sync and the file system's events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from openbook.errors import OpenbookError
from openbook.ingest.plan import Stored
from openbook.ingest.sources import Selection, is_address, key_of, select
from openbook.ingest.sync import bring, sync
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
    """Sync the targets, then again whenever files under them change, yielding each report.

    Only what changed is looked at. Web pages are synced once, at the start. A sync that refuses (SourceVanished,
    LibraryBusy) is reported as failed and watching goes on; the first one raises. Ends on Ctrl-C or when `stop` is set.
    """
    from watchfiles import Change as Event
    from watchfiles import watch as events

    def again(chosen: Sequence[Selection]) -> SyncReport:
        return bring(
            lambda _: chosen,
            addresses=(),
            library=library,
            embedder=embedder,
            settings=settings,
            acl=acl,
            dry_run=False,
            allow_mass_delete=False,
            progress=progress,
            clock=time.monotonic,
            note="watch",
        )

    try:
        yield sync(targets, library=library, embedder=embedder, settings=settings, acl=acl, progress=progress)
        sources = Stored(library.documents()).sources
        chosen = [select(target, sources) for target in targets if not is_address(target)]
        # A file is watched through its folder: editors replace files, and a watch on the old one would end.
        folders = {one.start if one.start.is_dir() else one.start.parent for one in chosen}
        if not folders:
            return

        def seen(_: Event, path: str) -> bool:
            return any(_shows(one, Path(path)) for one in chosen)

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
            looked_at = chosen if everything or len(paths) > MANY else list(_narrow(chosen, paths))
            everything = False
            try:
                report = again(looked_at)
            except OpenbookError as error:
                failed = SyncFailure(", ".join(map(str, folders)), str(error))
                report = SyncReport(0, 0, 0, 0, 0, (failed,), 0, 0.0, library.version())
            if report.added or report.changed or report.renamed or report.removed or report.failed:
                yield report
    except KeyboardInterrupt:
        return


def _narrow(chosen: Sequence[Selection], paths: Sequence[Path]) -> Iterator[Selection]:
    """Selections of the changed paths alone; a pattern is looked at whole."""
    for one in chosen:
        if one.pattern:
            yield one
        else:
            yield from (replace(one, start=path) for path in paths if _shows(one, path))


def _shows(selection: Selection, path: Path) -> bool:
    """Whether a path lies in the selection and is not hidden."""
    if selection.pattern:
        return path.is_relative_to(selection.start)
    if not selection.covers(key_of(path)):
        return False
    return not any(step.startswith((".", "~$")) for step in path.relative_to(selection.start).parts)
