"""One bad file is one line in the report, whatever it does to its reader."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.ingest.plan import File
from openbook.ingest.reading import Reading
from openbook.seams import Library
from openbook.settings import Ingest
from tests.fixtures.sync_desk import Desk, counts, emptied, opened, reasons

CSV = "name,days\nvacation,20\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    library = opened(tmp_path_factory.mktemp("library"))
    yield library
    library.close()


@pytest.fixture
def desk(tmp_path: Path, library: Library) -> Desk:
    return Desk(tmp_path, emptied(library))


def file(path: Path) -> File:
    return File(str(path), path, path.name, "", ("*",), "")


def test_bad_files_are_reported_and_the_rest_is_taken_in(desk: Desk) -> None:
    desk.write("good.md", "Text.")
    desk.write("good.csv", CSV)
    desk.write("empty.md", "")
    desk.write("broken.pdf", b"%PDF-1.7 broken")
    desk.write("broken.docx", b"PK\x03\x04 broken")
    desk.write("image.txt", b"\x89PNG\r\n\x1a\n\x00\x00")
    report = desk.sync()
    assert desk.names() == ["handbook/good.csv", "handbook/good.md"]
    assert sorted(Path(failure.path).name for failure in report.failed) == [
        "broken.docx",
        "broken.pdf",
        "empty.md",
        "image.txt",
    ]
    assert all(failure.path == str(desk.files / Path(failure.path).name) for failure in report.failed)


def test_a_file_that_became_bad_keeps_its_old_version_until_it_is_mended(desk: Desk) -> None:
    path = desk.write("days.csv", CSV)
    desk.sync()
    before = desk.state()
    desk.write("days.csv", b"\x89PNG\r\n\x1a\n\x00\x00")
    for _ in range(2):
        report = desk.sync()
        assert counts(report) == (0, 0, 0, 0, 0)
        assert len(report.failed) == 1
        assert desk.state() == before
    path.write_text(CSV)
    assert counts(desk.sync()) == (0, 0, 0, 0, 1)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_and_folders_are_reported_and_kept(desk: Desk) -> None:
    path = desk.write("a.md", "First.")
    folder = desk.write("in/b.md", "Second.").parent
    desk.sync()
    path.chmod(0)
    folder.chmod(0)
    try:
        report = desk.sync()
    finally:
        folder.chmod(0o700)
    assert counts(report) == (0, 0, 0, 0, 0)
    assert sorted(reasons(report)) == [
        "a.md: cannot be opened: Permission denied",
        "in: cannot be opened: Permission denied",
    ]


def test_a_file_over_the_limit_is_refused_unread(desk: Desk) -> None:
    with desk.write("huge.md", "").open("wb") as stream:
        stream.truncate(2_000_000_000)
    started = time.monotonic()
    assert reasons(desk.sync()) == ["huge.md: larger than 200 MB (2000 MB); raise ingest.max_file_mb to read it"]
    assert time.monotonic() - started < 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_never_blocks_a_sync(desk: Desk) -> None:
    os.mkfifo(desk.files / "pipe.md")
    desk.write("a.md", "First.")
    assert counts(desk.sync()) == (1, 0, 0, 0, 0)
    assert reasons(desk.sync(desk.files / "pipe.md")) == ["pipe.md: not a regular file"]


def test_an_archive_with_a_bad_member_gives_the_others(desk: Desk) -> None:
    with zipfile.ZipFile(desk.files / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.md", "Text.")
        archive.writestr("bad.pdf", b"%PDF-1.7 broken" * 9)
    report = desk.sync()
    assert desk.names() == ["handbook/all.zip!/good.md"]
    assert report.failed[0].path == f"{desk.files}/all.zip!/bad.pdf"


def test_a_member_that_became_bad_keeps_its_old_version(desk: Desk) -> None:
    for content in ("name,days\n1,2\n", "\x89PNG\r\n\x1a\n\x00\x00"):
        with zipfile.ZipFile(desk.files / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.md", f"Text {len(content)}.")
            archive.writestr("days.csv", content)
        report = desk.sync()
    assert counts(report) == (0, 1, 0, 0, 0)
    assert desk.names() == ["handbook/all.zip!/a.md", "handbook/all.zip!/days.csv"]


def test_a_reader_that_crashes_is_one_failed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stand-in for the readers' package, found by children through sys.path, does what damaged files may do to ours.
    fake = tmp_path / "fake" / "sitecustomize.py"
    fake.parent.mkdir()
    fake.write_text(
        "import ctypes, sys, time\n"
        "from openbook.ingest import readers\n"
        "real = readers.read\n"
        "def read(path, *, name, limits):\n"
        "    if 'crash' in name: ctypes.string_at(0)\n"
        "    if 'hang' in name:\n"
        "        while True: pass\n"
        "    if 'native' in name: ctypes.PyDLL(None).sleep(60)\n"
        "    if 'memory' in name: held = bytearray(8 << 30)\n"
        "    if 'print' in name: print('noise'); sys.stdout.flush()\n"
        "    return real(path, name=name, limits=limits)\n"
        "readers.read = read\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(fake.parent))
    names = ["one.csv", "crash.csv", "hang.csv", "native.csv", "memory.csv", "print.csv", "two.csv"]
    for name in names:
        (tmp_path / name).write_text(CSV)
    with Reading(Ingest(), seconds=2) as reading:
        found = {one.path.name: outcome for one, outcome in reading.read([file(tmp_path / name) for name in names])}
    assert list(found) == names
    assert all(not isinstance(found[name], str) for name in ("one.csv", "print.csv", "two.csv"))
    assert "SIGSEGV" in str(found["crash.csv"])
    assert "given up" in str(found["hang.csv"])
    assert "given up" in str(found["native.csv"])
    assert "memory" in str(found["memory.csv"])


def test_leaving_a_reading_ends_its_children_whatever_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "fake" / "sitecustomize.py"
    fake.parent.mkdir()
    fake.write_text(
        "import time\nfrom openbook.ingest import readers\nreaders.read = lambda *args, **options: time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(fake.parent))
    (tmp_path / "slow.csv").write_text(CSV)
    (tmp_path / "plain.md").write_text("Text.")
    started = time.monotonic()
    with Reading(Ingest(), children=1) as reading:
        files = reading.read([file(tmp_path / name) for name in ("plain.md", "slow.csv")])
        assert next(files)[0].path.name == "plain.md"
        with pytest.raises(KeyboardInterrupt):
            raise KeyboardInterrupt
    assert time.monotonic() - started < 30


def test_a_script_without_a_main_guard_can_sync(desk: Desk) -> None:
    desk.write("days.csv", CSV)
    script = desk.root / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from openbook.ingest.plan import File\n"
        "from openbook.ingest.reading import Reading\n"
        "from openbook.settings import Ingest\n"
        f"path = Path({str(desk.files / 'days.csv')!r})\n"
        "with Reading(Ingest()) as reading:\n"
        "    for file, outcome in reading.read([File('', path, '', '', (), '')]):\n"
        "        print(len(outcome.documents))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks processes up in /proc")
def test_a_killed_sync_leaves_no_child_behind(tmp_path: Path) -> None:
    fake = tmp_path / "fake" / "sitecustomize.py"
    fake.parent.mkdir()
    fake.write_text(
        "import time\nfrom openbook.ingest import readers\nreaders.read = lambda *args, **options: time.sleep(600)\n"
    )
    (tmp_path / "slow.csv").write_text(CSV)
    script = (
        "from pathlib import Path\n"
        "from openbook.ingest.plan import File\n"
        "from openbook.ingest.reading import Reading\n"
        "from openbook.settings import Ingest\n"
        f"path = Path({str(tmp_path / 'slow.csv')!r})\n"
        "with Reading(Ingest()) as reading: list(reading.read([File('', path, '', '', (), '')]))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(fake.parent)})
    until = time.monotonic() + 30
    children: list[str] = []
    while not children and time.monotonic() < until:
        time.sleep(0.1)
        children = [
            pid
            for task in Path(f"/proc/{parent.pid}/task").iterdir()
            for pid in (task / "children").read_text().split()
        ]
    assert children
    time.sleep(1.0)  # until the child is at work
    parent.kill()
    parent.wait()
    while any(_alive(pid) for pid in children):
        assert time.monotonic() < until, "a child outlived its parent"
        time.sleep(0.1)


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
