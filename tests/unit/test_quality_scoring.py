import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scoring import auc, bootstrap, contains_gold, normalise, wilson


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("You get fifteen days a year.", "15 days"),
        ("It's 5000 dollars.", "$5,000"),
        ("$5,000!", "$5k"),
        ("up to ten dollars per day", "$10"),
        ("It lasts thirty minutes", "30 min"),
        ("between three and five: 3-5", "3 to 5"),
        ("85 percent", "85%"),
        ("from 10:30 AM on", "10:30am"),
        ("The 6th week", "sixth week"),
        ("twelve months", "12 months"),
        ("1/72 of them", "1/72"),
    ],
)
def test_the_same_answer_in_other_words_counts(answer: str, gold: str) -> None:
    assert contains_gold(answer, [gold])


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("115 days", "15 days"),
        ("10 years", "$10"),
        ("It is 70 points", "7"),
        ("", "15 days"),
        ("four weeks", "4 months"),
    ],
)
def test_another_answer_does_not_count(answer: str, gold: str) -> None:
    assert not contains_gold(answer, [gold])


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_text_contains_itself_whatever_is_in_it(text: str) -> None:
    assert contains_gold(text, [text]) or not normalise(text)


def test_wilson_agrees_with_a_published_value() -> None:
    low, high = wilson(81, 263)[1:3]  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert (low, high) == pytest.approx((0.255, 0.366), abs=0.001)


def test_resampling_clusters_widens_the_interval_of_alike_members() -> None:
    values = np.repeat([0.0, 1.0], 50)
    alone = bootstrap(values, draws=2000)
    together = bootstrap(values, np.repeat(np.arange(10), 10).tolist(), draws=2000)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert alone.value == together.value == 0.5


def test_auc_of_equal_scores_is_a_coin_toss() -> None:
    assert auc([1.0, 1.0], [1.0]) == 0.5
