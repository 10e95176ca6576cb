"""Quality has not broken: small subsets of the bench, on real models."""

from collections.abc import Iterator

import pytest

from bench import handbook_cases, quality_handbook, quality_retrieval, xquad
from bench.quality_workspaces import GoldSpans, handbook_workspace, xquad_workspace
from openbook import Workspace

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def handbook() -> Iterator[Workspace]:
    with handbook_workspace() as workspace:
        yield workspace


def test_forty_xquad_questions_find_their_paragraph_among_the_first_five() -> None:
    questions = xquad.questions()[::16]
    assert len(questions) == 40
    with xquad_workspace() as workspace:
        ranks = quality_retrieval.shipped_xquad(workspace, questions, k=5)
    assert sum(rank <= 5 for rank in ranks) / len(ranks) >= 0.95


def test_the_handbook_is_read_so_that_every_gold_quote_is_found_again(handbook: Workspace) -> None:
    spans = GoldSpans(handbook)
    for case in (*handbook_cases.cases(), *handbook_cases.conversations()):
        assert len(spans.of(case)) == len(case.spans)


def test_extracted_answers_about_the_handbook_stay_as_good_as_they_were(handbook: Workspace) -> None:
    dev = [case for case in handbook_cases.cases() if case.split == "dev"]
    rows = quality_handbook.measure(handbook, ["extractive"], dev)
    answerable = [row for row in rows if row.kind == "answerable"]
    unanswerable = [row for row in rows if row.kind == "unanswerable"]
    assert sum(row.retrieved for row in answerable) >= 24
    assert sum(row.right for row in answerable) >= 17
    assert sum(row.abstained for row in answerable) <= 5
    assert sum(row.abstained for row in unanswerable) >= 11
