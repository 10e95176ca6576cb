"""From questions to a tuned embedder that serves: a tiny model learns that one dialect means another."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from openbook import Workspace, doctor, retriever
from openbook.errors import ExamplesError
from openbook.finetune.retriever import tune
from openbook.finetune.retriever.recipe import recipe
from openbook.records import Case, Change, Span
from openbook.seams import Progress
from tests import tiny_retriever

pytestmark = pytest.mark.timeout(600)
FAST = {"epochs": 25, "learning_rate": 0.01, "dtype": "float32", "threads": 1}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace over documents in the other dialect, questions beside it."""
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "cache"))
    folder = tiny_retriever.write(tmp_path / "documents")
    root = tmp_path / "desk"
    with Workspace.init(root, embedder=str(tmp_path / "model")) as workspace:
        assert workspace.sync([folder]).added == 66
    rows = [
        {"question": one.question, "answer": one.gold[0], "document": _name(one), "quote": one.gold[0]}
        for one in tiny_retriever.cases()
    ]
    (root / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def _name(one: Case) -> str:
    number = list(tiny_retriever.documents()).index(one.spans[0].document)
    return f"documents/{number}.txt"


def found(root: Path, question: str) -> list[str]:
    with Workspace.open(root) as workspace:
        return [hit.chunk.text for hit in workspace.search(question, k=3)]


def command(root: Path, *words: str) -> list[str]:
    settings = [part for key, value in FAST.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "openbook", "finetune", "--retriever", *words, *settings, "--workspace", str(root)]


def test_a_tuned_embedder_is_adopted_searches_with_it_and_can_be_rolled_back(desk: Path) -> None:
    done = subprocess.run(
        command(desk, "embedder", "--questions", str(desk / "questions.jsonl"), "--name", "dialect", "--json"),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    scores = told["scores"]["search as served"]
    assert told["gained"]
    assert told["adopted"]
    assert scores["mrr@10"]["low"] > 0
    assert scores["mrr@10"]["after"] > 0.8 > 0.4 > scores["mrr@10"]["before"]
    assert set(told["scores"]) == {"dense alone", "search as served"}
    assert told["data"]["train"] + told["data"]["held_out"] == 132
    assert told["batch"]["pairs"] > 0
    assert told["migrated_chunks"] == 66
    settings = (desk / "openbook.toml").read_text()
    assert re.search(r'embedder = ".openbook/embedders/dialect/1"  # set by openbook: significant gain', settings)
    assert found(desk, "c f")[0] == "o r"
    manifest = json.loads((desk / ".openbook/embedders/dialect/1/manifest.json").read_text())
    assert manifest["base"]["sha256"]
    assert manifest["check"]["cosine"] > 0.999
    moved = desk.rename(desk.with_name("moved"))
    assert found(moved, "c f")[0] == "o r"
    with Workspace.open(moved) as workspace:
        workspace.migration_roll_back()
        assert workspace.settings.models.embedder == str(desk.parent / "model")
    assert len(found(moved, "c f")) == 3


def test_without_a_gain_the_old_embedder_stays_unless_forced(desk: Path) -> None:
    before = (desk / "openbook.toml").read_text()
    small = {**FAST, "epochs": 1, "learning_rate": 1e-7}
    with Workspace.open(desk) as workspace:
        result, migration = workspace.tune_retriever("embedder", [desk / "questions.jsonl"], settings=small)
        assert result.verdict.startswith("no significant gain: mrr@10")
        assert migration is None
        assert (desk / "openbook.toml").read_text() == before
        result, migration = workspace.tune_retriever("embedder", [desk / "questions.jsonl"], settings=small, force=True)
        assert migration is not None
        assert migration.switched
        assert result.folder == desk / ".openbook/embedders/tuned/2"
        assert workspace.settings.models.embedder == ".openbook/embedders/tuned/2"
        assert len(workspace.search("a b", k=3)) == 3
        (told,) = [one for one in doctor.examine(desk, workspace.settings) if one.topic == "embedder"]
        assert told.level == "ok"


def test_a_kill_in_the_middle_of_training_leaves_the_old_embedder_serving(desk: Path) -> None:
    before, settings = found(desk, "c f"), (desk / "openbook.toml").read_text()
    words = command(desk, "embedder", "--questions", str(desk / "questions.jsonl"), "--set", "epochs=100")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    root = desk / ".openbook" / "embedders"
    limit = time.monotonic() + 300
    while not list(root.glob(".*.part")) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert list(root.glob(".*.part"))
    assert (desk / "openbook.toml").read_text() == settings
    assert found(desk, "c f") == before


def test_ctrl_c_ends_it_cleanly(desk: Path) -> None:
    words = command(desk, "embedder", "--questions", str(desk / "questions.jsonl"), "--set", "epochs=100")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    root = desk / ".openbook" / "embedders"
    limit = time.monotonic() + 300
    while not list(root.glob(".*.part")) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert out == ""
    assert not list(root.glob(".*.part"))


def test_a_library_that_changes_while_training_is_measured_as_it_was_read(desk: Path) -> None:
    with Workspace.open(desk) as workspace:
        house = workspace.house
        changed: list[int] = []

        def report(step: str, done: int, total: int) -> None:
            if step == "train" and not changed:
                changed.append(house.library.commit(Change(remove=["documents/0.txt"])))

        progress: Progress = report
        cases, _ = retriever.gather(house, [desk / "questions.jsonl"], from_library=False, seed=0, progress=None)
        files = house.model_files(workspace.settings.models.embedder, "embedder")
        result = tune.tune(
            "embedder",
            cases,
            tune.Serving(house.library, house.embedder, None, files),
            recipe({**FAST, "epochs": 2}),
            name="tuned",
            root=workspace.state / "embedders",
            tools=replace(retriever.tools(house, progress), progress=progress),
        )
    assert result.notes == ("the library changed from version 1 to 2 while training; the figures are of version 1",)


def test_questions_that_cannot_serve_are_refused_in_one_sentence(desk: Path) -> None:
    with Workspace.open(desk) as workspace:
        few = tiny_retriever.cases()[:6]
        with pytest.raises(ExamplesError, match="at least 20 on each side and 5 documents to measure with are needed"):
            workspace.tune_retriever("embedder", few)
        gone = [replace(one, spans=(Span("gone.txt", 0, 3),)) for one in tiny_retriever.cases()]
        with pytest.raises(ExamplesError, match="left out: where its answer stands is unknown"):
            workspace.tune_retriever("embedder", gone)
        with pytest.raises(ExamplesError, match="there are no questions"):
            workspace.tune_retriever("embedder")
    done = subprocess.run(
        command(desk, "reranker", "--questions", str(desk / "questions.jsonl")), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "set models.reranker" in done.stderr


def test_a_reranker_is_trained_from_one_and_put_into_the_settings(desk: Path, tmp_path: Path) -> None:
    from tests.tiny_models import write_bert

    write_bert(tmp_path / "cross", reranker=True)
    with Workspace.open(desk) as workspace:
        result, migration = workspace.tune_retriever(
            "reranker",
            [desk / "questions.jsonl"],
            base=str(tmp_path / "cross"),
            settings={**FAST, "epochs": 2},
            force=True,
        )
        assert migration is None
        assert list(result.changes) == ["search as served"]
        assert workspace.settings.models.reranker == ".openbook/rerankers/tuned/1"
        assert all(hit.rerank_score is not None for hit in workspace.search("a b", k=3))
