"""A library changes its embedder: beside searches and commits, in one step, and back."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from openbook.errors import EmbedderMismatch, LibraryBusy, LibraryError
from openbook.library import inspect, standing
from openbook.library.generations import folder_name
from openbook.library.index import DOC, OneOf, Where
from openbook.library.migration import drop_previous
from openbook.library.owner import Ownership
from openbook.library.stored import StoredLibrary
from openbook.records import Change, Scope
from openbook.settings import LibrarySettings
from tests.migrations import NEW, OLD, ask, changeover, entry, migrated, opened, put, texts

pytest.importorskip("qdrant_client", reason="pip install 'openbook[server]'")


@pytest.fixture(params=["edge", "client"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def library(backend: str, tmp_path: Path) -> Iterator[StoredLibrary]:
    made = opened(tmp_path, backend)
    put(made, "a.md", "alpha one", "alpha two")
    put(made, "b.md", "beta", acl=("hr",))
    yield made
    made.close()


def index_folders(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("index*")}


def test_searches_find_the_same_texts_by_the_new_vectors(library: StoredLibrary, backend: str, tmp_path: Path) -> None:
    before = ask(library, "alpha", OLD)
    assert migrated(tmp_path, library, backend) == 3
    assert (library.made.embedder, library.made.dimensions, library.made.name) == (NEW.fingerprint, 24, "new")
    after = ask(library, "alpha", NEW)
    assert {one.id for one in after.dense} == {one.id for one in before.dense}
    assert after.lexical == before.lexical
    assert texts(library, NEW, Scope(groups=("hr",))) == {"alpha one", "alpha two", "beta"}
    library.close()
    again = opened(tmp_path, backend, embedder=NEW)
    assert ask(again, "alpha", NEW) == after
    again.close()


def test_every_kept_version_reads_as_before(library: StoredLibrary, backend: str, tmp_path: Path) -> None:
    library.commit(Change(rename=[("a.md", "c.md")]))
    put(library, "c.md", "gamma")
    library.commit(Change(remove=["b.md"]))
    hr = {version: Scope(groups=("hr",), version=version) for version in range(6)}
    before = {version: texts(library, OLD, scope) for version, scope in hr.items()}
    migrated(tmp_path, library, backend)
    assert {version: texts(library, NEW, scope) for version, scope in hr.items()} == before
    library.roll_back(2)
    assert texts(library, NEW, Scope(groups=("hr",))) == before[2]


def test_a_search_that_began_before_the_switch_ends_on_the_old_vectors(
    library: StoredLibrary, backend: str, tmp_path: Path
) -> None:
    before = ask(library, "alpha", OLD)
    migrated(tmp_path, library, backend)
    put(library, "z.md", "alpha later", embedder=NEW)
    assert ask(library, "alpha", OLD) == before
    assert "alpha later" in texts(library, NEW)


def test_a_commit_that_began_before_the_switch_gets_new_vectors(
    library: StoredLibrary, backend: str, tmp_path: Path
) -> None:
    late = Change(put=[entry("late.md", "late piece")], remove=["b.md"], embedder=OLD.fingerprint)
    migrated(tmp_path, library, backend)
    library.commit(late)
    vector = NEW.embed([entry("late.md", "late piece").chunks[0].indexed_text], kind="document")[0]
    best = library.candidates(vector, "", scope=Scope(), limit=1).dense[0]
    assert library.chunks([best.id])[best.id].text == "late piece"
    assert best.score == pytest.approx(1, abs=1e-5)


def test_what_is_committed_and_swept_meanwhile_is_in_the_new_index(
    library: StoredLibrary, backend: str, tmp_path: Path
) -> None:
    put(library, "doomed.md", "doomed", "more of it")
    coming = changeover(tmp_path, backend)
    assert coming.fill() == 5
    put(library, "a.md", "alpha new")
    library.commit(Change(remove=["doomed.md"]))
    put(library, "late.md", "late")
    library.sweep(keep=1)
    assert coming.fill() == 2
    put(library, "later.md", "later")
    coming.switch(library)
    coming.close()
    assert texts(library, NEW, Scope(groups=("hr",))) == {"alpha new", "beta", "late", "later"}
    library.close()
    opened(tmp_path, backend, embedder=NEW).close()


def test_an_interrupted_migration_goes_on_where_it_was(library: StoredLibrary, backend: str, tmp_path: Path) -> None:
    first = changeover(tmp_path, backend)
    assert first.fill() == 3
    first.close()
    put(library, "c.md", "gamma")
    assert texts(library, OLD) == {"alpha one", "alpha two", "gamma"}
    library.close()
    library = opened(tmp_path, backend)
    assert migrated(tmp_path, library, backend) == 1
    assert texts(library, NEW) == {"alpha one", "alpha two", "gamma"}
    library.close()


def test_another_target_begins_anew_and_leaves_nothing_behind(tmp_path: Path) -> None:
    library = opened(tmp_path)
    put(library, "a.md", "alpha")
    other = type(NEW)(dimensions=40)
    from tests import migrations

    migrations.NAMES[other.fingerprint] = "other"
    first = changeover(tmp_path)
    first.fill()
    first.close()
    assert index_folders(tmp_path) == {"index", "index-2"}
    assert migrated(tmp_path, library, to=other) == 1
    assert index_folders(tmp_path) == {"index", "index-3"}
    library.close()


def test_rolling_back_catches_up_and_forward_again_too(library: StoredLibrary, backend: str, tmp_path: Path) -> None:
    before = ask(library, "alpha", OLD)
    migrated(tmp_path, library, backend)
    put(library, "c.md", "gamma", embedder=NEW)
    library.commit(Change(remove=["b.md"]))
    assert migrated(tmp_path, library, backend, to=OLD) == 1
    assert library.made.embedder == OLD.fingerprint
    assert ask(library, "alpha", OLD, Scope(version=2)).dense == before.dense
    assert texts(library, OLD) == {"alpha one", "alpha two", "gamma"}
    put(library, "d.md", "delta")
    assert migrated(tmp_path, library, backend) == 1
    assert texts(library, NEW) == {"alpha one", "alpha two", "gamma", "delta"}
    library.close()
    opened(tmp_path, backend, embedder=NEW).close()


def test_rolling_back_works_after_opening_again(library: StoredLibrary, backend: str, tmp_path: Path) -> None:
    migrated(tmp_path, library, backend)
    library.close()
    library = opened(tmp_path, backend, embedder=NEW)
    assert migrated(tmp_path, library, backend, to=OLD) == 0
    assert texts(library, OLD) == {"alpha one", "alpha two"}
    library.close()


def test_dropping_what_is_kept_for_roll_back(tmp_path: Path) -> None:
    library = opened(tmp_path)
    put(library, "a.md", "alpha")
    with pytest.raises(LibraryError, match="nothing to drop"):
        drop_previous(tmp_path, library, settings=LibrarySettings())
    migrated(tmp_path, library)
    assert index_folders(tmp_path) == {"index", "index-2"}
    assert drop_previous(tmp_path, library, settings=LibrarySettings()) > 0
    assert index_folders(tmp_path) == {"index-2"}
    assert migrated(tmp_path, library, to=OLD) == 1
    library.close()


def test_only_what_is_missing_needs_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = opened(tmp_path)
    put(library, "a.md", *(f"alpha {number}" for number in range(300)))
    with closing(changeover(tmp_path)) as coming:
        assert coming.fill() == 300
    usage = shutil.disk_usage(tmp_path)
    nearly_full = usage._replace(free=65 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nearly_full)
    assert migrated(tmp_path, library) == 0
    assert migrated(tmp_path, library, to=OLD) == 0, "rolling back"
    drop_previous(tmp_path, library, settings=LibrarySettings())
    with pytest.raises(LibraryError, match="free some space"):
        changeover(tmp_path, library=library)
    library.close()


def test_a_new_index_never_takes_the_place_of_a_leftover_that_may_be_swept_now(tmp_path: Path) -> None:
    library = opened(tmp_path)
    put(library, "a.md", "alpha")
    (tmp_path / "index-2").mkdir()
    with closing(changeover(tmp_path)) as coming:
        assert coming.made.generation == 3
    assert index_folders(tmp_path) == {"index", "index-3"}
    library.close()


def test_an_empty_library_changes_over(tmp_path: Path) -> None:
    library = opened(tmp_path)
    assert migrated(tmp_path, library) == 0
    put(library, "a.md", "alpha", embedder=NEW)
    assert texts(library, NEW) == {"alpha"}
    library.close()


def test_two_migrations_at_once_are_refused(library: StoredLibrary, backend: str, tmp_path: Path) -> None:
    first = changeover(tmp_path, backend)
    with pytest.raises(LibraryBusy, match="is being migrated already by this very process"):
        changeover(tmp_path, backend)
    first.close()
    assert migrated(tmp_path, library, backend) == 3


def test_the_present_embedder_is_nothing_to_do(library: StoredLibrary, backend: str, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"uses 'fake:16:256' already; there is nothing to do"):
        changeover(tmp_path, backend, to=OLD)
    assert migrated(tmp_path, library, backend) == 3


def test_there_must_be_a_library(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"there is no library .* openbook sync"):
        changeover(tmp_path)


def test_the_old_embedder_is_refused_after_the_switch(library: StoredLibrary, backend: str, tmp_path: Path) -> None:
    migrated(tmp_path, library, backend)
    library.close()
    with pytest.raises(EmbedderMismatch, match="openbook migrate"):
        opened(tmp_path, backend)


def test_a_damaged_unfinished_index_is_made_anew(tmp_path: Path) -> None:
    library = opened(tmp_path)
    put(library, "a.md", "alpha", "beta")
    first = changeover(tmp_path)
    first.fill()
    first.close()
    shutil.rmtree(next((tmp_path / "index-2").glob("shard-*")))
    assert migrated(tmp_path, library) == 2
    assert texts(library, NEW) == {"alpha", "beta"}
    library.close()


def test_an_index_that_is_not_whole_is_never_switched_to(tmp_path: Path) -> None:
    library = opened(tmp_path)
    put(library, "a.md", "alpha")
    put(library, "b.md", "beta")
    coming = changeover(tmp_path)
    coming.fill()
    coming.index.delete(Where(must=(OneOf(DOC, [1]),)))
    with pytest.raises(LibraryError, match="holds 1 chunks where the catalog has 2"):
        coming.switch(library)
    coming.close()
    assert texts(library, OLD) == {"alpha", "beta"}
    assert migrated(tmp_path, library) == 2
    library.close()


def test_the_next_start_sweeps_what_a_crash_left(tmp_path: Path) -> None:
    library = opened(tmp_path)
    put(library, "a.md", "alpha")
    migrated(tmp_path, library)
    library.close()
    shutil.copytree(tmp_path / "index-2", tmp_path / folder_name(7))
    opened(tmp_path, embedder=NEW).close()
    assert index_folders(tmp_path) == {"index", "index-2"}


def test_a_library_says_what_it_was_made_with(tmp_path: Path) -> None:
    assert standing(tmp_path, settings=LibrarySettings()) is None
    library = opened(tmp_path)
    put(library, "a.md", "alpha")
    found = standing(tmp_path, settings=LibrarySettings())
    assert found is not None
    assert (found.current.name, found.current.embedder, found.current.dimensions) == ("old", OLD.fingerprint, 16)
    assert (found.previous, found.coming, found.version, found.chunks) == (None, None, 1, 1)
    migrated(tmp_path, library)
    assert "embedder fake:24:256" in str(inspect(tmp_path, settings=LibrarySettings()))
    library.close()


def test_an_attached_index_is_searched_beside_the_old_one(library: StoredLibrary, backend: str, tmp_path: Path) -> None:
    coming = changeover(tmp_path, backend, library=library)
    coming.fill()
    version = coming.attach(library)
    put(library, "late.md", "late")
    both = [texts(library, embedder, Scope(version=version)) for embedder in (OLD, NEW)]
    assert both[0] == both[1] == {"alpha one", "alpha two"}
    coming.close()
    with pytest.raises(EmbedderMismatch, match="ask again"):
        ask(library, "alpha", NEW)
    assert "late" in texts(library, OLD)
    assert migrated(tmp_path, library, backend) == 1


def test_a_library_of_an_older_openbook_learns_its_embedders_name(tmp_path: Path) -> None:
    library = opened(tmp_path)
    put(library, "a.md", "alpha")
    library.close()
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as connection, connection:
        connection.execute("DELETE FROM migrations WHERE name = '0002-generations'")
        connection.execute("DELETE FROM facts WHERE name IN ('generation', 'embedder_name')")
    found = standing(tmp_path, settings=LibrarySettings())
    assert found is not None
    assert (found.current.generation, found.current.name) == (1, "")
    library = opened(tmp_path)
    assert library.made.name == "old"
    assert migrated(tmp_path, library) == 1
    library.close()
    library = opened(tmp_path, embedder=NEW)
    assert library.made.generation == 2
    library.close()


def test_others_wait_for_an_owner_that_said_it_is_brief(tmp_path: Path) -> None:
    opened(tmp_path).close()
    owner = Ownership(tmp_path, brief=True)
    timer = threading.Timer(0.3, owner.release)
    timer.start()
    opened(tmp_path).close()
    timer.join()


def test_others_wait_for_an_owner_that_has_not_said_yet_what_it_is(tmp_path: Path) -> None:
    opened(tmp_path).close()
    owner = Ownership(tmp_path, brief=True)
    (tmp_path / "owner").unlink()  # as between taking the lock and saying so, or on leaving
    timer = threading.Timer(0.3, owner.release)
    timer.start()
    opened(tmp_path).close()
    timer.join()
