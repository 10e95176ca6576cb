"""What an index must do: keep points (a dense vector, BM25 terms, a small payload) and find them under a filter.

Knows no text, no document and no catalog. Two implementations: edge.py (in this process) and server.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from openbook.records import Scored

DENSE = "dense"
TERMS = "bm25"

ACL, DOC, BORN, DIED = "acl", "doc", "born", "died"
"""Payload fields: labels, number of the content, first version with the point, first one without it."""

BATCH = 500
"""Points per request: about 1 MB at 384 dimensions."""

HNSW_M, HNSW_EF_CONSTRUCT, HNSW_EF = 16, 100, 384
"""Measured in docs/decisions/0042: recall@10 .985 of exact search for real questions at 100k chunks, without filter."""
ACORN_BELOW = 0.6
"""Filters that let less than this share through search two hops: recall@10 rises from .40-.98 to 1.00 for 1-2 ms."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A sparse vector: hashed terms and their weights."""

    indices: list[int]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Point:
    """A chunk as the index sees it."""

    id: int
    dense: list[float]
    terms: Terms
    payload: Mapping[str, int | list[str]]


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field holds at least one of the values; never true without values."""

    field: str
    values: list[int] | list[str]


@dataclass(frozen=True, slots=True)
class Between:
    """The field is a number with at_least <= number < below; an open side is None. Never true without the field."""

    field: str
    at_least: int | None = None
    below: int | None = None


REPAIR = "restore a backup, or delete the folder .openbook/library and run: openbook sync"
"""Vectors are kept in the index only; without it documents have to be read again."""

Clause = OneOf | Between


@dataclass(frozen=True, slots=True)
class Where:
    """All of `must` and none of `must_not`."""

    must: tuple[Clause, ...] = ()
    must_not: tuple[Clause, ...] = ()


EVERYTHING = Where()


class Index(Protocol):
    """Every method raises LibraryError when the index cannot do it."""

    def upsert(self, points: Sequence[Point]) -> None:
        """Add or replace points; callers send at most BATCH at a time."""

    def assign(self, where: Where, field: str, value: int | None) -> None:
        """Set one payload field of the points found, or take it away (None)."""

    def delete(self, where: Where) -> None:
        """Remove the points found."""

    def search(
        self, dense: list[float] | None, terms: Terms | None, where: Where, limit: int, *, corpus: Where | None
    ) -> tuple[list[Scored], list[Scored]]:
        """The best points by cosine and, apart, by BM25, best first, of one state; what is None is not searched.

        BM25 counts how rare a term is among the points of `corpus`; None: among all, which costs less.
        """

    def vectors(self, ids: Sequence[int]) -> dict[int, list[float]]:
        """Dense vectors of the points that exist."""

    def count(self, where: Where = EVERYTHING) -> int:
        """The exact number of points found."""

    def flush(self) -> None:
        """Return when all that was written would survive a power cut."""

    def still(self) -> AbstractContextManager[None]:
        """All that was written lies in files, and these stay as they are, so that they can be copied."""

    def optimize(self) -> bool:
        """Build what makes searches fast, where it pays; True when something changed."""

    def close(self) -> None:
        """Release files or connections."""
