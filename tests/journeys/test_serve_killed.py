"""kill -9 of the server in mid-upload, mid-sync, mid-stream, mid-training: nothing is half, the next start goes on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from openbook.finetune import live
from openbook.workspace import Workspace
from tests.journeys.test_finetune import people
from tests.serving import Process
from tests.tiny_hf import write_hf

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[Process, httpx2.Client]]:
    with Process(folder) as process, httpx2.Client(base_url=process.url, timeout=60) as client:
        yield process, client


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    Workspace.init(tmp_path / "desk").close()
    return tmp_path / "desk"


def until(found: Callable[[], Any], seconds: float = 200) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.3)
    return value


def ended(client: httpx2.Client, job: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        now: dict[str, Any] = client.get(f"/api/jobs/{job}").raise_for_status().json()
        return now if now["state"] in ("succeeded", "failed", "cancelled") else None

    found: dict[str, Any] = until(look)
    assert found["state"] == "succeeded", found
    return found


def events(client: httpx2.Client, job: str) -> list[dict[str, Any]]:
    found = (
        client.get(f"/api/jobs/{job}/events", headers={"Accept": "application/json"})
        .raise_for_status()
        .json()["events"]
    )
    assert isinstance(found, list)
    return found


def originals(desk: Path) -> list[Path]:
    home = desk / ".openbook" / "uploads"
    return list(home.iterdir()) if home.is_dir() else []


def names(desk: Path) -> list[str]:
    with Workspace.open(desk) as workspace:
        return [info.name for info in workspace.documents()]


def test_an_upload_cut_short_leaves_nothing_and_one_that_was_taken_is_read(desk: Path) -> None:
    with served(desk) as (process, client):
        place = httpx2.URL(process.url)
        head = (
            f"POST /api/documents HTTP/1.1\r\nHost: {place.host}:{place.port}\r\n"
            "Content-Type: multipart/form-data; boundary=cut\r\nContent-Length: 5000000\r\n\r\n"
            '--cut\r\nContent-Disposition: form-data; name="files"; filename="half.md"\r\n\r\n'
        )
        with socket.create_connection((place.host, place.port)) as wire:
            wire.sendall(head.encode() + b"half of a document " * 60_000)
            process.kill()
    assert originals(desk) == []
    with served(desk) as (process, client):
        sent = [("files", (f"note{n}.md", f"# Note {n}\n\nThe number {n} is kept.\n".encode())) for n in range(40)]
        job = client.post("/api/documents", files=sent).raise_for_status().json()["job"]["id"]
        process.kill()
    with served(desk) as (process, client):
        assert len(ended(client, job)["result"]["documents"]) == 40
    assert sorted(names(desk)) == sorted(f"note{n}.md" for n in range(40))
    assert len(originals(desk)) == 40


def test_a_sync_goes_on_after_the_server_was_killed(desk: Path, tmp_path: Path) -> None:
    place = tmp_path / "many"
    place.mkdir()
    for number in range(150):
        words = " ".join(f"The drawer {number} holds the part {number * 7 + step} of the set." for step in range(12))
        (place / f"{number}.md").write_text(f"# Drawer {number}\n\n{words}\n")
    with served(desk) as (process, client):
        job = client.post("/api/sync", json={"targets": [str(place)]}).raise_for_status().json()["job"]["id"]
        until(lambda: any(one.get("step") == "embed" for one in events(client, job)))
        assert client.get(f"/api/jobs/{job}").json()["state"] == "running"
        process.kill()
    with served(desk) as (process, client):
        ended(client, job)
    assert sorted(names(desk)) == sorted(f"many/{number}.md" for number in range(150))


def test_an_answer_cut_short_leaves_no_half_turn_and_no_model_behind(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "tides.md").write_text("# Tides\n\nThe harbour is closed at ebb, which comes twice a day.\n")
    question = {"question": "Tell me a long story about a harbour.", "model": "base", "stream": True}
    with served(desk) as (process, client):
        job = client.post("/api/sync", json={"targets": [str(tmp_path / "tides.md")]}).raise_for_status().json()["job"]
        ended(client, job["id"])
        whole = client.post("/api/ask", json={**question, "stream": False}).raise_for_status().json()
        with (  # noqa: PT012 - it dies while its answer is read
            pytest.raises(httpx2.TransportError),
            client.stream("POST", "/api/ask", json={**question, "conversation": whole["conversation"]}) as stream,
        ):
            for seen, line in enumerate(stream.iter_lines()):
                assert "event: answer" not in line
                if seen == 6:
                    child = worker_of(process.child.pid, "generators.batching")
                    process.kill()
        until(lambda: not Path(f"/proc/{child}").exists(), 10)
    with served(desk) as (process, client):
        kept = client.get(f"/api/conversations/{whole['conversation']}").raise_for_status().json()
        assert json.dumps(kept).count(whole["id"]) == 1
        assert "long story" in json.dumps(kept)
        assert len(client.get("/api/conversations").json()["conversations"]) == 1
        again = client.post("/api/ask", json={**question, "stream": False, "conversation": whole["conversation"]})
        assert again.raise_for_status().json()["answer"]
    assert names(desk) == ["tides.md"]


def test_a_training_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    Workspace.init(desk, model=str(write_hf(tmp_path / "tiny"))).close()
    with (desk / "openbook.toml").open("a") as settings:
        settings.write('\n[finetune]\nmetric = "loss"\nprobes = 0\nthreads = 1\nlearning_rate = 1e-3\n')
    rows = "".join(json.dumps({"prompt": one, "completion": other}) + "\n" for one, other in people(60, seed=1))
    with served(desk) as (process, client):
        sent = {"file": ("people.jsonl", rows.encode())}
        file = client.post("/v1/files", data={"purpose": "fine-tune"}, files=sent).raise_for_status().json()["id"]
        order = {"files": [file], "name": "people", "settings": {"epochs": 30, "checks": 20, "batch": 4}}
        job = client.post("/api/training", json=order).raise_for_status().json()["job"]["id"]
        until(lambda: sum(one.get("kind") == "step" for one in events(client, job)) > 60)
        child = worker_of(process.child.pid)
        client.delete(f"/v1/files/{file}").raise_for_status()
        process.kill()
        until(lambda: not Path(f"/proc/{child}").exists(), 5)
    with served(desk) as (process, client):
        done = ended(client, job)
        assert done["result"]["adapter"] == "people@1"
    (run,) = (desk / ".openbook" / "runs").iterdir()
    said = live.read(run)
    assert any(event["kind"] == "resume" for event in said)
    steps = [event["step"] for event in live.history(said) if event["kind"] == "step"]
    assert steps == list(range(1, len(steps) + 1))


def worker_of(parent: int, command: str = "serve.workers") -> int:
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            mother = int(status.read_text().rpartition(")")[2].split()[1])
            if mother == parent and command in (status.parent / "cmdline").read_text():
                return int(status.parent.name)
    raise AssertionError(f"process {parent} has no {command}; it runs under {os.getpid()}")
