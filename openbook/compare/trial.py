"""Cases and arms in, rows on disk out: every arm asked every case it takes, as fairly as one machine allows.

The four arms take turns case by case, another one first each time, so that what else the machine does meets them
alike; diagnostics follow, then further training seeds one after the other. Arms whose model stands behind a server are
asked in threads beside the local ones. Knows no model, no library and no score.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from openbook import extras
from openbook.compare.schema import Row
from openbook.compare.store import Store
from openbook.errors import CompareError, OpenbookError, PromptTooLong
from openbook.records import Answer, Case
from openbook.seams import Progress

GIVES_UP = 3
"""Failures in a row after which an arm is asked no more."""


def everything(_: Case) -> bool:
    """Takes every case."""
    return True


def nothing() -> None:
    """Has nothing to let go of."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One arm, ready to be asked."""

    name: str
    """Row.arm."""
    label: str
    """For people: "tuned (support@3)"."""
    ask: Callable[[Case], Answer]
    """Raises OpenbookError where it has no answer; called from several threads when `server` is set."""
    identity: str
    """Hash of what decides its answers: rows of another identity do not count as done."""
    takes: Callable[[Case], bool] = everything
    workers: int = 1
    """Requests at once, where `server` is set."""
    role: Literal["four", "diagnostic", "seed"] = "four"
    adapter: str = ""
    """NAME@VERSION or ""."""
    model: str = ""
    server: str = ""
    """What answers elsewhere: arms with the same one share its `workers`; "" is answered on this machine."""
    open: Callable[[], None] = nothing
    """Called before its first case: loads its model, so that no row pays for that."""
    close: Callable[[], None] = nothing
    """Called when no more cases come: frees a model that only this arm uses."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did."""

    asked: int
    """Rows written now."""
    kept: int
    """Answers that were on disk already."""
    failed: Mapping[str, int]
    """Arm -> rows now without an answer; only arms that have any."""
    missing: Mapping[str, str]
    """Arm other than the four -> why it has no answers; it should be left out of the report."""
    notes: tuple[str, ...]
    """What a person should know, one sentence each."""
    stopped: bool
    """`stopping` said so: what is left is asked by the next run."""
    seconds: float


def run(
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    store: Store,
    *,
    progress: Progress | None = None,
    stopping: Callable[[], bool] = lambda: False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Done:
    """Ask every contender every case it takes and that `store` does not hold yet; a row each, at once on disk.

    What an arm cannot answer becomes a row with its error, and after three failures in a row the arm is asked no more
    (the next run goes on with it). A prompt that is too long says nothing about the arm and does not count.
    Ctrl-C waits for the requests in flight, then passes on; rows are kept.

    Raises CompareError without cases or arms, for arms of the same name, when another process writes to the store, and
    at the end for one of the four whose every answer failed or is empty.
    """
    _check(cases, contenders)
    store.claim()
    trial = _Trial(cases, contenders, store, progress=progress, stopping=stopping, clock=clock)
    trial.run()
    return trial.done()


def _check(cases: Sequence[Case], contenders: Sequence[Contender]) -> None:
    if not cases:
        raise CompareError("there is no case to ask; give some with questions, or make some from the library")
    if not contenders:
        raise CompareError("there is no arm to ask; name some of base, rag, tuned, tuned+rag")
    names = [one.name for one in contenders]
    for name in names:
        if names.count(name) > 1:
            raise CompareError(f"two arms are called {name!r}; name each once")


@dataclass(slots=True)
class _State:
    """How one contender fares in this run."""

    left: set[str]
    """Ids of cases still to be asked."""
    kept: int
    """Answers of earlier runs."""
    filled: int = 0
    """Answers with words in them, of earlier runs or this one."""
    asked: int = 0
    failed: int = 0
    in_a_row: int = 0
    last: str = ""
    """The latest error."""

    @property
    def given_up(self) -> bool:
        """Whether it is asked no more."""
        return self.in_a_row >= GIVES_UP

    def note(self, row: Row, *, counts: bool) -> None:
        """Take in a row; `counts`: a failure says something about the arm."""
        self.asked += 1
        if row.answer is not None:
            self.filled += bool(row.answer.text.strip())
            self.in_a_row = 0
            return
        self.failed += 1
        self.last = row.error
        self.in_a_row += counts


class _Trial:
    def __init__(
        self,
        cases: Sequence[Case],
        contenders: Sequence[Contender],
        store: Store,
        *,
        progress: Progress | None,
        stopping: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._cases, self._contenders, self._store = cases, contenders, store
        self._progress, self._stopping, self._clock = progress, stopping, clock
        self._process = extras.need("psutil", extra="compare", purpose="comparing").Process()
        self._states = {one.name: self._state(one) for one in contenders}
        self._total = sum(len(state.left) for state in self._states.values())
        self._told = 0
        self._elsewhere = 0.0
        """CPU seconds of finished requests in other threads, which the process's clock counts too."""
        self._gate = threading.Lock()
        self._ended = threading.Event()
        self._stopped = False
        self._broken: list[BaseException] = []
        """What ended a thread other than by a row: an error of the store, or a fault of this program."""
        self._started = time.perf_counter()

    def _state(self, one: Contender) -> _State:
        wanted = {case.id for case in self._cases if one.takes(case)}
        done, filled = set(), 0
        for case, has_words in self._store.answered(one.name, one.identity).items():
            if case in wanted:
                done.add(case)
                filled += has_words
        return _State(left=wanted - done, kept=len(done), filled=filled)

    def run(self) -> None:
        """Ask everything; threads have ended afterwards, whatever happened."""
        threads = []
        for server, some in self._servers().items():
            queue = deque(self._turns(some))
            for number in range(min(some[0].workers, len(queue))):
                threads.append(
                    threading.Thread(target=self._ask_server, args=(queue,), name=f"openbook-ask-{server}-{number}")
                )
        self._tell(0)
        try:
            for thread in threads:
                thread.start()
            self._ask_here()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
        finally:
            self._ended.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if self._broken:
            raise self._broken[0]

    def _servers(self) -> dict[str, list[Contender]]:
        found: dict[str, list[Contender]] = {}
        for one in self._contenders:
            if one.server:
                found.setdefault(one.server, []).append(one)
        return found

    def _ask_here(self) -> None:
        """A model that only one arm uses is let go as soon as that arm has been asked everything."""
        here = [one for one in self._contenders if not one.server]
        seeds = [[one] for one in here if one.role == "seed"]
        for some in ([one for one in here if one.role != "seed"], *seeds):
            for case, one in self._turns(some):
                if self._over():
                    return
                self._row(case, one)
            for one in some:
                one.close()

    def _ask_server(self, queue: deque[tuple[Case, Contender]]) -> None:
        try:
            while not self._over():
                try:
                    case, one = queue.popleft()
                except IndexError:
                    return
                self._row(case, one)
        except BaseException as error:  # noqa: BLE001 - a thread has no caller: run() raises it
            self._broken.append(error)
            self._ended.set()

    def _turns(self, some: Sequence[Contender]) -> Iterator[tuple[Case, Contender]]:
        """The four first, then the rest; case by case, another arm first each time."""
        for group in ([one for one in some if one.role == "four"], [one for one in some if one.role != "four"]):
            for number, case in enumerate(self._cases):
                for step in range(len(group)):
                    one = group[(number + step) % len(group)]
                    if case.id in self._states[one.name].left:
                        yield case, one

    def _over(self) -> bool:
        if not self._ended.is_set() and self._stopping():
            self._stopped = True
            self._ended.set()
        return self._ended.is_set()

    def _row(self, case: Case, one: Contender) -> None:
        """Ask, and write down what came of it."""
        state = self._states[one.name]
        if state.given_up:
            self._tell(1)
            return
        if not state.asked and not one.server:
            with contextlib.suppress(OpenbookError):  # asking says it again, and that is written down
                one.open()
        clock = time.thread_time if one.server else time.process_time
        elsewhere, started = self._elsewhere, clock()
        answer, error, counts = None, "", True
        try:
            answer = one.ask(case)
        except OpenbookError as failure:
            error, counts = str(failure) or type(failure).__name__, not isinstance(failure, PromptTooLong)
        spent = clock() - started
        with self._gate:
            if one.server:
                self._elsewhere += spent
            else:
                spent = max(0.0, spent - (self._elsewhere - elsewhere))
        written = self._store.append(
            Row(
                case=case.id,
                arm=one.name,
                answer=answer,
                error=error,
                cpu_seconds=spent,
                memory_mb=self._process.memory_info().rss / 2**20,
                at=self._clock().isoformat(timespec="seconds"),
                identity=one.identity,
            )
        )
        with self._gate:
            state.note(written, counts=counts)
        self._tell(1)

    def _tell(self, more: int) -> None:
        with self._gate:
            self._told += more
            if self._progress is not None and self._total:
                self._progress("ask", self._told, self._total)

    def done(self) -> Done:
        """What came of it. Raises CompareError for one of the four without any answer."""
        missing: dict[str, str] = {}
        notes: list[str] = []
        for one in self._contenders:
            state = self._states[one.name]
            if state.given_up:
                notes.append(
                    f"the arm {one.name!r} failed {GIVES_UP} times in a row and was asked no more ({state.last}); "
                    "its rows are kept, and the same command goes on with it"
                )
            if not state.filled and not self._stopped:
                missing[one.name] = _why_empty(one, state)
            if one.role == "four" and one.name in missing:
                raise CompareError(missing[one.name])
        return Done(
            asked=sum(state.asked for state in self._states.values()),
            kept=sum(state.kept for state in self._states.values()),
            failed={name: state.failed for name, state in self._states.items() if state.failed},
            missing=missing,
            notes=tuple(notes),
            stopped=self._stopped,
            seconds=time.perf_counter() - self._started,
        )


def _why_empty(one: Contender, state: _State) -> str:
    if not state.kept and not state.asked:
        return f"the arm {one.name!r} was asked nothing: none of the cases suits it"
    last = f"the last time: {state.last}" if state.last else "no answer has a word in it"
    return (
        f"every answer of the arm {one.name!r} failed or is empty ({last}); the rows are kept: mend that and run again"
    )
