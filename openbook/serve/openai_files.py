"""/v1/files in the official API's shapes: a caller's own files, to train and compare with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, File, Form, Query, UploadFile
from fastapi.responses import FileResponse

from openbook.serve import openai_shapes as shapes
from openbook.serve import uploads
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.state import Server, server_of
from openbook.serve.store import FILES

router = APIRouter(prefix="/v1", tags=["openai"])
Here = Annotated[Server, Depends(server_of)]
Purpose = Literal["fine-tune", "assistants", "batch", "vision", "user_data", "evals"]


@router.post("/files", response_model=shapes.FileObject, summary="Upload a file")
def create(
    server: Here,
    file: Annotated[UploadFile, File()],
    purpose: Annotated[Purpose, Form()],
    who: Caller = needs("train"),
) -> dict[str, Any]:
    """Upload a file."""
    kept = uploads.keep(server, file.file, file.filename or "")
    if not kept.bytes:
        uploads.forget(server, [kept.id])
        raise Refused(400, f"{kept.name!r} is empty", code="empty_file", param="file")
    uploads.record(server, [kept], purpose, who)
    return _shown(uploads.find(server, kept.id, who))


@router.get("/files", response_model=shapes.FileObjects, summary="Your files")
def list_files(
    server: Here,
    purpose: str = "",
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=10000)] = 10000,
    order: Literal["asc", "desc"] = "desc",
    who: Caller = needs("train"),
) -> dict[str, Any]:
    """The caller's files, newest first."""
    wanted = sa.select(FILES).where(FILES.c.owner == who.id, FILES.c.purpose != uploads.DOCUMENT)
    if purpose:
        wanted = wanted.where(FILES.c.purpose == purpose)
    by = (FILES.c.created, FILES.c.id) if order == "asc" else (FILES.c.created.desc(), FILES.c.id.desc())
    with server.store.connect() as db:
        rows = [_shown(row) for row in db.execute(wanted.order_by(*by))]
    return page(rows, after, limit)


@router.get("/files/{key}", response_model=shapes.FileObject, summary="One file")
def retrieve(key: str, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """One file."""
    return _shown(uploads.find(server, key, who))


@router.get(
    "/files/{key}/content",
    response_class=FileResponse,
    summary="A file's content",
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The file as it came."}},
)
def content(key: str, server: Here, who: Caller = needs("train")) -> FileResponse:
    """What is in a file, as it came."""
    row = uploads.find(server, key, who)
    path = uploads.path_of(server, key)
    if path is None:
        raise Refused(404, f"the content of {key!r} is gone", code="no_such_file")
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=row.name.rpartition("/")[2],
        headers={"X-Content-Type-Options": "nosniff"},
    )


@router.delete("/files/{key}", response_model=shapes.FileDeleted, summary="Delete a file")
def delete(key: str, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Forget a file; jobs that took it up already keep what they need."""
    uploads.find(server, key, who)
    uploads.forget(server, [key])
    return {"id": key, "object": "file", "deleted": True}


def page(rows: list[dict[str, Any]], after: str, limit: int) -> dict[str, Any]:
    """A page of a list as the official API cuts it: `after` is the last id of the page before."""
    start = next((number for number, row in enumerate(rows, 1) if row["id"] == after), len(rows)) if after else 0
    cut = rows[start : start + limit]
    return {
        "object": "list",
        "data": cut,
        "has_more": start + limit < len(rows),
        "first_id": cut[0]["id"] if cut else None,
        "last_id": cut[-1]["id"] if cut else None,
    }


def _shown(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.bytes,
        "created_at": int(row.created),
        "filename": row.name,
        "purpose": row.purpose,
        "status": "processed",
        "status_details": None,
        "expires_at": None,
    }
