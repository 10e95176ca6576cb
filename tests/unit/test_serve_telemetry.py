"""What a server counts and traces: Prometheus' text, and spans as a collector on the loopback receives them."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from tests.serving import desk, running

QUESTION = "How many paid vacation days do colleagues get?"


@dataclass
class Collector:
    """An OTLP collector: what it was sent, decoded."""

    address: str
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)

    def named(self, start: str) -> Span:
        return next(one for one in self.spans if one.name.startswith(start))


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            for part in ExportTraceServiceRequest.FromString(body).resource_spans:
                found.resources.append({one.key: one.value.string_value for one in part.resource.attributes})
                for scope in part.scope_spans:
                    found.spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        server.shutdown()
        thread.join(10)


def attributes(span: Span) -> dict[str, object]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


def test_an_answer_is_traced_as_retrieval_prompt_and_generation(tmp_path: Path, collector: Collector) -> None:
    workspace = desk(tmp_path, toml=f'[serve]\ntraces = "{collector.address}"\n')
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=60) as http:
        said = http.post("/api/ask", json={"question": QUESTION}, headers={"traceparent": parent}).json()
        http.post("/api/search", json={"question": QUESTION})
    workspace.close()
    request = collector.named("POST /api/ask")
    assert request.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    whole = collector.named("invoke_workflow rag")
    assert whole.parent_span_id == request.span_id
    steps = [one for one in collector.spans if one.parent_span_id == whole.span_id]
    assert [one.name.split()[0] for one in sorted(steps, key=lambda one: one.start_time_unix_nano)] == [
        "retrieval",
        "prompt",
        "chat",
    ]
    for step in steps:
        assert whole.start_time_unix_nano <= step.start_time_unix_nano <= step.end_time_unix_nano
        assert step.end_time_unix_nano <= whole.end_time_unix_nano
    chat = attributes(collector.named("chat"))
    assert chat["gen_ai.operation.name"] == "chat"
    assert chat["gen_ai.request.model"] == said["model"]
    assert (chat["gen_ai.usage.input_tokens"], chat["gen_ai.usage.output_tokens"]) == tuple(said["tokens"].values())
    assert attributes(collector.named("retrieval"))["gen_ai.data_source.id"] == "library"
    assert collector.resources[0]["service.name"] == "openbook"


def test_no_question_answer_or_document_name_is_in_a_trace(tmp_path: Path, collector: Collector) -> None:
    workspace = desk(tmp_path, toml=f'[serve]\ntraces = "{collector.address}"\n')
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=60) as http:
        http.post("/api/ask", json={"question": QUESTION})
        http.get("/api/document/text", params={"name": "Vacation.md"})
    workspace.close()
    told = " ".join(str(one) for one in collector.spans)
    assert "acation" not in told
    assert "/api/document/text" in told


def test_a_failed_answer_is_traced_as_an_error(tmp_path: Path, collector: Collector) -> None:
    workspace = desk(tmp_path, toml=f'[serve]\ntraces = "{collector.address}"\n[answer]\nmax_tokens = 100000000\n')
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=60) as http:
        assert http.post("/api/ask", json={"question": QUESTION}).status_code == 400
    workspace.close()
    span = collector.named("invoke_workflow")
    assert (attributes(span)["error.type"], span.status.code) == ("PromptTooLong", 2)


def test_a_collector_that_is_away_harms_no_answer_and_keeps_no_server_from_its_end(tmp_path: Path) -> None:
    workspace = desk(tmp_path, toml='[serve]\ntraces = "http://127.0.0.1:9"\n')
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=60) as http:
        assert http.post("/api/ask", json={"question": QUESTION}).status_code == 200
        began = time.monotonic()
    assert time.monotonic() - began < 5
    workspace.close()


def test_requests_answers_and_tokens_are_counted(tmp_path: Path) -> None:
    workspace = desk(tmp_path)
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=60) as http:
        said = http.post("/api/ask", json={"question": QUESTION}).json()
        http.post("/api/ask", json={"question": "Who won the chess championship on the moon?"})
        http.get("/api/document", params={"name": "absent"})
        http.get("/no/such/secret-path")
        answer = http.get("/metrics")
    workspace.close()
    found = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["openbook_requests_total", "POST", "/api/ask", "200"] == 2
    assert found["openbook_requests_total", "GET", "/api/document", "404"] == 1
    assert found["openbook_requests_total", "GET", "unmatched", "404"] == 1
    assert found["openbook_answers_total", "rag", "answered"] >= 1
    assert found["openbook_tokens_total", "answer"] >= said["tokens"]["answer"]
    assert found["openbook_answer_seconds_count", "retrieve"] == 2
    assert found["openbook_documents",] == 4
    assert found["openbook_answers_waiting",] == 0
    assert "secret-path" not in answer.text


def test_liveness_and_readiness_tell_nothing_but_themselves(tmp_path: Path) -> None:
    workspace = desk(tmp_path)
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=60) as http:
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/readyz").json() == {"status": "ok"}
    workspace.close()
