"""A library split with other settings in, the same documents in chunks of the present size out; no file is read again.

What the library was last split with stands in split.json beside it. The chunks themselves decide what is rewritten: a
run that was stopped goes on where it was, and a document whose chunks stay the same is not embedded again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from openbook.errors import OpenbookError
from openbook.files import write_atomic
from openbook.ingest.split import split
from openbook.ingest.write import Writer
from openbook.records import SyncReport
from openbook.seams import Embedder, Library, Progress
from openbook.settings import Ingest

FILE = "split.json"


def bring_along(
    report: SyncReport,
    folder: Path,
    *,
    library: Library,
    embedder: Embedder,
    settings: Ingest,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SyncReport:
    """After a sync, split anew what the settings want in other chunks; returns the report with what that took.

    folder: the library's, for split.json. A dry run only says what it would do. progress: called with "split", "embed"
    and "commit" (documents, chunks, documents).
    """
    wanted = {"chunk_tokens": settings.chunk_tokens, "overlap_tokens": settings.overlap_tokens}
    recorded = last_split(folder)
    if recorded == wanted:
        return report
    if report.dry_run:
        would = f"documents in chunks of another size would be split anew ({settings.chunk_tokens} tokens)"
        return replace(report, notes=(*report.notes, would)) if recorded else report
    started = clock()
    all_new = recorded is None and report.added + report.changed == len(library.documents())
    documents, chunks = (0, 0) if all_new else resplit(library, embedder, settings, progress=progress, clock=clock)
    write_atomic(folder / FILE, json.dumps(wanted) + "\n")
    were = "document was" if documents == 1 else "documents were"
    said = f"{documents} {were} split anew, into chunks of {settings.chunk_tokens} tokens"
    return replace(
        report,
        chunks=report.chunks + chunks,
        seconds=report.seconds + clock() - started,
        library_version=library.version(),
        notes=(*report.notes, said) if documents else report.notes,
    )


def resplit(
    library: Library,
    embedder: Embedder,
    settings: Ingest,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, int]:
    """Rewrite the documents whose stored chunks are not those of the settings; returns how many, and their chunks."""
    writer = Writer(library, embedder, progress=progress, clock=clock, note=f"split by {settings.chunk_tokens} tokens")
    infos, changed = library.documents(), 0
    for done, info in enumerate(infos, 1):
        document = library.document(info.name)
        if document is not None:
            chunks = split(
                document,
                count=embedder.count,
                max_tokens=embedder.max_tokens,
                chunk_tokens=settings.chunk_tokens,
                overlap_tokens=settings.overlap_tokens,
            )
            if chunks != [chunk for _, chunk in library.chunks_of(info.name)]:
                writer.put(document, chunks, acl=info.acl, source=info.source)
                writer.commit_if_full()
                changed += 1
        if progress and len(infos) > 1:
            progress("split", done, len(infos))
    return changed, writer.finish(rename=(), remove=())


def last_split(folder: Path) -> dict[str, int] | None:
    """The chunk_tokens and overlap_tokens a library was last split with; None when that is not on record."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def refuse_stale(folder: Path, settings: Ingest) -> None:
    """Raise OpenbookError while the chunks are not those the settings name: results would be put down to the wrong."""
    split = last_split(folder)
    now = {"chunk_tokens": settings.chunk_tokens, "overlap_tokens": settings.overlap_tokens}
    if split is not None and split != now:
        raise OpenbookError(
            f"the documents are still split by {_told(split)} and the settings say {_told(now)}; "
            "run openbook sync YOUR FOLDERS first"
        )


def _told(split: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in split.items())
