"""Other values of the same kind: what a document could say instead."""

import random

import pytest

from openbook.values import alike, changed, contradicting, swapped


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1947", "1895", True),
        ("1947", "1947", False),
        ("1947", "20", False),
        ("Ada Lovelace", "Rome", True),
        ("Ada Lovelace", "1947", False),
        ("blue", "green", False),
    ],
)
def test_values_are_alike_when_both_are_numbers_or_both_are_names(one: str, other: str, same: bool) -> None:
    assert alike(one, other) is same


def test_a_value_that_holds_a_gold_answer_contradicts_nothing() -> None:
    assert contradicting("Rome", ["Old Rome", "Paris"], gold=["Rome"]) == ["Paris"]


def test_a_value_is_swapped_only_where_it_stands_once() -> None:
    assert swapped("open until 17", "17", "19") == "open until 19"
    assert swapped("17 of 17", "17", "19") is None
    assert swapped("none", "17", "19") is None


@pytest.mark.parametrize(
    "value", ["14 days", "9", "EUR 1,200", "17:30", "2019", "March", "every Monday", "six weeks", "007"]
)
def test_a_changed_value_is_another_of_the_same_shape(value: str) -> None:
    for seed in range(30):
        new = changed(value, random.Random(seed))
        assert new is not None
        assert new != value
        assert len(new.split()) == len(value.split())
        if value[0].isdigit():
            assert len(new) == len(value)
    assert changed(value, random.Random(3)) == changed(value, random.Random(3))


def test_clock_times_stay_on_the_clock() -> None:
    for seed in range(50):
        assert 0 < int((changed("22:15", random.Random(seed)) or "").split(":")[0]) < 24


@pytest.mark.parametrize("value", ["blue", "", "may be", "the manager"])
def test_a_value_without_number_or_name_of_a_time_has_no_changed_form(value: str) -> None:
    assert changed(value, random.Random(0)) is None
