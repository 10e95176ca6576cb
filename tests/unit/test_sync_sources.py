"""What a target means: folders, files, patterns, links and pages, and how documents are named."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.errors import ReadError
from openbook.ingest.web import fetch
from openbook.records import SyncReport
from openbook.seams import Library
from tests.fixtures.sync_desk import Desk, counts, emptied, opened, reasons


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    library = opened(tmp_path_factory.mktemp("library"))
    yield library
    library.close()


@pytest.fixture
def desk(tmp_path: Path, library: Library) -> Desk:
    return Desk(tmp_path, emptied(library))


class Site(http.server.BaseHTTPRequestHandler):
    """Serves what stands in `pages`: path -> (status, headers, body)."""

    pages: dict[str, tuple[int, dict[str, str], bytes]]
    agents: list[str]

    def do_GET(self) -> None:
        status, headers, body = self.pages.get(self.path, (404, {}, b""))
        self.agents.append(self.headers["User-Agent"])
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def site() -> Iterator[tuple[str, type[Site]]]:
    handler = type("Handler", (Site,), {"pages": {}, "agents": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_hidden_files_and_the_librarys_own_folder_are_passed_over(desk: Desk) -> None:
    for name in (".secret.md", ".openbook/notes.md", ".git/x.md", "~$lock.md", "seen.md"):
        desk.write(name, "Text.")
    assert counts(desk.sync()) == (1, 0, 0, 0, 0)


def test_other_formats_in_a_folder_are_counted_not_failed(desk: Desk) -> None:
    desk.write("seen.md", "Text.")
    desk.write("photo.jpg", b"\xff\xd8\xff")
    desk.write("script.py", "print()")
    desk.write("LICENSE", "Free.")
    report = desk.sync()
    assert not report.failed
    assert report.notes[0].startswith("passed over 3 files of other formats (")
    assert all(kind in report.notes[0] for kind in ("1 .jpg", "1 .py", "1 without extension"))


def test_a_file_named_itself_is_read_or_refused_whatever_its_extension(desk: Desk) -> None:
    desk.write("script.py", "print('leave')")
    desk.write("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(range(256)))
    report = desk.sync(desk.files / "script.py", desk.files / "photo.jpg")
    assert desk.names() == ["script.py"]
    assert reasons(report) == ["photo.jpg: not a supported format (JPEG image)"]


def test_a_known_file_of_another_format_stays_when_its_folder_is_synced(desk: Desk) -> None:
    desk.write("seen.md", "Text.")
    desk.sync()
    path = desk.write("script.py", "print('leave')")
    desk.sync(path)
    assert counts(desk.sync()) == (0, 0, 0, 0, 2)
    path.write_text("print('pay')")
    assert counts(desk.sync()) == (0, 1, 0, 0, 1)


def test_a_pattern_takes_only_what_it_matches(desk: Desk) -> None:
    for name in ("a.md", "b.txt", "in/c.md", "in/deep/d.md", "in/e.txt"):
        desk.write(name, name)
    assert counts(desk.sync(desk.files / "*.md")) == (1, 0, 0, 0, 0)
    assert desk.names() == ["handbook/a.md"]
    assert counts(desk.sync(desk.files / "in" / "**" / "*.md")) == (2, 0, 0, 0, 0)
    assert counts(desk.sync(desk.files / "**" / "*.md")) == (0, 0, 0, 0, 3)
    (desk.files / "in/c.md").unlink()
    assert counts(desk.sync(desk.files / "*.md")) == (0, 0, 0, 0, 1)
    assert counts(desk.sync(desk.files / "in" / "*.md")) == (0, 0, 0, 1, 0)
    assert counts(desk.sync()) == (2, 0, 0, 0, 2)


def test_a_name_that_looks_like_a_pattern_is_a_name_when_it_exists(desk: Desk) -> None:
    desk.write("[draft].md", "Text.")
    assert counts(desk.sync(desk.files / "[draft].md")) == (1, 0, 0, 0, 0)


def test_a_subfolder_or_file_of_a_known_source_belongs_to_it(desk: Desk) -> None:
    desk.write("a.md", "First.")
    desk.write("in/b.md", "Second.")
    desk.sync()
    desk.write("a.md", "First, changed.")
    desk.write("in/b.md", "Second, changed.")
    assert counts(desk.sync(desk.files / "in")) == (0, 1, 0, 0, 0)
    assert counts(desk.sync(desk.files / "a.md")) == (0, 1, 0, 0, 0)
    (desk.files / "in/b.md").unlink()
    assert counts(desk.sync(desk.files / "in/b.md")) == (0, 0, 0, 1, 0)
    assert desk.names() == ["handbook/a.md"]


def test_a_folder_takes_over_the_sources_inside_it(desk: Desk) -> None:
    desk.write("a.md", "First.")
    desk.write("in/b.md", "# B\n\nSecond.")
    desk.sync(desk.files / "in")
    assert desk.names() == ["in/b.md"]
    assert counts(desk.sync()) == (1, 0, 1, 0, 0)
    assert desk.names() == ["handbook/a.md", "handbook/in/b.md"]
    assert counts(desk.sync()) == (0, 0, 0, 0, 2)


def test_two_sources_of_one_name_keep_apart(desk: Desk) -> None:
    desk.write("a.md", "First.")
    other = desk.root / "second" / "handbook"
    other.mkdir(parents=True)
    (other / "a.md").write_text("Second.")
    desk.sync(desk.files, other)
    assert desk.names() == ["handbook/a.md", "second/handbook/a.md"]
    assert counts(desk.sync(desk.files, other)) == (0, 0, 0, 0, 2)
    (other / "a.md").unlink()
    (other / "b.md").write_text("Third.")
    assert counts(desk.sync(other, allow_mass_delete=True)) == (1, 0, 0, 1, 0)
    assert desk.text("handbook/a.md") == "First."


def test_no_two_sources_ever_give_one_name(desk: Desk) -> None:
    folders = ("handbook", "b/hr", "a/hr/handbook", "b/hr/handbook", "c/b/hr", "handbook/handbook")
    for folder in folders:
        path = desk.root / folder / "x.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(folder)
        desk.sync(desk.root / folder)
    assert sorted(desk.text(name) for name in desk.names()) == sorted(folders)
    report = desk.sync(*(desk.root / folder for folder in folders))
    assert counts(report) == (0, 0, 0, 0, len(folders))


def test_one_source_never_removes_anothers_documents(desk: Desk) -> None:
    desk.write("a.md", "First.")
    other = desk.root / "notes"
    other.mkdir()
    (other / "b.md").write_text("Second.")
    desk.sync()
    assert counts(desk.sync(other)) == (1, 0, 0, 0, 0)
    assert desk.names() == ["handbook/a.md", "notes/b.md"]


def test_a_source_carried_elsewhere_is_recognized(desk: Desk) -> None:
    desk.write("a.md", "First.")
    desk.write("in/b.md", "Second.")
    desk.sync()
    moved = desk.root / "backup" / "handbook"
    moved.parent.mkdir()
    desk.files.rename(moved)
    assert counts(desk.sync(moved)) == (0, 0, 0, 0, 2)
    (moved / "c.md").write_text("Third.")
    (moved / "a.md").unlink()
    assert counts(desk.sync(moved)) == (1, 0, 0, 1, 1)
    assert counts(desk.sync(moved)) == (0, 0, 0, 0, 2)
    assert desk.names() == ["handbook/c.md", "handbook/in/b.md"]


def test_overlapping_targets_read_a_file_once(desk: Desk) -> None:
    path = desk.write("in/a.md", "First.")
    assert counts(desk.sync(desk.files, desk.files / "in", path)) == (1, 0, 0, 0, 0)


def test_names_are_unicode_normalized_and_clashes_reported(desk: Desk) -> None:
    desk.write("caf\u00e9.md", "Composed.")
    desk.write("cafe\u0301.md", "Decomposed.")
    report = desk.sync()
    assert desk.names() == ["handbook/caf\u00e9.md"]
    assert len(report.failed) == 1


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_text_is_taken_in_under_a_readable_one(desk: Desk) -> None:
    (Path(os.fsdecode(os.fsencode(desk.files) + b"/bad\xff.md"))).write_text("Text.")
    assert counts(desk.sync()) == (1, 0, 0, 0, 0)
    assert desk.names() == ["handbook/bad\ufffd.md"]
    assert counts(desk.sync()) == (0, 0, 0, 0, 1)


def test_links_out_of_the_source_are_reported_and_not_followed(desk: Desk) -> None:
    outside = desk.root / "private"
    outside.mkdir()
    (outside / "salary.md").write_text("Secret.")
    desk.write("seen.md", "Text.")
    (desk.files / "salary.md").symlink_to(outside / "salary.md")
    (desk.files / "folder").symlink_to(outside)
    (desk.files / "broken.md").symlink_to(outside / "nothing.md")
    (desk.files / "inside.md").symlink_to(desk.files / "seen.md")
    (desk.files / "circle").symlink_to(desk.files)
    report = desk.sync()
    assert desk.names() == ["handbook/inside.md", "handbook/seen.md"]
    found = sorted(reasons(report))
    assert [reason.split(":")[0] for reason in found] == ["broken.md", "folder", "salary.md"]
    assert "outside the source" in found[1]


def test_a_relative_target_means_the_same_from_anywhere(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("a.md", "First.")
    monkeypatch.chdir(desk.root)
    assert counts(desk.sync("handbook")) == (1, 0, 0, 0, 0)
    monkeypatch.chdir(desk.files)
    assert counts(desk.sync(".")) == (0, 0, 0, 0, 1)
    assert counts(desk.sync("../handbook/")) == (0, 0, 0, 0, 1)


def page(desk: Desk, site: tuple[str, type[Site]], body: bytes, **headers: str) -> SyncReport:
    site[1].pages["/help"] = (200, {"Content-Type": headers.get("kind", "text/html")}, body)
    return desk.sync(f"{site[0]}/help#top")


PAGE = "<html><title>Returns</title><body><article><p>{}</p></article></body></html>"
SENTENCE = "Goods may be returned within thirty days of purchase with the receipt, at any of our shops. "


def test_a_page_is_fetched_and_changed_only_when_its_text_changes(desk: Desk, site: tuple[str, type[Site]]) -> None:
    body = PAGE.format(SENTENCE * 5)
    assert counts(page(desk, site, body.encode())) == (1, 0, 0, 0, 0)
    assert desk.names() == [f"{site[0]}/help"]
    assert "thirty days" in desk.text(f"{site[0]}/help")
    assert counts(page(desk, site, body.encode())) == (0, 0, 0, 0, 1)
    assert counts(page(desk, site, body.replace("<body>", "<body data-token='7'>").encode())) == (0, 0, 0, 0, 1)
    assert counts(page(desk, site, body.replace("thirty", "sixty").encode())) == (0, 1, 0, 0, 0)
    assert site[1].agents[0].startswith("openbook/")


def test_a_pages_declared_character_set_is_believed(desk: Desk, site: tuple[str, type[Site]]) -> None:
    text = PAGE.format("Возврат товара возможен в течение тридцати дней после покупки. " * 5)
    page(desk, site, text.encode("koi8-r"), kind="text/html; charset=koi8-r")
    assert "Возврат" in desk.text(f"{site[0]}/help")


def test_a_page_that_cannot_be_had_is_reported_and_kept(desk: Desk, site: tuple[str, type[Site]]) -> None:
    page(desk, site, PAGE.format(SENTENCE * 5).encode())
    site[1].pages["/help"] = (503, {}, b"")
    desk.write("a.md", "First.")
    report = desk.sync(desk.files, f"{site[0]}/help")
    assert counts(report) == (1, 0, 0, 0, 0)
    assert report.failed[0].reason == "the server answered 503 Service Unavailable"
    assert f"{site[0]}/help" in desk.names()


def test_pages_too_large_or_redirecting_for_ever_are_refused(tmp_path: Path, site: tuple[str, type[Site]]) -> None:
    site[1].pages["/big"] = (200, {}, b"x" * 3000)
    site[1].pages["/circle"] = (302, {"Location": "/circle"}, b"")
    with pytest.raises(ReadError, match=r"larger than 0\.002 MB"):
        fetch(f"{site[0]}/big", tmp_path, max_bytes=2000)
    with pytest.raises(ReadError, match="redirects"):
        fetch(f"{site[0]}/circle", tmp_path, max_bytes=2000)
    with pytest.raises(ReadError, match="cannot be fetched"):
        fetch("http://127.0.0.1:1/", tmp_path, max_bytes=2000)
