"""Kill -9 at any moment of a migration leaves the library whole, under the old embedder or the new one."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest

from openbook.library import standing
from openbook.settings import LibrarySettings
from tests.journeys import migration_crasher


@pytest.mark.parametrize(
    ("kills", "seed"),
    [
        pytest.param(8, 1, id="8 kills"),
        pytest.param(100, 2, id="100 kills", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_killed_migration_leaves_the_old_or_the_new_embedder_whole(tmp_path: Path, kills: int, seed: int) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.journeys.migration_crasher", "openbook.library.edge", "qdrant_edge"])
    rng = random.Random(seed)
    used: list[int] = []
    longest = 1.0
    for kill in range(kills):
        crasher = context.Process(target=migration_crasher.run, args=(tmp_path, kill + seed * 1_000))
        crasher.start()
        time.sleep(rng.uniform(0.2, 1.0) * longest)
        assert crasher.is_alive(), f"kill {kill}: the process ended by itself"
        crasher.kill()
        crasher.join()
        library = migration_crasher.reopened(tmp_path / "library")
        try:
            migration_crasher.check(library, tmp_path)
            used.append(library.made.generation)
            if used[-3:] == used[-1:] * 3:  # a slow machine: nothing gets through before the kill
                longest = min(20.0, 1.5 * longest)
        finally:
            library.close()
        found = standing(tmp_path / "library", settings=LibrarySettings())
        assert found is not None
        known = {one.generation for one in (found.current, found.previous, found.coming) if one is not None}
        assert len(list((tmp_path / "library").glob("index*"))) <= len(known)
    assert len(set(used)) > 1, "no migration got through: the kills came too early to test anything"
