"""The reader that ships, as a person meets it: a question in a workspace, the models, the doctor."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openbook import readers
from openbook.assemble import reader_of
from openbook.settings import Settings

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]
QUESTION = "How many vacation days do employees get?"
TEXT = "# Leave\n\nEmployees get 25 vacation days a year. Unused days expire in March.\n"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    (folder / "docs").mkdir()
    (folder / "docs/leave.md").write_text(TEXT)
    openbook("init", ".", cwd=folder)
    openbook("sync", "docs", cwd=folder)
    return folder


def openbook(*words: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-m", "openbook", *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def as_json(*words: str, cwd: Path) -> Any:
    return json.loads(openbook(*words, "--json", cwd=cwd))


def test_an_answer_from_passages_names_the_reader_and_cites(desk: Path) -> None:
    found = as_json("ask", QUESTION, cwd=desk)
    assert found["model"] == Settings().models.generator
    assert found["adapter"] == (None if reader_of(Settings()) is None else "reader (bundled)")
    assert "25" in found["answer"]
    assert {one["document"] for one in found["citations"]} == {"docs/leave.md"}


def test_the_untouched_model_answers_without_documents(desk: Path) -> None:
    found = as_json("ask", QUESTION, "--arm", "base", cwd=desk)
    assert (found["model"], found["adapter"]) == (Settings().models.generator, None)


def test_a_setting_switches_the_reader_off(desk: Path) -> None:
    file = desk / "openbook.toml"
    text = file.read_text()
    file.write_text(text.replace("[models]", '[models]\nreader = "none"'))
    try:
        assert as_json("ask", QUESTION, cwd=desk)["adapter"] is None
    finally:
        file.write_text(text)


def test_models_and_doctor_tell_of_the_reader(desk: Path) -> None:
    bundled = {one.name for one in readers.bundled()}
    listed = as_json("models", "list", cwd=desk)
    assert {one["name"] for one in listed if one.get("reader") == "bundled"} == bundled
    findings = as_json("doctor", cwd=desk)
    expected = Settings().models.generator in bundled
    assert any(one["topic"] == "reader" and "answers from passages" in one["says"] for one in findings) == expected
