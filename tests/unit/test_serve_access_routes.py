"""Every route of the application is closed to strangers, but for a short list that is written out here."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from openbook.serve import keys
from openbook.serve.app import create_app
from openbook.serve.state import Server
from openbook.serve.store import open_store
from tests.serving import desk, running

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/login/oidc"),
    ("GET", "/login/callback"),
    ("POST", "/logout"),
    ("GET", "/static/{file}"),
    ("GET", "/static/{stamp}/{file}"),
}
"""What is answered without a key. Nothing here tells of documents, of people, or of what others did."""


@dataclass
class Closed:
    """A server that has a key, the key, and all its routes."""

    url: str
    secret: str
    routes: list[tuple[str, str]]
    state: Path


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    workspace = desk(tmp_path_factory.mktemp("closed") / "desk")
    server = Server(workspace)
    _, secret = keys.create(server.store, "boss", ("admin",), all_groups=True)
    routes = routes_of(server)
    server.store.dispose()
    with running(workspace) as url:
        yield Closed(url, secret, routes, workspace.state)
    workspace.close()


def routes_of(server: Server) -> list[tuple[str, str]]:
    """(method, path) of everything the application answers, included routers and mounts unfolded."""
    found = []
    for route in iter_route_contexts(create_app(server).routes):
        assert route.path is not None, f"a route nobody can look at: {route!r}"
        assert route.methods, f"{route.path} answers every method, so that nothing can be said of it"
        found += [(method, route.path) for method in route.methods]
    return sorted(found)


def test_the_walk_finds_the_routes_of_every_door(closed: Closed) -> None:
    """FastAPI keeps included routers folded: a walk over app.routes alone would see next to nothing and pass."""
    paths = {path for _, path in closed.routes}
    assert len(closed.routes) > 60
    assert {"/", "/mcp", "/metrics", "/v1/files", "/api/documents", "/api/keys", "/api/openapi.json"} <= paths
    assert set(closed.routes) >= OPEN, "the list of open routes names some that there are not"


def test_without_a_key_every_route_but_the_listed_answers_401(closed: Closed) -> None:
    let_in = []
    with httpx2.Client(base_url=closed.url, timeout=30) as client:
        for method, path in closed.routes:
            if (method, path) not in OPEN and (method != "HEAD" or ("GET", path) not in OPEN):
                answer = client.request(method, re.sub(r"{[^}]*}", "1", path))
                if answer.status_code != 401 or not answer.headers.get("www-authenticate"):
                    let_in.append((method, path, answer.status_code))
    assert let_in == []


def test_a_browser_without_a_session_is_led_to_the_login_or_refused(closed: Closed) -> None:
    let_in = []
    with httpx2.Client(base_url=closed.url, timeout=30, headers={"Accept": "text/html"}) as client:
        for method, path in closed.routes:
            if (method, path) not in OPEN and method == "GET":
                answer = client.get(re.sub(r"{[^}]*}", "1", path))
                led = answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")
                if not led and answer.status_code != 401:
                    let_in.append((path, answer.status_code))
    assert let_in == []


@pytest.mark.parametrize(
    "credentials",
    [
        {"Authorization": "Bearer ob_000000000000_wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic Ym9zczpib3Nz"},
        {"Cookie": "openbook_session=made-up"},
        {"X-Forwarded-User": "boss", "X-Forwarded-Groups": "hr"},
        {"X-Openbook-Groups": "hr"},
    ],
    ids=lambda one: next(iter(one)),
)
def test_what_only_looks_like_credentials_opens_nothing(closed: Closed, credentials: dict[str, str]) -> None:
    with httpx2.Client(base_url=closed.url, timeout=30, headers=credentials) as client:
        for path in ("/api/documents", "/v1/models", "/api/keys", "/api/openapi.json"):
            assert client.get(path).status_code == 401, path


def test_no_answer_lacks_the_headers_of_safety(closed: Closed) -> None:
    with httpx2.Client(base_url=closed.url, timeout=30) as client:
        for method, path in closed.routes:
            answer = client.request(method, re.sub(r"{[^}]*}", "1", path))
            told = answer.headers
            assert "default-src 'none'" in told["content-security-policy"], path
            assert "unsafe-inline" not in told["content-security-policy"], path
            assert told["x-content-type-options"] == "nosniff", path
            assert path.startswith("/static/") or told["cache-control"] == "no-store", path


@pytest.mark.parametrize("path", ["/v1/files", "/api/documents", "/api/sync", "/mcp", "/nowhere"])
def test_a_stranger_is_refused_before_what_they_send_is_read(closed: Closed, path: str) -> None:
    """Else anybody could have the server keep 200 MB a request on its disk."""
    host, _, port = closed.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            "Content-Length: 1000000\r\n\r\n--b\r\n".encode()
        )
        assert line.recv(100).startswith(b"HTTP/1.1 401")


def test_an_admin_is_let_in_everywhere(closed: Closed) -> None:
    with httpx2.Client(
        base_url=closed.url, timeout=30, headers={"Authorization": f"Bearer {closed.secret}"}, follow_redirects=False
    ) as client:
        for method, path in closed.routes:
            if method == "GET" and "{" not in path and (method, path) not in OPEN:
                assert client.get(path).status_code not in (401, 403), path


def test_what_the_api_can_do_is_told_to_any_caller_whatever_they_may_do(closed: Closed) -> None:
    _, secret = keys.create(open_store(closed.state / "server.db"), "clerk", ("write",))
    with httpx2.Client(base_url=closed.url, timeout=30, headers={"Authorization": f"Bearer {secret}"}) as client:
        for path in ("/api/openapi.json", "/api/docs"):
            assert client.get(path).status_code == 200, path
            assert httpx2.get(closed.url + path).status_code == 401, path
