"""The cases of a comparison: given, held out, made; from documents that were not trained on."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from openbook import casebook
from openbook.assemble import House
from openbook.casebook import prepare
from openbook.compare.cases import freeze
from openbook.errors import UsageError
from openbook.questions.review import Key, text_of
from openbook.records import Case, Change, Example, Message
from openbook.seams import Library
from openbook.settings import Settings
from tests.questions_library import MemoryLibrary, entry, real_library

TEXTS = {
    "leave.md": "# Leave\n\nClef offers 12 weeks of paid leave to all new parents.\n\nThe ill call a manager.\n",
    "travel.md": "# Travel\n\nClef pays $75 for every night in a hotel.\n\nThe travel policy was adopted in 2014.\n",
    "office.md": "# Office\n\nEvery visitor must sign the red book within 4 days.\n\nThe office was opened in 2009.\n",
    "bonus.md": "# Bonus\n\nClef pays $5,000 to employees who find a new engineer.\n\nThe bonus was founded in 2017.\n",
    "shares.md": "# Shares\n\nYour stock options expire 10 years after the grant.\n\nThe plan was founded in 2011.\n",
}
LATER = "# Garden\n\nThe roof garden of Clef was opened in 2021.\n\nStaff may use the roof garden for 3 hours.\n"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house over a library in memory: nothing is searched here."""
    library = MemoryLibrary(TEXTS)
    library.put("garden.md", LATER)
    return over(library, tmp_path)


def over(library: Library, root: Path) -> House:
    found = House(root, Settings())
    found.__dict__["library"] = library
    return found


def prepared(house: House, **asked: Any) -> tuple[list[Case], dict[str, Any]]:
    plain: dict[str, Any] = {
        "files": [], "training": [], "trained_documents": (), "trained_version": None, "seed": 0, "review": None,
        "progress": None,
    }  # fmt: skip
    return prepare(house, **{**plain, **asked})


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def talk(question: str, reply: str) -> dict[str, Any]:
    turns = [("system", "You are kind."), ("user", question), ("assistant", reply)]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def about(cases: list[Case]) -> set[str]:
    return {span.document for case in cases for span in case.spans}


def test_made_cases_are_of_every_kind_and_can_be_frozen(house: House, tmp_path: Path) -> None:
    cases, facts = prepared(house, made=24, trained_version=1)
    kinds = Counter(case.kind for case in cases)
    assert set(kinds) == {"answerable", "unanswerable", "conflict", "late"}
    assert facts["kinds"] == kinds
    assert facts["made"] == len(cases) <= 24
    assert {"near-miss", "false-premise", "superseded", "off-corpus"} == {case.why for case in cases} - {""}
    assert about([case for case in cases if case.kind == "late"]) == {"garden.md"}
    assert "garden.md" not in about([case for case in cases if case.kind == "answerable"])
    texts = {**TEXTS, "garden.md": LATER}
    frozen = freeze(cases, tmp_path / "run", facts=facts, texts=texts.get)
    assert len(frozen.cases) == len(cases)
    again, _ = prepared(house, made=24, trained_version=1)
    assert again == cases


def test_nothing_is_made_from_documents_that_were_trained_on(house: House) -> None:
    learned = Example((Message("user", "Hi"), Message("assistant", "Hello")), document="travel.md", place="t:1")
    cases, facts = prepared(house, made=24, training=[learned], trained_documents={"leave.md"})
    assert cases
    touched = {"leave.md", "travel.md"}
    assert not touched & (about(cases) | {name for case in cases for name in case.without})
    assert facts["leaks"] == []


def test_a_library_that_was_trained_on_wholly_gives_none_and_says_so(house: House) -> None:
    cases, facts = prepared(house, made=10, trained_documents={*TEXTS, "garden.md"})
    assert cases == []
    assert "every document was trained on" in facts["warnings"][0]


def test_given_cases_are_located_kept_and_their_leaks_told(house: House, tmp_path: Path) -> None:
    file = lines(
        tmp_path / "own.jsonl",
        {"id": "a", "question": "What does a hotel night cost at most?", "answer": "$75"},
        {"id": "b", "question": "Is there a pool?", "kind": "unanswerable", "type": "near-miss"},
        {"id": "c", "question": "Broken?"},
    )
    learned = Example((Message("user", "Hotel?"), Message("assistant", "$75")), document="travel.md", place="t:1")
    cases, facts = prepared(house, files=[file], training=[learned])
    assert [(case.id, case.why) for case in cases] == [("a", ""), ("b", "near-miss")]
    assert about(cases) == {"travel.md"}
    assert facts["leaks"] == [{"case": "a", "how": "document", "example": "t:1", "text": "travel.md"}]
    warned = " ".join(facts["warnings"])
    assert "own.jsonl:3" in warned
    assert "1 of 2 given cases share a document or words with the training" in warned
    assert facts["given"] == 2


def test_a_document_out_of_sight_is_found_by_its_name_and_missed_aloud(tmp_path: Path) -> None:
    library = MemoryLibrary({"hr/leave.md": TEXTS["leave.md"], "hr/office.md": TEXTS["office.md"]})
    row = {"question": "How many weeks?", "kind": "unanswerable", "why": "superseded", "without": ["leave.md", "x.md"]}
    cases, facts = prepared(over(library, tmp_path), files=[lines(tmp_path / "own.jsonl", row)])
    assert cases[0].without == ("hr/leave.md",)
    assert any("'x.md' names no document to take out of sight" in one for one in facts["warnings"])


def test_held_out_conversations_become_behaviour_cases_and_trained_ones_are_left_out(
    house: House, tmp_path: Path
) -> None:
    file = lines(tmp_path / "talks.jsonl", talk("Can you help me?", "Gladly! Ann"), talk("Who are you?", "Ann! Yours"))
    learned = Example((Message("user", "Who are you?"), Message("assistant", "Ann! Yours")), place="t:1")
    cases, facts = prepared(house, files=[], conversations=[file], training=[learned])
    assert [(case.kind, case.question, case.gold) for case in cases] == [
        ("behaviour", "Can you help me?", ("Gladly! Ann",))
    ]
    assert cases[0].history == (Message("system", "You are kind."),)
    assert "1 conversations were trained on and are left out" in facts["warnings"][0]


def test_what_a_person_rejects_is_left_out_with_its_rewording(house: House, tmp_path: Path) -> None:
    every, _ = prepared(house, made=16)
    asked = next(case for case in every if case.same == case.id)

    def ask(case: Case, number: int, of: int) -> Key:
        return "reject" if case.id == asked.id else "accept"

    cases, facts = prepared(house, made=16, review=ask, pages=tmp_path / "review")
    assert not {asked.id, f"{asked.id}-again"} & {case.id for case in cases}
    assert facts["accepted"]["rejected"] == [asked.id]
    assert (tmp_path / "review" / "review.html").is_file()


def test_a_reviewer_sees_why_a_question_has_no_answer_and_what_a_passage_says_instead() -> None:
    gone = Case("Who pays?", kind="unanswerable", why="superseded", stale=("Ann",), without=("a.md",))
    assert text_of(gone).split("\n    ") == [
        "Who pays?", "answer: none", "unanswerable, superseded", "not: Ann", "out of sight: a.md"
    ]  # fmt: skip
    other = Case("Who pays?", ("Bo",), kind="conflict", stale=("Ann",), contexts=("Bo\npays.",))
    assert text_of(other).split("\n    ") == ["Who pays?", "answer: Bo", "conflict", "not: Ann", "shown: Bo pays."]


def test_only_the_kinds_asked_for_are_there(house: House, tmp_path: Path) -> None:
    file = lines(tmp_path / "own.jsonl", {"question": "What does a hotel night cost?", "answer": "$75"})
    cases, _ = prepared(house, files=[file], made=8, kinds={"conflict"})
    assert {case.kind for case in cases} == {"conflict"}
    with pytest.raises(UsageError, match="kind 'odd' does not exist"):
        prepared(house, kinds={"odd"})


def test_a_question_asked_twice_is_left_out_once(house: House, tmp_path: Path) -> None:
    row = {"question": "What does a hotel night cost?", "answer": "$75"}
    cases, facts = prepared(house, files=[lines(tmp_path / "own.jsonl", {**row, "id": "1"}, {**row, "id": "2"})])
    assert len(cases) == 1
    assert any("is asked twice" in one for one in facts["warnings"])


def test_too_few_cases_are_told_with_the_number_that_would_do(house: House, tmp_path: Path) -> None:
    row = {"question": "What does a hotel night cost?", "answer": "$75"}
    _, facts = prepared(house, files=[lines(tmp_path / "own.jsonl", row)])
    assert any("234 would show 10%" in one for one in facts["warnings"])
    assert any("below 6 no difference can be shown" in one for one in facts["warnings"])


def test_a_version_that_was_swept_gives_no_late_cases_and_a_warning(tmp_path: Path) -> None:
    library = real_library(tmp_path / "library", TEXTS)
    library.commit(Change(put=[entry("garden.md", LATER)]))
    library.sweep(keep=1)
    cases, facts = prepared(over(library, tmp_path), made=16, trained_version=1)
    library.close()
    assert "late" not in {case.kind for case in cases}
    assert any("there are no late cases" in one for one in facts["warnings"])


def test_kinds_share_the_room_and_nothing_outweighs_the_answerable() -> None:
    sizes = casebook._sizes(80, {"answerable": 10, "unanswerable": 100, "conflict": 100, "late": 0})
    assert sizes == {"answerable": 10, "unanswerable": 30, "conflict": 15, "late": 0}
    assert casebook._sizes(40, {"unanswerable": 100}) == {"unanswerable": 40}
