"""Training on sequences that share beginnings, computed once, against each sequence computed for itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from openbook.finetune import batches, lean, live, lora, machine, prefixes, train
from openbook.finetune.chat import Tokens
from openbook.finetune.torchmodel import TorchSpeaker
from openbook.records import Message
from openbook.settings import Finetune
from tests.tiny_finetune import chat, write_model

FAMILIES: tuple[Literal["llama"], Literal["qwen2"], Literal["qwen3"]] = ("llama", "qwen2", "qwen3")
HERE = machine.Machine("cpu", "float32", 1, 4096)
HERE_BF16 = machine.Machine("cpu", "bfloat16", 1, 4096)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: write_model(root / family, family=family) for family in FAMILIES}


def settings(**values: Any) -> Finetune:
    return Finetune(**{"rank": 4, "batch": 8, "metric": "loss", **values})


def tuned(folder: Path, chosen: Finetune, here: machine.Machine = HERE) -> Any:
    """A model whose LoRA already does something."""
    model = lora.prepare(folder, chosen, here)
    torch.manual_seed(1)
    for name, parameter in lora.learned(model).items():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    return model


def forest(seed: int, count: int = 6, *, learned: float = 0.3) -> list[Tokens]:
    """Sequences of which each begins as an earlier one does, now and then whole, and learns tokens anywhere."""
    draw = random.Random(seed)
    made: list[tuple[int, ...]] = []
    for _ in range(count):
        known = draw.choice(made) if made and draw.random() < 0.8 else ()
        cut = draw.choice((len(known), draw.randint(0, len(known))))
        rest = draw.choice((draw.randint(1, 40), draw.randint(60, 220))) if draw.random() < 0.9 or not cut else 0
        made.append((*known[:cut], *(draw.randrange(3, 400) for _ in range(rest))))
    draw.shuffle(made)
    return [Tokens(ids, tuple(draw.random() < learned or at == len(ids) - 1 for at in range(len(ids)))) for ids in made]


def lesson(prefix: int, branch: int, count: int, *, seed: int = 0) -> list[Tokens]:
    """Questions about the same passages, of which the second half is the learned reply."""
    draw = random.Random(seed)
    shared = [draw.randrange(3, 400) for _ in range(prefix)]
    rows = [(*shared, *(draw.randrange(3, 400) for _ in range(branch))) for _ in range(count)]
    return [Tokens(row, (False,) * (len(row) - branch // 2) + (True,) * (branch // 2)) for row in rows]


def learned_from(model: Any, items: Sequence[train.Item], chosen: Finetune) -> tuple[float, dict[str, torch.Tensor]]:
    """The step's loss and every gradient."""
    objective = train.preference if chosen.method == "dpo" else train.supervised
    total = 0.0
    for part in objective(model, items, chosen):
        part.loss.backward()
        total += float(part.loss.detach())
    parameters = lora.learned(model)
    found = {name: parameter.grad.clone() for name, parameter in parameters.items() if parameter.grad is not None}
    model.zero_grad()
    return total, found


def same(model: Any, items: Sequence[train.Item], bound: float = 1e-5, **values: Any) -> None:
    """One forward pass that shares against one of each sequence."""
    (shared, mine), (apart, theirs) = (
        learned_from(model, items, settings(**values, micro_batch=micro)) for micro in (len(items), 1)
    )
    assert shared == pytest.approx(apart, rel=bound)
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert float((mine[name] - gradient).norm()) <= bound * max(1e-3, float(gradient.norm())), name


def alone(sequences: Sequence[Tokens]) -> list[train.Item]:
    return [train.Item(str(n), (one,)) for n, one in enumerate(sequences)]


@pytest.mark.parametrize("family", FAMILIES)
@bounds(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_shared_gives_the_losses_and_gradients_of_every_sequence_alone(
    folders: dict[str, Path], family: str, seed: int
) -> None:
    same(tuned(folders[family], settings()), alone(forest(seed)))


@pytest.mark.parametrize("values", [{"kl": 0.3}, {"method": "full"}, {"targets": "attention", "layers": 1}])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_does_with_every_way_of_training(folders: dict[str, Path], family: str, values: dict[str, Any]) -> None:
    same(tuned(folders[family], settings(**values)), alone(lesson(300, 40, 5)), **values)


def test_a_preference_pair_shares_its_prompt(folders: dict[str, Path]) -> None:
    pairs = [lesson(150, 30, 2, seed=seed) for seed in range(3)]
    items = [train.Item(str(n), (good,), (bad,)) for n, (good, bad) in enumerate(pairs)]
    model = tuned(folders["qwen3"], settings(method="dpo"))
    (part,) = train.preference(model, items, settings(method="dpo"))
    assert (part.real, part.computed) == (3 * 2 * 180, 3 * (150 + 2 * 30))
    sums = TorchSpeaker(model, chat(folders["qwen3"]))
    untouched = TorchSpeaker(model, chat(folders["qwen3"]), adapter=False)
    gains = [
        [
            before[0][0] - after[0][0]
            for before, after in ((untouched.losses([one]), sums.losses([one])) for one in pair)
        ]
        for pair in pairs
    ]
    good, bad = (torch.tensor(side) for side in zip(*gains, strict=True))
    wanted = train.dpo_loss(good, bad, torch.zeros(3), torch.zeros(3), beta=settings().dpo_beta).mean()
    assert float(part.loss.detach()) == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_differs_by_no_more_than_bfloat16_does(folders: dict[str, Path], family: str) -> None:
    items = alone(lesson(200, 40, 4))
    _, exact = learned_from(tuned(folders[family], settings()), items, settings(micro_batch=1))
    model = tuned(folders[family], settings(), HERE_BF16)
    errors = []
    for micro in (1, 4):
        _, found = learned_from(model, items, settings(micro_batch=micro))
        errors.append(
            sum(float((found[name] - exact[name]).norm() ** 2) for name in exact) ** 0.5
            / sum(float(exact[name].norm() ** 2) for name in exact) ** 0.5
        )
    apart, shared = errors
    assert shared < max(0.02, 1.2 * apart)


@pytest.mark.parametrize("adapter", [True, False])
@pytest.mark.parametrize("recompute", [True, False])
def test_hidden_states_are_those_of_transformers(folders: dict[str, Path], adapter: bool, recompute: bool) -> None:
    model, some = tuned(folders["qwen3"], settings()), forest(7, 8, learned=1.0)
    pack, inner = batches.pack(some), lora.core(model)
    assert len(pack.ids) < 0.8 * pack.tokens
    states = lean.hidden(inner, pack.ids, pack.lengths, pack.parents, adapter=adapter, recompute=recompute)
    with model.disable_adapter() if not adapter else torch.enable_grad():
        rows = [inner.model(input_ids=torch.tensor([one.ids])).last_hidden_state[0, :-1] for one in some]
    assert float((states[pack.before] - torch.cat(rows)).abs().max().detach()) < 5e-5


def test_pytorchs_own_attention_gives_the_same(folders: dict[str, Path]) -> None:
    torch.manual_seed(0)
    pack = batches.pack(forest(7, 8))
    parts, count = lean._parts(pack.lengths, pack.parents), len(pack.ids)
    states = [torch.randn(count, heads, 16, requires_grad=True) for heads in (4, 2, 2)]
    direction, found = torch.randn(count, 4, 16), []
    for way in (lean._attend, lean._attend_anywhere):
        mixed = way(states[0], states[1], states[2], parts, 0.25)
        found.append([mixed, *torch.autograd.grad((mixed * direction).sum(), states)])
    for mine, theirs in zip(*found, strict=True):
        assert float((mine - theirs).abs().max().detach()) < 2e-5


def test_sequences_that_share_nothing_are_packed_as_they_stand() -> None:
    some = [one for seed in range(5) for one in lesson(70, 20, 1, seed=seed)]
    pack = batches.pack(some)
    assert pack.ids.tolist() == [token for one in some for token in one.ids]
    assert (pack.lengths, pack.parents) == ((90,) * 5, (-1,) * 5)
    assert pack.before.tolist() == [90 * n + at for n in range(5) for at in range(79, 89)]


@given(seed=st.integers(0, 2**32))
@bounds(max_examples=60, deadline=None)
def test_every_sequence_can_be_read_off_its_parts(seed: int) -> None:
    some = forest(seed, 9, learned=1.0)
    pack = batches.pack(some)
    assert (pack.tokens, len(pack.ids)) == (sum(len(one.ids) for one in some), batches.computed(some))
    assert pack.counts == tuple(len(one.ids) - 1 for one in some)
    befores = zip(pack.before.split(list(pack.counts)), pack.targets.split(list(pack.counts)), some, strict=True)
    for before, targets, one in befores:
        assert tuple(pack.ids[before].tolist()) == one.ids[:-1]
        assert tuple(targets.tolist()) == one.ids[1:]
    roots = [node.members for node in prefixes.tree([one.ids for one in some])]
    assert sorted(number for members in roots for number in members) == list(range(9))


def test_losses_of_sequences_that_share_come_in_their_order(folders: dict[str, Path]) -> None:
    speaker = TorchSpeaker(tuned(folders["llama"], settings()), chat(folders["llama"]))
    some = [one for pair in zip(lesson(100, 20, 4), lesson(100, 30, 4, seed=1), strict=True) for one in pair]
    for (loss, count), one in zip(speaker.losses(some), some, strict=True):
        ((wanted, tokens),) = speaker.losses([one])
        assert loss == pytest.approx(wanted, rel=1e-5)
        assert count == tokens


def test_a_stopped_training_on_shared_beginnings_goes_on_bit_for_bit(folders: dict[str, Path], tmp_path: Path) -> None:
    items = alone([one for seed, size in enumerate((6, 5, 1, 3, 1)) for one in lesson(70, 16, size, seed=seed)])
    chosen = settings(batch=4, epochs=2.0, checks=2, learning_rate=5e-3)
    check = train.Check(1.0, 1.0, "loss", 1, 1.0, 1.0, ())

    def trained(run: Path, *, stop_after: int = 0, resume: bool = False) -> dict[str, torch.Tensor]:
        model, steps = lora.prepare(folders["llama"], chosen, HERE), iter(range(1, 99))
        with live.EventLog(run) as log:
            train.train(
                model,
                items,
                chosen,
                folder=run / "checkpoints",
                log=log,
                check=lambda: check,
                stopping=lambda: next(steps) == stop_after,
                resume=resume,
            )
        return lora.learned(model)

    whole = trained(tmp_path / "whole")
    trained(tmp_path / "parts", stop_after=3)
    parts = trained(tmp_path / "parts", resume=True)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    steps = [event for event in live.history(live.read(tmp_path / "parts")) if event["kind"] == "step"]
    assert [one["step"] for one in steps] == list(range(1, len(train.steps_of(items, chosen)) + 1))
    assert sum(one["real"] for one in steps) == 2 * sum(item.tokens for item in items)
    assert sum(one["padded"] for one in steps) < 0.6 * sum(one["real"] for one in steps)
    assert steps[-1]["epoch"] == 2.0


def test_the_estimate_counts_what_is_computed(folders: dict[str, Path]) -> None:
    model, items = tuned(folders["llama"], settings()), alone(lesson(300, 20, 16))
    seen = train.probe(model, items, settings(epochs=2.0), free_mb=100_000)
    assert seen.tokens == 2 * 16 * 320
    assert train._computed(items[:8], settings()) == [300 + 8 * 20]
    assert seen.seconds == pytest.approx(seen.tokens / seen.tokens_per_second)


def test_prompts_that_share_a_beginning_get_the_replies_they_get_alone(folders: dict[str, Path]) -> None:
    speaker = TorchSpeaker(tuned(folders["qwen3"], settings()), chat(folders["qwen3"]))
    texts = ["We hereby agree to the terms. " * 20, "The patient is a 76-year-old man. " * 12]
    asked = ["How do I get a card?", "Age?", "Who agrees, and to what?"]
    talks = [[Message("user", text + one)] for one in asked for text in texts] + [[Message("user", "Hello")]]
    talks += [[Message("user", texts[0] + f"Number {n}?")] for n in range(17)]
    assert speaker.reply(talks, 8) == [speaker.reply([talk], 8)[0] for talk in talks]
