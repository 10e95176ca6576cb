"""The training loop: items in, learned weights out; knows no file but its checkpoints and no text at all.

One loop for supervised examples and preference pairs: an objective turns the items of an optimizer step into losses.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from openbook.errors import TrainingError
from openbook.finetune import batches, checkpoint, lean, lora
from openbook.finetune.chat import Tokens
from openbook.finetune.live import EventLog, Sample
from openbook.finetune.loss import divergence, nll
from openbook.finetune.machine import memory_mb, peak_mb
from openbook.settings import Finetune

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_SECONDS = 300
"""Longest time between two checkpoints, and so the most work a crash can cost."""
_FLOOR = 0.1
"""The learning rate falls to this share of its highest."""


@dataclass(frozen=True, slots=True)
class Item:
    """One example as token sequences."""

    place: str
    sequences: tuple[Tokens, ...]
    rejected: tuple[Tokens, ...] = ()
    """Preference pairs only: the same number of sequences with the worse reply."""

    @property
    def tokens(self) -> int:
        """All its tokens."""
        return sum(len(one.ids) for one in (*self.sequences, *self.rejected))


@dataclass(frozen=True, slots=True)
class Check:
    """How good the model is after a step, on held-out examples."""

    loss: float
    metric: float
    name: str
    n: int
    low: float
    high: float
    samples: tuple[Sample, ...]

    @property
    def rising(self) -> float:
        """The metric, turned so that more is better."""
        return -self.metric if self.name == "loss" else self.metric


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended; the model holds its best weights."""

    step: int
    best_step: int
    metric: float | None
    seconds: float
    stopped: str
    """Why it ended before its last step; "" when it did not."""
    interrupted: bool = False
    """Stopped from outside, to be resumed."""


class Part(NamedTuple):
    """One forward pass of a step: its share of the step's loss, and tokens."""

    loss: Tensor
    real: int
    """Of its sequences."""
    computed: int
    """Fewer, when sequences share a beginning."""
    supervised: int
    """Learned."""


Objective = Callable[[Any, Sequence[Item], Finetune], Iterator[Part]]


def supervised(model: Any, items: Sequence[Item], settings: Finetune, *, recompute: bool = False) -> Iterator[Part]:
    """Mean negative log-likelihood over the step's learned tokens, plus kl times the divergence from the base."""
    import torch

    inner = lora.core(model)
    sequences = [one for item in items for one in item.sequences]
    total = sum(one.supervised - int(one.learned[0]) for one in sequences)
    for pack in batches.packs(sequences, at_most=settings.micro_batch):
        states = _states(model, pack, recompute=recompute)
        weight, targets = inner.lm_head.weight, pack.targets.to(inner.device)
        loss = nll(states, weight, targets).sum() / total
        if settings.kl:
            with torch.no_grad():
                base = _states(model, pack, adapter=False)
            loss = loss + settings.kl * divergence(states, base, weight) / total
        yield Part(loss, pack.tokens, len(pack.ids), len(pack.targets))


def preference(model: Any, items: Sequence[Item], settings: Finetune, *, recompute: bool = False) -> Iterator[Part]:
    """Direct preference optimization, sigmoid form (Rafailov et al. 2023, arXiv 2305.18290), mean over the pairs."""
    import torch

    for pack in map(batches.pack, _pairs(items, settings)):
        tuned = _log_probabilities(model, pack, adapter=True, recompute=recompute)
        with torch.no_grad():
            base = _log_probabilities(model, pack, adapter=False)
        loss = dpo_loss(tuned[0::2], tuned[1::2], base[0::2], base[1::2], beta=settings.dpo_beta)
        yield Part(loss.sum() / len(items), pack.tokens, len(pack.ids), len(pack.targets))


def _pairs(items: Sequence[Item], settings: Finetune) -> Iterator[list[Tokens]]:
    """The sequences of each forward pass over preference pairs: a better one, its worse one, and so on."""
    size = settings.micro_batch or 4
    for start in range(0, len(items), size):
        yield [one for item in items[start : start + size] for one in (*item.sequences[-1:], *item.rejected[-1:])]


def dpo_loss(chosen: Tensor, rejected: Tensor, base_chosen: Tensor, base_rejected: Tensor, *, beta: float) -> Tensor:
    """-log sigmoid(beta ((chosen - base_chosen) - (rejected - base_rejected))), of summed log probabilities."""
    from torch.nn import functional

    return -functional.logsigmoid(beta * ((chosen - base_chosen) - (rejected - base_rejected)))


def steps_of(items: Sequence[Item], settings: Finetune) -> list[list[int]]:
    """The items of every optimizer step; those that share most of their tokens come together."""
    groups = batches.alike([item.sequences[0].ids for item in items], at_most=settings.batch)
    return batches.steps(len(items), batch=settings.batch, epochs=settings.epochs, seed=settings.seed, groups=groups)


def train(
    model: Any,
    items: Sequence[Item],
    settings: Finetune,
    *,
    folder: Path,
    log: EventLog,
    check: Callable[[], Check],
    stopping: Callable[[], bool] = lambda: False,
    resume: bool = False,
    recompute: bool = False,
) -> Outcome:
    """Train in place; at the end the model holds the weights of its best check.

    Checkpoints go to `folder`; with resume=True the newest is continued, bit for bit. `stopping` is asked after every
    step. Raises TrainingError for a loss that is no number (naming the examples) or a full disk; checkpoints stay.
    """
    import torch

    objective = preference if settings.method == "dpo" else supervised
    learned = lora.learned(model)
    optimizer = torch.optim.AdamW(
        learned.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    plan = steps_of(items, settings)
    epochs = [seen / len(items) for seen in accumulate(map(len, plan), initial=0)]
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, len(plan), settings.warmup))
    state = checkpoint.Progress(step=0, best_step=0, best_metric=None, since_best=0, seconds=0.0)
    best: dict[str, Tensor] = {}
    found = checkpoint.newest(folder) if resume else None
    if found is not None:
        state, best = checkpoint.read(found, learned, optimizer)
        rate.last_epoch = state.step
    if resume:
        log.resume(step=state.step)
    checks = {round((n + 1) * len(plan) / settings.checks) for n in range(settings.checks)}
    begun = time.perf_counter() - state.seconds
    saved = time.perf_counter()

    def looked(step: int) -> None:
        nonlocal state, best
        started = time.perf_counter()
        seen = check()
        better = state.best_metric is None or seen.rising > state.best_metric
        state = replace(
            state,
            best_step=step if better else state.best_step,
            best_metric=seen.rising if better else state.best_metric,
            since_best=0 if better else state.since_best + 1,
        )
        if better:
            best = {name: tensor.detach().clone() for name, tensor in learned.items()}
        log.eval(
            step=step,
            epoch=epochs[step],
            loss=seen.loss,
            metric=seen.metric,
            name=seen.name,
            n=seen.n,
            low=seen.low,
            high=seen.high,
            samples=seen.samples,
            seconds=time.perf_counter() - started,
        )

    def keep() -> None:
        nonlocal saved
        now = replace(state, seconds=time.perf_counter() - begun)
        path = checkpoint.write(folder, now, learned, optimizer, best)
        log.checkpoint(step=state.step, path=path.name)
        saved = time.perf_counter()

    stopped = ""
    if found is None:
        looked(0)
    model.train()
    waited_out = settings.patience and state.since_best >= settings.patience
    for number in range(len(plan) if waited_out else state.step, len(plan)):
        started = time.perf_counter()
        some = [items[one] for one in plan[number]]
        loss, real, computed, targets = 0.0, 0, 0, 0
        lr = optimizer.param_groups[0]["lr"] = settings.learning_rate * schedule(number, len(plan), settings.warmup)
        for part in objective(model, some, settings, recompute=recompute):
            part.loss.backward()
            loss, real = loss + float(part.loss.detach()), real + part.real
            computed, targets = computed + part.computed, targets + part.supervised
        norm = float(torch.nn.utils.clip_grad_norm_(learned.values(), settings.clip))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            reason = (
                f"the loss became {loss} with gradient norm {norm} at step {number + 1} on the examples "
                f"{', '.join(item.place for item in some)}; lower finetune.learning_rate or look at these examples"
            )
            log.stop(step=number, reason=reason)
            if checkpoint.newest(folder) is None:
                keep()
            raise TrainingError(f"{reason}; what was learned up to step {number} is kept")
        optimizer.step()
        optimizer.zero_grad()
        state = replace(state, step=number + 1)
        log.step(
            step=state.step,
            epoch=epochs[state.step],
            loss=loss,
            lr=lr,
            grad_norm=norm,
            padded=computed,
            real=real,
            supervised=targets,
            seconds=time.perf_counter() - started,
            memory_mb=memory_mb(),
        )
        if stopping():
            keep()
            log.stop(step=state.step, reason="stopped; go on with --resume")
            return Outcome(
                state.step, state.best_step, state.best_metric, time.perf_counter() - begun, "stopped", interrupted=True
            )
        if state.step in checks:
            looked(state.step)
            model.train()
            keep()
            if settings.patience and state.since_best >= settings.patience and state.step < len(plan):
                stopped = f"no better {settings.metric} in {state.since_best} checks"
                log.stop(step=state.step, reason=stopped)
                break
        elif time.perf_counter() - saved > CHECKPOINT_SECONDS:
            keep()
    lora.restore(model, best)
    seconds = time.perf_counter() - begun
    metric = state.best_metric
    if metric is not None and settings.metric == "loss":
        metric = -metric  # kept so that more is better
    log.end(step=state.step, best_step=state.best_step, metric=metric, seconds=seconds)
    return Outcome(state.step, state.best_step, metric, seconds, stopped)


def schedule(step: int, total: int, warmup: float) -> float:
    """The learning rate's share at a 0-based step: linear warm-up, then cosine down to a tenth.

    >>> schedule(0, 100, 0.1), schedule(9, 100, 0.1), round(schedule(99, 100, 0.1), 2)
    (0.1, 1.0, 0.1)
    """
    warm = round(total * warmup)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, total - 1 - warm)
    return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training will take, by three runs of its longest step."""

    seconds: float
    """Of the steps alone; checks come on top."""
    peak_memory_mb: int
    tokens: int
    """Of the sequences, over all epochs; fewer are computed when sequences share a beginning."""
    tokens_per_second: float
    recompute: bool
    """Whether activations are computed again in backward to save memory."""


def probe(model: Any, items: Sequence[Item], settings: Finetune, *, free_mb: int) -> Estimate:
    """Three times the longest step, learning nothing: how long the training takes and whether it fits.

    Raises TrainingError when it cannot fit `free_mb`, even when activations are computed again.
    """
    one = [max(items, key=lambda item: _computed([item], settings)[0])]
    plan = [[items[n] for n in step] for step in steps_of(items, settings)]
    sizes = [_computed(step, settings) for step in plan]
    longest = max(range(len(plan)), key=lambda n: sum(sizes[n]))
    tokens = sum(item.tokens for step in plan for item in step)
    limit = min(free_mb, int(settings.memory_gb * 1024) or free_mb)
    for recompute in (False, True):
        before = memory_mb()
        _steps(model, one, settings, recompute)
        single = max(0, peak_mb() - before)
        expected = single * max(map(max, sizes)) / max(_computed(one, settings))
        if expected <= limit:
            took = min(_steps(model, plan[longest], settings, recompute) for _ in range(3))
            seconds = took * sum(map(sum, sizes)) / sum(sizes[longest])
            return Estimate(seconds, max(peak_mb(), memory_mb()), tokens, tokens / seconds, recompute)
    raise TrainingError(
        f"this training needs about {expected:,.0f} MB more memory and {limit:,} MB are free; "
        f"lower finetune.batch ({settings.batch}), set finetune.micro_batch = 1 or lower finetune.max_tokens"
    )


def _steps(model: Any, items: Sequence[Item], settings: Finetune, recompute: bool) -> float:
    objective = preference if settings.method == "dpo" else supervised
    started = time.perf_counter()
    model.train()
    for part in objective(model, items, settings, recompute=recompute):
        part.loss.backward()
    for parameter in lora.learned(model).values():
        parameter.grad = None
    return time.perf_counter() - started


def _computed(items: Sequence[Item], settings: Finetune) -> list[int]:
    """Tokens of each forward pass of a step."""
    if settings.method == "dpo":
        return [batches.computed(some) for some in _pairs(items, settings)]
    sequences = [one for item in items for one in item.sequences]
    return [batches.computed(some) for some in batches.passes(sequences, at_most=settings.micro_batch)]


def _states(model: Any, pack: batches.Pack, *, adapter: bool = True, recompute: bool = False) -> Tensor:
    inner = lora.core(model)
    ids, before = pack.ids.to(inner.device), pack.before.to(inner.device)
    return lean.hidden(inner, ids, pack.lengths, pack.parents, adapter=adapter, recompute=recompute)[before]


def _log_probabilities(model: Any, pack: batches.Pack, *, adapter: bool, recompute: bool = False) -> Tensor:
    """Summed log probability of each sequence's learned tokens [sequences]."""
    import torch

    inner = lora.core(model)
    states = _states(model, pack, adapter=adapter, recompute=recompute)
    losses = nll(states, inner.lm_head.weight, pack.targets.to(inner.device))
    return torch.stack([-part.sum() for part in losses.split(list(pack.counts))])
