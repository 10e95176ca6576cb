"""Many answers written at once: OpenVINO's continuous batching in a process of its own, tokens over a pipe.

A model folder in, streamed text out, as OpenVINOGenerator; see docs/decisions/0116. The child process is
`python -m openbook.answer.generators.batching`. Knows no catalogue, no prompt wording and no retrieval.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Literal

from openbook.answer.generators import schemas
from openbook.answer.generators.openvino import UNFOLLOWABLE, reason, rendered
from openbook.answer.generators.pieces import check_fits, shown
from openbook.errors import ModelError, UsageError
from openbook.records import Generation, Message, ModelFiles, Sampling


class BatchedGenerator:
    """A seams.Generator for many threads at once: each step of the model serves all answers in flight.

    Attention state of earlier prompts is kept, so that a prompt that begins like one before reads only what is new.
    The child is started at once, dies with this process, and is started anew by the next question when it crashed.
    Raises ModelError when the folder cannot be loaded.
    """

    def __init__(self, files: ModelFiles) -> None:
        import openvino_genai

        self._files = files
        try:
            self._tokenizer = openvino_genai.Tokenizer(files.folder)
        except RuntimeError as error:
            raise ModelError(
                f"model {files.name!r} cannot be loaded from {files.folder} ({reason(error)}); "
                f"fetch it again with: openbook models pull {files.name}"
            ) from None
        self._stop_ids = sorted(set(files.eos_token_ids) or {self._tokenizer.get_eos_token_id()})
        self._turn = threading.Lock()
        self._closed = False
        self._child: _Child | None = None
        self._running()

    @property
    def name(self) -> str:
        """The catalogue name, or the path the user gave."""
        return self._files.name

    @property
    def context(self) -> int:
        """Prompt and answer together may have this many tokens."""
        return self._files.context

    @property
    def pid(self) -> int:
        """Of the child process."""
        return self._running().pid

    def render(self, messages: Sequence[Message]) -> str:
        """The text the model reads. Raises ModelError when its template refuses the messages."""
        return rendered(messages, self._tokenizer, self._files)

    def count(self, text: str) -> int:
        """Tokens of a text, without special tokens added."""
        return len(self._encode(text))

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Generation]:
        """Yield pieces of whole characters, then one Generation.

        Raises UsageError at once for a schema that cannot be followed, PromptTooLong when prompt and answer exceed the
        context, and ModelError after close().
        """
        if self._closed:
            raise ModelError(f"model {self.name!r} is closed; make a new generator")
        schemas.check(sampling.json_schema)
        prompt = self._encode(self.render(messages))
        check_fits(len(prompt), sampling, name=self.name, context=self.context)
        run = _Run(self, prompt, sampling)
        return shown(run, sampling, prompt_tokens=len(prompt), decode=self._tokenizer.decode)

    def close(self) -> None:
        """End the child; answers in flight raise ModelError. A second call does nothing."""
        with self._turn:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.end()

    def _encode(self, text: str) -> list[int]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).input_ids
        found: list[int] = ids.data.reshape(-1).tolist()
        return found

    def _running(self) -> _Child:
        with self._turn:
            if self._closed:
                raise ModelError(f"model {self.name!r} is closed; make a new generator")
            if self._child is None or self._child.dead:
                self._child = _Child(self._files, self._stop_ids)
            return self._child


class _Run:
    """One generation in the child; see pieces.Run."""

    def __init__(self, owner: BatchedGenerator, prompt: list[int], sampling: Sampling) -> None:
        self.start = self.first = self.last = 0.0
        self.count = 0
        self.finish: Literal["stop", "length"] = "stop"
        self.said: queue.SimpleQueue[tuple[list[int], str]] = queue.SimpleQueue()
        """Tokens, and how it ended: "" not yet, "stop", "length", or what went wrong."""
        self._owner, self._prompt, self._sampling = owner, prompt, sampling
        self._child: _Child | None = None
        self._number = 0
        self._ended = False

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the rest."""
        return self._ended

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        if not value or self._ended:
            return
        self._ended = True
        self.said.put(([], ""))  # lets go of who waits for a token
        if self._child is not None:
            self._child.cancel(self._number)

    def tokens(self) -> Iterator[list[int]]:
        """Begin, and give token ids as they come."""
        self.start = self.first = self.last = time.perf_counter()
        self._child = self._owner._running()
        self._number = self._child.ask(self, self._prompt, self._sampling)
        if self._ended:  # cancelled before the child knew of it
            self._child.cancel(self._number)
        while not self._ended:
            tokens, end = self.said.get()
            if self.cancelled:
                return
            if tokens:
                self.last = time.perf_counter()
                self.first = self.last if not self.count else self.first
                self.count += len(tokens)
            if end:
                self._ended = True
                if end.startswith(UNFOLLOWABLE):
                    raise UsageError(end)
                if end not in ("stop", "length"):
                    raise ModelError(f"model {self._owner.name!r} failed while generating ({end}); ask again")
                self.finish = "length" if end == "length" else "stop"
            if tokens:
                yield tokens


class _Child:
    """The process that has the model, and a thread that hands its tokens on."""

    def __init__(self, files: ModelFiles, stop_ids: Sequence[int]) -> None:
        self.dead = False
        self._runs: dict[int, _Run] = {}
        self._asked = 0
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "openbook.answer.generators.batching"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which ends it
        )
        self.pid = self._process.pid
        self._write({"folder": str(files.folder), "context": files.context, "stop_ids": list(stop_ids)})
        said = self._read()
        if "error" in said:
            self._take_down()
            raise ModelError(
                f"model {files.name!r} cannot be loaded from {files.folder} ({said['error']}); "
                f"fetch it again with: openbook models pull {files.name}"
            )
        self._listener = threading.Thread(target=self._listen, name="openbook-batch", daemon=True)
        self._listener.start()

    def ask(self, run: _Run, prompt: list[int], sampling: Sampling) -> int:
        """Begin a generation; `run.said` gets what comes."""
        with self._turn:
            self._asked += 1
            number = self._asked
            self._runs[number] = run
            if self.dead:
                run.said.put(([], "its process has ended"))
            else:
                self._write({"ask": number, "prompt": prompt, "sampling": asdict(sampling)})
        return number

    def cancel(self, number: int) -> None:
        """Let the model forget a generation at its next step."""
        with self._turn:
            if self._runs.pop(number, None) is not None and not self.dead:
                self._write({"cancel": number})

    def end(self) -> None:
        """End the process and every generation in it."""
        self._process.kill()
        self._listener.join()

    def _listen(self) -> None:
        while not self.dead:
            said = self._read()
            if "error" in said:
                self.dead = True
            for number, tokens, end in said.get("said", ()):
                run = self._runs.get(number)
                if run is not None:
                    run.said.put((tokens, end))
                if end:
                    self._runs.pop(number, None)
        self._take_down()
        with self._turn:
            for run in self._runs.values():
                run.said.put(([], str(said["error"])))
            self._runs.clear()

    def _write(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # the process has ended, which whoever reads is told
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line.endswith("\n") else {"error": "its process has ended"}
        return said

    def _take_down(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
