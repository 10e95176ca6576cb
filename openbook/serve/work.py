"""Documents in by request: uploads and syncs as jobs, where documents come from, and the jobs themselves over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from openbook.ingest.sources import is_address
from openbook.records import PUBLIC
from openbook.seams import Embedder, Progress
from openbook.serve import reach, uploads
from openbook.serve.access import Caller, caller, needs
from openbook.serve.errors import Refused
from openbook.serve.jobs import Job, Stopped, Wish
from openbook.serve.state import Server, server_of
from openbook.serve.uploads import Kept
from openbook.serve.work_shapes import JobInfo, JobList, JobStarted, Sources
from openbook.wire import sync_json

if TYPE_CHECKING:
    from typing import IO

    from openbook.ingest.sync import Given

router = APIRouter(prefix="/api", tags=["work"])


def _worker(request: Request) -> Caller:
    who = caller(request)
    if not (who.may("write") or who.may("train")):
        raise Refused(403, "this key may not do that: it lacks the scope 'write' or 'train'", code="missing_scope")
    return who


Here = Annotated[Server, Depends(server_of)]
Worker = Annotated[Caller, Depends(_worker)]
"""Whoever may start some kind of job; jobs are their makers'."""
Say = Callable[[dict[str, Any]], None]


class Upload(Protocol):
    """A file of a request, as starlette has it."""

    @property
    def filename(self) -> str | None:
        """What the client calls it."""

    @property
    def file(self) -> IO[bytes]:
        """Its bytes."""


class SyncOrder(BaseModel):
    """What POST /api/sync takes."""

    model_config = ConfigDict(extra="forbid")

    targets: list[str] = Field(min_length=1, max_length=100, examples=[["/srv/handbook"]])
    labels: list[str] = []
    allow_mass_delete: bool = False
    dry_run: bool = False
    only: list[str] | None = Field(default=None, max_length=100)
    """Places inside the targets: nothing else is looked at, and no web page."""


def register(server: Server) -> None:
    """Say what kinds of jobs are done here."""

    def sync(job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
        return _sync(server, job, say, wish)

    def upload(job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
        return _upload(server, job, say, wish)

    server.jobs.handle("sync", sync)
    server.jobs.handle("upload", upload, drop=lambda job: _drop(server, job))


def accept(server: Server, who: Caller, files: Sequence[Upload], labels: Sequence[str] = ()) -> Job:
    """Keep uploaded files and put their reading in line; they are safe on the disk when this returns.

    `labels` say who may see the documents: none are the caller's groups, or everyone for a caller without any.
    Blocks on the disk. Raises Refused 400 for no file or an empty one, 403 for labels of groups that are not the
    caller's.
    """
    given = reach.labels(who, labels) or (who.groups if who.groups and not who.all_groups else (PUBLIC,))
    if not files:
        raise Refused(400, "no file was sent; send one or more as the form field 'files'", param="files")
    kept: list[Kept] = []
    try:
        for one in files:
            kept.append(uploads.keep(server, one.file, one.filename or ""))
            if not kept[-1].bytes:
                raise Refused(400, f"{kept[-1].name!r} is empty", code="empty_file", param="files")
        args = {"files": [one.json() for one in kept], "labels": list(given)}
        return server.jobs.submit("upload", args, who)
    except BaseException:
        uploads.forget(server, [one.id for one in kept])
        raise


@router.post("/sync", status_code=202, response_model=JobStarted, summary="Sync folders, files and web pages")
def sync(order: SyncOrder, server: Here, who: Caller = needs("write")) -> dict[str, Any]:
    """Bring folders, files and web pages of this machine into the library: a job."""
    targets = [reach.target(server, who, one) for one in order.targets]
    labels = reach.labels(who, order.labels)
    if labels and not who.all_groups:
        raise Refused(
            403,
            "a sync labels documents that are there already, so only a caller who sees all of them may name labels; "
            "leave them out to keep those the documents have",
            code="labels_not_allowed",
            param="labels",
        )
    only = None if order.only is None else [reach.target(server, who, one) for one in order.only]
    args = {**order.model_dump(), "targets": targets, "labels": list(labels), "only": only}
    return {"job": shown(server.jobs.submit("sync", args, who), who)}


@router.get("/sources", response_model=Sources, summary="Where documents come from")
def sources(server: Here, who: Caller = needs("search")) -> dict[str, Any]:
    """Where the caller's documents come from, and what may be synced."""
    found: dict[str, dict[str, Any]] = {}
    for info in server.house.library.documents():
        if who.sees(info):
            kind = "upload" if info.source.startswith(uploads.SOURCE) else "web" if is_address(info.source) else "path"
            place = "" if kind == "upload" else info.source
            one = found.setdefault(place, {"source": place, "kind": kind, "documents": 0, "synced_at": ""})
            one["documents"] += 1
            one["synced_at"] = max(one["synced_at"], info.synced_at)
    return {"sources": sorted(found.values(), key=lambda one: str(one["source"])), "may": reach.told(server, who)}


@router.get("/jobs", response_model=JobList, summary="Your jobs")
def list_jobs(server: Here, who: Worker, kind: str = "", state: str = "") -> dict[str, Any]:
    """The caller's jobs, newest first."""
    return {"jobs": [shown(one, who) for one in server.jobs.list(who, kind=kind, state=state)]}


@router.get("/jobs/{job}", response_model=JobInfo, summary="A job")
def get_job(job: str, server: Here, who: Worker) -> dict[str, Any]:
    """One job."""
    return shown(server.jobs.get(job, who), who)


@router.post("/jobs/{job}/cancel", response_model=JobInfo, summary="Cancel a job")
def cancel(job: str, server: Here, who: Worker) -> dict[str, Any]:
    """Stop a job for good; an upload's documents go with it."""
    return shown(server.jobs.cancel(job, who), who)


@router.post("/jobs/{job}/pause", response_model=JobInfo, summary="Pause a job")
def pause(job: str, server: Here, who: Worker) -> dict[str, Any]:
    """Stop a job so that it can go on."""
    return shown(server.jobs.pause(job, who), who)


@router.post("/jobs/{job}/resume", response_model=JobInfo, summary="Resume a job")
def resume(job: str, server: Here, who: Worker) -> dict[str, Any]:
    """Let a paused job go on."""
    return shown(server.jobs.resume(job, who), who)


@router.get(
    "/jobs/{job}/events",
    summary="Follow a job",
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events as they come, or JSON."}},
)
def events(
    job: str,
    server: Here,
    who: Worker,
    after: Annotated[int, Query(ge=0)] = 0,
    accept: Annotated[str, Header()] = "",
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    """What a job says, as server-sent events until it ends; with Accept: application/json what it said so far."""
    found = server.jobs.get(job, who)
    after = max(after, int(last_event_id) if last_event_id.isdecimal() and len(last_event_id) < 19 else 0)
    if "text/event-stream" not in accept and "application/json" in accept:
        said = server.jobs.events(job, who, after)
        return JSONResponse(
            {"events": [{"number": number, "at": at, **_event(e, found, who)} for number, at, e in said]}
        )
    return StreamingResponse(
        _lines(server, found, who, after), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def shown(job: Job, who: Caller) -> dict[str, Any]:
    """A job for a caller: an admin who may see less than its maker learns of it, not what it says of documents."""
    told = job.json()
    return told if reach.covers(who, job.caller) else {**told, "args": {}, "result": None, "error": ""}


def _event(event: dict[str, Any], job: Job, who: Caller) -> dict[str, Any]:
    if reach.covers(who, job.caller):
        return event
    return {key: event[key] for key in ("state", "step", "done", "total") if key in event}


async def _lines(server: Server, job: Job, who: Caller, after: int) -> AsyncGenerator[str, None]:
    async with aclosing(server.jobs.follow(job.id, who, after)) as following:
        async for number, at, event in following:
            if not event:
                yield ": still here\n\n"
                continue
            told = json.dumps({"at": at, **_event(event, job, who)}, ensure_ascii=False)
            yield f"id: {number}\ndata: {told}\n\n"


def _sync(server: Server, job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
    args, who = job.args, job.caller
    before = server.house.library.documents()
    with ExitStack() as stack:
        report = server.workspace.sync(
            args["targets"],
            acl=args["labels"],
            dry_run=args["dry_run"],
            allow_mass_delete=args["allow_mass_delete"],
            progress=_progress(job, say, wish),
            embedder=stack.enter_context(_Apart(server)),
            only=None if args.get("only") is None else [Path(one) for one in args["only"]],
            public_only=who.kind != "local",  # the command line beside reads the intranet, as it does alone
        )
    visible = reach.report(report, who, before, server.house.library.documents())
    return sync_json(visible)


def _upload(server: Server, job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
    from openbook.ingest.sync import Given

    who, kept = job.caller, [Kept(**one) for one in job.args["files"]]
    uploads.record(server, kept, uploads.DOCUMENT, who)
    names = uploads.names_for(server, kept, who)
    lying = {one.id: uploads.path_of(server, one.id) for one in kept}
    given: list[Given] = [Given(names[key], path, uploads.SOURCE + key) for key, path in lying.items() if path]
    with _Apart(server) as embedder:
        report = server.workspace.take(
            given, acl=job.args["labels"], progress=_progress(job, say, wish), embedder=embedder
        )
    uploads.sweep(server)
    infos = server.house.library.documents()
    told = sync_json(reach.report(report, who, infos, infos))
    failed = {one.path for one in report.failed}
    return {**told, "documents": [name for name in names.values() if name not in failed]}


def _drop(server: Server, job: Job) -> None:
    """Take a cancelled upload out again: what was read of it already, and its files."""
    from openbook.records import Change

    keys = {one["id"] for one in job.args["files"]}
    library = server.house.library
    gone = [info.name for info in library.documents() if info.source.removeprefix(uploads.SOURCE) in keys]
    if gone:
        library.commit(Change(remove=gone), note="upload cancelled")
    uploads.forget(server, keys)


def _progress(job: Job, say: Say, wish: Callable[[], Wish]) -> Progress:
    """Progress as events; in hundredths for a caller who must not learn how many documents there are."""

    def progress(step: str, done: int, total: int) -> None:
        if wish():
            raise Stopped
        if not job.caller.all_groups and job.kind == "sync":
            done, total = (100 * done // total if total else 100), 100
        say({"step": step, "done": done, "total": total})

    return progress


class _Apart:
    """The library's embedder in a process of its own, where it is one that computes here: answers come first."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stack = ExitStack()

    def __enter__(self) -> Embedder:
        from openbook.retrieve.embed import OpenVINOEmbedder
        from openbook.serve.embedding import ChildEmbedder

        here = self._server.house.embedder
        if not isinstance(here, OpenVINOEmbedder):
            return here
        return self._stack.enter_context(ChildEmbedder(here.files))

    def __exit__(self, *_: object) -> None:
        self._stack.close()
