"""A server with a real model: it loads the model by itself, and told to stop it ends what it is writing."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx2
import pytest

from openbook.workspace import Workspace
from tests.serving import Process

pytestmark = pytest.mark.model


def test_the_model_loads_before_anyone_asks_and_sigterm_ends_the_answer_refuses_the_next_and_leaves_with_0(
    tmp_path: Path,
) -> None:
    Workspace.init(tmp_path).close()
    with Process(tmp_path) as served, httpx2.Client(base_url=served.url, timeout=60) as client:
        until = time.monotonic() + 90
        while (ready := client.get("/readyz")).status_code != 200:
            assert ready.json() == {"status": "starting"}
            assert time.monotonic() < until
            time.sleep(0.1)

        order = {"question": "Tell me a long story about a river.", "model": "base"}
        pieces: list[str] = []
        writing = threading.Event()

        def ask() -> None:
            with httpx2.stream("POST", f"{served.url}/api/ask", json={**order, "stream": True}, timeout=120) as reply:
                for line in reply.iter_lines():
                    pieces.append(line)
                    if line.startswith("event: piece"):
                        writing.set()

        asker = threading.Thread(target=ask)
        asker.start()
        assert writing.wait(60)
        served.child.send_signal(signal.SIGTERM)
        refused = client.get("/readyz")
        while refused.json()["status"] != "stopping":
            refused = client.get("/readyz")
        late = client.post("/api/ask", json=order)
        assert late.status_code == 503
        assert int(late.headers["Retry-After"]) >= 1
        asker.join(60)
        assert any(line.startswith("event: answer") for line in pieces)
        assert not any(line.startswith("event: error") for line in pieces)
        assert served.child.wait(30) == 0
        served.stop()


def test_a_second_ctrl_c_breaks_off_what_is_being_written_without_a_trace(tmp_path: Path) -> None:
    Workspace.init(tmp_path).close()
    with Process(tmp_path) as served:
        order = {"question": "Tell me a long story about a river.", "model": "base", "stream": True}
        with httpx2.stream("POST", f"{served.url}/api/ask", json=order, timeout=120) as reply:
            lines = reply.iter_lines()  # to drop it would close the connection, and end the answer
            while not next(lines).startswith("event: piece"):
                pass
            served.child.send_signal(signal.SIGINT)
            time.sleep(0.3)  # two at once are one signal
            assert served.child.poll() is None
            served.child.send_signal(signal.SIGINT)
            assert served.child.wait(60) == 130
    assert served.child.stderr is not None
    assert served.child.stderr.read().split("\n")[1:] == ["", "stopped", ""]
    served.child.stderr.close()
