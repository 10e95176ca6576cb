"""Reports remembered and drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from openbook.compare import history
from openbook.compare.schema import Report
from openbook.errors import CompareError
from tests.compare_reports import empty, full


@pytest.fixture(scope="module")
def some() -> Report:
    return full()[0]


def run(some: Report, number: int, *, cases: str = "a") -> Report:
    day = f"2026-11-{number + 1:02}T10:00:00Z"
    return replace(some, id=f"r{number}", created=day, cases={**some.cases, "hash": cases})


def test_a_report_comes_back_as_it_was_remembered(tmp_path: Path, some: Report) -> None:
    file = tmp_path / "history.jsonl"
    assert history.append(file, run(some, 0))
    assert history.append(file, run(some, 1))
    found = history.read(file)
    assert [entry.id for entry in found] == ["r0", "r1"]
    first = found[0].arms["rag"]["metrics"]["answer_correct"]
    figure = next(arm for arm in some.arms if arm.name == "rag").metrics["answer_correct"]
    assert first == pytest.approx([figure.value, figure.low, figure.high, figure.n], abs=1e-6)
    assert found[0].primary == "answer_correct"


def test_the_same_report_again_takes_its_own_place(tmp_path: Path, some: Report) -> None:
    file = tmp_path / "history.jsonl"
    history.append(file, run(some, 0))
    history.append(file, run(some, 1))
    assert not history.append(file, replace(run(some, 0), title="mended"))
    assert [(entry.id, entry.title) for entry in history.read(file)] == [("r0", "mended"), ("r1", some.title)]


@pytest.mark.parametrize("line", ["no json", "[1]", "{}", '{"format": 9}', '{"format": 1, "id": "x"}'])
def test_another_file_is_named_with_its_line_and_left_alone(tmp_path: Path, some: Report, line: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(CompareError, match=r"line 2 of .*notes\.txt"):
        history.append(file, some)
    assert file.read_text(encoding="utf-8") == f"\n{line}\n"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="cannot be read"):
        history.read(tmp_path / "none.jsonl")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_history_draws_the_same_picture(tmp_path: Path, some: Report, kind: str) -> None:
    file = tmp_path / "history.jsonl"
    for number in range(4):
        history.append(file, run(some, number, cases="a" if number < 2 else "b"))
    first, second = tmp_path / f"one.{kind}", tmp_path / f"two.{kind}"
    assert history.plot(file, first) == first
    history.plot(file, second)
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) > 5_000
    if kind == "svg":
        text = first.read_text(encoding="utf-8")
        assert "answer correct (higher is better)" in text
        assert "tuned+rag" in text
        assert "other cases" in text


def test_one_report_and_one_without_arms_are_drawn(tmp_path: Path, some: Report) -> None:
    file = tmp_path / "history.jsonl"
    history.append(file, empty()[0])
    history.append(file, run(some, 0))
    assert history.plot(file, tmp_path / "p.png").stat().st_size > 5_000


def test_what_cannot_be_drawn_is_said(tmp_path: Path, some: Report) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("", encoding="utf-8")
    with pytest.raises(CompareError, match="is empty"):
        history.plot(file, tmp_path / "p.png")
    history.append(file, some)
    with pytest.raises(CompareError, match="has the metric 'wit'"):
        history.plot(file, tmp_path / "p.png", metric="wit")
    with pytest.raises(CompareError, match=r"is no picture"):
        history.plot(file, tmp_path / "p.docx")
