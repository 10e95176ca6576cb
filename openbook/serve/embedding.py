"""An embedder in a process of its own, so that a sync leaves this one free to answer: texts in, unit vectors out.

`python -m openbook.serve.embedding` is that process: frames on stdin and stdout, niceness 10. It ends when its parent
does, however that ended, and is started anew when it crashed. Knows nothing of libraries, jobs and requests.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, Literal, Self

from pydantic import TypeAdapter

from openbook import errors
from openbook.errors import ModelError, OpenbookError
from openbook.records import ModelFiles
from openbook.seams import Progress

if TYPE_CHECKING:
    from openbook.seams import Embedder, Vectors

_POLITE = 10
"""Niceness: a question's own embedding and the answers in flight go first."""
_WINDOW = 4096
"""Texts of one frame; the embedder sorts within as many (retrieve.embed.WINDOW), so more would not be faster."""
_TRIES = 2
"""A child that dies twice over the same texts dies of them."""
_HEAD = struct.Struct("<II")
"""Bytes of the JSON part, then bytes behind it."""
_FILES = TypeAdapter(ModelFiles)


class ChildEmbedder:
    """A seams.Embedder over a pipe to a child process; threads take turns.

    Starts the child when first used. Raises ModelError when the model cannot be loaded, or when the child died twice
    over the same texts.
    """

    def __init__(self, files: ModelFiles) -> None:
        self._files = files
        self._turn = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._known: dict[str, Any] = {}
        self._closed = False

    @property
    def fingerprint(self) -> str:
        """That of an OpenVINOEmbedder of the same files."""
        return str(self._hello()["fingerprint"])

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self._hello()["dimensions"])

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special tokens included."""
        return int(self._hello()["max_tokens"])

    @property
    def pid(self) -> int | None:
        """Of the child, while it runs."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def embed(
        self, texts: Sequence[str], *, kind: Literal["document", "query"], progress: Progress | None = None
    ) -> Vectors:
        """Unit vectors [len(texts), dimensions], in the order of the texts; longer texts are cut at max_tokens."""
        import numpy as np

        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(texts), _WINDOW):
            window = list(texts[start : start + _WINDOW])

            def told(done: int, start: int = start) -> None:
                if progress is not None:
                    progress("embed", start + done, len(texts))

            _, raw = self._ask({"do": "embed", "kind": kind, "texts": window}, told)
            vectors[start : start + len(window)] = np.frombuffer(raw, dtype=np.float32).reshape(len(window), -1)
        return vectors

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens, never cut."""
        found: list[int] = []
        for start in range(0, len(texts), _WINDOW):
            said, _ = self._ask({"do": "count", "texts": list(texts[start : start + _WINDOW])})
            found += said["counts"]
        return found

    def close(self) -> None:
        """End the child, in the middle of its work if need be; further calls raise ModelError."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()
        with self._turn:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hello(self) -> dict[str, Any]:
        if not self._known:
            with self._turn:
                self._running()
        return self._known

    def _ask(self, order: dict[str, Any], told: Callable[[int], None] = lambda _: None) -> tuple[dict[str, Any], bytes]:
        for _ in range(_TRIES):
            with self._turn:
                child = self._running()
                try:
                    _write(_pipe(child.stdin), order)
                    while "done" in (answer := _read(_pipe(child.stdout)))[0]:
                        told(answer[0]["done"])
                except (OSError, EOFError):
                    code = self._drop()
                    continue
                except BaseException:  # of `told`, which ends the work: what is still in the pipe is nobody's
                    self._drop()
                    raise
            _check(answer[0])
            return answer
        raise ModelError(
            f"the process that embeds with {self._files.name!r} ended {_TRIES} times over the same texts "
            f"(last with {code}); see whether memory is short with: openbook doctor"
        )

    def _running(self) -> subprocess.Popen[bytes]:
        """The child, started when there is none; with the turn held."""
        if self._closed:
            raise ModelError(f"the process that embeds with {self._files.name!r} is closed; make a new embedder")
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._drop()
        child = self._child = subprocess.Popen(
            [sys.executable, "-m", "openbook.serve.embedding"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the server, which ends it
        )
        try:
            _write(_pipe(child.stdin), _FILES.dump_python(self._files, mode="json"))
            said, _ = _read(_pipe(child.stdout))
        except (OSError, EOFError):
            raise ModelError(
                f"the process that embeds with {self._files.name!r} did not start (it ended with {self._drop()}); "
                "see: openbook doctor"
            ) from None
        try:
            _check(said)
        except OpenbookError:
            self._drop()
            raise
        self._known = said
        return child

    def _drop(self) -> int | None:
        """Take the child's exit status and let go of it."""
        child, self._child = self._child, None
        if child is None:
            return None
        child.kill()
        code = child.wait()
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):  # what was still to be written to a process that is gone
                _pipe(pipe).close()
        return code


def _check(said: dict[str, Any]) -> None:
    if "error" in said:
        raise getattr(errors, said["kind"], ModelError)(said["error"])


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _write(pipe: IO[bytes], said: dict[str, Any], raw: bytes = b"") -> None:
    head = json.dumps(said).encode()
    pipe.write(_HEAD.pack(len(head), len(raw)) + head)
    pipe.write(raw)
    pipe.flush()


def _read(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """The next frame. Raises EOFError when the other side is gone."""
    size, behind = _HEAD.unpack(_exactly(pipe, _HEAD.size))
    said: dict[str, Any] = json.loads(_exactly(pipe, size))
    return said, _exactly(pipe, behind)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    found = pipe.read(size)
    if len(found) < size:
        raise EOFError
    return found


def _listen(pipe: IO[bytes], orders: SimpleQueue[dict[str, Any]]) -> None:
    try:
        while True:
            orders.put(_read(pipe)[0])
    except (OSError, EOFError):
        os._exit(0)  # the parent is gone: nobody waits for the vectors in the making


def _serve(embedder: Embedder, orders: SimpleQueue[dict[str, Any]], out: IO[bytes]) -> None:
    while True:
        order = orders.get()
        if order["do"] == "count":
            _write(out, {"counts": embedder.count(order["texts"])})
            continue
        vectors = embedder.embed(
            order["texts"], kind=order["kind"], progress=lambda _, done, __: _write(out, {"done": done})
        )
        _write(out, {}, vectors.tobytes())


def main() -> None:
    """The child."""
    # OpenVINO would fork a process that reports its use; killed here, it stays behind and holds the pipes open.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    from openbook.retrieve.embed import OpenVINOEmbedder

    with suppress(AttributeError, OSError):
        os.nice(_POLITE)
    # What a library prints must not come between the frames.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    first, _ = _read(sys.stdin.buffer)
    orders: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, orders), daemon=True).start()
    try:
        embedder = OpenVINOEmbedder(_FILES.validate_python(first))
        _write(out, {name: getattr(embedder, name) for name in ("fingerprint", "dimensions", "max_tokens")})
        _serve(embedder, orders, out)
    except OpenbookError as error:
        _write(out, {"error": str(error), "kind": type(error).__name__})
    except BrokenPipeError:  # the parent went between two frames
        os._exit(0)


if __name__ == "__main__":
    main()
