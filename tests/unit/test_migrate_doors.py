"""The doors of a migration with two tiny random models: Python, the command, backup, doctor."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from openbook.backup import read, write
from openbook.cli.main import openbook
from openbook.doctor import examine
from openbook.errors import EmbedderMismatch, LibraryError, ModelError
from openbook.library.owner import Ownership
from openbook.records import Case, Migration, Span
from openbook.settings import load
from openbook.workspace import Workspace
from tests import tiny_models

TEXTS = {
    "leave.md": "# Leave\n\nA vacation of many days is paid.\n",
    "sick.md": "# Sick days\n\nThe company pays sick days.\n",
    "holiday.md": "# Holiday\n\nA holiday is what the policy of the year says.\n",
}


def _model(folder: Path, *, seed: int) -> str:
    """A tiny embedder of its own vectors."""
    tiny_models.write_bert(folder)
    rng = np.random.default_rng(seed)
    weights = tiny_models.bert_weights(tiny_models.write_tokenizer(folder))
    weights["embeddings.word_embeddings.weight"] = rng.normal(
        0, 1, weights["embeddings.word_embeddings.weight"].shape
    ).astype(np.float32)
    tiny_models.write_safetensors(folder / "model.safetensors", weights)
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return _model(folder / "old", seed=1), _model(folder / "new", seed=2)


@pytest.fixture
def desk(tmp_path: Path, models: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "docs").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "docs" / name).write_text(text, encoding="utf-8")
    file = tmp_path / "desk" / "openbook.toml"
    Workspace.init(tmp_path / "desk", model="extractive", embedder=models[0])
    file.write_text(file.read_text(encoding="utf-8") + "[ingest]\nchunk_tokens = 40\n", encoding="utf-8")
    with Workspace.open(tmp_path / "desk") as made:
        made.sync([tmp_path / "docs"])
        yield made


def _set(desk: Workspace, embedder: str) -> None:
    file = desk.root / "openbook.toml"
    file.write_text(file.read_text(encoding="utf-8").replace(desk.settings.models.embedder, embedder), "utf-8")


def _run(desk: Workspace, *words: str, expect: int = 0) -> Any:
    desk.close()
    done = CliRunner().invoke(openbook, [*words, "--workspace", str(desk.root)])
    if expect:
        assert done.exception is not None
        return str(done.exception)
    assert done.exit_code == 0, done.output
    return done


def test_a_library_changes_over_while_it_is_open_and_the_settings_follow(
    desk: Workspace, models: tuple[str, str]
) -> None:
    old = desk.search("vacation days")
    found = desk.migrate(embedder=models[1])
    assert isinstance(found, Migration)
    assert (found.source, found.target, found.chunks, found.embedded, found.switched) == (*models, 3, 3, True)
    assert [one.measure for one in found.compared] == ["overlap@10"]
    assert desk.house.embedder.fingerprint == desk.house.library.made.embedder
    assert load(desk.root / "openbook.toml").models.embedder == models[1]
    new = desk.search("vacation days")
    assert {hit.chunk for hit in new} == {hit.chunk for hit in old}
    assert {hit.dense_score for hit in new} != {hit.dense_score for hit in old}
    assert desk.migrate().notes == (f"nothing to do: the library uses {models[1]!r} already",)
    back = desk.migration_roll_back()
    assert (back.embedded, back.target) == (0, models[0])
    assert load(desk.root / "openbook.toml").models.embedder == models[0]
    assert desk.search("vacation days") == old


def test_another_embedder_in_the_settings_keeps_searches_going(
    desk: Workspace, models: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    old = [hit.chunk for hit in desk.search("vacation days")]
    desk.close()
    _set(desk, models[1])
    done = _run(desk, "search", "vacation days", "--json")
    assert [hit["document"] for hit in json.loads(done.stdout)["hits"]] == [chunk.document for chunk in old]
    assert done.stderr.count("change over with: openbook migrate") == 1
    library = next(one for one in examine(desk.root, load(desk.root / "openbook.toml")) if one.topic == "library")
    assert (library.level, library.todo) == ("weak", "openbook migrate")
    found = json.loads(_run(desk, "migrate", "--json").stdout)
    assert (found["target"], found["switched"], found["embedded"]) == (models[1], True, 3)
    assert "change over" not in _run(desk, "search", "vacation days").stderr


def test_a_search_that_loaded_the_old_embedder_before_the_switch_follows_the_library(
    desk: Workspace, models: tuple[str, str]
) -> None:
    desk.close()
    with Workspace.open(desk.root) as late:
        assert late.house.embedder.fingerprint
        _run(desk, "migrate", "--to", models[1])
        assert len(late.search("the company policy", k=50)) == 3
        assert late.house.embedder.fingerprint == late.house.load_embedder(models[1]).fingerprint


def test_the_command_foresees_migrates_goes_back_and_drops(desk: Workspace, models: tuple[str, str]) -> None:
    foreseen = _run(desk, "migrate", "--to", models[1], "--dry-run")
    assert f"3 chunks would go from {models[0]} to {models[1]}" in foreseen.stdout
    assert "the library uses" in _run(desk, "migrate", "--to", models[1]).stdout
    assert "nothing to do" in _run(desk, "migrate").stderr
    assert f"the library uses {models[0]} now" in _run(desk, "migrate", "--roll-back").stdout
    assert "freed" in _run(desk, "migrate", "--drop-previous").stdout
    assert "nothing to drop" in _run(desk, "migrate", "--drop-previous", expect=1)
    assert "no earlier embedder's vectors" in _run(desk, "migrate", "--roll-back", expect=1)
    assert "goes with no other option" in _run(desk, "migrate", "--roll-back", "--dry-run", expect=2)


def test_a_line_of_the_cases_that_cannot_be_used_is_said(
    desk: Workspace, models: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "asked.jsonl").write_text('{"question": "Who?"}\n', encoding="utf-8")
    told = _run(desk, "migrate", "--to", models[1], "--dry-run", "--cases", str(tmp_path / "asked.jsonl")).stderr
    assert "asked.jsonl:1: question 'Who?' has no \"answer\"" in " ".join(told.split())


def test_a_folder_of_models_that_is_not_there_is_one_sentence(desk: Workspace) -> None:
    with pytest.raises(ModelError, match="nosuch") as told:
        desk.migrate(embedder="nosuch")
    assert "all-minilm-l6-v2-int8" in str(told.value)
    assert "smollm2" not in str(told.value)
    assert len(desk.search("vacation days")) == 3


def test_without_a_library_there_is_nothing_to_migrate(tmp_path: Path) -> None:
    with Workspace.init(tmp_path / "empty") as empty, pytest.raises(LibraryError, match="openbook sync FOLDER"):
        empty.migrate(embedder="all-minilm-l6-v2")


def test_cases_that_find_less_keep_the_library_as_it_was(desk: Workspace, models: tuple[str, str]) -> None:
    """Cases are made from what the old embedder finds first, so that the new one cannot but find less."""
    from openbook.errors import LibraryError as Refused
    from openbook.migrating import _refuse_worse
    from openbook.records import Compared

    hits = [(word, desk.search(word, k=1)[0].chunk) for word in ("vacation", "sick", "holiday", "policy", "year")]
    cases = [Case(word, spans=(Span(chunk.document, chunk.start, chunk.end),)) for word, chunk in hits]
    found = desk.migrate(embedder=models[1], cases=cases, anyway=True)
    assert [(one.measure, one.n) for one in found.compared] == [("recall@5", 5), ("mrr@10", 5)]
    assert found.compared[1].before == 1.0
    worse = Compared("recall@5", 0.9, 0.5, -0.4, -0.5, -0.3, 40)
    with pytest.raises(Refused, match=r"recall@5 falls from 0.900 to 0.500 .* openbook migrate --to new --anyway"):
        _refuse_worse((worse,), "old", "new")


def test_a_backup_holds_the_vectors_in_use_only(desk: Workspace, models: tuple[str, str], tmp_path: Path) -> None:
    desk.migrate(embedder=models[1])
    expected = desk.search("vacation days")
    write(desk, tmp_path / "desk.tar.gz")
    desk.close()
    assert read(tmp_path / "desk.tar.gz", tmp_path / "again") == 3
    assert [path.name for path in (tmp_path / "again/.openbook/library").glob("index*")] == ["index-2"]
    with Workspace.open(tmp_path / "again") as again:
        assert again.search("vacation days") == expected
        with pytest.raises(LibraryError, match="no earlier embedder's vectors are kept"):
            again.migration_roll_back()


def test_an_embedder_that_is_gone_is_named_and_migrating_helps(
    desk: Workspace, models: tuple[str, str], tmp_path: Path
) -> None:
    gone = _model(tmp_path / "gone", seed=3)
    desk.migrate(embedder=gone)
    desk.close()
    for file in (tmp_path / "gone").iterdir():
        file.unlink()
    _set(desk, models[0])
    with (
        Workspace.open(desk.root) as again,
        pytest.raises(EmbedderMismatch, match=r"cannot be loaded .* openbook migrate"),
    ):
        again.search("vacation")
    with Workspace.open(desk.root) as again:
        assert again.migrate().switched
        assert len(again.search("vacation")) == 3


def test_searches_and_syncs_go_on_while_it_changes_over(
    desk: Workspace, models: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the child process, as for a large library; every search finds every document there is."""
    monkeypatch.setattr("openbook.migrating._FEW", 0)
    done, failures, searches = threading.Event(), [], 0
    desk.search("warm up")

    def search() -> None:
        nonlocal searches
        while not done.is_set():
            try:
                names = {hit.chunk.document for hit in desk.search("the company policy", k=50)}
                if not set(TEXTS) <= {Path(name).name for name in names}:
                    failures.append(str(names))
            except Exception as error:  # noqa: BLE001 the test is about none coming
                failures.append(repr(error))
                return
            searches += 1
            done.wait(0.02)  # a person breathes, and what embeds is nicer than us

    thread = threading.Thread(target=search)
    thread.start()
    steps: list[str] = []

    def progress(step: str, done: int, total: int) -> None:
        if not steps:
            (tmp_path / "docs" / "late.md").write_text("# Late\n\nA late policy.\n", encoding="utf-8")
            desk.sync([tmp_path / "docs"])
        steps.append(step)

    try:
        found = desk.migrate(embedder=models[1], progress=progress)
    finally:
        done.set()
        thread.join()
    assert failures == []
    assert searches > 0
    assert (found.chunks, found.embedded) == (4, 4)
    assert "embed" in steps
    assert len(desk.search("the company policy", k=50)) == 4


def test_ctrl_c_keeps_the_library_as_it_was_and_the_next_run_goes_on(
    desk: Workspace, models: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbook.migrating._FEW", 0)
    expected = desk.search("vacation days")

    def stop(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.migrate(embedder=models[1], progress=stop)
    assert desk.search("vacation days") == expected
    assert desk.settings.models.embedder == models[0]
    library = next(one for one in examine(desk.root, desk.settings) if one.topic == "library")
    assert library.todo == f"openbook migrate --to {models[1]}"
    monkeypatch.setattr("openbook.migrating._FEW", 500)
    assert desk.migrate(embedder=models[1]).switched


@pytest.mark.parametrize("few", [0, 500])
def test_it_embeds_while_another_process_owns_the_library_and_waits_to_switch(
    desk: Workspace, models: tuple[str, str], monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("openbook.migrating._FEW", few)
    desk.close()
    owner = Ownership(desk.root / ".openbook" / "library")
    notes: list[str] = []

    steps: list[str] = []

    def heard(note: str) -> None:
        assert "embed" in steps
        notes.append(note)
        owner.release()

    with Workspace.open(desk.root, notice=heard) as again:
        found = again.migrate(embedder=models[1], progress=lambda step, *_: steps.append(step))
        assert (found.embedded, found.switched) == (3, True)
        assert len(again.search("vacation days")) == 3
    assert len(notes) == 1
    assert "waiting to switch until the library is free" in notes[0]
