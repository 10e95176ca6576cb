"""Comparisons by request: a job that asks the arms under its maker's groups, and the reports a caller may read."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from openbook.copying import copy_library
from openbook.errors import CompareError
from openbook.records import PUBLIC, CaseKind
from openbook.serve import reach, review, tasks, training, workers
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.jobs import Job, Wish
from openbook.serve.kept_pages import kept_page
from openbook.serve.state import Server, server_of
from openbook.serve.training import Names, clear, folder_of, lay_out
from openbook.serve.work import shown
from openbook.serve.work_shapes import JobStarted, Report, ReportList
from openbook.settings import STATE_DIR

router = APIRouter(prefix="/api", tags=["comparisons"])
Here = Annotated[Server, Depends(server_of)]
Say = Callable[[dict[str, Any]], None]
_FILES = ("cases", "conversations", "examples", "trained_on")
_SINGLE = ("contract", "prices", "labels")


class CompareOrder(BaseModel):
    """What POST /api/compare takes: the options of openbook compare; files are ids of POST /v1/files."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"made": 40, "arms": ["base", "rag"]}]})

    cases: Names = []
    conversations: Names = []
    examples: Names = []
    trained_on: Names = []
    contract: str = ""
    prices: str = ""
    labels: str = ""
    reviewed: Annotated[bool, Field(description="Ask the cases accepted in the review, too.")] = False
    made: Annotated[int, Field(ge=0, le=2000)] | None = None
    kinds: list[CaseKind] = []
    arms: Names = []
    tuned: Names = []
    both: Names = []
    primary: str = ""
    bar: Annotated[float, Field(ge=0, le=1)] | None = None
    task: str = ""
    edits: Annotated[int, Field(ge=1, le=1000)] = 10
    retrain: bool = False
    judge: bool = False
    skip: list[Literal["diagnostics", "freshness", "latency", "style", "shots"]] = []
    seed: int = 0
    title: Annotated[str, Field(max_length=200)] = ""


def register(server: Server) -> None:
    """Say what kinds of jobs are done here."""

    def handler(job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
        return _compare(server, job, say, wish)

    server.jobs.handle("compare", handler, drop=lambda job: clear(server, job))


@router.post("/compare", status_code=202, response_model=JobStarted, summary="Compare ways of answering")
def compare(order: CompareOrder, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Compare base, rag, tuned and tuned+rag on the same cases, made from the library where none are given: a job."""
    from openbook import reporting

    training.refuse_code(order.task)
    plain = order.model_dump()
    files = {name: [training.file_of(server, who, key, name) for key in plain.pop(name)] for name in _FILES}
    files |= {name: [training.file_of(server, who, key, name)] for name in _SINGLE if (key := plain.pop(name))}
    for ref in (*order.tuned, *order.both):
        training.visible(server, who, ref)
    if plain.pop("reviewed"):
        files["cases"].append(review.file_of_accepted(server, who, "cases"))
    plain["title"] = order.title or server.workspace.root.name
    # Fixed now: labels that come up later must not make another comparison of this one.
    groups = server.labels() if who.all_groups else who.groups
    plain["groups"] = sorted(set(groups) - {PUBLIC})
    reporting.check(tasks.options_of({**plain, "labels": "labels" if order.labels else ""}))
    return {"job": shown(server.jobs.submit("compare", {"options": plain, "files": files}, who), who)}


@router.get("/reports", response_model=ReportList, summary="Finished comparisons")
def reports(server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Finished comparisons the caller may read, newest first."""
    home = _home(server)
    names = sorted((one.name for one in home.iterdir()), reverse=True) if home.is_dir() else []
    found = []
    for name in names:
        with contextlib.suppress(Refused, CompareError):
            report = _report(server, who, name)
            kept = ("id", "created", "title", "primary", "verdict")
            arms = [one["name"] for one in report.get("arms", ()) if isinstance(one, dict)]
            found.append({**{key: report.get(key) for key in kept}, "arms": arms})
    return {"reports": found}


@router.get("/reports/{name}", response_model=Report, summary="A report")
def report(name: str, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """One report."""
    return _report(server, who, name)


@router.get(
    "/reports/{name}/page",
    summary="A report as a page",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}},
)
def page(name: str, server: Here, who: Caller = needs("train")) -> HTMLResponse:
    """One report as a page."""
    _report(server, who, name)
    file = _home(server) / name / "report.html"
    if not file.is_file():
        raise _missing(name)
    return kept_page(file)


def _report(server: Server, who: Caller, name: str) -> dict[str, Any]:
    folder = reach.folder(_home(server), name)
    if folder is None or not reach.may_open(folder, who):
        raise _missing(name)
    try:
        found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _missing(name) from None
    return found


def _missing(name: str) -> Refused:
    return Refused(404, f"no report {name!r}", code="no_such_report")


def _home(server: Server) -> Path:
    return server.workspace.state / "reports"


def _compare(server: Server, job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
    home = folder_of(server, job)
    done = home / "result.json"
    if done.is_file():
        told: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    else:
        files: Mapping[str, Any] = job.args["files"]
        laid = {name: [str(path) for path in lay_out(server, job, kept, name)] for name, kept in files.items()}
        options = {
            **job.args["options"],
            **{name: laid.get(name, []) for name in _FILES},
            **{name: laid[name][0] for name in _SINGLE if laid.get(name)},
        }
        root = _copy(server, job.caller, home / "workspace")
        order = {**training.order_for(server), "root": str(root), "options": options, "done": str(done)}
        told = workers.run("compare", order, say, wish)
    reach.seal(_home(server) / told["report"], job.caller)
    clear(server, job)
    return told


def _copy(server: Server, who: Caller, root: Path) -> Path:
    """A workspace with a copy of the library, which another process may own, and everything else of this one.

    Adapters the caller may not ask are not in it.
    """
    if root.is_dir():
        return root
    draft = root.with_name(f"{root.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    state, here = draft / STATE_DIR, server.workspace.state
    root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    state.mkdir(parents=True)
    (here / "reports").mkdir(exist_ok=True)
    (here / "runs").mkdir(exist_ok=True)
    for part in ("reports", "runs", "embedders", "rerankers", "probes"):
        if (here / part).is_dir():
            (state / part).symlink_to(here / part, target_is_directory=True)
    (state / "adapters").mkdir()
    registry = server.house.adapters
    hidden = {one.name for one in registry.list() if not reach.may_ask(who, one)}
    for name in registry.names():
        if name not in hidden:
            (state / "adapters" / name).symlink_to(here / "adapters" / name, target_is_directory=True)
    settings = server.workspace.settings.library
    if not (settings.catalog_url or settings.qdrant_url):
        copy_library(server.house, state / "library")
    draft.replace(root)
    return root
