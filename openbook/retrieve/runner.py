"""A compiled OpenVINO graph and its inputs in, outputs out, on all cores. Knows no texts.

Threads with a request each, not openvino.AsyncInferQueue: in OpenVINO 2026.4 that queue corrupts memory under batches
of changing shape (docs/decisions/0013).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ids = npt.NDArray[np.int64]
    Output = npt.NDArray[np.float32]


class Runner:
    """Runs one graph; thread-safe."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(
            max_workers=int(graph.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")), thread_name_prefix="openbook-infer"
        )
        # The binding's first inference sets up statics while waiting for the interpreter lock: two threads that begin
        # together can wait for each other for ever. So the first one runs here, alone.
        self.one({node.get_any_name(): np.ones((1, 2), dtype=np.int64) for node in graph.inputs})

    def one(self, feed: dict[str, Ids]) -> Output:
        """The first output for one batch, on the calling thread: a question never waits for a sync."""
        if not hasattr(self._local, "request"):
            self._local.request = self._graph.create_infer_request()
        return np.array(self._local.request.infer(feed, share_inputs=True)[0], dtype=np.float32)

    def each(self, feeds: Iterable[dict[str, Ids]]) -> Iterator[Output]:
        """The first output for each batch, in order, computed side by side."""
        return self._pool.map(self.one, feeds)
