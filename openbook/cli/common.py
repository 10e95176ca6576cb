"""What every command shares: options, opening the workspace, progress on stderr, JSON on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from openbook.remote import Place, Remote
    from openbook.seams import Progress
    from openbook.workspace import Workspace

F = TypeVar("F", bound=Callable[..., Any])

workspace_option = click.option(
    "--workspace",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The workspace; default: the nearest folder above with an openbook.toml.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout and nothing else.")
group_option = click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group the caller is in.")
where_option = click.option(
    "--where", default="", metavar="FILTER", help="For example: format=pdf and modified>=2024-01-01"
)


def example(*lines: str) -> Callable[[F], F]:
    """Ends a command's help with examples."""

    def decorate(function: F) -> F:
        function.__doc__ = f"{function.__doc__}\n\n\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
        return function

    return decorate


def out() -> Console:
    """Where results go."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """Where progress, notes and errors go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """One JSON value as a line on stdout; lone surrogates cannot occur in UTF-8 and become replacement characters."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8") + "\n")
    sys.stdout.flush()


@contextmanager
def opened(
    workspace: Path | None,
    *,
    progress: Progress | None = None,
    prefer: Literal["start", "throughput", "serving"] = "start",
    library: Path | None = None,
) -> Iterator[Workspace]:
    """The workspace of a command, closed at its end; `library` is the folder of a copy to use instead of its own."""
    from openbook.errors import LibraryBusy
    from openbook.workspace import Workspace

    def notice(sentence: str) -> None:
        err().print(sentence, style="yellow", markup=False)

    root = workspace if workspace is not None else Workspace.find()
    try:
        with Workspace.open(root, progress=progress, prefer=prefer, library=library, notice=notice) as ws:
            yield ws
    except LibraryBusy:
        from openbook import remote

        there = remote.place(root)
        if there is None:
            raise
        raise LibraryBusy(_owned(there)) from None


@contextmanager
def reached(
    workspace: Path | None,
    *,
    progress: Bars | None = None,
    prefer: Literal["start", "throughput"] = "start",
    brief: bool = False,
) -> Iterator[Workspace | Remote]:
    """The workspace of a command: through its server when one runs, else opened here.

    Others wait for the library of a `brief` command instead of being turned away.
    """
    from openbook import remote
    from openbook.workspace import Workspace

    root = workspace if workspace is not None else Workspace.find()
    there = remote.find(root)
    if there is None:
        with opened(root, progress=progress, prefer=prefer) as ws:
            ws.house.brief = brief
            yield ws
        return
    with there:
        yield there


@contextmanager
def copied(
    workspace: Path | None,
    *,
    progress: Bars | None = None,
    prefer: Literal["start", "throughput"] = "start",
) -> Iterator[Workspace]:
    """The workspace of a command that only reads the library: with a copy of it, as it is now, while a server runs."""
    import tempfile

    from openbook import remote
    from openbook.workspace import Workspace

    root = workspace if workspace is not None else Workspace.find()
    there = remote.find(root)
    if there is None:
        with opened(root, progress=progress, prefer=prefer) as ws:
            yield ws
        return
    with tempfile.TemporaryDirectory(prefix="openbook-copy-") as room:
        with there:
            library = there.copy_library(Path(room))
        with opened(root, progress=progress, prefer=prefer, library=library) as ws:
            yield ws


def take_up_settings(root: Path) -> str:
    """Have the server, if one runs, work with what a command wrote into openbook.toml; "" or what is left to do."""
    from openbook import remote

    there = remote.find(root)
    if there is None:
        return ""
    with there:
        return there.take_up_settings()


def unserved(workspace: Path | None) -> None:
    """Raise LibraryBusy while a server runs, for commands that change what it serves in ways it must not see."""
    from openbook import remote
    from openbook.errors import LibraryBusy
    from openbook.workspace import Workspace

    there = remote.place(workspace if workspace is not None else Workspace.find())
    if there is not None:
        raise LibraryBusy(_owned(there))


def _owned(there: Place) -> str:
    return f"openbook serve at {there.url} (process {there.pid}) owns the library; stop it, then try again"


class Bars:
    """A bar with time left per step on stderr; nothing but the finished steps when stderr is no terminal."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Rich

        columns = (
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._bar = Rich(*columns, console=err(), transient=sys.stderr.isatty())
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        """A seams.Progress."""
        self._bar.start()
        if step not in self._tasks:
            self._tasks[step] = self._bar.add_task(step, total=total, amount="")
        self._bar.update(self._tasks[step], completed=done, total=total, amount=_amount(done, total))

    def stop(self) -> None:
        """Leave the terminal to others until the next report."""
        if self._tasks:
            self._bar.stop()


@contextmanager
def progress_bar() -> Iterator[Bars]:
    """Bars that are gone, or stay finished, at the end."""
    bars = Bars()
    try:
        yield bars
    finally:
        bars.stop()


def _amount(done: int, total: int) -> str:
    if total >= 1_000_000:
        return f"{done / 1e6:.0f}/{total / 1e6:.0f} MB"
    return f"{done}/{total}"
