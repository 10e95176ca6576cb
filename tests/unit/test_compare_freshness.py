"""Answers after an edit: the new value, the old one, why not; and the section of a report made of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from openbook.compare.edits import Edit, EditKind, Fact
from openbook.compare.freshness import ArmFacts, Outcome, Try, knew, said, section, told, why_not
from openbook.prompt import ABSTENTION
from openbook.records import Answer, Chunk, Hit
from tests.compare_answers import answer as made

FACT = Fact(
    "How many days?",
    "a.md",
    "You get 15 days.",
    "15 days",
    "19 days",
    "You get 19 days.",
    ("15 days",),
    ("19 days",),
    True,
)


def edit(kind: EditKind = "change", name: str = "fresh-1") -> Edit:
    return Edit(name, kind, FACT)


def answer(text: str, *shown: str, abstained: bool = False) -> Answer:
    hits = tuple(Hit(Chunk("a.md", 0, len(one), one), score=1.0) for one in shown)
    return replace(made(text, hits=hits), abstained=abstained)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("change", "You get nineteen days [1].", (True, False)),
        ("change", "You get 15 days [1].", (False, True)),
        ("change", "It was 15 days and is 19 days.", (False, True)),
        ("change", "You get 20 days.", (False, False)),
        ("change", f"{ABSTENTION} Maybe 19 days.", (False, False)),
        ("supersede", "19 days", (True, False)),
        ("add", "119 days", (False, False)),
        ("delete", ABSTENTION, (True, False)),
        ("delete", "You get 15 days.", (False, True)),
        ("delete", "Ask your manager.", (False, False)),
    ],
)
def test_an_answer_is_right_with_the_new_value_and_without_the_old(
    kind: EditKind, text: str, expected: tuple[bool, bool]
) -> None:
    assert said(edit(kind), text, abstained=False) == expected


def test_a_citation_mark_is_no_value() -> None:
    three = Fact("How many?", "a.md", "3 doors.", "3", "4", "4 doors.", ("3",), ("4",), False)
    assert said(Edit("e", "change", three), "There are 4 doors [3].", abstained=False) == (True, False)
    assert not knew(Edit("e", "change", three), "Nobody knows [3].")


def test_whoever_abstains_has_not_answered() -> None:
    assert said(edit(), "19 days", abstained=True) == (False, False)
    assert said(edit("delete"), "", abstained=True) == (True, False)


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        ("change", answer("19 days [1].", "You get 19 days."), ""),
        ("change", answer("Ask [1].", "Something else."), "not among those shown"),
        ("change", answer("15 days [1].", "You get 19 days."), "old value by itself"),
        ("supersede", answer("15 days [1].", "You get 15 days.", "You get 19 days."), "both versions were shown"),
        ("change", answer(ABSTENTION, "You get 19 days.", abstained=True), "declined"),
        ("change", answer("Ask [1].", "You get 19 days."), "says something else"),
        ("delete", answer("15 days."), "deleted value"),
        ("delete", answer("Ask.", "Ask."), "instead of declining"),
    ],
)
def test_it_is_told_where_a_reading_arm_failed(kind: EditKind, given: Answer, reason: str) -> None:
    found = why_not(edit(kind), given)
    assert reason in found
    assert bool(reason) == bool(found)


def measured() -> Outcome:
    edits = [edit("change", "fresh-1"), edit("delete", "fresh-2")]
    tries = [
        Try("fresh-1", "rag", "15 days", "19 days", True, True, False, 2.0, 1.5),
        Try("fresh-2", "rag", "15 days", ABSTENTION, True, True, False, 4.0, 3.0),
        Try("fresh-1", "tuned", "15 days", "15 days", True, False, True, never="weights"),
        Try("fresh-2", "tuned", "15 days", "15 days", True, False, True, never="weights"),
    ]
    arms = {
        "rag": ArmFacts("RAG", True, ("save the file", "openbook sync FOLDER")),
        "tuned": ArmFacts("tuned", False, ("openbook finetune",), "its weights hold it", 600.0),
    }
    return Outcome(edits, tries, arms, {"fresh-1": (0.5, 0.4), "fresh-2": (0.6, 0.5)}, None, ["a note"], 9.0)


def test_the_section_counts_rates_with_intervals_and_the_time_to_the_right_answer() -> None:
    found = section(measured())
    rag, tuned = found["arms"]["rag"], found["arms"]["tuned"]
    assert rag["new_value_rate"]["value"] == 1.0
    assert rag["new_value_rate"]["n"] == 2
    assert 0.2 < rag["new_value_rate"]["low"] < 1.0
    assert rag["seconds"] == {"median": 3.0, "max": 4.0, "n": 2}
    assert rag["cpu_seconds"]["max"] == 3.0
    assert tuned["stale_value_rate"]["value"] == 1.0
    assert tuned["seconds"] is None
    assert tuned["price_seconds"] == 600.0
    assert set(tuned["by_kind"]) == {"change", "delete"}
    assert tuned["trained"]["stale_value_rate"]["n"] == 2
    assert tuned["untrained"] is None


def test_the_section_is_plain_data() -> None:
    found = section(measured())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [one["new"] for one in found["edits"]] == ["19 days", ""]
    assert found["edits"][0]["sync_seconds"] == 0.5
    assert len(found["answers"]) == 4


def test_each_arm_is_told_in_one_sentence() -> None:
    rag, tuned = told(section(measured())["arms"])
    assert rag == "rag: 2 of 2 edits answered right, 3.0 s after saving the file, 0 with the old value"
    assert tuned == "tuned: 0 of 2 edits answered right, 2 with the old value; its weights hold it"
