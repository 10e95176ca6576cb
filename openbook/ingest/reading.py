"""Files in, what their readers made of them out, each risky file in a process of its own that may die.

A parser can crash, loop for ever or take all memory on one bad file. Readers therefore run in child processes that
kill themselves after a time limit and may use only so much memory; a dead child is one failed file. Children answer in
JSON, never pickle, so that a parser taken over by its file still cannot run code here. Plain text is read in this
process: starting a child costs more than reading a thousand such files.
"""

from __future__ import annotations

import base64
import contextlib
import faulthandler
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

from openbook.errors import MissingExtra, ReadError
from openbook.ingest import readers
from openbook.ingest.plan import File
from openbook.ingest.readers import ReadOutcome
from openbook.records import Document, Page, SyncFailure
from openbook.settings import Ingest

SECONDS = 300
"""A file still being read after this long is given up."""
MEMORY = 4 << 30
"""Bytes of memory a child may take, where the system can hold it to that."""
INLINE = frozenset({".md", ".markdown", ".txt", ".text", ".log"})
INLINE_BYTES = 1_000_000
AHEAD = 4
"""Files read in advance per child, so that one slow file does not idle the others."""


class Reading:
    """Reads files in order; a context, because leaving it ends the children, whatever they are doing.

    seconds, memory: limits of a child for one file. children: how many at most; by default one per core.
    """

    def __init__(
        self, settings: Ingest, *, seconds: float = SECONDS, memory: int = MEMORY, children: int | None = None
    ) -> None:
        self._settings = settings
        self._limits = {"settings": settings.model_dump(), "seconds": seconds, "memory": memory}
        self._seconds = seconds
        self._count = children or _cores()
        self._own = threading.local()
        self._children: set[_Child] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="openbook-read")

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            for child in self._children:
                child.end()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, files: Iterable[File]) -> Iterator[tuple[File, ReadOutcome | str]]:
        """Each file with what it gave, or the reason it gave nothing. Raises MissingExtra when a page needs OCR."""
        waiting: deque[tuple[File, Future[dict[str, Any]] | None]] = deque()
        for file in files:
            waiting.append((file, None if _is_plain(file) else self._pool.submit(self._ask, file)))
            while waiting and (waiting[0][1] is None or len(waiting) > AHEAD * self._count):
                yield self._next(waiting)
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: deque[tuple[File, Future[dict[str, Any]] | None]]) -> tuple[File, ReadOutcome | str]:
        file, future = waiting.popleft()
        if future is None:
            try:
                return file, readers.read(file.path, name=file.path.name, limits=self._settings)
            except ReadError as error:
                return file, str(error)
        answer = future.result()
        if "extra" in answer:
            raise MissingExtra(answer["extra"])
        return file, answer["failure"] if "failure" in answer else _outcome(answer)

    def _ask(self, file: File) -> dict[str, Any]:
        """One question to this thread's child, started if need be."""
        child: _Child | None = getattr(self._own, "child", None)
        if child is None:
            with self._lock:
                if self._closed:
                    return {"failure": "the sync was stopped"}
                child = self._own.child = _Child(self._limits)
                self._children.add(child)
        started = time.monotonic()
        try:
            return child.ask(file.path)
        except (EOFError, OSError):
            took = time.monotonic() - started
            code = child.end()
            with self._lock:
                self._children.discard(child)
            self._own.child = None
            if took >= self._seconds:
                return {"failure": f"still being read after {self._seconds:g} seconds and given up"}
            return {"failure": f"its reader crashed ({_death(code)}); the file is damaged or made to do harm"}


class _Child:
    """A process that reads files, one at a time."""

    def __init__(self, limits: dict[str, Any]) -> None:
        # Not multiprocessing: that imports the caller's main script again, which may have no __main__ guard.
        code = "import sys; sys.path[:] = sys.argv[1:]; from openbook.ingest.reading import child; child()"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        _send(self._to, limits)

    def ask(self, path: Path) -> dict[str, Any]:
        """What the file holds. Raises EOFError or OSError when the child is dead."""
        _send(self._to, str(path))
        return cast("dict[str, Any]", _receive(self._from))

    def end(self) -> int:
        """Kill the process if it lives and return its exit code."""
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()
        return code


def child() -> None:
    """The life of a child: paths in on standard input, outcomes out on standard output, gone when its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, tasks), daemon=True).start()
    limits = tasks.get()
    settings = Ingest.model_validate(limits["settings"])
    _limit_memory(limits["memory"])
    while True:
        path = Path(tasks.get())
        # A C thread that needs no cooperation from a parser stuck in native code.
        faulthandler.dump_traceback_later(limits["seconds"], exit=True)
        answer = _read(path, settings)
        faulthandler.cancel_dump_traceback_later()
        _send(answers, answer)


def _listen(stream: IO[bytes], tasks: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            tasks.put(_receive(stream))
        except (EOFError, OSError):
            os._exit(0)


def _read(path: Path, settings: Ingest) -> dict[str, Any]:
    try:
        outcome = readers.read(path, name=path.name, limits=settings)
    except ReadError as error:
        return {"failure": str(error)}
    except MissingExtra as error:
        return {"extra": str(error)}
    except (MemoryError, RecursionError) as error:
        return {"failure": f"takes more memory or depth than a file may ({type(error).__name__})"}
    return {
        "documents": [
            asdict(document) | {"boxes": document.boxes and base64.b64encode(document.boxes).decode()}
            for document in outcome.documents
        ],
        "failures": [(failure.path, failure.reason) for failure in outcome.failures],
    }


def _outcome(answer: dict[str, Any]) -> ReadOutcome:
    documents = (
        Document(
            **fields
            | {
                "pages": tuple(Page(**page) for page in fields["pages"]),
                "notes": tuple(fields["notes"]),
                "boxes": fields["boxes"] and base64.b64decode(fields["boxes"]),
            }
        )
        for fields in answer["documents"]
    )
    return ReadOutcome(tuple(documents), tuple(SyncFailure(*failure) for failure in answer["failures"]))


def _send(stream: IO[bytes], value: object) -> None:
    data = json.dumps(value).encode("ascii")
    stream.write(struct.pack(">Q", len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> object:
    """The next value. Raises EOFError at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    size = struct.unpack(">Q", head)[0]
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return json.loads(data)


def _is_plain(file: File) -> bool:
    try:
        return file.path.suffix.lower() in INLINE and file.path.stat().st_size <= INLINE_BYTES
    except OSError:
        return False


def _limit_memory(most: int) -> None:
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _death(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
