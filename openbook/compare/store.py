"""Rows of a comparison on disk: appended one whole line at a time, read back after a kill at any byte.

    FOLDER/rows.jsonl       one Row a line, in the order in which they were asked
    FOLDER/.rows.lock       held by the process that appends

Knows no arm and no model. A line is written by one system call, so a kill leaves it whole, or torn at the file's end,
where the next writer cuts it off. Reading takes no lock.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from filelock import FileLock, Timeout

from openbook import files
from openbook.compare.schema import Row, read_row, row_line
from openbook.errors import CompareError

NAME = "rows.jsonl"

T = TypeVar("T")
_Index = dict[tuple[str, str], dict[str, bool]]
"""(arm, identity) -> answered case -> whether the answer has words."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Store:
    """The rows of one report folder, which need not exist yet. Appending is safe from several threads.

    >>> import tempfile
    >>> with Store(Path(tempfile.mkdtemp())) as store:
    ...     _ = store.append(Row("c1", "base", None, error="no server answers", identity="f00d"))
    ...     len(store.rows()), store.done("base", "f00d")
    (1, set())
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = FileLock(folder / ".rows.lock", thread_local=False)
        self._gate = threading.RLock()
        self._handle: int | None = None
        self._index: _Index = {}
        """Of this file, while it is held."""

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
                self._handle = os.open(self.path, _FLAGS)
                os.ftruncate(self._handle, _whole(self.path))
                self._index = self._indexed()
            except OSError as error:
                self.close()
                raise self._refused(error) from None
            except CompareError:
                self.close()
                raise

    def append(self, row: Row) -> Row:
        """Write a row behind the others and return it as it stands there; a kill of this process keeps it.

        An answer that cannot be written as JSON and read again (a lone surrogate, a time that is no number) becomes the
        error of its row. Raises CompareError for a score that is no number, when another process writes here, or the
        disk refuses; the rows of before stay as they are.
        """
        try:
            line = _line(row)
        except ValueError as error:
            row = _failed(row, f"the answer cannot be written down ({' '.join(str(error).split())[:200]})")
            line = _line(row)
        with self._gate:
            self.claim()
            assert self._handle is not None
            end = os.fstat(self._handle).st_size
            try:
                if os.write(self._handle, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                os.ftruncate(self._handle, end)
                raise self._refused(error) from None
            _note(self._index, row.case, row.arm, row.identity, None if row.answer is None else row.answer.text)
        return row

    def rows(self, identities: Mapping[str, str] | None = None) -> list[Row]:
        """Every row, in the order first asked; a later one of the same (case, arm, identity) takes the earlier's place.

        `identities` (arm -> identity) leaves out other arms and what was asked under other settings.
        Raises CompareError naming the line that cannot be read; a torn last line is passed over.
        """
        found: dict[tuple[str, str, str], Row] = {}
        for row in self._read(read_row):
            if identities is None or identities.get(row.arm) == row.identity:
                found[_key(row)] = row
        return list(found.values())

    def answered(self, arm: str, identity: str) -> dict[str, bool]:
        """Ids of the cases this arm has answered under this identity, and whether the answer has any words."""
        with self._gate:
            index = self._index if self._handle is not None else self._indexed()
            return dict(index.get((arm, identity), {}))

    def done(self, arm: str, identity: str) -> set[str]:
        """Ids of the cases this arm has answered under this identity; failed ones are not among them."""
        return set(self.answered(arm, identity))

    def score(self, rows: Sequence[Row]) -> None:
        """Give rows on disk the scores of these, all at once: a kill leaves the file of before or the new one.

        Rows that are not on disk are added; others stay as they are. Raises as append does.
        """
        with self._gate:
            self.claim()
            scored = {_key(row): row for row in rows}
            kept = [scored.pop(_key(row), row) for row in self.rows()]
            data = b"".join(_line(row) for row in [*kept, *scored.values()])
            try:
                files.write_atomic(self.path, data)
            except OSError as error:
                raise self._refused(error) from None
            if self._handle is not None:
                os.close(self._handle)
            self._handle = os.open(self.path, _FLAGS)
            self._index = self._indexed()

    def close(self) -> None:
        """Let another process write. A second call does nothing."""
        with self._gate:
            if self._handle is not None:
                os.fsync(self._handle)
                os.close(self._handle)
                self._handle = None
            self._lock.release()

    def _indexed(self) -> _Index:
        found: _Index = {}
        for case, arm, identity, text in self._read(_brief):
            _note(found, case, arm, identity, text)
        return found

    def _read(self, parse: Callable[[str], T]) -> Iterator[T]:
        """Whole lines, parsed. What follows the last line end is a torn line, or one being written."""
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            for number, line in enumerate(stream, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield parse(line.decode())
                except (ValueError, LookupError, TypeError):
                    raise CompareError(
                        f"line {number} of {str(self.path)!r} is no row; remove the line and run again: what it held "
                        "is asked anew"
                    ) from None

    def _refused(self, error: OSError) -> CompareError:
        return CompareError(
            f"{str(self.path)!r} cannot be written ({error.strerror or error}); check the folder's permissions and "
            "free space, then run again: rows already there are kept"
        )


def _brief(line: str) -> tuple[str, str, str, str | None]:
    """Case, arm, identity and the answer's text, without checking the rest. Raises ValueError or what indexing does."""
    raw = json.loads(line)
    answer = raw["answer"]
    return raw["case"], raw["arm"], raw["identity"], None if answer is None else str(answer["text"])


def _note(index: _Index, case: str, arm: str, identity: str, text: str | None) -> None:
    if text is not None:
        index.setdefault((arm, identity), {})[case] = bool(text.strip())


def _failed(row: Row, error: str) -> Row:
    return replace(row, answer=None, error=error, scores={})


def _key(row: Row) -> tuple[str, str, str]:
    return row.case, row.arm, row.identity


def _line(row: Row) -> bytes:
    """Raises ValueError when the line could not be read again."""
    line = row_line(row)
    read_row(line)
    return line.encode() + b"\n"


def _whole(path: Path) -> int:
    """Bytes up to and with the last line end."""
    with path.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            stream.seek(start)
            at = stream.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0
