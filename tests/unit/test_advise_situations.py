"""Which recommendation follows from which measurements: a table of hand-made situations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from openbook.compare import weigh
from openbook.compare.advise import advise, verdict
from openbook.compare.schema import METRICS, ArmReport, Figure, Pair, Report
from openbook.errors import UsageError
from openbook.metrics import wilson
from tests import compare_reports

QWEN = "qwen2.5-7b-instruct"


@dataclass(frozen=True)
class Situation:
    """Shares by arm and metric; gaps are detectable where they are beyond 12 points."""

    name: str
    expected: str
    shares: Mapping[str, Mapping[str, float]]
    n: int = 100
    primary: str = "answer_correct"
    bar: float = 0.7
    cost: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    needed: int = 400
    says: str = ""


def correct(**arms: float) -> dict[str, dict[str, float]]:
    """Answers right, by arm; both stands for tuned+rag."""
    names = {"both": "tuned+rag", "both_oracle": "tuned+oracle", "endpoint": "endpoint"}
    return {names.get(name, name): {"answer_correct": share} for name, share in arms.items()}


def with_(shares: Mapping[str, Mapping[str, float]], metric: str, **arms: float) -> dict[str, dict[str, float]]:
    """The same with a further metric."""
    more = {{"both": "tuned+rag"}.get(name, name): share for name, share in arms.items()}
    return {
        name: {**shares.get(name, {}), **({metric: more[name]} if name in more else {})}
        for name in dict.fromkeys([*shares, *more])
    }


NEVER = {"pairs": [{"arm": "tuned", "against": "rag", "verdict": "never", "questions": None, "reason": "it is dear"}]}
FROM_5000 = {"pairs": [{"arm": "tuned", "against": "rag", "verdict": "from", "questions": 5000, "reason": ""}]}
ORACLE = correct(base=0.05, rag=0.45, oracle=0.85)

TABLE = (
    Situation("nothing was measured", "collect more cases", {}, says="0 cases"),
    Situation("twelve cases", "collect more cases", correct(base=0.1, rag=0.9), n=12, says="Collect 88 more"),
    Situation("the prompt reaches the bar", "prompt only", correct(base=0.85, rag=0.88), says="85 %"),
    Situation(
        "the prompt reaches the bar, but answers must cite",
        "RAG",
        correct(base=0.85, rag=0.88),
        answers={"citations": "yes"},
    ),
    Situation(
        "the prompt knows enough, and only training gives the voice",
        "fine-tune",
        with_(correct(base=0.85, rag=0.86, tuned=0.85), "format_valid", base=0.2, tuned=0.95),
        says="format kept",
    ),
    Situation(
        "search misses the passages",
        "fix search first",
        with_(ORACLE, "retrieved", rag=0.5),
        says="A right passage was shown for 50 %",
    ),
    Situation(
        "search finds half, but even the right passage does not help",
        "larger model",
        with_(correct(base=0.05, rag=0.3, oracle=0.31), "retrieved", rag=0.5),
        says="Even with the right passage",
    ),
    Situation("RAG is good enough", "RAG", correct(base=0.1, rag=0.82, oracle=0.9), says="72 points better than base"),
    Situation("RAG and tuned + RAG tie", "RAG", correct(base=0.1, rag=0.78, both=0.8), says="400 questions would"),
    Situation(
        "retrieval-aware training adds to RAG",
        "both",
        with_(correct(base=0.1, rag=0.6, both=0.85, oracle=0.75), "refusal", rag=0.8, both=0.8),
        says="25 points better than RAG",
    ),
    Situation(
        "it adds, but declines less often",
        "RAG",
        with_(correct(base=0.1, rag=0.7, both=0.9, oracle=0.75), "refusal", rag=0.8, both=0.5),
        says="falls from 80 %",
    ),
    Situation(
        "it adds, but cites less",
        "RAG",
        with_(correct(base=0.1, rag=0.7, both=0.9), "citation_recall", rag=0.8, both=0.6),
        says="citation recall falls",
    ),
    Situation(
        "training adds the voice to RAG without losing answers",
        "both",
        with_(correct(base=0.1, rag=0.8, both=0.8, tuned=0.1), "format_valid", base=0.2, rag=0.2, tuned=0.9, both=0.9),
        says="Format kept",
    ),
    Situation("the model cannot read", "larger model", correct(base=0.02, rag=0.2, oracle=0.3, both=0.22)),
    Situation("passages make it worse", "larger model", correct(base=0.4, rag=0.2), says="20 points worse than base"),
    Situation("an endpoint's model can", "larger model", correct(base=0.05, rag=0.4, endpoint=0.9), says="endpoint"),
    Situation("base and RAG cannot be told apart", "collect more cases", correct(base=0.5, rag=0.55), says="400"),
    Situation(
        "only behaviour was asked, and training closes it",
        "fine-tune",
        with_({}, "behaviour", base=0.3, rag=0.3, tuned=0.8),
        primary="behaviour",
    ),
    Situation(
        "only behaviour was asked, and a prompt does it",
        "prompt only",
        with_({}, "behaviour", base=0.8, tuned=0.82),
        primary="behaviour",
    ),
    Situation(
        "only behaviour was asked, and nothing closes it",
        "larger model",
        with_({}, "behaviour", base=0.3, tuned=0.32),
        primary="behaviour",
    ),
    Situation(
        "only behaviour was asked, and nothing was trained",
        "fine-tune",
        with_({}, "behaviour", base=0.3),
        primary="behaviour",
        says="Try fine-tuning",
    ),
    Situation("tuned alone wins and facts stay", "fine-tune", correct(base=0.1, rag=0.6, tuned=0.9, oracle=0.75)),
    Situation(
        "tuned alone wins, but facts change",
        "RAG",
        correct(base=0.1, rag=0.7, tuned=0.9, oracle=0.75),
        answers={"facts": "weekly"},
    ),
    Situation(
        "a tie, and the volume pays for training",
        "fine-tune",
        correct(base=0.1, rag=0.8, tuned=0.8),
        cost=FROM_5000,
        answers={"volume": "9000", "facts": "rarely"},
        says="9,000 questions a month",
    ),
    Situation(
        "a tie, and the volume is too low",
        "RAG",
        correct(base=0.1, rag=0.8, tuned=0.8),
        cost=FROM_5000,
        answers={"volume": "900", "facts": "rarely"},
    ),
    Situation("a tie, and training never pays", "RAG", correct(base=0.1, rag=0.8, tuned=0.8), cost=NEVER),
    Situation(
        "the costs are reckoned with weekly updates",
        "RAG",
        correct(base=0.1, rag=0.7, tuned=0.9, oracle=0.75),
        cost={**FROM_5000, "use": {"updates_month": 4, "questions_month": 90_000}},
    ),
    Situation(
        "RAG was not measured", "RAG", correct(base=0.1, tuned=0.2), says="Measure RAG next: it was not measured"
    ),
    Situation(
        "only behaviour was asked, of base, and no bar is about it",
        "prompt only",
        with_({}, "behaviour", base=0.3),
        says="a tuned arm was not measured",
    ),
    Situation("only the tuned model was asked", "RAG", correct(tuned=0.3), says="Measure RAG next"),
)


@pytest.mark.parametrize("situation", TABLE, ids=lambda one: one.name)
def test_a_situation_gives_its_recommendation(situation: Situation) -> None:
    advice = advise(report(situation), answers=situation.answers)
    assert advice.recommend == situation.expected
    assert situation.says in advice.sentence


@pytest.mark.parametrize("situation", TABLE, ids=lambda one: one.name)
def test_every_step_quotes_a_number_or_says_that_it_was_not_measured(situation: Situation) -> None:
    for step in advise(report(situation), answers=situation.answers).steps:
        assert re.search(r"\d|not measured|never (pays|costs)", step.evidence, re.IGNORECASE), step
        assert step.answer in ("yes", "no", "unknown")


@pytest.mark.parametrize("situation", TABLE, ids=lambda one: one.name)
def test_the_verdict_is_one_sentence_with_its_numbers(situation: Situation) -> None:
    told = verdict(report(situation))
    assert re.search(r"\d", told)
    assert told.endswith(".")
    assert "\n" not in told
    assert ". " not in told


def test_what_would_change_it_names_the_questions_that_would_settle_a_tie() -> None:
    tie = next(one for one in TABLE if one.name == "RAG and tuned + RAG tie")
    changes = " ".join(advise(report(tie)).would_change)
    assert "400 questions instead of 100" in changes
    assert "Tuned was not measured" in changes


def test_a_small_model_is_said_to_test_the_mechanics_only() -> None:
    made = compare_reports.full()[0]
    assert "135 million parameters" in advise(made).sentence
    assert "mechanics" in verdict(made)
    large = replace(made, arms=tuple(replace(arm, model=QWEN) for arm in made.arms))
    assert "mechanics" not in advise(large).sentence + verdict(large)


def test_facts_that_change_forbid_weights_alone_whatever_the_costs_assume() -> None:
    made = report(next(one for one in TABLE if one.name.startswith("the costs are reckoned")))
    assert advise(made).recommend == "RAG"
    assert advise(made, answers={"facts": "rarely"}).recommend == "fine-tune"


def test_an_arm_below_the_bar_is_not_to_be_shipped() -> None:
    made = report(Situation("", "", correct(base=0.1, rag=0.65, oracle=0.72)))
    told = "Go on with RAG, which is still below the bar of 70 %, not beyond chance: answer correct 65 %"
    assert advise(made).sentence.startswith(told)
    assert verdict(made).startswith(told)


@pytest.mark.parametrize(("seeds", "expected"), [((0.85, 0.8, 0.78), "both"), ((0.85, 0.8, 0.6), "RAG"), ((), "both")])
def test_each_seed_of_a_training_must_be_above_rag(seeds: tuple[float, ...], expected: str) -> None:
    made = report(Situation("", "", correct(base=0.1, rag=0.7, both=0.85)))
    arms = [replace(arm, spread={"answer_correct": seeds}) if arm.name == "tuned+rag" else arm for arm in made.arms]
    advice = advise(replace(made, arms=tuple(arms)))
    assert advice.recommend == expected
    if seeds:
        assert "3 trainings with different seeds reach" in next(
            s.evidence for s in advice.steps if "add to RAG" in s.question
        )
    else:
        assert any("1 of the 3 wanted" in change for change in advice.would_change)


def test_a_classifier_that_cannot_tell_the_voice_is_not_believed() -> None:
    shares = with_(correct(base=0.1, rag=0.8), "style", base=0.3, tuned=0.9)
    made = report(Situation("", "", shares))
    assert weigh.Found(made).voice.state == "closed"
    unsure = replace(made, sections={"style": {"auc": 0.55}})
    assert weigh.Found(unsure).voice.state == "unknown"


def test_a_metric_that_falls_is_better_is_read_the_right_way_round() -> None:
    shares = with_({}, "invents", base=0.6, rag=0.1)
    found = weigh.Found(report(Situation("", "", shares, primary="invents", bar=0.2)))
    gain = found.gain("rag", "base")
    assert found.meets(found.of("rag"))
    assert not found.meets(found.of("base"))
    assert gain is not None
    assert gain.better


def test_an_unknown_answer_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="facts is 'hourly' but must be one of"):
        advise(compare_reports.minimal()[0], answers={"facts": "hourly"})


def report(situation: Situation) -> Report:
    """A report of these shares."""
    metrics = {
        name: {m: _figure(share, situation.n) for m, share in of.items()} for name, of in situation.shares.items()
    }
    arms = tuple(
        ArmReport(
            name, name, "four" if name in ("base", "rag", "tuned", "tuned+rag") else "diagnostic", QWEN, "",
            situation.n, 0, found, {}, {}, {}, {}, 0.0,
        )
        for name, found in metrics.items()
    )  # fmt: skip
    four = [arm.name for arm in arms if arm.role == "four"]
    pairs = [
        _pair(a, b, metric, situation)
        for place, a in enumerate(four)
        for b in four[place + 1 :]
        for metric in situation.shares[a].keys() & situation.shares[b].keys()
    ]
    sections = {"cost": situation.cost} if situation.cost else {}
    return Report(
        "x",
        "",
        "",
        "",
        situation.primary,
        situation.bar,
        arms,
        tuple(pairs),
        (),
        {},
        {},
        sections,
        {},
        (),
        None,
        (),
        {},
    )


def _figure(share: float, n: int) -> Figure:
    value, low, high = wilson(round(share * n), n)
    return Figure(value, low, high, n, 20)


def _pair(a: str, b: str, metric: str, situation: Situation) -> Pair:
    gap = situation.shares[b][metric] - situation.shares[a][metric]
    settled = abs(gap) > 0.12
    up = (gap > 0) == (METRICS[metric].better == "higher")
    n, needed = situation.n, 0 if settled else situation.needed
    p = 0.001 if settled else 0.4
    winner = "no difference" if not settled else "b" if up else "a"
    return Pair(a, b, metric, n, gap, gap - 0.1, gap + 0.1, p, p, 0, 0, winner, needed, "")  # type: ignore[arg-type]
