"""Cases in, two parts out that share no document: one to learn from, one held out. Knows no library but for twins.

Documents that one case cites together, and documents that hold largely the same text, stay on one side.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from zlib import crc32

from openbook.errors import UsageError
from openbook.records import Case

_SHINGLE = 8
"""Words of the pieces by which documents are compared."""
_SAME = 0.5
"""Share of the smaller document's pieces found in the other from which both are one for the split."""
_COMMON = 20
"""Pieces that stand in more documents than this are boilerplate and tell nothing."""
_WORD = re.compile(r"\w+")


def split(
    cases: Sequence[Case], share: float, *, seed: int = 0, twins: Iterable[Sequence[str]] = ()
) -> tuple[list[Case], list[Case]]:
    """(train, held): about `share` of the cases held out, by document; the same input gives the same parts.

    twins: groups of documents that hold the same text (`Built.twins`). A case without a span counts as a document of
    its own. The order of the cases is kept. With one group of documents everything is on the train side.
    Raises UsageError for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise UsageError(f"share = {share!r} must be at least 0 and below 1")
    groups = _Groups()
    for twin in twins:
        groups.join([f"d:{name}" for name in twin])
    keys = [_keys(case) for case in cases]
    for key in keys:
        groups.join(key)
    sizes: dict[str, int] = defaultdict(int)
    label: dict[str, str] = {}
    for key in keys:
        root = groups.root(key[0])
        sizes[root] += 1
        label[root] = min(label.get(root, key[0]), *key)
    order = sorted(
        sizes, key=lambda root: hashlib.sha256(f"{seed}\n{label[root]}".encode("utf-8", "surrogatepass")).digest()
    )
    held: set[str] = set()
    wanted, have = share * len(cases), 0
    for root in order if len(order) > 1 else []:
        if abs(have + sizes[root] - wanted) < abs(have - wanted) and len(held) < len(order) - 1:
            held.add(root)
            have += sizes[root]
    out = [groups.root(key[0]) in held for key in keys]
    pairs = list(zip(cases, out, strict=True))
    return [case for case, away in pairs if not away], [case for case, away in pairs if away]


def sketch(text: str) -> frozenset[int]:
    """A quarter of a text's eight-word pieces as numbers, chosen by the piece itself; empty for short texts."""
    words = [word.lower() for word in _WORD.findall(text)]
    pieces = {
        crc32(" ".join(words[at : at + _SHINGLE]).encode("utf-8", "replace")) for at in range(len(words) - _SHINGLE + 1)
    }
    return frozenset(piece for piece in pieces if piece % 4 == 0) if len(pieces) > 200 else frozenset(pieces)


def twins(sketches: dict[str, frozenset[int]]) -> tuple[tuple[str, ...], ...]:
    """Groups of documents (name -> sketch) that hold largely the same text."""
    holders: dict[int, list[str]] = defaultdict(list)
    for name, pieces in sketches.items():
        for piece in pieces:
            holders[piece].append(name)
    shared: dict[tuple[str, str], int] = defaultdict(int)
    for names in holders.values():
        if 1 < len(names) <= _COMMON:
            for pair in combinations(names, 2):
                shared[pair] += 1
    groups = _Groups()
    for (one, other), count in shared.items():
        if count >= _SAME * min(len(sketches[one]), len(sketches[other])):
            groups.join([one, other])
    return groups.all()


def _keys(case: Case) -> list[str]:
    return [f"d:{span.document}" for span in case.spans] or [f"q:{' '.join(case.question.lower().split())}"]


class _Groups:
    """Union-find over names."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        while (parent := self._parent.setdefault(name, name)) != name:
            self._parent[name] = name = self._parent[parent]
        return name

    def join(self, names: Sequence[str]) -> None:
        for name in names:
            self._parent[self.root(name)] = self.root(names[0])

    def all(self) -> tuple[tuple[str, ...], ...]:
        found: dict[str, list[str]] = defaultdict(list)
        for name in self._parent:
            found[self.root(name)].append(name)
        return tuple(sorted(tuple(sorted(names)) for names in found.values() if len(names) > 1))
