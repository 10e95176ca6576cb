"""Worker processes, one per library under comparison: started, asked, ended. Knows nothing of what is measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

HERE = Path(__file__).resolve().parent
OURS = "openbook"
PEERS = ("txtai", "llamaindex", "haystack")


class SideFailed(Exception):
    """A worker answered with an error or died; the message says which and where its log is."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How one side is run."""

    name: str
    python: str
    model: str
    """Folder of the MiniLM weights; for openbook also a catalogue name."""
    dtype: str = "float32"
    batch: int = 32
    script: Path | None = None
    """The worker; None is worker_NAME.py beside this file."""


class Worker:
    """A running side."""

    def __init__(self, setup: Setup, *, log: Path) -> None:
        self.setup = setup
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._stderr: IO[bytes] = log.open("ab")
        self._process = subprocess.Popen(
            [setup.python, str(setup.script or HERE / f"worker_{setup.name}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            env=_quiet(os.environ),
        )

    def ask(self, do: str, **request: object) -> dict[str, Any]:
        """One request, one reply. Raises SideFailed."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise SideFailed(f"{self.setup.name} died before {do!r}; see {self._log}") from None
        line = process.stdout.readline()
        if not line:
            raise SideFailed(f"{self.setup.name} died during {do!r}; see {self._log}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise SideFailed(f"{self.setup.name} failed at {do!r}: {reply['error']}; see {self._log}")
        return reply

    def open(self, *, dtype: str | None = None, batch: int | None = None) -> dict[str, Any]:
        """Load the model, or load it again another way."""
        setup = self.setup
        return self.ask("open", model=setup.model, dtype=dtype or setup.dtype, batch=batch or setup.batch)

    def close(self) -> None:
        """End the process; it is killed when it does not end by itself."""
        if self._process.stdin is not None:
            # A side that died leaves what it never read in the buffer, and closing flushes it.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def default_python(name: str, environments: Path) -> str:
    """The Python that runs a side: this one for openbook, the side's own environment for a peer."""
    return sys.executable if name == OURS else str(environments / name / "bin" / "python")


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        **environment,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
        "PYTHONPATH": str(HERE.parents[1]),
    }
