"""What happens in a server, counted for Prometheus. Labels are routes, arms, steps and states, no names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import sqlalchemy as sa

from openbook.records import Answer, Arm
from openbook.serve.store import JOBS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from openbook.serve.access import Caller
    from openbook.serve.state import Server

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STEP = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_STATES = ("queued", "running", "paused", "succeeded", "failed", "cancelled")


class Meters:
    """The counters of one server; every method may be called from any thread."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = CollectorRegistry()
        self._requests = Counter(
            "openbook_requests", "Requests by route and status.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "openbook_request_seconds",
            "Until a request's last byte.",
            ("route",),
            buckets=_REQUEST,
            registry=self.registry,
        )
        self._answers = Counter(
            "openbook_answers", "Answers by arm: answered, abstained, failed or cancelled.", ("arm", "outcome"),
            registry=self.registry,
        )  # fmt: skip
        self._steps = Histogram(
            "openbook_answer_seconds", "Seconds of an answer by step: retrieve, prefill, decode, total.", ("step",),
            buckets=_STEP, registry=self.registry,
        )  # fmt: skip
        self._tokens = Counter(
            "openbook_tokens", "Tokens read (prompt) and written (answer).", ("kind",), registry=self.registry
        )

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. `route` is a template: "/api/jobs/{job}"."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, arm: Arm, answer: Answer | None, *, failed: bool = False) -> None:
        """Count an answer; None is one that failed, or whose asker went away."""
        if answer is None:
            self._answers.labels(arm, "failed" if failed else "cancelled").inc()
            return
        self._answers.labels(arm, "abstained" if answer.abstained else "answered").inc()
        for step in ("retrieve", "prefill", "decode", "total"):
            self._steps.labels(step).observe(getattr(answer.seconds, step))
        self._tokens.labels("prompt").inc(answer.prompt_tokens)
        self._tokens.labels("answer").inc(answer.answer_tokens)

    def text(self, server: Server, who: Caller) -> bytes:
        """Everything in Prometheus' text format; documents and chunks are those the caller may see."""
        from prometheus_client import CollectorRegistry, Gauge, generate_latest

        now = CollectorRegistry()
        infos = [info for info in server.infos() if who.sees(info)]
        Gauge("openbook_documents", "Documents in the library.", registry=now).set(len(infos))
        Gauge("openbook_chunks", "Chunks in the library.", registry=now).set(sum(info.chunks for info in infos))
        Gauge("openbook_answers_running", "Answers being written.", registry=now).set(server.admission.running)
        Gauge("openbook_answers_waiting", "Questions in line.", registry=now).set(server.admission.waiting)
        jobs = Gauge("openbook_jobs", "Jobs by state.", ("state",), registry=now)
        with server.store.connect() as db:
            rows = db.execute(sa.select(JOBS.c.state, sa.func.count()).group_by(JOBS.c.state))
            counted = {row[0]: row[1] for row in rows}
        for state in _STATES:
            jobs.labels(state).set(counted.get(state, 0))
        return generate_latest(self.registry) + generate_latest(now)


class Watch:
    """ASGI middleware: counts each request and, where traces are sent, gives it a span its answer's spans hang on."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self._app, self._server = app, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._server.traces.request(scope) as span:
            try:
                await self._app(scope, receive, watched)
            finally:
                route = route_of(scope)
                self._server.meters.requested(scope["method"], route, status, time.perf_counter() - began)
                span.ended(route, status)


def route_of(scope: Scope) -> str:
    """The template of the route that took a request; "unmatched" when none did."""
    path = getattr(scope.get("route"), "path", None)
    if path is None and scope.get("endpoint") is not None:
        path = scope.get("root_path")
    return str(path) if path else "unmatched"
