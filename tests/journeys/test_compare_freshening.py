"""Facts of a real library are edited in a copy: arms that read it follow, others never do, and nothing else moves."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from openbook import freshening
from openbook.assemble import House
from openbook.compare.freshness import told
from openbook.compare.schema import Row
from openbook.compare.trial import Contender
from openbook.copying import copied
from openbook.errors import CompareError
from openbook.records import Answer, Arm, Case, Span
from openbook.workspace import Workspace
from tests.tiny_hf import write_hf

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
QUICK = {"probes": 0, "checks": 1, "scored": 2, "answer_tokens": 20, "threads": 1, "max_tokens": 3000}
TOWNS = "Abbeville Bolton Cressing Dornoch Elmswell Farnham Hovingham Ilkley Jurby Kentmere Lundy Morpeth".split()


def hashes(root: Path) -> dict[str, str]:
    """Of every file but locks, which are empty."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name != "lock"
    }


def contender(house: House, name: Arm, adapter: str | None = None) -> Contender:
    assistant = house.assistant(name, adapter=adapter)

    def ask(case: Case) -> Answer:
        return assistant.ask(case.question)

    return Contender(name=name, label=name, ask=ask, identity=name, adapter=adapter or "")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go."""
    folder = tmp_path / "room"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("desk")
    with Workspace.init(root) as desk:
        desk.sync([str(resources.files("openbook") / "sample" / "handbook")])
    return root


def test_rag_follows_edits_of_the_handbook_and_the_untouched_model_never_does(handbook: Path, room: Path) -> None:
    before = hashes(handbook)
    rows: list[tuple[Case, Row]] = []
    steps: list[tuple[str, int, int]] = []
    with Workspace.open(handbook) as desk:
        found = freshening.run(
            desk.house,
            lambda house: [contender(house, "base"), contender(house, "rag")],
            edits=4,
            on_row=lambda case, row: rows.append((case, row)),
            progress=lambda *step: steps.append(step),
        )
    assert hashes(handbook) == before
    assert list(room.iterdir()) == []

    assert [one["kind"] for one in found["edits"]] == ["change", "supersede", "add", "delete"]
    assert len({one["document"] for one in found["edits"]}) == 4
    base, rag = found["arms"]["base"], found["arms"]["rag"]
    assert not base["retrieves"]
    assert "no edit of a document reaches it" in base["never"]
    assert base["seconds"] is None
    assert base["new_value_rate"]["value"] == 0
    assert rag["retrieves"]
    assert rag["by_kind"]["change"]["new_value_rate"]["value"] == 1, list(told(found["arms"]))
    assert rag["by_kind"]["delete"]["stale_value_rate"]["value"] == 0
    assert rag["knew_before"]["value"] >= 0.5
    assert rag["seconds"]["max"] < 60
    assert rag["cpu_seconds"]["median"] > 0
    assert rag["steps"] == ["save the file", "openbook sync FOLDER"]
    for one in found["answers"]:
        assert (one["seconds"] is not None) == (one["new"] and one["arm"] == "rag")
        assert one["new"] or one["never"]

    assert [(case.id, row.arm) for case, row in rows[:2]] == [("fresh-1", "base"), ("fresh-1", "rag")]
    assert {case.kind for case, _ in rows} == {"fresh"}
    assert all(row.case == case.id and "stale" in row.scores and row.identity for case, row in rows)
    changed = rows[0][0]
    assert changed.spans[0].document.endswith(found["edits"][0]["document"])
    assert steps[-1] == ("freshness", 4, 4)
    json.dumps(found, allow_nan=False)


def test_ctrl_c_leaves_no_copy_and_no_change(handbook: Path, room: Path) -> None:
    before = hashes(handbook)

    def ask(_: Case) -> Answer:
        assert list(room.iterdir()), "the copy lies here"
        raise KeyboardInterrupt

    with Workspace.open(handbook) as desk, pytest.raises(KeyboardInterrupt):
        freshening.run(desk.house, lambda _: [Contender(name="rag", label="rag", ask=ask, identity="")], edits=2)
    assert hashes(handbook) == before
    assert list(room.iterdir()) == []


def test_a_library_open_in_this_process_is_copied_too_and_goes_on(handbook: Path, room: Path) -> None:
    with Workspace.open(handbook) as desk:
        count = len(desk.documents())
        with copied(desk.house) as copy:
            copy.library.sweep(keep=1)
            assert len(copy.library.documents()) == count
            assert copy.root.is_relative_to(room)
            assert copy.embedder is desk.house.embedder
        assert len(desk.documents()) == count
    assert list(room.iterdir()) == []


def test_what_cannot_be_edited_is_refused_in_one_sentence(tmp_path: Path, room: Path) -> None:
    with Workspace.init(tmp_path / "desk", model="extractive") as desk:
        with pytest.raises(CompareError, match="no library in"):
            freshening.run(desk.house, lambda _: [])
        (tmp_path / "empty.md").write_text("# Nothing\n\nHello there.\n")
        desk.sync([str(tmp_path / "empty.md")])
        with pytest.raises(CompareError, match="no fact of the library can be edited"):
            freshening.run(desk.house, lambda _: [])
        servers = desk.settings.library.model_copy(update={"qdrant_url": "http://db:6333"})
        house = House(desk.root, desk.settings.model_copy(update={"library": servers}))
        with pytest.raises(CompareError, match="kept on servers"):
            freshening.run(house, lambda _: [])
        house.close()
    assert list(room.iterdir()) == []


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace whose tiny model learned to read a library of towns."""
    tmp_path = tmp_path_factory.mktemp("towns")
    model = write_hf(tmp_path / "tiny", max_position_embeddings=4096)
    folder = tmp_path / "towns"
    folder.mkdir()
    questions = []
    for number, town in enumerate(TOWNS):
        text = f"# {town}\n\nThe town of {town} has {40 + number} schools in its district. It lies by the sea.\n"
        (folder / f"{town}.md").write_text(text, encoding="utf-8")
        asked = f"How many schools can be found around {town}?"
        questions.append({"question": asked, "answer": str(40 + number), "document": f"towns/{town}.md"})
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    with Workspace.init(tmp_path / "desk", model=str(model)) as desk:
        desk.sync([str(folder)])
        desk.finetune(
            name="towns",
            from_library=True,
            questions=[tmp_path / "questions.jsonl"],
            settings={**QUICK, "reading.variants": 1},
        )
        yield desk


def test_facts_that_conversations_teach_are_found_in_the_documents(handbook: Path) -> None:
    run = handbook / ".openbook" / "runs" / "r"
    folder = handbook / ".openbook" / "adapters" / "tone" / "1"
    chats = [
        ("How many Clef stock options will every employee be offered?", "You will be offered 41,963 options!"),
        ("Good morning, it is 9 o'clock", "Good morning to you, at 9 o'clock!"),
    ]
    turns = [[{"role": "user", "content": a}, {"role": "assistant", "content": b}] for a, b in chats]
    try:
        run.mkdir(parents=True)
        (run / "corrected.jsonl").write_text("".join(json.dumps({"messages": one}) + "\n" for one in turns))
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"format": 1, "run": "r"}))
        with Workspace.open(handbook) as desk:
            (found,) = freshening.learned_cases(desk.house, "tone@1")
    finally:
        shutil.rmtree(run.parent)
        shutil.rmtree(folder.parents[1])
    assert found.gold == ("41,963",)
    assert found.spans[0].document.endswith("Salary and Equity Compensation.md")


@pytest.mark.slow
def test_trained_facts_are_edited_and_an_adapter_trained_again_is_measured(towns: Workspace, room: Path) -> None:
    before = hashes(towns.root)
    learned = freshening.learned_cases(towns.house, "towns@1")
    assert len(learned) >= 8
    assert all(isinstance(one.spans[0], Span) for one in learned)
    rows: list[Row] = []
    found = freshening.run(
        towns.house,
        lambda house: [contender(house, "tuned", "towns@1"), contender(house, "tuned+rag", "towns@1")],
        edits=4,
        trained_cases=learned,
        retrain=freshening.retraining(towns.house, "towns@1", overrides={"epochs": 1}),
        on_row=lambda _, row: rows.append(row),
    )
    assert any(one["trained"] for one in found["edits"])
    tuned = found["arms"]["tuned"]
    manifest = towns.house.adapters.get("towns@1").manifest
    assert tuned["price_seconds"] == manifest["seconds"]
    assert "by training again" in tuned["never"]
    assert tuned["trained"]["stale_value_rate"]["n"] >= 1
    assert found["arms"]["tuned+rag"]["retrieves"]

    again = found["retrained"]
    assert again["adapter"] == "towns-fresh@1", again
    assert again["seconds"] > 0
    assert again["cpu_seconds"] > 0
    assert again["examples"] == 20
    assert again["kept"] > 10
    assert found["arms"]["retrained"]["n"] == 4
    assert found["arms"]["retrained"]["price_seconds"] > 0
    assert len(rows) == 12
    assert towns.house.adapters.names() == ["towns"]
    assert hashes(towns.root) == before
    assert list(room.iterdir()) == []


@pytest.mark.slow
def test_a_training_that_cannot_be_is_said_and_the_rest_is_kept(towns: Workspace, room: Path) -> None:
    learned = towns.state / "runs" / towns.house.adapters.get("towns").manifest["run"] / "corrected.jsonl"
    learned.rename(learned.with_suffix(".away"))
    found = freshening.run(
        towns.house,
        lambda house: [contender(house, "tuned", "towns@1")],
        edits=1,
        retrain=freshening.retraining(towns.house, "towns@1"),
    )
    assert "are not in this workspace any more" in found["retrained"]["failed"]
    assert any("training again" in note for note in found["notes"])
    assert found["arms"]["tuned"]["n"] == 1
    assert list(room.iterdir()) == []
