"""What a caller may name: places of this machine, labels; whose work opens to whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openbook.records import Answer, Timings
from openbook.serve import arms, history, keys, openai_models, reach, training, uploads, work
from openbook.serve.access import OPEN, Caller
from openbook.serve.errors import Refused
from openbook.serve.state import Server
from openbook.settings import Serve
from openbook.workspace import Workspace

KEY = Caller("key-1", "bot", frozenset({"write"}), ("sales",))


@dataclass
class Place:
    server: Server
    root: Path
    outside: Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root, outside = tmp_path / "desk", tmp_path / "outside"
    outside.mkdir()
    workspace = Workspace.init(root)
    (root / "shared" / "deep").mkdir(parents=True)
    (root / "shared" / "deep" / "a.md").write_text("a")
    (outside / "b.md").write_text("b")
    (root / "shared" / "leak").symlink_to(outside, target_is_directory=True)
    workspace.settings = workspace.settings.model_copy(update={"serve": Serve(folders=("shared",))})
    return Place(Server(workspace), root, outside)


@pytest.mark.parametrize("wanted", ["shared", "shared/deep/a.md", "shared/../shared/deep", "shared/**/*.md"])
def test_a_key_names_places_inside_the_folders_the_operator_allows(place: Place, wanted: str) -> None:
    assert reach.target(place.server, KEY, wanted).startswith(str(place.root / "shared"))


@pytest.mark.parametrize(
    "wanted",
    ["", ".", "..", "/", "/etc/passwd", "~", "shared/../openbook.toml", "shared/leak", "shared/leak/b.md", "shared2",
     "shared\0", ".openbook/server.json", "https://example.org/", "HTTP://127.0.0.1/"],
)  # fmt: skip
def test_and_no_other(place: Place, wanted: str) -> None:
    with pytest.raises(Refused) as refused:
        reach.target(place.server, KEY, wanted)
    assert refused.value.status == 403


def test_what_is_not_there_is_refused_in_the_words_of_what_is(place: Place) -> None:
    said = []
    for wanted in (str(place.outside / "b.md"), str(place.outside / "c.md")):
        with pytest.raises(Refused) as refused:
            reach.target(place.server, KEY, wanted)
        said.append(refused.value.message.replace(wanted, ""))
    assert said[0] == said[1]


def test_who_sits_at_the_machine_names_any_place_but_openbooks_own(place: Place) -> None:
    assert reach.target(place.server, OPEN, str(place.outside)) == str(place.outside)
    assert reach.target(place.server, OPEN, "https://example.org/") == "https://example.org/"
    (place.outside / "way").symlink_to(place.root / ".openbook")
    for wanted in (".openbook", ".openbook/server.json", str(place.outside / "way" / "server.db")):
        with pytest.raises(Refused):
            reach.target(place.server, OPEN, wanted)


def test_web_pages_are_for_keys_when_the_operator_says_so(place: Place) -> None:
    settings = place.server.workspace.settings
    place.server.workspace.settings = settings.model_copy(update={"serve": Serve(web=True)})
    assert reach.target(place.server, KEY, "https://example.org/") == "https://example.org/"
    assert reach.told(place.server, KEY) == {"any_path": False, "folders": [], "web": True}


def test_work_opens_to_those_who_see_what_its_maker_saw(tmp_path: Path) -> None:
    reach.seal(tmp_path, KEY)
    peer = replace(KEY, id="key-2", groups=("sales", "hr"))
    less = replace(KEY, id="key-3", groups=("hr",))
    assert reach.may_open(tmp_path, peer)
    assert not reach.may_open(tmp_path, peer, own=True)
    assert reach.may_open(tmp_path, KEY, own=True)
    assert not reach.may_open(tmp_path, less)
    assert not reach.may_open(tmp_path, replace(less, scopes=frozenset({"admin"})))
    assert reach.may_open(tmp_path, OPEN)


def test_work_that_says_not_whose_it_is_opens_to_those_who_see_everything(tmp_path: Path) -> None:
    assert not reach.may_open(tmp_path, KEY)
    assert reach.may_open(tmp_path, OPEN)
    (tmp_path / "caller.json").write_text('{"caller": 3}')
    assert not reach.may_open(tmp_path, KEY)


@pytest.mark.parametrize(("learned", "may"), [(None, True), ([], True), (["sales"], True), (["sales", "hr"], False)])
def test_an_adapter_tells_what_it_learned_so_it_is_for_those_who_may_know(learned: Any, may: bool) -> None:
    library = None if learned is None else {"reading": {"groups": learned}}
    adapter: Any = SimpleNamespace(manifest={"library": library})
    assert reach.may_ask(KEY, adapter) is may
    assert reach.may_ask(OPEN, adapter)


@pytest.mark.parametrize("name", ["..", ".", "", "../a", "a/b", ".hidden", "a\0b"])
def test_only_a_plain_name_is_a_folder(tmp_path: Path, name: str) -> None:
    assert reach.folder(tmp_path, name) is None


def test_a_hidden_adapter_is_refused_as_a_model_that_does_not_exist(place: Place) -> None:
    with place.server.house.adapters.reserve("raises") as draft:
        draft.publish({"library": {"reading": {"groups": ["hr"]}}})
    with pytest.raises(Refused) as refused:
        reach.check_adapter(place.server, KEY, "raises")
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")
    reach.check_adapter(place.server, replace(KEY, groups=("hr",)), "raises@1")
    reach.check_adapter(place.server, KEY, "absent")


def test_no_list_names_an_adapter_that_learned_what_the_caller_may_not_know(place: Place) -> None:
    adapters = place.server.house.adapters
    for name, groups in (("tone", []), ("tone", ["hr"]), ("raises", ["hr"])):
        with adapters.reserve(name) as draft:
            draft.publish({"library": {"reading": {"groups": groups}}})
    adapters.promote("tone@2", force=True)
    shown = {way.id for way in arms.listed(place.server, KEY)}
    # The bare name stands for a version that is hidden.
    assert shown == {"rag", "base", "extractive", "tone@1", "tone@1+rag"}
    told = repr(openai_models.listed(place.server, KEY))
    assert "raises" not in told
    assert "tone@2" not in told
    for model in ("raises", "raises+rag", "raises@1", "ft:base:raises:1", "tone", "tone@2"):
        said = []
        for wanted in (model, "absent"):
            with pytest.raises(Refused) as refused:
                openai_models.one(place.server, KEY, wanted)
            said.append((refused.value.status, refused.value.message.replace(wanted, "")))
        assert said[0] == said[1]
    assert "raises@1" in {way.id for way in arms.listed(place.server, OPEN)}


def test_nobody_adds_to_an_adapter_that_is_hidden_from_them(place: Place) -> None:
    with place.server.house.adapters.reserve("raises") as draft:
        draft.publish({"library": {"reading": {"groups": ["hr"]}}})
    with pytest.raises(Refused) as refused:
        training.submit(place.server, KEY, training.TrainOrder(name="raises"))
    assert (refused.value.status, refused.value.param) == (409, "name")


def test_what_a_hidden_adapter_wrote_is_withheld_from_who_may_not_ask_it(place: Place) -> None:
    with place.server.house.adapters.reserve("raises") as draft:
        draft.publish({"library": {"reading": {"groups": ["hr"]}}})
    asker = Caller("key-2", "hr", frozenset({"ask"}), ("hr",))
    answer = Answer(
        text="Raises are 9 %.", abstained=False, citations=(), sentences=(), hits=(), prompt="", model="m",
        adapter="raises@1", arm="tuned", prompt_tokens=1, answer_tokens=1, seconds=Timings(0, 0, 0, 0),
        library_version=0,
    )  # fmt: skip
    _, talk = history.keep(place.server, asker, "How much?", "raises", answer, None)
    assert talk is not None
    shown = [
        history.talk(place.server, who, talk)["answers"][0]["answer"]["answer"]
        for who in (asker, OPEN, replace(KEY, scopes=frozenset({"admin"})))
    ]
    assert shown == ["Raises are 9 %.", "Raises are 9 %.", history.WITHHELD]


def test_an_admin_opens_files_of_those_who_see_no_more(place: Place) -> None:
    store = place.server.store
    admin = Caller("key-9", "admin", frozenset({"admin"}), ("sales",))
    for groups, may in ((("sales",), True), ((), True), (("sales", "hr"), False)):
        owner, _ = keys.create(store, "owner", ("train",), groups)
        kept = uploads.Kept(f"file-{owner.id}", "a.jsonl", 3, "")
        uploads.record(place.server, [kept], "fine-tune", Caller(owner.id, "owner", frozenset({"train"}), groups))
        assert uploads.find(place.server, kept.id, OPEN).name == "a.jsonl"
        if may:
            assert uploads.find(place.server, kept.id, admin).name == "a.jsonl"
        else:
            with pytest.raises(Refused):
                uploads.find(place.server, kept.id, admin)


def test_a_sync_looks_at_no_other_place_either_when_it_is_narrowed(place: Place) -> None:
    for only in (str(place.outside / "b.md"), "shared/leak/b.md"):
        with pytest.raises(Refused) as refused:
            work.sync(work.SyncOrder(targets=["shared"], only=[only]), place.server, KEY)
        assert refused.value.status == 403
