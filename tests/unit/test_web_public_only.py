"""A page that is fetched for somebody else's sake comes from the public network, whatever names and redirects say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from openbook.errors import ReadError
from openbook.ingest import web


class _Inside(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/secret")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"the password of the router")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def inside() -> Iterator[int]:
    _Inside.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Inside)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "127.1", "2130706433", "[::ffff:127.0.0.1]"])
def test_no_spelling_of_this_machine_is_asked(host: str, inside: int, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"not on the public network|cannot be fetched"):
        web.fetch(f"http://{host}:{inside}/secret", tmp_path, max_bytes=1000, public_only=True)
    assert _Inside.asked == []


def test_a_redirect_into_this_network_is_not_followed(
    inside: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first hop is let through, as a public one would be; the guard looks again at the second."""
    monkeypatch.setattr(web, "is_public", lambda _: not _Inside.asked)
    with pytest.raises(ReadError, match="not on the public network"):
        web.fetch(f"http://127.0.0.1:{inside}/away", tmp_path, max_bytes=1000, public_only=True)
    assert _Inside.asked == ["/away"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("not an address", False),
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
    ],
)
def test_public_is_what_everybody_can_reach(address: str, public: bool) -> None:
    assert web.is_public(address) is public


def test_the_command_line_still_reads_the_intranet(inside: int, tmp_path: Path) -> None:
    assert web.fetch(f"http://127.0.0.1:{inside}/away", tmp_path, max_bytes=1000).read_bytes().startswith(b"the pass")


def test_ports_and_names_of_this_network_cannot_be_told_apart(inside: int, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        said = set()
        for place in (f"127.0.0.1:{inside}", f"127.0.0.1:{nobody.getsockname()[1]}", "no-such-host.invalid"):
            with pytest.raises(ReadError) as refused:
                web.fetch(f"http://{place}/", tmp_path, max_bytes=1000, public_only=True)
            said.add(str(refused.value))
    assert len(said) == 1


def test_a_private_port_is_not_even_knocked_at(tmp_path: Path) -> None:
    with socket.socket() as waiting:
        waiting.bind(("127.0.0.1", 0))
        waiting.listen()
        with pytest.raises(ReadError):
            web.fetch(f"http://127.0.0.1:{waiting.getsockname()[1]}/", tmp_path, max_bytes=1000, public_only=True)
        waiting.settimeout(0.1)
        with pytest.raises(TimeoutError):
            waiting.accept()
