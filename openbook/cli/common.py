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

    from openbook.remote import Remote
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
    progress: Bars | None = None,
    prefer: Literal["start", "throughput", "serving"] = "start",
    instead: str = "",
) -> Iterator[Workspace]:
    """The workspace of a command, closed at its end.

    `instead` says what else can be done while a server owns the library: "or train at {url}/train".
    """
    from openbook.errors import LibraryBusy
    from openbook.workspace import Workspace

    def notice(sentence: str) -> None:
        err().print(sentence, style="yellow", markup=False)

    root = workspace if workspace is not None else Workspace.find()
    try:
        with Workspace.open(root, progress=progress, prefer=prefer, notice=notice) as opened_workspace:
            yield opened_workspace
    except LibraryBusy:
        from openbook import remote

        there = remote.place(root)
        if there is None:
            raise
        also = f", {instead.format(url=there.url)}" if instead else ""
        raise LibraryBusy(
            f"openbook serve at {there.url} (process {there.pid}) owns the library; stop it, then try again{also}"
        ) from None


@contextmanager
def reached(
    workspace: Path | None,
    *,
    progress: Bars | None = None,
    prefer: Literal["start", "throughput"] = "start",
) -> Iterator[Workspace | Remote]:
    """The workspace of a command: through its server when one runs, else opened here."""
    from openbook import remote
    from openbook.workspace import Workspace

    root = workspace if workspace is not None else Workspace.find()
    there = remote.find(root)
    if there is None:
        with opened(root, progress=progress, prefer=prefer) as ws:
            yield ws
        return
    with there:
        yield there


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
