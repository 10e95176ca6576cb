"""A workspace served over a real socket, for tests: with a scripted model and a fake embedder, or as a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from openbook.answer.generators.fake import ScriptedGenerator
from openbook.prose import sentences
from openbook.records import Message
from openbook.retrieve.embed import FakeEmbedder
from openbook.seams import Generator
from openbook.workspace import Workspace

DOCUMENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Vacation.md": ("# Vacation\n\nEvery colleague gets 24 paid vacation days a year.\n", ("*",)),
    "Travel.md": ("# Travel\n\nThe head of finance approves travel above 900 euros.\n", ("*",)),
    "Salaries.md": ("# Salaries\n\nThe salary band of a senior engineer ends at 98,000 euros.\n", ("hr",)),
    "Script.md": ("# Odd\n\nThe badge reader says <script>alert('badge')</script> at the door.\n", ("*",)),
}
"""Name -> text and access labels."""


def first_sentence(messages: Sequence[Message]) -> str:
    """A reply that quotes a sentence of the best passage, which stands last in the prompt, and cites it."""
    text = messages[-1].content
    for part in reversed(text.splitlines()):
        if part.strip() and not part.lstrip().startswith(("#", "[", "Question", "Closest")) and "." in part:
            span = sentences(part)[0]
            return f"{part[span.start : span.end]} [1]"
    return "I can't find this in the documents."


def desk(
    folder: Path,
    *,
    documents: Mapping[str, tuple[str, tuple[str, ...]]] = DOCUMENTS,
    script: Callable[[Sequence[Message]], str] = first_sentence,
    toml: str = "",
) -> Workspace:
    """A workspace with documents, whose embedder and generators are fakes. Close it afterwards."""
    Workspace.init(folder).close()
    with (folder / "openbook.toml").open("a", encoding="utf-8") as file:
        file.write(toml)
    workspace = Workspace.open(folder)
    house = workspace.house
    vars(house)["embedder"] = FakeEmbedder()
    for key in ("", "reader"):
        ready: Future[Generator] = Future()
        ready.set_result(ScriptedGenerator(script))
        house._loaded[key] = ready
    for name, (text, labels) in documents.items():
        place = folder / "documents" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        workspace.sync([place], acl=labels)
    return workspace


@contextlib.contextmanager
def running(workspace: Workspace) -> Iterator[str]:
    """The workspace behind a real socket of this process; gives its address."""
    import uvicorn

    from openbook.serve.app import create_app
    from openbook.serve.run import FILE, _announce, _bind
    from openbook.serve.state import Server

    bound, here = _bind("127.0.0.1", 0), Server(workspace)
    url, note = f"http://127.0.0.1:{bound.getsockname()[1]}", workspace.state / FILE
    config = uvicorn.Config(
        create_app(here),
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="test-server")
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        _announce(note, url, here.token)
        yield url
    finally:
        note.unlink(missing_ok=True)
        server.should_exit = True
        thread.join(30)


class Process:
    """`openbook serve` as a process of its own on a free port, with real models."""

    def __init__(self, folder: Path, *options: str, env: Mapping[str, str] = {}) -> None:
        self.folder = folder
        self.child = subprocess.Popen(
            [sys.executable, "-m", "openbook", "serve", "--port", "0", *options],
            cwd=folder,
            env={**os.environ, **env},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        note, until = folder / ".openbook" / "server.json", time.monotonic() + 120
        said: dict[str, Any] = {}
        while said.get("pid") != self.child.pid:
            assert self.child.poll() is None, self.child.stderr and self.child.stderr.read()
            assert time.monotonic() < until, "the server did not say where it is"
            time.sleep(0.05)
            with contextlib.suppress(OSError, ValueError):
                said = json.loads(note.read_text(encoding="utf-8"))
        self.url, self.token = str(said["url"]), str(said["token"])

    def kill(self) -> None:
        """As kill -9 does."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(30)
        assert self.child.stderr is not None
        self.child.stderr.close()

    def stop(self) -> str:
        """As Ctrl-C does; what it said on stderr."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
        assert self.child.stderr is not None
        said = self.child.stderr.read()
        self.child.stderr.close()
        self.child.wait(60)
        return said

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.stop()
