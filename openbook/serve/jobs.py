"""Long work that outlives its request: kept in server.db, run one per kind, taken up again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from openbook.serve.access import Caller

State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Wish = Literal["", "cancel", "pause", "shutdown"]


@dataclass(frozen=True, slots=True)
class Job:
    """One long work."""

    id: str
    kind: str
    """"sync", "train", "compare", "preflight" ..."""
    caller: Caller
    args: Mapping[str, Any]
    state: State
    result: Mapping[str, Any] | None
    error: str
    created: float
    started: float | None
    ended: float | None

    def json(self) -> dict[str, Any]:
        """As the native API shows it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "args": dict(self.args),
            "result": None if self.result is None else dict(self.result),
            "error": self.error,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
        }


class Handler(Protocol):
    """Does one kind of work; called again with the same job after a restart or a pause, and goes on then."""

    def __call__(self, job: Job, say: Callable[[dict[str, Any]], None], wish: Callable[[], Wish]) -> dict[str, Any]:
        """The result. `say` records an event ({"step", "done", "total"} is progress); `wish` is asked often."""
