"""Fusion of two ranked lists."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.records import Candidates, Scored
from openbook.retrieve.fuse import fuse


def ranked(*ids: int) -> tuple[Scored, ...]:
    return tuple(Scored(id_, 1.0 - place / 10) for place, id_ in enumerate(ids))


def test_reciprocal_ranks_are_those_of_the_paper() -> None:
    first = fuse(Candidates(ranked(1, 2), ranked(2, 3), 1), method="rrf")[0]
    assert first.id == 2
    assert first.score == pytest.approx(1 / 62 + 1 / 61)
    assert (first.dense_rank, first.lexical_rank) == (2, 1)


def test_distribution_scores_map_three_deviations_to_zero_and_one() -> None:
    scored = (Scored(1, 3.0), Scored(2, 2.0), Scored(3, 1.0))
    fused = fuse(Candidates(scored, (), 1), method="dbsf")
    assert fused[1].score == pytest.approx(0.5)
    assert fused[0].score == pytest.approx(0.5 + 1 / (6 * (2 / 3) ** 0.5))


def test_a_weight_of_zero_silences_a_retriever() -> None:
    fused = fuse(Candidates(ranked(1, 2), ranked(3), 1), method="rrf", lexical_weight=0.0)
    assert [one.id for one in fused] == [1, 2]


LISTS = st.lists(st.integers(0, 30), unique=True, max_size=20)


@given(LISTS, LISTS, st.sampled_from(["rrf", "dbsf"]))
def test_every_candidate_comes_out_once_best_first(dense: list[int], lexical: list[int], method: str) -> None:
    fused = fuse(Candidates(ranked(*dense), ranked(*lexical), 1), method=method)  # type: ignore[arg-type]
    assert sorted(one.id for one in fused) == sorted({*dense, *lexical})
    assert all(one.score >= other.score for one, other in pairwise(fused))
