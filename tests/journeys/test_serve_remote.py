"""A real `openbook serve` and the real commands and an MCP host beside it; then the server is killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult

from tests.serving import Process

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

QUESTION = "How many vacation days does a colleague get?"
SALARY = "Where does the salary band of a senior engineer end?"
VACATION, SALARIES = "docs/Vacation.md", "docs/Salaries.md"
TEXTS = {
    "Vacation.md": "# Vacation\n\nEvery colleague gets 24 paid vacation days a year.\n",
    "Travel.md": "# Travel\n\nThe head of finance approves travel above 900 euros.\n",
    "Salaries.md": "# Salaries\n\nThe salary band of a senior engineer ends at 98,000 euros.\n",
}
ASKED = [
    ("search", QUESTION, "-k", "2"),
    ("search", SALARY, "--group", "hr", "--where", "document='docs/*' and format=md"),
    ("search", SALARY),
    ("ask", QUESTION),
    ("ask", SALARY, "--group", "hr"),
    ("ask", SALARY, "--arm", "extractive"),
    ("explain", SALARY, SALARIES, "--group", "hr"),
    ("explain", SALARY, SALARIES),
    ("explain", SALARY, "docs/Nope.md"),
    ("documents",),
    ("documents", "show", SALARIES),
    ("versions",),
]


def openbook(*words: str, cwd: Path, stdin: str = "", expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "openbook", *words], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done


def as_json(*words: str, cwd: Path) -> Any:
    return json.loads(openbook(*words, "--json", cwd=cwd).stdout)


def timeless(told: Any) -> Any:
    """Without what a clock says."""
    if isinstance(told, list):
        return [timeless(one) for one in told]
    if isinstance(told, dict):
        return {key: timeless(value) for key, value in told.items() if key != "seconds"}
    return told


def made(room: Path) -> Path:
    folder = room / "desk"
    openbook("init", str(folder), "--model", "smollm2-135m-instruct", cwd=room)
    (folder / "docs").mkdir()
    for name, text in TEXTS.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    openbook("sync", "docs", cwd=folder)
    openbook("sync", "docs/Salaries.md", "--acl", "hr", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def desk(prepared: Path, tmp_path: Path) -> Path:
    """A copy; its documents remember the folder they were read from, which is the first one's."""
    return Path(shutil.copytree(prepared, tmp_path / "desk"))


@pytest.fixture
def served(desk: Path) -> Iterator[Process]:
    with Process(desk) as process:
        yield process


def test_commands_say_the_same_with_a_server_beside_them_and_after_it_was_killed(desk: Path) -> None:
    alone = [timeless(as_json(*words, cwd=desk)) for words in ASKED]
    with Process(desk) as process:
        beside = [timeless(as_json(*words, cwd=desk)) for words in ASKED]
        readable = openbook("ask", SALARY, "--group", "hr", cwd=desk).stdout
        process.kill()
    assert beside == alone
    assert f"[1] {SALARIES}, characters" in readable
    assert (desk / ".openbook" / "server.json").exists()
    assert timeless(as_json(*ASKED[0], cwd=desk)) == alone[0]


@pytest.mark.slow
def test_what_goes_wrong_ends_a_command_as_it_does_without_a_server(desk: Path) -> None:
    wrong = [
        ("ask", QUESTION, "--arm", "tuned"),
        ("ask", QUESTION, "--adapter", "tone"),
        ("search", QUESTION, "--where", "colour=red"),
        ("documents", "show", "docs/Nope.md"),
        ("rollback", "99"),
    ]

    def tried() -> list[tuple[int, str]]:
        ran = [
            subprocess.run([sys.executable, "-m", "openbook", *words], cwd=desk, capture_output=True, text=True)
            for words in wrong
        ]
        return [(one.returncode, one.stderr) for one in ran]

    alone = tried()
    assert all(code in (1, 2) for code, _ in alone)
    with Process(desk):
        beside = tried()
    assert beside[:-1] == alone[:-1]
    # A server does not count its versions for whoever asks.
    assert beside[-1][0] == alone[-1][0]
    assert "99" in beside[-1][1]


def test_documents_come_in_and_go_out_through_the_server(tmp_path: Path) -> None:
    with Process(made(tmp_path)) as served:
        come_in_and_go_out(served.folder)


def come_in_and_go_out(desk: Path) -> None:
    (desk / "docs" / "Parking.md").write_text("# Parking\n\nParking costs 3 euros a day.\n", encoding="utf-8")
    before = as_json("versions", cwd=desk)[-1]["version"]
    foreseen = as_json("sync", "Parking.md", "--acl", "*", "--dry-run", cwd=desk / "docs")
    assert (foreseen["added"], foreseen["dry_run"]) == (1, True)
    done = openbook("sync", "Parking.md", "--acl", "*", "--json", cwd=desk / "docs")
    report = json.loads(done.stdout)
    assert (report["added"], report["failed"], report["library_version"]) == (1, [], before + 1)
    assert report["paths"]["added"] == ["docs/Parking.md"]
    for step in ("read", "embed", "commit"):
        assert step in done.stderr
    assert as_json("search", "parking", "-k", "1", cwd=desk)["hits"][0]["document"] == "docs/Parking.md"
    assert as_json("rollback", str(before), cwd=desk) == {"library_version": before + 2, "content_of": before}
    assert "docs/Parking.md" not in {one["document"] for one in as_json("documents", cwd=desk)}


def test_a_conversation_goes_on_through_the_server_and_is_not_kept_there(served: Process) -> None:
    said = openbook("chat", cwd=served.folder, stdin=f"{QUESTION}\nAnd who approves travel above 900 euros?\n").stdout
    assert "24 paid vacation days" in said
    assert "head of finance" in said
    kept = httpx2.get(f"{served.url}/api/conversations", headers={"Authorization": f"Bearer {served.token}"}).json()
    assert kept["conversations"] == []


@pytest.mark.slow
def test_many_questions_are_asked_through_the_server(served: Process) -> None:
    cases = [
        {"id": "a", "question": QUESTION},
        {"id": "b", "question": SALARY, "groups": ["hr"]},
        {"id": "c", "question": "What colour is the door?", "contexts": ["The door is green."]},
    ]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    out = openbook("ask", "--batch", "-", "--json", cwd=served.folder, stdin=lines).stdout
    answers = {told["id"]: told for told in map(json.loads, out.splitlines())}
    assert "24" in answers["a"]["answer"]
    assert "98,000" in answers["b"]["answer"]
    assert "green" in answers["c"]["prompt"]
    found = openbook("search", "--batch", "-", "--json", cwd=served.folder, stdin=lines).stdout
    assert [json.loads(line)["id"] for line in found.splitlines()] == ["a", "b", "c"]


def test_a_second_server_says_where_the_first_is_and_commands_that_change_vectors_what_to_do(served: Process) -> None:
    desk, where = served.folder, f"{served.url} "
    assert "is served already, at " + where in openbook("serve", "--port", "0", cwd=desk, expect=1).stderr
    retriever = ("finetune", "--retriever", "embedder", "--from-library")
    for words in (("migrate", "--to", "all-minilm-l6-v2-int8"), ("migrate", "--drop-previous"), retriever):
        said = openbook(*words, cwd=desk, expect=1).stderr.splitlines()
        assert said == [
            f"openbook: openbook serve at {where}(process {served.child.pid}) owns the library; stop it, then try again"
        ]
    assert openbook("models", "list", cwd=desk).stdout


def test_a_served_workspace_is_backed_up_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, archive, room = made(tmp_path), tmp_path / "desk.tar.gz", tmp_path / "tmp"
    room.mkdir()
    monkeypatch.setenv("TMPDIR", str(room))
    with Process(desk):
        (desk / "docs" / "Parking.md").write_text("# Parking\n\nParking costs 3 euros a day.\n", encoding="utf-8")
        openbook("sync", "docs", cwd=desk)
        told = as_json("backup", str(archive), cwd=desk)
        assert told == {"file": str(archive), "bytes": archive.stat().st_size}
        assert "exists already" in openbook("backup", str(archive), cwd=desk, expect=1).stderr
        openbook("sync", "docs", "--dry-run", cwd=desk)  # the server goes on
        assert openbook("restore", str(archive), "--workspace", ".", cwd=desk, expect=1).stderr
        now = as_json("documents", cwd=desk)
        assert not list(room.glob("openbook-copy-*"))
    restored = tmp_path / "restored"
    assert as_json("restore", str(archive), "--workspace", str(restored), cwd=tmp_path)["documents"] == len(now) == 4
    assert as_json("documents", cwd=restored) == now
    assert as_json("search", "parking", "-k", "1", cwd=restored)["hits"][0]["document"] == "docs/Parking.md"


@pytest.mark.slow
def test_a_comparison_beside_a_server_reads_a_copy_and_keeps_its_report_in_the_workspace(served: Process) -> None:
    desk = served.folder
    case = {"id": "a", "question": QUESTION, "answers": ["24"], "document": VACATION, "quote": "24 paid vacation days"}
    (desk / "cases.jsonl").write_text(json.dumps(case) + "\n", encoding="utf-8")
    words = ["compare", "--cases", "cases.jsonl", "--made", "0", "--arm", "rag", "--seed", "1"]
    for part in ("diagnostics", "freshness", "latency", "style", "shots"):
        words += ["--skip", part]
    told = as_json(*words, cwd=desk)
    assert [one["name"] for one in told["arms"]] == ["rag"]
    assert Path(told["folder"], "report.html").is_file()
    assert Path(told["folder"]).parent == desk / ".openbook" / "reports"
    headers = {"Authorization": f"Bearer {served.token}"}
    listed = httpx2.get(f"{served.url}/api/reports", headers=headers).json()["reports"]
    assert [one["id"] for one in listed] == [told["id"]]


@pytest.mark.slow
def test_a_training_from_the_library_is_checked_beside_a_server(served: Process) -> None:
    said = openbook(
        "finetune", "--from-library", "--no-review", "--name", "support", cwd=served.folder, expect=1
    ).stderr
    assert "the library's 2 documents gave" in said  # those for everyone; too few


@pytest.mark.slow
def test_adapters_that_are_added_promoted_and_removed_are_so_in_the_server(served: Process) -> None:
    def asked() -> Any:
        return as_json("ask", QUESTION, "--arm", "tuned+rag", cwd=served.folder)

    def models() -> set[str]:
        answer = httpx2.get(f"{served.url}/v1/models", headers={"Authorization": f"Bearer {served.token}"})
        return {one["id"] for one in answer.json()["data"]}

    openbook("adapters", "add", "--name", "support", cwd=served.folder)
    assert asked()["adapter"] == "support@1"
    openbook("adapters", "add", "--name", "support", cwd=served.folder)
    openbook("adapters", "promote", "support@2", "--force", cwd=served.folder)
    assert asked()["adapter"] == "support@2"
    assert {"support", "support+rag", "support@1", "support@2"} <= models()
    openbook("adapters", "remove", "support@2", "--force", cwd=served.folder)
    assert asked()["adapter"] == "support@1"
    openbook("adapters", "remove", "support@1", cwd=served.folder)
    assert "this workspace has none" in openbook("ask", QUESTION, "--arm", "tuned", cwd=served.folder, expect=2).stderr
    assert not {one for one in models() if "support" in one}


def test_a_watch_goes_through_the_server_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    desk = made(tmp_path)
    with Process(desk):
        child = subprocess.Popen(
            [sys.executable, "-m", "openbook", "sync", "docs", "--watch", "--json"],
            cwd=desk,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["unchanged"] == 3
        (desk / "docs" / "Parking.md").write_text("# Parking\n\nParking costs 3 euros a day.\n", encoding="utf-8")
        assert json.loads(child.stdout.readline())["paths"]["added"] == ["docs/Parking.md"]
        hit = as_json("search", "What does parking cost?", "-k", "1", cwd=desk)["hits"][0]
        assert hit["document"] == "docs/Parking.md"
        os.killpg(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=30)
    assert child.returncode == 0
    assert "Traceback" not in said


def test_a_watch_ends_with_a_sentence_when_its_server_is_gone(tmp_path: Path) -> None:
    desk = made(tmp_path)
    with Process(desk) as served:
        child = subprocess.Popen(
            [sys.executable, "-m", "openbook", "sync", "docs", "--watch"],
            cwd=desk,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert "3 unchanged" in child.stdout.readline()
        served.kill()
    time.sleep(1)
    (desk / "docs" / "Parking.md").write_text("# Parking\n\nParking costs 3 euros a day.\n", encoding="utf-8")
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    assert f"the server at {served.url} went away" in said.splitlines()[-1]


def test_questions_asked_at_once_without_a_server_wait_for_each_other(desk: Path) -> None:
    command = [sys.executable, "-m", "openbook", "search", QUESTION, "-k", "1", "--json"]
    together = [subprocess.Popen(command, cwd=desk, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = [json.loads(one.communicate(timeout=60)[0])["hits"][0]["document"] for one in together]
    assert found == [VACATION] * 3


def test_a_note_of_a_server_that_is_gone_is_ignored(desk: Path) -> None:
    note = desk / ".openbook" / "server.json"
    for pid in (os.getpid(), 2**22 + 1):  # a process that serves nothing, and none
        note.write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": pid, "token": "x"}), encoding="utf-8")
        assert len(as_json("documents", cwd=desk)) == len(TEXTS)
    note.write_text("{half a no", encoding="utf-8")
    assert len(as_json("documents", cwd=desk)) == len(TEXTS)


def test_ctrl_c_stops_a_sync_in_the_server(served: Process) -> None:
    many = served.folder / "many"
    many.mkdir()
    for number in range(400):
        words = " ".join(f"word{number}x{n}" for n in range(400))
        (many / f"{number}.md").write_text(f"# Note {number}\n\n{words}\n", encoding="utf-8")
    child = subprocess.Popen(
        [sys.executable, "-m", "openbook", "sync", "many"],
        cwd=served.folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    headers = {"Authorization": f"Bearer {served.token}"}
    with httpx2.Client(base_url=served.url, headers=headers) as http:

        def state() -> str:
            jobs = http.get("/api/jobs", params={"kind": "sync"}).json()["jobs"]
            return str(jobs[0]["state"]) if jobs else ""

        wait_for(lambda: state() == "running")
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
        wait_for(lambda: state() == "cancelled")
    assert child.returncode == 130
    assert said.splitlines()[-1] == "stopped"


def test_a_server_that_is_killed_during_a_sync_is_named(desk: Path) -> None:
    many = desk / "many"
    many.mkdir()
    for number in range(400):
        words = " ".join(f"word{number}x{n}" for n in range(400))
        (many / f"{number}.md").write_text(f"# Note {number}\n\n{words}\n", encoding="utf-8")
    with Process(desk) as served:
        child = subprocess.Popen(
            [sys.executable, "-m", "openbook", "sync", "many"], cwd=desk, stderr=subprocess.PIPE, text=True
        )
        with httpx2.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.token}"}) as http:
            wait_for(lambda: [one["state"] for one in http.get("/api/jobs").json()["jobs"]] == ["running"])
        served.kill()
        _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    assert f"the server at {served.url} went away" in said
    assert "Traceback" not in said


def wait_for(true: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def host(desk: Path, *options: str) -> StdioServerParameters:
    """As the configuration of an MCP host has it: a command with arguments, started anywhere."""
    kept = {key: value for key, value in os.environ.items() if key.startswith("OPENBOOK_")}
    words = ["-m", "openbook", "mcp", "--workspace", str(desk), *options]
    return StdioServerParameters(command=sys.executable, args=words, env=kept, cwd="/")


def documents_of(result: CallToolResult) -> set[str]:
    assert not result.is_error, result
    return {one["document"] for one in result.structured_content["hits"]}


def test_an_mcp_host_gets_a_cited_answer_alone_through_a_server_and_after_its_end(desk: Path) -> None:
    async def work() -> None:
        async with Client(host(desk)) as client:
            for step in ("alone", "served", "alone again"):
                process = await asyncio.to_thread(Process, desk) if step == "served" else None
                answer = await client.call_tool("ask", {"question": QUESTION})
                assert not answer.is_error, answer
                assert answer.structured_content["citations"][0]["document"] == VACATION
                hidden = await client.call_tool("search", {"question": SALARY, "k": 50})
                assert SALARIES not in documents_of(hidden)
                refused = await client.call_tool("read_document", {"document": SALARIES})
                assert refused.is_error
                assert SALARIES not in {one.name for one in (await client.list_resources()).resources}
                if process is not None:
                    process.kill()
                elif step == "alone":
                    # The host's process lets go of a library that nobody asks, so that a server can have it.
                    await asyncio.to_thread(wait_for, lambda: not (desk / ".openbook/library/owner").exists())

    asyncio.run(work())


def test_an_mcp_host_sees_what_its_groups_see(desk: Path) -> None:
    async def work() -> CallToolResult:
        async with Client(host(desk, "--group", "hr"), mode="legacy") as client:
            assert SALARIES in {one.name for one in (await client.list_resources()).resources}
            read = await client.read_resource("openbook://document/docs%2FSalaries.md")
            assert read.contents
            return await client.call_tool("search", {"question": SALARY})

    assert SALARIES in documents_of(asyncio.run(work()))


def test_a_host_that_asks_on_and_on_leaves_turns_to_other_commands(desk: Path) -> None:
    async def work() -> None:
        async with Client(host(desk)) as client:
            search = asyncio.create_task(asyncio.to_thread(as_json, "search", QUESTION, "-k", "1", cwd=desk))
            while not search.done():
                assert VACATION in documents_of(await client.call_tool("search", {"question": QUESTION}))
            assert (await search)["hits"][0]["document"] == VACATION

    asyncio.run(work())


def test_a_host_that_is_killed_leaves_no_process_and_no_lock(desk: Path, tmp_path: Path) -> None:
    """The host is a shell: what it started is spoken to through pipes that end with it."""
    words = [sys.executable, "-m", "openbook", "mcp", "--workspace", str(desk)]
    errors = tmp_path / "errors"
    with errors.open("w") as stderr:
        shell = subprocess.Popen(
            [sys.executable, "-c", _HOST, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        assert shell.stdin is not None
        assert shell.stdout is not None
        child = int(shell.stdout.readline())
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        for call in (
            {"id": 1, "method": "initialize", "params": hello},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "ask", "arguments": {"question": QUESTION}}},
        ):
            shell.stdin.write(json.dumps({"jsonrpc": "2.0", **call}) + "\n")
            shell.stdin.flush()
        wait_for(lambda: (desk / ".openbook" / "library" / "owner").exists())
        shell.kill()
        shell.communicate(timeout=30)
    wait_for(lambda: not _runs(child), 20)
    assert not (desk / ".openbook" / "library" / "owner").exists()
    assert "Traceback" not in errors.read_text(encoding="utf-8")
    assert as_json("documents", cwd=desk)


_HOST = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(child.pid, flush=True)
for line in sys.stdin:
    child.stdin.write(line)
    child.stdin.flush()
"""


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process whose parent was killed is nobody's here, and stands as a zombie until its reaper comes.
    return "Z" not in subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout


@pytest.mark.slow
def test_the_configuration_of_the_documentation_works(desk: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text(encoding="utf-8")
    config = json.loads(page.split("```json")[1].split("```")[0])["mcpServers"]["openbook"]
    command = Path(sys.executable).with_name(Path(config["command"]).name)
    words = [str(desk) if word == "/home/me/desk" else word for word in config["args"]]
    kept = {key: value for key, value in os.environ.items() if key.startswith("OPENBOOK_")}

    async def work() -> CallToolResult:
        parameters = StdioServerParameters(command=str(command), args=words, env=kept, cwd="/")
        async with Client(parameters) as client:
            return await client.call_tool("ask", {"question": QUESTION})

    answer = asyncio.run(work())
    assert not answer.is_error
    assert answer.structured_content["citations"][0]["document"] == VACATION


def test_nothing_but_the_protocol_comes_out_of_stdout(desk: Path) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    calls: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "ask", "arguments": {"question": QUESTION}}},
        {"id": 3, "method": "tools/call", "params": {"name": "read_document", "arguments": {"document": "x"}}},
    ]
    child = subprocess.Popen(
        [sys.executable, "-m", "openbook", "mcp", "--workspace", str(desk)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    for call in calls:
        child.stdin.write(json.dumps({"jsonrpc": "2.0", **call}) + "\n")
    child.stdin.flush()
    lines = [child.stdout.readline() for _ in range(3)]
    rest, said = child.communicate(timeout=60)
    answers = {told["id"]: told for told in map(json.loads, [*lines, *rest.splitlines()])}
    assert set(answers) == {1, 2, 3}
    assert "24 paid vacation days" in answers[2]["result"]["content"][0]["text"]
    assert answers[3]["result"]["isError"] is True
    assert child.returncode == 0
    assert "Traceback" not in said


def test_a_wrong_workspace_is_said_on_stderr_before_any_host_asks(tmp_path: Path) -> None:
    done = openbook("mcp", "--workspace", str(tmp_path), cwd=tmp_path, expect=2)
    assert done.stdout == ""
    assert "openbook init" in done.stderr
