"""The command finetune: what it says, and options that do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from openbook.cli.finetune import _show_lessons, finetune
from openbook.errors import UsageError
from openbook.finetune.job import Job
from openbook.settings import Finetune


def test_notes_about_lessons_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    note = "q.jsonl:1: the quote '[/INST] [bold]x' stands in no document; mend or remove it"
    questions = {"used": 9, "by_origin": {"given": 9}, "rejected": {}, "left_out": {"no passage holds it": 1}}
    facts = {"questions": questions, "documents": 3, "lessons": {"answer": 9}, "notes": [note]}
    lessons = (Path("[/a]/train.jsonl"), Path("[/a]/held.jsonl"))
    _show_lessons(Job("x", (), (), (), Finetune(), {}, lessons=lessons, library=facts))
    said = capsys.readouterr().err
    assert note in said
    assert "[/a]" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--retriever", "embedder", "--validation", "held.jsonl"], "--validation"),
        (["--retriever", "embedder", "--map", "a=user"], "--map"),
        (["--resume", "--test", "held.jsonl"], "only --name"),
        (["chats.jsonl", "--name", "x", "--force"], "go with --retriever"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("chats.jsonl", "held.jsonl"):
        Path(name).write_text('{"prompt": "a", "completion": "b"}\n')
    Path("openbook.toml").write_text("format = 1\n")
    done = CliRunner().invoke(finetune, words)
    assert isinstance(done.exception, UsageError)
    assert sentence in str(done.exception)
