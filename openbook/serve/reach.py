"""What a caller may name and be told when work is asked for: places of this machine, labels, and others' findings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.errors import AdapterError
from openbook.files import write_atomic
from openbook.ingest.plan import Stored
from openbook.ingest.sources import is_address
from openbook.records import PUBLIC, DocumentInfo, SyncReport
from openbook.serve.access import Caller
from openbook.serve.errors import Refused

if TYPE_CHECKING:
    from openbook.finetune.registry import Adapter
    from openbook.serve.state import Server

_HERE = ("local", "open")
"""Kinds of callers who sit at this machine and may name any path of it."""
_SEAL = "caller.json"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LABEL = 200
"""Characters of a label."""


def covers(who: Caller, maker: Caller) -> bool:
    """Whether a caller sees all that another one's work may have seen."""
    return who.all_groups or (not maker.all_groups and set(maker.groups) <= set(who.groups))


def seal(folder: Path, maker: Caller) -> None:
    """Note in a folder whose work it holds."""
    write_atomic(folder / _SEAL, json.dumps({"caller": maker.json()}))


def may_open(folder: Path, who: Caller, *, own: bool = False) -> bool:
    """Whether a caller may read what work left in a folder: it covers its maker and, with `own`, is it or an admin.

    What was not made by request is open to callers who see everything.
    """
    try:
        maker = Caller.of(json.loads((folder / _SEAL).read_text(encoding="utf-8"))["caller"])
    except (OSError, ValueError, KeyError, TypeError):
        return who.all_groups
    return covers(who, maker) and (not own or who.id == maker.id or who.may("admin"))


def folder(home: Path, name: str) -> Path | None:
    """A folder of this name directly in `home`; None when there is none, or the name is no plain one."""
    found = home / name
    return found if _PLAIN.fullmatch(name) and found.is_dir() else None


def may_ask(who: Caller, adapter: Adapter) -> bool:
    """Whether a caller may ask an adapter: what it learned from a group's documents, it tells."""
    learned = adapter.manifest.get("library") or {}
    groups = (learned.get("reading") or {}).get("groups") or ()
    return who.all_groups or set(groups) <= set(who.groups)


def may_ask_ref(server: Server, who: Caller, ref: str) -> bool:
    """Whether a caller may read what an adapter NAME@VERSION wrote; no other name is one of the workspace's."""
    if who.all_groups or "@" not in ref:
        return True
    try:
        return may_ask(who, server.house.adapters.get(ref))
    except AdapterError:  # deleted: nobody can say any more what it learned from
        return False


def check_adapter(server: Server, who: Caller, ref: str | None) -> None:
    """Raise Refused 404 for an adapter (None: the only promoted one) that learned what the caller may not know.

    One that is not there is left to the House, which says so.
    """
    try:
        found = server.house.adapters.get(ref)
    except AdapterError:
        return
    if not may_ask(who, found):
        raise Refused(
            404,
            f"the model {ref!r} does not exist; GET /v1/models lists those that do",
            code="model_not_found",
            param="model",
        )


def labels(who: Caller, wanted: Sequence[str]) -> tuple[str, ...]:
    """Labels a caller may give to documents, sorted. Raises Refused 400, 403."""
    found = tuple(sorted({one.strip() for one in wanted}))
    for one in found:
        if not one or len(one) > _LABEL or not one.isprintable():
            raise Refused(400, f"{one!r} is no label; use a group's name, or * for everyone", param="labels")
        if not (who.all_groups or one == PUBLIC or one in who.groups):
            raise Refused(
                403,
                f"the label {one!r} is no group of yours; use your own or * for everyone",
                code="labels_not_allowed",
                param="labels",
            )
    return found


def target(server: Server, who: Caller, wanted: str) -> str:
    """A place as a sync takes it: an absolute path or an address. Raises Refused 403, alike for what is and is not.

    Relative paths count from the workspace.
    """
    settings = server.workspace.settings.serve
    if is_address(wanted):
        if who.kind in _HERE or settings.web:
            return wanted
        raise Refused(
            403, "web pages may not be synced here; the operator can allow it with serve.web", code="place_not_allowed"
        )
    root = server.workspace.root
    path = Path(os.path.normpath(root / (Path(wanted).expanduser() if who.kind in _HERE else wanted)))
    if "\0" in wanted or path.is_relative_to(server.workspace.state):
        raise _forbidden(wanted)
    if who.kind not in _HERE:
        around = [folder for folder in _folders(server) if path.is_relative_to(folder)]
        # What lies elsewhere by its name is not looked at: how long that takes would tell whether it is there.
        if not any(_within(path, folder) for folder in around):
            raise _forbidden(wanted)
    if _within(path, server.workspace.state):
        raise _forbidden(wanted)
    return str(path)


def told(server: Server, who: Caller) -> dict[str, Any]:
    """What a caller may sync."""
    here = who.kind in _HERE
    folders = [] if here or not who.may("write") else [str(folder) for folder in _folders(server)]
    return {
        "any_path": here and who.may("write"),
        "folders": folders,
        "web": who.may("write") and (here or server.workspace.settings.serve.web),
    }


def report(found: SyncReport, who: Caller, before: Sequence[DocumentInfo], after: Sequence[DocumentInfo]) -> SyncReport:
    """A sync's report without a word or a count of documents the caller may not see."""
    if who.all_groups:
        return found
    hidden = {info.name for info in (*before, *after) if not who.sees(info)}
    stored = Stored(before)
    paths = {
        kind: tuple(name for name in names if hidden.isdisjoint({name, *name.split(" -> ")}))
        for kind, names in found.paths.items()
    }
    failed = tuple(
        one
        for one in found.failed
        if one.path not in hidden and all(who.sees(info) for info in stored.files.get(one.path, ()))
    )
    changed = {name for kind in ("added", "changed") for name in paths.get(kind, ())}
    changed |= {pair.partition(" -> ")[2] for pair in paths.get("renamed", ())}
    counts = {kind: len(paths.get(kind, ())) for kind in ("added", "changed", "renamed", "removed")}
    return replace(
        found,
        added=counts["added"],
        changed=counts["changed"],
        renamed=counts["renamed"],
        removed=counts["removed"],
        unchanged=0,
        failed=failed,
        chunks=sum(info.chunks for info in after if info.name in changed),
        library_version=0,
        duplicates=tuple(pair for pair in found.duplicates if hidden.isdisjoint(pair)),
        notes=tuple(note for note in found.notes if note.partition(": ")[0] in changed),
        paths=paths,
    )


def _folders(server: Server) -> list[Path]:
    root = server.workspace.root
    return [Path(os.path.normpath(root / folder)) for folder in server.workspace.settings.serve.folders]


def _within(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder with its links followed; both need not exist."""
    return path.resolve().is_relative_to(folder.resolve())


def _forbidden(wanted: str) -> Refused:
    return Refused(
        403,
        f"{wanted!r} may not be synced from here; the operator can allow folders with serve.folders",
        code="place_not_allowed",
        param="targets",
    )
