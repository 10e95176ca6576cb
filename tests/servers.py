"""A chat server on the loopback that speaks the OpenAI protocol, and misbehaves when told to."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Fault = (
    int
    | tuple[int, dict[str, Any]]
    | Literal["hang", "stall", "die", "cut", "html", "not json", "odd shape", "error event"]
)
"""What one request meets: a status (with an error body, if given), or
"hang": no byte comes; "stall": nothing after the first piece; "die": the connection breaks after the first piece;
"cut": the stream ends politely without a finish reason; "html": a web page; "not json", "odd shape": a broken stream;
"error event": an error in the middle of the stream."""


@dataclass
class ChatServer:
    """Answers `reply(messages)` word by word, unless `faults` holds something for this request (taken in order).

    with ChatServer(reply) as server: ... server.url, server.requests (bodies), server.headers
    """

    reply: Callable[[list[dict[str, str]]], str] = lambda messages: "One two three four five."
    models: Sequence[str] = ("tiny",)
    faults: list[Fault] = field(default_factory=list)
    retry_after: str = "0.01"
    usage: bool = True
    honours_stop: bool = True
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0
    """Pieces written so far, over all requests."""

    def __enter__(self) -> ChatServer:
        self.closing = threading.Event()
        owner = self

        class Handler(_Handler):
            chat = owner

        self._http = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        for connection in self._http.open:
            with contextlib.suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: set[socket.socket] = set()
        """Kept alive by clients; each has a thread that waits for the next request."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what these tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    chat: ChatServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep the test output clean."""

    def do_GET(self) -> None:
        self._json(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.chat.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.chat.requests.append(body)
        self.chat.headers.append(dict(self.headers))
        fault = self.chat.faults.pop(0) if self.chat.faults else None
        if isinstance(fault, tuple):
            self._json(fault[0], {"error": fault[1]})
        elif isinstance(fault, int):
            self._json(fault, {"error": {"message": f"told to fail with {fault}", "type": "test"}})
        elif fault == "hang":
            self.chat.closing.wait(20)
            self.close_connection = True
        elif fault == "html":
            self._send(200, "text/html", b"<html><body>Welcome</body></html>")
        else:
            try:
                self._stream(body, fault)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    def _stream(self, body: dict[str, Any], fault: str | None) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for at, event in enumerate(self._events(body)):
            self._chunk(f"data: {json.dumps(event)}\n\n")
            self.chat.sent += 1
            if at == 1 and fault is not None:
                if fault == "stall":
                    self.chat.closing.wait(20)
                if fault in ("stall", "die"):
                    self.close_connection = True
                    return
                if fault == "cut":
                    break
                broken = {"not json": "{oops", "odd shape": '{"choices": [17]}'}
                self._chunk(f"data: {broken.get(fault) or json.dumps({'error': {'message': 'out of memory'}})}\n\n")
        self._chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _events(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        text = self.chat.reply(body["messages"])
        if self.chat.honours_stop:
            text = text[: min((at for stop in body.get("stop") or () if (at := text.find(stop)) >= 0), default=None)]
        words = re.findall(r"\s*\S+|\s+", text)
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(words)
        said = min(limit, len(words))
        finish = "stop" if said == len(words) else "length"
        yield _delta({"role": "assistant", "content": ""})
        for word in words[:said]:
            yield _delta({"content": word})
        yield _delta({}, finish)
        if self.chat.usage and (body.get("stream_options") or {}).get("include_usage"):
            prompt = sum(len(message["content"].split()) for message in body["messages"])
            yield {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": 0}}

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _json(self, status: int, content: object) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        if status in (429, 503):
            self.send_header("retry-after", self.chat.retry_after)
        self.end_headers()
        self.wfile.write(data)


def _delta(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
