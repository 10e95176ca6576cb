"""A workspace in, a listening server out, until it is told to stop."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from openbook.errors import ServeError
from openbook.files import write_atomic
from openbook.workspace import Workspace

FILE = "server.json"
"""In .openbook while a server runs: {"url", "pid", "token"}; only this user may read it."""


def serve(
    workspace: Workspace, *, host: str = "", port: int | None = None, ready: Callable[[str], None] = lambda _: None
) -> None:
    """Listen until SIGINT or SIGTERM; `ready` gets the address once requests are answered.

    Raises ServeError when the address cannot be had, or lies beyond the loopback without a key or login.
    """
    import uvicorn

    from openbook.serve.access import is_loopback, is_open
    from openbook.serve.app import create_app
    from openbook.serve.state import Server
    from openbook.serve.stopping import Stoppable

    settings = workspace.settings.serve
    server = Server(workspace)
    bound = _bind(host or settings.host, settings.port if port is None else port)
    address, number = bound.getsockname()[:2]
    if not is_loopback(address) and is_open(server):
        bound.close()
        raise ServeError(
            f"on {address} others could use this server, and it has neither a key nor a login; make a key with: "
            "openbook keys create NAME, or set a login in [serve]"
        )
    url = _url(address, number)
    note = workspace.state / FILE
    running = Stoppable(
        uvicorn.Config(
            create_app(server),
            log_level="warning",
            access_log=False,  # addresses may hold questions
            proxy_headers=False,  # access.py says which proxies are believed, and what
            server_header=False,
            timeout_graceful_shutdown=int(settings.shutdown_seconds),
        ),
        server,
    )
    _ = server.house.searcher  # the library is this process's from here on
    server.house.warm()  # the first question would wait for it, on a busy machine half a minute
    _announce(note, url, server.token)
    try:
        ready(url)
        running.run(sockets=[bound])
    finally:
        note.unlink(missing_ok=True)


def _url(address: str, port: int) -> str:
    """Where this machine itself reaches the server."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def _announce(note: Path, url: str, token: str) -> None:
    write_atomic(note, json.dumps({"url": url, "pid": os.getpid(), "token": token}), mode=0o600)


def _bind(host: str, port: int) -> socket.socket:
    bound: socket.socket | None = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # Only where the protocol is named asyncio turns Nagle's delay off: else every answer waits 40 ms for its body.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(2048)  # from here on connections wait instead of being refused while the application starts
    except OSError as error:
        if bound is not None:
            bound.close()
        raise ServeError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another with --port"
        ) from None
    return bound
