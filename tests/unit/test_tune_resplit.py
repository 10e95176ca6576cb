"""A changed chunk size reaches documents that did not change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.errors import OpenbookError
from openbook.ingest.resplit import FILE, bring_along
from openbook.ingest.sync import sync
from openbook.records import Case, SyncReport
from openbook.seams import Library
from openbook.settings import Ingest
from openbook.settings_file import change
from openbook.workspace import Workspace
from tests import tiny_models
from tests.fixtures.sync_desk import fake_embedder, opened, state_of

SMALL = Ingest(chunk_tokens=40, overlap_tokens=5)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = opened(tmp_path / "library")
    yield made
    made.close()


def brought(tmp_path: Path, library: Library, settings: Ingest, *, dry_run: bool = False) -> SyncReport:
    report = sync(
        [str(tmp_path / "files")], library=library, embedder=fake_embedder(), settings=settings, acl=("hr",),
        dry_run=dry_run,
    )  # fmt: skip
    return bring_along(report, tmp_path / "library", library=library, embedder=fake_embedder(), settings=settings)


def test_a_smaller_chunk_size_gives_what_a_fresh_sync_would(tmp_path: Path, library: Library) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/short.md").write_text("# Leave\n\nTwenty days.\n")
    (tmp_path / "files/long.md").write_text("# Pay\n\n" + "\n\n".join(f"Rule {n} says so and so." for n in range(60)))
    brought(tmp_path, library, Ingest())
    before = library.version()
    would = brought(tmp_path, library, SMALL, dry_run=True)
    assert library.version() == before
    assert "would be split anew" in would.notes[-1]
    (tmp_path / "files/long.md").touch()
    report = brought(tmp_path, library, SMALL)
    assert (report.added, report.changed, report.unchanged) == (0, 0, 2)
    assert report.notes == ("1 document was split anew, into chunks of 40 tokens",)
    assert report.library_version == library.version() == before + 1
    again = brought(tmp_path, library, SMALL)
    assert (again.chunks, again.library_version, again.notes) == (0, before + 1, ())
    fresh = opened(tmp_path / "fresh")
    sync([str(tmp_path / "files")], library=fresh, embedder=fake_embedder(), settings=SMALL, acl=("hr",))
    assert state_of(fresh) == state_of(library)
    fresh.close()


def test_a_library_from_before_the_record_is_looked_through_once(tmp_path: Path, library: Library) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.md").write_text("word " * 300)
    sync([str(tmp_path / "files")], library=library, embedder=fake_embedder(), settings=Ingest(), acl=("hr",))
    report = brought(tmp_path, library, SMALL)
    assert "1 document was split anew" in report.notes[-1]
    assert (tmp_path / "library" / FILE).exists()


def test_a_torn_record_only_costs_a_look(tmp_path: Path, library: Library) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.md").write_text("word " * 300)
    brought(tmp_path, library, SMALL)
    version = library.version()
    (tmp_path / "library" / FILE).write_text("{")
    assert brought(tmp_path, library, SMALL).library_version == version


def test_tuning_waits_for_the_sync_that_splits_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "cache"))
    tiny_models.write_bert(tmp_path / "model")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.md").write_text("The company pays sick days. " * 20)
    Workspace.init(tmp_path / "desk", model="extractive", embedder=str(tmp_path / "model"))
    change(tmp_path / "desk/openbook.toml", {"ingest.chunk_tokens": 40, "ingest.overlap_tokens": 5}, why="test")
    with Workspace.open(tmp_path / "desk") as desk:
        desk.sync([tmp_path / "files"])
        with pytest.raises(OpenbookError, match="not enough data"):
            desk.tune([Case("Who pays?", ("The company",))])
    change(tmp_path / "desk/openbook.toml", {"ingest.chunk_tokens": 32}, why="test")
    with (
        Workspace.open(tmp_path / "desk") as desk,
        pytest.raises(OpenbookError, match=r"by chunk_tokens = 40, .* say chunk_tokens = 32, .* openbook sync"),
    ):
        desk.tune([Case("Who pays?", ("The company",))])
