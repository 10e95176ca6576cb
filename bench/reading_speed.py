"""Training on questions about the same passages: their shared beginning computed once against every time.

    python -m bench.reading_speed [--rounds 3] [--other CHECKOUT]

Workloads: groups of 1, 4, 8 and 12 examples over a prompt of 500 tokens with 60 of their own each (30 learned), 8 or 12
to a step, and 8 ordinary chats of 100 to 220 tokens. A worker process for each workload takes one sequence to warm up,
then the arms take turns in changing order; the clock is this process' processor time (one thread), so that other work
disturbs little. Peak memory is that of a process that takes one step. With --other, a checkout of another version of
Openbook runs the same steps, processes taking turns. Head, clipping and AdamW are in the step. Writes
bench/out/reading_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve()
PREFIX, OWN, LEARNED = 500, 60, 30
WORKLOADS = {
    "groups of 1": (1, 8),
    "groups of 4": (4, 8),
    "groups of 8": (8, 8),
    "groups of 12": (12, 12),
    "chats": (0, 8),
}
"""Examples of a group and of a step; chats are no groups."""
ARMS = ("every time", "once")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reading_speed", description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--other", type=Path, help="a checkout of another version")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        workload, arms, rounds = options.worker
        work(options.model, workload, arms.split(",") if arms else [], int(rounds))
        return
    from bench.common import table, write_json

    rows, results = [], []
    for workload in WORKLOADS:
        timed = run(options, workload, ",".join(ARMS), options.rounds)
        peaks = {arm: run(options, workload, arm, 1)["peak_mb"] for arm in ARMS}
        if options.other:
            turns = [
                (run(options, workload, "", 1, other=options.other), run(options, workload, "once", 1))
                for _ in range(options.rounds)
            ]
            timed["seconds"]["other"], timed["seconds"]["once, in turn with other"] = (
                [one["seconds"][arm][0] for one in side]
                for side, arm in zip(zip(*turns, strict=True), ("", "once"), strict=True)
            )
            peaks["other"] = turns[0][0]["peak_mb"]
        for arm, seconds in timed["seconds"].items():
            took = median(seconds)
            speed = timed["tokens"] / took
            base = median(timed["seconds"]["every time" if arm in ARMS else "other"])
            rows.append((workload, arm, took, speed, timed["examples"] / took, base / took, peaks.get(arm)))
        results.append({"workload": workload, **timed, "peaks": peaks})
        print(f"{workload}: {timed['seconds']}", file=sys.stderr, flush=True)
    print(table(("workload", "arm", "s a step", "sequence tokens/s", "examples/s", "times", "peak MB"), rows))
    write_json("reading_speed", {"results": results})


def run(options: argparse.Namespace, workload: str, arms: str, rounds: int, *, other: Path | None = None) -> Any:
    """A worker's answer."""
    place = other or HERE.parent.parent
    command = [sys.executable, str(HERE), "--model", options.model, "--worker", workload, arms, str(rounds)]
    said = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(place)}, cwd=place
    )
    return json.loads(said.stdout.splitlines()[-1])


def work(name: str, workload: str, arms: list[str], rounds: int) -> None:
    """Time the training's own objective and step; without arms, whatever this version does."""
    import torch

    from openbook.finetune import base, lora, machine, train
    from openbook.models import fetch
    from openbook.settings import Finetune

    settings = Finetune(threads=1)
    here = machine.choose(settings)
    machine.keep_pages()
    model = lora.prepare(base.folder_of(fetch.ensure(name)), settings, here)
    learned = lora.learned(model)
    optimizer = torch.optim.AdamW(learned.values(), lr=2e-4, fused=True)
    items = [train.Item("", (one,)) for one in sequences(workload)]
    model.train()

    def step(items: list[train.Item]) -> tuple[float, float]:
        started, loss = time.process_time(), 0.0
        for part in train.supervised(model, items, settings):
            part.loss.backward()
            loss += float(part.loss.detach())
        torch.nn.utils.clip_grad_norm_(learned.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - started, loss

    seconds: dict[str, list[float]] = {arm: [] for arm in arms or [""]}
    losses = []
    step(items[:1])
    for turn in range(rounds):
        for arm in list(seconds)[:: -1 if turn % 2 else 1]:
            if arm:
                from openbook.finetune import prefixes

                prefixes.FLOOR = 64 if arm == "once" else 1 << 30
            took, loss = step(items)
            losses.append(loss)
            seconds[arm].append(took)
    said = {
        "seconds": seconds,
        "losses": losses,
        "tokens": sum(item.tokens for item in items),
        "examples": len(items),
        "dtype": here.dtype,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    print(json.dumps(said))


def sequences(workload: str) -> list[Any]:
    """The token sequences of a step: random tokens, of which time does not depend."""
    from openbook.finetune.chat import Tokens

    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(100, 40_000) for _ in range(count))

    group, step = WORKLOADS[workload]
    if not group:
        lengths = [draw.randint(100, 220) for _ in range(step)]
        return [Tokens(tokens(n), (False,) * (n - n // 2) + (True,) * (n // 2)) for n in lengths]
    learned = (False,) * (PREFIX + OWN - LEARNED) + (True,) * LEARNED
    shared = [tokens(PREFIX) for _ in range(step // group)]
    return [Tokens((*shared[n // group], *tokens(OWN)), learned) for n in range(step)]


if __name__ == "__main__":
    main()
