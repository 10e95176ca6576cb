"""Token sequences in, the tree of the beginnings they share out: what several begin with stands in it once.

Knows no model, no step and nothing of what is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

FLOOR = 64
"""Fewest tokens that make a shared beginning worth a node of its own (docs/decisions/0093)."""


@dataclass(frozen=True, slots=True)
class Node:
    """Tokens [start, stop), which are the same in all members."""

    start: int
    stop: int
    members: tuple[int, ...]
    """Numbers of the sequences that go through this node, ascending."""
    children: tuple[Node, ...]
    """How members go on, by their first member; a member that ends here is in none of them."""


def tree(sequences: Sequence[Sequence[int]]) -> tuple[Node, ...]:
    """The roots, by their first member; sequences with nothing in common are a root each.

    >>> one, other = tree([(*range(100), 7), (*range(100), 8, 9)])[0].children
    >>> (one.start, one.stop, one.members), (other.start, other.stop, other.members)
    ((100, 101, (0,)), (100, 102, (1,)))
    """
    order = sorted(range(len(sequences)), key=lambda n: tuple(sequences[n]))
    shared = [common(sequences[left], sequences[right]) for left, right in pairwise(order)]
    return _nodes(order, shared, [len(one) for one in sequences], 0)


def size(nodes: Sequence[Node]) -> int:
    """Tokens of some trees."""
    return sum(node.stop - node.start + size(node.children) for node in nodes)


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """Tokens that both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))


def _nodes(order: Sequence[int], shared: Sequence[int], lengths: Sequence[int], start: int) -> tuple[Node, ...]:
    """`order` is sorted by tokens; shared[n] is how many tokens its entries n and n + 1 have in common."""
    found, at = [], 0
    while at < len(order):
        end = at + 1
        while end < len(order) and shared[end - 1] >= start + FLOOR:
            end += 1
        members, inside = order[at:end], shared[at : end - 1]
        stop = min(inside) if inside else lengths[order[at]]
        if stop > start:
            children = _nodes(members, inside, lengths, stop) if inside else ()
            found.append(Node(start, stop, tuple(sorted(members)), children))
        at = end
    return tuple(sorted(found, key=lambda node: node.members))
