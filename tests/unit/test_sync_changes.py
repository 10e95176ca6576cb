"""Sync finds what was added, changed, renamed and removed, and does nothing twice."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.errors import SourceVanished, UsageError
from openbook.seams import Library
from openbook.settings import Ingest
from tests.fixtures.sync_desk import Desk, counts, emptied, opened, reasons, recorder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    library = opened(tmp_path_factory.mktemp("library"))
    yield library
    library.close()


@pytest.fixture
def desk(tmp_path: Path, library: Library) -> Desk:
    return Desk(tmp_path, emptied(library))


def archive(files: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        for name, text in files.items():
            target.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()


def test_new_files_are_added_under_short_names(desk: Desk) -> None:
    desk.write("leave.md", "# Leave\n\nTwenty days.")
    desk.write("policies/pay.txt", "Monthly.")
    report = desk.sync()
    assert counts(report) == (2, 0, 0, 0, 0)
    assert desk.names() == ["handbook/leave.md", "handbook/policies/pay.txt"]
    assert (report.chunks, report.library_version) == (2, desk.library.version())
    assert desk.library.documents()[0].source == desk.files.as_posix()


def test_a_second_sync_does_nothing_and_makes_no_version(desk: Desk) -> None:
    desk.write("leave.md", "Twenty days.")
    version = desk.sync().library_version
    report = desk.sync()
    assert counts(report) == (0, 0, 0, 0, 1)
    assert (report.chunks, report.library_version, desk.library.version()) == (0, version, version)


def test_touching_a_file_is_no_change(desk: Desk) -> None:
    path = desk.write("leave.md", "Twenty days.")
    desk.sync()
    path.touch()
    assert counts(desk.sync()) == (0, 0, 0, 0, 1)


def test_a_changed_file_replaces_its_document(desk: Desk) -> None:
    desk.write("leave.md", "Twenty days.")
    desk.write("pay.md", "Monthly.")
    desk.sync()
    desk.write("leave.md", "Thirty days.")
    report = desk.sync()
    assert counts(report) == (0, 1, 0, 0, 1)
    assert desk.text("handbook/leave.md") == "Thirty days."
    assert report.paths["changed"] == ("handbook/leave.md",)


def test_a_removed_file_goes(desk: Desk) -> None:
    desk.write("leave.md", "Twenty days.")
    path = desk.write("pay.md", "Monthly.")
    desk.sync()
    path.unlink()
    assert counts(desk.sync()) == (0, 0, 0, 1, 1)
    assert desk.names() == ["handbook/leave.md"]


@pytest.mark.parametrize("text", ["# Leave\n\nTwenty days.", "No title, so the chunks carry the file's name."])
@pytest.mark.parametrize("new", ["holidays.md", "rules/leave.md"])
def test_a_renamed_file_is_renamed_as_if_synced_afresh(desk: Desk, text: str, new: str) -> None:
    path = desk.write("leave.md", text)
    desk.write("pay.md", "Monthly.")
    desk.sync()
    (desk.files / new).parent.mkdir(exist_ok=True)
    path.rename(desk.files / new)
    report = desk.sync()
    assert counts(report) == (0, 0, 1, 0, 1)
    assert report.paths["renamed"] == (f"handbook/leave.md -> handbook/{new}",)
    synced = desk.state()
    emptied(desk.library)
    desk.sync()
    assert desk.state() == synced


def test_a_rename_that_changes_the_format_is_read_anew(desk: Desk) -> None:
    path = desk.write("data.txt", "a,b\n1,2")
    desk.sync()
    path.rename(desk.files / "data.csv")
    desk.sync(allow_mass_delete=True)
    assert [info.format for info in desk.library.documents()] == ["csv"]


def test_two_files_may_swap_names(desk: Desk) -> None:
    one, two = desk.write("a.md", "First."), desk.write("b.md", "Second.")
    desk.sync()
    one.rename(desk.files / "c.md")
    two.rename(one)
    (desk.files / "c.md").rename(two)
    assert counts(desk.sync()) == (0, 2, 0, 0, 0)
    assert (desk.text("handbook/a.md"), desk.text("handbook/b.md")) == ("Second.", "First.")


def test_dry_run_says_what_would_happen_and_changes_nothing(desk: Desk) -> None:
    desk.write("leave.md", "Twenty days.")
    gone = desk.write("gone.md", "Old.")
    moved = desk.write("moved.md", "# Moved\n\nStays.")
    desk.sync()
    before = desk.state()
    desk.write("leave.md", "Thirty days.")
    desk.write("new.md", "New.")
    gone.unlink()
    moved.rename(desk.files / "there.md")
    report = desk.sync(dry_run=True)
    assert report.dry_run
    assert counts(report) == (1, 1, 1, 1, 0)
    assert desk.state() == before
    assert counts(desk.sync()) == counts(report)


def test_changed_labels_are_a_change_and_labels_left_out_stay(desk: Desk) -> None:
    desk.write("leave.md", "Twenty days.")
    desk.sync()
    assert counts(desk.sync(acl=["staff"])) == (0, 1, 0, 0, 0)
    desk.write("pay.md", "Monthly.")
    assert counts(desk.sync()) == (1, 0, 0, 0, 1)
    assert [info.acl for info in desk.library.documents()] == [("staff",), ("staff",)]
    assert counts(desk.sync(acl=["*"])) == (0, 2, 0, 0, 0)


def test_a_new_file_between_differently_labelled_ones_is_refused_without_labels(desk: Desk) -> None:
    for name, label in [("a.md", "hr"), ("b.md", "staff")]:
        desk.sync(desk.write(name, name), acl=[label])
    desk.write("c.md", "Secret?")
    assert "say who may see it" in reasons(desk.sync())[0]
    assert counts(desk.sync(desk.files / "c.md", acl=["hr"])) == (1, 0, 0, 0, 0)


def test_exact_duplicates_are_stored_and_noted(desk: Desk) -> None:
    desk.write("a.md", "Same.")
    desk.write("b.md", "Same.")
    report = desk.sync()
    assert report.duplicates == (("handbook/b.md", "handbook/a.md"),)
    assert desk.names() == ["handbook/a.md", "handbook/b.md"]


def test_a_vanished_source_is_refused_unless_told(desk: Desk) -> None:
    desk.write("leave.md", "Twenty days.")
    desk.sync()
    desk.files.rename(desk.root / "elsewhere")
    with pytest.raises(SourceVanished, match="is gone"):
        desk.sync()
    desk.files.mkdir()
    with pytest.raises(SourceVanished, match="none of its 1"):
        desk.sync()
    assert desk.names() == ["handbook/leave.md"]
    assert counts(desk.sync(allow_mass_delete=True)) == (0, 0, 0, 1, 0)


def test_losing_more_than_the_share_is_refused(desk: Desk) -> None:
    paths = [desk.write(f"{n}.md", f"Text {n}.") for n in range(9)]
    desk.sync()
    for path in paths[:5]:
        path.unlink()
    with pytest.raises(SourceVanished, match="5 of 9"):
        desk.sync()
    assert counts(desk.sync(settings=Ingest(mass_delete_share=0.6))) == (0, 0, 0, 5, 4)


def test_renaming_a_folder_is_no_mass_deletion(desk: Desk) -> None:
    for n in range(9):
        desk.write(f"old/{n}.md", f"# T\n\nText {n}.")
    desk.sync()
    (desk.files / "old").rename(desk.files / "new")
    assert counts(desk.sync()) == (0, 0, 9, 0, 0)


def test_a_target_that_never_existed_is_a_usage_error(desk: Desk) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        desk.sync(desk.root / "nowhere")


def test_an_archive_gives_its_files_and_is_not_read_again(desk: Desk) -> None:
    path = desk.write("all.zip", archive({"a.md": "First.", "in/b.txt": "Second."}))
    assert counts(desk.sync()) == (2, 0, 0, 0, 0)
    assert desk.names() == ["handbook/all.zip!/a.md", "handbook/all.zip!/in/b.txt"]
    assert counts(desk.sync()) == (0, 0, 0, 0, 2)
    desk.write("all.zip", archive({"a.md": "Changed.", "in/b.txt": "Second.", "c.md": "Third."}))
    assert counts(desk.sync()) == (1, 1, 0, 0, 1)
    assert counts(desk.sync()) == (0, 0, 0, 0, 3)
    desk.write("all.zip", archive({"c.md": "Third."}))
    assert counts(desk.sync()) == (0, 0, 0, 2, 1)
    path.rename(desk.files / "other.zip")
    assert counts(desk.sync()) == (0, 0, 1, 0, 0)
    assert desk.names() == ["handbook/other.zip!/c.md"]
    (desk.files / "other.zip").unlink()
    assert counts(desk.sync(allow_mass_delete=True)) == (0, 0, 0, 1, 0)


def test_batches_are_committed_as_they_fill(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbook.ingest.write.BATCH_CHUNKS", 3)
    for n in range(7):
        desk.write(f"{n}.md", f"Text {n}.")
    version = desk.library.version()
    seen, progress = recorder()
    report = desk.sync(progress=progress)
    assert (report.added, report.chunks, report.library_version) == (7, 7, version + 3)
    assert [item for item in seen if item[0] == "read"][-1] == ("read", 7, 7)
    assert {step for step, *_ in seen} == {"read", "embed", "commit"}


def test_document_notes_reach_the_report(desk: Desk) -> None:
    desk.write("old.txt", "Übermäßig schöne Grüße aus Köln.\n".encode("cp1252") * 5)
    assert any(note.startswith("handbook/old.txt: ") for note in desk.sync().notes)
