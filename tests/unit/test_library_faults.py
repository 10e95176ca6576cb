"""What goes wrong around a library: full disks, read-only folders, lost files, newer formats, interrupted commits."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from openbook.errors import LibraryBusy, LibraryError
from openbook.library import inspect, tables
from openbook.library.catalog import Catalog, sqlite_url
from openbook.library.edge import EdgeIndex
from openbook.library.index import Point, Where
from openbook.library.stored import StoredLibrary
from openbook.records import Change
from openbook.settings import LibrarySettings
from tests.contracts.library_data import DIMENSIONS, ask, entry, found, opened


class Fragile(EdgeIndex):
    """An index whose `breaks` call fails once, half way through what it does."""

    breaks = ""

    def upsert(self, points: Sequence[Point]) -> None:
        super().upsert(points[: len(points) // 2] if self.breaks == "upsert" else points)
        self._maybe("upsert")

    def assign(self, where: Where, field: str, value: int | None) -> None:
        super().assign(where, field, value)
        self._maybe("assign")

    def delete(self, where: Where) -> None:
        self._maybe("delete")
        super().delete(where)

    def flush(self) -> None:
        super().flush()
        self._maybe("flush")

    def _maybe(self, name: str) -> None:
        if self.breaks == name:
            self.breaks = ""
            raise LibraryError(f"{name} broke")


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[tuple[StoredLibrary, Fragile]]:
    catalog = Catalog(sqlite_url(tmp_path / "catalog.db"), create=True)
    facts = {"library": "x", "embedder": "e", "dimensions": "16", "next_chunk": "1", "next_content": "1"}
    catalog.found(facts, at="now")
    index = Fragile(tmp_path / "index", dimensions=DIMENSIONS, create=True)
    library = StoredLibrary(catalog, index, dimensions=DIMENSIONS)
    library.commit(Change(put=[entry("a.md", "old alpha", "second")]))
    yield library, index
    library.close()


@pytest.mark.parametrize("step", ["upsert", "assign", "flush"])
def test_a_commit_that_fails_leaves_no_trace(fragile: tuple[StoredLibrary, Fragile], step: str) -> None:
    library, index = fragile
    before = ask(library, "alpha")
    index.breaks = step
    with pytest.raises(LibraryError, match=f"{step} broke"):
        library.commit(Change(put=[entry("a.md", "broken alpha", "broken"), entry("b.md", "broken")]))
    assert library.version() == 1
    assert ask(library, "alpha") == before
    assert library.commit(Change(put=[entry("c.md", "third")])) == 2
    assert found(library, "alpha broken third") == {"a.md", "c.md"}
    assert index.count() == 3


def test_a_sweep_that_fails_is_finished_later(fragile: tuple[StoredLibrary, Fragile]) -> None:
    library, index = fragile
    library.commit(Change(put=[entry("a.md", "new alpha")]))
    index.breaks = "delete"
    with pytest.raises(LibraryError, match="delete broke"):
        library.sweep(keep=1)
    assert index.count() == 3
    library.commit(Change(put=[entry("b.md", "beta")]))
    assert index.count() == 2
    assert found(library, "alpha beta") == {"a.md", "b.md"}


def test_ctrl_c_in_a_commit_leaves_no_trace(fragile: tuple[StoredLibrary, Fragile]) -> None:
    library, index = fragile

    class Interrupted(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            yield from list.__iter__(self)
            if index.count() > 2:
                raise KeyboardInterrupt

    change = Change(put=Interrupted([entry("b.md", *(f"piece {number}" for number in range(700)))]))
    with pytest.raises(KeyboardInterrupt):
        library.commit(change)
    assert library.version() == 1
    library.commit(Change(put=[entry("c.md", "third")]))
    assert index.count() == 3


@pytest.mark.parametrize("lost", ["index", "index/current", "shard"])
def test_a_lost_index_is_noticed_at_once(tmp_path: Path, lost: str) -> None:
    library = opened(tmp_path)
    library.commit(Change(put=[entry("a.md", "alpha")]))
    library.close()
    path = next(tmp_path.glob("index/shard-*")) if lost == "shard" else tmp_path / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(
        LibraryError, match=r"search index .*delete the folder .openbook/library and run: openbook sync"
    ):
        opened(tmp_path)


def test_an_index_of_another_time_is_noticed_at_once(tmp_path: Path) -> None:
    library = opened(tmp_path)
    library.commit(Change(put=[entry("a.md", "alpha")]))
    library.close()
    shutil.copytree(tmp_path / "index", tmp_path / "kept")
    library = opened(tmp_path)
    library.commit(Change(put=[entry("b.md", "beta")]))
    library.close()
    shutil.rmtree(tmp_path / "index")
    (tmp_path / "kept").rename(tmp_path / "index")
    with pytest.raises(
        LibraryError, match=r"holds 1 chunks, 1 of them current, where the catalog has 2 and 2.*openbook sync"
    ):
        opened(tmp_path)


def test_a_damaged_catalog_is_one_sentence(tmp_path: Path) -> None:
    opened(tmp_path).close()
    for file in tmp_path.glob("catalog.db*"):
        file.write_bytes(b"this is no database, but it is long enough to look at" * 100)
    with pytest.raises(LibraryError, match="file is not a database"):
        opened(tmp_path)


def test_a_catalog_of_a_newer_openbook_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("INSERT INTO migrations VALUES ('9999-later')")
    connection.close()
    with pytest.raises(LibraryError, match=r"newer Openbook \(it has '9999-later'\); upgrade"):
        opened(tmp_path)


def test_an_unfinished_beginning_is_begun_again(tmp_path: Path) -> None:
    Catalog(sqlite_url(tmp_path / "catalog.db"), create=True).close()
    EdgeIndex(tmp_path / "index", dimensions=3, create=True).close()
    library = opened(tmp_path)
    library.commit(Change(put=[entry("a.md", "alpha")]))
    assert found(library, "alpha") == {"a.md"}
    library.close()


def test_an_unknown_database_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="catalog_url cannot be used"):
        Catalog("nosuchdatabase://user:secret@host/x", create=True)


def test_the_tables_can_be_made_in_postgres() -> None:
    for table in tables.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))


def test_inspect_tells_about_a_library_even_while_it_is_owned(tmp_path: Path) -> None:
    assert inspect(tmp_path, settings=LibrarySettings()) is None
    library = opened(tmp_path)
    assert inspect(tmp_path, settings=LibrarySettings()) is None
    library.commit(Change(put=[entry("a.md", "alpha", "beta")]))
    facts = inspect(tmp_path, settings=LibrarySettings())
    library.close()
    assert facts is not None
    assert facts.startswith("1 documents in 2 chunks, version 1 of ")


def _own(folder: Path, ready: Any, done: Any) -> None:
    library = opened(folder)
    ready.set()
    done.wait(60)
    library.close()


def test_another_process_learns_the_owners_number_and_gets_its_turn(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    owner = context.Process(target=_own, args=(tmp_path, ready, done))
    owner.start()
    assert ready.wait(60)
    with pytest.raises(LibraryBusy, match=f"in use by process {owner.pid}; stop that process"):
        opened(tmp_path)
    done.set()
    owner.join()
    opened(tmp_path).close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 MB of its own; needs the right to mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=200m", "none", str(disk)]
    if mount is None or not sys.platform.startswith("linux") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root on Linux")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_one_sentence_and_the_old_version_stays(small_disk: Path) -> None:
    library = opened(small_disk)
    library.commit(Change(put=[entry("a.md", "alpha")]))
    free = shutil.disk_usage(small_disk).free
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (free - 30 * 2**20))
    with pytest.raises(LibraryError, match=r"MB are free on the disk of .* free some space"):
        library.commit(Change(put=[entry("b.md", "beta")]))
    assert found(library, "alpha beta") == {"a.md"}
    library.close()
    with pytest.raises(LibraryError, match=r"MB are free on the disk of .* free some space"):
        opened(small_disk)
    ballast.unlink()
    library = opened(small_disk)
    assert library.commit(Change(put=[entry("b.md", "beta")])) == 2
    assert found(library, "alpha beta") == {"a.md", "b.md"}
    library.close()


def test_a_read_only_workspace_is_one_sentence(small_disk: Path) -> None:
    library = opened(small_disk)
    library.commit(Change(put=[entry("a.md", "alpha")]))
    library.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        with pytest.raises(LibraryError, match=r"cannot be opened for writing: Read-only file system"):
            opened(small_disk)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    library = opened(small_disk)
    assert found(library, "alpha") == {"a.md"}
    library.close()


def test_a_workspace_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "library").write_text("x", encoding="utf-8")
    with pytest.raises(LibraryError, match="cannot be opened for writing"):
        opened(tmp_path / "library")


def test_closing_while_others_search_gives_library_errors_only(tmp_path: Path) -> None:
    library = opened(tmp_path)
    library.commit(Change(put=[entry("a.md", "alpha")]))
    errors: list[BaseException] = []

    def search() -> None:
        try:
            while True:
                ask(library, "alpha")
        except BaseException as error:  # noqa: BLE001 the test is about which kind comes
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    library.close()
    for thread in threads:
        thread.join()
    assert {type(error) for error in errors} == {LibraryError}
