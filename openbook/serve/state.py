"""The server's things in one place: what every router is given."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request

from openbook.serve.admission import Admission
from openbook.serve.jobs import Jobs
from openbook.serve.keys import Verifier, any_made
from openbook.serve.limits import Limiter
from openbook.serve.meters import Meters
from openbook.serve.store import open_store
from openbook.serve.tracing import Traces

if TYPE_CHECKING:
    import sqlalchemy as sa

    from openbook.assemble import House
    from openbook.records import DocumentInfo
    from openbook.serve.oidc import Provider
    from openbook.workspace import Workspace


@dataclass
class Server:
    """One workspace being served."""

    workspace: Workspace
    store: sa.Engine = field(init=False)
    jobs: Jobs = field(init=False)
    """Long work; runs between the start and the stop of the application."""
    admission: Admission = field(init=False)
    """Who may have an answer written now."""
    verifier: Verifier = field(init=False)
    limiter: Limiter = field(default_factory=Limiter, init=False)
    provider: Provider | None = field(default=None, init=False)
    """Where people log in, once somebody has."""
    meters: Meters = field(init=False)
    traces: Traces = field(init=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    """Of the command line on this machine; stands in .openbook/server.json, which only this user may read."""
    _closed: bool = field(default=False, init=False, repr=False)
    _infos: tuple[int, dict[str, DocumentInfo]] = field(default=(-1, {}), init=False, repr=False)

    def __post_init__(self) -> None:
        """Open the store."""
        self.store = open_store(self.workspace.state / "server.db")
        self.verifier = Verifier(self.store)
        self.jobs = Jobs(self.store)
        self.admission = Admission(lambda: self.workspace.settings.serve)
        self.meters = Meters()
        self.traces = Traces(self.workspace.settings.serve.traces)

    @property
    def house(self) -> House:
        """The joined rooms."""
        return self.workspace.house

    def closed(self) -> bool:
        """Whether there ever was a key, made here or by the command line beside."""
        self._closed = self._closed or any_made(self.store)
        return self._closed

    def infos(self) -> tuple[DocumentInfo, ...]:
        """Every document of the newest version, whoever may see it; read once per version."""
        return tuple(self._by_name().values())

    def info(self, name: str) -> DocumentInfo | None:
        """One of them, in the same time wherever it stands and whether it is there at all."""
        return self._by_name().get(name)

    def _by_name(self) -> dict[str, DocumentInfo]:
        version = self.house.library.version()
        known, found = self._infos
        if known != version:
            # Read after its version: a commit between the two is read again at the next call.
            found = {info.name: info for info in self.house.library.documents()}
            self._infos = version, found
        return found

    def labels(self) -> tuple[str, ...]:
        """Every access label in the library."""
        return tuple(sorted({label for info in self.infos() for label in info.acl}))


def server_of(request: Request) -> Server:
    """The Server of a request: a FastAPI dependency."""
    server: Server = request.app.state.server
    return server
