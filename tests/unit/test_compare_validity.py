"""The instrument says nothing where there is nothing, and sees what is planted."""

from __future__ import annotations

import pytest

from bench import compare_validity as validity


@pytest.mark.parametrize(("documents", "each", "apart"), [(120, 1, 0.0), (30, 4, 0.3), (10, 12, 0.3)])
def test_identical_arms_show_no_difference_in_95_of_100_splits(documents: int, each: int, apart: float) -> None:
    draw = validity.made(documents, each, apart, share=True)
    found = validity.identical("made", draw, "answer_correct", 100, 0)
    assert found["first_100"] >= 95


def test_taking_answers_about_one_document_for_independent_would_see_differences() -> None:
    found = validity.identical("made", validity.made(10, 12, 0.3, share=True), "answer_correct", 100, 0)
    assert found["one_pair_documents_ignored"] < 0.9


def test_fifteen_points_among_200_cases_are_found() -> None:
    assert validity.exactly_planted()["holds"]
    for disagreement in validity.DISAGREEMENTS:
        assert validity.planted(200, 1, disagreement, 0.0, 60, 0)["found"] >= 0.8


def test_the_gap_of_the_power_table_is_found_four_times_of_five_by_simulation() -> None:
    for row in validity.power(500, 0):
        assert row["holds"], row
        assert row["simulated"] == pytest.approx(row["exact"], abs=0.04)


def test_intervals_hold_the_truth_also_in_few_documents() -> None:
    assert validity.coverage(6, 10, 0.2, 0.5, 200, 0)["inside"] >= 0.92
    assert validity.coverage(6, 10, 0.2, 0.5, 200, 0)["inside_documents_ignored"] < 0.85
