"""/v1/fine_tuning/jobs in the official API's shapes, over the server's own jobs of kind "train"."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from openbook.serve import openai_shapes as shapes
from openbook.serve import training
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.jobs import FINAL, Job
from openbook.serve.openai_files import page
from openbook.serve.state import Server, server_of
from openbook.settings import Finetune

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["openai"])
Here = Annotated[Server, Depends(server_of)]
_KIND = "train"
_AUTO = "auto"
_PURPOSE = "fine-tune"
_PARAMS = {"files": "training_file", "validation": "validation_file", "name": "suffix"}


def _or_auto(kind: str, low: float, high: float) -> Any:
    shape = {"type": kind, "minimum" if kind == "integer" else "exclusiveMinimum": low, "maximum": high}
    return (
        BeforeValidator(lambda value: None if value == _AUTO else value),
        WithJsonSchema({"anyOf": [{"const": _AUTO}, shape], "default": _AUTO}),
    )


class Hyperparameters(BaseModel):
    """As the official API names them; None is "auto"."""

    model_config = ConfigDict(extra="forbid")

    n_epochs: Annotated[Annotated[int, Field(ge=1, le=50)] | None, *_or_auto("integer", 1, 50)] = None
    batch_size: Annotated[Annotated[int, Field(ge=1, le=256)] | None, *_or_auto("integer", 1, 256)] = None
    learning_rate_multiplier: Annotated[Annotated[float, Field(gt=0, le=100)] | None, *_or_auto("number", 0, 100)] = (
        None
    )
    beta: Annotated[Annotated[float, Field(gt=0, le=2)] | None, *_or_auto("number", 0, 2)] = None


class Way(BaseModel):
    """One method's settings."""

    model_config = ConfigDict(extra="forbid")

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(BaseModel):
    """How to learn."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["supervised", "dpo"] = "supervised"
    supervised: Way | None = None
    dpo: Way | None = None


class JobOrder(BaseModel):
    """What POST /v1/fine_tuning/jobs takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "base",
                    "training_file": "file-5c1d",
                    "suffix": "tone",
                    "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
                }
            ]
        }
    )

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = Field(None, max_length=64)
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        None, max_length=16
    )
    integrations: list[dict[str, Any]] | None = None


@router.post("", response_model=shapes.TuningJob, summary="Train an adapter")
def create(order: JobOrder, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Train an adapter: the suffix is its name."""
    base = server.house.settings.models.generator
    if order.model not in ("base", base):
        raise Refused(
            400,
            f"model {order.model!r} cannot be trained here; use 'base', which is {base!r}",
            code="model_not_available",
            param="model",
        )
    if order.integrations:
        raise Refused(400, "integrations are not supported; leave them out", param="integrations")
    for key, param in ((order.training_file, "training_file"), (order.validation_file, "validation_file")):
        if key and (has := training.file_of(server, who, key, param)["purpose"]) != _PURPOSE:
            what = f"file {key!r} has the purpose {has!r}; upload it with the purpose {_PURPOSE!r}"
            raise Refused(400, what, code="invalid_file_purpose", param=param)
    method = order.method or Method()
    given = (method.dpo if method.type == "dpo" else method.supervised) or Way(
        hyperparameters=order.hyperparameters or Hyperparameters()
    )
    wanted = training.TrainOrder(
        files=[order.training_file],
        validation=[order.validation_file] if order.validation_file else [],
        name=_name(order.suffix) if order.suffix else "tuned",
        settings=_settings(given.hyperparameters, method.type, order.seed, server.house.settings.finetune),
    )
    beside = {"openai": order.model_dump(mode="json", exclude_none=True)}
    try:
        job = training.submit(server, who, wanted, beside=beside)
    except Refused as refused:
        refused.param = _PARAMS.get(refused.param or "", refused.param)
        raise
    return _shown(server, job)


@router.get("", response_model=shapes.TuningJobs, summary="Your trainings")
def list_jobs(
    request: Request,
    server: Here,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    who: Caller = needs("train"),
) -> dict[str, Any]:
    """The caller's trainings, newest first; metadata[KEY]=VALUE narrows them down."""
    found = [_shown(server, job) for job in server.jobs.list(who, kind=_KIND) if job.caller.id == who.id]
    for key, value in request.query_params.items():
        if match := re.fullmatch(r"metadata\[(.+)\]", key):
            found = [one for one in found if (one["metadata"] or {}).get(match[1]) == value]
    return page(found, after, limit)


@router.get("/{key}", response_model=shapes.TuningJob, summary="One training")
def retrieve(key: str, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """One training."""
    return _shown(server, _find(server, key, who))


@router.get("/{key}/events", response_model=shapes.TuningEvents, summary="What a training said")
def list_events(
    key: str,
    server: Here,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    who: Caller = needs("train"),
) -> dict[str, Any]:
    """What a training said, newest first."""
    _find(server, key, who)
    told = [_event(*one) for one in server.jobs.events(key, who)]
    return page([one for one in reversed(told) if one is not None], after, limit)


@router.get("/{key}/checkpoints", response_model=shapes.TuningCheckpoints, summary="Checkpoints")
def list_checkpoints(
    key: str,
    server: Here,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    who: Caller = needs("train"),
) -> dict[str, Any]:
    """Checkpoints that can be asked: the best one, once the training is done; the weights of no other are kept."""
    job = _find(server, key, who)
    said = [event for _, _, event in server.jobs.events(key, who)]
    checks = [event for event in said if event.get("kind") == "eval"]
    if job.state != "succeeded" or job.result is None or not checks:
        return page([], after, limit)
    best = _best(checks)
    losses = [one["loss"] for one in said if one.get("kind") == "step" and one["step"] == best["step"]]
    metrics = {"step": best["step"], "valid_loss": best["loss"], "full_valid_loss": best["loss"]}
    if best.get("name") not in (None, "loss"):
        metrics[best["name"]] = best["metric"]
    made = {
        "id": f"ftckpt-{job.id.removeprefix('job-')}-{best['step']}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(best["t"]),
        "fine_tuned_model_checkpoint": job.result["model"],
        "fine_tuning_job_id": job.id,
        "step_number": best["step"],
        "metrics": {**metrics, **({"train_loss": losses[-1]} if losses else {})},
    }
    return page([made], after, limit)


@router.post("/{key}/cancel", response_model=shapes.TuningJob, summary="Cancel a training")
def cancel(key: str, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Stop a training for good."""
    _find(server, key, who)
    return _shown(server, server.jobs.cancel(key, who))


@router.post("/{key}/pause", response_model=shapes.TuningJob, summary="Pause a training")
def pause(key: str, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Stop a training at a checkpoint."""
    _find(server, key, who)
    return _shown(server, server.jobs.pause(key, who))


@router.post("/{key}/resume", response_model=shapes.TuningJob, summary="Resume a training")
def resume(key: str, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Let a paused training go on from its checkpoint."""
    _find(server, key, who)
    return _shown(server, server.jobs.resume(key, who))


def _find(server: Server, key: str, who: Caller) -> Job:
    job = server.jobs.get(key, who)
    if job.kind != _KIND or job.caller.id != who.id:
        raise Refused(404, f"no job {key!r}", code="no_such_job")
    return job


def _name(suffix: str) -> str:
    """The name of an adapter for a suffix, which may hold anything.

    >>> _name("My Tone!")
    'my-tone'
    """
    return re.sub(r"[^a-z0-9._-]+", "-", suffix.lower()).strip("-.") or "tuned"


def _settings(given: Hyperparameters, method: str, seed: int | None, here: Finetune) -> dict[str, Any]:
    """The settings of [finetune] for the official API's hyperparameters; "auto" is what stands here."""
    settings: dict[str, Any] = {"method": "dpo"} if method == "dpo" else {}
    if given.n_epochs is not None:
        settings["epochs"] = float(given.n_epochs)
    if given.batch_size is not None:
        settings["batch"] = given.batch_size
    if given.learning_rate_multiplier is not None:
        settings["learning_rate"] = here.learning_rate * given.learning_rate_multiplier
    if given.beta is not None:
        settings["dpo_beta"] = given.beta
    if seed is not None:
        settings["seed"] = seed
    return settings


def _shown(server: Server, job: Job) -> dict[str, Any]:
    told, result = job.args.get("openai") or {}, job.result or {}
    method = told.get("method") or {"type": "supervised"}
    way = (method.get(method["type"]) or {}).get("hyperparameters") or told.get("hyperparameters") or {}
    names = ("n_epochs", "batch_size", "learning_rate_multiplier")
    hyper = {name: way.get(name, _AUTO) for name in (*names, *(("beta",) if method["type"] == "dpo" else ()))}
    files, held = job.args["files"], job.args["validation"]
    done = job.state in FINAL
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created),
        "finished_at": int(job.ended) if done and job.ended else None,
        "status": job.state,
        "model": told.get("model") or server.house.settings.models.generator,
        "fine_tuned_model": result.get("model"),
        "organization_id": "openbook",
        "training_file": files[0]["id"] if files else "",
        "validation_file": held[0]["id"] if held else None,
        "result_files": [],
        "hyperparameters": {name: hyper[name] for name in names},
        "method": {"type": method["type"], method["type"]: {"hyperparameters": hyper}},
        "seed": job.args["settings"].get("seed", server.house.settings.finetune.seed),
        "trained_tokens": ((result.get("data") or {}).get("tokens") or {}).get("supervised"),
        "estimated_finish": None,
        "integrations": [],
        "metadata": told.get("metadata") or {},
        "error": {"code": "training_failed", "message": job.error, "param": None} if job.error else None,
    }


def _event(number: int, at: float, event: dict[str, Any]) -> dict[str, Any] | None:
    """An event in the official API's words; None for what is only ours."""
    level, data, kind = "info", {}, "message"
    match event:
        case {"state": "failed", "error": error}:
            level, message = "error", f"The job failed: {error}"
        case {"state": "succeeded", "result": result}:
            message = f"The job has successfully completed; new fine-tuned model created: {result.get('model')}"
        case {"state": state}:
            message = f"The job is {state}"
        case {"kind": "start", "examples": examples, "steps": steps}:
            message = f"Training on {examples} examples in {steps} steps"
        case {"kind": "step", "step": step, "loss": loss}:
            message, kind = f"Step {step}: training loss={_number(loss)}", "metrics"
            data = {"step": step, "train_loss": loss, "learning_rate": event.get("lr")}
        case {"kind": "eval", "step": step, "loss": loss, "name": name, "metric": metric}:
            kind = "metrics"
            data = {"step": step, "valid_loss": loss} | ({} if name == "loss" else {name: metric})
            beside = "" if name == "loss" else f", {name}={_number(metric)}"
            message = f"Step {step}: validation loss={_number(loss)}{beside}"
        case {"kind": "checkpoint", "step": step}:
            message = f"Checkpoint written at step {step}"
        case _:
            return None
    return {
        "id": f"ftevent-{number}",
        "object": "fine_tuning.job.event",
        "created_at": int(at),
        "level": level,
        "message": message,
        "type": kind,
        "data": data,
    }


def _best(checks: list[dict[str, Any]]) -> dict[str, Any]:
    from openbook.finetune import live

    found = live.best(checks)
    return found if found is not None else checks[-1]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
