"""The real client uploads, trains, watches and asks what came of it; pauses and cancels; the native API sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest

from openbook.retrieve.embed import FakeEmbedder
from openbook.workspace import Workspace
from tests.journeys.test_finetune import people
from tests.serving import running
from tests.tiny_hf import write_hf

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]
TOML = '\n[finetune]\nmetric = "loss"\nprobes = 0\nthreads = 1\nlearning_rate = 1e-3\n'
LONG = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 50, "batch_size": 4}}}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def workspace(tmp_path: Path, tiny: Path) -> Iterator[Workspace]:
    Workspace.init(tmp_path / "desk", model=str(tiny)).close()
    with (tmp_path / "desk" / "openbook.toml").open("a") as settings:
        settings.write(TOML)
    made = Workspace.open(tmp_path / "desk")
    vars(made.house)["embedder"] = FakeEmbedder()
    yield made
    made.close()


@pytest.fixture
def address(workspace: Workspace) -> Iterator[str]:
    with running(workspace) as url:
        yield url


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0, timeout=60) as made:
        yield made


def rows(pairs: bool = False, seed: int = 1) -> bytes:
    import json

    keys = ("prompt", "chosen", "rejected") if pairs else ("prompt", "completion")
    lines = [json.dumps(dict(zip(keys, (*row, "no idea"), strict=False))) for row in people(40, seed=seed)]
    return "\n".join(lines).encode()


def uploaded(client: openai.OpenAI, content: bytes) -> str:
    return client.files.create(file=("people.jsonl", content), purpose="fine-tune").id


def reaches(client: openai.OpenAI, job: str, *states: str) -> openai.types.fine_tuning.FineTuningJob:
    until = time.monotonic() + 120
    while (now := client.fine_tuning.jobs.retrieve(job)).status not in states:
        assert now.status not in ("failed", "succeeded", "cancelled"), now.error
        assert time.monotonic() < until, now
        time.sleep(0.3)
    return now


def steps(client: openai.OpenAI, job: str) -> int:
    events = client.fine_tuning.jobs.list_events(job, limit=1000)
    return sum("training loss" in event.message for event in events)


def after_steps(client: openai.OpenAI, job: str, count: int) -> None:
    until = time.monotonic() + 120
    while steps(client, job) < count:
        assert time.monotonic() < until
        time.sleep(0.3)


def children() -> set[int]:
    mine = os.getpid()
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parts = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(parts[1]) == mine and "openbook.serve.workers" in command:
            found.add(int(status.parent.name))
    return found


def test_upload_create_watch_and_ask(client: openai.OpenAI, address: str, workspace: Workspace) -> None:
    (workspace.root / "documents").mkdir()
    (workspace.root / "documents" / "Ann.md").write_text("Ann Lovelace is 36 years old and lives in London.\n")
    workspace.sync([workspace.root / "documents"])
    learned, held = uploaded(client, rows()), uploaded(client, rows(seed=2))
    made = client.fine_tuning.jobs.create(
        model="base",
        training_file=learned,
        validation_file=held,
        suffix="People",
        seed=3,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 8}}},
        metadata={"team": "support"},
    )
    done = reaches(client, made.id, "succeeded")
    assert done.fine_tuned_model == f"ft:{Path(workspace.settings.models.generator).name}:people:1"
    assert (done.seed, done.metadata, done.trained_tokens is not None) == (3, {"team": "support"}, True)
    assert (done.training_file, done.validation_file, done.object) == (learned, held, "fine_tuning.job")
    assert done.finished_at is not None
    assert done.finished_at >= done.created_at
    assert done.method is not None
    assert done.method.supervised is not None
    assert done.method.supervised.hyperparameters is not None
    assert done.method.supervised.hyperparameters.n_epochs == 2
    events = list(client.fine_tuning.jobs.list_events(made.id))
    assert len({event.id for event in events}) == len(events) > 4
    assert list(client.fine_tuning.jobs.list_events(made.id, limit=2)) == events, "pages join"
    assert client.fine_tuning.jobs.list_events(made.id, after=events[3].id, limit=1).data == [events[4]]
    messages = [event.message for event in events]
    assert "new fine-tuned model created" in messages[0]
    assert messages[-1] == "The job is queued"
    assert any(event.data and event.data["train_loss"] for event in client.fine_tuning.jobs.list_events(made.id)  # type: ignore[index]
               if event.type == "metrics" and "training loss" in event.message)  # fmt: skip
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(made.id)
    assert checkpoint.fine_tuned_model_checkpoint == done.fine_tuned_model
    assert checkpoint.metrics.step == checkpoint.step_number > 0
    assert checkpoint.metrics.valid_loss is not None
    assert [one.id for one in client.fine_tuning.jobs.list(metadata={"team": "support"})] == [made.id]
    assert list(client.fine_tuning.jobs.list(metadata={"team": "sales"})) == []

    (adapter,) = httpx2.get(f"{address}/api/adapters").json()["adapters"]
    assert (adapter["name"], adapter["version"], adapter["model"]) == ("people", 1, done.fine_tuned_model)
    curves = httpx2.get(f"{address}/api/runs/{adapter['run']}/events").json()
    assert {"start", "step", "eval", "end"} <= {event["kind"] for event in curves["events"]}
    page = httpx2.get(f"{address}/api/runs/{adapter['run']}/preflight")
    assert "people.jsonl" in page.text, "findings name the file as its owner does"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert httpx2.post(f"{address}/api/adapters/people/promote", json={"version": 1}).json()["promoted"]
    assert not (workspace.state / "jobs" / made.id).exists()

    assert done.fine_tuned_model is not None
    listed = {one.id: one for one in client.models.list()}
    names = ["people", "people+rag", "people@1", "people@1+rag"]
    assert set(names) < set(listed)
    assert client.models.retrieve(done.fine_tuned_model).id == done.fine_tuned_model
    for name in (done.fine_tuned_model, *names):
        model = client.models.retrieve(name)
        assert model.owned_by == "openbook"
        assert made.created_at <= model.created <= done.finished_at
        reply = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "How old is Ann Lovelace?"}], max_tokens=8
        )
        assert (reply.model, reply.choices[0].message.role) == (name, "assistant")
        sources = getattr(reply.choices[0].message, "sources", None)
        assert [one["document"] for one in sources or ()] == (["documents/Ann.md"] if "+rag" in name else [])


def test_a_paused_training_stops_at_a_checkpoint_and_goes_on(client: openai.OpenAI, workspace: Workspace) -> None:
    made = client.fine_tuning.jobs.create(model="base", training_file=uploaded(client, rows()), method=LONG)  # type: ignore[arg-type]
    after_steps(client, made.id, 20)
    (child,) = children()
    assert os.getpriority(os.PRIO_PROCESS, child) >= 10
    client.fine_tuning.jobs.pause(made.id)
    reaches(client, made.id, "paused")
    assert children() == set()
    (run,) = (workspace.state / "runs").iterdir()
    assert list((run / "checkpoints").iterdir())
    before = steps(client, made.id)
    client.fine_tuning.jobs.resume(made.id)
    after_steps(client, made.id, before + 10)
    client.fine_tuning.jobs.cancel(made.id)
    assert reaches(client, made.id, "cancelled").fine_tuned_model is None
    assert children() == set()
    assert workspace.house.adapters.list() == []
    assert len(list((workspace.state / "runs").iterdir())) == 1


@pytest.mark.slow
def test_preference_pairs_are_learned_too(client: openai.OpenAI) -> None:
    made = client.fine_tuning.jobs.create(
        model="base",
        training_file=uploaded(client, rows(pairs=True)),
        suffix="prefer",
        method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "beta": 0.2}}},
    )
    done = reaches(client, made.id, "succeeded")
    assert done.method is not None
    assert done.method.dpo is not None
    assert done.method.dpo.hyperparameters is not None
    assert done.method.dpo.hyperparameters.beta == 0.2


def test_examples_that_teach_nothing_fail_the_job_with_the_reason(client: openai.OpenAI, address: str) -> None:
    made = client.fine_tuning.jobs.create(model="base", training_file=uploaded(client, b"{broken\n"))
    failed = reaches(client, made.id, "failed")
    assert failed.error is not None
    assert "not valid JSON" in failed.error.message
    started = httpx2.post(f"{address}/api/training/preflight", json={"files": [uploaded(client, rows())]})
    name = started.json()["job"]["id"]
    until = time.monotonic() + 60
    while (job := httpx2.get(f"{address}/api/jobs/{name}").json())["state"] not in ("succeeded", "failed"):
        assert time.monotonic() < until
        time.sleep(0.3)
    assert job["result"]["errors"] == []
    assert job["result"]["estimate"]["tokens"] > 0
    assert httpx2.get(f"{address}/api/runs/{job['result']['run']}/preflight").status_code == 200
