"""The commands that serve: serve, mcp, keys."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openbook.cli.common import Bars, err, example, opened, progress_bar, workspace_option
from openbook.extras import need

if TYPE_CHECKING:
    from openbook.seams import Progress


@click.command()
@click.option("--host", default="", help="Address to listen on; default: serve.host of the settings.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes any free one; default: serve.port.")
@workspace_option
@example(
    "openbook serve",
    "openbook serve --port 9000 --workspace ~/desk",
    'openbook keys create "support desk" --group staff && openbook serve --host 0.0.0.0',
)
def serve(host: str, port: int | None, workspace: Path | None) -> None:
    """Serve the workspace over HTTP: pages, an OpenAI-compatible API, the native API, MCP.

    The other commands go on working beside it. Ctrl-C lets answers in flight end; a second Ctrl-C does not wait. Beyond
    this machine it listens only once there is a key or a login; see docs/serve.md.
    """
    need("fastapi", extra="serve", purpose="serving")
    from openbook import remote
    from openbook.errors import ServeError
    from openbook.serve.run import serve as listen
    from openbook.workspace import Workspace

    workspace = workspace if workspace is not None else Workspace.find()
    if (there := remote.place(workspace)) is not None:
        raise ServeError(
            f"this workspace is served already, at {there.url} by process {there.pid}; use that one, or stop it first"
        )
    with progress_bar() as bars, opened(workspace, progress=_while(bars), prefer="serving") as ws:
        listen(ws, host=host, port=port, ready=lambda url: err().print(f"Openbook is at {url}  (Ctrl-C stops it)"))


def _while(bars: Bars) -> Progress | None:
    """A bar for each model that is fetched and converted, now or by the first question; in a log there is none."""
    if not sys.stderr.isatty():
        return None

    def progress(step: str, done: int, total: int) -> None:
        bars(step, done, total)
        if done >= total:
            bars.stop()

    return progress


@click.command()
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group you are in; default: none.")
@workspace_option
@example("openbook mcp --workspace ~/desk", "openbook mcp --workspace ~/desk --group staff --group legal")
def mcp(groups: tuple[str, ...], workspace: Path | None) -> None:
    """Speak the Model Context Protocol on stdin and stdout, for a host that starts this command.

    The host's configuration names it: "command": "openbook", "args": ["mcp", "--workspace", "/home/me/desk"]. It
    sees what everyone may see, and what the given groups may.
    """
    need("fastapi", extra="serve", purpose="openbook mcp")
    need("mcp", extra="serve", purpose="openbook mcp")
    import anyio

    from openbook.serve.mcp import speak_stdio
    from openbook.settings import FILE_NAME, load
    from openbook.workspace import Workspace

    root = (workspace if workspace is not None else Workspace.find()).resolve()
    load(root / FILE_NAME)  # a wrong path is said now, on stderr, not at the first question
    anyio.run(partial(speak_stdio, root, groups, notice=lambda said: err().print(said, markup=False)))
