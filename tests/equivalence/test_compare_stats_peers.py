"""The statistics of a comparison agree with scipy, statsmodels and closed forms."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binomtest, bootstrap, permutation_test, t
from statsmodels.stats.multitest import multipletests

from openbook.compare import stats
from openbook.compare.schema import Pair
from openbook.metrics import paired, wilson

SOME = random.Random(7)


def scores(n: int, *, share: bool) -> list[float]:
    return [float(SOME.random() < 0.6) if share else SOME.random() for _ in range(n)]


def by_case(values: list[float]) -> dict[str, float]:
    return {f"{at:04}": value for at, value in enumerate(values)}


@pytest.mark.parametrize(("right", "n"), [(0, 1), (0, 60), (3, 7), (60, 60), (37, 120), (250, 500)])
def test_a_share_has_the_wilson_interval_of_scipy_and_of_the_closed_form(right: int, n: int) -> None:
    found = stats.figure([1.0] * right + [0.0] * (n - right), (), kind="share")
    peer = binomtest(right, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), abs=1e-9)
    assert tuple(wilson(right, n)) == pytest.approx((found.value, found.low, found.high), abs=1e-9)


def test_no_failure_in_sixty_still_allows_about_six_percent() -> None:
    assert stats.figure([0.0] * 60, (), kind="share").high == pytest.approx(0.0602, abs=1e-4)


@pytest.mark.parametrize(("a_only", "b_only"), [(0, 0), (0, 5), (0, 6), (3, 9), (12, 12), (15, 45)])
def test_p_of_shares_is_exact_mcnemar(a_only: int, b_only: int) -> None:
    first = by_case([1.0] * a_only + [0.0] * b_only + [1.0] * 40)
    second = by_case([0.0] * a_only + [1.0] * b_only + [1.0] * 40)
    found = stats.compare("base", "rag", "answer_correct", first, second, {})
    differ = a_only + b_only
    assert found.p == pytest.approx(binomtest(b_only, differ).pvalue if differ else 1.0)
    assert (found.a_only, found.b_only) == (a_only, b_only)


@pytest.mark.parametrize("documents", [1, 2, 5, 6, 9, 12])
def test_sign_flips_of_few_clusters_are_those_of_scipy_exactly(documents: int) -> None:
    sums = np.array([SOME.uniform(-1, 1.4) for _ in range(documents)])
    if documents == 1:
        assert stats.sign_flips(sums) == 1.0
        return
    peer = permutation_test(
        (sums, np.zeros(documents)),
        lambda a, b, axis: np.abs((a - b).sum(axis=axis)),
        permutation_type="samples",
        vectorized=True,
        alternative="greater",
    )
    assert stats.sign_flips(sums) == pytest.approx(peer.pvalue, abs=1e-12)


def test_sign_flips_of_single_answers_are_mcnemar() -> None:
    change = np.array([1.0] * 31 + [-1.0] * 18)
    assert stats.sign_flips(change) == pytest.approx(binomtest(31, 49).pvalue, abs=0.012)


def test_sign_flips_of_many_clusters_are_those_of_tuning() -> None:
    a, b = scores(200, share=False), scores(200, share=False)
    labels = [str(at % 40) for at in range(200)]
    found = stats.compare("a", "b", "token_f1", by_case(a), by_case(b), dict(zip(by_case(a), labels, strict=True)))
    assert found.p == pytest.approx(paired(a, b, labels).p, abs=0.02)


def test_the_bootstrap_is_scipys_over_clusters_widened_by_student() -> None:
    documents = 25
    sizes = np.array([SOME.randrange(1, 9) for _ in range(documents)], float)
    values = [SOME.random() for _ in range(int(sizes.sum()))]
    labels = [str(at) for at, size in enumerate(sizes) for _ in range(int(size))]
    sums = np.array([sum(v for v, label in zip(values, labels, strict=True) if label == str(at)) for at in range(25)])
    peer = bootstrap(
        (sums, sizes),
        lambda s, m, axis: s.sum(axis=axis) / m.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    found = stats.figure(values, labels, kind="mean")
    wider = math.sqrt(documents / (documents - 1)) * t.ppf(0.975, documents - 1) / 1.959964
    width = (found.high - found.low) / (peer.high - peer.low)
    assert width == pytest.approx(wider, rel=0.03)
    assert found.low == pytest.approx(found.value + wider * (peer.low - found.value), abs=0.005)


def test_the_interval_of_a_difference_is_that_of_regression_with_clustered_errors() -> None:
    documents, each = 60, 4
    luck = np.array([SOME.gauss(0, 0.2) for _ in range(documents)]).repeat(each)
    change = np.array([SOME.gauss(0.05, 0.2) for _ in range(documents * each)]) + luck
    labels = np.arange(documents).repeat(each)
    peer = sm.OLS(change, np.ones(len(change))).fit(
        cov_type="cluster", cov_kwds={"groups": labels, "df_correction": True}
    )
    first = {f"{at:04}": 0.5 for at in range(len(change))}
    second = {case: 0.5 + by for case, by in zip(first, change.tolist(), strict=True)}
    clusters = {case: str(label) for case, label in zip(first, labels, strict=True)}
    found = stats.compare("a", "b", "token_f1", first, second, clusters)
    low, high = peer.conf_int()[0]
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.008)
    alone = stats.compare("a", "b", "token_f1", first, second, {})
    assert alone.high - alone.low < 0.75 * (found.high - found.low)


def test_holm_is_that_of_statsmodels() -> None:
    ps = [0.004, 0.03, 0.0001, 0.6, 0.012, 0.012]
    pairs = [
        Pair(a, b, "answer_correct", 120, 0.1, 0.01, 0.2, p, p, 3, 15, "b", 0, "", 120)
        for (a, b), p in zip(
            [("base", "rag"), ("base", "tuned"), ("base", "tuned+rag"), ("rag", "tuned"), ("rag", "tuned+rag"),
             ("tuned", "tuned+rag")], ps, strict=True,
        )
    ]  # fmt: skip
    peer = multipletests(ps, method="holm")
    found = stats.holm(pairs)
    assert [pair.p_holm for pair in found] == pytest.approx(list(peer[1]))
    assert [pair.verdict != "no difference" for pair in found] == list(peer[0])


@pytest.mark.parametrize(
    ("gap", "disagreement", "cases"),
    [(0.10, 0.2, 155), (0.10, 0.3, 233), (0.10, 0.4, 312), (0.05, 0.2, 626), (0.05, 0.3, 940), (0.05, 0.4, 1253)],
)
def test_cases_needed_are_the_published_ones(gap: float, disagreement: float, cases: int) -> None:
    assert stats.needed(gap, disagreement) == pytest.approx(cases, abs=1)


@pytest.mark.parametrize(
    ("n", "points", "points_of_six"),
    [(50, (17, 21, 25), (20, 26, 30)), (100, (12, 15, 18), (15, 19, 22)), (200, (9, 11, 13), (11, 13, 15)),
     (400, (6, 8, 9), (8, 10, 11))],
)  # fmt: skip
def test_the_power_table_is_the_published_one(n: int, points: tuple[int, ...], points_of_six: tuple[int, ...]) -> None:
    assert [100 * row.gap for row in stats.power_table(n)] == pytest.approx(points, abs=0.6)
    assert [100 * row.gap for row in stats.power_table(n, alpha=0.05 / 6)] == pytest.approx(points_of_six, abs=0.6)
