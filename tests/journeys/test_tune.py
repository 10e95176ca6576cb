"""openbook tune as a person runs it: real processes, the real embedder, the handbook and its questions."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bench import handbook_cases
from openbook import sample
from openbook.settings_file import change
from tests.serving import Process

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]


def openbook(*words: str, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "openbook", *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done


def settings(desk: Path) -> dict[str, Any]:
    return tomllib.loads((desk / "openbook.toml").read_text())


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    sample.copy_handbook(folder / "handbook")
    openbook("init", ".", cwd=folder)
    openbook("sync", "handbook", cwd=folder)
    lines = [
        {
            "id": one.id,
            "question": one.question,
            "answer": list(one.gold),
            "kind": one.kind,
            **({"document": one.spans[0].document, "quote": one.spans[0].quote} if one.spans else {}),
        }
        for one in handbook_cases.cases()
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "few.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:5]))
    return folder


def test_a_dry_run_reports_and_changes_nothing(desk: Path) -> None:
    before = (desk / "openbook.toml").read_bytes()
    done = openbook("tune", "questions.jsonl", "--only", "passages", "--only", "decline", "--dry-run", cwd=desk)
    assert "passages" in done.stdout
    assert "held-out" in done.stdout or "no significant gain" in done.stdout
    (report,) = (desk / ".openbook/tune").iterdir()
    assert {path.name for path in report.iterdir()} == {"report.html", "report.json"}
    assert (desk / "openbook.toml").read_bytes() == before


def test_a_forced_chunk_size_is_written_with_its_evidence_and_the_next_sync_splits_anew(desk: Path) -> None:
    done = openbook("tune", "questions.jsonl", "--only", "search", "--tries", "3", "--force", "--json", cwd=desk)
    report = json.loads(done.stdout)
    assert report["written"] is bool(report["changes"])
    for key, value in report["changes"].items():
        section, name = key.split(".")
        assert settings(desk)[section][name] == value
        assert f".openbook/tune/{report['id']}/report.html" in (desk / "openbook.toml").read_text()
    synced = json.loads(openbook("sync", "handbook", "--json", cwd=desk).stdout)
    assert synced["unchanged"] == 39
    resplit = any("split anew" in note for note in synced["notes"])
    assert resplit is any(key.startswith("ingest.") for key in report["changes"])


@pytest.mark.slow
def test_what_is_tuned_beside_a_server_is_in_force_there_at_once(desk: Path, tmp_path: Path) -> None:
    served_desk = Path(shutil.copytree(desk, tmp_path / "desk"))
    change(served_desk / "openbook.toml", {"answer.passages": 40}, why="a bad beginning")
    words = ("tune", "questions.jsonl", "--only", "passages", "--tries", "3", "--force", "--json")
    with Process(served_desk) as served:
        report = json.loads(openbook(*words, cwd=served_desk).stdout)
        with httpx2.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.token}"}) as http:
            rows = {one["key"]: one for one in http.get("/api/settings").json()["settings"]}
    assert report["changes"]
    for key, value in report["changes"].items():
        assert (rows[key]["value"], rows[key]["in_force"]) == (value, value), key


def test_ctrl_c_leaves_nothing_behind(desk: Path, tmp_path: Path) -> None:
    before = (desk / "openbook.toml").read_bytes()
    running = subprocess.Popen(
        [sys.executable, "-m", "openbook", "tune", "questions.jsonl", "--only", "search"],
        cwd=desk,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("openbook-tune-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert (running.returncode, said.strip().splitlines()[-1]) == (130, "stopped")
    assert not list(tmp_path.glob("openbook-tune-*"))
    assert (desk / "openbook.toml").read_bytes() == before


def test_wrong_use_is_said_in_a_sentence(desk: Path) -> None:
    assert "--from-library" in openbook("tune", cwd=desk, expect=2).stderr
    assert "not enough data" in openbook("tune", "few.jsonl", cwd=desk, expect=1).stderr
    assert "--answers" in openbook("tune", "few.jsonl", "--only", "order", cwd=desk, expect=2).stderr
    assert "nowhere.jsonl" in openbook("tune", "nowhere.jsonl", cwd=desk, expect=1).stderr


def test_questions_can_come_from_the_library(desk: Path) -> None:
    done = openbook("tune", "--from-library", "--only", "passages", "--dry-run", "--json", cwd=desk)
    report = json.loads(done.stdout)
    assert report["questions"]["held out"] >= 20
    assert report["written"] is False
