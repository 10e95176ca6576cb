"""Run as a child process: `python -m openbook.library.build SHARD_FOLDER` builds the shard's search graph in place."""

from __future__ import annotations

import contextlib
import os
import sys


def main(path: str) -> None:
    """Optimize the shard in the folder `path`; searches of the parent come first."""
    import qdrant_edge as edge

    with contextlib.suppress(AttributeError, OSError):
        os.nice(10)
    shard = edge.EdgeShard.load(path)
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main(sys.argv[1])
