"""Whether the server lives and is ready, and what it counts."""

from __future__ import annotations

from typing import Annotated, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from openbook.serve.access import Caller, needs
from openbook.serve.state import Server, server_of

router = APIRouter(tags=["health"])
Here = Annotated[Server, Depends(server_of)]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """ok: questions are answered; starting: a model loads; stopping: nothing new is begun."""

    status: Literal["ok", "starting", "stopping"]


@router.get("/healthz", summary="Whether the server lives")
async def healthz() -> Alive:
    """Needs no key and tells nothing else."""
    return Alive()


@router.get("/readyz", summary="Whether questions are answered", responses={503: {"model": Ready}})
async def readyz(server: Here) -> Response:
    """200 when ready, 503 while it starts or stops; needs no key and tells nothing else."""
    house = server.house
    # The lock of what is made once may be held for seconds, in which the loop answers others.
    loading = house.open_library is None or await anyio.to_thread.run_sync(lambda: house.loading)
    status: Literal["ok", "starting", "stopping"] = (
        "stopping" if server.admission.stopping else "starting" if loading else "ok"
    )
    return JSONResponse({"status": status}, 200 if status == "ok" else 503)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
)
def metrics(server: Here, who: Caller = needs("admin")) -> Response:
    """Requests, answers, seconds, tokens, the line, jobs, and how much of the library the caller may see."""
    from prometheus_client import CONTENT_TYPE_LATEST

    return Response(server.meters.text(server, who), media_type=CONTENT_TYPE_LATEST)
