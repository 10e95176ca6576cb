"""Long work that outlives its request: kept in server.db, run one per lane, taken up again after a restart.

A kind and its arguments in, events and a result out. Knows no kind of work: handlers are given to it.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import anyio
import anyio.to_thread
import sqlalchemy as sa

from openbook.errors import OpenbookError
from openbook.serve.access import Caller
from openbook.serve.errors import Refused, code_of
from openbook.serve.store import EVENTS, JOBS, new_id

State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Wish = Literal["", "cancel", "pause", "shutdown"]
FINAL: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})
LANES: Mapping[str, str] = {"upload": "sync"}
"""Kinds that wait for one another; every other kind has a lane of its own."""

BEAT = 15.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One long work."""

    id: str
    kind: str
    """"sync", "upload", "preflight", "train" or "compare"."""
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
        """The result. `say` records an event ({"step", "done", "total"} is progress); `wish` is asked often.

        Raises Stopped when it ended because of a wish.
        """


class Stopped(Exception):
    """A handler ended early because that was wished."""


class Jobs:
    """The jobs of one server. Every method but start and stop may be called from any thread."""

    def __init__(self, store: sa.Engine) -> None:
        self._store = store
        self._handlers: dict[str, Handler] = {}
        self._drops: dict[str, Callable[[Job], None]] = {}
        self._wishes: dict[str, Wish] = {}
        self._progress: dict[tuple[str, str], int] = {}
        """(job, step) -> number of its newest progress event, which the next one replaces."""
        self._turn = threading.Condition()
        """Held for every change of state; notified when there may be work."""
        self._lanes: dict[str, threading.Thread] = {}
        self._listeners: set[Callable[[], None]] = set()
        self._stopping = False
        self._parting = False

    def handle(self, kind: str, handler: Handler, *, drop: Callable[[Job], None] | None = None) -> None:
        """Let a handler do a kind of work; `drop` cleans up behind a job that was cancelled."""
        self._handlers[kind] = handler
        if drop is not None:
            self._drops[kind] = drop

    def submit(self, kind: str, args: Mapping[str, Any], who: Caller) -> Job:
        """Put work in line; it is on disk when this returns. `args` are plain JSON."""
        if kind not in self._handlers:
            raise Refused(400, f"there is no kind of job called {kind!r}", code="no_such_kind")
        name = new_id("job")
        with self._turn:
            with self._store.begin() as db:
                db.execute(
                    sa.insert(JOBS).values(
                        id=name,
                        kind=kind,
                        owner=who.id,
                        caller=who.json(),
                        args=dict(args),
                        state="queued",
                        error="",
                        wish="",
                        created=time.time(),
                    )
                )
            self._say(name, {"state": "queued"})
            self._turn.notify_all()
        return self._read(name)

    def get(self, name: str, who: Caller) -> Job:
        """A job of the caller, or of anyone for an admin. Raises Refused 404."""
        with self._store.connect() as db:
            row = db.execute(sa.select(JOBS).where(JOBS.c.id == name)).one_or_none()
        if row is None or not (row.owner == who.id or who.may("admin")):
            raise Refused(404, f"no job {name!r}", code="no_such_job")
        return _job(row)

    def list(self, who: Caller, *, kind: str = "", state: str = "") -> builtins.list[Job]:
        """The caller's jobs, everyone's for an admin; newest first."""
        wanted = sa.select(JOBS).order_by(JOBS.c.created.desc(), JOBS.c.id)
        if not who.may("admin"):
            wanted = wanted.where(JOBS.c.owner == who.id)
        if kind:
            wanted = wanted.where(JOBS.c.kind == kind)
        if state:
            wanted = wanted.where(JOBS.c.state == state)
        with self._store.connect() as db:
            return [_job(row) for row in db.execute(wanted)]

    def cancel(self, name: str, who: Caller) -> Job:
        """Stop a job and drop what it made. Raises Refused 404, 409 when it has ended."""
        return self._ask(name, who, "cancel")

    def pause(self, name: str, who: Caller) -> Job:
        """Stop a job so that resume goes on where it was. Raises Refused 404, 409."""
        return self._ask(name, who, "pause")

    def resume(self, name: str, who: Caller) -> Job:
        """Put a paused job back in line. Raises Refused 404, 409."""
        self.get(name, who)
        with self._turn:
            job = self._read(name)
            if job.state != "paused":
                raise Refused(409, f"the job is {job.state}, not paused", code="job_not_paused")
            self._change(name, "queued")
            self._turn.notify_all()
        return self._read(name)

    def events(self, name: str, who: Caller, after: int = 0) -> builtins.list[tuple[int, float, dict[str, Any]]]:
        """(number, unix seconds, event) of what happened after event number `after`, oldest first.

        {"state": ...} is a change of state, to "failed" with "error" and its "code"; {"step", "done", "total"} is
        progress, of which only the newest of each step is kept. Raises Refused 404.
        """
        self.get(name, who)
        wanted = (
            sa.select(EVENTS.c.number, EVENTS.c.at, EVENTS.c.event)
            .where(EVENTS.c.job == name, EVENTS.c.number > after)
            .order_by(EVENTS.c.number)
        )
        with self._store.connect() as db:
            return [(row.number, row.at, row.event) for row in db.execute(wanted)]

    async def follow(
        self, name: str, who: Caller, after: int = 0
    ) -> AsyncGenerator[tuple[int, float, dict[str, Any]], None]:
        """Events as they come, until the job has ended or the server stops; an empty one after `BEAT` quiet seconds.

        Raises Refused 404.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(news.set)

        with self._turn:
            self._listeners.add(wake)
        try:
            while True:
                news.clear()
                job = await anyio.to_thread.run_sync(self.get, name, who)
                for one in await anyio.to_thread.run_sync(self.events, name, who, after):
                    after = one[0]
                    yield one
                if job.state in FINAL or self._parting:
                    return
                with anyio.move_on_after(BEAT) as quiet:
                    await news.wait()
                if quiet.cancelled_caught:
                    yield after, time.time(), {}
        finally:
            with self._turn:
                self._listeners.discard(wake)

    def start(self) -> None:
        """Take up what a stopped or killed server left, and begin to work."""
        with self._turn:
            self._stopping = self._parting = False
            with self._store.connect() as db:
                left = db.execute(sa.select(JOBS.c.id, JOBS.c.wish).where(JOBS.c.state == "running")).all()
            for row in left:
                # What was wished for counts, although the server died before it came about.
                self._settle(row.id, row.wish or "shutdown")
            for lane in sorted({LANES.get(kind, kind) for kind in self._handlers}):
                self._lanes[lane] = threading.Thread(
                    target=self._work, args=(lane,), name=f"openbook-jobs-{lane}", daemon=True
                )
                self._lanes[lane].start()

    def part(self) -> None:
        """End what follows jobs, so that a server that stops need not wait for it."""
        with self._turn:
            self._parting = True
            self._wake()

    def stop(self, seconds: float = 20) -> None:
        """Have running jobs stop where they can go on from, and wait for that for at most so many seconds."""
        with self._turn:
            self._stopping = True
            self._turn.notify_all()
        self.part()
        until = time.monotonic() + seconds
        for thread in self._lanes.values():
            thread.join(max(0.0, until - time.monotonic()))
        self._lanes.clear()

    def _work(self, lane: str) -> None:
        kinds = [kind for kind in self._handlers if LANES.get(kind, kind) == lane]
        first = (
            sa.select(JOBS.c.id)
            .where(JOBS.c.state == "queued", JOBS.c.kind.in_(kinds))
            .order_by(JOBS.c.created, JOBS.c.id)
            .limit(1)
        )
        while True:
            with self._turn:
                while not self._stopping:
                    with self._store.connect() as db:
                        name = db.execute(first).scalar_one_or_none()
                    if name is not None:
                        break
                    self._turn.wait()
                else:
                    return
                self._change(name, "running")
            self._run(self._read(name))

    def _run(self, job: Job) -> None:
        result: dict[str, Any] | None = None
        error = code = ""
        try:
            result = self._handlers[job.kind](job, partial(self._say, job.id), lambda: self._wish(job.id))
        except Stopped:
            pass
        except (OpenbookError, Refused) as problem:
            error, code = str(problem), code_of(problem)
        except Exception as problem:  # noqa: BLE001  (a job's fault must not end its lane)
            _log.exception("job %s failed", job.id)
            error = f"{job.kind} failed unexpectedly ({type(problem).__name__}); the server's log says where"
        with self._turn:
            if result is not None:
                self._change(job.id, "succeeded", result=result)
            elif error:
                self._change(job.id, "failed", error=error, code=code)
            else:
                self._settle(job.id, self._wish(job.id))
            self._wishes.pop(job.id, None)

    def _settle(self, name: str, wish: str) -> None:
        """The state a job has that did not end by itself; asked to shut down, it waits for the next start."""
        if wish == "cancel":
            self._change(name, "cancelled")
            self._drop(name)
        else:
            self._change(name, "paused" if wish == "pause" else "queued")

    def _drop(self, name: str) -> None:
        job = self._read(name)
        if job.kind in self._drops:
            self._drops[job.kind](job)

    def _ask(self, name: str, who: Caller, wish: Literal["cancel", "pause"]) -> Job:
        self.get(name, who)
        with self._turn:
            job = self._read(name)
            if job.state in FINAL or (wish, job.state) == ("pause", "paused"):
                raise Refused(409, f"the job is {job.state} already", code="job_ended")
            if job.state != "running":
                self._settle(name, wish)
            elif self._wishes.get(name) != "cancel":
                self._wishes[name] = wish
                with self._store.begin() as db:
                    db.execute(sa.update(JOBS).where(JOBS.c.id == name).values(wish=wish))
        return self._read(name)

    def _wish(self, name: str) -> Wish:
        return self._wishes.get(name) or ("shutdown" if self._stopping else "")

    def _change(
        self, name: str, state: State, *, result: dict[str, Any] | None = None, error: str = "", code: str = ""
    ) -> None:
        now = time.time()
        values: dict[str, Any] = {"state": state, "error": error, "wish": ""}
        if result is not None:
            values["result"] = result
        if state == "running":
            values["started"] = sa.func.coalesce(JOBS.c.started, now)
        if state in FINAL:
            values["ended"] = now
        more = {"error": error, "code": code, "result": result}
        told = {"state": state, **{key: value for key, value in more.items() if value}}
        with self._store.begin() as db:
            db.execute(sa.update(JOBS).where(JOBS.c.id == name).values(**values))
            db.execute(sa.insert(EVENTS).values(job=name, at=now, event=told))
        for key in [key for key in self._progress if key[0] == name]:
            del self._progress[key]
        self._wake()

    def _say(self, name: str, event: dict[str, Any]) -> None:
        key = (name, str(event["step"])) if set(event) == {"step", "done", "total"} else None
        before = self._progress.get(key) if key else None
        with self._store.begin() as db:
            number = db.execute(sa.insert(EVENTS).values(job=name, at=time.time(), event=event)).inserted_primary_key
            # Only then: SQLite gives the number of a deleted last row again, which followers know already.
            if before is not None:
                db.execute(sa.delete(EVENTS).where(EVENTS.c.number == before))
        if key and number is not None:
            self._progress[key] = number[0]
        with self._turn:
            self._wake()

    def _wake(self) -> None:
        for wake in self._listeners:
            wake()

    def _read(self, name: str) -> Job:
        with self._store.connect() as db:
            return _job(db.execute(sa.select(JOBS).where(JOBS.c.id == name)).one())


def _job(row: sa.Row[Any]) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        caller=Caller.of(row.caller),
        args=row.args,
        state=row.state,
        result=row.result,
        error=row.error,
        created=row.created,
        started=row.started,
        ended=row.ended,
    )
