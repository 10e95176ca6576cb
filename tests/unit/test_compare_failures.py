"""What the browser of failures is told."""

import doctest
from dataclasses import replace

from openbook.compare import failures
from openbook.compare.schema import Row
from openbook.records import Answer, Case, Chunk, Citation, Hit, Span, Timings
from tests.compare_reports import full


def answer(text: str, *hits: Hit, citations: tuple[Citation, ...] = ()) -> Answer:
    return Answer(text, False, citations, (), hits, "", "m", None, "rag", 1, 1, Timings(0, 0, 0, 0), 1)


def test_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(failures).failed == 0


def test_every_row_lands_in_one_of_the_groups() -> None:
    _, _, rows = full()
    found = {failures.group(row) for row in rows}
    assert found <= failures.GROUPS.keys()
    assert {"retrieved-right", "retrieved-wrong", "missed-wrong", "right", "wrong", "failed"} <= found
    assert failures.group(replace(rows[0], scores={})) == "unscored"


def test_groups_count_what_the_report_counts() -> None:
    report, cases, rows = full()
    kinds = {case.id: case.kind for case in cases}
    for arm in report.arms:
        for name, count in arm.failures.items():
            mine = [row for row in rows if row.arm == arm.name and kinds[row.case] == "answerable"]
            assert sum(failures.group(row) == name for row in mine) == count


def test_cases_that_most_arms_got_wrong_come_first() -> None:
    _, cases, rows = full()
    wrong = [
        sum(
            not group.endswith("right")
            for arm, group in case.groups.items()
            if arm in ("base", "rag", "tuned", "tuned+rag")
        )
        for case in failures.browse(cases, rows)
    ]
    assert wrong == sorted(wrong, reverse=True)
    assert wrong[0] == 4


def test_gold_and_cited_stretches_are_marked_where_they_stand() -> None:
    text = "Leave is 18 weeks. It is paid."
    chunk = Chunk("a.md", 50, 50 + len(text), text, page=2, heading=("Leave",))
    case = Case("How long?", ("18 weeks",), (Span("a.md", 59, 67),), id="c1")
    cited = Citation("a.md", 2, 50, 68, text[:18], 0)
    [shown] = failures.browse(
        [case], [Row("c1", "rag", answer("It is 18 Weeks.", Hit(chunk, 1.0), citations=(cited,)))]
    )
    [passage] = shown.passages
    assert [tuple(piece) for piece in passage.pieces] == [
        ("Leave is ", "cited"), ("18 weeks", "gold"), (".", "cited"), (" It is paid.", ""),
    ]  # fmt: skip
    assert passage.place == "a.md › page 2 › Leave"
    assert passage.gold
    assert [tuple(piece) for piece in shown.said[0].pieces] == [("It is ", ""), ("18 Weeks", "gold"), (".", "")]


def test_a_long_passage_is_cut_around_what_is_marked() -> None:
    text = "x " * 2000 + "GOLD" + " y" * 2000
    case = Case("?", ("GOLD",), (Span("a.md", 4000, 4004),), id="c1")
    [shown] = failures.browse([case], [Row("c1", "rag", answer("?", Hit(Chunk("a.md", 0, len(text), text), 1.0)))])
    pieces = shown.passages[0].pieces
    assert sum(len(piece.text) for piece in pieces) == failures.PASSAGE
    assert [piece.text for piece in pieces if piece.mark == "gold"] == ["GOLD"]


def test_a_value_that_no_longer_holds_is_marked_as_such() -> None:
    case = Case("?", ("6 weeks",), id="c1", kind="fresh", stale=("5 weeks",))
    [shown] = failures.browse([case], [Row("c1", "rag", answer("It is 5 weeks, not 15 weeks."))])
    assert [piece.text for piece in shown.said[0].pieces if piece.mark == "stale"] == ["5 weeks"]


def test_a_passage_that_several_arms_saw_stands_once() -> None:
    hit = Hit(Chunk("a.md", 0, 3, "abc"), 1.0)
    other = replace(hit, score=0.2, dense_rank=4)
    rows = [Row("c1", "rag", answer("1", hit)), Row("c1", "tuned+rag", answer("2", other))]
    [shown] = failures.browse([Case("?", id="c1")], rows)
    assert len(shown.passages) == 1
    assert [one.shown for one in shown.said] == [(1,), (1,)]


def test_rows_of_unknown_cases_are_left_out_and_further_cases_counted_out() -> None:
    cases = [Case("?", id=f"c{place}") for place in range(failures.MOST_CASES + 5)]
    rows = [Row(case.id, "rag", answer("x")) for case in cases] + [Row("gone", "rag", answer("x"))]
    shown = failures.browse(cases, rows)
    assert len(shown) == failures.MOST_CASES
    assert "gone" not in {case.id for case in shown}
