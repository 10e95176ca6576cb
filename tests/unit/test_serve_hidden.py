"""What a caller may not see is not there: the same words and status as for nothing, in every native route."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pytest

from openbook.records import Change
from openbook.serve import keys
from openbook.serve.history import WITHHELD
from openbook.serve.store import open_store
from openbook.workspace import Workspace
from tests.serving import desk, running

HIDDEN, ABSENT = "Salaries.md", "Sxlaries.md"
SALARY = "Where does the salary band of a senior engineer end?"


@dataclass
class Desk:
    """A running server, and a client for each of its callers."""

    workspace: Workspace
    clerk: httpx2.Client
    """Sees what is open to everyone; may do anything but administer."""
    hr: httpx2.Client
    """Sees what hr sees."""
    boss: httpx2.Client
    """Sees everything and may do everything."""
    porter: httpx2.Client
    """An admin who sees what is open to everyone."""


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    workspace = desk(tmp_path_factory.mktemp("hidden"))
    store = open_store(workspace.state / "server.db")
    common = ("ask", "search", "write", "train")
    secrets = [
        keys.create(store, "clerk", common)[1],
        keys.create(store, "hr", common, ("hr",))[1],
        keys.create(store, "boss", ("admin",), all_groups=True)[1],
        keys.create(store, "porter", ("admin",))[1],
    ]
    store.dispose()
    with running(workspace) as url:
        clients = [
            httpx2.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer {one}"}) for one in secrets
        ]
        yield Desk(workspace, *clients)
        for one in clients:
            one.close()
    workspace.close()


ROUTES = [
    ("GET", "/api/document", {}),
    ("GET", "/api/document/text", {}),
    ("GET", "/api/document/file", {}),
    ("GET", "/api/document/page", {"page": "1"}),
    ("DELETE", "/api/document", {}),
]


@pytest.mark.parametrize(("method", "path", "more"), ROUTES, ids=[f"{one[0]} {one[1]}" for one in ROUTES])
def test_a_hidden_document_answers_as_one_that_is_not_there(
    at: Desk, method: str, path: str, more: dict[str, str]
) -> None:
    for client in (at.clerk, at.porter):
        hidden = client.request(method, path, params={"name": HIDDEN, **more})
        absent = client.request(method, path, params={"name": ABSENT, **more})
        assert hidden.status_code == absent.status_code == 404
        assert hidden.text == absent.text.replace(ABSENT, HIDDEN)
        assert hidden.headers.keys() == absent.headers.keys()


def test_explaining_a_hidden_document_answers_as_for_one_that_is_not_there(at: Desk) -> None:
    said = [at.clerk.post("/api/explain", json={"question": SALARY, "document": name}) for name in (HIDDEN, ABSENT)]
    assert [one.status_code for one in said] == [404, 404]
    assert said[0].text == said[1].text.replace(ABSENT, HIDDEN)


def test_lists_and_totals_count_only_what_the_caller_sees(at: Desk) -> None:
    totals = {
        name: client.get("/api/documents").json()["total"]
        for name, client in (("clerk", at.clerk), ("hr", at.hr), ("boss", at.boss), ("porter", at.porter))
    }
    assert totals == {"clerk": 3, "hr": 4, "boss": 4, "porter": 3}
    assert at.clerk.get("/api/documents", params={"find": "senior", "limit": 1}).json()["total"] == 0
    assert at.clerk.get("/api/documents", params={"find": "Salaries"}).json()["total"] == 0
    assert at.clerk.get("/api/documents", params={"prefix": "Sal"}).json() == {
        "documents": [],
        "total": 0,
        "next": None,
    }
    paged = at.clerk.get("/api/documents", params={"after": "Sal", "limit": 1}).json()
    assert [one["name"] for one in paged["documents"]] == ["Script.md"]


def test_searches_and_answers_do_not_reach_hidden_documents(at: Desk) -> None:
    for path in ("/api/search", "/api/ask"):
        told = at.clerk.post(path, json={"question": SALARY}).text
        assert HIDDEN not in told
        assert "98,000" not in told
    assert at.hr.post("/api/search", json={"question": SALARY}).json()["hits"][0]["document"] == HIDDEN


def test_versions_are_counted_as_the_caller_sees_them(at: Desk) -> None:
    clerk = at.clerk.get("/api/versions").json()
    boss = at.boss.get("/api/versions").json()
    assert clerk["versions"][0]["documents"] == 3
    assert boss["versions"][0]["documents"] == 4
    assert len(clerk["versions"]) < len(boss["versions"])
    assert all(one["note"] == "" for one in clerk["versions"])
    assert sum((one["changes"] or {"added": 0})["added"] for one in clerk["versions"]) == 3
    assert (clerk["may_restore"], boss["may_restore"]) == (False, True)


def test_only_who_sees_everything_restores_a_version(at: Desk) -> None:
    for number in (1, 99999):
        said = at.hr.post(f"/api/versions/{number}/restore")
        assert (said.status_code, said.json()["error"]["code"]) == (403, "all_groups_needed")
    assert at.porter.post("/api/versions/1/restore").status_code == 403


def test_doctor_and_metrics_count_only_what_their_reader_sees(at: Desk) -> None:
    assert "openbook_documents 3.0" in at.porter.get("/metrics").text
    assert "openbook_documents 4.0" in at.boss.get("/metrics").text
    library = next(one for one in at.porter.get("/api/doctor").json()["findings"] if one["topic"] == "library")
    assert library["says"].startswith("3 documents")
    assert at.clerk.get("/metrics").status_code == 403


def test_an_answer_in_history_is_withheld_when_its_document_is_hidden_from_then_on(at: Desk) -> None:
    said = at.hr.post("/api/ask", json={"question": SALARY}).json()
    assert said["citations"][0]["document"] == HIDDEN
    place = f"/api/conversations/{said['conversation']}"
    assert "98,000" in at.hr.get(place).text
    library = at.workspace.house.library
    before = library.version()
    library.commit(Change(remove=[HIDDEN]))
    turn = at.hr.get(place).json()["answers"][0]
    assert (turn["withheld"], turn["answer"]["answer"]) == (True, WITHHELD)
    assert "98,000" not in at.hr.get(place).text.replace(turn["question"], "")
    library.roll_back(before)
    assert "98,000" in at.hr.get(place).text


def test_a_conversation_is_its_owners(at: Desk) -> None:
    said = at.hr.post("/api/ask", json={"question": SALARY}).json()
    place = f"/api/conversations/{said['conversation']}"
    others = [
        at.clerk.get(place),
        at.clerk.delete(place),
        at.clerk.post("/api/ask", json={"question": SALARY, "conversation": said["conversation"]}),
    ]
    assert [one.status_code for one in others] == [404, 404, 404]
    assert at.clerk.get(place.replace("conv-", "conv-0")).status_code == 404
    assert said["conversation"] not in at.clerk.get("/api/conversations").text
    # An admin may look after it, but learns of no document it may not see.
    told = at.porter.get(place)
    assert (told.status_code, "98,000" in told.text, HIDDEN in told.text) == (200, False, False)
    assert at.hr.delete(place).json() == {"id": said["conversation"], "deleted": True}
    assert at.hr.get(place).status_code == 404


def test_a_follow_up_is_read_with_its_conversation(at: Desk) -> None:
    first = at.hr.post("/api/ask", json={"question": "How many paid vacation days do colleagues get?"}).json()
    second = at.hr.post(
        "/api/ask", json={"question": "And who approves travel above 900 euros?", "conversation": first["conversation"]}
    ).json()
    assert second["conversation"] == first["conversation"]
    talk = at.hr.get(f"/api/conversations/{first['conversation']}").json()
    assert [one["id"] for one in talk["answers"]] == [first["id"], second["id"]]
    assert talk["title"] == "How many paid vacation days do colleagues get?"


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint.url": "http://10.0.0.1/v1"},
        {"endpoint.api_key_env": "AWS_SECRET_ACCESS_KEY"},
        {"finetune.metric": "mine:score"},
        {"models.generator": "/etc/model.gguf"},
        {"serve.folders": ["/"]},
        {"serve.login_scopes": ["admin"]},
        {"retrieve.k": 3, "serve.trusted_proxies": ["0.0.0.0"]},
    ],
    ids=lambda changes: max(changes),
)
def test_an_admin_key_cannot_open_the_machine_by_settings(at: Desk, changes: dict[str, object]) -> None:
    file = at.workspace.root / "openbook.toml"
    before = file.read_bytes()
    said = at.boss.patch("/api/settings", json=changes)
    assert (said.status_code, said.json()["error"]["code"]) == (403, "setting_not_allowed")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/settings"), ("PATCH", "/api/settings"), ("GET", "/api/doctor"), ("GET", "/api/models")],
)
def test_settings_are_an_admins(at: Desk, method: str, path: str) -> None:
    assert at.clerk.request(method, path, json={"retrieve.k": 3} if method == "PATCH" else None).status_code == 403


def test_a_document_that_others_see_too_is_not_deleted_by_one_of_its_groups(at: Desk) -> None:
    shared = at.workspace.root / "documents" / "Shared.md"
    shared.write_text("# Shared\n\nThe boardroom is on the fourth floor.\n", encoding="utf-8")
    at.workspace.sync([shared], acl=["hr", "board"])
    assert at.clerk.delete("/api/document", params={"name": "Shared.md"}).status_code == 404
    refused = at.hr.delete("/api/document", params={"name": "Shared.md"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "shared_with_others")
    assert at.boss.delete("/api/document", params={"name": "Shared.md"}).status_code == 200
    assert at.hr.get("/api/document", params={"name": "Shared.md"}).status_code == 404
