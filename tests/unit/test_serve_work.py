"""Uploads and syncs by request: what is taken in, under which name, for whom, and what is told of it."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from openbook.serve import training, uploads, work
from openbook.serve.access import OPEN, Caller
from openbook.serve.errors import Refused
from openbook.serve.jobs import Job
from openbook.serve.state import Server
from tests.serving import desk

SALES = Caller("key-sales", "Sales bot", frozenset({"write", "search"}), ("sales",))
NOBODY = replace(SALES, id="key-nobody", name="nobody", groups=())
HR = replace(SALES, id="key-hr", name="hr", groups=("hr",))


@dataclass
class Sent:
    """A file of a request."""

    filename: str
    data: bytes = b"# Lunch\n\nLunch is served at noon.\n"
    file: io.BytesIO = field(init=False)

    def __post_init__(self) -> None:
        self.file = io.BytesIO(self.data)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    workspace = desk(tmp_path / "desk")
    made = Server(workspace)
    for module in (work, training):
        module.register(made)
    made.jobs.start()
    yield made
    made.jobs.stop()
    workspace.close()


def ended(server: Server, job: Job) -> Job:
    until = time.monotonic() + 120
    while (now := server.jobs.get(job.id, job.caller)).state not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() < until, now
        time.sleep(0.01)
    return now


def uploaded(server: Server, who: Caller, *files: Sent, labels: tuple[str, ...] = ()) -> Job:
    return ended(server, work.accept(server, who, files, labels))


def names(server: Server) -> dict[str, tuple[str, ...]]:
    return {info.name: info.acl for info in server.house.library.documents()}


def originals(server: Server) -> list[str]:
    home = server.workspace.state / "uploads"
    return sorted(path.name for path in home.iterdir()) if home.is_dir() else []


def test_an_upload_becomes_a_document_whose_original_lies_under_an_id(server: Server) -> None:
    job = uploaded(server, OPEN, Sent("Lunch.md"))
    assert job.result is not None
    assert job.result["documents"] == ["Lunch.md"]
    assert names(server)["Lunch.md"] == ("*",)
    info = next(one for one in server.house.library.documents() if one.name == "Lunch.md")
    place = uploads.original(server, info)
    assert place is not None
    assert place.read_bytes() == Sent("").data
    assert "Lunch" not in place.name
    assert info.title == "Lunch"
    assert server.workspace.search("When is lunch served?")[0].chunk.document == "Lunch.md"


def test_the_same_name_again_replaces_ones_own_upload_and_nobody_elses(server: Server) -> None:
    uploaded(server, OPEN, Sent("Vacation.md", b"# Other\n\nA file of that name is there from a sync.\n"))
    assert "Vacation (2).md" in names(server), "a synced document is not an upload's to replace"
    again = uploaded(server, OPEN, Sent("Vacation (2).md", b"# Other\n\nThe second edition.\n"))
    assert again.result is not None
    assert (again.result["added"], again.result["changed"]) == (0, 1)
    both = uploaded(server, OPEN, Sent("a/Same.md", b"one"), Sent("a/Same.md", b"two"))
    assert both.result is not None
    assert both.result["documents"] == ["a/Same.md", "a/Same (2).md"]


def test_an_original_goes_once_no_kept_version_speaks_of_it(server: Server) -> None:
    for edition in range(server.workspace.settings.library.keep_versions + 3):
        uploaded(server, OPEN, Sent("Plan.md", f"# Plan\n\nEdition {edition}.\n".encode()))
    versions = len(server.house.library.versions())
    assert 1 <= len(originals(server)) <= versions + 1


def test_callers_who_do_not_see_everything_upload_into_a_folder_of_their_own(server: Server) -> None:
    """Else the name an upload gets would tell of documents they may not see."""
    seen = [
        uploaded(server, who, Sent("Salaries.md", b"# S\n\nMine.\n")).result["documents"]  # type: ignore[index]
        for who in (SALES, NOBODY)
    ]
    assert [one[0].rpartition("/")[2] for one in seen] == ["Salaries.md", "Salaries.md"]
    assert seen[0][0].startswith("sales-bot-")
    assert len({one[0] for one in seen}) == 2
    assert names(server)["Salaries.md"] == ("hr",), "the hidden one stays as it was"


def test_labels_are_the_callers_groups_unless_it_says_otherwise(server: Server) -> None:
    (first,) = uploaded(server, SALES, Sent("a.md")).result["documents"]  # type: ignore[index]
    (second,) = uploaded(server, SALES, Sent("b.md"), labels=("*",)).result["documents"]  # type: ignore[index]
    (third,) = uploaded(server, NOBODY, Sent("c.md")).result["documents"]  # type: ignore[index]
    assert [names(server)[one] for one in (first, second, third)] == [("sales",), ("*",), ("*",)]
    for labels in (("hr",), ("sales", "hr")):
        with pytest.raises(Refused, match="no group of yours") as refused:
            work.accept(server, SALES, [Sent("d.md")], labels)
        assert refused.value.status == 403
    with pytest.raises(Refused, match="no label"):
        work.accept(server, OPEN, [Sent("d.md")], ["  "])


def test_what_a_file_is_stands_in_its_bytes(server: Server) -> None:
    job = uploaded(
        server, OPEN, Sent("page.md", b"%PDF-1.7 not really"), Sent("fine.md"), Sent("x.md", b"PK\x03\x04zip")
    )
    assert job.result is not None
    assert job.result["documents"] == ["fine.md"]
    assert {one["path"] for one in job.result["failed"]} == {"page.md", "x.md"}
    html = uploaded(server, OPEN, Sent("odd.bin", b"<!doctype html><title>Hi</title><p>There is tea.</p>"))
    assert html.result is not None
    info = next(one for one in server.house.library.documents() if one.name == "odd.bin")
    assert info.format == "html"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("C:\\Users\\ann\\Plan.md", "C/Users/ann/Plan.md"),
        ("/.openbook/../server.json", "openbook/server.json"),
        ("a\x00b\u202e\n.md", "ab.md"),
        ("zip!/inner.md", "zip/inner.md"),
        ("", "unnamed"),
        ("...", "unnamed"),
        ("http://x/y.md", "http/x/y.md"),
        ("e\u0301.md", "\u00e9.md"),
        ("x" * 500 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_a_name_from_outside_is_cleaned(sent: str, kept: str) -> None:
    assert uploads.cleaned(sent) == kept


def test_nothing_is_kept_of_an_upload_that_is_refused_or_breaks_off(server: Server) -> None:
    class Torn(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError("the client went away")
            return super().read(4)

    torn = Sent("torn.md")
    torn.file = Torn(b"12345678")
    with pytest.raises(OSError, match="went away"):
        work.accept(server, OPEN, [Sent("whole.md"), torn])
    with pytest.raises(Refused, match="is empty"):
        work.accept(server, OPEN, [Sent("whole.md"), Sent("empty.md", b"")])
    with pytest.raises(Refused, match="no file"):
        work.accept(server, OPEN, [])
    assert originals(server) == []
    assert server.jobs.list(OPEN) == []


def test_what_a_killed_server_left_half_is_swept_and_the_rest_stays(server: Server) -> None:
    uploaded(server, OPEN, Sent("Lunch.md"))
    kept = uploads.keep(server, Sent("train.jsonl").file, "train.jsonl")
    uploads.record(server, [kept], "fine-tune", OPEN)
    before = originals(server)
    uploads.keep(server, Sent("orphan.md").file, "orphan.md")
    (server.workspace.state / "uploads" / "file-00.part").write_bytes(b"half")
    left = originals(server)
    uploads.sweep(server)
    assert originals(server) == left, "an upload on its way was swept"
    for path in (server.workspace.state / "uploads").iterdir():
        os.utime(path, (1, 1))
    uploads.sweep(server)
    assert originals(server) == before
    assert uploads.find(server, kept.id, OPEN).name == "train.jsonl"


def test_a_cancelled_upload_is_taken_out_again(server: Server) -> None:
    server.jobs.stop()
    job = work.accept(server, OPEN, [Sent("Lunch.md")])
    assert len(originals(server)) == 1
    server.jobs.cancel(job.id, OPEN)
    assert originals(server) == []
    assert "Lunch.md" not in names(server)


def test_a_sync_brings_a_folder_and_what_it_says_is_what_its_maker_may_know(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    place.mkdir()
    for number in range(3):
        (place / f"secret{number}.md").write_text(f"# Secret {number}\n\nThe vault code is {number}.\n")
    server.workspace.sync([place], acl=["hr"])
    (place / "secret0.md").write_text("# Secret 0\n\nThe vault code has changed.\n")
    (place / "secret1.md").unlink()
    (place / "secret2.md").write_bytes(b"\x89PNG\r\n\x1a\n")
    args = {"targets": [str(place)], "labels": [], "allow_mass_delete": True, "dry_run": False}
    job = ended(server, server.jobs.submit("sync", args, SALES))
    assert job.state == "succeeded", job.error
    told = str(job.result) + str(server.jobs.events(job.id, SALES))
    assert "secret" not in told
    assert job.result is not None
    assert [job.result[kind] for kind in ("added", "changed", "removed", "unchanged", "chunks")] == [0] * 5
    (place / "secret0.md").write_text("# Secret 0\n\nAnd again.\n")
    seen = ended(server, server.jobs.submit("sync", args, HR)).result
    assert seen is not None
    assert seen["changed"] == 1
    assert {one["path"] for one in seen["failed"]} == {str(place / "secret2.md")}


def test_an_admin_with_fewer_groups_sees_that_a_job_is_and_not_what_it_says(server: Server) -> None:
    job = uploaded(server, HR, Sent("Raise.md"))
    admin = replace(SALES, scopes=frozenset({"admin"}))
    told = work.shown(server.jobs.get(job.id, admin), admin)
    assert (told["state"], told["args"], told["result"]) == ("succeeded", {}, None)
    assert work.shown(job, HR)["result"] is not None
    assert "Raise" not in str([work._event(event, job, admin) for _, _, event in server.jobs.events(job.id, admin)])
