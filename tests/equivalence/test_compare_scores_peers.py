"""Scores of rows, voices and judges agree with ir-measures, rouge-score and scikit-learn."""

from __future__ import annotations

import random

import ir_measures
import pytest
from ir_measures import RR, R, Success
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import cohen_kappa_score, precision_score, roc_auc_score

from openbook.compare import judge, style
from openbook.compare.schema import Row
from openbook.compare.score import score
from openbook.errors import CompareError
from openbook.metrics import load, rank
from openbook.records import Case, Hit, Span
from tests.compare_answers import answer, cites, hit

CHANCE = random.Random(11)


def searches(n: int = 60) -> list[tuple[Case, list[Hit]]]:
    made = []
    for at in range(n):
        gold = CHANCE.randrange(14)
        hits = [hit("some text", f"d{number}") for number in CHANCE.sample(range(14), 10)]
        made.append((Case("?", gold=("text",), spans=(Span(f"d{gold}", 0, 4),), id=str(at)), hits))
    return made


def test_ranks_and_passages_shown_are_those_of_ir_measures() -> None:
    some = searches()
    judged = [ir_measures.Qrel(case.id, case.spans[0].document, 1) for case, _ in some]
    run = [
        ir_measures.ScoredDoc(case.id, one.chunk.document, -at) for case, hits in some for at, one in enumerate(hits)
    ]
    peer = {
        (one.query_id, str(one.measure)): one.value
        for one in ir_measures.iter_calc([RR @ 10, R @ 5, Success @ 5], judged, run)
    }
    for case, hits in some:
        at = rank(hits, case)
        assert peer.get((case.id, "RR@10"), 0) == pytest.approx(1 / at if at else 0.0)
        shown = score(case, Row(case.id, "rag", answer("text", hits=hits[:5])))["retrieved"]
        assert shown == peer.get((case.id, "R@5"), 0.0) == peer.get((case.id, "Success@5"), 0.0)


def test_citation_precision_is_that_of_scikit_learn() -> None:
    for case, hits in searches():
        cited = [one for one in hits if CHANCE.random() < 0.3]
        said = answer("text", hits=hits, citations=[cites(one, "some") for one in cited])
        found = score(case, Row(case.id, "rag", said))["citation_precision"]
        right = [one.chunk.document == case.spans[0].document for one in hits]
        assert found == pytest.approx(precision_score(right, [one in cited for one in hits], zero_division=0.0))


def test_a_task_scored_by_rouge_l_is_that_of_rouge_score(tmp_path: object) -> None:
    scorer, task = RougeScorer(["rougeL"]), load("rouge_l", None)  # type: ignore[arg-type]
    words = "the cat sat on a mat 15 days Hello, dear colleague. it's".split()
    for at in range(40):
        one, other = (" ".join(CHANCE.choices(words, k=CHANCE.randint(1, 12))) for _ in range(2))
        case = Case("?", gold=(other,), kind="behaviour", id=str(at))
        found = score(case, Row(case.id, "base", answer(one, arm="base")), task=task)["behaviour"]
        assert found == pytest.approx(scorer.score(other, one)["rougeL"].fmeasure)


def replies(n: int, greeting: str) -> list[str]:
    things = "desk plant note meeting plan letter list idea lunch train".split()
    return [f"{greeting} Put the {CHANCE.choice(things)} {at} beside the {CHANCE.choice(things)}." for at in range(n)]


def test_a_voice_is_told_by_held_out_replies_and_no_voice_is_not() -> None:
    team, base = replies(40, "Hello, friend!\n\nGladly."), replies(40, "Sure.")
    found = style.fit(team, base, 0)
    assert found.auc > 0.99
    assert found.openings == {"hello friend"}
    assert found.probability(team[0]) > 0.8 > 0.2 > found.probability(base[0])
    held = [found.probability(text) for text in [*replies(20, "Hello, friend!\n\nGladly."), *replies(20, "Sure.")]]
    assert roc_auc_score([1] * 20 + [0] * 20, held) > 0.99
    same = style.fit(replies(40, "Sure."), replies(40, "Sure."), 0)
    assert same.low < 0.5 < same.high
    assert all(0 <= found.probability(text) <= 1 for text in ("", "\ud800", "x" * 10_000))


def test_the_interval_of_an_auc_holds_scikit_learns_auc() -> None:
    labels = [CHANCE.randint(0, 1) for _ in range(80)]
    held = [label * 0.3 + CHANCE.random() for label in labels]
    low, high = style._interval(labels, held, [str(at) for at in range(80)], 0)
    assert low < roc_auc_score(labels, held) < high


@pytest.mark.parametrize(("team", "base"), [([], []), (["a"] * 50, replies(50, "x")), (replies(20, "x")[:9],) * 2])
def test_too_few_different_replies_teach_no_voice(team: list[str], base: list[str]) -> None:
    with pytest.raises(CompareError, match="too few"):
        style.fit(team, base, 0)


def test_kappa_is_scikit_learns_and_none_where_it_means_nothing() -> None:
    both = [(CHANCE.random() < 0.5, CHANCE.random() < 0.7) for _ in range(50)]
    assert judge._kappa(both) == pytest.approx(cohen_kappa_score(*zip(*both, strict=True)))
    assert judge._kappa([(True, True)] * 5) is None
