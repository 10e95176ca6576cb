"""What was trained and what is served in; whether they are the same model out.

Same prompts byte for byte, same token ids, and mean negative log-likelihood of held-out replies within a bound. Greedy
agreement is reported, not judged: one near-tie early in a reply changes everything after it.
Knows neither torch nor OpenVINO: both sides come as Scorers (trained.TrainedModel, served.ServedModel).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from openbook.errors import AdapterError
from openbook.records import Message
from openbook.seams import Progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

BOUND = 0.02
"""Nats per token by which the served model may differ."""
REPLIES = 50
"""Held-out replies compared at most."""
TOKENS, LEAST = 16_000, 20
"""Long prompts take long in float32: after so many tokens this many replies suffice."""
GREEDY = 32
"""Tokens of a reply compared when both sides write it themselves."""
GREEDY_REPLIES = 10
"""Replies both sides write: at a token a step this costs more than everything else together."""
LAYER_BOUND, LAYER_JUMP = 0.1, 0.02
"""Relative error of a layer's output that is more than rounding; the second when it doubles from the layer before.
Rounding to Q8_0 and 8-bit activations alone gave at most 0.042, rising slowly (docs/decisions/0074)."""


class Scorer(Protocol):
    """One side of the comparison."""

    context: int
    """Longest sequence the model reads."""

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt, up to where the reply begins."""

    def ids(self, text: str) -> list[int]:
        """Token ids, no special tokens added."""

    def token_log_likelihood(self, ids: Sequence[int], start: int) -> list[float]:
        """log p(ids[i] | ids[:i]) for i from `start` >= 1."""

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        """The likeliest continuation, at most `count` tokens, up to and with a token that ends an answer."""

    def hidden(self, ids: Sequence[int]) -> list[Floats]:
        """What each decoder layer gives, [len(ids), width], before the last norm; empty when that cannot be seen."""


class Trained(Scorer, Protocol):
    """The side that knows what was learned."""

    def reply(self, prompt: Sequence[Message], content: str) -> str:
        """What the model learned to write after the prompt, the token that ends it included."""


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the comparison found."""

    passed: bool
    failures: tuple[str, ...]
    """One sentence each; empty when it passed."""
    notes: tuple[str, ...]
    """What is odd but does not fail it."""
    replies: int
    tokens: int
    """Of the replies together."""
    skipped: int
    """Conversations longer than the context."""
    prompts_identical: int
    """Replies whose rendered prompt is the same byte for byte."""
    tokens_identical: int
    """Replies whose prompt and reply, as training has them, get the same token ids on both sides."""
    trained_nll: float
    """Mean negative log-likelihood per reply token, in nats."""
    served_nll: float
    difference: float
    """served - trained."""
    worst: float
    """Largest difference (absolute) of one reply's mean."""
    bound: float
    greedy_agreement: float
    """Mean share of the first tokens both sides write alike before they part."""
    greedy_tokens: int
    greedy_replies: int
    first_layer: int | None
    """0-based decoder layer whose output is the first to differ by more than rounding; None when none does."""
    layer_errors: tuple[float, ...]
    """Relative error of each layer's output on the reply that differs most, median over tokens."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The report as plain values for a manifest; what is no number becomes None."""
        values = asdict(self).items()
        return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values}


def check(
    trained: Trained,
    served: Scorer,
    conversations: Sequence[Sequence[Message]],
    *,
    bound: float = BOUND,
    replies: int = REPLIES,
    greedy: int = GREEDY,
    progress: Progress | None = None,
) -> GateReport:
    """Compare both sides on the last assistant turn of each conversation.

    Raises AdapterError when no conversation with a reply fits the context.
    """
    started = time.perf_counter()
    cases, skipped = _cases(trained, served, conversations, replies)
    pairs: list[tuple[float, float, int]] = []
    agreed: list[float] = []
    for done, case in enumerate(cases, 1):
        start = len(case.prompt_ids)
        ids = [*case.prompt_ids, *case.reply_ids]
        sums = [sum(side.token_log_likelihood(ids, start)) for side in (trained, served)]
        pairs.append((-sums[0], -sums[1], len(case.reply_ids)))
        if greedy and done <= GREEDY_REPLIES:
            agreed.append(_agreement(*(side.greedy(case.prompt_ids, greedy) for side in (trained, served))))
        if progress:
            progress("compare trained and served", done, len(cases))
    tokens = sum(count for _, _, count in pairs)
    trained_nll, served_nll = (sum(pair[side] for pair in pairs) / tokens for side in (0, 1))
    by_reply = [abs(theirs - ours) / count for ours, theirs, count in pairs]
    difference = served_nll - trained_nll
    failures = [failure for case in cases if (failure := case.failure)][:1]
    worst = cases[by_reply.index(max(by_reply))]
    errors = layer_errors(trained, served, [*worst.prompt_ids, *worst.reply_ids])
    first = _first(errors)
    where = _where(errors, first)
    notes: tuple[str, ...] = ()
    if not abs(difference) <= bound:  # also when it is not a number
        failures.append(
            f"the served model gives held-out replies a negative log-likelihood of {served_nll:.4f} nats per token "
            f"where the trained one gives {trained_nll:.4f}, and {bound} is allowed; {where}"
        )
    elif first is not None:
        notes = (f"{where}, by more than rounding explains, though replies are as likely; compare answers before use",)
    return GateReport(
        passed=not failures,
        failures=tuple(failures),
        notes=notes,
        replies=len(cases),
        tokens=tokens,
        skipped=skipped,
        prompts_identical=sum(case.same_prompt for case in cases),
        tokens_identical=sum(case.same_ids for case in cases),
        trained_nll=trained_nll,
        served_nll=served_nll,
        difference=difference,
        worst=max(by_reply),
        bound=bound,
        greedy_agreement=sum(agreed) / len(agreed) if agreed else 0.0,
        greedy_tokens=greedy,
        greedy_replies=len(agreed),
        first_layer=first,
        layer_errors=errors,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    prompt_ids: list[int]
    reply_ids: list[int]
    same_prompt: bool
    same_ids: bool
    failure: str


def _cases(
    trained: Trained, served: Scorer, conversations: Sequence[Sequence[Message]], most: int
) -> tuple[list[_Case], int]:
    found: list[_Case] = []
    skipped = 0
    for messages in conversations:
        last = max((at for at, turn in enumerate(messages) if turn.role == "assistant"), default=0)
        read = sum(len(case.prompt_ids) + len(case.reply_ids) for case in found)
        if not last or len(found) >= most or (len(found) >= LEAST and read > TOKENS):
            continue
        case = _case(trained, served, messages[:last], messages[last].content)
        if len(case.prompt_ids) + len(case.reply_ids) > min(trained.context, served.context):
            skipped += 1
        else:
            found.append(case)
    if not found:
        raise AdapterError(
            f"none of {len(conversations)} held-out conversations has a reply that fits the model's context, so what "
            "is served cannot be compared with what was trained; hold out more examples (finetune.validation)"
        )
    return found, skipped


def _case(trained: Trained, served: Scorer, prompt: Sequence[Message], content: str) -> _Case:
    ours, theirs = trained.render(prompt), served.render(prompt)
    reply = trained.reply(prompt, content)
    ids = [(trained.ids(text), served.ids(text)) for text in (ours, reply)]
    differing = next(((text, pair) for text, pair in zip((ours, reply), ids, strict=True) if pair[0] != pair[1]), None)
    failure = ""
    if ours != theirs:
        at = _parting(ours, theirs)
        failure = (
            f"the served model renders a prompt otherwise than training did: at character {at} training has "
            f"{ours[at : at + 40]!r} and serving {theirs[at : at + 40]!r}; both must use one chat template"
        )
    elif differing is not None:
        text, (left, right) = differing
        at = _parting(left, right)
        failure = (
            f"the served tokenizer splits {text[:40]!r} otherwise than training did: token {at} is "
            f"{left[at : at + 4]} in training and {right[at : at + 4]} in serving; convert the model's tokenizer again"
        )
    return _Case(ids[0][0], ids[1][0], ours == theirs, differing is None, failure)


def _parting(left: Sequence[object], right: Sequence[object]) -> int:
    """The first place at which two sequences differ."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))


def _agreement(left: Sequence[int], right: Sequence[int]) -> float:
    return _parting(left, right) / max(len(left), len(right), 1)


def layer_errors(trained: Scorer, served: Scorer, ids: Sequence[int]) -> tuple[float, ...]:
    """Relative error of each layer's output, median over tokens; empty when one side cannot show them."""
    import numpy as np

    pairs = list(zip(trained.hidden(ids), served.hidden(ids), strict=False))
    # By token, because the first token's outputs are a hundred times larger in many models and would hide the rest.
    return tuple(
        float(np.median(np.linalg.norm(theirs - ours, axis=-1) / np.maximum(np.linalg.norm(ours, axis=-1), 1e-9)))
        for ours, theirs in pairs
    )


def _where(errors: Sequence[float], first: int | None) -> str:
    if first is not None:
        return f"layer {first} of {len(errors)} is the first whose output differs"
    if errors:
        return "no layer's output differs by itself: look at the last norm, the output matrix and the precision"
    return "which layer differs first cannot be seen in this graph"


def _first(errors: Sequence[float]) -> int | None:
    for at, error in enumerate(errors):
        before = errors[at - 1] if at else 0.0
        if not error <= LAYER_BOUND or (error > LAYER_JUMP and error > 2 * before):
            return at
    return None
