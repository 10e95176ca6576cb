"""Numbers as people read them."""

import doctest

import pytest

from openbook.compare import wording
from openbook.compare.schema import Figure
from tests.compare_reports import full, minimal


def test_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(wording).failed == 0


@pytest.mark.parametrize(("share", "told"), [(0.0, "0 %"), (0.004, "<1 %"), (0.996, ">99 %"), (1.0, "100 %")])
def test_a_share_is_never_rounded_to_none_or_all(share: float, told: str) -> None:
    assert wording.value(share, "share").replace("\N{NO-BREAK SPACE}", " ") == told


def test_intervals_of_means_keep_their_digits() -> None:
    assert wording.interval(Figure(0.5, 0.41, 0.62, 10), "mean") == "0.41–0.62"


@pytest.mark.parametrize("found", [None, 3, {}, {"value": 1.0}, []])
def test_a_rate_of_another_shape_is_none(found: object) -> None:
    assert wording.rate(found) is None


def test_latencies_come_from_their_section_and_else_from_the_rows() -> None:
    measured, rows_only = full()[0], minimal()[0]
    assert wording.latencies(measured)["rag"]["prefill"]["p50"] == 0.93
    assert wording.latencies(rows_only)["rag"]["total"] == {
        key: rows_only.arms[1].seconds["total"][key] for key in ("p50", "p95")
    }


@pytest.mark.parametrize(
    "section", [{}, {"curve": 3}, {"curve": {"questions": None}}, {"break_even": {"rag": "never"}}]
)
def test_a_broken_cost_section_has_no_curve(section: dict[str, object]) -> None:
    assert wording.cost_curve(section) == ([], {}, [])
