"""What the MCP tools ask of a library, for one caller: through this process's server, or for the one who started stdio.

Knows callers, asking and searching; nothing of the protocol.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
import anyio.to_thread

from openbook.records import Answer, Condition, Document, DocumentInfo, Scope, SearchResult
from openbook.serve.access import Caller

if TYPE_CHECKING:
    from openbook.remote import Remote
    from openbook.serve.state import Server
    from openbook.workspace import Workspace

PAUSE = 2.0
"""Seconds after which `openbook mcp` lets go of a library nobody asks; other commands wait that long for it."""
TURN = 5.0
"""Seconds after which it lets go although it is asked on and on, so that another host has its turn."""
GAP = 0.2
"""Seconds it leaves to others then; they look every twentieth of a second."""
IDLE = 900.0
"""Seconds after which it frees the models too."""

T = TypeVar("T")


class Desk(Protocol):
    """One caller's view of a library. Everything raises OpenbookError or Refused."""

    @property
    def who(self) -> Caller:
        """Who asks."""

    async def search(self, question: str, *, k: int | None, where: tuple[Condition, ...]) -> SearchResult:
        """The best hits the caller may see."""

    def ask(self, question: str, *, where: tuple[Condition, ...]) -> AsyncGenerator[str | Answer, None]:
        """Pieces of an answer as they come, then the checked Answer."""

    async def documents(self) -> list[DocumentInfo]:
        """What the caller may see, by name."""

    async def document(self, name: str) -> tuple[DocumentInfo, Document] | None:
        """One document; None when there is none or the caller may not see it."""


class Served:
    """The library of a server in this process."""

    def __init__(self, server: Server, who: Caller) -> None:
        self._server = server
        self.who = who

    async def search(self, question: str, *, k: int | None, where: tuple[Condition, ...]) -> SearchResult:
        """See Desk."""

        def find() -> SearchResult:
            return self._server.house.searcher.search(question, k=k, scope=self.who.scope(self._server.labels, where))

        return await anyio.to_thread.run_sync(find)

    async def ask(self, question: str, *, where: tuple[Condition, ...]) -> AsyncGenerator[str | Answer, None]:
        """See Desk; waits its turn among all who ask this server."""
        from openbook.serve.asking import Question, pieces

        async with aclosing(pieces(self._server, self.who, Question(question, where=where))) as parts:
            async for part in parts:
                yield part

    async def documents(self) -> list[DocumentInfo]:
        """See Desk."""
        known = await anyio.to_thread.run_sync(self._server.house.library.documents)
        return [info for info in known if self.who.sees(info)]

    async def document(self, name: str) -> tuple[DocumentInfo, Document] | None:
        """See Desk."""
        info = next((one for one in await self.documents() if one.name == name), None)
        if info is None:
            return None
        found = await anyio.to_thread.run_sync(self._server.house.library.document, name)
        return None if found is None else (info, found)


class Alone:
    """A workspace of this machine: through the server that owns its library, else opened here while it is asked."""

    def __init__(self, root: Path, groups: tuple[str, ...] = (), *, notice: Callable[[str], None]) -> None:
        self.who = Caller("local", "this machine", frozenset({"ask", "search"}), groups, "local")
        self._root, self._notice = root, notice
        self._lock = threading.Lock()
        self._here: Workspace | None = None
        self._written = 0
        """Of the settings in force, when they were written: others may change them meanwhile."""
        self._users = 0
        self._taken: float | None = None
        """When the first question was answered from the library that is open here."""
        self._free_until = 0.0
        self._rest = threading.Timer(0, lambda: None)
        """What will be let go of next."""

    async def search(self, question: str, *, k: int | None, where: tuple[Condition, ...]) -> SearchResult:
        """See Desk."""
        scope = Scope(self.who.groups, where)
        return await self._with(lambda desk: desk.search_result(question, k=k, scope=scope))

    async def ask(self, question: str, *, where: tuple[Condition, ...]) -> AsyncGenerator[str | Answer, None]:
        """See Desk."""

        def start() -> Generator[str | Answer]:
            with self._opened() as desk, closing(desk.stream(question, groups=self.who.groups, where=where)) as stream:
                yield from stream
                yield stream.answer

        parts = start()
        try:
            while (part := await anyio.to_thread.run_sync(next, parts, None)) is not None:
                yield part
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(parts.close)

    async def documents(self) -> list[DocumentInfo]:
        """See Desk."""
        return [info for info in await self._with(lambda desk: desk.documents()) if self.who.sees(info)]

    async def document(self, name: str) -> tuple[DocumentInfo, Document] | None:
        """See Desk."""
        info = next((one for one in await self.documents() if one.name == name), None)
        return (info, await self._with(lambda desk: desk.document(name))) if info else None

    def close(self) -> None:
        """Let go of the library and the models."""
        with self._lock:
            self._rest.cancel()
            self._free()

    async def _with(self, work: Callable[[Workspace | Remote], T]) -> T:
        def run() -> T:
            with self._opened() as desk:
                return work(desk)

        return await anyio.to_thread.run_sync(run)

    @contextmanager
    def _opened(self) -> Iterator[Workspace | Remote]:
        from openbook import remote

        there = remote.find(self._root) if self._users == 0 else None
        if there is not None:
            with there:
                yield there
            return
        with self._lock:
            self._rest.cancel()
            time.sleep(max(0.0, self._free_until - time.monotonic()))
            here = self._workspace()
            self._users += 1
        try:
            yield here
        finally:
            with self._lock:
                self._users -= 1
                # Not counted from the beginning: there it may have waited for another host.
                self._taken = self._taken or time.monotonic()
                if not self._users:
                    if time.monotonic() - self._taken < TURN:
                        self._later(PAUSE, self._pause)
                    else:
                        self._let_go()
                        self._free_until = time.monotonic() + GAP

    def _workspace(self) -> Workspace:
        from openbook.settings import FILE_NAME
        from openbook.workspace import Workspace

        written = (self._root / FILE_NAME).stat().st_mtime_ns
        if not self._users and written != self._written:
            self._free()
        if self._here is None:
            self._written = written
            self._here = Workspace.open(self._root, prefer="throughput", notice=self._notice)
            self._here.house.brief = True
        return self._here

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        self._rest = threading.Timer(seconds, work)
        self._rest.daemon = True
        self._rest.start()

    def _pause(self) -> None:
        with self._lock:
            if not self._users:
                self._let_go()

    def _let_go(self) -> None:
        self._taken = None
        if self._here is not None:
            self._here.house.let_go()
            self._later(IDLE, self._sleep)

    def _sleep(self) -> None:
        with self._lock:
            if not self._users:
                self._free()

    def _free(self) -> None:
        self._taken = None
        if self._here is not None:
            self._here.close()
            self._here = None
