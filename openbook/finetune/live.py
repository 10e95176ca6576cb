"""What a training says while it runs: one JSON line per event, read back whole after any crash.

Events in, events.jsonl out, and from it: what counts after resumes, rates, time left, the best check.
Does not know how training works, nor what is drawn from the events.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from openbook.errors import TrainingError

FILE_NAME = "events.jsonl"
Event = dict[str, Any]
"""{"t": unix seconds, "kind": "start" | "step" | "eval" | "checkpoint" | "resume" | "stop" | "end", ...}."""

_LOWER_IS_BETTER = frozenset({"loss", "perplexity"})
_DURABLE = frozenset({"start", "checkpoint", "resume", "stop", "end"})


class Sample(TypedDict):
    """One validation prompt answered at a check."""

    prompt: str
    reference: str
    reply: str
    score: float | None


class EventLog:
    """Appends events to a run folder's events.jsonl; every line on disk is whole or is cut off at the next opening.

    A value that JSON cannot hold (NaN, infinity) is written as null. Watchers get each event after it was written.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.time, watchers: Sequence[Callable[[Event], None]] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE_NAME
        self._clock = clock
        self._watchers = tuple(watchers)
        self._stream = self.path.open("ab", buffering=0)
        self._stream.truncate(_whole(self.path))

    def start(
        self,
        *,
        run: str,
        name: str,
        model: str,
        examples: int,
        validation: int,
        steps: int,
        epochs: float,
        settings: Mapping[str, Any],
        machine: Mapping[str, Any],
    ) -> None:
        """The training begins: `steps` optimizer steps over `examples`, checked on `validation` held-out ones."""
        self._write(
            "start",
            run=run,
            name=name,
            model=model,
            examples=examples,
            validation=validation,
            steps=steps,
            epochs=epochs,
            settings=dict(settings),
            machine=dict(machine),
        )

    def step(
        self,
        *,
        step: int,
        epoch: float,
        loss: float,
        lr: float,
        grad_norm: float,
        padded: int,
        real: int,
        supervised: int,
        seconds: float,
        memory_mb: float,
    ) -> None:
        """Optimizer step `step` (1-based) is done; token counts and wall seconds are this step's alone.

        `padded` tokens were computed, for the `real` ones of the examples: fewer, when examples share a beginning.
        """
        self._write(
            "step",
            step=step,
            epoch=epoch,
            loss=loss,
            lr=lr,
            grad_norm=grad_norm,
            padded=padded,
            real=real,
            supervised=supervised,
            seconds=seconds,
            memory_mb=memory_mb,
        )

    def eval(
        self,
        *,
        step: int,
        epoch: float,
        loss: float,
        metric: float,
        name: str,
        n: int,
        low: float,
        high: float,
        samples: Sequence[Sample],
        seconds: float | None = None,
    ) -> None:
        """The model after `step` (0: untouched) was checked: validation loss, metric with interval, some answers.

        `seconds` is what the check took; without it, the time since the event before counts.
        """
        self._write(
            "eval",
            step=step,
            epoch=epoch,
            loss=loss,
            metric=metric,
            name=name,
            n=n,
            low=low,
            high=high,
            samples=list(samples),
            seconds=seconds,
        )

    def checkpoint(self, *, step: int, path: str) -> None:
        """Everything needed to go on after `step` is on disk."""
        self._write("checkpoint", step=step, path=path)

    def resume(self, *, step: int) -> None:
        """Training goes on after `step` (0: from the beginning); what was logged beyond it no longer counts."""
        self._write("resume", step=step)

    def stop(self, *, step: int, reason: str) -> None:
        """Training ends before its last step, for a reason a person understands."""
        self._write("stop", step=step, reason=reason)

    def end(self, *, step: int, best_step: int, metric: float | None, seconds: float) -> None:
        """Training is over; the weights after `best_step` are kept."""
        self._write("end", step=step, best_step=best_step, metric=metric, seconds=seconds)

    def close(self) -> None:
        """Release the file; events so far stay."""
        self._stream.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, kind: str, **fields: Any) -> None:
        event: Event = _finite({"t": round(self._clock(), 3), "kind": kind, **fields})
        line = json.dumps(event, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        size = os.fstat(self._stream.fileno()).st_size
        try:
            if (written := self._stream.write(line)) != len(line):
                raise OSError(f"{written} of {len(line)} bytes written")
            if kind in _DURABLE:
                os.fsync(self._stream.fileno())
        except OSError as error:
            self._stream.truncate(size)
            raise TrainingError(
                f"{self.path} cannot be written ({error}); free some space and continue with --resume"
            ) from None
        for watcher in self._watchers:
            watcher(event)


def read(folder: Path) -> list[Event]:
    """All whole events of a run, in writing order; a torn last line is left out, no file gives no events.

    Raises TrainingError when a line before the last is damaged.
    """
    path = folder / FILE_NAME
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    events: list[Event] = []
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
            sound = isinstance(event, dict) and isinstance(event.get("kind"), str) and "t" in event
        except ValueError:
            sound = False
        if not sound:
            raise TrainingError(f"{path}:{number} is not an event: {line[:40]!r}; remove that line to read the rest")
        events.append(event)
    return events


def history(events: Sequence[Event]) -> list[Event]:
    """The events that count: a resume undoes what was beyond its step, a later entry replaces an earlier one.

    Of starts, stops and ends the newest counts, and a resume undoes stops and ends. Steps come out strictly rising as
    long as every going back was announced by a resume.
    """
    kept: dict[tuple[str, int | None], Event] = {}
    for event in events:
        kind = event["kind"]
        if kind == "resume":
            kept = {
                key: one
                for key, one in kept.items()
                if key[0] == "start" or (key[0] not in {"stop", "end"} and one["step"] <= event["step"])
            }
        key = (kind, None if kind in {"start", "stop", "end"} else event["step"])
        kept.pop(key, None)
        kept[key] = event
    return list(kept.values())


@dataclass(frozen=True, slots=True)
class Rates:
    """Speed over the last steps."""

    padded: float
    """Tokens per second as computed: with padding if there is any, shared beginnings once."""
    real: float
    """Tokens of the examples themselves."""
    supervised: float
    """Tokens whose prediction is learned."""
    step_seconds: float
    eta: float | None
    """Wall seconds to the end, remaining checks included; None when it cannot be known, 0 after the end."""


def rate(events: Sequence[Event], *, last: int = 20) -> Rates | None:
    """Speed over the `last` steps of a history; None before the first step."""
    steps = [event for event in events if event["kind"] == "step"]
    recent = steps[-last:]
    seconds = sum(event["seconds"] or 0.0 for event in recent)
    if not recent or seconds <= 0:
        return None
    padded, real, supervised = (
        sum(event[count] for event in recent) / seconds for count in ("padded", "real", "supervised")
    )
    return Rates(padded, real, supervised, seconds / len(recent), _left(events, steps, seconds / len(recent)))


def check_seconds(events: Sequence[Event]) -> list[float]:
    """Wall seconds each check took; without a measurement of its own, the time since the event before."""
    return [
        float(event["t"] - before["t"] if event.get("seconds") is None else event["seconds"])
        for before, event in zip([{"t": math.inf}, *events], events, strict=False)
        if event["kind"] == "eval" and (event.get("seconds") is not None or math.isfinite(before["t"]))
    ]


def best(events: Sequence[Event]) -> Event | None:
    """The check with the best metric, the earliest of equals; less is better for loss and perplexity."""
    checks = [event for event in events if event["kind"] == "eval" and event["metric"] is not None]
    if not checks:
        return None
    sign = -1 if checks[-1]["name"] in _LOWER_IS_BETTER else 1
    return max(checks, key=lambda event: sign * event["metric"])


def _left(events: Sequence[Event], steps: Sequence[Event], step_seconds: float) -> float | None:
    start = next((event for event in events if event["kind"] == "start"), None)
    kinds = {event["kind"] for event in events}
    if "end" in kinds:
        return 0.0
    if start is None or "stop" in kinds:
        return None
    done = steps[-1]["step"]
    to_go = max(start["steps"] - done, 0)
    made = sum(event["kind"] == "eval" and event["step"] > 0 for event in events)
    planned = start["settings"].get("checks")
    checks = max(planned - made, 0) if isinstance(planned, int) else made / done * to_go
    costs = check_seconds(events)
    return float(to_go * step_seconds + checks * (sum(costs) / len(costs) if costs else 0.0))


def _whole(path: Path) -> int:
    """Bytes up to and including the last line end."""
    return path.read_bytes().rfind(b"\n") + 1


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value if isinstance(value, str | int | bool | None) else str(value)
