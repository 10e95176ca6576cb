"""Jobs outlive their request, their server and a kill; events say what happened; each is its maker's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from openbook.errors import ModelError
from openbook.serve import jobs as serving
from openbook.serve.access import OPEN, Caller
from openbook.serve.errors import Refused
from openbook.serve.jobs import FINAL, Job, Jobs, Stopped, Wish
from openbook.serve.store import JOBS, open_store

ANN = Caller("key-ann", "ann", frozenset({"train"}))
BOB = replace(ANN, id="key-bob", name="bob")

Say = Callable[[dict[str, Any]], None]


class Counting:
    """Counts to ten, goes on where it was, and stops when that is wished."""

    def __init__(self) -> None:
        self.at: dict[str, int] = {}
        self.go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.dropped: list[str] = []
        self.most = 0
        self._now = 0

    def __call__(self, job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            self.begun.release()
            for step in range(self.at.get(job.id, 0), 10):
                while not self.go.acquire(timeout=0.01):
                    if wish():
                        raise Stopped
                self.at[job.id] = step + 1
                say({"step": "count", "done": step + 1, "total": 10})
            return {"counted": self.at[job.id]}
        finally:
            self._now -= 1

    def drop(self, job: Job) -> None:
        self.dropped.append(job.id)

    def steps(self, count: int) -> None:
        self.go.release(count)


def made(folder: Path, work: Counting, *kinds: str) -> Jobs:
    jobs = Jobs(open_store(folder / "server.db"))
    for kind in kinds or ("train",):
        jobs.handle(kind, work, drop=work.drop)
    return jobs


def reaches(jobs: Jobs, name: str, *states: str) -> Job:
    until = time.monotonic() + 60
    while (job := jobs.get(name, OPEN)).state not in states:
        assert time.monotonic() < until, job
        time.sleep(0.01)
    return job


def counted(work: Counting, name: str, least: int) -> None:
    until = time.monotonic() + 60
    while work.at.get(name, 0) < least:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_job_says_what_happens_to_it_and_ends_with_a_result(tmp_path: Path) -> None:
    work = Counting()
    jobs = made(tmp_path, work)
    jobs.start()
    job = jobs.submit("train", {"name": "tone"}, ANN)
    work.steps(10)
    done = reaches(jobs, job.id, "succeeded")
    assert done.result == {"counted": 10}
    assert done.json()["args"] == {"name": "tone"}
    events = [event for _, _, event in jobs.events(job.id, ANN)]
    assert events == [
        {"state": "queued"},
        {"state": "running"},
        {"step": "count", "done": 10, "total": 10},
        {"state": "succeeded", "result": {"counted": 10}},
    ]
    numbers = [number for number, _, _ in jobs.events(job.id, ANN)]
    assert numbers == sorted(set(numbers))
    assert jobs.events(job.id, ANN, after=numbers[1])[0][2]["done"] == 10
    jobs.stop()


def test_progress_that_replaces_progress_has_a_number_nobody_has_seen(tmp_path: Path) -> None:
    work = Counting()
    jobs = made(tmp_path, work)
    jobs.start()
    job = jobs.submit("train", {}, ANN)
    seen: set[int] = set()
    for step in range(1, 6):
        work.steps(1)
        counted(work, job.id, step)
        until = time.monotonic() + 60
        while not (new := {n for n, _, e in jobs.events(job.id, ANN) if e.get("done") == step}):
            assert time.monotonic() < until
        assert seen.isdisjoint(new)
        seen |= new
    jobs.cancel(job.id, ANN)
    jobs.stop()


def test_one_job_of_a_kind_runs_at_a_time_and_uploads_wait_for_syncs(tmp_path: Path) -> None:
    work = Counting()
    jobs = made(tmp_path, work, "sync", "upload")
    jobs.start()
    some = [jobs.submit(kind, {}, ANN) for kind in ("sync", "upload", "sync")]
    work.steps(30)
    for job in some:
        reaches(jobs, job.id, "succeeded")
    assert work.most == 1
    jobs.stop()


def test_a_paused_job_goes_on_where_it_was(tmp_path: Path) -> None:
    work = Counting()
    jobs = made(tmp_path, work)
    jobs.start()
    job = jobs.submit("train", {}, ANN)
    work.steps(4)
    counted(work, job.id, 4)
    jobs.pause(job.id, ANN)
    reaches(jobs, job.id, "paused")
    with pytest.raises(Refused) as refused:
        jobs.pause(job.id, ANN)
    assert refused.value.status == 409
    jobs.resume(job.id, ANN)
    work.steps(6)
    assert reaches(jobs, job.id, "succeeded").result == {"counted": 10}
    assert work.dropped == []
    jobs.stop()


def test_a_cancelled_job_is_dropped_running_queued_or_paused(tmp_path: Path) -> None:
    work = Counting()
    jobs = made(tmp_path, work)
    jobs.start()
    running, paused, queued = (jobs.submit("train", {"n": n}, ANN) for n in range(3))
    jobs.pause(paused.id, ANN)
    for job in (queued, paused, running):
        jobs.cancel(job.id, ANN)
        reaches(jobs, job.id, "cancelled")
    assert set(work.dropped) == {running.id, paused.id, queued.id}
    with pytest.raises(Refused) as refused:
        jobs.cancel(running.id, ANN)
    assert refused.value.status == 409
    jobs.stop()


def test_a_stopped_server_leaves_jobs_that_the_next_one_ends(tmp_path: Path) -> None:
    work = Counting()
    jobs = made(tmp_path, work)
    jobs.start()
    job = jobs.submit("train", {}, ANN)
    work.steps(3)
    counted(work, job.id, 3)
    jobs.stop()
    assert jobs.get(job.id, ANN).state == "queued"
    again = made(tmp_path, work)
    again.start()
    work.steps(7)
    done = reaches(again, job.id, "succeeded")
    assert done.result == {"counted": 10}
    assert done.caller == ANN
    again.stop()


@pytest.mark.parametrize(("wish", "state"), [("", "queued"), ("pause", "paused"), ("cancel", "cancelled")])
def test_what_was_wished_for_counts_although_the_server_was_killed(tmp_path: Path, wish: str, state: str) -> None:
    """A killed server leaves a row that says running, and what its maker had asked for."""
    store = open_store(tmp_path / "server.db")
    work = Counting()
    job = made(tmp_path, work).submit("train", {}, ANN)
    with store.begin() as db:
        db.execute(sa.update(JOBS).values(state="running", wish=wish))
    again = Jobs(store)
    again.handle("other", work, drop=work.drop)  # nobody works on it, so that its state stays
    again.start()
    assert again.get(job.id, ANN).state == state
    again.stop()


def test_a_fault_of_a_handler_ends_its_job_and_not_its_lane(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(job: Job, say: Say, wish: Callable[[], Wish]) -> dict[str, Any]:
        if job.args["how"] == "known":
            raise ModelError("the model is gone")
        raise ZeroDivisionError

    jobs = Jobs(open_store(tmp_path / "server.db"))
    jobs.handle("train", broken)
    jobs.start()
    known, unknown = (jobs.submit("train", {"how": how}, ANN) for how in ("known", "odd"))
    assert reaches(jobs, known.id, "failed").error == "the model is gone"
    assert "ZeroDivisionError" in reaches(jobs, unknown.id, "failed").error
    assert "Traceback" in caplog.text
    jobs.stop()


def test_a_job_is_nobodys_but_its_makers_and_an_admins(tmp_path: Path) -> None:
    jobs = made(tmp_path, Counting())
    job = jobs.submit("train", {}, ANN)
    for ask in (jobs.get, jobs.cancel, jobs.pause, jobs.resume, jobs.events):
        with pytest.raises(Refused) as hidden:
            ask(job.id, BOB)
        with pytest.raises(Refused) as absent:
            ask("job-0", BOB)
        assert (hidden.value.status, hidden.value.message.replace(job.id, "job-0")) == (404, absent.value.message)
    assert jobs.list(BOB) == []
    admin = replace(BOB, scopes=frozenset({"admin"}))
    assert [one.id for one in jobs.list(admin, kind="train", state="queued")] == [job.id]
    assert jobs.list(ANN, kind="sync") == []
    with pytest.raises(Refused, match="no kind"):
        jobs.submit("dance", {}, ANN)


def test_followers_hear_everything_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BEAT", 0.05)
    work = Counting()
    jobs = made(tmp_path, work)
    jobs.start()
    job = jobs.submit("train", {}, ANN)

    async def follow() -> list[dict[str, Any]]:
        heard = []
        async for _, _, event in jobs.follow(job.id, ANN):
            heard.append(event)
            if event == {}:
                work.steps(10)
        return heard

    heard = anyio.run(follow)
    assert {} in heard, "a quiet job must be heard to be alive"
    assert heard[-1] == {"state": "succeeded", "result": {"counted": 10}}
    assert jobs.get(job.id, ANN).state in FINAL
    jobs.stop()


def test_followers_are_let_go_when_the_server_parts(tmp_path: Path) -> None:
    jobs = made(tmp_path, Counting())
    job = jobs.submit("train", {}, ANN)

    async def follow() -> int:
        heard = 0
        async for _ in jobs.follow(job.id, ANN):
            heard += 1
            await anyio.to_thread.run_sync(jobs.part)
        return heard

    assert anyio.run(follow) == 1
