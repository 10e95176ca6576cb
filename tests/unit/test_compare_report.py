"""Rows in, a report's numbers out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from openbook.compare.report import CLEAN, build
from openbook.compare.schema import Report, Row
from openbook.errors import CompareError
from openbook.records import Case, Span
from tests.compare_answers import answer, row

CASES = [
    Case(f"Question {number}?", ("15",), (Span(f"d{number}.md", 0, 2),), id=f"c{number}") for number in range(8)
] + [Case("What about Mars?", kind="unanswerable", why="off-corpus", id="u0")]
TOLD = {"label": "RAG", "role": "four", "model": "m", "adapter": "", "identity": "i"}


def scored(case: str, arm: str, *, right: bool, retrieved: bool | None = None) -> Row:
    scores = {"answer_correct": float(right), "acceptable": float(right)}
    if retrieved is not None:
        scores["retrieved"] = float(retrieved)
    return replace(row(case, answer("15"), arm), scores=scores, cpu_seconds=0.5, memory_mb=100.0)


def report(rows: list[Row], **facts: Any) -> Report:
    manifest = {"id": "r", "created": "now", "title": "t", "cases": "hash", "arms": {one.arm: TOLD for one in rows}}
    return build(
        CASES,
        rows,
        manifest=manifest,
        facts={"leaks": [], **facts},
        sections={"retrieval": {"c0": 1, "c1": 4, "c2": None}, "forgetting": {"a@1": {}}},
        missing={"tuned": "no adapter"},
        primary="answer_correct",
        bar=0.7,
    )


def test_figures_pairs_and_failures_are_those_of_the_rows() -> None:
    rows = [scored(f"c{n}", "base", right=False) for n in range(8)]
    rows += [scored(f"c{n}", "rag", right=n < 6, retrieved=n < 7) for n in range(8)]
    made = report(rows)
    base, rag = made.arms
    assert (base.name, rag.name) == ("base", "rag")
    assert rag.metrics["answer_correct"].value == 6 / 8
    assert rag.metrics["answer_correct"].n == 8
    assert rag.failures == {"retrieved-right": 6, "retrieved-wrong": 1, "missed-right": 0, "missed-wrong": 1}
    assert rag.seconds["cpu"]["p50"] == 0.5
    (pair,) = [one for one in made.pairs if one.metric == "answer_correct"]
    assert (pair.a, pair.b, pair.difference, pair.a_only, pair.b_only) == ("base", "rag", 0.75, 0, 6)
    assert made.cases["hash"] == "hash"
    assert made.cases["kinds"] == {"answerable": 8, "unanswerable: off-corpus": 1}


def test_retrieval_is_counted_by_depth_and_is_no_section() -> None:
    made = report([scored("c0", "rag", right=True)])
    assert made.retrieval["recall@1"].value == pytest.approx(1 / 3)
    assert made.retrieval["recall@5"].value == pytest.approx(2 / 3)
    assert made.retrieval["mrr@10"].value == pytest.approx((1 + 1 / 4) / 3)
    assert set(made.sections) == {"forgetting"}


def test_cases_that_training_saw_are_left_out_under_a_heading_of_their_own() -> None:
    leaks = [
        {"case": "c0", "how": "document", "example": "x:1", "text": "d0.md"},
        {"case": "c1", "how": "shown", "example": "x:2", "text": "15"},
    ]
    made = report([scored(f"c{n}", "rag", right=n == 0) for n in range(3)], leaks=leaks)
    (rag,) = made.arms
    assert rag.metrics["answer_correct"].value == pytest.approx(1 / 3)
    assert rag.by_kind[CLEAN]["answer_correct"].n == 2
    assert rag.by_kind[CLEAN]["answer_correct"].value == 0.0


def test_further_seeds_are_the_arms_spread() -> None:
    rows = [
        scored("c0", "tuned", right=True),
        scored("c0", "tuned#2", right=False),
        scored("c0", "tuned#3", right=True),
    ]
    made = report(rows)
    tuned = next(arm for arm in made.arms if arm.name == "tuned")
    assert tuned.spread["answer_correct"] == (1.0, 0.0, 1.0)
    assert [arm.role for arm in made.arms] == ["four", "seed", "seed"]
    assert not made.pairs


def test_a_failed_answer_is_counted_as_such_and_the_last_row_of_a_case_counts() -> None:
    rows = [Row("c0", "rag", None, error="gone"), Row("c1", "rag", None, error="gone"), scored("c1", "rag", right=True)]
    (rag,) = report(rows).arms
    assert (rag.answered, rag.failed) == (1, 1)


def test_rows_of_other_cases_are_nothing() -> None:
    with pytest.raises(CompareError, match="no rows"):
        report([scored("unknown", "rag", right=True)])
