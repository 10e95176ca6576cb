"""Who answers next: one line per caller, taken in turn, so that a busy caller delays others by one answer at most.

Callers' ids in, turns out. Knows no question and no model. Lives on one event loop; only `Turn.done` is for any thread.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

from openbook.serve.errors import Refused
from openbook.settings import Serve

_RECENT = 32
"""Turns whose seconds tell how fast the line moves."""
_LONGEST = 120
"""Seconds a caller is told to stay away at most."""


class Turn:
    """The right to have one answer written."""

    def __init__(self, admission: Admission, who: str) -> None:
        self._admission, self._who = admission, who
        self._loop = asyncio.get_running_loop()
        self._began = time.monotonic()

    def done(self) -> None:
        """Give the turn back, once; from any thread."""
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._admission._ended, self._who, time.monotonic() - self._began)


class Admission:
    """Turns of one server: `serve.concurrent` at once, `serve.waiting` in line, the rest is told when to come back."""

    def __init__(self, settings: Callable[[], Serve]) -> None:
        """`settings` is asked every time, so that a change counts at once."""
        self._settings = settings
        self._running: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[Turn]]] = {}
        """By caller, none empty; who was served last stands last."""
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._stopped = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Answers being written."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """Questions in line."""
        return sum(map(len, self._lines.values()))

    @property
    def stopping(self) -> bool:
        """Whether nobody is let in any more."""
        return self._stopped

    @property
    def wait_seconds(self) -> float:
        """How long the line as it is will take, by the turns that ended last."""
        mean = sum(self._seconds) / len(self._seconds) if self._seconds else 1.0
        return mean * (self.waiting + 1) / self._settings().concurrent

    async def turn(self, who: str) -> Turn:
        """Wait for a turn; call its done() when the answer has ended. Cancelled while in line, the place is given up.

        Raises Refused 429 with Retry-After when the line is full, 503 when the server stops.
        """
        if self._stopped:
            raise self._stopping()
        settings = self._settings()
        if self.running < settings.concurrent and not self._lines:
            return self._grant(who)
        if self.waiting >= settings.waiting:
            self._make_room(who)
        place: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(who, deque()).append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                place.result().done()
            else:
                self._leave(who, place)
            raise

    def stop(self) -> None:
        """Let nobody in any more and send away who is in line; answers being written go on."""
        self._stopped = True
        lines, self._lines = self._lines, {}
        for line in lines.values():
            for place in line:
                if not place.done():
                    place.set_exception(self._stopping())

    async def ended(self, seconds: float) -> bool:
        """Wait until no answer is being written, for at most so long; whether that came about."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        return not self.running

    def _grant(self, who: str) -> Turn:
        self._running[who] += 1
        self._idle.clear()
        return Turn(self, who)

    def _ended(self, who: str, seconds: float) -> None:
        self._running[who] -= 1
        self._running += Counter()  # forgets who has none
        self._seconds.append(seconds)
        while self._lines and self.running < self._settings().concurrent:
            # Who has least gets the next; among those, who waited longest for one.
            following = min(self._lines, key=self._running.__getitem__)
            place = self._lines[following][0]
            self._leave(following, place, last=True)
            if not place.done():  # else its caller went away this very moment
                place.set_result(self._grant(following))
        if not self.running:
            self._idle.set()

    def _leave(self, who: str, place: asyncio.Future[Turn], *, last: bool = False) -> None:
        line = self._lines.get(who)
        if line is None or place not in line:
            return
        line.remove(place)
        if last or not line:
            del self._lines[who]
        if line:
            self._lines[who] = line

    def _make_room(self, who: str) -> None:
        """Send away the newest of the longest line when that is longer than the caller's own, else the caller."""
        longest = max(self._lines, key=lambda one: len(self._lines[one]), default=who)
        if len(self._lines.get(longest, ())) <= len(self._lines.get(who, ())) + 1:
            raise self._full()
        place = self._lines[longest][-1]
        self._leave(longest, place)
        if not place.done():
            place.set_exception(self._full())

    def _full(self) -> Refused:
        seconds = max(1, min(_LONGEST, math.ceil(self.wait_seconds)))
        return Refused(
            429,
            f"{self.waiting} questions wait for an answer already; ask again in {seconds} seconds",
            code="too_many_waiting",
            headers={"Retry-After": str(seconds)},
        )

    def _stopping(self) -> Refused:
        seconds = max(1, math.ceil(self._settings().shutdown_seconds))
        return Refused(
            503, "the server is stopping; ask again later", code="stopping", headers={"Retry-After": str(seconds)}
        )
