"""Rows of a comparison on disk: appended one whole line at a time, read back after a kill at any byte.

    FOLDER/rows.jsonl       one Row a line, in the order in which they were asked
    FOLDER/.rows.lock       held by the process that appends

Knows no arm and no model. A line is written by one system call, so a kill leaves it whole, or torn at the file's end,
where the next writer cuts it off. Reading takes no lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from openbook import files
from openbook.compare.schema import Row, read_row, row_line
from openbook.errors import CompareError

NAME = "rows.jsonl"

_Key = tuple[str, str, str]


class Store:
    """The rows of one report folder, which need not exist yet. Appending is safe from several threads.

    >>> import tempfile
    >>> with Store(Path(tempfile.mkdtemp())) as store:
    ...     store.append(Row("c1", "base", None, error="no server answers", identity="f00d"))
    ...     len(store.rows()), store.done("base", "f00d")
    (1, set())
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = FileLock(folder / ".rows.lock", thread_local=False)
        self._gate = threading.RLock()
        self._handle: int | None = None

    def __enter__(self) -> Self:
        self.claim()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def claim(self) -> None:
        """Become the one writer and cut off a line torn by a kill; append does so by itself.

        Raises CompareError when another process writes here, or the disk refuses.
        """
        with self._gate:
            if self._handle is not None:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire(timeout=0)
            except Timeout:
                raise CompareError(
                    f"another process writes to {str(self.path)!r}; wait for that comparison to end, or stop it"
                ) from None
            except OSError as error:
                raise self._refused(error) from None
            try:
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0))
                os.ftruncate(self._handle, _whole(self.path))
            except OSError as error:
                self.close()
                raise self._refused(error) from None

    def append(self, row: Row) -> None:
        """Write a row behind the others; it survives a kill of this process from here on.

        Raises CompareError for a row that could not be read again (a score or text that is none), another writer, or
        a disk that refuses; the rows of before stay as they are.
        """
        line = _line(row)
        with self._gate:
            self.claim()
            assert self._handle is not None
            end = os.fstat(self._handle).st_size
            try:
                if os.write(self._handle, line) != len(line):
                    raise OSError(28, "No space left on device")
            except OSError as error:
                os.ftruncate(self._handle, end)
                raise self._refused(error) from None

    def rows(self, identities: Mapping[str, str] | None = None) -> list[Row]:
        """Every row, in the order first asked; a later one of the same (case, arm, identity) takes the earlier's place.

        `identities` (arm -> identity) leaves out other arms and what was asked under other settings.
        Raises CompareError naming the line that cannot be read; a torn last line is passed over.
        """
        found: dict[_Key, Row] = {}
        for row in self._read():
            if identities is None or identities.get(row.arm) == row.identity:
                found[_key(row)] = row
        return list(found.values())

    def done(self, arm: str, identity: str) -> set[str]:
        """Ids of the cases the arm has answered under this identity; failed ones are not among them."""
        found: set[str] = set()
        for row in self._read():
            if (row.arm, row.identity) == (arm, identity):
                (found.add if row.answer is not None else found.discard)(row.case)
        return found

    def score(self, rows: Sequence[Row]) -> None:
        """Give rows on disk the scores of these, all at once: a kill leaves the scores of before or all of these.

        Rows that are not on disk are added; others stay as they are.
        """
        with self._gate:
            self.claim()
            scored = {_key(row): row for row in rows}
            kept = [scored.pop(_key(row), None) or row for row in self.rows()]
            data = b"".join(_line(row) for row in [*kept, *scored.values()])
            try:
                files.write_atomic(self.path, data)
            except OSError as error:
                raise self._refused(error) from None
            finally:
                self._reopen()

    def close(self) -> None:
        """Let another process write. A second call does nothing."""
        with self._gate:
            if self._handle is not None:
                os.fsync(self._handle)
                os.close(self._handle)
                self._handle = None
            self._lock.release()

    def _reopen(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = os.open(self.path, os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0))

    def _read(self) -> Iterator[Row]:
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            for number, line in enumerate(stream, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield read_row(line.decode())
                except ValueError:
                    raise CompareError(
                        f"line {number} of {str(self.path)!r} is no row; remove the line and run again: what it held "
                        "is asked anew"
                    ) from None

    def _refused(self, error: OSError) -> CompareError:
        return CompareError(
            f"{str(self.path)!r} cannot be written ({error.strerror or error}); check the folder's permissions and "
            "free space, then run again: rows already there are kept"
        )


def with_error(row: Row, error: str) -> Row:
    """The row as a failed one."""
    return replace(row, answer=None, error=error, scores={})


def _key(row: Row) -> _Key:
    return row.case, row.arm, row.identity


def _line(row: Row) -> bytes:
    try:
        line = row_line(row)
        read_row(line)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise CompareError(f"the row of {row.arm!r} on case {row.case!r} cannot be written ({reason})") from None
    return line.encode() + b"\n"


def _whole(path: Path) -> int:
    """Bytes up to and with the last line end."""
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        end = stream.tell()
        while end > 0:
            start = max(0, end - 65536)
            stream.seek(start)
            at = stream.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0
