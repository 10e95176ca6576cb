"""What /v1 gives, as pydantic models with an example each: for its OpenAPI page. The official API's shapes, with the
extension fields of answers from documents. Knows no server."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from openbook.serve.shapes import Cited

_AT = 1795305600


def _like(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class ModelCard(BaseModel):
    """A way of answering, or the model that embeds."""

    model_config = _like(id="rag", object="model", created=_AT, owned_by="openbook")

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelCards(BaseModel):
    """Every model that the caller may ask."""

    object: Literal["list"]
    data: list[ModelCard]


class NumberedCitation(Cited):
    """A verified citation with the number it has in the text."""

    number: int


class Source(BaseModel):
    """A quote that the answer cites, as it stands below the text."""

    number: int
    document: str
    page: int | None
    quote: str


class CompletionMessage(BaseModel):
    """An answer. The fields from citations on are there where documents were read."""

    role: Literal["assistant"]
    content: str
    refusal: str | None
    citations: list[NumberedCitation] | None = None
    sources: list[Source] | None = None
    abstained: bool | None = None
    notes: list[str] | None = None


class CompletionChoice(BaseModel):
    """The answer and why its text ends."""

    index: int
    message: CompletionMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    """Tokens that were read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """An answer in one piece. Streamed, it comes as chat.completion.chunk events that end with [DONE]."""

    model_config = _like(
        id="chatcmpl-7d0e",
        object="chat.completion",
        created=_AT,
        model="rag",
        system_fingerprint="library-3",
        service_tier=None,
        choices=[
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": '24 days a year [1].\n\nSources:\n[1] Vacation.md: "24 paid vacation days a year."',
                    "refusal": None,
                    "citations": [
                        {
                            "number": 1,
                            "document": "Vacation.md",
                            "page": None,
                            "start": 35,
                            "end": 63,
                            "quote": "24 paid vacation days a year.",
                            "sentence": 0,
                        }
                    ],
                    "sources": [
                        {"number": 1, "document": "Vacation.md", "page": None, "quote": "24 paid vacation days a year."}
                    ],
                    "abstained": False,
                    "notes": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        usage={"prompt_tokens": 412, "completion_tokens": 9, "total_tokens": 421},
    )

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str | None
    service_tier: None
    choices: list[CompletionChoice]
    usage: Usage


class EmbeddingRow(BaseModel):
    """A text's vector, of length 1: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """A vector for each text, in their order."""

    model_config = _like(
        object="list",
        data=[{"object": "embedding", "index": 0, "embedding": [0.061, -0.024]}],
        model="all-minilm-l6-v2",
        usage={"prompt_tokens": 3, "total_tokens": 3},
    )

    object: Literal["list"]
    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingUsage


class Page(BaseModel):
    """A page of a list: send last_id as `after` for the next one when has_more."""

    object: Literal["list"]
    has_more: bool
    first_id: str | None
    last_id: str | None


class FileObject(BaseModel):
    """An uploaded file."""

    model_config = _like(
        id="file-5c1d",
        object="file",
        bytes=18204,
        created_at=_AT,
        filename="tone.jsonl",
        purpose="fine-tune",
        status="processed",
        status_details=None,
        expires_at=None,
    )

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: None
    expires_at: None


class FileObjects(Page):
    """Files of the caller."""

    data: list[FileObject]


class FileDeleted(BaseModel):
    """A file that is no more."""

    model_config = _like(id="file-5c1d", object="file", deleted=True)

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class TuningError(BaseModel):
    """Why a training failed."""

    code: str
    message: str
    param: str | None


class TuningJob(BaseModel):
    """A training, and the model it made."""

    model_config = _like(
        id="job-3f9a",
        object="fine_tuning.job",
        created_at=_AT,
        finished_at=_AT + 900,
        status="succeeded",
        model="base",
        fine_tuned_model="ft:smollm2-135m-instruct:tone:1",
        organization_id="openbook",
        training_file="file-5c1d",
        validation_file=None,
        result_files=[],
        hyperparameters={"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": "auto"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        seed=0,
        trained_tokens=52014,
        estimated_finish=None,
        integrations=[],
        metadata={"team": "support"},
        error=None,
    )

    id: str
    object: Literal["fine_tuning.job"]
    created_at: int
    finished_at: int | None
    status: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
    model: str
    fine_tuned_model: str | None = Field(description="What /v1/chat/completions takes as the model.")
    organization_id: str
    training_file: str
    validation_file: str | None
    result_files: list[str]
    hyperparameters: dict[str, int | float | str]
    method: dict[str, Any]
    seed: int
    trained_tokens: int | None
    estimated_finish: None
    integrations: list[Any]
    metadata: dict[str, str]
    error: TuningError | None


class TuningJobs(Page):
    """Trainings of the caller, newest first."""

    data: list[TuningJob]


class TuningEvent(BaseModel):
    """Something that a training said."""

    model_config = _like(
        id="ftevent-41",
        object="fine_tuning.job.event",
        created_at=_AT,
        level="info",
        message="Step 20: training loss=1.204",
        type="metrics",
        data={"step": 20, "train_loss": 1.204, "learning_rate": 0.0002},
    )

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class TuningEvents(Page):
    """What a training said, newest first."""

    data: list[TuningEvent]


class TuningCheckpoint(BaseModel):
    """Weights that can be asked."""

    model_config = _like(
        id="ftckpt-3f9a-40",
        object="fine_tuning.job.checkpoint",
        created_at=_AT,
        fine_tuned_model_checkpoint="ft:smollm2-135m-instruct:tone:1",
        fine_tuning_job_id="job-3f9a",
        step_number=40,
        metrics={"step": 40, "valid_loss": 1.31, "full_valid_loss": 1.31, "train_loss": 1.204},
    )

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, int | float | None]


class TuningCheckpoints(Page):
    """The best check's weights, once the training is done."""

    data: list[TuningCheckpoint]
