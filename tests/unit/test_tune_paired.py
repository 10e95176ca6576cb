"""metrics.paired: what a change did, and how sure one may be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from openbook.metrics import paired


def test_a_clear_change_has_an_interval_above_zero() -> None:
    found = paired([0.0] * 40, [1.0, 1.0, 1.0, 0.0] * 10)
    assert found.low > 0.5
    assert found.p < 0.01
    assert (found.n, found.clusters) == (40, 40)


def test_no_difference_is_no_difference() -> None:
    assert paired([0.5] * 9, [0.5] * 9)[:4] == (0.0, 0.0, 0.0, 1.0)


def test_nothing_measured_is_nan() -> None:
    found = paired([], [])
    assert math.isnan(found.low)
    assert found.p == 1.0


def test_five_documents_never_suffice_however_many_questions() -> None:
    labels = [f"document {number % 5}" for number in range(100)]
    found = paired([0.0] * 100, [1.0] * 100, labels)
    assert found.low == 1.0
    assert found.p > 0.05


def test_the_same_call_gives_the_same_numbers() -> None:
    values = np.random.default_rng(1).random(30).tolist()
    assert paired([0.5] * 30, values) == paired([0.5] * 30, values)


def test_questions_of_one_document_widen_the_interval() -> None:
    random = np.random.default_rng(2)
    by_document = np.repeat(random.normal(size=20), 10)
    alone = paired([0.0] * 200, by_document.tolist())
    together = paired([0.0] * 200, by_document.tolist(), [str(row // 10) for row in range(200)])
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_higher_level_gives_a_wider_interval() -> None:
    values = np.random.default_rng(3).normal(size=50).tolist()
    wide, narrow = (paired([0.0] * 50, values, level=level) for level in (0.99, 0.9))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("documents", [8, 20, 60])
def test_null_changes_are_rarely_called_real(documents: int) -> None:
    called = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        labels = [str(row) for row in range(documents) for _ in range(3)]
        change = np.repeat(random.normal(size=documents), 3) + random.normal(size=3 * documents)
        found = paired([0.0] * len(labels), change.tolist(), labels, draws=1000)
        called += found.low > 0 and found.p <= 0.05
    assert called <= 12, "2.5 % are expected, 6 % is beyond chance"
