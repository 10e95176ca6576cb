"""Cold starts and the size of an install: what a person waits for at the shell.

    python -m bench.peers.cold [--generator NAME] [--embedder NAME] [--repeat 5] [--install]

`openbook --help` from call to end; `openbook ask` from call to the first piece of the answer on the terminal and to
the end, each in a new process, with the models in the cache and the handbook synced. --install also makes a fresh
virtual environment and measures its packages (needs the package index). Writes bench/out/cold.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common import spread, table, timed, write_json
from bench.peers.corpus import ROOT
from openbook.settings import Settings

QUESTIONS = (
    "What is our company leave policy?",
    "How long is new parent leave?",
    "Who pays for continuing education?",
    "What is the referral bonus?",
    "When can I take a sabbatical?",
)
"""A different one each time."""


def main(arguments: Sequence[str] | None = None) -> None:
    defaults = Settings().models
    parser = argparse.ArgumentParser(prog="python -m bench.peers.cold", description=__doc__.split("\n")[0])
    parser.add_argument("--generator", default=defaults.generator)
    parser.add_argument("--embedder", default=defaults.embedder)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--install", action="store_true")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {"help": spread([timed(lambda: openbook("--help"))[1] for _ in range(options.repeat)])}
    with tempfile.TemporaryDirectory(prefix="openbook-cold-") as folder:
        desk = ["--workspace", folder]
        openbook("init", folder, "--model", options.generator, "--embedder", options.embedder)
        openbook("sync", str(ROOT / "openbook" / "sample" / "handbook"), *desk)
        first_ask(QUESTIONS[0], desk)
        asked = [first_ask(QUESTIONS[turn % len(QUESTIONS)], desk) for turn in range(options.repeat)]
    results["first_token"] = spread([first for first, _ in asked])
    results["whole_answer"] = spread([whole for _, whole in asked])
    if options.install:
        results["install_mb"] = install_size()
    print(render(results))
    print(f"\nwritten to {write_json('cold', results)}", file=sys.stderr)


def render(results: Mapping[str, Any]) -> str:
    """The measurements as Markdown."""
    rows: list[list[object]] = [
        ["openbook --help, s", "<= 0.5", results["help"]["n"], *_range(results["help"])],
        ["openbook ask, to the first token, s", "<= 4", results["first_token"]["n"], *_range(results["first_token"])],
        ["openbook ask, to the end, s", "", results["whole_answer"]["n"], *_range(results["whole_answer"])],
    ]
    if "install_mb" in results:
        rows.append(["base install, MB", "<= 700", 1, results["install_mb"], "", ""])
    return table(["cold start", "wanted", "n", "median", "lowest", "highest"], rows)


def _range(spread_of: Mapping[str, float]) -> list[object]:
    return [spread_of["median"], spread_of["min"], spread_of["max"]]


def openbook(*arguments: str) -> None:
    """Run the command; its words are shown when it fails."""
    done = subprocess.run([sys.executable, "-m", "openbook", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"openbook {' '.join(arguments)} failed: {done.stderr.strip()}")


def first_ask(question: str, desk: Sequence[str]) -> tuple[float, float]:
    """Seconds from the call to the first answer text, and to the end, of `openbook ask` on a terminal of its own."""
    import pty

    screen, terminal = pty.openpty()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "openbook", "ask", question, *desk],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
    )
    os.close(terminal)
    first: float | None = None
    shown = b""
    while True:
        try:
            piece = os.read(screen, 4096)
        except OSError:  # Linux says EIO when the other side of a terminal has gone
            break
        if not piece:
            break
        shown += piece
        if first is None and _visible(shown):
            first = time.perf_counter() - started
    os.close(screen)
    if process.wait() or first is None:
        sys.exit(f"openbook ask {question!r} failed; run it by hand to see why")
    return first, time.perf_counter() - started


def install_size() -> float:
    """MB of the packages of a fresh environment with Openbook alone in it."""
    with tempfile.TemporaryDirectory(prefix="openbook-install-") as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", f"{folder}/bin/python"]
        subprocess.run([*pip, "install", "--quiet", "--no-compile", str(ROOT)], check=True)
        files = {path.stat().st_ino: path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()}
        return sum(files.values()) / 1e6


def _visible(shown: bytes) -> bool:
    """Whether anything but colour codes and white space has come."""
    text = shown.decode("utf-8", "replace")
    while "\x1b[" in text:
        before, _, after = text.partition("\x1b[")
        text = before + after.lstrip("0123456789;?")[1:]
    return bool(text.strip())


if __name__ == "__main__":
    main()
