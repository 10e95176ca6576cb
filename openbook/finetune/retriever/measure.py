"""Which hits were right, in; recall, MRR and nDCG before and after with paired intervals, and a verdict, out.

Definitions as in the BEIR benchmark with binary relevance: the reciprocal rank of the first right hit and the
discounted gain (Jarvelin and Kekalainen 2002) look at the first ten hits. Knows no model and no library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openbook import metrics

DEPTH = 10
NAMES = ("recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@10")
PRIMARY = "mrr@10"
"""Decides adoption, of the search as it is served."""
GUARD = "recall@5"
"""Must not fall."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The first ten hits of one question."""

    right: tuple[bool, ...]
    wanted: int
    """How many right chunks there are; at least 1."""

    def score(self, name: str) -> float:
        """One of NAMES, in [0, 1]; recall@k is 1 when any of the first k hits is right.

        >>> Ranked((False, True), 1).score("mrr@10")
        0.5
        """
        first = next((place for place, right in enumerate(self.right, start=1) if right), None)
        if name.startswith("recall@"):
            return float(first is not None and first <= int(name.removeprefix("recall@")))
        if name == "mrr@10":
            return 0.0 if first is None else 1.0 / first
        gain = sum(1 / math.log2(place + 1) for place, right in enumerate(self.right, start=1) if right)
        return gain / sum(1 / math.log2(place + 1) for place in range(1, min(self.wanted, DEPTH) + 1))


@dataclass(frozen=True, slots=True)
class Change:
    """One score before and after."""

    before: float
    after: float
    paired: metrics.Paired

    @property
    def gain(self) -> bool:
        """Whether it rose beyond chance: interval above zero, and the sign-flip test of whole documents agrees."""
        return self.paired.low > 0 and self.paired.p < 0.05

    @property
    def loss(self) -> bool:
        """Whether it fell beyond chance."""
        return self.paired.high < 0 and self.paired.p < 0.05


def compare(
    before: Sequence[Ranked], after: Sequence[Ranked], clusters: Sequence[str], *, seed: int = 0
) -> dict[str, Change]:
    """Every score of NAMES before and after, for the same questions in the same order."""
    found = {}
    for name in NAMES:
        old, new = [one.score(name) for one in before], [one.score(name) for one in after]
        paired = metrics.paired(old, new, clusters, seed=seed)
        found[name] = Change(sum(old) / len(old), sum(new) / len(new), paired)
    return found


def verdict(served: Mapping[str, Change]) -> tuple[bool, str]:
    """Whether the search as served gained, and the sentence that says so."""
    primary, guard = served[PRIMARY], served[GUARD]
    said = f"{PRIMARY} {primary.before:.3f} -> {primary.after:.3f} ({interval(primary)})"
    if guard.loss:
        return False, f"worse: {GUARD} {guard.before:.3f} -> {guard.after:.3f} ({interval(guard)})"
    if primary.gain:
        return True, f"significant gain: {said}"
    return False, f"no significant gain: {said}"


def interval(change: Change) -> str:
    """A change with its 95 % interval, as shown to people."""
    paired = change.paired
    return f"{paired.difference:+.3f} [{paired.low:+.3f}, {paired.high:+.3f}]"


def as_json(changes: Mapping[str, Change]) -> dict[str, dict[str, Any]]:
    """For manifests and --json."""
    return {
        name: {"before": one.before, "after": one.after, **one.paired._asdict(), "gain": one.gain, "loss": one.loss}
        for name, one in changes.items()
    }


def table(parts: Mapping[str, Mapping[str, Change]]) -> str:
    """A Markdown table of several searches, such as the dense part alone and the search as served."""
    lines = ["| search | score | before | after | after - before [95 %] | p |", "|---|---|--:|--:|--:|--:|"]
    for part, changes in parts.items():
        lines += [
            f"| {part} | {name} | {one.before:.3f} | {one.after:.3f} | {interval(one)} | {one.paired.p:.3f} |"
            for name, one in changes.items()
        ]
    return "\n".join(lines)
