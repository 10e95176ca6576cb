"""Settings, doctor, models and versions over HTTP, also for callers who may see less than all."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import httpx2
import pytest

from openbook import settings_file
from openbook.records import Change
from openbook.workspace import Workspace
from tests.serving import desk, running


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    made = desk(tmp_path_factory.mktemp("admin"), toml='[library]\n[endpoint]\nurl = "http://me:hush@localhost:1/v1"\n')
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[httpx2.Client]:
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=60) as http:
        yield http


def told(client: httpx2.Client, key: str) -> dict[str, object]:
    return next(one for one in client.get("/api/settings").json()["settings"] if one["key"] == key)


def test_every_setting_says_what_it_means_and_may_be(client: httpx2.Client) -> None:
    k = told(client, "retrieve.candidates")
    assert (k["type"], k["minimum"], k["maximum"], k["live"]) == ("integer", 1, 1000, True)
    assert k["description"] == "Taken from each retriever before fusion."
    assert told(client, "retrieve.fusion")["choices"] == ["rrf", "dbsf"]


def test_a_password_in_an_address_is_never_shown(client: httpx2.Client) -> None:
    assert told(client, "endpoint.url")["value"] == "http://me:***@localhost:1/v1"
    assert "hush" not in client.get("/api/settings").text
    assert "hush" not in client.get("/api/doctor").text


def test_a_changed_setting_is_in_the_file_and_in_force(client: httpx2.Client, workspace: Workspace) -> None:
    said = client.patch("/api/settings", json={"retrieve.k": 2, "answer.passages": 1})
    assert said.json() == {
        "changed": ["answer.passages", "retrieve.k"],
        "restart": [],
        "message": "saved in openbook.toml; in force now",
    }
    assert len(client.post("/api/search", json={"question": "vacation days travel badge"}).json()["hits"]) == 2
    assert tomllib.loads((workspace.root / "openbook.toml").read_text(encoding="utf-8"))["retrieve"]["k"] == 2
    client.patch("/api/settings", json={"retrieve.k": None, "answer.passages": None})
    assert told(client, "retrieve.k")["value"] == told(client, "retrieve.k")["default"]


def test_a_setting_that_needs_a_restart_says_so_and_is_not_in_force(client: httpx2.Client) -> None:
    said = client.patch("/api/settings", json={"models.offline": True}).json()
    assert said["restart"] == ["models.offline"]
    assert "restart the server for models.offline" in said["message"]
    one = told(client, "models.offline")
    assert (one["value"], one["in_force"], one["pending"]) == (True, False, True)
    client.patch("/api/settings", json={"models.offline": None})


def test_what_was_changed_in_the_file_comes_into_force(client: httpx2.Client, workspace: Workspace) -> None:
    file = workspace.root / "openbook.toml"
    before = file.read_text(encoding="utf-8")
    settings_file.change(file, {"retrieve.k": 11, "models.offline": True}, why="a test")
    try:
        said = client.patch("/api/settings", json={}).json()
        assert (said["changed"], said["restart"]) == ([], ["models.offline"])
        assert workspace.house.searcher.search("vacation").hits
        assert (told(client, "retrieve.k")["in_force"], told(client, "models.offline")["in_force"]) == (11, False)
    finally:
        file.write_text(before, encoding="utf-8")
        client.patch("/api/settings", json={})


@pytest.mark.parametrize(
    "changes",
    [{"retrieve.k": 0}, {"retrieve.nothing": 1}, {"retrieve": {"k": 1}}, {"format": 2}, {"answer.seed": "x"}],
)
def test_a_wrong_change_is_refused_and_changes_nothing(
    client: httpx2.Client, workspace: Workspace, changes: dict[str, object]
) -> None:
    before = (workspace.root / "openbook.toml").read_bytes()
    said = client.patch("/api/settings", json=changes)
    assert said.status_code == 400, said.text
    assert (workspace.root / "openbook.toml").read_bytes() == before


def test_doctor_and_models_are_told(client: httpx2.Client) -> None:
    assert {"versions", "library", "embedder"} <= {one["topic"] for one in client.get("/api/doctor").json()["findings"]}
    models = client.get("/api/models").json()
    assert [one["name"] for one in models["models"] if one["used"] and one["kind"] == "embedder"] == [
        "all-minilm-l6-v2"
    ]


def test_a_version_is_restored(client: httpx2.Client, workspace: Workspace) -> None:
    before = client.get("/api/versions").json()["versions"][0]
    assert before["current"]
    workspace.house.library.commit(Change(remove=["Travel.md"]))
    assert client.get("/api/document", params={"name": "Travel.md"}).status_code == 404
    restored = client.post(f"/api/versions/{before['version']}/restore").json()
    assert restored["library_version"] > before["version"]
    back, without = client.get("/api/versions").json()["versions"][:2]
    assert back["changes"] == {"added": 1, "changed": 0, "removed": 0}
    assert without["changes"] == {"added": 0, "changed": 0, "removed": 1}
    assert client.get("/api/document", params={"name": "Travel.md"}).status_code == 200
    assert client.post("/api/versions/99999/restore").status_code == 404


def test_who_turns_conversations_off_is_asked_without_a_trace(client: httpx2.Client) -> None:
    client.patch("/api/settings", json={"serve.keep_conversations": False})
    before = client.get("/api/conversations").json()
    said = client.post("/api/ask", json={"question": "How many paid vacation days do colleagues get?"}).json()
    assert (said["id"], said["conversation"]) == (None, None)
    assert client.get("/api/conversations").json() == before
    client.patch("/api/settings", json={"serve.keep_conversations": None})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/search", '{"question": "\\ud800 vacation"}'),
        ("/api/sync", '{"targets": ["\\ud800"]}'),
        ("/api/ask", '{"question": "days", "conversation": "\\ud800"}'),
        ("/api/search", '{"question": "days", "k": NaN}'),
        ("/api/search", "[" * 100_000),
    ],
)
def test_json_that_is_no_text_is_refused_and_no_fault(client: httpx2.Client, path: str, body: str) -> None:
    said = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert said.status_code == 400, said.text


def test_a_setting_named_or_set_in_halves_of_characters_is_refused(client: httpx2.Client, workspace: Workspace) -> None:
    before = (workspace.root / "openbook.toml").read_bytes()
    for body in ('{"\\ud800": 1}', '{"answer.instructions": "\\ud800"}'):
        said = client.patch("/api/settings", content=body, headers={"Content-Type": "application/json"})
        assert said.status_code == 400, said.text
    assert (workspace.root / "openbook.toml").read_bytes() == before


def test_the_api_page_shows_every_operation_without_a_script(client: httpx2.Client) -> None:
    page = client.get("/api/docs")
    described = client.get("/api/openapi.json").json()
    assert page.status_code == 200
    assert "<script" not in page.text
    assert " style=" not in page.text
    for path in described["paths"]:
        assert f"<code>{path}</code>" in page.text
    assert "How many vacation days do we get?" in page.text


def test_every_native_operation_is_described(client: httpx2.Client) -> None:
    described = client.get("/api/openapi.json").json()
    bare = [
        f"{method} {path}"
        for path, methods in described["paths"].items()
        for method, one in methods.items()
        if not one.get("description") or "4XX" not in one["responses"]
    ]
    assert bare == []
