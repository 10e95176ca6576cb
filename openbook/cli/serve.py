"""The commands that serve: serve, mcp, keys."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from openbook.cli.common import err, example, opened, workspace_option
from openbook.extras import need


@click.command()
@click.option("--host", default="", help="Address to listen on; default: serve.host of the settings.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes any free one; default: serve.port.")
@workspace_option
@example("openbook serve", "openbook serve --port 9000")
def serve(host: str, port: int | None, workspace: Path | None) -> None:
    """Serve the workspace over HTTP: pages, an OpenAI-compatible API, the native API, MCP."""
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
    with opened(workspace, prefer="serving") as ws:
        listen(ws, host=host, port=port, ready=lambda url: err().print(f"Openbook is at {url}  (Ctrl-C stops it)"))


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
