"""What holds of intervals, pairs and sample sizes whatever the scores."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.compare import gate, stats
from openbook.compare.schema import METRICS, Pair
from openbook.errors import UsageError

SHARES = st.sampled_from([0.0, 1.0])
MEANS = st.floats(0, 1, allow_subnormal=False)
QUICK = settings(max_examples=60, deadline=None)


@st.composite
def trials(draw: st.DrawFn) -> tuple[str, dict[str, float], dict[str, float], dict[str, str]]:
    """A metric, two arms' scores of the same cases, and each case's document."""
    metric = draw(st.sampled_from(["answer_correct", "stale", "token_f1", "invention"]))
    one = SHARES if METRICS[metric].kind == "share" else MEANS
    rows = draw(st.lists(st.tuples(one, one, st.integers(0, 12)), min_size=1, max_size=40))
    cases = [f"q{at}" for at in range(len(rows))]
    return (
        metric,
        {case: row[0] for case, row in zip(cases, rows, strict=True)},
        {case: row[1] for case, row in zip(cases, rows, strict=True)},
        {case: f"{row[2]}.md" for case, row in zip(cases, rows, strict=True)},
    )


def told(trial: tuple[str, dict[str, float], dict[str, float], dict[str, str]]) -> Pair:
    metric, first, second, about = trial
    return stats.compare("base", "rag", metric, first, second, about)


@QUICK
@given(
    st.lists(st.tuples(MEANS | SHARES, st.integers(0, 9)), min_size=1, max_size=50), st.sampled_from(["share", "mean"])
)
def test_an_interval_holds_its_value_and_stays_in_range(rows: list[tuple[float, int]], kind: str) -> None:
    found = stats.figure([one for one, _ in rows], [str(at) for _, at in rows], kind=kind)  # type: ignore[arg-type]
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    assert (found.n, found.clusters) == (len(rows), len({at for _, at in rows}))


@QUICK
@given(trials())
def test_a_pair_holds_together(trial: tuple[str, dict[str, float], dict[str, float], dict[str, str]]) -> None:
    pair = told(trial)
    metric, first, _, about = trial
    assert -1 <= pair.low <= pair.difference + 1e-12
    assert pair.difference - 1e-12 <= pair.high <= 1
    assert 0 < pair.p <= 1
    assert (pair.verdict == "no difference") == (pair.p_holm >= 0.05)
    assert pair.clusters == len({about[case] for case in first})
    if pair.clusters < 6:
        assert pair.p >= 0.05
    if pair.verdict != "no difference":
        better = pair.difference > 0 if METRICS[metric].better == "higher" else pair.difference < 0
        assert pair.verdict == ("b" if better else "a")
        assert pair.needed == 0
    elif pair.needed:
        assert pair.needed > pair.n
    assert "nan" not in pair.sentence
    assert "\n" not in pair.sentence


@QUICK
@given(trials())
def test_swapping_the_arms_turns_everything_round(
    trial: tuple[str, dict[str, float], dict[str, float], dict[str, str]],
) -> None:
    metric, first, second, about = trial
    there, back = told(trial), stats.compare("rag", "base", metric, second, first, about)
    assert back.difference == pytest.approx(-there.difference, abs=1e-12)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)
    assert back.p == there.p
    assert (back.a_only, back.b_only) == (there.b_only, there.a_only)
    assert {"a": "b", "b": "a"}.get(back.verdict, back.verdict) == there.verdict


@QUICK
@given(trials(), st.integers(0, 5))
def test_neither_the_order_of_cases_nor_the_names_of_documents_matter(
    trial: tuple[str, dict[str, float], dict[str, float], dict[str, str]], seed: int
) -> None:
    metric, first, second, about = trial
    order = list(first)
    random.Random(seed).shuffle(order)
    renamed = {case: f"other/{document}" for case, document in about.items()}
    assert told(trial) == stats.compare("base", "rag", metric, {case: first[case] for case in order}, second, renamed)


@QUICK
@given(trials())
def test_an_arm_is_never_different_from_itself(
    trial: tuple[str, dict[str, float], dict[str, float], dict[str, str]],
) -> None:
    metric, first, _, about = trial
    found = told((metric, first, first, about))
    assert (found.verdict, found.p, found.needed, found.difference) == ("no difference", 1.0, 0, 0.0)


@QUICK
@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=6))
def test_holm_never_helps_and_keeps_the_order(ps: list[float]) -> None:
    pairs = [
        Pair("base", "rag", "answer_correct", 120, 0.1, 0.0, 0.2, p, p, 4, 16, "no difference", 0, "", 120) for p in ps
    ]
    found = stats.holm(pairs)
    assert [pair.p for pair in found] == ps
    assert all(pair.p <= pair.p_holm <= 1 for pair in found)
    by_p = sorted(found, key=lambda pair: pair.p)
    assert [pair.p_holm for pair in by_p] == sorted(pair.p_holm for pair in found)


@QUICK
@given(st.integers(20, 2000), st.floats(0.05, 0.9))
def test_the_power_table_undoes_the_cases_needed(n: int, disagreement: float) -> None:
    for row in stats.power_table(n, disagreements=(disagreement,)):
        assert 0 < row.gap <= row.disagreement
        if row.gap < row.disagreement:
            assert stats.needed(row.gap, row.disagreement) == pytest.approx(n, abs=1)


@QUICK
@given(st.floats(0.01, 0.3), st.floats(0.3, 1), st.floats(1.01, 3))
def test_smaller_gaps_more_disagreement_and_stricter_levels_need_more_cases(
    gap: float, disagreement: float, factor: float
) -> None:
    cases = stats.needed(gap, disagreement)
    assert stats.needed(-gap, disagreement) == cases
    assert stats.needed(gap / factor, disagreement) >= cases
    assert stats.needed(gap, disagreement * factor) >= cases
    assert stats.needed(gap, disagreement, alpha=0.05 / factor) >= cases
    assert math.isfinite(cases)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=40)
    | st.from_regex(r"(rag: )?(p95|refusal|update) (drops|<|rises) ?>? ?[0-9.]{1,4}(pp|%|s)?", fullmatch=True)
)
def test_a_rule_is_read_or_refused_in_one_sentence(text: str) -> None:
    try:
        rule = gate.parse(text)
    except UsageError as error:
        said = str(error)
    else:
        assert rule.limit >= 0
        assert gate.parse(rule.text) == rule
        return
    assert "\n" not in said
    assert repr(text) in said
