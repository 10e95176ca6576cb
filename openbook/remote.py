"""A workspace's own server, when one runs: the methods of Workspace that commands use, over HTTP with its token.

The server says where it is in .openbook/server.json, which only this user may read. Knows the native API's shapes;
loads no model and never opens the library.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from openbook import errors, wire
from openbook.errors import OpenbookError, ServeError
from openbook.records import (
    Answer,
    Arm,
    Condition,
    Document,
    DocumentInfo,
    Message,
    Scope,
    SearchResult,
    SyncReport,
    VersionInfo,
)
from openbook.seams import Progress
from openbook.settings import STATE_DIR

if TYPE_CHECKING:
    import httpx2

    from openbook.answer.ask import AnswerStream
    from openbook.retrieve.explain import Explanation

NOTE = "server.json"
"""In .openbook while a server runs: {"url", "pid", "token"}."""
PATIENCE = 600.0
"""Seconds to come back to a server that is busy, before giving up."""
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is."""

    url: str
    pid: int
    token: str


def place(root: Path) -> Place | None:
    """Where the server of a workspace is; None when none runs, be a note of it left or not."""
    try:
        told = json.loads((root / STATE_DIR / NOTE).read_text(encoding="utf-8"))
        found = Place(_reachable(str(told["url"])), int(told["pid"]), str(told["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if _alive(found.pid) and _listens(found.url) else None


def find(root: Path) -> Remote | None:
    """The server of a workspace, to be closed after use; None when none runs."""
    found = place(root)
    return None if found is None else Remote(root, found)


class Remote:
    """A workspace in the hands of its server. What its methods raise is what Workspace's would."""

    def __init__(self, root: Path, where: Place) -> None:
        """Use find."""
        import httpx2

        self.root = root
        self.place = where
        self._http = httpx2.Client(
            base_url=where.url,
            headers={"Authorization": f"Bearer {where.token}"},
            timeout=httpx2.Timeout(10, read=None),
            trust_env=False,  # the token must not go to a proxy
        )

    def search_result(self, question: str, *, k: int | None = None, scope: Scope | None = None) -> SearchResult:
        """See Workspace."""
        scope = scope or Scope()
        asked = {"question": question, "k": k, "where": _where(scope.where)}
        return wire.search_of(self._send("POST", "/api/search", json=asked, headers=_acting(scope.groups)))

    def ask(
        self,
        question: str,
        *,
        arm: Arm = "rag",
        groups: Sequence[str] = (),
        where: str | Sequence[Condition] = (),
        history: Sequence[Message] = (),
        contexts: Sequence[str] | None = None,
        adapter: str | None = None,
    ) -> Answer:
        """See Workspace."""
        return self.stream(
            question, arm=arm, groups=groups, where=where, history=history, contexts=contexts, adapter=adapter
        ).answer

    def stream(
        self,
        question: str,
        *,
        arm: Arm = "rag",
        groups: Sequence[str] = (),
        where: str | Sequence[Condition] = (),
        history: Sequence[Message] = (),
        contexts: Sequence[str] | None = None,
        adapter: str | None = None,
    ) -> AnswerStream:
        """See Workspace; the server keeps nothing of it."""
        from openbook.answer.ask import AnswerStream

        asked = {
            "question": question,
            "model": self._model(arm, adapter),
            "where": _where(where),
            "history": [{"role": turn.role, "content": turn.content} for turn in history],
            "contexts": None if contexts is None else list(contexts),
            "keep": False,
            "stream": True,
        }
        return AnswerStream(self._pieces(asked, _acting(groups)))

    def explain(
        self,
        question: str,
        document: str,
        *,
        groups: Sequence[str] = (),
        where: str | Sequence[Condition] = (),
    ) -> Explanation:
        """See Workspace."""
        from openbook.retrieve.explain import ChunkReason, Explanation

        asked = {"question": question, "document": document, "where": _where(where)}
        try:
            told = self._send("POST", "/api/explain", json=asked, headers=_acting(groups))
        except _NoDocument:
            return Explanation(question, document, False, "no such document for this caller", ())
        return Explanation(**{**told, "chunks": tuple(ChunkReason(**one) for one in told["chunks"])})

    def sync(
        self,
        targets: Sequence[str | Path],
        *,
        acl: Sequence[str] = (),
        dry_run: bool = False,
        allow_mass_delete: bool = False,
        progress: Progress | None = None,
    ) -> SyncReport:
        """See Workspace. Stopped by an exception or Ctrl-C, the server stops too."""
        return self._synced(targets, acl=acl, progress=progress, dry_run=dry_run, allow_mass_delete=allow_mass_delete)

    def watch(
        self, targets: Sequence[str | Path], *, acl: Sequence[str] = (), progress: Progress | None = None
    ) -> Iterator[SyncReport]:
        """See Workspace: changes are seen here and read by the server. Raises ServeError when that goes away."""
        from openbook.ingest.watch import follow

        def sync(paths: Sequence[Path] | None) -> SyncReport:
            only = None if paths is None else [str(path) for path in paths]
            return self._synced(targets, acl=acl, progress=progress, only=only)

        return follow(
            [str(target) for target in targets],
            sync=sync,
            sources=lambda: {info.source for info in self.documents() if info.source},
            version=lambda: self.versions()[-1].version,
        )

    def copy_library(self, folder: Path) -> Path:
        """A copy of the library as it is between two commits, in an empty folder; the folder that another may open."""
        self._send("POST", "/api/library/copy", json={"folder": str(folder)})
        return folder / "library"

    def take_up_settings(self) -> str:
        """Have what was changed in openbook.toml come into force; says which of it waits for a restart, "" for none."""
        waiting = self._send("PATCH", "/api/settings", json={})["restart"]
        return f"restart the server at {self.place.url} for {', '.join(waiting)}" if waiting else ""

    def optimize(self, *, timeout: float | None = None) -> bool:  # noqa: ARG002
        """See Workspace; the server does it by itself."""
        return True

    def documents(self) -> list[DocumentInfo]:
        """See Workspace."""
        found: list[DocumentInfo] = []
        after: str | None = ""
        while after is not None:
            page = self._send("GET", "/api/documents", params={"after": after, "limit": _PAGE})
            found += [_document(one) for one in page["documents"]]
            after = page["next"]
        return found

    def document(self, name: str) -> Document:
        """See Workspace."""
        try:
            info = _document(self._send("GET", "/api/document", params={"name": name}))
            told = self._send("GET", "/api/document/text", params={"name": name, "around": 0})
        except _NoDocument:
            raise OpenbookError(f"no document {name!r} in the library; see: openbook documents") from None
        return Document(
            name=info.name,
            text=told["text"],
            format=info.format,
            hash=info.hash,
            bytes=info.bytes,
            title=info.title,
            author=info.author,
            created=info.created,
            modified=info.modified,
            notes=info.notes,
        )

    def versions(self) -> list[VersionInfo]:
        """See Workspace."""
        told = self._send("GET", "/api/versions")["versions"]
        return sorted((wire.version_of(one) for one in told), key=lambda one: one.version)

    def roll_back(self, version: int) -> int:
        """See Workspace."""
        return int(self._send("POST", f"/api/versions/{version}/restore")["library_version"])

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _model(self, arm: Arm, adapter: str | None) -> str:
        """The server's id of an arm with an adapter."""
        from openbook.assemble import adapter_for
        from openbook.finetune.registry import Registry

        found = adapter_for(Registry(self.root / STATE_DIR / "adapters"), arm, adapter)
        if found is None:
            return arm
        return f"{found.ref}+rag" if arm == "tuned+rag" else found.ref

    def _pieces(self, asked: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[str | Answer]:
        import httpx2

        with self._answered("POST", "/api/ask", json=asked, headers=headers) as response:
            for event in httpx2.EventSource(response, max_event_size=None):
                told = json.loads(event.data)
                if event.event == "piece":
                    yield told["text"]
                elif event.event == "answer":
                    yield wire.answer_of(told)
                    return
                elif event.event == "error":
                    raise _error(told)
        raise ServeError(f"the server at {self.place.url} stopped before the answer was finished; ask again")

    def _synced(
        self, targets: Sequence[str | Path], *, acl: Sequence[str], progress: Progress | None, **more: Any
    ) -> SyncReport:
        order = {"targets": [_absolute(str(one)) for one in targets], "labels": list(acl), **more}
        job = str(self._send("POST", "/api/sync", json=order)["job"]["id"])
        try:
            return wire.sync_of(self._result(job, progress))
        except OpenbookError:
            raise
        except BaseException:
            with suppress(OpenbookError):  # it has ended meanwhile
                self._send("POST", f"/api/jobs/{job}/cancel")
            raise

    def _result(self, job: str, progress: Progress | None) -> Mapping[str, Any]:
        import httpx2

        with self._answered("GET", f"/api/jobs/{job}/events", headers={"Accept": "text/event-stream"}) as response:
            for event in httpx2.EventSource(response, max_event_size=None):
                told = json.loads(event.data)
                if "step" in told and progress is not None:
                    progress(told["step"], told["done"], told["total"])
                if told.get("state") == "succeeded":
                    return dict(self._send("GET", f"/api/jobs/{job}")["result"])
                if told.get("state") == "failed":
                    raise _error(told)
                if told.get("state") == "cancelled":
                    raise OpenbookError(f"the job {job!r} was cancelled; start it again")
        raise ServeError(
            f"the server at {self.place.url} stopped meanwhile; the job {job!r} goes on when it is started again"
        )

    def _send(self, method: str, path: str, **request: Any) -> Any:
        with self._answered(method, path, **request) as response:
            response.read()
            return response.json()

    @contextmanager
    def _answered(self, method: str, path: str, **request: Any) -> Iterator[httpx2.Response]:
        """A good answer, its body still to be read; waits for a server that says it is busy."""
        import httpx2

        until = time.monotonic() + PATIENCE
        try:
            while True:
                with self._http.stream(method, path, **request) as response:
                    if response.is_success:
                        yield response
                        return
                    response.read()
                wait = response.headers.get("Retry-After", "")
                if response.status_code != 429 or not wait.isdecimal() or time.monotonic() + int(wait) > until:
                    raise _error(_told(response))
                time.sleep(max(0.1, int(wait)))
        except httpx2.TransportError as error:
            raise ServeError(
                f"the server at {self.place.url} went away ({type(error).__name__}); start it again with: "
                "openbook serve, or give the command again without it"
            ) from None


class _NoDocument(OpenbookError):
    """The server knows no document of that name."""


def _told(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        told = response.json()
    except ValueError:
        told = None
    if isinstance(told, dict) and isinstance(told.get("error"), dict):
        return told
    return {"error": {"message": f"the server answered with status {response.status_code}", "code": None}}


def _error(told: Mapping[str, Any]) -> OpenbookError:
    """The error that a Workspace would have raised, of the class that its code names."""
    error = told["error"]
    if not isinstance(error, dict):  # a job's
        error = {"message": error, "code": told.get("code")}
    code = str(error.get("code") or "")
    if code == "no_such_document":
        return _NoDocument(error["message"])
    kind = getattr(errors, "".join(part.title() for part in code.split("_")), None)
    if not (isinstance(kind, type) and issubclass(kind, OpenbookError)):
        kind = OpenbookError
    return kind(str(error["message"]))


def _document(told: Mapping[str, Any]) -> DocumentInfo:
    # The API calls a document without a title by its file's name.
    title = told["title"] if told["title"] != told["name"].rpartition("/")[2] else ""
    return wire.document_of({**told, "document": told["name"], "acl": told["labels"], "title": title})


def _acting(groups: Sequence[str]) -> dict[str, str]:
    """Has the server show what someone in these groups sees; names are sent percent-encoded."""
    return {"X-Openbook-Groups": ",".join(quote(one, safe="") for one in groups)}


def _where(where: str | Sequence[Condition]) -> str:
    from openbook.retrieve.where import written

    return where if isinstance(where, str) else written(where)


def _absolute(target: str) -> str:
    """A target as the server, which runs in another folder, has to be told."""
    from openbook.ingest.sources import is_address

    return target if is_address(target) else os.path.normpath(Path.cwd() / Path(target).expanduser())


def _reachable(url: str) -> str:
    """A server that listens on every address is called at the loopback."""
    for everywhere, here in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        url = url.replace(everywhere, here)
    return url


def _alive(pid: int) -> bool:
    if pid <= 0:  # means a group of processes
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _listens(url: str) -> bool:
    """Whether anything answers there: another process may have got the number of one that was killed."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=2):
            return True
    except (OSError, ValueError):
        return False
