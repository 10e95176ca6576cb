"""The commands that serve: serve, mcp, keys."""

from __future__ import annotations

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
    from openbook.serve.run import serve as listen

    with opened(workspace, prefer="throughput") as ws:
        listen(ws, host=host, port=port, ready=lambda url: err().print(f"Openbook is at {url}  (Ctrl-C stops it)"))
