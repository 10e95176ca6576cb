"""Arms behind a server, over a real socket: beside local ones, within its limits, when it dies half way."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.assemble import House
from openbook.compare.store import Store
from openbook.compare.trial import run
from openbook.contenders import contenders
from openbook.errors import CompareError, SettingsError
from openbook.records import Case, Change, Chunk, Document, Entry, Message, Span
from openbook.retrieve.embed import FakeEmbedder
from openbook.settings import AnswerSettings, Endpoint, Models, Settings
from tests.servers import ChatServer

EMBEDDER = FakeEmbedder(dimensions=256)
TEXTS = {
    "leave.md": "Every employee gets 15 days of paid vacation. Unused vacation days expire in March.",
    "dogs.md": "Dogs are welcome in the office on Fridays. Cats must stay at home.",
    "travel.md": "The travel desk books every flight. Train tickets need no approval.",
}
CASES = [
    Case(
        "How many days of paid vacation does every employee get?", ("15 days",), (Span("leave.md", 0, 45),), id="leave"
    ),
    Case("On which day are dogs welcome in the office?", ("Fridays",), (Span("dogs.md", 0, 42),), id="dogs"),
    Case("Which desk books every flight?", ("travel desk",), (Span("travel.md", 0, 35),), id="travel"),
    Case("What must cats do?", ("stay at home",), (Span("dogs.md", 43, 67),), id="cats"),
]
HERE = ("rag", "endpoint", "endpoint-base")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(lambda messages: "Every employee gets 15 days of paid vacation [1].") as opened:
        yield opened


@pytest.fixture
def houses(tmp_path: Path, server: ChatServer) -> Iterator[House]:
    """A workspace without a local model and with an endpoint."""
    with house(tmp_path, server, generator="extractive") as opened:
        yield opened


@contextlib.contextmanager
def house(tmp_path: Path, server: ChatServer, *, generator: str, **endpoint: object) -> Iterator[House]:
    settings = Settings(
        models=Models(generator=generator),
        endpoint=Endpoint.model_validate({"url": server.url, "model": "tiny", "timeout": 3, "retries": 0, **endpoint}),
        answer=AnswerSettings(abstain_below=0),
    )
    opened = House(tmp_path / "desk", settings)
    opened.embedder = EMBEDDER
    opened.library.commit(Change(put=[entry(name, text) for name, text in TEXTS.items()]))
    yield opened
    opened.close()


def entry(name: str, text: str) -> Entry:
    document = Document(name=name, text=text, format="md", hash=name, bytes=len(text))
    chunk = Chunk(name, 0, len(text), text)
    return Entry(document, [chunk], EMBEDDER.embed([chunk.indexed_text], kind="document"))


def test_an_endpoint_is_asked_with_and_without_passages_beside_the_local_arms(
    houses: House, server: ChatServer, tmp_path: Path
) -> None:
    found, missing = contenders(houses, tuned=(), both=(), shots={}, arms=HERE)
    assert missing == {}
    assert {one.name: (one.server != "", one.workers, one.model) for one in found} == {
        "rag": (False, 1, "extractive"),
        "endpoint": (True, 4, "tiny"),
        "endpoint-base": (True, 4, "tiny"),
    }
    with Store(tmp_path) as store:
        done = run(CASES, found, store)
        assert (done.asked, done.failed) == (12, {})
        rows = {(row.case, row.arm): row for row in store.rows()}
    read = rows["leave", "endpoint"].answer
    assert read is not None
    assert (read.model, read.adapter, read.arm) == ("tiny", None, "rag")
    assert read.citations[0].document == "leave.md"
    alone = rows["leave", "endpoint-base"].answer
    assert alone is not None
    assert (alone.hits, alone.written) == ((), "Every employee gets 15 days of paid vacation [1].")
    assert len(server.requests) == 8


def test_requests_at_once_stay_within_the_setting(tmp_path: Path) -> None:
    gate, now, most = threading.Lock(), 0, 0

    def reply(messages: list[dict[str, str]]) -> str:
        nonlocal now, most
        with gate:
            now += 1
            most = max(most, now)
        time.sleep(0.1)
        with gate:
            now -= 1
        return "Fine."

    with ChatServer(reply) as server, house(tmp_path, server, generator="endpoint", concurrency=3) as one:
        found, missing = contenders(one, tuned=(), both=(), shots={}, arms=("base", "rag", "tuned"))
        assert [each.workers for each in found] == [3, 3]
        assert "needs a model on this machine" in missing["tuned"]
        with Store(tmp_path) as store:
            assert run(CASES, found, store).asked == 8
    assert most == 3


def test_a_server_that_dies_half_way_keeps_its_rows_and_the_next_run_goes_on(tmp_path: Path) -> None:
    many = [Case(f"How many days {number}?", ("15",), id=f"c{number}") for number in range(12)]
    with ChatServer() as server, house(tmp_path, server, generator="extractive", concurrency=2) as one:
        found, _ = contenders(one, tuned=(), both=(), shots={}, arms=HERE[:2])
        server.faults += [*[None] * 5, *["die"] * 7]  # type: ignore[list-item]  # None: nothing wrong
        with Store(tmp_path) as store:
            done = run(many, found, store)
            assert 5 <= len(store.done("endpoint", found[1].identity)) < 12
            assert 3 <= done.failed["endpoint"] <= 6  # an answer in between begins the count anew
            assert "'endpoint' failed 3 times in a row and was asked no more" in done.notes[0]
            assert "broke in the middle of the answer" in done.notes[0]
            assert len(store.rows({"rag": found[0].identity})) == 12
            server.faults.clear()
            again = run(many, found, store)
            assert again.failed == {}
            assert len(store.done("endpoint", found[1].identity)) == 12


def test_a_server_that_is_gone_is_said_once_and_the_local_arms_are_whole(tmp_path: Path) -> None:
    with ChatServer() as server:
        url = server.url
    with ChatServer() as other, house(tmp_path, other, generator="extractive", url=url) as one:
        found, _ = contenders(one, tuned=(), both=(), shots={}, arms=HERE)
        with Store(tmp_path) as store:
            done = run(CASES, found, store)
            assert done.missing.keys() == {"endpoint", "endpoint-base"}
            assert "no server answers at" in done.missing["endpoint"]
            assert len(store.rows({"rag": found[0].identity})) == 4


def test_a_server_that_takes_no_more_requests_is_waited_for(tmp_path: Path, server: ChatServer) -> None:
    with house(tmp_path, server, generator="extractive", retries=2) as one:
        found, _ = contenders(one, tuned=(), both=(), shots={}, arms=("endpoint-base",))
        server.faults += [429, 429, 503]
        with Store(tmp_path) as store:
            assert run(CASES, found, store).failed == {}
        assert len(server.requests) == len(CASES) + 3


def test_an_endpoint_that_all_four_would_ask_and_that_refuses_ends_with_one_sentence(tmp_path: Path) -> None:
    with ChatServer() as server:
        server.faults += [401] * 99
        with house(tmp_path, server, generator="endpoint") as one:
            found, _ = contenders(one, tuned=(), both=(), shots={}, arms=("base", "rag"))
            with Store(tmp_path) as store, pytest.raises(CompareError, match=r"every answer of the arm .* wants a key"):
                run(CASES, found, store)


def test_an_endpoint_without_a_model_is_told_by_the_contenders(tmp_path: Path, server: ChatServer) -> None:
    with house(tmp_path, server, generator="extractive", model="") as one:
        found, missing = contenders(one, tuned=(), both=(), shots={}, arms=("base", *HERE))
        assert [each.name for each in found] == ["rag"]
        assert "no endpoint is set" in missing["endpoint"]
        assert "no model writes answers" in missing["base"]
        with pytest.raises(SettingsError, match=r"endpoint\.model is empty"):
            one.assistant("base", endpoint=True).load()


def test_few_shot_turns_and_the_tasks_own_system_turn_reach_the_server(
    houses: House, server: ChatServer, tmp_path: Path
) -> None:
    shots = (Message("user", "Hello?"), Message("assistant", "Hi there!"))
    case = Case(
        "May dogs come?",
        ("yes",),
        kind="behaviour",
        id="b",
        history=(Message("system", "Speak kindly."), Message("user", "Who?"), Message("assistant", "Me.")),
    )
    found, _ = contenders(houses, tuned=(), both=(), shots={"base": shots, "rag": shots}, arms=HERE[1:])
    with Store(tmp_path) as store:
        assert run([case], found, store).failed == {}
    by_system = {request["messages"][0]["content"]: request["messages"] for request in server.requests}
    talk = ["Hello?", "Hi there!", "Who?", "Me."]
    assert [turn["content"] for turn in by_system["Speak kindly."]] == ["Speak kindly.", *talk, "May dogs come?"]
    (told,) = by_system.keys() - {"Speak kindly."}
    assert told.startswith("Answer the question from the numbered passages only")
    assert told.endswith("\nSpeak kindly.")
    assert [turn["content"] for turn in by_system[told][1:-1]] == talk
    assert "Dogs are welcome" in by_system[told][-1]["content"]
