"""Verdicts of a comparison and the sentences that tell them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import pytest

from openbook.compare import stats
from openbook.compare.schema import FOUR, METRICS, Pair
from openbook.errors import CompareError


def scores(*runs: tuple[float, int]) -> dict[str, float]:
    """(1, 3), (0, 2) is right three times, then wrong twice."""
    values = [float(score) for score, count in runs for _ in range(count)]
    return {f"{at:04}": value for at, value in enumerate(values)}


def clusters(of: Mapping[str, float], documents: int) -> dict[str, str]:
    """So many documents in turn."""
    return {case: f"d{at % documents}.md" for at, case in enumerate(of)}


def pair(**changes: object) -> Pair:
    of = Pair("base", "rag", "answer_correct", 120, 0.03, -0.06, 0.12, 0.5, 0.5, 10, 14, "no difference", 310, "", 30)
    return replace(of, **changes)  # type: ignore[arg-type]


def test_a_gap_that_cannot_be_seen_is_told_with_the_cases_that_would_settle_it() -> None:
    assert stats.sentence(pair()) == (
        "no detectable difference at n = 120 (rag - base +3 points [-6, 12]);"
        " about 310 cases would settle a gap of this size"
    )


def test_a_settled_gap_is_told_from_the_better_arm() -> None:
    found = pair(a="tuned+rag", b="rag", difference=-0.14, low=-0.23, high=-0.05, p=0.004, p_holm=0.004, verdict="a")
    assert stats.sentence(found) == "tuned+rag is 14 points above rag [5, 23], p = .004, n = 120"


def test_a_metric_that_should_be_low_is_told_as_below() -> None:
    found = pair(metric="invention", difference=-0.09, low=-0.14, high=-0.04, p=0.0001, p_holm=0.0006, verdict="b")
    assert stats.sentence(found) == "rag is 9 points below base [4, 14] (lower is better), p < .001 after Holm, n = 120"


def test_a_gap_that_does_not_survive_holm_says_so() -> None:
    found = pair(difference=0.09, low=0.01, high=0.17, p=0.03, p_holm=0.11)
    assert stats.sentence(found) == (
        "no detectable difference at n = 120 (rag - base +9 points [1, 17], p = .03 alone but .11 over all pairs);"
        " about 310 cases would settle a gap of this size"
    )


def test_a_tiny_gap_is_not_worth_a_number_of_cases() -> None:
    found = pair(difference=0.002, low=-0.08, high=0.09, needed=480_000)
    assert stats.sentence(found).endswith("; to settle a gap this small would take more than 10,000 cases")


def test_an_end_near_zero_keeps_a_decimal() -> None:
    found = pair(difference=0.081, low=0.003, high=0.162, p=0.041, p_holm=0.041, verdict="b")
    assert stats.sentence(found) == "rag is 8.1 points above base [0.3, 16.2], p = .04, n = 120"


def test_p_near_the_limit_is_not_rounded_over_it() -> None:
    found = pair(difference=0.08, low=0.01, high=0.16, p=0.049, p_holm=0.049, verdict="b")
    assert "p = .049" in stats.sentence(found)


def test_few_documents_settle_nothing_however_large_the_gap() -> None:
    first, second = scores((0, 90)), scores((1, 80), (0, 10))
    for documents in (1, 2, 3, 5):
        for metric in ("answer_correct", "token_f1"):
            found = stats.compare("base", "rag", metric, first, second, clusters(first, documents))
            assert found.p >= 0.05
            assert found.verdict == "no difference"
            assert found.needed == 0
            assert f"all 90 cases are about {documents} document" in found.sentence
            assert "at least 6 are needed" in found.sentence


def test_six_documents_can_settle_a_gap() -> None:
    first, second = scores((0, 90)), scores((1, 80), (0, 10))
    assert stats.compare("base", "rag", "answer_correct", first, second, clusters(first, 6)).verdict == "b"


def test_five_cases_settle_nothing() -> None:
    found = stats.compare("base", "rag", "answer_correct", scores((0, 5)), scores((1, 5)), {})
    assert found.verdict == "no difference"
    assert found.sentence == "5 cases settle nothing (rag - base +100 points [100, 100]); add more"


def test_answers_about_one_document_do_not_pass_for_many_witnesses() -> None:
    first, second = scores((0, 100)), scores((1, 20), (0, 80))
    alone = stats.compare("base", "rag", "answer_correct", first, second, {})
    gathered = {case: "one.md" if at < 20 else f"{at}.md" for at, case in enumerate(first)}
    together = stats.compare("base", "rag", "answer_correct", first, second, gathered)
    assert alone.verdict == "b"
    assert together.verdict == "no difference"
    assert together.p == 1.0


def test_documents_widen_the_interval_of_a_share() -> None:
    values = [1.0] * 60 + [0.0] * 60
    alike = [f"{at // 10}" for at in range(120)]
    plain, gathered = (stats.figure(values, labels, kind="share") for labels in ((), alike))
    assert gathered.high - gathered.low > 2 * (plain.high - plain.low)
    assert (plain.clusters, gathered.clusters) == (120, 12)


def test_fewer_than_six_documents_leave_an_interval_about_these_alone() -> None:
    values = [1.0, 1.0, 0.0] * 20
    three, plain = (stats.figure(values, labels, kind="share") for labels in (["a", "b", "c"] * 20, ()))
    assert (three.low, three.high) == (plain.low, plain.high)
    assert three.clusters == 3


def test_a_mean_of_nothing_but_ones_keeps_a_width() -> None:
    found = stats.figure([1.0] * 12, (), kind="mean")
    assert found.high == 1.0
    assert 0.7 < found.low < 0.8


def test_one_score_leaves_everything_open() -> None:
    found = stats.figure([0.4], (), kind="mean")
    assert (found.low, found.high) == (0.0, 1.0)


def test_lower_is_better_where_the_metric_says_so() -> None:
    first, second = scores((1, 60)), scores((0, 40), (1, 20))
    assert stats.compare("base", "rag", "stale", first, second, {}).verdict == "b"
    assert stats.compare("base", "rag", "answer_correct", first, second, {}).verdict == "a"


def test_right_alone_means_the_low_score_where_low_is_better() -> None:
    first, second = scores((1, 40), (0, 3), (1, 20)), scores((0, 40), (1, 3), (1, 20))
    found = stats.compare("base", "rag", "stale", first, second, {})
    assert (found.a_only, found.b_only) == (3, 40)


def test_an_interval_beside_zero_without_evidence_shows_its_p() -> None:
    found = pair(difference=0.09, low=0.01, high=0.17, p=0.06, p_holm=0.06)
    assert "(rag - base +9 points [1, 17], p = .06); about" in stats.sentence(found)


def test_only_cases_that_both_arms_have_count() -> None:
    first, second = scores((1, 30)), scores((1, 20))
    found = stats.compare("base", "rag", "answer_correct", first, second, {})
    assert found.n == 20
    assert found.sentence == "base and rag score the same on all 20 cases"


def test_arms_without_a_common_case_are_not_compared() -> None:
    found = stats.compare("base", "rag", "answer_correct", {"a": 1.0}, {"b": 1.0}, {})
    assert (found.n, found.verdict) == (0, "no difference")
    assert found.sentence == "base and rag cannot be compared: no case has a score for both"


def test_cancelling_gaps_are_not_called_the_same() -> None:
    first, second = scores((1, 10), (0, 10)), scores((0, 10), (1, 10))
    by_two = {case: f"{at % 10}" for at, case in enumerate(first)}
    found = stats.compare("base", "rag", "answer_correct", first, second, by_two)
    assert found.sentence.startswith("no detectable difference at n = 20 (rag - base 0 points [0, 0]")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_named_with_its_case(bad: float) -> None:
    with pytest.raises(CompareError, match=r"answer_correct of 'rag' on case 'q7' is (nan|inf); mend the metric"):
        stats.compare("base", "rag", "answer_correct", {"q7": 1.0}, {"q7": bad}, {})
    with pytest.raises(CompareError, match="mend the metric"):
        stats.figure([1.0, bad], (), kind="mean")


def test_no_score_and_no_such_metric_are_refused() -> None:
    with pytest.raises(CompareError, match="no score"):
        stats.figure([], (), kind="share")
    with pytest.raises(CompareError, match="metric 'wit' is unknown"):
        stats.compare("base", "rag", "wit", {"a": 1.0}, {"a": 1.0}, {})


def test_holm_takes_a_verdict_back_and_asks_for_more_cases() -> None:
    first = scores((0, 120))
    found = [
        stats.compare(a, b, "answer_correct", first, scores((1, 7), (0, 113)) if b == "rag" else first, {})
        for a, b in combinations(FOUR, 2)
    ]
    before = found[0]
    after = stats.holm(found)[0]
    assert (before.verdict, before.needed) == ("b", 0)
    assert after.verdict == "no difference"
    assert after.p_holm == pytest.approx(6 * before.p)
    assert after.needed > 120
    assert "alone but" in after.sentence


def test_diagnostic_arms_do_not_cost_the_four_their_power() -> None:
    four = pair(p=0.02)
    oracle = pair(b="oracle", p=0.02)
    found = stats.holm([four, oracle, pair(metric="token_f1", p=0.02)])
    assert [one.p_holm for one in found] == pytest.approx([0.02, 0.02, 0.02])


def test_no_gap_needs_no_cases() -> None:
    assert stats.needed(0.0, 0.3) == 0


def test_a_table_leaves_out_what_so_few_cases_never_show() -> None:
    assert stats.power_table(10) == ()
    assert [row.disagreement for row in stats.power_table(20)] == [0.4]
    assert [row.n for row in stats.power_table(50, 100)] == [50, 50, 50, 100, 100, 100]


def test_eight_arms_and_every_metric_take_well_under_three_seconds() -> None:
    cases = [str(at) for at in range(300)]
    about = {case: f"{at % 75}" for at, case in enumerate(cases)}
    found = {
        (arm, metric): {
            case: float((at * len(arm + metric) // 7) % 2) if measure.kind == "share" else (at * 37 % 101) / 100
            for at, case in enumerate(cases)
        }
        for arm in (*FOUR, "naive", "oracle", "bare", "extractive")
        for metric, measure in METRICS.items()
    }
    stats.figure([1.0, 0.0], (), kind="share")
    start = time.process_time()
    for (_, metric), one in found.items():
        stats.figure(list(one.values()), list(about.values()), kind=METRICS[metric].kind)
    for metric in METRICS:
        stats.holm(
            [stats.compare(a, b, metric, found[a, metric], found[b, metric], about) for a, b in combinations(FOUR, 2)]
        )
    assert time.process_time() - start < 3
