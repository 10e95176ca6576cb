"""A torch model and its chat in; replies and log-likelihoods out, with the adapter or without.

Scoring packs sequences without padding through finetune.lean; answering is transformers' own greedy generation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from openbook.finetune import lean
from openbook.finetune.batches import packs, together
from openbook.finetune.chat import Chat, Tokens
from openbook.finetune.lora import NAME, core
from openbook.finetune.loss import nll
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
        found = [""] * len(prompts)
        # Alike lengths together: less padding, and replies of one kind end at about the same time.
        order = sorted(fits, key=lambda n: len(prompts[n]))
        pad = self._chat.stop_ids[0]
        with self._answering(), torch.inference_mode():
            for start in range(0, len(order), REPLIES_AT_ONCE):
                some = order[start : start + REPLIES_AT_ONCE]
                width = max(len(prompts[n]) for n in some)
                ids = torch.tensor([[pad] * (width - len(prompts[n])) + prompts[n] for n in some])
                seen = torch.tensor([[0] * (width - len(prompts[n])) + [1] * len(prompts[n]) for n in some])
                device = core(self._model).device
                out = self._model.generate(
                    input_ids=ids.to(device),
                    attention_mask=seen.to(device),
                    max_new_tokens=max_tokens,
                    do_sample=False,
                    pad_token_id=pad,
                    eos_token_id=list(self._chat.stop_ids),
                )
                for n, row in zip(some, out[:, width:].tolist(), strict=True):
                    found[n] = self._chat.answer(row)
                if progress is not None:
                    progress("answers", min(start + REPLIES_AT_ONCE, len(order)), len(order))
        return found

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
