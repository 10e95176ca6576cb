"""What the whole suite needs of its process."""

from __future__ import annotations

import os
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background so, and journeys that press Ctrl-C would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    # Each worker and its children keep to cores of their own: threads of models that spin for the same ones crawl.
    cores, many = sorted(os.sched_getaffinity(0)), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    if len(cores) >= many:
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) :: many])
