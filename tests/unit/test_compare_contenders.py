"""The arms of a workspace with real tiny models and adapters: what they are, what is missing, what tells them apart."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openbook.assemble import House
from openbook.compare.schema import DIAGNOSTICS, FOUR
from openbook.compare.store import Store
from openbook.compare.trial import Contender, run
from openbook.contenders import ask_with, contenders, defaults, gold_chunk, scope_of
from openbook.errors import AdapterError, CompareError
from openbook.models import catalogue, fetch
from openbook.models.catalogue import File, FileSource, Model
from openbook.records import Case, Change, Chunk, Condition, Document, Entry, Message, Span
from openbook.retrieve.embed import FakeEmbedder
from openbook.settings import AnswerSettings, Models, Settings

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
EMBEDDER = FakeEmbedder(dimensions=256)
ALL = (*FOUR, *DIAGNOSTICS)
TEXTS = {
    "leave.md": "Every employee gets 15 days of paid vacation. Unused vacation days expire in March.",
    "dogs [old].md": "Dogs are welcome in the office on Fridays.",
}
CASES = [
    Case(
        "How many days of paid vacation does every employee get?", ("15 days",), (Span("leave.md", 0, 44),), id="leave"
    ),
    Case("What day for dogs in the office?", ("Fridays",), (Span("dogs [old].md", 0, 42),), id="dogs"),
    Case("Thank you!", ("You are welcome!",), kind="behaviour", history=(Message("system", "Be brief."),), id="voice"),
]
SHOTS = (Message("user", "Hello?"), Message("assistant", "Hi!"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.gguf and served/, a converted model that stands for a merged adapter."""
    pytest.importorskip("torch", reason="needs the extra finetune")
    from tests.tiny_finetune import write_model
    from tests.tiny_gguf import write_gguf_of

    folder = tmp_path_factory.mktemp("tiny")
    write_gguf_of(write_model(folder / "hub"), folder / "model.gguf", kind="Q4_1")
    other = write_gguf_of(write_model(folder / "other", seed=1), folder / "other.gguf", kind="Q4_1")
    fetch.convert_into(other, folder / "served", name="tiny")
    return folder


@pytest.fixture
def house(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", entry(made))
    settings = Settings(models=Models(generator="tiny"), answer=AnswerSettings(max_tokens=8, abstain_below=0))
    opened = House(tmp_path / "desk", settings)
    opened.embedder = EMBEDDER
    yield opened
    opened.close()


@pytest.fixture
def filled(house: House, made: Path) -> House:
    """With documents and adapters: voice in two seeds, and one that learned to read."""
    house.library.commit(Change(put=[stored(name, text) for name, text in TEXTS.items()]))
    for seed in (0, 1):
        adapter(house, made, "voice", seed=seed, system="Speak as the team does.")
    adapter(house, made, "reader", seed=0, library={"version": 1, "serving": house.serving()})
    return house


def entry(made: Path) -> Model:
    data = (made / "model.gguf").read_bytes()
    file = File("model.gguf", len(data), sha_of(made), (FileSource(str(made / "model.gguf")),))
    return Model("tiny", "generator", "tests", "MIT", 1000, 1024, (file,))


def sha_of(made: Path) -> str:
    return hashlib.sha256((made / "model.gguf").read_bytes()).hexdigest()


def stored(name: str, text: str) -> Entry:
    chunk = Chunk(name, 0, len(text), text)
    document = Document(name=name, text=text, format="md", hash=name, bytes=len(text))
    return Entry(document, [chunk], EMBEDDER.embed([chunk.indexed_text], kind="document"))


def adapter(house: House, made: Path, name: str, *, seed: int, sha256: str = "", **more: Any) -> None:
    with house.adapters.reserve(name) as draft:
        shutil.copytree(made / "served", draft.folder / "served")
        draft.publish(
            {
                "created": f"2026-11-2{seed}T10:00:00+00:00",
                "base": {"name": "tiny", "sha256": sha256 or sha_of(made)},
                "method": "lora",
                "data": {"hash": name},
                "settings": {"rank": 4, "seed": seed},
                "seed": seed,
                "library": None,
                **more,
            }
        )


def by_name(house: House, **more: Any) -> tuple[dict[str, Contender], dict[str, str]]:
    given: dict[str, Any] = {"tuned": ("voice@1", "voice@2"), "both": ("reader@1",), "shots": {}, "arms": ALL, **more}
    found, missing = contenders(house, **given)
    return {one.name: one for one in found}, missing


def test_the_four_their_diagnostics_and_seeds_are_made_and_the_rest_says_why_not(filled: House) -> None:
    found, missing = by_name(filled)
    roles = {name: one.role for name, one in found.items()}
    assert roles == {
        **dict.fromkeys(FOUR, "four"),
        **dict.fromkeys(("oracle", "tuned+oracle", "closed+rag", "extractive"), "diagnostic"),
        "tuned#2": "seed",
    }
    assert missing.keys() == {"naive", "bare", "endpoint", "endpoint-base"}
    assert "asked without examples" in missing["naive"]
    assert "no bundled reader" in missing["bare"]
    assert found["tuned"].label == "tuned (voice@1)"
    assert (found["tuned#2"].adapter, found["tuned+rag"].adapter, found["closed+rag"].adapter) == (
        "voice@2",
        "reader@1",
        "voice@1",
    )
    assert len({one.identity for one in found.values()}) == len(found)


def test_one_run_asks_each_model_with_its_own_prompt_and_loads_it_once(filled: House, tmp_path: Path) -> None:
    found, _ = by_name(filled, shots={"base": SHOTS})
    with Store(tmp_path / "report") as store:
        done = run(CASES, list(found.values()), store)
        assert (done.failed, done.missing) == ({}, {})
        rows = {(row.case, row.arm): row.answer for row in store.rows()}
    adapters = {arm: answer.adapter for (case, arm), answer in rows.items() if case == "leave" and answer is not None}
    assert adapters == {
        **dict.fromkeys(("base", "rag", "oracle", "naive", "extractive")),
        **dict.fromkeys(("tuned", "closed+rag"), "voice@1"),
        **dict.fromkeys(("tuned+rag", "tuned+oracle"), "reader@1"),
        "tuned#2": "voice@2",
    }
    prompts = {key: answer.prompt for key, answer in rows.items() if answer is not None}
    assert "Speak as the team does." in prompts["leave", "tuned"]
    assert "Be brief." in prompts["voice", "tuned"]
    assert "Speak as the team does." not in prompts["voice", "tuned"]
    assert "Be brief." in prompts["voice", "rag"]
    assert "Hello?" in prompts["leave", "base"]
    assert "Hello?" not in prompts["leave", "naive"]
    assert ("voice", "oracle") not in rows
    assert filled._loaded.keys() == {"", "voice@1", "reader@1"}  # the seed's model is let go


def test_a_released_adapter_is_loaded_again_when_asked(filled: House) -> None:
    found, _ = by_name(filled, arms=("tuned",))
    assert found["tuned#2"].ask(CASES[0]).adapter == "voice@2"
    found["tuned#2"].close()
    found["tuned#2"].close()
    assert "voice@2" not in filled._loaded
    assert found["tuned#2"].ask(CASES[0]).adapter == "voice@2"


def test_identity_is_the_same_again_and_another_for_whatever_decides_an_answer(filled: House) -> None:
    def identities(**more: Any) -> dict[str, str]:
        return {name: one.identity for name, one in by_name(filled, **more)[0].items()}

    first = identities()
    assert identities() == first
    shown = identities(shots=dict.fromkeys(FOUR, SHOTS))
    assert all(shown[name] != first[name] for name in first if name != "extractive")
    assert identities(groups=("board",))["rag"] != first["rag"]
    assert identities(groups=("board",))["base"] == first["base"]
    filled.library.commit(Change(put=[stored("new.md", "The canteen opens at noon.")]))
    later = identities()
    assert {name for name in first if later[name] == first[name]} == {"base", "tuned", "tuned#2"}
    filled.settings = filled.settings.model_copy(update={"answer": AnswerSettings(max_tokens=9)})
    assert not set(identities().values()) & set(later.values())


def test_one_adapter_for_both_arms_leaves_no_other_to_give_passages_to(filled: House) -> None:
    found, missing = by_name(filled, tuned=("reader",), both=("reader",))
    assert "learned with documents" in missing["closed+rag"]
    assert found["tuned"].label == "tuned (reader@1, which learned to read passages)"


def test_without_adapters_or_documents_the_arms_say_what_to_run(house: House) -> None:
    found, missing = by_name(house, tuned=(), both=())
    assert found.keys() == {"base"}
    assert "openbook finetune EXAMPLES --name NAME" in missing["tuned"]
    assert "openbook finetune --from-library" in missing["tuned+rag"]
    assert "openbook sync FOLDER" in missing["rag"]
    assert by_name(house, tuned=(), both=(), arms=("base",))[1] == {}


def test_an_adapter_that_is_not_there_or_of_another_model_is_one_sentence(filled: House, made: Path) -> None:
    with pytest.raises(AdapterError, match="nobody"):
        by_name(filled, tuned=("nobody",))
    adapter(filled, made, "foreign", seed=0, sha256="0" * 64)
    with pytest.raises(AdapterError, match="foreign@1 was trained on"):
        by_name(filled, tuned=("foreign",))


def test_adapters_are_chosen_by_what_they_learned_with_their_seeds(filled: House, made: Path) -> None:
    assert defaults(filled.adapters) == (("voice@2", "voice@1"), ("reader@1",))
    filled.adapters.promote("voice@1", force=True)
    assert defaults(filled.adapters) == (("voice@1", "voice@2"), ("reader@1",))
    adapter(filled, made, "foreign", seed=9, sha256="0" * 64)
    assert defaults(filled.adapters, base_sha256=sha_of(made)) == (("voice@1", "voice@2"), ("reader@1",))
    filled.adapters.remove("reader", force=True)
    tuned, both = defaults(filled.adapters, base_sha256=sha_of(made))
    assert tuned == both == ("voice@1", "voice@2")


def test_a_workspace_without_adapters_has_no_defaults(house: House) -> None:
    assert defaults(house.adapters) == ((), ())


def test_few_shot_turns_can_be_tried_on_every_arm(filled: House) -> None:
    asking = ask_with(filled, tuned=("voice@1",), both=("reader@1",))
    for arm in ("base", "rag", "tuned", "tuned+rag"):
        assert "Hello?" in asking(arm, SHOTS)(CASES[0]).prompt, arm
        assert "Hello?" not in asking(arm, ())(CASES[0]).prompt, arm
    with pytest.raises(CompareError, match="needs a fine-tuned adapter"):
        ask_with(filled, tuned=(), both=())("tuned", ())
    with pytest.raises(CompareError, match="there is no arm 'oven'"):
        asking("oven", ())


def test_threads_that_need_the_same_model_get_one(house: House) -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(house.generator())) for _ in range(4)]
    rooms = [threading.Thread(target=lambda: found.append(house.searcher)) for _ in range(4)]
    for thread in [*threads, *rooms]:
        thread.start()
    for thread in [*threads, *rooms]:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 2


def test_the_gold_chunk_is_the_one_that_holds_most_of_the_span(house: House) -> None:
    text = "One two three. Four five six. Seven eight nine."
    cuts = [(0, 20), (10, 35), (25, len(text))]
    chunks = [Chunk("d.md", start, end, text[start:end]) for start, end in cuts]
    document = Document(name="d.md", text=text, format="md", hash="d", bytes=len(text))
    vectors = EMBEDDER.embed([one.indexed_text for one in chunks], kind="document")
    house.library.commit(Change(put=[Entry(document, chunks, vectors)]))
    case = Case("?", ("Four",), (Span("d.md", 15, 29),), id="c")
    assert gold_chunk(house.library, case) == chunks[1]
    for span in (Span("gone.md", 0, 3), Span("d.md", 900, 910)):
        with pytest.raises(CompareError, match="stands in no chunk of"):
            gold_chunk(house.library, Case("?", ("x",), (span,), id="c"))


def test_a_hidden_document_is_named_literally(filled: House) -> None:
    hidden = Case("Are dogs welcome?", id="c", without=("dogs [old].md",))
    assert scope_of(hidden, groups=("a",), version=2).where == (Condition("document", "!=", "dogs [[]old].md"),)
    names = {hit.chunk.document for hit in filled.searcher.search("dogs office Fridays", scope=scope_of(hidden)).hits}
    assert names == {"leave.md"}
