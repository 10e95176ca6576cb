"""Prefill, decoding and cold start of the local generator, beside transformers in bf16.

    python -m bench.generate --peer-python PATH [--model NAME] [--repeat 5] [--sizes 256,1024,2048] [--no-cold]

The peer's environment: pip install torch==2.13.0 transformers gguf accelerate (a CPU build of torch). Both sides read
the same GGUF: the peer dequantizes it to bf16, OpenVINO keeps the weights in 4 bits. Each side is a process that stays
warm; requests alternate between them, each with a prompt not seen before (so no prefix cache helps), after two rounds
to warm up; medians are reported. Without --peer-python only our side runs. Writes bench/out/generate.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import IO, Any, Literal

from bench.common import spread, table, write_json
from openbook.answer.generators.openvino import OpenVINOGenerator
from openbook.models import fetch
from openbook.records import Generation, Message, Sampling

HERE = Path(__file__).resolve().parent
NEW_TOKENS = 64
OURS = ("start", "throughput")
PEER = "transformers"
MOST_SECONDS = 600


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.generate", description=__doc__.split("\n")[0])
    parser.add_argument("--peer-python", default="", help="Python of an environment with torch, transformers and gguf")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=[256, 1024, 2048])
    parser.add_argument("--no-cold", action="store_true")
    parser.add_argument("--worker", choices=OURS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        work(options.worker, options.model)
        return
    files = fetch.ensure(options.model)
    commands = {
        side: [sys.executable, "-m", "bench.generate", "--worker", side, "--model", options.model] for side in OURS
    }
    if options.peer_python:
        if files.original is None:
            parser.error(f"model {options.model!r} has no GGUF that the peer could read")
        commands[PEER] = [options.peer_python, str(HERE / "generate_transformers.py"), str(files.original)]
    results: dict[str, Any] = {"model": options.model, "new_tokens": NEW_TOKENS}
    results["warm"] = warm(commands, options.sizes, options.repeat)
    if not options.no_cold:
        results["cold"] = cold(commands, options.repeat)
    print(render(results))
    print(f"\nwritten to {write_json('generate', results)}", file=sys.stderr)


def work(side: Literal["start", "throughput"], model: str) -> None:
    """Our worker: as generate_transformers.py, but {"size": n, "seed": n} make the prompt, which comes back."""
    generator = OpenVINOGenerator(fetch.ensure(model), prefer=side)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        messages = prompt(generator, request["size"], request["seed"])
        *_, end = generator.stream(messages, Sampling(max_tokens=request["tokens"]))
        assert isinstance(end, Generation)
        answer = {"prompt_tokens": end.prompt_tokens, "answer_tokens": end.answer_tokens, "text": end.text}
        timing = {"prefill": end.prefill_seconds, "decode": end.decode_seconds}
        print(json.dumps({**answer, **timing, "prompt": generator.render(messages)}), flush=True)


def prompt(generator: OpenVINOGenerator, size: int, seed: int) -> list[Message]:
    """Messages of about `size` tokens (never more), different from the first words on for each seed."""

    def of(lines: int) -> list[Message]:
        notes = "\n".join(
            f"Note {seed * 1000 + line}: room {(line * 37 + seed) % 90 + 10} is kept by team {(line * 11 + seed) % 26}"
            f", which meets there {line % 5 + 1} times a week."
            for line in range(lines)
        )
        question = "Retell all of these notes in your own words, one after the other, as a long text."
        return [Message("system", f"Archive {seed}. You retell notes."), Message("user", f"{notes}\n\n{question}")]

    low, high = 0, size
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if generator.count(generator.render(of(middle))) <= size else (low, middle)
    return of(low)


@contextmanager
def worker(command: Sequence[str]) -> Iterator[tuple[IO[str], IO[str]]]:
    """A side's process; yields its stdin and stdout once it is ready."""
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env={**os.environ, **quiet}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if not said:
                raise SystemExit(f"{command[0]} ended before it was ready; see its output above")
            yield process.stdin, process.stdout
        finally:
            process.stdin.close()
            process.wait(timeout=MOST_SECONDS)


def ask(pipes: tuple[IO[str], IO[str]], request: Mapping[str, Any]) -> dict[str, Any]:
    """One request to a worker and its answer."""
    pipes[0].write(json.dumps(request) + "\n")
    pipes[0].flush()
    said = pipes[1].readline()
    if not said:
        raise SystemExit("a worker ended in the middle; see its output above")
    answer: dict[str, Any] = json.loads(said)
    return answer


def warm(commands: Mapping[str, Sequence[str]], sizes: Sequence[int], repeat: int) -> list[dict[str, Any]]:
    """Rates of every side at every prompt size, measured in turns."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        pipes = {side: stack.enter_context(worker(command)) for side, command in commands.items()}
        for size in sizes:
            seen: dict[str, list[dict[str, Any]]] = {side: [] for side in commands}
            for turn in range(-2, repeat):
                text = ""
                for side in commands:
                    request = {"size": size, "seed": size + turn, "tokens": NEW_TOKENS, "prompt": text}
                    answer = ask(pipes[side], request)
                    text = answer.get("prompt", text)
                    if turn >= 0:
                        seen[side].append(answer)
            rows.extend(row(size, side, answers, seen) for side, answers in seen.items())
            print(f"{size} tokens measured", file=sys.stderr, flush=True)
    return rows


def row(
    size: int, side: str, answers: Sequence[Mapping[str, Any]], seen: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """One side at one size, and the share of our first side's text that it begins with too."""
    alike = [
        sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours["text"], theirs["text"], strict=False)))
        / max(1, len(ours["text"]))
        for ours, theirs in zip(seen[OURS[0]], answers, strict=True)
    ]
    return {
        "size": size,
        "side": side,
        "prompt_tokens": answers[0]["prompt_tokens"],
        "prefill": spread([answer["prompt_tokens"] / answer["prefill"] for answer in answers]),
        "decode": spread([(answer["answer_tokens"] - 1) / answer["decode"] for answer in answers if answer["decode"]]),
        "answer_tokens": [answer["answer_tokens"] for answer in answers],
        "same_beginning": spread(alike)["median"],
    }


def cold(commands: Mapping[str, Sequence[str]], repeat: int) -> dict[str, Any]:
    """Seconds from starting a process to its first token on a 1,024-token prompt, in turns."""
    with worker(commands[OURS[0]]) as pipes:
        text = ask(pipes, {"size": 1024, "seed": 1, "tokens": 1})["prompt"]
    seconds: dict[str, list[float]] = {side: [] for side in commands}
    for _ in range(repeat):
        for side, command in commands.items():
            start = time.perf_counter()
            with worker(command) as pipes:
                ask(pipes, {"size": 1024, "seed": 1, "tokens": 1, "prompt": text})
                seconds[side].append(time.perf_counter() - start)
    return {side: spread(values) for side, values in seconds.items()}


def render(results: Mapping[str, Any]) -> str:
    """The measurements as Markdown tables, with ratios to the peer."""
    peers = {line["size"]: line for line in results["warm"] if line["side"] == PEER}
    lines = []
    for line in results["warm"]:
        peer = peers.get(line["size"])
        rates = [line["prefill"]["median"], line["decode"]["median"]]
        ratios = [line[part]["median"] / peer[part]["median"] if peer else None for part in ("prefill", "decode")]
        lines.append(
            [line["side"], line["prompt_tokens"], rates[0], ratios[0], rates[1], ratios[1], line["same_beginning"]]
        )
    heads = ["side", "prompt tokens", "prefill tokens/s", "x peer", "decode tokens/s", "x peer", "same beginning"]
    text = table(heads, lines)
    if "cold" in results:
        peer = results["cold"].get(PEER)
        starts = [
            [side, cold["median"], peer["median"] / cold["median"] if peer else None]
            for side, cold in results["cold"].items()
        ]
        text += "\n\n" + table(["cold start", "seconds to first token", "x faster than peer"], starts)
    return text


if __name__ == "__main__":
    main()
