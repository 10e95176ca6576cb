"""What the native API gives of jobs, trainings, comparisons and reviews: words of its page. Knows no server."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class JobInfo(BaseModel):
    """Long work that goes on by itself."""

    id: str = Field(examples=["job-3f9a"])
    kind: str = Field(description="sync, upload, preflight, train or compare.", examples=["sync"])
    state: str = Field(description="queued, running, paused, succeeded, failed or cancelled.", examples=["running"])
    args: dict[str, Any] = Field(description="What was ordered; empty for an admin who sees less than its maker.")
    result: dict[str, Any] | None = Field(description="What came of it, once it succeeded.")
    error: str = Field(description="Why it failed.")
    created: float = Field(description="Unix seconds.")
    started: float | None
    ended: float | None


class JobStarted(BaseModel):
    """Follow it at /api/jobs/{id}/events."""

    job: JobInfo


class JobList(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobInfo]


class Source(BaseModel):
    """A place documents come from."""

    source: str = Field(description="A folder, file or address; empty for uploads.")
    kind: Literal["upload", "web", "path"]
    documents: int = Field(description="Those of it that the caller may see.")
    synced_at: str


class Sources(BaseModel):
    """Where documents come from, and what the caller may sync."""

    sources: list[Source]
    may: Any


class AdapterInfo(BaseModel):
    """A version of an adapter."""

    name: str = Field(examples=["tone"])
    version: int
    model: str = Field(description="Its id at /v1.", examples=["ft:smollm2-135m-instruct:tone:1"])
    promoted: bool = Field(description="Whether the bare name stands for this version.")
    base: str | None
    method: str
    reads: bool = Field(description="Whether it learned to read from documents.")
    metric: dict[str, Any]
    created: Any
    seconds: Any = Field(description="How long training took.")
    run: str | None = Field(description="For /api/runs/{run}/events.")
    obstacles: list[str] = Field(description="What stands against promoting it.")


class AdapterList(BaseModel):
    """Versions of adapters that the caller may ask."""

    adapters: list[AdapterInfo]


class RunEvents(BaseModel):
    """What a training said so far."""

    run: str
    events: list[dict[str, Any]]
    rates: dict[str, Any] | None = Field(description="Speed, once it can be told.")
    best: Any = Field(description="The best check so far.")


class ReportLine(BaseModel):
    """A finished comparison."""

    id: str
    created: Any
    title: Any
    primary: Any = Field(description="The score that the verdict rests on.")
    verdict: Any
    arms: list[str]


class ReportList(BaseModel):
    """Finished comparisons, the newest first."""

    reports: list[ReportLine]


class Report(BaseModel):
    """A comparison, whole."""

    model_config = ConfigDict(extra="allow")


class FeedbackKept(BaseModel):
    """Where feedback waits."""

    id: str = Field(description="Of the entry in the review queue.")
    state: Literal["pending"]


class Entry(BaseModel):
    """An answer that somebody, or its refusal, put before a reviewer."""

    id: str
    why: str = Field(description="up, down, edit, or what the queue itself noted.")
    reason: str
    correction: str = Field(description="The answer as the asker would have it.")
    state: Literal["pending", "accepted", "rejected"]
    at: float
    reviewed: float | None
    question: str
    history: list[dict[str, Any]] = Field(description="The turns before the question.")
    model: str
    answer: dict[str, Any] | None = Field(description="Null once its conversation was deleted.")
    suggested: str = Field(description="What is accepted unless the reviewer says otherwise.")
    result: dict[str, Any] | None = Field(description="The case or example it became.")


class Queue(BaseModel):
    """Entries, the newest first."""

    entries: list[Entry]
    more: bool = Field(description="Whether there are more than were asked for.")
