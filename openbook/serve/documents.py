"""Documents over HTTP: listed, uploaded, read span by span, downloaded, shown as a page, deleted."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, File, Form, Query, UploadFile
from fastapi.responses import Response

from openbook import records
from openbook.errors import LibraryError
from openbook.ingest.plan import Stored, outer_name
from openbook.ingest.sources import is_address
from openbook.records import PUBLIC, Change, DocumentInfo
from openbook.serve import drawing, uploads, visible, work
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.shapes import Document, Documents, DocumentText, JobStarted, Place, Removed, Text
from openbook.serve.state import Server, server_of

router = APIRouter(prefix="/api", tags=["documents"])
Here = Annotated[Server, Depends(server_of)]
Name = Annotated[Text, Query(min_length=1, max_length=4000, description="As listed.", examples=["Vacation.md"])]
AROUND = 20_000


@router.get("/documents", response_model=Documents, summary="List documents")
def list_documents(
    server: Here,
    prefix: Annotated[Text, Query(max_length=4000, description="Only names that begin so.")] = "",
    after: Annotated[Text, Query(max_length=4000, description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    find: Annotated[Text, Query(max_length=200, description="Part of a name, title, author or label.")] = "",
    who: Caller = needs("search"),
) -> Any:
    """The documents the caller may see, by name, a page at a time."""
    found = [info for info in visible.infos(server, who) if info.name.startswith(prefix) and _holds(info, find)]
    begin = bisect_right(found, after, key=lambda info: info.name) if after else 0
    page = found[begin : begin + limit]
    more = begin + limit < len(found)
    return {"documents": [_told(info) for info in page], "total": len(found), "next": page[-1].name if more else None}


@router.post("/documents", status_code=202, response_model=JobStarted, summary="Upload documents")
def upload(
    server: Here,
    files: Annotated[list[UploadFile], File(description="One or more files; what they are is found in their bytes.")],
    labels: Annotated[
        list[Text], Form(default_factory=list, description="Groups that may see them; none is the caller's own.")
    ],
    who: Caller = needs("write"),
) -> Any:
    """Keep files and read them into the library: a job. They are on the disk when this is answered."""
    return {"job": work.shown(work.accept(server, who, files, labels), who)}


@router.get("/document", response_model=Document, summary="One document")
def get_document(name: Name, server: Here, who: Caller = needs("search")) -> Any:
    """What is known of a document."""
    return _told(visible.find(server, who, name))


@router.delete("/document", response_model=Removed, summary="Delete a document")
def delete(name: Name, server: Here, who: Caller = needs("write")) -> Any:
    """Take a document out of the library. Earlier versions keep it until they are forgotten.

    One that other groups see, too, goes only with someone who is in all of its groups; one for everyone, with anybody
    who may write. One that lies in a synced folder comes back with the next sync of it.
    """
    info = visible.find(server, who, name)
    if not (who.all_groups or PUBLIC in info.acl or set(info.acl) <= set(who.groups)):
        raise Refused(
            403,
            f"other groups see {name!r}, too; someone who is in all of its groups may delete it",
            code="shared_with_others",
            param="name",
        )
    try:
        version = server.house.library.commit(Change(remove=[name]), note=f"delete {name}"[:200])
    except LibraryError:
        if any(info.name == name for info in server.house.library.documents()):
            raise
        raise visible.absent(name) from None
    server.workspace.tidy()
    uploads.sweep(server)
    return {"removed": name, "library_version": version}


@router.get("/document/text", response_model=DocumentText, summary="Read a document")
def text(
    name: Name,
    server: Here,
    start: Place = 0,
    end: Annotated[Place | None, Query(description="Exclusive; left out, the document's end.")] = None,
    around: Annotated[int, Query(ge=0, le=1_000_000, description="Characters shown before and after.")] = AROUND,
    who: Caller = needs("search"),
) -> Any:
    """A span of a document's text with what stands around it; offsets beyond the document are its end."""
    document = _document(server, who, name)
    total = len(document.text)
    start = min(start, total)
    end = total if end is None else min(max(start, end), total)
    return {
        "name": name,
        "text": document.text[start:end],
        "start": start,
        "end": end,
        "total": total,
        "page": next((one.number for one in document.pages if one.start <= start < one.end), None),
        "before": document.text[max(0, start - around) : start],
        "after": document.text[end : end + around],
    }


@router.get(
    "/document/file",
    response_class=Response,
    summary="Download a document's file",
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The bytes the document was read from."}
    },
)
def file(name: Name, server: Here, who: Caller = needs("search")) -> Response:
    """The original file; of a document found inside an archive or a mail, the outermost one."""
    info = visible.find(server, who, name)
    shown = quote((outer_name(info)).rpartition("/")[2], safe="")
    return Response(
        _original(server, who, info),
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{shown}",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


@router.get(
    "/document/page",
    response_class=Response,
    summary="A PDF page as a picture",
    responses={200: {"content": {"image/png": {}}, "description": "The page, with the span highlighted."}},
)
def page(
    name: Name,
    server: Here,
    page: Annotated[int, Query(ge=1, le=1_000_000, description="1-based.")] = 1,
    start: Place = 0,
    end: Place = 0,
    width: Annotated[int, Query(ge=100, le=2400, description="Pixels.")] = 1100,
    who: Caller = needs("search"),
) -> Response:
    """A page of a PDF with the characters start to end highlighted where they stand on it."""
    info = visible.find(server, who, name)
    document = _document(server, who, name)
    found = next((one for one in document.pages if one.number == page), None)
    if document.format != "pdf" or info.container_hash or found is None:
        raise Refused(404, f"document {name!r} has no page {page} to show", code="no_such_page", param="page")
    boxes = drawing.boxes(document.boxes or b"", max(start, found.start), min(end, found.end))
    picture = drawing.draw(_original(server, who, info), page, boxes, width=width)
    return Response(
        picture, media_type="image/png", headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    )


def _document(server: Server, who: Caller, name: str) -> records.Document:
    visible.find(server, who, name)
    document = server.house.library.document(name)
    if document is None:
        raise visible.absent(name)
    return document


def _original(server: Server, who: Caller, info: DocumentInfo) -> bytes:
    """The bytes a document was read from, if they still are those. Raises Refused 404."""
    missing = Refused(
        404, f"the original of {info.name!r} is not here any more; its text is", code="no_original", param="name"
    )
    outer = outer_name(info)
    if info.container_hash and not all(
        who.sees(other) for other in server.infos() if outer_name(other) == outer and other.source == info.source
    ):
        raise missing
    if info.source.startswith(uploads.SOURCE):
        place = uploads.original(server, info)
    else:
        key = Stored(server.infos()).key(info)
        place = None if is_address(key) or is_address(info.source) else Path(key)
    try:
        content = place.read_bytes() if place is not None and place.is_file() else b""
    except OSError:
        raise missing from None
    # A path may lead elsewhere by now; only what was read into the library is given out.
    if hashlib.sha256(content).hexdigest() != (info.container_hash or info.hash):
        raise missing
    return content


def _holds(info: DocumentInfo, wanted: str) -> bool:
    wanted = wanted.strip().casefold()
    texts = (info.name, info.title, info.author, *info.acl)
    return not wanted or any(wanted in text.casefold() for text in texts)


def _told(info: DocumentInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "title": info.title or info.name.rpartition("/")[2],
        "format": info.format,
        "bytes": info.bytes,
        "pages": info.pages,
        "chunks": info.chunks,
        "labels": list(info.acl),
        "synced_at": info.synced_at,
        "source": "" if info.source.startswith(uploads.SOURCE) else info.source,
        "hash": info.hash,
        "author": info.author,
        "created": info.created,
        "modified": info.modified,
        "notes": list(info.notes),
    }
