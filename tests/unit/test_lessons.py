"""Lessons made from a library: nothing in them that this training may not see or holds out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from openbook import Workspace, lessons
from openbook.assemble import House, differences
from openbook.errors import ExamplesError, OpenbookError, SettingsError
from openbook.finetune import examples, reading
from openbook.finetune.job import job_of
from openbook.finetune.run import Tools, preflight
from openbook.ingest.resplit import FILE
from openbook.prompt import ABSTENTION
from openbook.records import Change, Example, Message, ModelFiles
from openbook.retrieve.embed import FakeEmbedder
from openbook.settings import Finetune, Reading, Settings
from tests import migrations
from tests.tiny_finetune import write_tokenizer

TOWNS = "Abbeville Bolton Cressing Dornoch Elmswell Farnham Gandalf Hovingham Ilkley Jurby Kentmere Lundy".split()
SECRET = "The town of Zzyzx has 99 vaults in its district."
EMBEDDER = FakeEmbedder(dimensions=256)


def told(number: int, town: str) -> str:
    facts = (("bridges", 10), ("schools", 40), ("libraries", 70))
    return " ".join(f"The town of {town} has {base + number} {what} in its district." for what, base in facts)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Towns open to all and one for managers only, whose workspace would let managers' documents be learned."""
    made = House(tmp_path, Settings(reading=Reading(groups=("managers",))))
    made.change_embedder(EMBEDDER)
    with closing(made):
        texts = {f"{town}.md": (told(number, town), ("*",)) for number, town in enumerate(TOWNS)}
        texts["zzyzx.md"] = (SECRET, ("managers",))
        put = [migrations.entry(name, text, embedder=EMBEDDER, acl=acl) for name, (text, acl) in texts.items()]
        made.library.commit(Change(put=put, embedder=EMBEDDER.fingerprint))
        yield made


def prepared(
    house: House, *, groups: list[str], questions: tuple[Path, ...] = ()
) -> tuple[list[Example], list[Example], tuple[Example, ...]]:
    """(lessons to learn, lessons held out, conversations held out)."""
    towns = [*enumerate(TOWNS)]
    chats = [(f"How many schools has {town}?", f"The town of {town} has {40 + n} schools!") for n, town in towns]
    chats.append(("How many vaults has Zzyzx?", "The town of Zzyzx has 99 vaults!"))
    file = house.root / "chats.jsonl"
    file.write_text("".join(json.dumps({"prompt": asked, "completion": said}) + "\n" for asked, said in chats))
    job = job_of(
        "towns",
        [file],
        workspace=Finetune(validation=0.3),
        root=house.root,
        model="m",
        reading=house.settings.reading,
        from_library=True,
        overrides={"reading.groups": groups, "reading.variants": 1},
    )
    job = replace(job, questions=questions)
    train, held = lessons.prepare(house, house.root / "lessons", job=job).files
    _, away = examples.split(examples.read([file]).examples, 0.3, seed=job.settings.seed)
    return list(reading.read(train)), list(reading.read(held)), away


def test_a_training_for_fewer_groups_than_the_workspace_allows_shows_nothing_of_the_others(house: House) -> None:
    train, held, _ = prepared(house, groups=[])
    assert "99 vaults" not in " ".join(turn.content for one in train + held for turn in one.messages)
    (house.root / "lessons").rename(house.root / "others")
    train, held, _ = prepared(house, groups=["managers"])
    assert "99 vaults" in " ".join(turn.content for one in train + held for turn in one.messages)


def test_no_conversation_or_document_held_out_comes_back_in_the_voice(house: House) -> None:
    train, held, away = prepared(house, groups=[])
    voiced = {one.place.removeprefix("voice:"): one for one in train if one.place.startswith("voice:")}
    assert voiced
    assert away
    assert voiced.keys().isdisjoint({one.place for one in away})
    assert {one.document for one in train}.isdisjoint({one.document for one in held})


def test_conversations_held_out_do_not_crowd_out_the_lessons_that_are_scored(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "base")
    chats = tmp_path / "chats.jsonl"
    chats.write_text(
        "".join(json.dumps({"prompt": f"Hello {n}", "completion": f"Good day {n}"}) + "\n" for n in range(200))
    )
    files = [tmp_path / "train.jsonl", tmp_path / "held.jsonl"]
    for file in files:
        turns = (Message("user", "Which?"), Message("assistant", "That [1]."))
        reading.write(file, [Example(turns, place=f"answer:{file.stem}{n}") for n in range(20)])
    made = job_of("x", [chats], workspace=Finetune(validation=0.3), root=tmp_path, model="m", from_library=True)
    made = replace(made, lessons=(files[0], files[1]))
    base = ModelFiles(
        "m", "generator", tmp_path, tmp_path, "0", 512, tmp_path, transformers=tmp_path / "base", architecture="llama"
    )
    tools = Tools(convert=lambda *_: base, generator=lambda _: pytest.fail("no model is needed"))
    flight, _ = preflight(made, base, tmp_path / "run", tools=tools, estimate=False)
    first = [one.place.startswith("answer:") for one in flight.kept_validation[: made.settings.scored]]
    assert 8 <= sum(first) <= 32
    assert sum(one.place.startswith("answer:") for one in flight.kept_validation) == 20


def test_a_model_that_cannot_be_trained_is_refused_before_any_question_is_made(tmp_path: Path) -> None:
    (tmp_path / "openbook.toml").write_text('format = 1\n[models]\ngenerator = "extractive"\n')
    with Workspace.open(tmp_path) as ws, pytest.raises(SettingsError, match="extractive"):
        ws.job(name="x", from_library=True)
    assert not (tmp_path / ".openbook" / "lessons").exists()


def test_lessons_wait_for_the_sync_that_splits_anew(house: House) -> None:
    (house.root / ".openbook" / "library" / FILE).write_text('{"chunk_tokens": 64, "overlap_tokens": 0}')
    with pytest.raises(OpenbookError, match="openbook sync"):
        prepared(house, groups=[])


def test_questions_that_nothing_answers_become_refusals_and_the_rest_is_parted_as_before(house: House) -> None:
    asked = house.root / "asked.jsonl"
    cases = [{"question": f"Who was mayor number {n} of Bolton?", "kind": "unanswerable"} for n in range(6)]
    asked.write_text("".join(json.dumps(one) + "\n" for one in cases))
    train, held, _ = prepared(house, groups=[], questions=(asked,))
    mayors = [one for one in (*train, *held) if "mayor" in one.place]
    assert {one.place for one in mayors} <= {f"refusal:Who was mayor number {n} of Bolton?" for n in range(6)}
    assert any(one in mayors for one in train)
    assert all(one.messages[-1].content == ABSTENTION for one in mayors)
    assert all("Bolton has" in one.messages[-2].content for one in mayors)
    facts = json.loads((house.root / "lessons/lessons.json").read_text())
    assert facts["questions"]["unanswerable"] == 6
    assert "no passage holds the answer" not in facts["questions"]["left_out"]


def test_too_few_questions_are_laid_to_the_language_where_it_is_why(tmp_path: Path) -> None:
    german = "Der Antrag wird von der Leitung geprüft und muss bis zum Ende des Monats bei ihr eingereicht sein. " * 4
    made = House(tmp_path, Settings())
    made.change_embedder(EMBEDDER)
    with closing(made):
        made.library.commit(
            Change(put=[migrations.entry("a.md", german, embedder=EMBEDDER)], embedder=EMBEDDER.fingerprint)
        )
        with pytest.raises(ExamplesError, match=r"to learn from: documents not in English \(1\)"):
            prepared(made, groups=[])


def test_what_changed_since_the_training_is_told_with_its_values() -> None:
    then = {"retrieve": {"k": 3, "rrf": 60}, "order": "best_last", "instructions": ""}
    now = {"retrieve": {"k": 2, "rrf": 60}, "order": "best_first", "instructions": "Be kind. " * 20}
    said = differences(then, now)
    assert said[1:] == ["order best_last -> best_first", "retrieve.k 3 -> 2"]
    assert said[0].startswith("instructions none -> Be kind.")
    assert len(said[0]) < 100
