"""Heavy work in a process of its own, so that answers keep flowing: an order in, JSON lines back, then a result.

`python -m openbook.serve.workers KIND` is the child: its order is the first line on stdin; a line "stop" asks it to end
where it can go on from; the end of stdin means that its parent is gone, and ends it. Nicer than its parent by 10.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from openbook import errors
from openbook.errors import OpenbookError, TrainingError
from openbook.serve.jobs import Stopped, Wish

if TYPE_CHECKING:
    from openbook.seams import Progress

_POLITE = 10
_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
_LOOK = 0.2
"""Seconds between two looks at what is wished."""

Say = Callable[[dict[str, Any]], None]


def run(
    kind: str, order: Mapping[str, Any], say: Callable[[dict[str, Any]], None], wish: Callable[[], Wish]
) -> dict[str, Any]:
    """Have a child do the work of `kind`, and return its result.

    Raises Stopped when that was wished (a child to be cancelled is killed, one to pause or shut down ends by itself),
    what the child raised, TrainingError when it died.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "openbook.serve.workers", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is for the server, which asks its children itself
    )
    assert child.stdin is not None
    assert child.stdout is not None
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
    reader.start()
    try:
        _write(child.stdin, json.dumps(order))
        return _attend(child, child.stdin, lines, say, wish)
    finally:
        child.kill()
        child.wait()
        reader.join()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def _attend(
    child: subprocess.Popen[str], stdin: IO[str], lines: queue.SimpleQueue[str], say: Say, wish: Callable[[], Wish]
) -> dict[str, Any]:
    asked = False
    while True:
        wanted = wish()
        if wanted == "cancel":
            raise Stopped
        if wanted and not asked:
            asked = True
            _write(stdin, "stop")
        try:
            line = lines.get(timeout=_LOOK)
        except queue.Empty:
            continue
        if not line:
            raise TrainingError(_death(child.wait()))
        told = json.loads(line)
        if "say" in told:
            say(told["say"])
        elif "stopped" in told:
            raise Stopped
        elif "error" in told:
            raise getattr(errors, told["kind"], OpenbookError)(told["error"])
        else:
            result: dict[str, Any] = told["result"]
            return result


def _read(stream: IO[str], lines: queue.SimpleQueue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _write(stream: IO[str], line: str) -> None:
    with contextlib.suppress(OSError):  # a dead child is found out by reading
        stream.write(f"{line}\n")
        stream.flush()


def _death(code: int) -> str:
    how = f"exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-code).name
    return f"the process that did the work ended with {how}, perhaps for want of memory; see: openbook doctor"


class Line:
    """The child's end of the line to its parent."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._turn = threading.Lock()
        self._stop = threading.Event()

    def say(self, event: Mapping[str, Any]) -> None:
        """Have the parent record an event."""
        self.send({"say": dict(event)})

    def send(self, told: Mapping[str, Any]) -> None:
        """One line to the parent; without one there is nobody to work for."""
        with self._turn:
            try:
                self._out.write(json.dumps(told, ensure_ascii=False, default=str) + "\n")
                self._out.flush()
            except OSError:
                os._exit(1)

    def stopping(self) -> bool:
        """Whether to end where it can go on from."""
        return self._stop.is_set()

    @property
    def progress(self) -> Progress:
        """Progress as events; the place to stop for work that has no other."""

        def progress(step: str, done: int, total: int) -> None:
            if self.stopping():
                raise Stopped
            self.say({"step": step, "done": done, "total": total})

        return progress

    def listen(self, stream: IO[bytes]) -> None:
        """Heed the parent until it is gone; then end at once, whatever is being done."""
        for line in iter(stream.readline, b""):
            if line.strip() == b"stop":
                self._stop.set()
        os._exit(1)


def main(kind: str) -> int:
    """The child."""
    from openbook.serve import tasks

    _die_with_parent()
    with contextlib.suppress(AttributeError, OSError):
        os.nice(_POLITE)
    # What a library prints must not come between the lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Nor may a thread wait in sys.stdin: a process forked here, which closes it, would wait for that thread for ever.
    orders = os.fdopen(os.dup(0), "rb", buffering=0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    line = Line(out)
    order = json.loads(orders.readline())
    threading.Thread(target=line.listen, args=(orders,), daemon=True).start()
    try:
        line.send({"result": tasks.TASKS[kind](order, line)})
    except Stopped:
        line.send({"stopped": True})
    except OpenbookError as error:
        line.send({"error": str(error), "kind": type(error).__name__})
    return 0


def _die_with_parent() -> None:
    """Have the kernel end this process with its parent, where it can; the line to it does the same elsewhere."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent or parent == 1:
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
