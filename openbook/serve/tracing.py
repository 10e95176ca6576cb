"""Requests and answers as OpenTelemetry spans, sent to a collector over OTLP; nothing unless serve.traces is set.

Attributes follow the semantic conventions for generative AI. No question, prompt, passage or name of a document is in
them: traces leave the machine.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from openbook import provenance
from openbook.records import Answer

if TYPE_CHECKING:
    from starlette.types import Scope

    from openbook.serve.asking import Question

Value = str | int | float | bool
_SECOND = 1_000_000_000
_QUIET = "opentelemetry"
_LEFT = 2.0
"""Seconds in which the last spans of a server that stops can be sent."""


class RequestSpan(Protocol):
    """The span of a request."""

    def ended(self, route: str, status: int) -> None:
        """Say how it ended."""


class _None:
    def ended(self, route: str, status: int) -> None:
        """Nothing to say it to."""


class Traces:
    """The spans of one server. Every method may be called from any thread."""

    def __init__(self, address: str, *, headers: Mapping[str, str] = {}) -> None:
        """`address` is a collector's ("http://localhost:4318"); "" sends nothing. Raises MissingExtra."""
        self._provider: Any = None
        self._tracer: Any = None
        if not address:
            return
        from openbook.extras import need

        need("opentelemetry.sdk", extra="traces", purpose="traces")
        need("opentelemetry.exporter.otlp.proto.http", extra="traces", purpose="traces")
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # A collector that is away is no fault of an answer; one warning a minute from the exporter is enough.
        logging.getLogger(_QUIET).setLevel(logging.ERROR)
        place = address.rstrip("/")
        self._exporter = OTLPSpanExporter(
            place if place.endswith("/v1/traces") else f"{place}/v1/traces", headers=dict(headers), timeout=10
        )
        resource = Resource.create({"service.name": "openbook", "service.version": provenance.version()})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("openbook", provenance.version())

    @property
    def on(self) -> bool:
        """Whether anything is sent."""
        return self._tracer is not None

    @contextlib.contextmanager
    def span(self, name: str, **attributes: Value) -> Iterator[None]:
        """A span around what is done here; "__" in an attribute's name stands for a dot."""
        if self._tracer is None:
            yield
            return
        with self._tracer.start_as_current_span(name, attributes=_dotted(attributes)):
            yield

    @contextlib.contextmanager
    def request(self, scope: Scope) -> Iterator[RequestSpan]:
        """The span of an HTTP request; it joins the trace that a `traceparent` header names."""
        if self._tracer is None:
            yield _None()
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carried = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        parent = TraceContextTextMapPropagator().extract(carried)
        attributes = {"http.request.method": scope["method"], "url.scheme": scope.get("scheme", "http")}
        with self._tracer.start_as_current_span(
            scope["method"], context=parent, kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            yield _Open(span, scope["method"])

    def answered(
        self, question: Question, answer: Answer | None, *, began: int, error: BaseException | None = None
    ) -> None:
        """The spans of an answer that has just ended: retrieval, prompt and generation, by the times it reports.

        `began` is time.time_ns() of its beginning; `answer` is None when it failed or was given up.
        """
        if self._tracer is None:
            return
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        ended = time.time_ns()
        whole = self._tracer.start_span(
            f"invoke_workflow {question.arm}", start_time=began, attributes=_asked(question)
        )
        if answer is None:
            if error is not None:
                whole.set_attribute("error.type", type(error).__qualname__)
                whole.set_status(Status(StatusCode.ERROR))
            else:
                whole.set_attribute("openbook.cancelled", True)
            whole.end(ended)
            return
        whole.set_attributes(
            {
                "openbook.abstained": answer.abstained,
                "openbook.citations": len(answer.citations),
                "openbook.sentences": len(answer.sentences),
                "openbook.supported": sum(one.supported for one in answer.sentences),
                "openbook.library_version": answer.library_version,
            }
        )
        inside, seconds = set_span_in_context(whole), answer.seconds
        at = began
        if question.arm not in ("base", "tuned"):
            at = self._part(
                "retrieval library",
                at,
                seconds.retrieve,
                inside,
                {
                    "gen_ai.operation.name": "retrieval",
                    "gen_ai.data_source.id": "library",
                    "openbook.hits": len(answer.hits),
                },
            )
        if answer.model:
            wrote = seconds.prefill + seconds.decode
            rendering = max(0.0, seconds.total - seconds.retrieve - wrote)
            at = self._part(
                "prompt",
                at,
                rendering,
                inside,
                {"openbook.prompt.tokens": answer.prompt_tokens, "openbook.passages": len(answer.hits)},
            )
            self._part(f"chat {answer.model}", at, wrote, inside, _wrote(question, answer))
        whole.end(max(ended, at))

    def close(self) -> None:
        """Send what is left, for at most a few seconds."""
        if self._provider is not None:
            # The exporter tries a collector that is away again and again, and takes no limit; giving it up ends that.
            giving_up = threading.Timer(_LEFT, self._exporter.shutdown)
            giving_up.start()
            self._provider.force_flush()
            giving_up.cancel()
            self._provider.shutdown()

    def _part(self, name: str, at: int, seconds: float, inside: Any, attributes: Mapping[str, Value]) -> int:
        end = at + int(seconds * _SECOND)
        self._tracer.start_span(name, context=inside, start_time=at, attributes=dict(attributes)).end(end)
        return end


class _Open:
    def __init__(self, span: Any, method: str) -> None:
        self._span, self._method = span, method

    def ended(self, route: str, status: int) -> None:
        """See RequestSpan."""
        from opentelemetry.trace import Status, StatusCode

        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))


def _asked(question: Question) -> dict[str, Value]:
    return {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": question.arm,
        **({"openbook.adapter": question.adapter} if question.adapter else {}),
    }


def _wrote(question: Question, answer: Answer) -> dict[str, Value]:
    given = {
        "gen_ai.request.max_tokens": question.max_tokens,
        "gen_ai.request.temperature": question.temperature,
        "gen_ai.request.seed": question.seed,
    }
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openbook",
        "gen_ai.request.model": answer.model,
        "gen_ai.response.model": answer.adapter or answer.model,
        "gen_ai.usage.input_tokens": answer.prompt_tokens,
        "gen_ai.usage.output_tokens": answer.answer_tokens,
        "gen_ai.response.time_to_first_chunk": answer.seconds.prefill,
        **{key: value for key, value in given.items() if value is not None},
    }


def _dotted(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {key.replace("__", "."): value for key, value in attributes.items()}
