"""Advice, verdict and claims of arbitrary reports: never an error, always one answer, always with its evidence."""

from __future__ import annotations

import re
from typing import Any, get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbook.compare.advise import advise, verdict
from openbook.compare.claims import claims
from openbook.compare.prior import QUESTIONS
from openbook.compare.prior import advise as prior
from openbook.compare.schema import DIAGNOSTICS, FOUR, METRICS, ArmReport, Figure, Pair, Power, Recommended, Report

TOLD = re.compile(r"never (?:pays|costs)|\d|not measured", re.IGNORECASE)
FLOATS = st.floats(-2, 2) | st.sampled_from([0.0, 0.5, 1.0, float("nan"), float("inf")])
METRIC = st.sampled_from([*METRICS, "unheard-of"])
ARM = st.sampled_from([*FOUR, *FOUR, *DIAGNOSTICS, "tuned#2"])
FIGURE = st.builds(Figure, FLOATS, FLOATS, FLOATS, st.integers(-1, 500), st.integers(0, 50))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
RATE = JSON | st.fixed_dictionaries(
    {"value": st.floats(0, 1), "low": st.floats(0, 1), "high": st.floats(0, 1), "n": st.integers(0, 20)}
)
FRESH = st.fixed_dictionaries(
    {},
    optional={
        "arms": JSON
        | st.dictionaries(
            ARM,
            JSON
            | st.fixed_dictionaries(
                {}, optional={"new_value_rate": RATE, "stale_value_rate": RATE, "seconds": JSON, "never": JSON}
            ),
            max_size=3,
        ),
        "edits": JSON | st.lists(st.fixed_dictionaries({"id": JSON | st.just("e"), "trained": JSON}), max_size=3),
        "answers": JSON
        | st.lists(st.fixed_dictionaries({"edit": JSON | st.just("e"), "arm": JSON | ARM, "knew": JSON}), max_size=3),
    },
)
COST = st.fixed_dictionaries(
    {},
    optional={
        "use": JSON | st.fixed_dictionaries({"updates_month": JSON, "questions_month": JSON}),
        "currency": JSON,
        "arms": JSON | st.dictionaries(ARM, JSON, max_size=2),
        "pairs": JSON
        | st.lists(
            st.fixed_dictionaries(
                {
                    "arm": st.just("tuned"),
                    "against": st.just("rag"),
                    "verdict": JSON | st.sampled_from(["always", "from", "until", "never", "unknown"]),
                    "questions": JSON | st.integers(0, 10_000),
                    "reason": JSON,
                }
            ),
            max_size=2,
        ),
    },
)
PROBES = st.dictionaries(
    st.sampled_from(["general", "refusal", "context_use"]),
    JSON
    | st.fixed_dictionaries(
        {
            "before": FLOATS,
            "after": FLOATS,
            "n": st.integers(0, 200),
            "verdict": st.sampled_from(["regression", "maybe", "kept"]),
        },
        optional={"low": FLOATS, "high": FLOATS, "kind": st.sampled_from(["share", "perplexity"])},
    ),
    max_size=2,
)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "freshness": JSON | FRESH,
        "cost": JSON | COST,
        "forgetting": JSON | st.dictionaries(st.sampled_from(["", "a@1"]), st.fixed_dictionaries({"probes": PROBES})),
        "curve": JSON
        | st.fixed_dictionaries(
            {
                "sentence": JSON | st.just("About 40 are enough."),
                "verdict": st.sampled_from(["enough", "rising", "unknown"]),
                "plateau": JSON | st.integers(1, 5000),
                "points": JSON | st.lists(st.fixed_dictionaries({"n": JSON | st.integers(1, 5000)}), max_size=2),
            }
        ),
        "latency": JSON | st.fixed_dictionaries({"arms": JSON | st.dictionaries(ARM, JSON, max_size=2)}),
        "style": JSON | st.fixed_dictionaries({"auc": FLOATS}),
        "tuning": JSON | st.fixed_dictionaries({"rag": JSON}),
    },
)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Reports whose every part may be missing, odd or absurd."""
    names = draw(st.lists(ARM, max_size=5, unique=True))
    arms = tuple(
        ArmReport(
            name,
            name,
            "four" if name in FOUR else "diagnostic",
            draw(st.sampled_from(["", "smollm2-135m", "llama-3b"])),
            draw(st.sampled_from(["", "a@1"])),
            draw(st.integers(0, 200)),
            0,
            draw(st.dictionaries(METRIC, FIGURE, max_size=6)),
            {},
            draw(
                st.dictionaries(st.sampled_from(["retrieved-right", "missed-wrong"]), st.integers(-1, 50), max_size=2)
            ),
            draw(
                st.dictionaries(
                    st.sampled_from(["total", "retrieve"]), st.fixed_dictionaries({"p50": FLOATS}), max_size=2
                )
            ),
            {},
            0.0,
            cost=draw(
                st.dictionaries(st.sampled_from(["one_time", "thousand_questions", "acceptable_answer"]), FLOATS)
            ),
        )
        for name in names
    )
    pairs = draw(
        st.lists(
            st.builds(
                Pair, ARM, ARM, METRIC, st.integers(0, 300), FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, st.just(0),
                st.just(0),
                st.sampled_from(["a", "b", "no difference"]), st.integers(0, 900), st.just(""),
            ),
            max_size=6,
        )
    )  # fmt: skip
    power = draw(st.lists(st.builds(Power, st.integers(0, 300), FLOATS, FLOATS), max_size=2))
    return Report(
        "x", "", "", "", draw(METRIC), draw(FLOATS), arms, tuple(pairs), tuple(power), {},
        draw(st.dictionaries(st.sampled_from(["recall@5", "mrr@10"]), FIGURE, max_size=2)), draw(SECTIONS),
        draw(st.dictionaries(ARM, st.text(max_size=4), max_size=2)), (), None, (), {},
    )  # fmt: skip


ANSWERS = st.fixed_dictionaries(
    {}, optional={q.key: st.sampled_from(q.choices) if q.choices else st.integers(0, 10**6).map(str) for q in QUESTIONS}
)
PACE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PACE
@given(reports(), ANSWERS)
def test_any_report_gives_one_recommendation_whose_steps_say_what_they_rest_on(
    report: Report, answers: dict[str, str]
) -> None:
    advice = advise(report, answers=answers)
    assert advice.recommend in get_args(Recommended)
    assert not advice.prior
    assert advice.would_change
    assert [step for step in advice.steps if not TOLD.search(step.evidence)] == []
    assert "nan" not in f"{advice.sentence} {advice.steps}"


@PACE
@given(reports())
def test_any_report_gives_a_verdict_and_the_same_claims(report: Report) -> None:
    assert verdict(report).endswith(".")
    found = claims(report)
    assert len(found) == 26
    assert all(claim.evidence.endswith(".") for claim in found)
    assert [c for c in found if c.verdict != "not measured" and not re.search(r"\d", c.evidence)] == []
    assert not [c for c in found if "nan" in c.evidence]


@given(ANSWERS)
def test_any_answers_give_a_prior_that_says_so(answers: dict[str, str]) -> None:
    advice = prior(answers)
    assert advice.prior
    assert advice.recommend in ("prompt only", "RAG", "fine-tune", "both")
    assert "not a measurement" in advice.sentence
    assert len(advice.steps) == 8
    assert all(TOLD.search(step.evidence) for step in advice.steps)
