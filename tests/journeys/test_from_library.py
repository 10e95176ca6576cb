"""From documents and example conversations to an adapter that reads passages, as a person does it: real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from openbook.finetune import reading
from tests.tiny_hf import write_hf

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
TOWNS = "Abbeville Bolton Cressing Dornoch Elmswell Farnham Gandalf Hovingham Ilkley Jurby Kentmere Lundy".split()
FACTS = [("bridges", 10), ("schools", 40), ("libraries", 70)]
QUICK = ["--set", "probes=0", "--set", "checks=1", "--set", "scored=4", "--set", "answer_tokens=30"]


def openbook(*words: str, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "openbook", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=590,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def as_json(*words: str, cwd: Path) -> Any:
    return json.loads(openbook(*words, "--json", cwd=cwd).stdout)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf(tmp_path_factory.mktemp("models") / "tiny", max_position_embeddings=4096)


def write_towns(folder: Path) -> Path:
    folder.mkdir()
    for number, town in enumerate(TOWNS):
        lines = [f"The town of {town} has {base + number} {what} in its district." for what, base in FACTS]
        (folder / f"{town}.md").write_text(f"# {town}\n\n" + " ".join(lines) + "\n", encoding="utf-8")
    return folder


def write_questions(path: Path) -> Path:
    rows = [
        {"question": f"How many {what} can be found around {town}?", "answer": str(base + number), "document": name}
        for number, town in enumerate(TOWNS)
        for what, base in FACTS
        for name in [f"towns/{town}.md"]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def desk(tmp_path: Path, tiny: Path) -> Path:
    openbook("init", ".", "--model", str(tiny), cwd=tmp_path)
    with (tmp_path / "openbook.toml").open("a") as settings:
        settings.write("\n[finetune]\nthreads = 1\nmax_tokens = 3000\n")
    openbook("sync", str(write_towns(tmp_path / "towns")), cwd=tmp_path)
    write_questions(tmp_path / "questions.jsonl")
    chats = [
        {"prompt": f"How many schools does {town} have?", "completion": f"The town of {town} has {40 + n} schools!"}
        for n, town in enumerate(TOWNS)
    ] + [{"prompt": f"Hello, it is {hour} o'clock", "completion": "A very good day to you!"} for hour in range(12)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats), encoding="utf-8")
    return tmp_path


def test_one_command_learns_voice_and_reading_and_says_when_the_retriever_changed(desk: Path) -> None:
    words = ["finetune", "--from-library", "--examples", "chats.jsonl", "--questions", "questions.jsonl"]
    made = as_json(*words, "--name", "towns", *QUICK, "--set", "reading.variants=1", cwd=desk)
    assert made["adapter"] == "towns@1"
    assert made["gate"]["passed"]
    assert made["metric"]["name"] == "reading"
    manifest = json.loads((desk / ".openbook/adapters/towns/1/manifest.json").read_text())
    library = manifest["library"]
    assert library["version"] == 1
    assert library["questions"]["by_origin"]["given"] == len(TOWNS) * len(FACTS)
    assert library["lessons"]["answer"] >= 30
    assert library["lessons"]["refusal"] > 0
    assert library["lessons"]["voice"] > 0, "replies that the passages bear out are learned with them"
    assert library["review"]["reviewed"] is False

    asked = ["ask", "How many bridges does Bolton have?", "--arm", "tuned+rag"]
    answer = as_json(*asked, cwd=desk)
    assert answer["adapter"] in ("towns@1", None)
    assert not any("another retriever" in note for note in answer["notes"])
    settings = desk / "openbook.toml"
    settings.write_text(settings.read_text() + "\n[answer]\npassages = 2\n")
    assert any(" -> 2 changed since" in note for note in as_json(*asked, cwd=desk)["notes"])

    openbook("finetune", "chats.jsonl", "--name", "closed", *QUICK, "--set", "metric=loss", cwd=desk)
    notes = as_json(*asked, "--adapter", "closed", cwd=desk)["notes"]
    assert any("never learned to read passages" in note for note in notes)


def test_lessons_hold_documents_apart_and_stay_on_disk(desk: Path) -> None:
    checked = as_json("finetune", "--from-library", "--questions", "questions.jsonl", "--preflight", cwd=desk)
    assert checked["errors"] == []
    assert checked["estimate"]["tokens"] > 1000
    (folder,) = (desk / ".openbook" / "lessons").iterdir()
    train, held = reading.read(folder / "train.jsonl"), reading.read(folder / "held.jsonl")
    assert Counter(one.document for one in train).keys().isdisjoint({one.document for one in held})
    assert held


def test_a_library_without_facts_is_refused_in_one_sentence(tmp_path: Path, tiny: Path) -> None:
    openbook("init", ".", "--model", str(tiny), cwd=tmp_path)
    (tmp_path / "docs").mkdir()
    for name in ("Well. Perhaps.", "Or else, quite possibly, otherwise.", "And so on, and so forth!"):
        (tmp_path / "docs" / f"{len(name)}.md").write_text(f"{name}\n")
    openbook("sync", "docs", cwd=tmp_path)
    said = openbook("finetune", "--from-library", "--name", "x", cwd=tmp_path, expect=1).stderr
    assert "3 documents gave" in said
    assert "--questions" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["chats.jsonl", "--name", "x", "--questions", "questions.jsonl"], "--from-library"),
        (["chats.jsonl", "--name", "x", "--set", "reading.refusal=0.5"], "--from-library"),
        (["--from-library", "--name", "x", "--set", "reading.refusal=2"], "reading.refusal"),
        (["--from-library"], "no name"),
        (["--from-library", "--name", "x", "--curve", "10,30"], "--curve"),
    ],
)
def test_wrong_combinations_are_refused_before_anything_is_done(desk: Path, words: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "openbook", "finetune", *words], cwd=desk, capture_output=True, text=True, timeout=120
    )
    assert done.returncode in (1, 2)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (desk / ".openbook" / "lessons").exists()
