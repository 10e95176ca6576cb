"""A torch model and its chat in; replies and log-likelihoods out, with the adapter or without.

Scoring packs sequences without padding through finetune.lean; answering is transformers' own greedy generation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from openbook.finetune import lean
from openbook.finetune.batches import alike, packs, together
from openbook.finetune.chat import Chat, Tokens
from openbook.finetune.lora import NAME, core
from openbook.finetune.loss import nll
from openbook.finetune.prefixes import common
from openbook.records import Message
from openbook.seams import Progress

if TYPE_CHECKING:
    from torch import Tensor

REPLIES_AT_ONCE = 16


class TorchSpeaker:
    """A forgetting.Speaker. adapter=False speaks as the untouched model."""

    def __init__(self, model: Any, chat: Chat, *, adapter: bool = True) -> None:
        self._model, self._chat, self._adapter = model, chat, adapter
        self._tuned = model is not core(model)

    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int, bool]]:
        """(sum of log probabilities of the continuation, its tokens, whether it is what the model would write).

        Both are tokenized as one text and split where the context's own tokens end, as lm-evaluation-harness does.
        """
        sequences = []
        for context, continuation in pairs:
            whole, known = self._chat.ids(context + continuation), len(self._chat.ids(context))
            cut = max(0, len(whole) - self._chat.context)
            learned = (False,) * known + (True,) * (len(whole) - known)
            sequences.append(Tokens(tuple(whole[cut:]), learned[cut:]))
        found: list[tuple[float, int, bool]] = []
        for losses, firsts, counts in self._scored(sequences):
            at = 0
            for count in counts:
                part = slice(at, at + count)
                found.append((-float(losses[part].sum()), count, bool(firsts[part].all())))
                at += count
        return found

    def losses(self, sequences: Sequence[Tokens]) -> list[tuple[float, int]]:
        """(summed negative log-likelihood, learned tokens) of each sequence."""
        order = together([one.ids for one in sequences])
        found: list[tuple[float, int]] = []
        for losses, _, counts in self._scored([sequences[n] for n in order]):
            found += [(float(part.sum()), count) for part, count in zip(losses.split(counts), counts, strict=True)]
        return [one for _, one in sorted(zip(order, found, strict=True))]

    def reply(
        self, conversations: Sequence[Sequence[Message]], max_tokens: int, *, progress: Progress | None = None
    ) -> list[str]:
        """Greedy replies, rendered as at answering time; "" for a conversation longer than the context."""
        import torch

        prompts = [self._chat.ids(self._chat.render(list(turns))) for turns in conversations]
        fits = [n for n, ids in enumerate(prompts) if len(ids) + max_tokens <= self._chat.context]
        found, answered = [""] * len(prompts), 0
        with self._answering(), torch.inference_mode():
            for some in _at_once(prompts, fits):
                order = [n for group in some for n in group]
                replies = self._replies([[prompts[n] for n in group] for group in some], max_tokens)
                for n, reply in zip(order, replies, strict=True):
                    found[n] = reply
                answered += len(order)
                if progress is not None:
                    progress("answers", answered, len(fits))
        return found

    def _replies(self, groups: Sequence[Sequence[list[int]]], max_tokens: int) -> list[str]:
        """Replies to the prompts of some groups; what a group of several begins with is read once."""
        import torch

        inner, pad = core(self._model), self._chat.stop_ids[0]
        # A prompt's last token is read with its row: what follows it is the reply.
        cuts = [min(common(min(some), max(some)), len(min(some, key=len)) - 1) for some in groups]
        if all(len(some) == 1 for some in groups):
            cuts = [0] * len(groups)
        halves = [(one[:cut], one[cut:]) for some, cut in zip(groups, cuts, strict=True) for one in some]
        widths = [max(map(len, side)) for side in zip(*halves, strict=True)]
        ids, seen = [], []
        for row in halves:
            gaps = [width - len(half) for half, width in zip(row, widths, strict=True)]
            ids.append([token for gap, half in zip(gaps, row, strict=True) for token in (*[pad] * gap, *half)])
            seen.append([one for gap, half in zip(gaps, row, strict=True) for one in (*[0] * gap, *[1] * len(half))])
        known = {}
        if widths[0]:
            firsts = [(some[0][:cut], len(some)) for some, cut in zip(groups, cuts, strict=True)]
            known["past_key_values"] = _read(inner, firsts, widths[0])
        out = self._model.generate(
            input_ids=torch.tensor(ids, device=inner.device),
            attention_mask=torch.tensor(seen, device=inner.device),
            max_new_tokens=max_tokens,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=list(self._chat.stop_ids),
            **known,
        )
        return [self._chat.answer(row) for row in out[:, sum(widths) :].tolist()]

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Evaluation mode with the adapter folded into the weights, or left out; all is as it was afterwards.

        Folded because every token of a reply would else pass through 2 more small products per layer and type casts.
        """
        import torch

        kept = []
        with self._evaluating(), self._model.disable_adapter() if self._tuned else contextlib.nullcontext():
            try:
                for module in core(self._model).modules() if self._tuned and self._adapter else ():
                    if hasattr(module, "lora_A"):
                        weight = module.base_layer.weight
                        kept.append((weight, weight.data))
                        with torch.no_grad():
                            delta = module.get_delta_weight(NAME)
                            weight.data = (weight.data.float() + delta).to(weight.dtype)
                yield
            finally:
                for weight, data in kept:
                    weight.data = data

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        was = self._model.training
        self._model.eval()
        try:
            yield
        finally:
            self._model.train(was)

    def _scored(self, sequences: Sequence[Tokens]) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """Per pack: losses and first-choice flags of the learned tokens in order, and how many each sequence has."""
        import torch
        from torch.nn import functional

        inner = core(self._model)
        with self._evaluating(), torch.inference_mode():
            for pack in packs(sequences):
                ids = pack.ids.to(inner.device)
                states = lean.hidden(inner, ids, pack.lengths, pack.parents, adapter=self._adapter)
                states, weight = states[pack.before.to(inner.device)], inner.lm_head.weight
                targets = pack.targets.to(inner.device)
                best = [functional.linear(part, weight.to(part.dtype)).argmax(-1) for part in states.split(256)]
                yield nll(states, weight, targets), torch.cat(best) == targets, list(pack.counts)


def _at_once(prompts: Sequence[list[int]], fits: Sequence[int]) -> Iterator[list[list[int]]]:
    """Groups of prompts (by number) to answer at once: those that share a beginning, then each of the others alone."""
    groups = [[fits[n] for n in group] for group in alike([prompts[n] for n in fits], at_most=REPLIES_AT_ONCE)]
    pieces = [group[at : at + REPLIES_AT_ONCE] for group in groups for at in range(0, len(group), REPLIES_AT_ONCE)]
    grouped = {n for group in groups for n in group}
    # Alike lengths together: less padding, and replies of one kind end at about the same time.
    rest = sorted((n for n in fits if n not in grouped), key=lambda n: len(prompts[n]))
    for some in (pieces, [[n] for n in rest]):
        waiting: list[list[int]] = []
        for piece in some:
            if sum(map(len, waiting)) + len(piece) > REPLIES_AT_ONCE:
                yield waiting
                waiting = []
            waiting.append(piece)
        if waiting:
            yield waiting


def _read(inner: Any, beginnings: Sequence[tuple[list[int], int]], width: int) -> Any:
    """A cache with rows of each beginning, as often as it is wanted, padded on the left to `width` tokens."""
    import torch
    from torch.nn import functional
    from transformers import DynamicCache

    caches = [inner.model(torch.tensor([ids], device=inner.device)).past_key_values for ids, _ in beginnings]
    made = DynamicCache(config=inner.config)
    for number, layers in enumerate(zip(*(one.layers for one in caches), strict=True)):
        keys, values = (
            torch.cat(
                [
                    functional.pad(part, (0, 0, width - part.shape[2], 0)).expand(times, -1, -1, -1)
                    for part, (_, times) in zip(parts, beginnings, strict=True)
                ]
            )
            for parts in ([one.keys for one in layers], [one.values for one in layers])
        )
        made.update(keys, values, number)
    return made
