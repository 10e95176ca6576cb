"""Break-even agrees with looking at every volume, and with the totals that the section shows."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.compare.cost import Line, Measured, Spent, break_even, cost
from openbook.compare.prices import UNITS, Prices

CENTS = st.integers(0, 200).map(lambda n: n / 4)
AMOUNT = st.floats(0, 1e6, allow_nan=False, allow_infinity=False)


@given(one=st.builds(Line, CENTS, CENTS), other=st.builds(Line, CENTS, CENTS))
def test_the_volume_is_that_of_a_search_over_all_volumes(one: Line, other: Line) -> None:
    cheaper = [one.total(n) <= other.total(n) for n in range(400)]  # the last crossing there can be is 50 / 0.25
    verdict, questions = break_even(one, other)
    if verdict == "always":
        assert all(cheaper)
    elif verdict == "never":
        assert not any(cheaper)
    elif verdict == "from":
        assert questions == cheaper.index(True)
        assert all(cheaper[questions:])
    else:
        assert verdict == "until"
        assert questions == cheaper.index(False) - 1


@given(one=st.builds(Line, AMOUNT, AMOUNT), other=st.builds(Line, AMOUNT, AMOUNT))
def test_any_volume_named_is_exactly_where_the_order_turns(one: Line, other: Line) -> None:
    verdict, questions = break_even(one, other)

    def ahead(volume: int) -> bool:
        mine, theirs = (Fraction(line.fixed) + volume * Fraction(line.question) for line in (one, other))
        return mine <= theirs

    if verdict in ("from", "until"):
        assert questions is not None
        assert ahead(questions)
        assert not ahead(questions - 1 if verdict == "from" else questions + 1)
    else:
        assert ahead(0) == ahead(10**15) == (verdict == "always")


@st.composite
def spent(draw: st.DrawFn, arm: str) -> Spent:
    acceptable = draw(st.floats(0, 1))
    wrong = draw(st.floats(0, 1)) * (1 - acceptable)
    trained = arm.startswith("tuned")
    return Spent(
        arm,
        draw(st.floats(0.01, 20)),
        searches="rag" in arm,
        trained=trained,
        parse_seconds=draw(st.floats(0, 1000)),
        embed_seconds=draw(st.floats(0, 1000)),
        train_seconds=draw(st.floats(1, 1e5)) if trained else 0.0,
        labelled=draw(st.integers(0, 1000)) if trained else 0,
        update_seconds=draw(st.floats(0, 60)),
        questions=100,
        acceptable=acceptable,
        wrong=wrong,
        refused=1 - acceptable - wrong,
    )


PRICES = st.builds(
    Prices,
    machine_hour=st.floats(0.01, 10),
    labour_hour=st.floats(0, 100),
    example_minutes=st.floats(0, 30),
    wrong_answer=st.floats(0, 5),
    redo_minutes=st.floats(0, 10),
    updates_month=st.floats(0, 30),
    months=st.floats(0.5, 60),
)


@settings(max_examples=60, deadline=None)
@given(rag=spent("rag"), tuned=spent("tuned"), prices=PRICES)
def test_the_totals_shown_turn_at_the_volume_named(rag: Spent, tuned: Spent, prices: Prices) -> None:
    found = Measured((rag, tuned))
    for section, total in (("break_even", "total"), ("break_even_settled", "total_settled")):
        said = cost(found, prices)[section]["tuned"]

        def gap(volume: float, total: str = total) -> float:
            arms = cost(found, replace(prices, questions_month=volume))["arms"]
            return float(arms["tuned"][total] - arms["rag"][total]) / (1 + arms["tuned"][total])

        if said["verdict"] == "from":
            assert gap(said["questions"]) <= 1e-9
            assert gap(said["questions"] - 1) >= -1e-9
        elif said["verdict"] == "until":
            assert gap(said["questions"]) <= 1e-9
            assert gap(said["questions"] + 1) >= -1e-9
        elif said["verdict"] == "never":
            assert min(gap(10**n) for n in range(7)) >= -1e-9
        else:
            assert max(gap(10**n) for n in range(7)) <= 1e-9


@settings(max_examples=60, deadline=None)
@given(tuned=spent("tuned+rag"), prices=PRICES, name=st.sampled_from(sorted(UNITS)))
def test_no_price_makes_anything_cheaper_when_it_rises(tuned: Spent, prices: Prices, name: str) -> None:
    def total(sheet: Prices) -> float:
        return float(cost(Measured((tuned,), cases_written=50), sheet)["arms"]["tuned+rag"]["total_settled"])

    assert total(prices.scaled(name, 3)) >= total(prices) * (1 - 1e-12)
