"""The user's own questions: read from files, found in the library."""

import json
from pathlib import Path

import pytest

from openbook import questions
from openbook.errors import ExamplesError
from openbook.questions.locate import find
from openbook.records import Case, Message, Span
from tests.questions_library import MemoryLibrary

HR = "# Leave\n\nStaff get **15 days** of paid\nvacation a year.\n\nSick leave is 5 days a year for all staff.\n"
OFFER = "# Offer\n\nYour paid vacation is 15 days a year. Parking costs “nothing” here.\n"
LIBRARY = MemoryLibrary(
    {"hr/leave.md": HR, "hr/offer.md": OFFER, "board.md": "The secret bonus is 9000 euros."},
    acl={"board.md": ["board"]},
)


def write(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def spans(case: Case) -> list[tuple[str, str]]:
    found = []
    for span in case.spans:
        document = LIBRARY.document(span.document)
        assert document is not None
        found.append((span.document, document.text[span.start : span.end]))
    return found


def test_json_lines_become_cases(tmp_path: Path) -> None:
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    file = write(
        tmp_path / "q.jsonl",
        {"question": "How long?", "answer": ["15 days", "3 weeks"], "document": "leave.md", "id": 7},
        "",
        {"question": "And who?", "answer": 12, "history": history},
        {"question": "Moon?", "kind": "unanswerable"},
    )
    cases = questions.read([file])
    assert cases.problems == ()
    assert [(case.question, case.gold, case.kind, case.id) for case in cases] == [
        ("How long?", ("15 days", "3 weeks"), "answerable", "7"),
        ("And who?", ("12",), "answerable", ""),
        ("Moon?", (), "unanswerable", ""),
    ]
    assert cases[1].history == (Message("user", "Hi"), Message("assistant", "Hello!"))


def test_a_table_with_the_same_columns_gives_the_same(tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    file.write_text(
        '\ufeffQuestion;Answer;Document\n"How; long?";"[""15 days"", ""3 weeks""]";leave.md\nWho?;B;\n',
        encoding="utf-8",
    )
    cases = questions.read([file])
    assert cases.problems == ()
    assert [(case.question, case.gold) for case in cases] == [("How; long?", ("15 days", "3 weeks")), ("Who?", ("B",))]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"question": ', "is not valid JSON"),
        ([1], "is no object with a question and an answer"),
        ({"answer": "x"}, 'there is no "question"; add one'),
        ({"question": 5, "answer": "x"}, "question 5 is not text"),
        ({"question": "Why?"}, "has no \"answer\"; add one, or set kind to \"unanswerable\""),
        ({"question": "Why?", "answer": {"a": 1}}, "is neither text nor a list of texts"),
        ({"question": "Why?", "answer": "x", "kind": "hard"}, "kind 'hard' does not exist; use one of answerable"),
        ({"question": "Why?", "answer": "x", "kind": "unanswerable"}, "is unanswerable but has the answer 'x'"),
        ({"question": "Why?", "answer": "x", "history": ["hi"]}, "history turn 'hi' is not"),
        ({"question": "Why?", "answer": "x", "id": "one"}, "id 'one' stands already at q.jsonl:1"),
        ('{"question": "\\ud800?", "answer": "x"}', "half of a surrogate pair"),
        ('{"question": "Why?", "answer": ["\\ud800"]}', "half of a surrogate pair"),
        ('{"question": "Why?", "answer": "x", "history": [{"role": "user", "content": "\\ud800"}]}', "half of a surr"),
        ("[" * 100000, "nested too deeply"),
        ("9" * 5000, "Exceeds the limit"),
    ],
)  # fmt: skip
def test_a_broken_line_is_said_and_the_others_are_read(tmp_path: Path, row: object, problem: str) -> None:
    good = {"question": "How?", "answer": "so", "id": "one"}
    cases = questions.read([write(tmp_path / "q.jsonl", good, row, {**good, "id": "two"})])
    assert [case.id for case in cases] == ["one", "two"]
    assert len(cases.problems) == 1
    assert cases.problems[0].startswith("q.jsonl:2: ")
    assert problem in cases.problems[0]


def test_a_cell_of_brackets_is_text(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text(f"question,answer\nWhy?,{'[' * 100000}\n", encoding="utf-8")
    assert [case.gold for case in questions.read([tmp_path / "q.csv"])] == [("[" * 100000,)]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExamplesError, match=r"cannot be read: .*check the path"):
        questions.read([tmp_path / "none.jsonl"])
    (tmp_path / "latin.csv").write_bytes("question,answer\nWo?,Über".encode("latin-1"))
    with pytest.raises(ExamplesError, match="not UTF-8"):
        questions.read([tmp_path / "latin.csv"])


def located(tmp_path: Path, **row: object) -> tuple[Case, tuple[str, ...]]:
    (case,), notes = questions.locate(questions.read([write(tmp_path / "q.jsonl", row)]), LIBRARY)
    assert type(case) is Case
    return case, notes


def test_a_quote_is_found_over_line_ends_and_emphasis_and_narrowed_to_the_answer(tmp_path: Path) -> None:
    case, notes = located(
        tmp_path, question="How long?", answer="15 days", document="leave.md", quote="get 15 days of paid vacation"
    )
    assert (spans(case), notes) == ([("hr/leave.md", "15 days")], ())


def test_a_quote_that_no_longer_stands_there_is_noted(tmp_path: Path) -> None:
    case, notes = located(tmp_path, question="How long?", answer="15 days", document="leave.md", quote="get 20 days")
    assert case.spans == ()
    assert notes == ("q.jsonl:1: the quote 'get 20 days' no longer stands in 'hr/leave.md'; update or remove it",)


def test_a_document_that_is_gone_or_closed_is_noted(tmp_path: Path) -> None:
    case, notes = located(tmp_path, question="How long?", answer="15 days", document="old.md")
    assert case.spans == ()
    assert notes == ("q.jsonl:1: document 'old.md' is not in the library; sync it or mend the name",)
    case, notes = located(tmp_path, question="Which bonus?", answer="9000", document="board.md")
    assert case.spans == ()
    assert "is not open to these groups" in notes[0]


def test_without_a_document_the_library_is_searched_and_several_places_are_said(tmp_path: Path) -> None:
    case, notes = located(tmp_path, question="How many days of paid vacation a year?", answer="15 days")
    assert spans(case) == [("hr/leave.md", "15 days"), ("hr/offer.md", "15 days")]
    assert "stands in 2 documents" in notes[0]
    case, notes = located(tmp_path, question="How many days of sick leave for staff?", answer="5 DAYS")
    assert (spans(case), notes) == ([("hr/leave.md", "5 days")], ())


def test_an_answer_that_is_nowhere_is_noted_and_the_case_kept(tmp_path: Path) -> None:
    case, notes = located(tmp_path, question="How many cars?", answer="77")
    assert (case.question, case.spans) == ("How many cars?", ())
    assert "the answer '77' was not found in the library" in notes[0]


def test_an_unanswerable_question_is_left_as_it_is(tmp_path: Path) -> None:
    case, notes = located(tmp_path, question="How many moons?", kind="unanswerable")
    assert (case.spans, notes) == ((), ())


def test_passages_of_an_older_version_that_are_gone_are_left_out(tmp_path: Path) -> None:
    case = Case(
        "How many vacation days a year?", ("15 days",), (Span("hr/leave.md", 0, 5), Span("gone.md", 0, 3)), id="c1"
    )
    (found,), notes = questions.locate([case], LIBRARY)
    assert notes[0] == "c1: 2 of its passages no longer exist in library version 1; they are left out"
    assert {text for _, text in spans(found)} == {"15 days"}


def test_curly_quotes_and_case_do_not_matter() -> None:
    assert OFFER[slice(*(find('COSTS "nothing" here', OFFER) or (0, 0)))] == "costs “nothing” here"
    assert find("ix", "six") is None
    assert find("", "text") is None


@pytest.mark.parametrize(
    ("header", "wanted"), [("frage,antwort", "'question' and 'answer'"), ("question,antwort", "'answer'")]
)
def test_columns_of_other_names_are_told_once(tmp_path: Path, header: str, wanted: str) -> None:
    file = tmp_path / "asked.csv"
    file.write_text(f"{header}\nWer zahlt?,Ich\nWer nicht?,Du\n", encoding="utf-8")
    read = questions.read([file])
    assert list(read) == []
    (problem,) = read.problems
    found = ", ".join(map(repr, header.split(",")))
    assert problem.startswith(f"asked.csv:1: the columns are {found}, and {wanted} must be among them;")


def test_a_table_of_unanswerable_questions_needs_no_answers(tmp_path: Path) -> None:
    file = tmp_path / "asked.csv"
    file.write_text("question,kind\nWho pays?,unanswerable\n", encoding="utf-8")
    assert [case.kind for case in questions.read([file])] == ["unanswerable"]


def test_what_comparing_needs_is_read_and_kept_when_located(tmp_path: Path) -> None:
    file = write(
        tmp_path / "q.jsonl",
        {"question": "Trains?", "kind": "unanswerable", "type": "Near miss"},
        {"question": "Sick?", "kind": "unanswerable", "why": "superseded", "without": ["hr/leave.md"], "stale": "5"},
        {"question": "Days?", "kind": "conflict", "gold": "20", "stale": ["15"], "context": "20 days.", "same": "d"},
        {"question": "Write!", "kind": "behaviour", "gold": "Hi!", "system": "Be kind.",
         "history": [{"role": "user", "content": "Hey"}]},
        {"question": "Trees?", "kind": "unanswerable", "type": "hard"},
    )  # fmt: skip
    read = questions.read([file])
    assert read.problems == ()
    cases, notes = questions.locate(read, LIBRARY)
    assert notes == ()
    assert [case.why for case in cases] == ["near-miss", "superseded", "", "", ""]
    assert (cases[1].without, cases[1].stale) == (("hr/leave.md",), ("5",))
    assert cases[2] == Case("Days?", ("20",), kind="conflict", stale=("15",), contexts=("20 days.",), same="d")
    assert cases[3].history == (Message("system", "Be kind."), Message("user", "Hey"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "A?", "kind": "unanswerable", "why": "odd"}, "why 'odd' does not exist"),
        ({"question": "A?", "answer": "b", "why": "near-miss"}, "is for unanswerable questions"),
        ({"question": "A?", "kind": "behaviour"}, 'has no "answer"'),
        ({"question": "A?", "answer": "b", "stale": {"x": 1}}, "neither text nor a list of texts"),
        (
            {"question": "A?", "answer": "b", "system": "S", "history": [{"role": "system", "content": "T"}]},
            "not the first",
        ),
    ],
)
def test_a_line_that_contradicts_itself_is_a_problem(tmp_path: Path, row: object, said: str) -> None:
    read = questions.read([write(tmp_path / "q.jsonl", row)])
    assert list(read) == []
    assert said in read.problems[0]
