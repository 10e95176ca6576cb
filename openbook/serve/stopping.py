"""A uvicorn server that ends the answers in flight before it closes its doors, and tells who comes meanwhile to wait.

Told to stop, it lets nobody in line for an answer (503 with Retry-After), ends what follows jobs, and
stops listening when the last answer has ended or serve.shutdown_seconds are over. Told twice, it stops at once.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from types import FrameType

import uvicorn

from openbook.serve.state import Server


class Stoppable(uvicorn.Server):
    """Serves one Server."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._server = server
        self._told = False
        self._until = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; called by a signal, so the loop does the rest at its next tick."""
        if self._told or not self.started:
            self.force_exit = self._told
            if self._told:  # what is broken off by that is no fault to be traced
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            super().handle_exit(sig, frame)
        else:
            self._captured_signals.append(sig)
            self._told = True
        # Raised again by uvicorn at the end, SIGTERM would kill this process before it has put its things away.
        self._captured_signals[:] = [one for one in self._captured_signals if one != signal.SIGTERM]

    async def on_tick(self, counter: int) -> bool:
        """Every tenth of a second: whether to close the doors."""
        if self._told and not self._until:
            self._until = time.monotonic() + self._server.workspace.settings.serve.shutdown_seconds
            if self._server.admission.running and sys.stderr.isatty():
                sys.stderr.write("answers in flight are ended first; press Ctrl-C again to stop at once\n")
            self._server.admission.stop()
            self._server.jobs.part()
        if self._until:
            left = self._until - time.monotonic()
            # What is still open then, such as an upload, has what is left of the seconds.
            self.config.timeout_graceful_shutdown = max(1, int(left))
            self.should_exit = self.should_exit or left <= 0 or not self._server.admission.running
        return await super().on_tick(counter)
