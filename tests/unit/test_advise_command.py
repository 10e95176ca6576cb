"""The command advise: from a report, from answers, and what it says when it can do neither."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from openbook.compare.schema import report_json
from tests import compare_reports

FULL = compare_reports.full()[0]


def run(*words: str, cwd: Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    """openbook advise as a person would call it."""
    command = [sys.executable, "-m", "openbook", "advise", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, input=typed, timeout=120, check=False)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A workspace with two finished comparisons and one that was stopped."""
    (tmp_path / "openbook.toml").write_text("", encoding="utf-8")
    for name, of in (("20261120-a", "older"), ("20261122-b", "newer"), ("20261123-c", "")):
        folder = tmp_path / ".openbook" / "reports" / name
        folder.mkdir(parents=True)
        if of:
            (folder / "report.json").write_text(report_json(replace(FULL, id=of)), encoding="utf-8")
    return tmp_path


def test_the_newest_finished_report_is_used(desk: Path) -> None:
    done = run("--json", cwd=desk)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["report"] == "newer"
    assert found["recommend"] == "both"
    assert not found["prior"]


def test_a_report_is_named_by_file_by_folder_and_by_id(desk: Path) -> None:
    folder = ".openbook/reports/20261120-a"
    for named in (f"{folder}/report.json", folder, "20261120-a"):
        assert json.loads(run(named, "--json", cwd=desk).stdout)["report"] == "older"


def test_the_sentence_the_steps_and_what_would_change_it_are_shown(desk: Path) -> None:
    done = run(cwd=desk)
    assert done.stdout.startswith("Ship tuned + RAG: answer correct ")
    assert "3. Does search find the right passage? YES\n   A right passage was shown: " in done.stdout
    assert "What would change it:\n- " in done.stdout
    assert "from the comparison newer of 2026-11-22" in done.stderr


def test_answers_are_held_beside_the_report(desk: Path) -> None:
    found = json.loads(run("--answer", "facts=weekly", "--json", cwd=desk).stdout)
    assert found["answers"] == {"facts": "weekly"}
    assert any("You said facts: weekly" in step["evidence"] for step in found["steps"])


def test_without_a_report_answers_give_a_prior(tmp_path: Path) -> None:
    done = run("--answer", "facts=daily", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Start with RAG: facts change daily")
    assert "a prior from published experience, not a measurement" in done.stdout


def test_ask_gives_a_prior_even_where_there_is_a_report(desk: Path) -> None:
    found = json.loads(run("--ask", "--answer", "facts=none", "--json", cwd=desk).stdout)
    assert found["prior"]
    assert found["report"] is None


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 2, "there is no report and nobody to ask"),
        (("--answer", "facts=hourly"), 2, "facts is 'hourly' but must be one of"),
        (("--answer", "facts"), 2, "is not of the form KEY=VALUE"),
        (("nowhere.json",), 1, "there is no report 'nowhere.json'"),
        (("--ask", "report.json"), 2, "--ask takes no report"),
        (("broken.json",), 1, "broken.json is no report"),
        (("other.json",), 1, "other.json has the format 99"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, words: tuple[str, ...], code: int, sentence: str) -> None:
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "other.json").write_text('{"format": 99}', encoding="utf-8")
    done = run(*words, cwd=tmp_path)
    assert done.returncode == code
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_unknown_comparison_is_one_sentence(desk: Path) -> None:
    done = run("20200101-x", cwd=desk)
    assert done.returncode == 1
    assert "no finished comparison '20200101-x'" in done.stderr
