"""The embedded index and a Qdrant server give the same ranks: the client's local mode, which is exact, stands in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from openbook.records import Change, Condition, Scope, Scored
from tests.contracts.library_data import entry, opened, vector

pytest.importorskip("qdrant_client", reason="pip install 'openbook[server]'")

SCOPES = [
    Scope(),
    Scope(groups=("hr",)),
    Scope(groups=("hr", "legal"), where=(Condition("document", "=", "folder1/*"),)),
    Scope(groups=("legal",), where=(Condition("format", "!=", "md"), Condition("created", ">=", "2021"))),
    Scope(version=1),
    Scope(groups=("hr",), version=2),
]


def test_both_find_the_same_chunks_in_the_same_order(tmp_path: Path) -> None:
    rng = random.Random(5)
    vocabulary = [f"word{number}" for number in range(60)]
    weights = [1 / (rank + 1) for rank in range(60)]

    def text() -> str:
        return " ".join(rng.choices(vocabulary, weights, k=rng.randrange(3, 30)))

    def some(number: int) -> Change:
        names = [f"folder{name % 3}/{name}.{rng.choice(['md', 'pdf'])}" for name in rng.sample(range(200), number)]
        acl: Sequence[tuple[str, ...]] = [("*",), ("hr",), ("legal", "hr")]
        return Change(
            put=[
                entry(
                    name,
                    *(text() for _ in range(rng.randrange(1, 6))),
                    acl=rng.choice(acl),
                    created=f"20{rng.randrange(18, 25)}",
                )
                for name in names
            ]
        )

    changes = [some(80), some(40), some(40)]
    both = [opened(tmp_path / backend, backend) for backend in ("edge", "client")]
    for library in both:
        for change in changes:
            library.commit(change)
    for _ in range(40):
        question = text()
        for scope in SCOPES:
            limit = rng.choice([1, 10, 50])
            edge, client = (one.candidates(vector(question), question, scope=scope, limit=limit) for one in both)
            assert edge.version == client.version
            _agree(edge.lexical, client.lexical, 2e-4)
            _agree(edge.dense, client.dense, 4e-6)
    for library in both:
        library.close()


def _agree(one: Sequence[Scored], other: Sequence[Scored], tolerance: float) -> None:
    """Equal scores to the last digits kept, and the same chunk at each rank unless its neighbour's score is as near."""
    assert [item.score for item in one] == pytest.approx([item.score for item in other], abs=tolerance)
    scores = {item.id: item.score for item in (*one, *other)}
    for mine, theirs in zip(one, other, strict=True):
        assert abs(scores[mine.id] - scores[theirs.id]) <= tolerance
