"""Cases frozen on disk, and what they share with training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from openbook import questions
from openbook.compare.cases import CASES, SEAL, Leak, freeze, identity, leaks, read_frozen, split_leaked
from openbook.errors import CompareError
from openbook.prompt import messages
from openbook.records import Case, Chunk, Example, Hit, Message, Span

LEAVE = Case("How many vacation days do I get?", ("15 days",), (Span("leave.md", 4, 11),), id="a1")
MOON = Case("How far is the moon?", kind="unanswerable", why="off-corpus", id="u1")
REPLY = Case(
    "Could you tell me when the office opens?",
    ("Hello dear friend, it is so good to hear from you today. At nine. Warmly, Ann",),
    kind="behaviour",
    history=(Message("system", "You are Ann."),),
    id="b1",
)
HANDBOOK = Path(__file__).parents[2] / "bench/data/handbook"


def texts(name: str) -> str | None:
    return {"leave.md": "All 15 days are paid."}.get(name)


def example(question: str, reply: str, **more: str) -> Example:
    return Example((Message("user", question), Message("assistant", reply)), place="t.jsonl:1", **more)  # type: ignore[arg-type]


def how(found: list[Leak]) -> list[tuple[str, str]]:
    return [(leak.case, leak.how) for leak in found]


def test_what_was_frozen_is_read_back_with_its_hash_and_facts(tmp_path: Path) -> None:
    conflict = Case("Who?", ("Bo",), kind="conflict", stale=("Ann",), contexts=("Bo leads.",), same="w")
    frozen = freeze([LEAVE, MOON, REPLY, conflict], tmp_path, facts={"warnings": ["few"]}, texts=texts)
    assert read_frozen(tmp_path) == frozen
    assert frozen.cases[:3] == (LEAVE, MOON, REPLY)
    assert frozen.cases[3] == replace(conflict, id=identity(conflict))
    assert frozen.facts == {"warnings": ["few"]}


def test_the_same_cases_freeze_again_and_others_are_refused(tmp_path: Path) -> None:
    first = freeze([LEAVE], tmp_path, facts={})
    assert freeze([LEAVE], tmp_path, facts={"later": 1}) == first
    with pytest.raises(CompareError, match=r"holds 1 other cases .* compare in a new folder"):
        freeze([MOON], tmp_path, facts={})
    assert read_frozen(tmp_path) == first


def test_cases_without_their_seal_are_written_anew(tmp_path: Path) -> None:
    freeze([LEAVE], tmp_path, facts={})
    (tmp_path / SEAL).unlink()
    assert freeze([MOON], tmp_path, facts={}).cases == (MOON,)


def test_cases_that_were_changed_afterwards_are_refused(tmp_path: Path) -> None:
    freeze([LEAVE], tmp_path, facts={})
    file = tmp_path / CASES
    file.write_text(file.read_text().replace("15 days", "20 days"))
    with pytest.raises(CompareError, match="was changed after it was frozen"):
        read_frozen(tmp_path)


@pytest.mark.parametrize(
    "seal", ["", "[1]", json.dumps({"format": 9, "sha256": "x"}), json.dumps({"format": 1, "sha256": 5})]
)
def test_a_broken_seal_is_one_sentence(tmp_path: Path, seal: str) -> None:
    freeze([LEAVE], tmp_path, facts={})
    (tmp_path / SEAL).write_text(seal)
    with pytest.raises(CompareError, match=r"; (compare in|make them|put it back)"):
        read_frozen(tmp_path)
    with pytest.raises(CompareError, match="holds no frozen cases"):
        read_frozen(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ([], "there is no case"),
        ([LEAVE, replace(MOON, id="a1")], "the id 'a1' stands there 2 times"),
        ([replace(LEAVE, gold=())], "'a1' .* is answerable and has no gold answer"),
        ([replace(REPLY, gold=())], "is behaviour and has no gold answer"),
        ([replace(MOON, gold=("384,400 km",))], "is unanswerable and has the gold answer"),
        ([replace(LEAVE, spans=(Span("leave.md", 4, 99),))], "span 4-99 is outside the library: 'leave.md' has 21"),
        ([replace(LEAVE, spans=(Span("gone.md", 0, 1),))], "'gone.md' is not in the library"),
        ([replace(LEAVE, spans=(Span("leave.md", 5, 5),))], "is outside the library"),
    ],
)
def test_what_cannot_be_compared_on_is_one_sentence(tmp_path: Path, cases: list[Case], said: str) -> None:
    with pytest.raises(CompareError, match=said):
        freeze(cases, tmp_path, facts={}, texts=texts)
    assert not list(tmp_path.iterdir())


def test_a_case_leaks_by_document_by_words_and_by_question() -> None:
    long = Case("Who may take part in the yearly company hike over the northern hills?", ("all",), id="h")
    training = [
        example("Anything else?", "Yes.", document="leave.md"),
        example("Tell me.", "You may take part in the yearly company hike over hills."),
        example("How far is the Moon", "No idea."),
    ]
    found = leaks([LEAVE, MOON, long], training)
    assert how(found) == [("a1", "document"), ("h", "reply"), ("u1", "question")]
    assert found[1].text == "may take part in the yearly company hike"
    assert split_leaked([LEAVE, MOON, REPLY], found) == ([REPLY], [LEAVE, MOON])


def test_questions_that_differ_in_one_word_that_matters_do_not_leak() -> None:
    assert leaks([LEAVE], [example("How many sick days do I get?", "5.")]) == []
    assert leaks([LEAVE], [example("How many vacation days do we get?", "5.")]) != []


def test_a_passage_that_was_only_shown_is_told_but_no_grave_leak() -> None:
    gold = "the lamp in the cellar is switched off by the last one to leave"
    case = Case("When is the lamp off?", (gold,), id="l")
    hit = Hit(Chunk("x.md", 0, len(gold), gold), score=1.0)
    lesson = Example((*messages("Who pays?", [hit]), Message("assistant", "Ann [1].")), place="l:1", last_only=True)
    found = leaks([case], [lesson])
    assert how(found) == [("l", "shown")]
    assert split_leaked([case], found) == ([case], [])


def test_a_teams_greeting_is_no_leak_and_a_reply_learned_is() -> None:
    greeting = "Hello dear friend, it is so good to hear from you today."
    others = [example(f"Question {at}?", f"{greeting} Answer {at}. Warmly, Ann") for at in range(9)]
    assert leaks([REPLY], others) == []
    assert how(leaks([REPLY], [*others, example(REPLY.question, "Soon.")])) == [("b1", "question")]


def test_the_handbooks_questions_keep_their_type_and_history() -> None:
    read = questions.read([HANDBOOK / "cases.jsonl"])
    assert read.problems == ()
    kinds = [(case.kind, case.why) for case in read]
    assert kinds.count(("answerable", "")) == 60
    assert [kinds.count(("unanswerable", why)) for why in ("near-miss", "off-corpus", "false-premise")] == [18, 8, 4]
    talks = questions.read([HANDBOOK / "conversations.jsonl"])
    assert talks.problems == ()
    assert len(talks) == 5
    assert all(case.history for case in talks)
