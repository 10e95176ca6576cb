"""Orders in, seconds and memory of every arm out, each measured in a process of its own. Knows no room.

Arms that ran beside each other share caches, threads and peak memory; so each gets a fresh process, is asked one
question unmeasured, and then the same questions one after the other. The process is `python -m openbook.timing`: the
order as one line of JSON on its stdin, what it measured as lines of JSON on its stdout. It ends when its stdin does.

The section "latency" holds

    questions, machine {cpu, cores ...}
    arms {arm: {n, retrieve, prefill, decode, total, cpu {p50, p95, mean} seconds, prompt_tokens, answer_tokens (means),
                written (of n by a model; the others were declined before), load_seconds (new process to the end of its
                first answer), peak_mb (resident, weights mapped from disk included), adapter, note (why n is less)}}
    failed {arm: sentence}
    adapters {ref: {merged, unmerged {prefill, decode: median seconds of the prompt and of one token}, ratio {prefill,
              decode, answer: unmerged / merged}, prompt_tokens, answer_tokens, rounds, runtime}}
    adapters_missing {ref: sentence}
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import IO, Any

from openbook import provenance
from openbook.errors import CompareError
from openbook.seams import Progress

CHILD = (sys.executable, "-m", "openbook.timing")
LIMIT = 900.0
"""Seconds one process may take."""
STEPS = ("retrieve", "prefill", "decode", "total", "cpu")


@dataclass(frozen=True, slots=True)
class Order:
    """What one process measures: an arm's answers, or with `unmerged` an adapter's layers merged and unmerged."""

    root: str
    """The workspace's folder, whose library no other process has open."""
    arm: str
    """One of records.Arm; shown under `name`."""
    name: str = ""
    """In the section; "" is `arm`."""
    adapter: str | None = None
    """NAME@VERSION."""
    questions: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    """Each with its history of (role, content)."""
    shots: tuple[tuple[str, str], ...] = ()
    """(role, content) of examples in the prompt."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The workspace's settings; {} reads openbook.toml."""
    unmerged: bool = False
    prompt_tokens: int = 256
    answer_tokens: int = 32
    rounds: int = 5

    @property
    def title(self) -> str:
        """What it is called in the section."""
        return self.name or self.arm


def measure(
    orders: Sequence[Order],
    *,
    limit: float = LIMIT,
    progress: Progress | None = None,
    stopping: Callable[[], bool] = lambda: False,
    command: Sequence[str] = CHILD,
) -> dict[str, Any]:
    """The section "latency" of these orders, one process after the other; `limit` is seconds for each.

    What goes wrong in one becomes its sentence in "failed" or "adapters_missing"; answers it gave before count. Ctrl-C
    and `stopping` end the process that runs.
    """
    section: dict[str, Any] = {
        "questions": max((len(order.questions) for order in orders if not order.unmerged), default=0),
        "machine": provenance.machine(),
        "arms": {},
        "failed": {},
        "adapters": {},
        "adapters_missing": {},
    }
    for number, order in enumerate(orders):
        if progress is not None:
            progress("time", number, len(orders))
        if stopping():
            break
        said, trouble = _run(order, limit, stopping, command)
        if order.unmerged:
            found = next((one["adapter"] for one in said if "adapter" in one), None)
            kind, name = ("adapters", order.adapter) if found else ("adapters_missing", order.adapter)
            section[kind][name] = found or trouble
        elif any("seconds" in one for one in said):
            section["arms"][order.title] = _summed(said, order, trouble)
        else:
            section["failed"][order.title] = trouble or "no question was asked; give at least two"
    if progress is not None:
        progress("time", len(orders), len(orders))
    return section


def _run(
    order: Order, limit: float, stopping: Callable[[], bool], command: Sequence[str]
) -> tuple[list[dict[str, Any]], str]:
    """What the process said, and what went wrong, "" for nothing."""
    what = f"the process that timed {order.title!r}"
    said: list[dict[str, Any]] = []
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        try:
            for line in _lines(order, limit, stopping, command, complaints):
                one = json.loads(line)
                if not isinstance(one, dict):
                    raise ValueError(line)
                if "error" in one:
                    return said, str(one["error"])
                said.append(one)
        except CompareError as error:
            return said, f"{what} {error}"
        except ValueError:
            return said, f"{what} said something that is no measurement; try again"
        if any(one.get("done") for one in said):
            return said, ""
        complaints.seek(0)
        last = complaints.read().strip().splitlines()[-1:]
        return said, f"{what} ended early{f' ({last[0][:200]})' if last else ''}; it may have run out of memory"


def _lines(
    order: Order, limit: float, stopping: Callable[[], bool], command: Sequence[str], complaints: IO[str]
) -> Iterator[str]:
    """The child's lines; raises CompareError, the rest of a sentence, when it is stopped. The child is gone after."""
    began = time.monotonic()
    try:
        child = subprocess.Popen(
            [*command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the parent, which ends it
        )
    except OSError as error:
        raise CompareError(f"could not start ({error.strerror}); free some memory and try again") from None
    assert child.stdin is not None
    assert child.stdout is not None
    heard: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_listen, args=(child.stdout, heard), daemon=True)
    reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):  # it ended already; what it said tells why
            child.stdin.write(json.dumps(asdict(order)) + "\n")
            child.stdin.flush()
        while True:
            try:
                line = heard.get(timeout=0.2)
            except queue.Empty:
                line = ""
            if line is None:
                return
            if line:
                yield line
            if stopping():
                raise CompareError("was stopped; run the comparison again to measure it")
            if time.monotonic() - began > limit:
                raise CompareError(f"took longer than {limit:g} seconds and was ended; ask fewer questions")
    finally:
        _end(child)
        reader.join(timeout=5)
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()


def _listen(stream: IO[str], heard: queue.Queue[str | None]) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed under it
        for line in stream:
            heard.put(line)
    heard.put(None)


def _end(child: subprocess.Popen[str]) -> None:
    """End the child and what it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def _summed(said: Sequence[Mapping[str, Any]], order: Order, trouble: str) -> dict[str, Any]:
    answers = [one for one in said if "seconds" in one]
    peaks = [one["peak_mb"] for one in said if "peak_mb" in one]
    loaded = [one["load_seconds"] for one in said if "load_seconds" in one]
    return {
        "n": len(answers),
        "written": sum(bool(one["prompt_tokens"]) for one in answers),
        **{step: spread([one["seconds"][step] for one in answers]) for step in STEPS},
        "prompt_tokens": fmean(one["prompt_tokens"] for one in answers),
        "answer_tokens": fmean(one["answer_tokens"] for one in answers),
        "load_seconds": loaded[0] if loaded else None,
        "peak_mb": max(peaks) if peaks else None,
        "adapter": order.adapter or "",
        "note": trouble,
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile (linear between order statistics) and mean.

    >>> spread([1.0, 2.0, 3.0])["p50"]
    2.0
    """
    import numpy as np

    p50, p95 = np.quantile(values, [0.5, 0.95])
    return {"p50": float(p50), "p95": float(p95), "mean": fmean(values)}


def ratio(
    merged: Sequence[tuple[float, float]], unmerged: Sequence[tuple[float, float]], *, answer_tokens: int
) -> dict[str, Any]:
    """Seconds of (prompt, one token), round by round in turn, as one adapter's entry of the section.

    >>> ratio([(1.0, 0.1)], [(1.5, 0.2)], answer_tokens=10)["ratio"]["answer"]
    1.75
    """
    found = {
        name: {"prefill": median(one for one, _ in rounds), "decode": median(one for _, one in rounds)}
        for name, rounds in (("merged", merged), ("unmerged", unmerged))
    }
    whole = {name: part["prefill"] + answer_tokens * part["decode"] for name, part in found.items()}
    shares = {step: found["unmerged"][step] / found["merged"][step] for step in ("prefill", "decode")}
    return {**found, "ratio": {**shares, "answer": whole["unmerged"] / whole["merged"]}}


def peak_mb() -> float:
    """Peak resident memory of this process in MB.

    On Linux that of the program alone: what getrusage says begins with the peak of the process that started it.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import psutil

    memory = psutil.Process().memory_info()
    return float(getattr(memory, "peak_wset", memory.rss)) / 1e6
