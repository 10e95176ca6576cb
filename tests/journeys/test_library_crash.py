"""Kill -9 at any moment leaves a whole version: the one before the commit or the one after."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest

from tests.contracts.library_data import opened
from tests.journeys import library_crasher


@pytest.mark.parametrize(
    ("kills", "seed"),
    [
        pytest.param(60, 1, id="60 kills"),
        pytest.param(200, 2, id="200 kills", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_killed_commit_leaves_the_old_or_the_new_version_whole(tmp_path: Path, kills: int, seed: int) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.journeys.library_crasher", "openbook.library.edge", "qdrant_edge", "numpy"])
    rng = random.Random(seed)
    progress = []
    for kill in range(kills):
        crasher = context.Process(target=library_crasher.run, args=(tmp_path, kill + seed * 1_000))
        crasher.start()
        time.sleep(rng.uniform(0.05, 0.8))
        assert crasher.is_alive(), f"kill {kill}: the process ended by itself"
        crasher.kill()
        crasher.join()
        library = opened(tmp_path / "library")
        try:
            library_crasher.check(library, tmp_path)
            progress.append(library.version())
            library_crasher.repair(library, tmp_path, rng)
        finally:
            library.close()
    assert progress[-1] > kills / 2, "hardly a commit got through: the kills came too early to test anything"
