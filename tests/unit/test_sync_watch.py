"""Watching syncs what changes on disk, only that, and ends when told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.ingest.watch import watch
from openbook.records import SyncReport
from openbook.seams import Library
from openbook.settings import Ingest
from tests.fixtures.sync_desk import Desk, counts, emptied, opened


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    library = opened(tmp_path_factory.mktemp("library"))
    yield library
    library.close()


@pytest.fixture
def desk(tmp_path: Path, library: Library) -> Desk:
    return Desk(tmp_path, emptied(library))


class Watching:
    """A watch in a thread; `wait` gives the next report."""

    def __init__(self, desk: Desk, *targets: Path) -> None:
        self._stop = threading.Event()
        self._reports: list[SyncReport] = []
        self._read = 0
        found = watch(
            [str(target) for target in targets or (desk.files,)],
            library=desk.library,
            embedder=desk.embedder,
            settings=Ingest(),
            stop=self._stop,
        )
        self._thread = threading.Thread(target=self._run, args=(found,))

    def _run(self, found: Iterator[SyncReport]) -> None:
        for report in found:
            self._reports.append(report)

    def __enter__(self) -> Watching:
        self._thread.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def wait(self) -> SyncReport:
        until = time.monotonic() + 20
        while len(self._reports) <= self._read:
            assert time.monotonic() < until, "no report came"
            time.sleep(0.01)
        self._read += 1
        return self._reports[self._read - 1]


def test_changes_are_synced_as_they_happen(desk: Desk) -> None:
    path = desk.write("a.md", "First.")
    desk.write("b.md", "Second.")
    with Watching(desk) as watching:
        started = time.monotonic()
        path.write_text("First, changed.")
        assert counts(watching.wait())[:4] == (0, 1, 0, 0)
        assert time.monotonic() - started < 5
        desk.write("in/c.md", "Third.")
        assert watching.wait().paths["added"] == ("handbook/in/c.md",)
        path.rename(desk.files / "in" / "a.md")
        assert watching.wait().paths["renamed"] == ("handbook/a.md -> handbook/in/a.md",)
        (desk.files / "in" / "c.md").unlink()
        assert watching.wait().paths["removed"] == ("handbook/in/c.md",)
    assert desk.names() == ["handbook/b.md", "handbook/in/a.md"]


def test_hidden_files_and_other_formats_stay_unread(desk: Desk) -> None:
    desk.write("a.md", "First.")
    with Watching(desk) as watching:
        desk.write(".hidden.md", "Secret.")
        desk.write("photo.jpg", b"\xff\xd8\xff")
        time.sleep(0.6)
        desk.write("b.md", "Second.")
        report = watching.wait()
        assert (counts(report), report.failed) == ((1, 0, 0, 0, 0), ())


def test_one_watched_file_leaves_its_neighbours_alone(desk: Desk) -> None:
    path = desk.write("a.md", "First.")
    with Watching(desk, path) as watching:
        desk.write("b.md", "Second.")
        time.sleep(0.6)
        (desk.files / "new").write_text("First, changed.")
        (desk.files / "new").replace(path)
        assert counts(watching.wait()) == (0, 1, 0, 0, 0)
    assert desk.names() == ["a.md"]


def test_losing_most_of_the_source_is_reported_and_watching_goes_on(desk: Desk) -> None:
    paths = [desk.write(f"{n}.md", f"Text {n}.") for n in range(8)]
    with Watching(desk) as watching:
        for path in paths[:7]:
            path.unlink()
        assert "7 of 8" in watching.wait().failed[0].reason
        desk.write("7.md", "Changed.")
        while (report := watching.wait()).failed:
            assert "7 of 8" in report.failed[0].reason
        assert counts(report) == (0, 1, 0, 0, 0)
    assert len(desk.names()) == 8
