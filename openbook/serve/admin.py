"""The workspace over HTTP: its settings, what doctor finds, its models, and the library's earlier versions."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path as Place
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path
from pydantic import BaseModel, Field, JsonValue

from openbook import doctor, settings, settings_file
from openbook.copying import copy_library
from openbook.errors import LibraryError
from openbook.records import VersionInfo
from openbook.serve import options, visible
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.shapes import (
    Doctor,
    ModelList,
    Restored,
    SettingList,
    SettingsChanged,
    Versions,
)
from openbook.serve.state import Server, server_of
from openbook.settings import FILE_NAME

router = APIRouter(prefix="/api")
Here = Annotated[Server, Depends(server_of)]
Number = Annotated[int, Path(ge=0, le=2**53)]
_changing = threading.Lock()
_HERE = ("local", "open")


@router.get("/settings", response_model=SettingList, summary="Settings", tags=["admin"], dependencies=[needs("admin")])
def get_settings(server: Here) -> Any:
    """Every setting: as written in openbook.toml, as in force, what it means and what it may be."""
    written = settings.load(server.workspace.root / FILE_NAME)
    return {"settings": options.listed(written, server.workspace.settings)}


@router.patch("/settings", response_model=SettingsChanged, summary="Change settings", tags=["admin"])
def change_settings(
    changes: Annotated[
        dict[str, JsonValue],
        Body(max_length=200, examples=[{"retrieve.k": 8, "answer.instructions": "Answer in Spanish."}]),
    ],
    server: Here,
    who: Caller = needs("admin"),
) -> Any:
    """Write settings into openbook.toml, all or none; null takes one out, so that its default holds again.

    Without any, what was changed in the file meanwhile comes into force. The answer says which wait for a restart.
    Settings that decide who gets in or what of the server's machine is reached are changed there, not over HTTP.
    """
    for key, value in changes.items():
        if key not in options.names():
            raise Refused(
                400, f"unknown setting {key!r}; GET /api/settings lists them", code="no_such_setting", param=key
            )
        if who.kind not in _HERE and options.here_only(key, value):
            raise Refused(
                403,
                f"{key!r} cannot be set so over HTTP; whoever runs the server sets it in {FILE_NAME}",
                code="setting_not_allowed",
                param=key,
            )
        if isinstance(value, str) and "***" in value and options.shown(value) == value and "://" in value:
            raise Refused(400, f"{key!r} holds *** in place of its password; write it out", param=key)
    with _changing:
        written = settings_file.change(
            server.workspace.root / FILE_NAME, changes, why=f"through the server by {who.name}"
        )
        now = options.applied(server.workspace.settings, written)
        searches_otherwise = now.retrieve != server.workspace.settings.retrieve
        server.workspace.settings = server.house.settings = now
        if searches_otherwise:
            vars(server.house).pop("searcher", None)  # made anew with the next question
    waiting = [one["key"] for one in options.listed(written, now) if one["pending"]]
    done = "saved in" if changes else "read again from"
    says = f"restart the server for {', '.join(waiting)}" if waiting else "in force now"
    return {"changed": sorted(changes), "restart": waiting, "message": f"{done} {FILE_NAME}; {says}"}


@router.get("/doctor", response_model=Doctor, summary="What works and what is weak", tags=["admin"])
def examine(server: Here, who: Caller = needs("admin")) -> Any:
    """What `openbook doctor` finds."""
    found = [asdict(one) for one in doctor.examine(server.workspace.root, server.workspace.settings)]
    if not who.all_groups:
        seen = visible.infos(server, who)
        says = f"{len(seen)} documents in {sum(info.chunks for info in seen)} chunks that you may see"
        found = [{**one, "says": says} if one["topic"] == "library" and one["level"] == "ok" else one for one in found]
    return {"findings": found, "ok": all(one["level"] != "broken" for one in found)}


@router.get("/models", response_model=ModelList, summary="Models", tags=["admin"], dependencies=[needs("admin")])
def models(server: Here) -> Any:
    """The models that are known by name: which are on the machine, and which are in use."""
    from openbook.models.fetch import list_models

    used = server.workspace.settings.models
    roles = {used.generator: "generator", used.embedder: "embedder", used.reranker: "reranker"}
    return {
        "models": [
            {
                "name": model.name,
                "kind": model.kind,
                "good_for": model.good_for,
                "licence": model.licence,
                "parameters": model.parameters,
                "bytes": model.bytes,
                "installed": installed,
                "used": roles.get(model.name) == model.kind,
            }
            for model, installed in list_models()
        ],
        "in_use": {"generator": used.generator, "embedder": used.embedder, "reranker": used.reranker},
    }


class CopyOrder(BaseModel):
    """What POST /api/library/copy takes."""

    folder: str = Field(min_length=1, max_length=4000)


@router.post("/library/copy", include_in_schema=False)
def copy(order: CopyOrder, server: Here, who: Caller = needs("admin")) -> Any:
    """Copy the library, as it is between two commits, into a folder that the command line beside has made for it."""
    if who.kind != "local":
        raise Refused(403, "only the command line on this machine copies the library", code="not_from_here")
    folder = Place(order.folder)
    if not (folder.is_absolute() and folder.is_dir()) or any(folder.iterdir()):
        raise Refused(400, f"{order.folder!r} is no empty folder of this machine", param="folder")
    return {"library_version": copy_library(server.house, folder / "library")}


@router.get("/versions", response_model=Versions, summary="Versions of the library", tags=["documents"])
def versions(server: Here, who: Caller = needs("search")) -> Any:
    """Earlier states that can still be restored, the newest first.

    Counts are of what the caller may see; a version in which nothing of that changed is left out.
    """
    library = server.house.library
    found: list[dict[str, Any]] = []
    before: frozenset[tuple[Any, ...]] | None = None
    for one in library.versions():
        try:
            infos = [info for info in library.documents(version=one.version) if who.sees(info)]
        except LibraryError:  # swept meanwhile
            continue
        now = frozenset((info.name, info.hash, info.acl) for info in infos)
        if who.all_groups or now != before:
            told = _told(one, len(infos), sum(info.chunks for info in infos), who)
            found.append({**told, "changes": None if before is None else _changes(before, now)})
        before = now
    if found:
        found[-1]["current"] = True
    return {"versions": found[::-1], "may_restore": _may_restore(who)}


@router.post("/versions/{number}/restore", response_model=Restored, summary="Restore a version", tags=["documents"])
def restore(number: Number, server: Here, who: Caller = needs("write")) -> Any:
    """Make the library what it was, as a new version: documents, and who may see them.

    That changes documents of every group, so only a caller who sees all of them may do it.
    """
    if not _may_restore(who):
        raise Refused(
            403,
            "restoring changes documents of every group and who may see them; only a caller of all groups may do it",
            code="all_groups_needed",
        )
    library = server.house.library
    if number not in {one.version for one in library.versions()}:
        raise Refused(404, f"no version {number} is kept; GET /api/versions lists them", code="no_such_version")
    made = library.roll_back(number)
    server.workspace.tidy()
    return {"library_version": made}


def _may_restore(who: Caller) -> bool:
    return who.may("write") and who.all_groups


def _changes(before: frozenset[tuple[Any, ...]], now: frozenset[tuple[Any, ...]]) -> dict[str, int]:
    came, gone = {name for name, *_ in now - before}, {name for name, *_ in before - now}
    return {"added": len(came - gone), "changed": len(came & gone), "removed": len(gone - came)}


def _told(one: VersionInfo, documents: int, chunks: int, who: Caller) -> dict[str, Any]:
    return {
        "version": one.version,
        "committed_at": one.committed_at,
        "documents": documents,
        "chunks": chunks,
        "note": one.note if who.all_groups else "",  # it names what was synced
        "current": False,
    }
