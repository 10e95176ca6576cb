"""Training by request: check examples, train as a job, adapters, runs. The OpenAI API trains through here."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from openbook.errors import AdapterError
from openbook.files import write_atomic
from openbook.seams import Progress
from openbook.serve import reach, review, uploads, workers
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.jobs import Job, Stopped, Wish
from openbook.serve.kept_pages import kept_page
from openbook.serve.state import Server, server_of
from openbook.serve.work import shown
from openbook.serve.work_shapes import AdapterInfo, AdapterList, JobStarted, RunEvents
from openbook.settings import METRICS

if TYPE_CHECKING:
    from openbook.finetune.job import Job as Training
    from openbook.finetune.registry import Adapter

router = APIRouter(prefix="/api", tags=["training"])
Here = Annotated[Server, Depends(server_of)]
Say = Callable[[dict[str, Any]], None]
Names = Annotated[list[str], Field(max_length=100)]
RESERVED = ("base", "rag", "extractive", "endpoint")
"""Names of models that are no adapters."""
_PAGES = {"preflight": "preflight.html", "curves": "page.html"}


class TrainOrder(BaseModel):
    """What POST /api/training and /api/training/preflight take; files are ids of POST /v1/files."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"files": ["file-3f9a"], "name": "x"}]})

    files: Names = []
    validation: Names = []
    test: Names = []
    name: Annotated[str, Field(max_length=64)] = ""
    settings: dict[str, Any] = {}
    mapping: dict[str, str] = {}
    from_library: bool = False
    questions: Names = []
    reviewed: Annotated[bool, Field(description="Learn the examples accepted in the review, too.")] = False


class PromoteOrder(BaseModel):
    """What POST /api/adapters/{name}/promote takes."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 1}]})

    version: int = Field(ge=1)
    force: bool = False


def register(server: Server) -> None:
    """Say what kinds of jobs are done here."""

    def handler(job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
        return _work(server, job, say, wish)

    for kind in ("preflight", "train"):
        server.jobs.handle(kind, handler, drop=lambda job: clear(server, job))


def submit(
    server: Server, who: Caller, order: TrainOrder, *, kind: str = "train", beside: Mapping[str, Any] | None = None
) -> Job:
    """Put a training or a check of its examples in line. `beside` is kept with it, as the OpenAI API's own words are.

    Raises Refused and UsageError for what can be seen to be wrong without reading examples.
    """
    name = order.name or ("check" if kind == "preflight" else "")
    if name in RESERVED:
        raise Refused(400, f"{name!r} is the name of a model here; choose another", param="name")
    # A new version may be promoted: then the bare name would answer otherwise for those who know the adapter.
    if kind == "train" and any(not reach.may_ask(who, one) for one in server.house.adapters.list() if one.name == name):
        raise Refused(409, f"the name {name!r} is taken; choose another", code="name_taken", param="name")
    kept = {
        field: [file_of(server, who, key, field) for key in getattr(order, field)]
        for field in ("files", "validation", "test", "questions")
    }
    settings = _settings(who, order)
    if order.reviewed:
        kept["files"].append(review.file_of_accepted(server, who, "examples"))
    args = {
        "name": name,
        "settings": settings,
        "mapping": order.mapping,
        "from_library": order.from_library,
        **kept,
        **(beside or {}),
    }
    _job_of(server, args, Path("examples"))  # says what is wrong with the settings now, not in an hour
    if kind == "train":
        with server.house.adapters.reserve(name):  # as for the name
            pass
    return server.jobs.submit(kind, args, who)


def model_of(adapter: Adapter) -> str:
    """The id under which the OpenAI API serves a trained adapter: "ft:smollm2-135m-instruct:tone:1"."""
    base = str(adapter.base.get("name", "")).rstrip("/").rpartition("/")[2].replace(":", "-")
    return f"ft:{base or 'base'}:{adapter.name}:{adapter.version}"


def adapter_of(model: str) -> str | None:
    """The reverse, NAME@VERSION; None for what is no such id. It need not exist.

    >>> adapter_of("ft:smollm2-135m-instruct:tone:1")
    'tone@1'
    """
    parts = model.split(":")
    return f"{parts[2]}@{parts[3]}" if len(parts) == 4 and parts[0] == "ft" and parts[3].isdecimal() else None


@router.post("/training/preflight", status_code=202, response_model=JobStarted, summary="Check examples")
def preflight(order: TrainOrder, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Check examples and estimate what training on them would take: a job; its page is /api/runs/{run}/preflight."""
    return {"job": shown(submit(server, who, order, kind="preflight"), who)}


@router.post("/training", status_code=202, response_model=JobStarted, summary="Train an adapter")
def train(order: TrainOrder, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Train an adapter: a job."""
    return {"job": shown(submit(server, who, order), who)}


@router.get("/adapters", response_model=AdapterList, summary="Adapters")
def adapters(server: Here, who: Caller = needs("ask")) -> dict[str, Any]:
    """Every version of every adapter the caller may ask."""
    return {"adapters": [_row(one) for one in server.house.adapters.list() if reach.may_ask(who, one)]}


@router.post("/adapters/{name}/promote", response_model=AdapterInfo, summary="Promote a version")
def promote(name: str, order: PromoteOrder, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Make a version the one its bare name stands for; refused when something stands against it, unless forced."""
    visible(server, who, f"{name}@{order.version}")
    try:
        return _row(server.house.adapters.promote(f"{name}@{order.version}", force=order.force))
    except AdapterError as error:
        raise Refused(409, str(error), code="not_promoted") from None


@router.post("/adapters/{name}/roll-back", response_model=AdapterInfo, summary="Go back a version")
def roll_back(name: str, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Go back to the version that was promoted before."""
    visible(server, who, name)
    try:
        return _row(server.house.adapters.rollback(name))
    except AdapterError as error:
        raise Refused(409, str(error), code="not_rolled_back") from None


@router.get("/runs/{run}/events", response_model=RunEvents, summary="What a training said")
def run_events(run: str, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """What a training said so far: its start, steps, checks; what was repeated after a resume stands once."""
    from dataclasses import asdict

    from openbook.finetune import live

    said = live.history(live.read(_run(server, who, run)))
    speed, best = live.rate(said), live.best(said)
    return {"run": run, "events": said, "rates": asdict(speed) if speed is not None else None, "best": best}


@router.get(
    "/runs/{run}/{page}",
    summary="A page of a training",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}},
)
def run_page(run: str, page: str, server: Here, who: Caller = needs("train")) -> HTMLResponse:
    """The page of a run: "preflight" (findings, the mask) or "curves"."""
    file = _run(server, who, run) / _PAGES.get(page, "none")
    if not file.is_file():
        raise Refused(404, f"no page {page!r} of the run {run!r}", code="no_such_page")
    return kept_page(file)


def folder_of(server: Server, job: Job) -> Path:
    """Where a job keeps what it needs until it has ended."""
    return server.workspace.state / "jobs" / job.id


def clear(server: Server, job: Job) -> None:
    """Forget what a job needed; what came of it stays."""
    shutil.rmtree(folder_of(server, job), ignore_errors=True)


def lay_out(server: Server, job: Job, kept: Sequence[Mapping[str, Any]], part: str) -> list[Path]:
    """The job's own copies of uploaded files, under the names they came with: findings then name them so.

    Raises Refused when one was deleted meanwhile.
    """
    found: list[Path] = []
    for number, one in enumerate(kept):
        home = folder_of(server, job) / part / str(number)
        place = home / Path(str(one["name"])).name
        folder_of(server, job).mkdir(parents=True, exist_ok=True, mode=0o700)
        if not place.is_file():
            source = uploads.path_of(server, str(one["id"]))
            if source is None:
                raise Refused(404, f"the file {one['id']!r} was deleted before the job began", code="no_such_file")
            write_atomic(place, source.read_bytes())
        found.append(place.resolve())
    return found


def order_for(server: Server, **more: Any) -> dict[str, Any]:
    """What every child process is told."""
    settings = server.workspace.settings.model_dump(mode="json", exclude_unset=True)
    return {"root": str(server.workspace.root), "settings": settings, **more}


def run_of(server: Server, job: Job) -> Path | None:
    """The run folder of a training or check, once it has one."""
    said = (event["run"] for _, _, event in server.jobs.events(job.id, job.caller) if "run" in event)
    run = next(said, None)
    return server.workspace.state / "runs" / run if run else None


def _work(server: Server, job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
    folder = run_of(server, job)
    if folder is None or not folder.is_dir():
        folder = _begin(server, job, say, wish)
    names = [info.name for info in server.house.library.documents() if job.caller.sees(info)]
    told = workers.run(job.kind, order_for(server, run=str(folder), documents=names), say, wish)
    if job.kind == "train":
        told |= {"model": model_of(server.house.adapters.get(told["adapter"]))}
    clear(server, job)
    return told


def _begin(server: Server, job: Job, say: Say, wish: Callable[[], Wish]) -> Path:
    """Make the run's folder, and the lessons that it learns where they come from the library."""
    from openbook.finetune.job import new_run

    training = _job_of(server, job.args, folder_of(server, job), job=job, progress=_progress(say, wish))
    folder = new_run(server.workspace.state / "runs", training)
    reach.seal(folder, job.caller)
    say({"run": folder.name})
    return folder


def _job_of(
    server: Server, args: Mapping[str, Any], home: Path, *, job: Job | None = None, progress: Progress | None = None
) -> Training:
    """What is trained; without `job` only as far as the settings, to check them."""
    from openbook.finetune.job import job_of

    workspace = server.workspace
    paths = {
        part: lay_out(server, job, args[part], part) if job else [home / str(one["name"]) for one in args[part]]
        for part in ("files", "validation", "test", "questions")
    }
    if job is not None:
        return workspace.job(
            paths["files"],
            name=args["name"],
            validation=paths["validation"],
            test=paths["test"],
            settings=args["settings"],
            mapping=args["mapping"],
            from_library=args["from_library"],
            questions=paths["questions"],
            progress=progress,
        )
    return job_of(
        args["name"],
        paths["files"],
        workspace=workspace.settings.finetune,
        root=workspace.root,
        model=workspace.settings.models.generator,
        overrides=args["settings"],
        mapping=args["mapping"],
        validation=paths["validation"],
        test=paths["test"],
        reading=workspace.settings.reading,
        from_library=args["from_library"],
        questions=paths["questions"],
    )


def _settings(who: Caller, order: TrainOrder) -> dict[str, Any]:
    """The settings asked for, held to what the caller may see and run."""
    given = dict(order.settings)
    if who.kind in ("key", "login"):
        refuse_code(str(given.get("metric", "")))
        if given.get("own_probes"):
            raise Refused(400, "own_probes names a file of the server's; leave it out", param="settings.own_probes")
    if order.from_library and not who.all_groups:
        wanted = given.get("reading.groups", who.groups)
        if not isinstance(wanted, (list, tuple)) or not set(wanted) <= set(who.groups):
            raise Refused(403, "reading.groups may only name groups of yours", param="settings.reading.groups")
        given["reading.groups"] = list(wanted)
    return given


def refuse_code(metric: str) -> None:
    """Raise Refused for a metric that is a function of a file: callers from afar name no code to run."""
    if metric and metric not in METRICS:
        raise Refused(400, f"metric {metric!r} may not be chosen here; use one of {', '.join(METRICS)}", param="metric")


def file_of(server: Server, who: Caller, key: str, field: str) -> dict[str, Any]:
    """What a job is told of an uploaded file. Raises Refused 400, naming the `field` it was asked for in."""
    try:
        row = uploads.find(server, key, who)
    except Refused:
        raise Refused(400, f"file {key!r} does not exist", code="no_such_file", param=field) from None
    return {"id": row.id, "name": row.name, "bytes": row.bytes, "sha256": row.sha256, "purpose": row.purpose}


def _progress(say: Say, wish: Callable[[], Wish]) -> Progress:
    def progress(step: str, done: int, total: int) -> None:
        if wish():
            raise Stopped
        say({"step": step, "done": done, "total": total})

    return progress


def visible(server: Server, who: Caller, ref: str) -> Adapter:
    """An adapter that the caller may ask. Raises Refused 404, alike for one that is not and one that is hidden."""
    found = None
    with contextlib.suppress(AdapterError):
        found = server.house.adapters.get(ref)
    if found is None or not reach.may_ask(who, found):
        raise Refused(404, f"no adapter {ref!r}", code="no_such_adapter")
    return found


def _run(server: Server, who: Caller, run: str) -> Path:
    folder = reach.folder(server.workspace.state / "runs", run)
    if folder is None or not reach.may_open(folder, who, own=True):
        raise Refused(404, f"no run {run!r}", code="no_such_run")
    return folder


def _row(adapter: Adapter) -> dict[str, Any]:
    return {
        "name": adapter.name,
        "version": adapter.version,
        "model": model_of(adapter),
        "promoted": adapter.promoted,
        "base": adapter.base.get("name"),
        "method": adapter.method,
        "reads": bool(adapter.manifest.get("library")),
        "metric": dict(adapter.metric),
        "created": adapter.created,
        "seconds": adapter.manifest.get("seconds"),
        "run": adapter.manifest.get("run") or None,
        "obstacles": list(adapter.obstacles),
    }
