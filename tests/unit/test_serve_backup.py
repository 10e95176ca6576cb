"""A backup holds what the server keeps, and nobody's session; it opens and answers as before."""

from __future__ import annotations

import sqlite3
import tarfile
import time
from pathlib import Path

import httpx2
import pytest

from openbook import backup
from openbook.errors import EmbedderMismatch
from openbook.retrieve.embed import FakeEmbedder
from openbook.serve import keys, reach, sessions
from openbook.serve.access import Caller
from openbook.serve.state import Server
from openbook.serve.store import open_store
from openbook.workspace import Workspace
from tests.serving import desk, running

HR = Caller("hr", "hr", frozenset({"train"}), ("hr",))


@pytest.fixture
def restored(tmp_path: Path) -> tuple[Path, str, str, str]:
    """The folder, a key's secret, a session's cookie and a conversation."""
    workspace = desk(tmp_path / "desk")
    store = open_store(workspace.state / "server.db")
    key, secret = keys.create(store, "clerk", ("ask", "search", "write", "train"), ("hr",))
    with running(workspace) as url, httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}) as http:
        job = http.post("/api/documents", files={"files": ("Plan.md", b"# Plan\n\nThe plan is blue.\n")}).json()["job"]
        asked = {"question": "How many vacation days does a colleague get?"}
        talk = http.post("/api/ask", json=asked, timeout=60).json()["conversation"]
        until = time.monotonic() + 60
        while http.get(f"/api/jobs/{job['id']}").json()["state"] != "succeeded":
            assert time.monotonic() < until
            time.sleep(0.05)
    server = Server(workspace)
    server.jobs.handle("train", lambda *_: {})
    server.jobs.submit("train", {"name": "tone"}, HR)
    cookie = sessions.begin(store, {**HR.json(), "id": key.id})
    store.dispose()
    with server.house.adapters.reserve("raises") as draft:
        draft.publish({"library": {"reading": {"groups": ["hr"]}}})
    report = workspace.state / "reports" / "2026-11-22"
    report.mkdir(parents=True)
    reach.seal(report, HR)
    backup.write(workspace, tmp_path / "desk.tar.gz")
    workspace.close()
    with pytest.raises(EmbedderMismatch):  # the settings name the real one; the folder stands by then
        backup.read(tmp_path / "desk.tar.gz", tmp_path / "again")
    return tmp_path / "again", secret, cookie, talk


def test_keys_conversations_uploads_and_who_may_see_what_come_back(restored: tuple[Path, str, str, str]) -> None:
    folder, secret, cookie, talk = restored
    with Workspace.open(folder) as workspace:
        vars(workspace.house)["embedder"] = FakeEmbedder()
        server = Server(workspace)
        assert sessions.read(server.store, cookie) is None
        assert [(job.kind, job.state) for job in server.jobs.list(HR)] == [("train", "failed")]
        assert not reach.may_ask(Caller("x", "x", frozenset({"ask"})), server.house.adapters.get("raises"))
        report = workspace.state / "reports" / "2026-11-22"
        assert reach.may_open(report, HR)
        assert not reach.may_open(report, Caller("x", "x", frozenset({"train"})))
        with running(workspace) as url, httpx2.Client(base_url=url) as http:
            assert http.get("/api/documents").status_code == 401
            http.headers["Authorization"] = f"Bearer {secret}"
            names = [one["name"] for one in http.get("/api/documents").json()["documents"]]
            plan = next(name for name in names if name.endswith("Plan.md"))
            assert http.get("/api/document/file", params={"name": plan}).text.endswith("The plan is blue.\n")
            assert len(http.get(f"/api/conversations/{talk}").json()["answers"]) == 1


def test_no_session_is_in_the_archive_and_only_this_user_reads_it(
    restored: tuple[Path, str, str, str], tmp_path: Path
) -> None:
    _, secret, cookie, _ = restored
    assert (tmp_path / "desk.tar.gz").stat().st_mode & 0o077 == 0
    assert (tmp_path / "again" / ".openbook" / "server.db").stat().st_mode & 0o077 == 0
    assert (tmp_path / "again" / ".openbook" / "uploads").stat().st_mode & 0o077 == 0
    with tarfile.open(tmp_path / "desk.tar.gz") as archive:
        names = archive.getnames()
        (tmp_path / "plain").mkdir()
        archive.extract(".openbook/server.db", tmp_path / "plain", filter="data")
    assert [name for name in names if "server" in name] == [".openbook/server.db"]
    file = tmp_path / "plain" / ".openbook" / "server.db"
    whole = file.read_bytes()
    assert secret.encode() not in whole
    assert sessions._digest(cookie).encode() not in whole  # nor in a page that was freed
    with sqlite3.connect(file) as db:
        assert db.execute("select count(*) from sessions").fetchone() == (0,)
