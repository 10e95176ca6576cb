"""Who is let in, as whom, and from where: keys, sessions, proxies, hosts, origins, sizes, rates; over a real socket."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from openbook.errors import ServeError, UsageError
from openbook.files import write_atomic
from openbook.serve import keys, run
from openbook.serve.store import KEYS, SESSIONS
from openbook.workspace import Workspace
from tests.serving import desk, running

SALARY = "98,000"


class Place:
    """A desk being served, and its store."""

    def __init__(self, workspace: Workspace, url: str) -> None:
        from openbook.serve.store import open_store

        self.workspace, self.url = workspace, url
        self.store = open_store(workspace.state / "server.db")

    def key(self, *scopes: str, groups: tuple[str, ...] = (), **more: Any) -> str:
        return keys.create(self.store, "somebody", scopes, groups, **more)[1]

    def client(self, key: str = "", **headers: str) -> httpx2.Client:
        given = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx2.Client(base_url=self.url, headers=given | headers, timeout=30)


def served(folder: Path, toml: str = "") -> Iterator[Place]:
    workspace = desk(folder, toml=toml)
    with running(workspace) as url:
        yield Place(workspace, url)
    workspace.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield from served(tmp_path / "desk")


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Place]:
    yield from served(
        tmp_path / "desk",
        '[serve]\nproxy_user_header = "X-User"\nproxy_groups_header = "X-Groups"\nrequests_per_minute = 20\n'
        'max_upload_mb = 0.1\ncors = ["https://intranet.example.org"]\nnames = ["books.example.org"]\n',
    )


def search(client: httpx2.Client, **headers: str) -> httpx2.Response:
    return client.post("/api/search", json={"question": "senior engineer salary band"}, headers=headers)


def test_without_any_key_the_loopback_is_open_and_sees_everything(place: Place) -> None:
    with place.client() as client:
        assert SALARY in search(client).text
    with place.client("sk-whatever-a-client-sends") as client:
        assert SALARY in search(client).text


def test_a_proxy_in_front_of_an_open_server_lets_nobody_in(place: Place) -> None:
    with place.client() as client:
        assert search(client, **{"X-Forwarded-For": "203.0.113.9"}).status_code == 401


def test_from_the_first_key_on_nobody_is_let_in_without_one(place: Place) -> None:
    made, secret = keys.create(place.store, "first", ["search"], ["hr"])
    with place.client() as client:
        refused = search(client)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert refused.json()["error"]["code"] == "missing_api_key"
    with place.client("ob_000000000000_nonsense") as client:
        assert search(client).json()["error"]["code"] == "invalid_api_key"
    with place.client(secret) as client:
        assert SALARY in search(client).text
        keys.revoke(place.store, made.id)
        assert search(client).status_code == 401
    with place.client() as client:  # and not again when the last one is revoked
        assert search(client).status_code == 401


def test_groups_and_scopes_of_a_key_hold(place: Place) -> None:
    with place.client(place.key("search")) as client:
        assert SALARY not in search(client).text
        refused = client.post("/api/ask", json={"question": "Vacation?"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
    with place.client(place.key("search", groups=("hr",))) as client:
        assert SALARY in search(client).text
    with place.client(place.key("admin")) as client:  # may do all, sees no more
        assert SALARY not in search(client).text
    with place.client(place.key("admin", all_groups=True)) as client:
        assert SALARY in search(client).text


def test_an_expired_key_opens_nothing(place: Place) -> None:
    secret = place.key("search", expires=time.time() + 3600)
    with place.client(secret) as client:
        assert search(client).status_code == 200
        with place.store.begin() as db:
            db.execute(KEYS.update().values(expires=time.time() - 1))
        assert search(client).status_code == 401


def test_a_key_is_stored_as_a_hash_alone(place: Place) -> None:
    secret = place.key("search")
    with place.store.connect() as db:
        row = db.execute(KEYS.select()).one()
    assert row.hash.startswith("$argon2id$")
    whole = b"".join(file.read_bytes() for file in place.workspace.state.glob("server.db*"))
    assert secret.rpartition("_")[2].encode() not in whole


@pytest.mark.parametrize(
    ("name", "scopes", "groups"), [("", ["ask"], []), ("a", [], []), ("a", ["root"], []), ("a", ["ask"], ["*"])]
)
def test_a_key_that_cannot_be_is_not_made(place: Place, name: str, scopes: list[str], groups: list[str]) -> None:
    with pytest.raises(UsageError):
        keys.create(place.store, name, scopes, groups)


def test_keys_over_http_are_shown_once_and_never_see_more_than_their_maker(place: Place) -> None:
    with place.client(place.key("admin", groups=("hr",))) as client:
        made = client.post("/api/keys", json={"name": "desk", "scopes": ["search"], "groups": ["hr"]})
        assert made.status_code == 201
        assert made.json()["secret"] not in client.get("/api/keys").text
        with place.client(made.json()["secret"]) as other:
            assert SALARY in search(other).text
            assert other.get("/api/keys").status_code == 403
            assert client.delete(f"/api/keys/{made.json()['key']['id']}").status_code == 200
            assert search(other).status_code == 401
        for wider in ({"groups": ["board"]}, {"all_groups": True}):
            refused = client.post("/api/keys", json={"name": "spy", "scopes": ["search"], **wider})
            assert refused.status_code == 403
        assert client.delete("/api/keys/none").status_code == 404


def test_a_key_logs_in_to_the_pages_and_out_again(place: Place) -> None:
    secret = place.key("ask", "search")
    with place.client(Accept="text/html") as client:
        away = client.get("/library?x=1")
        assert (away.status_code, away.headers["location"]) == (303, "/login?next=%2Flibrary%3Fx%3D1")
        wrong = client.post("/login", data={"key": "ob_wrong", "next": "/"})
        assert wrong.status_code == 401
        assert "ob_wrong" not in wrong.text
        done = client.post("/login", data={"key": secret, "next": "//evil.example"})
        assert (done.status_code, done.headers["location"]) == (303, "/")
        cookie = done.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert client.get("/").status_code == 200
        with place.store.connect() as db:
            assert db.execute(SESSIONS.select()).one().id not in cookie
        client.post("/logout")
        assert client.get("/", follow_redirects=False).status_code == 303


def test_a_revoked_key_ends_its_sessions(place: Place) -> None:
    made, secret = keys.create(place.store, "desk", ["ask", "search"])
    with place.client() as client:
        client.post("/login", data={"key": secret})
        assert client.get("/api/documents").status_code == 200
        keys.revoke(place.store, made.id)
        assert client.get("/api/documents").status_code == 401


def test_a_sessions_changes_come_from_its_own_pages(place: Place) -> None:
    secret = place.key("ask", "search")
    with place.client(Accept="text/html") as client:
        client.post("/login", data={"key": secret})
        token = re.search(r'name="csrf" content="([^"]+)"', client.get("/").text)
        assert token is not None
        assert search(client).status_code == 403
        assert search(client, **{"X-CSRF-Token": "guess"}).status_code == 403
        assert search(client, **{"X-CSRF-Token": token[1]}).status_code == 200
        assert search(client, Origin=place.url).status_code == 200
        assert search(client, Origin="https://evil.example", **{"X-CSRF-Token": token[1]}).status_code == 403
        assert search(client, **{"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": token[1]}).status_code == 403


def test_logging_in_cannot_be_tried_for_ever(place: Place) -> None:
    place.key("ask")
    with place.client() as client:
        codes = [client.post("/login", data={"key": f"ob_{n}"}).status_code for n in range(12)]
    assert codes[0] == 401
    assert codes[-1] == 429


def test_wrong_keys_cannot_be_tried_for_ever(place: Place) -> None:
    place.key("ask")
    with place.client("ob_x_y") as client:
        refused = [search(client) for _ in range(33)]
    assert (refused[0].status_code, refused[-1].status_code) == (401, 429)
    assert int(refused[-1].headers["retry-after"]) <= 60


def test_wrong_keys_lock_out_nobody_whose_key_is_right(place: Place) -> None:
    """Behind a proxy all come from one address."""
    known = {"Authorization": f"Bearer {place.key('search')}"}
    with place.client() as client:
        assert search(client, **known).status_code == 200
        wrong = {"Authorization": "Bearer ob_000000000000_wrong"}
        assert [search(client, **wrong).status_code for _ in range(33)][-1] == 429
        assert search(client, **known).status_code == 200
        # The proxy, when it is a trusted one, says who it speaks for.
        assert search(client, **wrong, **{"X-Forwarded-For": "made-up, 203.0.113.9"}).status_code == 401


def test_a_proxy_is_believed_from_its_own_address_only(proxied: Place) -> None:
    with proxied.client() as client:
        assert search(client).status_code == 401
        assert SALARY in search(client, **{"X-User": "ada", "X-Groups": "hr, it"}).text
        assert SALARY not in search(client, **{"X-User": "bob", "X-Groups": "it"}).text
        assert SALARY not in search(client, **{"X-User": "eve", "X-Groups": "*"}).text
    settings = proxied.workspace.settings
    proxied.workspace.settings = settings.model_copy(
        update={"serve": settings.serve.model_copy(update={"trusted_proxies": ("203.0.113.1",)})}
    )
    with proxied.client() as client:
        assert search(client, **{"X-User": "ada", "X-Groups": "hr"}).status_code == 401


def test_one_caller_may_ask_so_often_and_others_still_may(proxied: Place) -> None:
    with proxied.client() as client:
        codes = [search(client, **{"X-User": "ada"}).status_code for _ in range(25)]
        assert codes.count(200) == 20
        assert codes[-1] == 429
        assert search(client, **{"X-User": "bob"}).status_code == 200


def test_the_server_answers_to_its_own_names(proxied: Place) -> None:
    foreign = ("evil.example", "evil.example:8421", "", "127.0.0.1.evil.example")
    own = ("localhost:9999", "books.example.org", "192.168.0.7:80", "[::1]:80")
    with proxied.client() as client:
        for host in (*foreign, *own):
            status = client.get("/healthz", headers={"Host": host}).status_code
            assert status == (421 if host in foreign else 200), host


def test_another_sites_page_may_act_only_if_told_so(proxied: Place) -> None:
    known, foreign = "https://intranet.example.org", "https://evil.example"
    with proxied.client(**{"X-User": "ada"}) as client:
        assert search(client, Origin=foreign).status_code == 403
        assert search(client, Origin="null").status_code == 403
        allowed = search(client, Origin=known)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, known)
        asked = {"Origin": foreign, "Access-Control-Request-Method": "POST"}
        assert "access-control-allow-origin" not in client.options("/api/search", headers=asked).headers


def test_a_body_may_have_its_size_whether_it_says_it_or_not(proxied: Place) -> None:
    def chunked() -> Iterator[bytes]:
        for _ in range(40):
            yield b'{"question": "' + b"x" * 10_000

    with proxied.client(**{"X-User": "ada", "Content-Type": "application/json"}) as client:
        told = client.post("/api/search", content=b"x" * 150_000)
        assert (told.status_code, told.json()["error"]["code"]) == (413, "too_large")
        assert client.post("/api/search", content=chunked()).status_code == 413
        assert client.get("/healthz").status_code == 200


def test_every_answer_carries_the_headers_of_safety(place: Place) -> None:
    with place.client() as client:
        for path in ("/", "/api/documents", "/healthz", "/nowhere"):
            headers = client.get(path, headers={"Accept": "text/html"}).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers


def test_what_is_refused_early_carries_them_too(proxied: Place) -> None:
    with proxied.client() as client:
        refused = client.get("/", headers={"Host": "evil.example"})
    assert "default-src 'none'" in refused.headers["content-security-policy"]


def test_beyond_the_loopback_only_with_a_key_or_a_login(tmp_path: Path) -> None:
    workspace = desk(tmp_path / "desk")
    try:
        with pytest.raises(ServeError, match="openbook keys create"):
            run.serve(workspace, host="0.0.0.0", port=0)
        assert not (workspace.state / run.FILE).exists()
    finally:
        workspace.close()


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    workspace = desk(tmp_path / "desk")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServeError, match="choose another with --port"):
            run.serve(workspace, port=taken.getsockname()[1])
    workspace.close()


def test_answers_do_not_wait_for_the_other_side_to_acknowledge_their_head() -> None:
    """Nagle's algorithm held the body of every answer back for the 40 ms of a delayed acknowledgement."""

    async def delayed() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def met(_: asyncio.StreamReader, line: asyncio.StreamWriter) -> None:
            wire = line.get_extra_info("socket")
            found.set_result(wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            line.close()

        bound = run._bind("127.0.0.1", 0)
        async with await asyncio.start_server(met, sock=bound):
            _, mine = await asyncio.open_connection(*bound.getsockname())
            try:
                return await asyncio.wait_for(found, 30)
            finally:
                mine.close()

    assert asyncio.run(delayed())


def test_what_opens_the_server_is_never_readable_to_others_of_this_machine(place: Place) -> None:
    state = place.workspace.state
    for private in (state / "server.db", state / "server.json"):
        assert private.stat().st_mode & 0o077 == 0, private


def test_a_private_file_is_private_from_its_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    real = os.fsync

    def look(handle: int) -> None:
        modes.append(os.fstat(handle).st_mode & 0o777)
        real(handle)

    monkeypatch.setattr(os, "fsync", look)
    write_atomic(tmp_path / "token", "secret", mode=0o600)
    assert modes[0] == 0o600
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", ["Host: [", "Host: a]b", "Host: [::1", "Origin: http://[", "Origin: http://a]b"])
def test_what_is_no_host_and_no_origin_is_refused_not_stumbled_over(place: Place, line: str) -> None:
    host, _, port = place.url.removeprefix("http://").partition(":")
    given = [line] if line.startswith("Host") else [f"Host: {host}:{port}", line]
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall("\r\n".join(["POST /api/search HTTP/1.1", *given, "Content-Length: 0", "", ""]).encode())
        said = connection.recv(2000)
    assert said.split()[1] == (b"421" if line.startswith("Host") else b"403")
    assert b"nosniff" in said
