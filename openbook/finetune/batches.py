"""Training sequences in, optimizer steps of packed tokens out: the same ones for the same seed, wherever it starts.

Sequences are packed one after another without padding, so no length need wait for another and batches stay random.
What several begin with is packed once, and a step holds together what shares most of its tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openbook.finetune import prefixes
from openbook.finetune.chat import Tokens

if TYPE_CHECKING:
    from torch import Tensor

PACK_TOKENS = 4096
"""Tokens of one forward pass when `micro_batch` is 0; a longer sequence goes alone."""
_SHARE = 0.5
"""Sequences belong together when a shared beginning is this share of their tokens."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Sequences as parts behind one another, ready for lean.hidden; a beginning that several share is one part."""

    ids: Tensor
    """int64 [tokens]."""
    lengths: tuple[int, ...]
    """Tokens of each part."""
    parents: tuple[int, ...]
    """For each part the number of the part that it continues, or -1."""
    before: Tensor
    """Positions whose next token is learned, int64 [learned]; sequence by sequence."""
    targets: Tensor
    """Those next tokens, int64 [learned]."""
    counts: tuple[int, ...]
    """Learned tokens of each sequence; a first token has nothing before it to be predicted from."""
    tokens: int
    """Of all its sequences, shared ones counted every time."""


def steps(count: int, *, batch: int, epochs: float, seed: int, groups: Sequence[Sequence[int]] = ()) -> list[list[int]]:
    """The examples (by number) of every optimizer step; each epoch in another order.

    Examples of one of the `groups` (see alike) come into the same step, beside others if there is room; a group of more
    than `batch` is cut, each epoch otherwise. A step may then hold fewer than `batch` examples.

    >>> steps(5, batch=2, epochs=1, seed=0) == steps(5, batch=2, epochs=1, seed=0)
    True
    >>> sorted(sorted(step) for step in steps(5, batch=3, epochs=1, seed=0, groups=[[0, 3, 4]]))
    [[0, 3, 4], [1, 2]]
    """
    found: list[list[int]] = []
    order = random.Random(seed)
    if not groups:
        wanted = max(1, round(epochs * count / batch))
        while len(found) < wanted:
            numbers = list(range(count))
            order.shuffle(numbers)
            found += [numbers[at : at + batch] for at in range(0, count, batch)]
        return found[:wanted]
    grouped = {number for group in groups for number in group}
    units = [*groups, *([number] for number in range(count) if number not in grouped)]
    left = epochs
    while left > 0:
        epoch = _epoch(units, batch, order)
        found += epoch[: max(1, round(left * len(epoch)))] if left < 1 else epoch
        left -= 1
    return found


def _epoch(units: Sequence[Sequence[int]], batch: int, order: random.Random) -> list[list[int]]:
    pieces = []
    for unit in units:
        mixed = list(unit)
        order.shuffle(mixed)
        pieces += [mixed[at : at + batch] for at in range(0, len(mixed), batch)]
    order.shuffle(pieces)
    # Large pieces first, each into a step with the least room that is enough: few steps are left with room.
    made: list[list[int]] = []
    by_room: list[list[list[int]]] = [[] for _ in range(batch + 1)]
    for piece in sorted(pieces, key=len, reverse=True):
        room = next((room for room in range(len(piece), batch) if by_room[room]), batch)
        if room == batch:
            step: list[int] = []
            made.append(step)
        else:
            step = by_room[room].pop(order.randrange(len(by_room[room])))
        step += piece
        by_room[room - len(piece)].append(step)
    order.shuffle(made)
    return made


def alike(sequences: Sequence[Sequence[int]], *, at_most: int) -> list[list[int]]:
    """Groups (by number, of two or more) that share at least half of their tokens; who shares nothing is in none.

    A group of more than `at_most` is taken apart where some of it share more; those who share no more stay one group.
    """
    found: list[list[int]] = []

    def descend(nodes: Sequence[prefixes.Node]) -> set[int]:
        """Whom it has put into a group."""
        placed: set[int] = set()
        for node in nodes:
            several = len(node.members) > 1
            together = several and node.stop * len(node.members) >= _SHARE * sum(
                len(sequences[n]) for n in node.members
            )
            done = set() if together and len(node.members) <= at_most else descend(node.children)
            rest = [n for n in node.members if n not in done]
            if together and len(rest) > 1:
                found.append(rest)
                done.update(rest)
            placed |= done
        return placed

    descend(prefixes.tree(sequences))
    return sorted(found)


def together(sequences: Sequence[Sequence[int]]) -> list[int]:
    """All numbers in an order in which those that are alike follow one another; 0, 1, 2 ... when none are."""
    groups = alike(sequences, at_most=len(sequences))
    leads = {number: group[0] for group in groups for number in group}
    return sorted(range(len(sequences)), key=lambda n: leads.get(n, n))


def packs(sequences: Sequence[Tokens], *, at_most: int = 0) -> Iterator[Pack]:
    """Sequences of one step as forward passes, of `at_most` sequences each, or by PACK_TOKENS when it is 0."""
    for some in passes(sequences, at_most=at_most):
        yield pack(some)


def passes(sequences: Sequence[Tokens], *, at_most: int = 0) -> Iterator[list[Tokens]]:
    """The sequences of each forward pass."""
    waiting: list[Tokens] = []
    tokens = 0
    for one in sequences:
        tokens += len(one.ids)
        crowded = tokens > PACK_TOKENS and computed([*waiting, one]) > PACK_TOKENS
        if waiting and (len(waiting) == at_most if at_most else crowded):
            yield waiting
            waiting, tokens = [], len(one.ids)
        waiting.append(one)
    if waiting:
        yield waiting


def computed(sequences: Sequence[Tokens]) -> int:
    """Tokens of some sequences as one pack."""
    return prefixes.size(prefixes.tree([one.ids for one in sequences]))


def pack(sequences: Sequence[Tokens]) -> Pack:
    """Some sequences as one pack."""
    import torch

    ids: list[int] = []
    lengths: list[int] = []
    parents: list[int] = []
    places: list[list[int]] = [[] for _ in sequences]

    def lay(nodes: Sequence[prefixes.Node], parent: int) -> None:
        for node in nodes:
            own = sequences[node.members[0]].ids[node.start : node.stop]
            for member in node.members:
                places[member].extend(range(len(ids), len(ids) + len(own)))
            ids.extend(own)
            lengths.append(len(own))
            parents.append(parent)
            lay(node.children, len(lengths) - 1)

    lay(prefixes.tree([one.ids for one in sequences]), -1)
    learned = [
        [(place[at - 1], one.ids[at]) for at in range(1, len(one.ids)) if one.learned[at]]
        for place, one in zip(places, sequences, strict=True)
    ]
    return Pack(
        ids=torch.tensor(ids),
        lengths=tuple(lengths),
        parents=tuple(parents),
        before=torch.tensor([place for some in learned for place, _ in some], dtype=torch.int64),
        targets=torch.tensor([token for some in learned for _, token in some], dtype=torch.int64),
        counts=tuple(len(some) for some in learned),
        tokens=sum(len(one.ids) for one in sequences),
    )
