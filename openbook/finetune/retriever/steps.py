"""What training an embedder and a reranker share: rounds of batches, the optimizer, the schedule, the right numbers.

Knows no model and no question.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openbook.errors import TrainingError
from openbook.finetune.machine import Machine, choose, keep_pages, peak_mb
from openbook.finetune.retriever.recipe import Recipe
from openbook.seams import Progress
from openbook.settings import Finetune

_FLOOR = 0.1
"""The learning rate falls to this share of its highest."""
_AT_ONCE = 8000
"""Characters of one forward pass, about 2,000 tokens: bounds the memory, and like lengths together need no padding."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a training went."""

    steps: int
    seconds: float
    losses: tuple[float, ...]
    """Mean per epoch."""
    peak_mb: int
    dtype: str


def machine(recipe: Recipe) -> Machine:
    """Where and in what numbers to train; weights stay float32, products are bfloat16 where the processor has them."""
    keep_pages()
    return choose(Finetune(dtype=recipe.dtype, threads=recipe.threads))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the model libraries from writing to the terminal."""
    import transformers

    said: Any = transformers.utils.logging
    level = said.get_verbosity()
    said.set_verbosity_error()
    said.disable_progress_bar()
    try:
        yield
    finally:
        said.set_verbosity(level)
        said.enable_progress_bar()


def batches(count: int, size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Numbers 0 ... count-1 in batches of `size`, shuffled anew each epoch; a last batch of one joins its neighbour."""
    order = np.random.default_rng((seed, epoch)).permutation(count).tolist()
    found = [order[start : start + size] for start in range(0, count, size)]
    if len(found) > 1 and len(found[-1]) == 1:
        alone = found.pop()
        found[-1] += alone
    return found


def portions(texts: Sequence[str], *, budget: int = _AT_ONCE) -> list[list[int]]:
    """Numbers of the texts in portions of alike lengths, at most `budget` characters each with padding.

    >>> portions(["aaaa", "b", "cccc"], budget=8)
    [[0, 2], [1]]
    """
    found: list[list[int]] = []
    longest = 0
    for number in sorted(range(len(texts)), key=lambda number: -len(texts[number])):
        if not found or longest * (len(found[-1]) + 1) > budget:
            found.append([])
            longest = max(1, len(texts[number]))
        found[-1].append(number)
    return found


def run(
    model: Any,
    plan: Sequence[Sequence[list[int]]],
    descend: Callable[[list[int], int], float],
    recipe: Recipe,
    machine: Machine,
    *,
    step_name: str,
    progress: Progress | None,
) -> Course:
    """Step through `plan` (epochs of batches) with AdamW, linear warm-up and decay.

    `descend(batch, epoch)` adds the gradients of a batch and gives its loss.

    Raises TrainingError when the loss is no number.
    """
    import torch

    torch.manual_seed(recipe.seed)
    plain = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim < 2]
    decayed = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    total = sum(len(epoch) for epoch in plan)
    warm = max(1, round(recipe.warmup * total))
    started, step, losses = time.perf_counter(), 0, []
    model.train()
    for number, epoch in enumerate(plan):
        sums = 0.0
        for batch in epoch:
            share = (step + 1) / warm if step < warm else 1 - (1 - _FLOOR) * (step - warm) / max(1, total - warm)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * share
            with torch.autocast(machine.device, torch.bfloat16, enabled=machine.dtype == "bfloat16"):
                loss = descend(batch, number)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} after {step} steps; lower learning_rate (it is {recipe.learning_rate})"
                )
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            sums += loss
            step += 1
            if progress is not None:
                progress(step_name, step, total)
        losses.append(sums / len(epoch))
    model.eval()
    return Course(step, time.perf_counter() - started, tuple(losses), peak_mb(), machine.dtype)
