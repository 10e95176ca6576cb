"""The default model and a loopback server asked in one run: base, RAG, the right passage, sentences alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook import Workspace
from openbook.compare.schema import Row
from openbook.compare.store import Store
from openbook.compare.trial import run
from openbook.contenders import contenders
from openbook.records import Case, Message, Span
from openbook.settings import Endpoint
from tests.servers import ChatServer

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]
LEAVE = "# Leave\n\nEmployees get 25 vacation days a year. Unused days expire in March.\n"
DOGS = "# Dogs\n\nDogs are welcome in the office on Fridays. Cats must stay at home.\n"
ARMS = ("base", "rag", "tuned", "oracle", "bare", "extractive", "endpoint", "naive")


def span(name: str, text: str, quote: str) -> Span:
    start = text.index(quote)
    return Span(f"docs/{name}", start, start + len(quote))


CASES = [
    Case(
        "How many vacation days do employees get?", ("25",), (span("leave.md", LEAVE, "25 vacation days"),), id="leave"
    ),
    Case("On which day are dogs welcome?", ("Fridays",), (span("dogs.md", DOGS, "Fridays"),), id="dogs"),
    Case(
        "Are dogs welcome in the office?",
        kind="unanswerable",
        why="superseded",
        without=("docs/dogs.md",),
        id="gone",
    ),
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    (folder / "docs").mkdir()
    (folder / "docs/leave.md").write_text(LEAVE)
    (folder / "docs/dogs.md").write_text(DOGS)
    with Workspace.init(folder) as workspace:
        workspace.sync([folder / "docs"])
        names = {one.name for one in workspace.house.library.documents()}
    assert names == {"docs/leave.md", "docs/dogs.md"}
    return folder


@pytest.fixture(scope="module")
def asked(desk: Path) -> Iterator[dict[tuple[str, str], Row]]:
    """The rows of one run, and of a second one that had nothing left to ask."""
    shots = [Message("user", "Who pays for coffee?"), Message("assistant", "The company pays.")]
    with ChatServer(lambda messages: "Employees get 25 vacation days a year [1].") as server:
        workspace = Workspace.open(desk)
        workspace.settings = workspace.settings.model_copy(
            update={"endpoint": Endpoint(url=server.url, model="tiny", concurrency=2)}
        )
        with workspace:
            house = workspace.house
            found, missing = contenders(house, tuned=(), both=(), shots={"base": shots}, arms=ARMS)
            assert missing.keys() <= {"tuned", "bare"}
            assert "train one with: openbook finetune" in missing["tuned"]
            with Store(desk / "report") as store:
                assert run(CASES, found, store).failed == {}
                models = {key: loaded.result() for key, loaded in house._loaded.items()}
                again = run(CASES, found, store)
                assert (again.asked, again.kept) == (0, len(store.rows()))
                assert {key: loaded.result() for key, loaded in house._loaded.items()} == models
                assert len(models) == (3 if house.reader is not None else 2)
                yield {(row.case, row.arm): row for row in store.rows()}


def test_every_arm_answered_what_it_takes(asked: dict[tuple[str, str], Row]) -> None:
    whole = {"base", "rag", "extractive", "endpoint", "naive"}
    assert {(case.id, arm) for case in CASES for arm in whole} <= asked.keys()
    assert {case for case, arm in asked if arm == "oracle"} == {"leave", "dogs"}
    assert len({row.identity for row in asked.values()}) == len({row.arm for row in asked.values()})
    assert all(row.cpu_seconds > 0 and row.memory_mb > 100 for row in asked.values())


def test_arms_differ_by_what_the_model_is_shown(asked: dict[tuple[str, str], Row]) -> None:
    prompts = {arm: row.answer.prompt for (case, arm), row in asked.items() if case == "leave" and row.answer}
    assert "25 vacation days" not in prompts["base"]
    assert "Who pays for coffee?" in prompts["base"]
    assert "Who pays for coffee?" not in prompts["naive"]
    assert prompts["base"].endswith(prompts["naive"].split("<|im_start|>user")[-1])
    assert "25 vacation days" in prompts["rag"]
    assert "Dogs are welcome" in prompts["rag"]
    assert "25 vacation days" in prompts["oracle"]
    assert "Dogs are welcome" not in prompts["oracle"]
    assert prompts["extractive"] == ""


def test_the_right_passage_is_cited_where_it_stands(asked: dict[tuple[str, str], Row]) -> None:
    for arm in ("rag", "oracle", "extractive", "endpoint"):
        answer = asked["leave", arm].answer
        assert answer is not None
        assert "25" in answer.text, arm
        assert {one.document for one in answer.citations} == {"docs/leave.md"}, arm


def test_a_withdrawn_document_is_shown_to_no_arm(asked: dict[tuple[str, str], Row]) -> None:
    for arm in ("rag", "extractive", "endpoint"):
        answer = asked["gone", arm].answer
        assert answer is not None
        assert {hit.chunk.document for hit in answer.hits} <= {"docs/leave.md"}, arm
