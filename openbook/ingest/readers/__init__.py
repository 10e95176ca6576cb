"""Files and fetched bytes in, Documents out, one module per format; knows nothing of sources, chunks or the library.

`read` is a plain function without state between calls, fit for worker processes. Whatever a parser stumbles over
becomes a ReadError; crashes and endless loops are for the caller's worker processes to contain.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from openbook.errors import OpenbookError, ReadError
from openbook.ingest.readers import detect
from openbook.ingest.readers.parsed import Budget, Parsed, one_line
from openbook.records import Document, SyncFailure
from openbook.settings import Ingest

_REASON_LENGTH = 200
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class ReadOutcome:
    """What one file gave: its documents, and the files inside it that could not be read."""

    documents: tuple[Document, ...]
    """The file's own first, then attachments and archive members as `outer.zip!/inner/file.md`."""
    failures: tuple[SyncFailure, ...] = ()


def read(path: Path, *, name: str, limits: Ingest) -> ReadOutcome:
    """Read a file as what its content says it is.

    Raises ReadError when the file itself cannot be read (the reason alone, without the path), and MissingExtra when
    limits.ocr is set, a page needs it and openbook[ocr] is not installed. What fails inside an archive or a mail is
    listed in `failures` instead. Files over limits.max_file_mb are refused before a byte is read.
    """
    most = int(limits.max_file_mb * 1e6)
    try:
        if not path.is_file():
            raise ReadError("not a regular file")
        size = path.stat().st_size
        if size > most:
            raise ReadError(_too_large(size, limits))
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise ReadError(f"cannot be opened ({error.strerror or error})") from None
    return read_bytes(data, name=name, limits=limits)


def read_bytes(data: bytes, *, name: str, limits: Ingest, depth: int = 0, encoding: str = "") -> ReadOutcome:
    """Read bytes that came over the network or out of another file; errors as for `read`.

    `depth` counts the archives and mails around the bytes; `encoding` is what HTTP said about an HTML page.

    >>> read_bytes(b"# Leave\\n\\nFive days.", name="leave.md", limits=Ingest()).documents[0].title
    'Leave'
    """
    budget = Budget(int(limits.max_unpacked_mb * 1e6), limits.max_unpacked_mb)
    documents: list[Document] = []
    failures: list[SyncFailure] = []
    _collect(_Job(data, name, depth, encoding), limits, budget, documents, failures)
    return ReadOutcome(tuple(documents), tuple(failures))


def formats() -> tuple[str, ...]:
    """The file name extensions that are read, with their dot, sorted."""
    return tuple(sorted(detect.EXTENSIONS))


def is_supported(path: Path | PurePosixPath | str) -> bool:
    """Whether the name's extension is one that is read.

    >>> is_supported("Report.PDF"), is_supported("photo.jpg")
    (True, False)
    """
    return PurePosixPath(str(path).replace("\\", "/")).suffix.lower() in detect.EXTENSIONS


@dataclass(frozen=True, slots=True)
class _Job:
    data: bytes
    name: str
    depth: int
    encoding: str = ""


def _collect(job: _Job, limits: Ingest, budget: Budget, documents: list[Document], failures: list[SyncFailure]) -> None:
    """Read one file and, recursively, the files inside it. Only the file's own trouble is raised."""
    if len(job.data) > limits.max_file_mb * 1e6:
        raise ReadError(_too_large(len(job.data), limits))
    kind = _guarded("unknown", lambda: detect.detect(job.data, job.name))
    parsed = _parse(kind, job, limits, budget)
    if not parsed.container:
        documents.append(_document(job, kind, parsed))
    taken: set[str] = set()
    inner = _guarded(kind, lambda: iter(parsed.inner))
    while (item := _guarded(kind, lambda: next(inner, None))) is not None:
        name = _unused(f"{job.name}!/{item.name}", taken)
        try:
            if item.failure:
                raise ReadError(item.failure)
            if job.depth >= limits.max_nesting:
                raise ReadError(f"nested deeper than {limits.max_nesting}; raise ingest.max_nesting to read it")
            _collect(_Job(item.data, name, job.depth + 1), limits, budget, documents, failures)
        except ReadError as error:
            failures.append(SyncFailure(name, str(error)))


def _parse(kind: str, job: _Job, limits: Ingest, budget: Budget) -> Parsed:
    """Call the format's reader, whose imports happen only now."""
    from openbook.ingest.readers import (
        delimited,
        docx,
        epub,
        html,
        mail,
        notebook,
        pdf,
        pptx,
        rst,
        sheet,
        structured,
        text,
        zipped,
    )

    data = job.data
    readers: dict[str, Callable[[], Parsed]] = {
        "txt": lambda: text.read(data),
        "md": lambda: text.read_markdown(data),
        "rst": lambda: rst.read(data),
        "html": lambda: html.read(data, job.encoding),
        "pdf": lambda: pdf.read(data, max_pages=limits.max_pages, use_ocr=limits.ocr),
        "docx": lambda: docx.read(data, budget),
        "pptx": lambda: pptx.read(data, budget, limits.max_pages),
        "xlsx": lambda: sheet.read(data, budget, limits.max_pages),
        "xls": lambda: sheet.read_old(data, limits.max_pages),
        "csv": lambda: delimited.read(data, tabs=job.name.lower().endswith(".tsv")),
        "json": lambda: structured.read(data),
        "jsonl": lambda: structured.read_lines(data),
        "eml": lambda: mail.read(data),
        "msg": lambda: mail.read_msg(data),
        "epub": lambda: epub.read(data, budget),
        "ipynb": lambda: notebook.read(data),
        "zip": lambda: zipped.read(data, budget, limits.max_file_mb),
    }
    return _guarded(kind, readers[kind])


def _guarded(kind: str, call: Callable[[], _Result]) -> _Result:
    """Run third-party parsing; its failures become ReadErrors, its warnings are not the user's business."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except ReadError as error:
        raise ReadError(one_line(str(error))) from None
    except OpenbookError:
        raise
    except ImportError as error:
        raise ReadError(f"an installation without {error.name or error}; install openbook anew") from error
    except Exception as error:
        reason = one_line(str(error)) or "no reason given"
        raise ReadError(f"damaged {kind} file ({type(error).__name__}: {reason[:_REASON_LENGTH]})") from error


def _document(job: _Job, kind: str, parsed: Parsed) -> Document:
    notes = parsed.notes if parsed.text.strip() else (*parsed.notes, "no text found")
    return Document(
        name=job.name,
        text=parsed.text,
        format=kind,
        hash=hashlib.sha256(job.data).hexdigest(),
        bytes=len(job.data),
        title=parsed.title,
        author=parsed.author,
        created=parsed.created,
        modified=parsed.modified,
        pages=parsed.pages,
        boxes=parsed.boxes,
        notes=notes,
    )


def _unused(name: str, taken: set[str]) -> str:
    """A name no sibling has: an archive may hold one name twice."""
    unused, number = name, 2
    while unused in taken:
        path = PurePosixPath(name)
        unused, number = str(path.with_name(f"{path.stem} ({number}){path.suffix}")), number + 1
    taken.add(unused)
    return unused


def _too_large(size: int, limits: Ingest) -> str:
    return f"{size / 1e6:.0f} MB is over the limit of {limits.max_file_mb:g} MB; raise ingest.max_file_mb to read it"
