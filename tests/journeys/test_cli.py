"""The command, as a person runs it: real processes, real models, a real library."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from openbook import sample

pytestmark = [pytest.mark.model, pytest.mark.timeout(120)]
QUESTION = "How many vacation days do I get a year?"
LEAVE = "handbook/Benefits and Perks/Vacation and Sick Leave.md"


def openbook(*words: str, cwd: Path, stdin: str = "", expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "openbook", *words], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done


def as_json(*words: str, cwd: Path, stdin: str = "") -> Any:
    return json.loads(openbook(*words, "--json", cwd=cwd, stdin=stdin).stdout)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    sample.copy_handbook(folder / "handbook")
    openbook("init", ".", cwd=folder)
    report = as_json("sync", "handbook", cwd=folder)
    assert (report["added"], report["failed"], report["library_version"]) == (39, [], report["library_version"])
    return folder


def test_a_second_sync_finds_nothing_to_do(desk: Path) -> None:
    before = as_json("versions", cwd=desk)
    report = as_json("sync", "handbook", cwd=desk)
    assert (report["added"], report["changed"], report["removed"], report["unchanged"]) == (0, 0, 0, 39)
    assert as_json("versions", cwd=desk) == before


def test_documents_are_listed_and_shown_as_citations_count_them(desk: Path) -> None:
    listed = as_json("documents", cwd=desk)
    assert len(listed) == 39
    assert {"document", "hash", "bytes", "pages", "chunks", "acl", "synced_at"} <= set(listed[0])
    text = openbook("documents", "show", LEAVE, "--text", cwd=desk).stdout
    assert text == as_json("documents", "show", LEAVE, cwd=desk)["text"]


def test_search_gives_hits_with_ranks(desk: Path) -> None:
    found = as_json("search", QUESTION, "-k", "3", cwd=desk)
    assert len(found["hits"]) == 3
    hit = found["hits"][0]
    assert hit["document"] == LEAVE
    assert hit["dense_rank"] == 1 or hit["lexical_rank"] == 1
    text = openbook("documents", "show", LEAVE, "--text", cwd=desk).stdout
    assert text[hit["start"] : hit["end"]] == hit["text"]


def test_an_answer_cites_what_the_document_says(desk: Path) -> None:
    answer = as_json("ask", QUESTION, cwd=desk)
    assert "15 days" in answer["answer"]
    assert answer["arm"] == "rag"
    assert answer["tokens"]["prompt"] > 50
    assert QUESTION in answer["prompt"]
    for one in answer["citations"]:
        text = openbook("documents", "show", one["document"], "--text", cwd=desk).stdout
        assert text[one["start"] : one["end"]] == one["quote"]
    assert answer["citations"]


def test_an_answer_for_people_has_numbered_sources(desk: Path) -> None:
    shown = openbook("ask", QUESTION, "--arm", "extractive", cwd=desk).stdout
    assert "15 days" in shown
    assert "[1]" in shown
    assert LEAVE in shown


def test_what_the_documents_do_not_say_is_declined_without_asking_a_model(desk: Path) -> None:
    answer = as_json("ask", "Who won the football world cup in 1998?", cwd=desk)
    assert answer["abstained"]
    assert answer["answer"] == "I can't find this in the documents."
    assert answer["citations"] == []
    assert answer["tokens"] == {"prompt": 0, "answer": 0}


def test_a_batch_answers_each_line_and_can_bring_its_own_passages(desk: Path) -> None:
    lines = [
        {"id": "a", "question": QUESTION},
        {"id": "b", "question": "Who pays for lunch?", "contexts": ["The firm pays for lunch on Fridays."]},
    ]
    stdin = "\n".join(json.dumps(line) for line in lines)
    out = openbook("ask", "--batch", "-", "--arm", "extractive", "--json", cwd=desk, stdin=stdin).stdout
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["id"] == "a"
    assert "15 days" in first["answer"]
    assert second["id"] == "b"
    assert second["citations"][0]["quote"] == "The firm pays for lunch on Fridays."


def test_chat_carries_a_follow_up_to_the_right_passage(desk: Path) -> None:
    said = openbook("chat", "--arm", "extractive", cwd=desk, stdin="How long is a sabbatical?\nHow often is it?\n\n")
    assert "12" in said.stdout
    assert "5 years" in said.stdout


def test_explain_says_why_a_document_was_used_or_not(desk: Path) -> None:
    used = as_json("explain", QUESTION, LEAVE, cwd=desk)
    assert any(one["shown"] and one["reason"].startswith("passage") for one in used["chunks"])
    unused = as_json("explain", QUESTION, "handbook/Mission Statement.md", cwd=desk)
    assert unused["found"]
    assert not any(one["shown"] for one in unused["chunks"])
    assert all(one["reason"] for one in unused["chunks"])
    assert not as_json("explain", QUESTION, "nowhere.md", cwd=desk)["found"]


def test_a_labelled_document_is_found_by_its_group_alone(desk: Path) -> None:
    (desk / "secret").mkdir(exist_ok=True)
    (desk / "secret" / "bonus.md").write_text("# Bonus\n\nThe zebra bonus is 4711 euros.", encoding="utf-8")
    as_json("sync", "secret", "--acl", "board", cwd=desk)
    ask = ("search", "zebra bonus")
    assert "secret/bonus.md" not in [hit["document"] for hit in as_json(*ask, cwd=desk)["hits"]]
    assert "secret/bonus.md" not in [hit["document"] for hit in as_json(*ask, "--group", "staff", cwd=desk)["hits"]]
    assert as_json(*ask, "--group", "board", cwd=desk)["hits"][0]["document"] == "secret/bonus.md"
    assert not as_json("explain", "zebra bonus", "secret/bonus.md", cwd=desk)["found"]


def test_a_filter_narrows_the_search(desk: Path) -> None:
    hits = as_json("search", QUESTION, "--where", "document='handbook/Hiring*'", cwd=desk)["hits"]
    assert hits
    assert all(hit["document"].startswith("handbook/Hiring") for hit in hits)
    assert as_json("search", QUESTION, "--where", "format=pdf", cwd=desk)["hits"] == []


def test_an_edit_is_in_the_next_answer_and_roll_back_takes_it_out(desk: Path) -> None:
    file = desk / LEAVE
    before = as_json("versions", cwd=desk)[-1]["version"]
    original = file.read_text(encoding="utf-8")
    file.write_text(original.replace("3 weeks (15 days)", "6 weeks (30 days)"), encoding="utf-8")
    assert as_json("sync", "handbook", cwd=desk)["changed"] == 1
    asked = ("ask", QUESTION, "--arm", "extractive")
    changed = as_json(*asked, cwd=desk)
    assert "30 days" in changed["answer"]
    assert not any("(15 days) of paid" in hit["text"] for hit in changed["hits"])
    as_json("rollback", str(before), cwd=desk)
    assert "(15 days)" in as_json(*asked, cwd=desk)["answer"]
    file.write_text(original, encoding="utf-8")
    as_json("sync", "handbook", cwd=desk)


def test_a_backup_restores_into_a_new_folder_and_answers_the_same(desk: Path, tmp_path: Path) -> None:
    as_json("backup", str(tmp_path / "desk.tar.gz"), cwd=desk)
    as_json("restore", str(tmp_path / "desk.tar.gz"), "--workspace", str(tmp_path / "again"), cwd=tmp_path)
    asked = ("ask", QUESTION, "--arm", "extractive")
    assert as_json(*asked, cwd=tmp_path / "again")["answer"] == as_json(*asked, cwd=desk)["answer"]
    openbook("restore", str(tmp_path / "desk.tar.gz"), "--workspace", str(tmp_path / "again"), cwd=tmp_path, expect=1)
    (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    openbook("restore", str(tmp_path / "bad.tar.gz"), "--workspace", str(tmp_path / "new"), cwd=tmp_path, expect=1)
    assert not (tmp_path / "new").exists()


def test_doctor_calls_the_small_model_weak_and_names_the_setting(desk: Path) -> None:
    found = {one["topic"]: one for one in as_json("doctor", cwd=desk)}
    assert found["generator"]["level"] == "weak"
    assert "models.generator" in found["generator"]["todo"]
    assert found["library"]["level"] == "ok"


def test_a_library_in_use_is_refused_in_one_sentence(desk: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-m", "openbook", "chat", "--arm", "extractive"],
        cwd=desk,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert owner.stdin is not None
        assert owner.stdout is not None
        owner.stdin.write("How long is a sabbatical?\n")
        owner.stdin.flush()
        assert owner.stdout.readline()
        refused = openbook("search", QUESTION, cwd=desk, expect=1)
        assert str(owner.pid) in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
    finally:
        owner.kill()
        owner.communicate()
    assert as_json("search", QUESTION, cwd=desk)["hits"]


def test_ctrl_c_ends_a_watch_cleanly(desk: Path) -> None:
    watcher = subprocess.Popen(
        [sys.executable, "-m", "openbook", "sync", "handbook", "--watch", "--json"],
        cwd=desk,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert watcher.stdout is not None
    assert json.loads(watcher.stdout.readline())["unchanged"] == 39
    (desk / "handbook" / "New.md").write_text("# New\n\nThe quokka desk opens at nine.", encoding="utf-8")
    assert json.loads(watcher.stdout.readline())["added"] == 1
    (desk / "handbook" / "New.md").unlink()
    assert json.loads(watcher.stdout.readline())["removed"] == 1
    time.sleep(0.2)
    os.killpg(watcher.pid, signal.SIGINT)
    _, errors = watcher.communicate(timeout=30)
    assert watcher.returncode == 0
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("search",), 2, "QUESTION"),
        (("ask", "x", "--arm", "tuned"), 2, "adapter"),
        (("search", "x", "--where", "colour=red"), 2, "colour"),
        (("sync", "missing-folder"), 2, "missing-folder"),
        (("documents", "show", "nowhere.md"), 1, "nowhere.md"),
        (("rollback", "99999"), 1, "99999"),
        (("models", "show", "no-such-model"), 1, "no-such-model"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_a_mistake_gets_one_sentence_and_the_right_exit_code(
    desk: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    done = openbook(*words, cwd=desk, expect=code)
    assert says in done.stderr
    assert done.stdout == ""


def test_without_a_workspace_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    assert "openbook init" in openbook("ask", "x", cwd=tmp_path, expect=2).stderr


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "openbook.toml").write_text("[retrieve]\nkk = 3\n", encoding="utf-8")
    assert "retrieve.kk" in openbook("ask", "x", cwd=tmp_path, expect=2).stderr
