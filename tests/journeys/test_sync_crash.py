"""A sync killed at any moment leaves each document old or new and whole, and the next sync completes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.errors import LibraryBusy
from openbook.ingest import write
from openbook.records import Scope
from openbook.seams import Library
from tests.fixtures.sync_desk import Desk, State, emptied, opened, state_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
DOCUMENTS = 24
BATCH = 6


def run_sync(root: Path) -> None:
    """A whole sync process: open, sync in small batches, close."""
    write.BATCH_CHUNKS = BATCH
    library = opened(root / "library")
    Desk(root, library).sync(allow_mass_delete=True)
    library.close()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library that no one kills, to say what the right state is."""
    library = opened(tmp_path_factory.mktemp("clean"))
    yield library
    library.close()


class Crashes:
    """A folder that changes, a sync process that dies, and what must hold afterwards."""

    def __init__(self, root: Path, clean: Library, seed: int) -> None:
        self.root, self.clean, self.random = root, clean, random.Random(seed)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([__name__, "openbook.library.edge", "openbook.ingest.sync", "qdrant_edge"])
        (root / "handbook" / "in").mkdir(parents=True)
        self.before: State = {}
        self.after: State = {}

    def start(self) -> multiprocessing.process.BaseProcess:
        process = self.context.Process(target=run_sync, args=(self.root,))
        process.start()
        return process

    def change_files(self) -> None:
        """Write, rewrite, move and remove files, and work out what a clean library would hold."""
        files = self.root / "handbook"
        for number in range(DOCUMENTS):
            path = files / ("in" if number % 3 else "") / f"{number}.md"
            what = self.random.random()
            if what < 0.5:
                word = self.random.choice(["leave", "pay", "travel", "conduct"])
                sections = "".join(
                    f"## Part {part}\n\n{word} {number} " * 40 for part in range(self.random.randint(1, 4))
                )
                path.write_text(f"# Document {number}\n\n{sections}")
            elif what < 0.65:
                path.unlink(missing_ok=True)
            elif what < 0.75 and path.exists():
                path.replace(files / f"moved-{self.random.randint(0, 9)}.md")
        Desk(self.root, emptied(self.clean)).sync()
        self.after = state_of(self.clean)

    def check(self) -> bool:
        """Open what the dead process left; True when nothing is left to do."""
        library = opened(self.root / "library")
        try:
            found = state_of(library)
            for name in found.keys() | self.before.keys() | self.after.keys():
                assert found.get(name) in (self.before.get(name), self.after.get(name)), (
                    f"{name} is neither old nor new"
                )
            held = {chunk for _, _, chunks in found.values() for chunk in chunks}
            listed = [number for name in found for number, _ in library.chunks_of(name)]
            assert len(listed) == len(set(listed))
            hits = library.candidates([1.0] + [0.0] * 7, "leave pay travel conduct", scope=Scope(), limit=5000)
            assert sorted(hit.id for hit in hits.dense) == sorted(listed)
            assert {(*c.heading, c.title, c.text) for c in library.chunks([h.id for h in hits.dense]).values()} == held
            self.before = found
            return found == self.after
        finally:
            library.close()

    def finish(self) -> None:
        process = self.start()
        process.join(120)
        assert process.exitcode == 0
        assert self.check(), "the next sync did not complete the work"


def kill_often(root: Path, clean: Library, kills: int, seed: int) -> None:
    crashes = Crashes(root, clean, seed)
    crashes.change_files()
    crashes.finish()
    crashes.change_files()
    started = time.monotonic()
    crashes.finish()
    usual = time.monotonic() - started
    unfinished = 0
    for number in range(kills):
        if number % 5 == 0:
            crashes.finish()
            crashes.change_files()
        process = crashes.start()
        time.sleep(crashes.random.uniform(0, usual))
        process.kill()
        process.join()
        if crashes.check():
            usual *= 0.9
            crashes.change_files()
        else:
            unfinished += 1
    crashes.finish()
    assert unfinished > kills // 5, "too few kills hit a sync at work to say anything"
    shutil.rmtree(root)


@pytest.mark.timeout(1800)
def test_25_kills_leave_every_document_whole(tmp_path: Path, clean: Library) -> None:
    kill_often(tmp_path / "desk", clean, 25, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 10))
def test_200_kills_leave_every_document_whole(tmp_path: Path, clean: Library, seed: int) -> None:
    kill_often(tmp_path / "desk", clean, 25, seed=seed)


def test_ctrl_c_ends_a_sync_at_once_and_the_next_completes_it(tmp_path: Path, clean: Library) -> None:
    crashes = Crashes(tmp_path / "desk", clean, seed=0)
    for _ in range(3):
        crashes.change_files()
        process = crashes.start()
        time.sleep(crashes.random.uniform(0.3, 1.0))
        assert process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGINT)
        process.join(10)
        assert process.exitcode is not None
        crashes.check()
    crashes.finish()


def test_a_second_sync_at_once_is_told_the_library_is_busy(tmp_path: Path, clean: Library) -> None:
    crashes = Crashes(tmp_path / "desk", clean, seed=0)
    crashes.change_files()
    first = opened(tmp_path / "desk" / "library")
    second = crashes.start()
    second.join(60)
    assert second.exitcode == 1
    with pytest.raises(LibraryBusy):
        opened(tmp_path / "desk" / "library")
    first.close()
    crashes.finish()
