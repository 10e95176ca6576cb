"""Exact match and F1 of a row are those of transformers' squad_metrics, which compare_squad.json keeps.

transformers 5 has no such module any more; the file was made with the version it names, over texts of our own.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openbook.compare.score import score
from openbook.records import Case
from tests.compare_answers import row

PAIRS = json.loads(Path(__file__).with_name("compare_squad.json").read_text(encoding="utf-8"))["rows"]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair['gold'][:15]!r}-{pair['reply'][:15]!r}")
def test_exact_match_and_f1_of_a_row_are_squads(pair: dict[str, object]) -> None:
    case = Case("?", gold=(str(pair["gold"]),), id="q")
    found = score(case, row("q", str(pair["reply"])))
    assert found["exact_match"] == pair["exact"]
    assert found["token_f1"] == pytest.approx(pair["f1"])


def test_of_several_gold_answers_the_closest_counts() -> None:
    found = score(Case("?", gold=("never", "15 days", "fifteen"), id="q"), row("q", "The 15 days."))
    assert (found["exact_match"], found["token_f1"]) == (1.0, 1.0)
