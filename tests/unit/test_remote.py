"""A served workspace answers commands as the workspace itself does."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from openbook import remote, settings_file
from openbook.cli.common import take_up_settings
from openbook.errors import OpenbookError, UsageError
from openbook.records import Answer, Condition, Message, Scope, Timings
from openbook.remote import Remote
from openbook.workspace import Workspace
from tests.serving import DOCUMENTS, desk, running

QUESTION = "How many vacation days does a colleague get?"
ODD = "Räte, Abt. 3 & 100%"
"""A group's name with what a header may not hold or splits at."""
TEXTS = {**DOCUMENTS, "Council.md": ("# Council\n\nThe council meets on the second Monday.\n", (ODD,))}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    made = desk(tmp_path_factory.mktemp("remote"), documents=TEXTS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def there(workspace: Workspace) -> Iterator[Remote]:
    with running(workspace):
        found = remote.find(workspace.root)
        assert found is not None
        with found:
            yield found


@pytest.mark.parametrize("groups", [(), ("hr",), (ODD,), ("hr", ODD)])
@pytest.mark.parametrize("where", [(), (Condition("document", "!=", "Vacation.md"),)])
def test_a_search_finds_the_same(
    workspace: Workspace, there: Remote, groups: tuple[str, ...], where: tuple[Condition, ...]
) -> None:
    scope = Scope(groups, where)
    ours, theirs = (
        replace(one.search_result("Who meets, and who earns what?", k=9, scope=scope), seconds={})
        for one in (workspace, there)
    )
    assert theirs == ours
    assert ("Council.md" in {hit.chunk.document for hit in theirs.hits}) == (ODD in groups)


@pytest.mark.parametrize("arm", ["rag", "base", "extractive"])
def test_an_answer_is_the_same(workspace: Workspace, there: Remote, arm: str) -> None:
    def timeless(answer: Answer) -> Answer:
        return replace(answer, seconds=Timings(0, 0, 0, 0), written="")

    history = [Message("user", "Who approves travel?"), Message("assistant", "The head of finance.")]
    ours, theirs = (one.ask(QUESTION, arm=arm, history=history) for one in (workspace, there))  # type: ignore[arg-type]
    assert timeless(theirs) == timeless(ours)


def test_an_answer_comes_in_pieces_and_can_be_stopped(there: Remote) -> None:
    stream = there.stream(QUESTION)
    assert len(list(stream)) > 1
    assert stream.answer.citations
    stopped = there.stream(QUESTION)
    next(stopped)
    stopped.close()
    with pytest.raises(OpenbookError, match="cancelled"):
        _ = stopped.answer


def test_passages_can_be_given_instead_of_searched(there: Remote) -> None:
    assert "The door is green." in there.ask("What colour is the door?", contexts=["The door is green."]).prompt


def test_documents_versions_and_explanations_are_the_same(workspace: Workspace, there: Remote) -> None:
    assert there.documents() == workspace.documents()
    assert there.versions() == workspace.versions()
    for name in TEXTS:
        assert there.document(name).text == workspace.document(name).text
        for groups in ((), ("hr",)):
            found = there.explain(QUESTION, name, groups=groups)
            assert found == workspace.explain(QUESTION, name, groups=groups)


def test_errors_are_those_of_the_workspace(workspace: Workspace, there: Remote) -> None:
    for one in (workspace, there):
        with pytest.raises(OpenbookError, match=r"no document 'Nope.md' in the library; see: openbook documents"):
            one.document("Nope.md")
        with pytest.raises(UsageError, match="unknown filter field"):
            one.ask(QUESTION, where="colour=red")
        with pytest.raises(UsageError, match="needs a fine-tuned adapter"):
            one.ask(QUESTION, arm="tuned")


def test_a_sync_and_a_roll_back_go_through_with_progress(
    there: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Räume").mkdir()
    (tmp_path / "Räume" / "A.md").write_text("# A\n\nRoom A is red.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    before, steps = there.versions()[-1].version, []
    report = there.sync(["Räume"], acl=["hr"], progress=lambda step, done, total: steps.append((step, done, total)))
    assert (report.added, report.failed, report.library_version) == (1, (), before + 1)
    assert {"read", "embed", "commit"} <= {step for step, _, _ in steps}
    assert [one.acl for one in there.documents() if one.name == "Räume/A.md"] == [("hr",)]
    again = there.sync([tmp_path / "Räume"], dry_run=True)
    assert (again.unchanged, again.dry_run) == (1, True)
    assert there.roll_back(before) == before + 2
    with pytest.raises(UsageError, match="Nowhere"):  # for which the command exits with 2, as without a server
        there.sync(["Nowhere"])


def test_changes_on_disk_are_followed_through_the_server(there: Remote, tmp_path: Path) -> None:
    files, before = tmp_path / "watched", there.versions()[-1].version
    files.mkdir()
    (files / "A.md").write_text("# A\n\nRoom A is red.\n", encoding="utf-8")
    reports = there.watch([files], acl=["hr"])
    assert next(reports).added == 1

    def after(change: Callable[[], object]) -> dict[str, tuple[str, ...]]:
        threading.Timer(0.1, change).start()
        report = next(reports)
        assert not report.failed
        return {kind: tuple(names) for kind, names in report.paths.items() if names}

    def below() -> None:
        (files / "sub").mkdir()
        (files / "sub" / "B.md").write_text("# B\n\nRoom B is blue.\n", encoding="utf-8")

    def beside() -> None:
        (files / "C.xyz").write_text("of no format we read", encoding="utf-8")
        (files / "D.md").write_text("# D\n\nRoom D is low.\n", encoding="utf-8")

    assert after(below) == {"added": ("watched/sub/B.md",)}
    assert after((files / "A.md").unlink) == {"removed": ("watched/A.md",)}
    assert after(beside) == {"added": ("watched/D.md",)}
    reports.close()
    assert [one.acl for one in there.documents() if one.name.startswith("watched/")] == [("hr",)] * 2
    there.roll_back(before)


def test_a_watch_of_a_pattern_around_the_workspace_is_not_woken_by_the_servers_own_files(
    workspace: Workspace, there: Remote
) -> None:
    before = there.versions()[-1].version
    (workspace.root / "First.md").write_text("# First\n\nThe first room is red.\n", encoding="utf-8")
    reports = there.watch([workspace.root / "*.md"])
    assert next(reports).added == 1
    threading.Timer(2, lambda: (workspace.root / "Next.md").write_text("# Next\n\nRed.\n", encoding="utf-8")).start()
    assert next(reports).paths["added"][0].endswith("/Next.md")
    reports.close()
    with httpx2.Client(base_url=there.place.url) as http:
        jobs = http.get("/api/jobs", headers={"Authorization": f"Bearer {there.place.token}"}).json()["jobs"]
    mine = [one for one in jobs if one["args"].get("targets") == [str(workspace.root / "*.md")]]
    assert len(mine) <= 4, "the sync, the look after it, the change and perhaps its second half"
    there.roll_back(before)


def test_a_watch_goes_on_after_a_sync_that_the_server_refuses(there: Remote, tmp_path: Path) -> None:
    files, before = tmp_path / "gone", there.versions()[-1].version
    files.mkdir()
    for number in range(4):
        (files / f"{number}.md").write_text(f"# {number}\n\nRoom {number}.\n", encoding="utf-8")
    reports = there.watch([files])
    assert next(reports).added == 4

    def empty() -> None:
        for one in files.glob("*.md"):
            one.unlink()

    threading.Timer(0.1, empty).start()
    assert "none of its 4 documents" in next(reports).failed[0].reason
    threading.Timer(0.1, lambda: (files / "0.md").write_text("# 0\n\nHall 0.\n", encoding="utf-8")).start()
    assert next(reports).changed == 1
    reports.close()
    there.roll_back(before)


def test_the_library_is_copied_for_the_command_line_alone(workspace: Workspace, there: Remote, tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    copy = there.copy_library(room)
    with Workspace.open(workspace.root, library=copy) as beside:
        vars(beside.house)["embedder"] = workspace.house.embedder
        assert beside.documents() == workspace.documents()
        found, wanted = (replace(one.search_result(QUESTION), seconds={}) for one in (beside, workspace))
        assert found == wanted
    for folder in (room, tmp_path / "nowhere", Path("relative")):
        with pytest.raises(OpenbookError, match="no empty folder of this machine"):
            there.copy_library(folder)
    stranger = httpx2.post(f"{there.place.url}/api/library/copy", json={"folder": str(tmp_path)})
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (403, "not_from_here")


def test_what_a_command_writes_into_the_settings_is_in_force_in_the_server(
    workspace: Workspace, there: Remote, tmp_path: Path
) -> None:
    file = workspace.root / "openbook.toml"
    before = file.read_text(encoding="utf-8")
    try:
        settings_file.change(file, {"retrieve.k": 9}, why="a test")
        assert take_up_settings(workspace.root) == ""
        assert workspace.house.settings.retrieve.k == 9
        settings_file.change(file, {"models.offline": True}, why="a test")
        assert take_up_settings(workspace.root) == f"restart the server at {there.place.url} for models.offline"
    finally:
        file.write_text(before, encoding="utf-8")
        take_up_settings(workspace.root)
    assert take_up_settings(tmp_path) == "", "no server, nothing to do"


def test_a_note_is_believed_only_while_its_process_lives_and_listens(tmp_path: Path) -> None:
    note = tmp_path / ".openbook" / "server.json"
    assert remote.place(tmp_path) is None
    note.parent.mkdir()
    for text in ("", "[]", "{}", '{"url": 1, "pid": "x", "token": 2}'):
        note.write_text(text, encoding="utf-8")
        assert remote.place(tmp_path) is None
    for pid in (2**22 + 1, os.getpid(), -1, 0, 10**30):
        note.write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": pid, "token": "x"}), encoding="utf-8")
        assert remote.place(tmp_path) is None


def test_a_running_servers_note_is_for_this_user_only(workspace: Workspace, there: Remote) -> None:
    assert (workspace.state / remote.NOTE).stat().st_mode & 0o777 == 0o600
