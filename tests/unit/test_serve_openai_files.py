"""/v1/files and /v1/fine_tuning/jobs with the real client over a real socket; trainings themselves are in journeys/."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import openai
import pytest

from openbook.serve import training
from tests.serving import desk, running

ROWS = b"".join(b'{"prompt": "%d", "completion": "yes %d"}\n' % (n, n) for n in range(20))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    workspace = desk(tmp_path_factory.mktemp("serve") / "desk")
    with running(workspace) as url:
        yield url
    workspace.close()


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as made:
        yield made


def test_a_file_is_created_listed_read_and_deleted(client: openai.OpenAI) -> None:
    made = client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
    assert (made.filename, made.bytes, made.purpose, made.status) == ("rows.jsonl", len(ROWS), "fine-tune", "processed")
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == ROWS
    assert made.id in {one.id for one in client.files.list(purpose="fine-tune")}
    assert made.id not in {one.id for one in client.files.list(purpose="batch")}
    assert client.files.delete(made.id).deleted
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as gone:
            ask(made.id)
        assert gone.value.code == "no_such_file"


def test_lists_come_in_pages(client: openai.OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.jsonl", b"{}"), purpose="user_data").id for n in range(5)]
    assert [one.id for one in client.files.list(purpose="user_data", limit=2)] == made[::-1]
    assert [one.id for one in client.files.list(purpose="user_data", limit=2, order="asc")] == made


def test_an_empty_file_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.files.create(file=("none.jsonl", b""), purpose="fine-tune")


def test_a_hostile_name_stays_a_name(client: openai.OpenAI) -> None:
    made = client.files.create(file=('../../x";\r\nSet-Cookie: a.jsonl', ROWS), purpose="fine-tune")
    assert ".." not in made.filename
    answer = client.files.with_raw_response.content(made.id)
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"training_file": "file-0"}, "training_file"),
        ({"validation_file": "../x"}, "validation_file"),
        ({"model": "gpt-4o"}, "model"),
        ({"method": {"type": "reinforcement"}}, "method.type"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations"),
        ({"suffix": "rag"}, "suffix"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_the_door(
    client: openai.OpenAI, changed: dict[str, object], param: str
) -> None:
    made = client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
    wanted = {"model": "base", "training_file": made.id, **changed}
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(**wanted)  # type: ignore[arg-type]
    assert refused.value.param == param
    assert list(client.fine_tuning.jobs.list()) == []


def test_a_job_that_is_not_there_is_not_found(client: openai.OpenAI) -> None:
    jobs = client.fine_tuning.jobs
    for ask in (jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume, jobs.list_events, jobs.checkpoints.list):
        with pytest.raises(openai.NotFoundError):
            ask("job-0")


@pytest.mark.parametrize(
    "order",
    [
        {"settings": {"epoch": 3}},
        {"settings": {"learning_rate": 7}},
        {"name": "Not A Name"},
        {"name": "base"},
        {"name": "x", "surprise": 1},
        {"name": "x", "files": []},
        {"name": "x", "questions": ["file-1"]},
    ],
)
def test_a_wrong_training_is_refused_in_one_sentence(address: str, order: dict[str, object]) -> None:
    answer = httpx2.post(f"{address}/api/training", json={"files": ["file-1"], "name": "x", **order})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert httpx2.get(f"{address}/api/jobs").json()["jobs"] == []


@pytest.mark.parametrize("path", ["runs/20260101-x/events", "runs/..%2f..%2fx/events", "reports/x", "reports/x/page"])
def test_what_is_not_there_is_404(address: str, path: str) -> None:
    assert httpx2.get(f"{address}/api/{path}").status_code == 404


def test_adapters_of_an_empty_workspace_are_none(address: str) -> None:
    assert httpx2.get(f"{address}/api/adapters").json() == {"adapters": []}
    assert httpx2.post(f"{address}/api/adapters/tone/promote", json={"version": 1}).status_code == 404
    assert httpx2.post(f"{address}/api/adapters/tone/roll-back").status_code == 404
    assert httpx2.get(f"{address}/api/reports").json() == {"reports": []}


@pytest.mark.parametrize("model", ["ft:smollm2:tone:3", "ft:a-b.c:tone-2:11"])
def test_the_id_of_a_tuned_model_names_its_adapter(model: str) -> None:
    _, _, name, version = model.split(":")
    assert training.adapter_of(model) == f"{name}@{version}"
    assert training.adapter_of(f"{model}x") is None
    assert training.adapter_of(f"x{model}") is None


@pytest.mark.parametrize(
    "order",
    [{"arms": ["fast"]}, {"primary": "luck"}, {"tuned": ["tone"]}, {"cases": ["file-1"]}, {"task": "os:system"}],
)
def test_a_wrong_comparison_is_refused_before_anything_runs(address: str, order: dict[str, object]) -> None:
    answer = httpx2.post(f"{address}/api/compare", json=order, timeout=60)
    assert answer.status_code in (400, 404)
    assert httpx2.get(f"{address}/api/jobs", params={"kind": "compare"}).json()["jobs"] == []


def test_a_job_that_nobody_may_start_without_the_scope_is_listed_as_json(address: str) -> None:
    started = httpx2.post(f"{address}/api/sync", json={"targets": ["/nowhere/at/all"]})
    assert started.status_code == 202
    name = started.json()["job"]["id"]
    with httpx2.stream("GET", f"{address}/api/jobs/{name}/events", timeout=120) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line.startswith(("id:", "data:"))]
    assert '"state": "failed"' in lines[-1]
    last = lines[-2].removeprefix("id: ")
    listed = httpx2.get(f"{address}/api/jobs/{name}/events", headers={"Accept": "application/json"}).json()["events"]
    assert [one["state"] for one in listed] == ["queued", "running", "failed"]
    assert str(listed[-1]["number"]) == last
    resumed = httpx2.get(f"{address}/api/jobs/{name}/events", headers={"Last-Event-ID": str(listed[1]["number"])})
    assert [line for line in resumed.text.splitlines() if line.startswith("id:")] == [f"id: {last}"]


def often(client: openai.OpenAI) -> None:
    for _ in range(4):  # a new minute may begin between two of them
        client.models.list()


def test_what_is_too_large_or_too_much_has_the_status_that_clients_know(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    workspace = desk(
        tmp_path_factory.mktemp("limits") / "desk", toml="[serve]\nmax_upload_mb = 1\nrequests_per_minute = 1\n"
    )
    try:
        with running(workspace) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
            with pytest.raises(openai.APIStatusError) as large:
                client.files.create(file=("large.jsonl", b"x" * 2_000_000), purpose="fine-tune")
            assert (large.value.status_code, large.value.type) == (413, "invalid_request_error")
            with pytest.raises(openai.RateLimitError) as refused:
                often(client)
            assert int(refused.value.response.headers["Retry-After"]) >= 1
    finally:
        workspace.close()


def test_a_file_of_another_purpose_is_not_trained_on(client: openai.OpenAI) -> None:
    made = client.files.create(file=("rows.jsonl", ROWS), purpose="assistants")
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(model="base", training_file=made.id)
    assert refused.value.param == "training_file"
    assert "'assistants'" in refused.value.message
