"""What the native API takes and gives, as pydantic models: the words and examples of its OpenAPI page. Knows no server.

Answers are made by openbook.wire; the models here say what is in them and drop nothing of it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _sound(text: str) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("holds characters that are no text")
    return text


Text = Annotated[str, AfterValidator(_sound)]
"""Text without NUL and halves of characters, which no file and no model takes."""
Asked = Annotated[Text, Field(min_length=1, max_length=8000, examples=["How many vacation days do we get?"])]
Where = Annotated[
    Text,
    Field(
        max_length=2000,
        description="A filter over documents by document, format, title, author, created, modified; joined by `and`.",
        examples=["", "format=pdf and modified>=2024-01-01"],
    ),
]
Place = Annotated[int, Field(ge=0, le=2**53)]
"""An offset into a document's text, counted in Unicode code points."""


class Order(BaseModel):
    """The base of request bodies: an unknown field is an error, not a silent nothing."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """What went wrong, in one sentence."""

    message: str = Field(examples=["no document 'Plans.pdf'"])
    type: str = Field(examples=["not_found_error"])
    param: str | None = None
    code: str | None = Field(None, examples=["no_such_document"])


class ErrorBody(BaseModel):
    """Every failed request is answered so, as OpenAI's API does."""

    error: Problem


class Document(BaseModel):
    """A document of the library that the caller may see."""

    name: str = Field(examples=["handbook/Vacation.md"])
    title: str
    format: str = Field(examples=["md"])
    bytes: int
    pages: int | None = Field(description="Of formats with pages.")
    chunks: int = Field(description="Pieces it is searched by.")
    labels: list[str] = Field(description="Groups that may see it; * is everyone.", examples=[["*"]])
    synced_at: str = Field(examples=["2026-11-22T10:00:00+00:00"])
    source: str = Field(description="The folder, file or address it came from; empty for uploads.")
    hash: str = Field(description="sha256 of the file.")
    author: str
    created: str
    modified: str
    notes: list[str]


class Documents(BaseModel):
    """A page of documents, by name."""

    documents: list[Document]
    total: int = Field(description="All that the caller may see under the prefix.")
    next: str | None = Field(description="Send it as `after` for the next page; null on the last.")


class DocumentText(BaseModel):
    """A span of a document with what stands around it: before + text + after is one stretch of the document."""

    name: str
    text: str
    start: int
    end: int
    total: int = Field(description="Characters of the whole document.")
    page: int | None = Field(description="The page on which the span starts; null where there are no pages.")
    before: str
    after: str


class Removed(BaseModel):
    """What a deletion did."""

    removed: str
    library_version: int


class JobStarted(BaseModel):
    """Long work that goes on by itself; follow it at /api/jobs/{id}/events."""

    job: dict[str, Any] = Field(examples=[{"id": "job-3f9a", "kind": "upload", "state": "queued"}])


class Hit(BaseModel):
    """A passage that was found, with how it was found. Ranks are null where a retriever did not bring it."""

    document: str
    page: int | None
    start: int
    end: int
    heading: list[str]
    title: str
    text: str
    score: float
    dense_rank: int | None
    dense_score: float | None
    lexical_rank: int | None
    lexical_score: float | None
    rerank_score: float | None


class Found(BaseModel):
    """Passages, best first, and the seconds finding them took."""

    hits: list[Hit]
    seconds: dict[str, float]
    library_version: int


class Reason(BaseModel):
    """One chunk's standing for a question."""

    start: int
    end: int
    text: str
    dense_rank: int | None
    dense_score: float | None
    lexical_rank: int | None
    lexical_score: float | None
    fused_rank: int | None
    shown: bool
    reason: str


class Explained(BaseModel):
    """Why a document was or was not used for a question."""

    question: str
    document: str
    found: bool
    reason: str
    chunks: list[Reason]


class Cited(BaseModel):
    """A verified span that supports a sentence: quote == the document's text[start:end]."""

    document: str
    page: int | None
    start: int
    end: int
    quote: str
    sentence: int = Field(description="Index into the answer's sentences.")


class Told(BaseModel):
    """A sentence of an answer."""

    text: str
    supported: bool


class Answered(BaseModel):
    """An answer with its citations, and everything needed to see how it came about."""

    answer: str
    abstained: bool
    citations: list[Cited]
    sentences: list[Told]
    hits: list[Hit] = Field(description="The passages the model was shown; [n] in the answer is hits[n - 1].")
    prompt: str
    model: str
    adapter: str | None
    arm: str
    tokens: dict[str, int]
    seconds: dict[str, float]
    library_version: int
    notes: list[str]


class Reply(Answered):
    """An answer, and where it is kept."""

    id: str | None = Field(description="For feedback; null when conversations are not kept.")
    conversation: str | None = Field(description="Send it with a follow-up question.")


class ArmInfo(BaseModel):
    """A way of answering."""

    id: str = Field(description="What /api/ask and /v1 take as the model.", examples=["rag"])
    label: str = Field(examples=["Your documents"])
    arm: str
    adapter: str | None
    available: bool
    why: str = Field(description="Why it is not available.")


class Arms(BaseModel):
    """The ways of answering of this workspace."""

    arms: list[ArmInfo]


class Conversation(BaseModel):
    """A conversation of the caller."""

    id: str
    title: str
    created: float
    changed: float


class Conversations(BaseModel):
    """The caller's conversations, the newest first."""

    conversations: list[Conversation]


class Turn(BaseModel):
    """A question and its answer. What the caller may no longer see is left out of it."""

    id: str
    question: str
    at: float
    answer: Answered
    withheld: bool = Field(
        description="The answer's text rested on documents that are gone or not the caller's to see."
    )


class Talk(Conversation):
    """A conversation with its turns."""

    answers: list[Turn]


class Deleted(BaseModel):
    """What was deleted."""

    id: str
    deleted: Literal[True] = True


class Changes(BaseModel):
    """Documents that differ from the version before; a renamed one was added and removed."""

    added: int
    changed: int
    removed: int


class Version(BaseModel):
    """A state of the library; counts are of what the caller may see."""

    version: int
    committed_at: str
    documents: int
    chunks: int
    note: str
    current: bool
    changes: Changes | None = Field(description="None for the oldest that is left.")


class Versions(BaseModel):
    """States of the library that can be restored, the newest first."""

    versions: list[Version]
    may_restore: bool


class Restored(BaseModel):
    """The new version, whose content is that of the earlier one."""

    library_version: int


class Setting(BaseModel):
    """A setting of openbook.toml."""

    key: str = Field(examples=["retrieve.k"])
    value: Any = Field(description="As written; passwords in addresses are ***.")
    in_force: Any
    pending: bool = Field(description="Written, and in force after a restart.")
    default: Any
    description: str
    type: str = Field(description="Of JSON: string, integer, number, boolean, array.")
    nullable: bool
    choices: list[Any]
    minimum: float | None
    maximum: float | None
    exclusiveMinimum: float | None  # noqa: N815 - JSON schema's name
    exclusiveMaximum: float | None  # noqa: N815
    live: bool = Field(description="A change is in force at once.")
    here_only: bool = Field(description="Not to be set over HTTP with a key.")


class SettingList(BaseModel):
    """All settings."""

    settings: list[Setting]


class SettingsChanged(BaseModel):
    """What was written, and what waits for a restart."""

    changed: list[str]
    restart: list[str]
    message: str


class Finding(BaseModel):
    """One thing doctor looked at."""

    topic: str
    level: Literal["ok", "weak", "broken"]
    says: str
    todo: str


class Doctor(BaseModel):
    """What doctor found; ok when nothing is broken."""

    findings: list[Finding]
    ok: bool


class ModelInfo(BaseModel):
    """A model known by name."""

    name: str
    kind: str
    good_for: str
    licence: str
    parameters: int
    bytes: int
    installed: bool
    used: bool


class ModelList(BaseModel):
    """Known models, and what the settings name."""

    models: list[ModelInfo]
    in_use: dict[str, str]
