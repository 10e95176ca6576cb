"""An open stream of events ends soon after the right to it: over a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from openbook.records import Message
from openbook.serve import gate, keys, sessions
from openbook.serve.access import COOKIE, Caller, of_key
from openbook.serve.state import Server
from openbook.serve.store import EVENTS, JOBS
from tests.serving import desk, first_sentence, running

LATEST = gate.RECHECK + 8  # a busy machine; without the check a stream stays open as long as its job


def paused(server: Server, who: Caller) -> str:
    """The address of the events of a job that neither goes on nor ends."""
    row = {"id": f"job-{who.id}", "kind": "sync", "owner": who.id, "caller": who.json(), "args": {}, "state": "paused"}
    with server.store.begin() as db:
        db.execute(sa.insert(JOBS).values(**row, error="", wish="", created=1.0))
        db.execute(sa.insert(EVENTS).values(job=row["id"], at=1.0, event={"state": "paused"}))
    return f"/api/jobs/{row['id']}/events"


def seconds_until_the_end(stream: httpx2.Response, then: Callable[[], object]) -> float:
    """Do something at a stream's first bytes; how long it goes on after that."""
    assert stream.status_code == 200
    parts = stream.iter_raw()
    next(parts)
    then()
    since = time.monotonic()
    for _ in parts:
        pass
    return time.monotonic() - since


def test_what_a_job_says_is_not_heard_with_a_revoked_key_or_after_the_logout(tmp_path: Path) -> None:
    workspace = desk(tmp_path / "w")
    server = Server(workspace)
    key, secret = keys.create(server.store, "one", ["write"], ["staff"])
    other, secret_of_other = keys.create(server.store, "two", ["write"], ["staff"])
    events, events_of_other = paused(server, of_key(key)), paused(server, of_key(other))
    cookie = sessions.begin(server.store, of_key(other).json())
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=LATEST) as http:
        with (
            http.stream("GET", events, headers={"Authorization": f"Bearer {secret}"}) as first,
            http.stream("GET", events_of_other, headers={"Cookie": f"{COOKIE}={cookie}"}) as second,
            http.stream("GET", events_of_other, headers={"Authorization": f"Bearer {secret_of_other}"}) as third,
        ):
            assert seconds_until_the_end(first, lambda: keys.revoke(server.store, key.id)) < LATEST
            assert seconds_until_the_end(second, lambda: sessions.end(server.store, cookie)) < LATEST
            assert seconds_until_the_end(third, lambda: keys.revoke(server.store, other.id)) < LATEST
        assert http.get("/healthz").status_code == 200
    workspace.close()


def test_an_answer_that_is_being_written_ends_with_its_key(tmp_path: Path) -> None:
    written = threading.Event()

    def slowly(messages: Sequence[Message]) -> str:
        written.wait(LATEST * 2)
        return first_sentence(messages)

    workspace = desk(tmp_path / "w", script=slowly)
    server = Server(workspace)
    key, secret = keys.create(server.store, "one", ["ask"], ["staff"])
    order = {"model": "rag", "stream": True, "messages": [{"role": "user", "content": "How many vacation days?"}]}
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=LATEST) as http:
        headers = {"Authorization": f"Bearer {secret}"}
        with http.stream("POST", "/v1/chat/completions", json=order, headers=headers) as stream:

            def revoked() -> None:
                keys.revoke(server.store, key.id)

            assert seconds_until_the_end(stream, revoked) < LATEST
        written.set()
    workspace.close()
