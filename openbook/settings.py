"""openbook.toml in, a checked settings value out; knows no room.

Every field has a default, so an empty file is a valid workspace. Unknown keys are errors.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from openbook.errors import SettingsError

FILE_NAME = "openbook.toml"
STATE_DIR = ".openbook"
METRICS = ("exact_match", "token_f1", "rouge_l", "reading", "json", "loss")
"""Built-in values of finetune.metric."""

_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Models(_Section):
    """Which models run. Names are those of `openbook models list`, or a path to a local model."""

    generator: str = "smollm2-135m-instruct"
    """A catalogue name, a path to a .gguf, OpenVINO or transformers folder, a hub repository "org/name",
    "endpoint" (see [endpoint]) or "extractive" (none)."""
    embedder: str = "all-minilm-l6-v2"
    reranker: str = ""
    """A catalogue name, or "" for none."""
    reader: Literal["auto", "none"] = "auto"
    """auto: the LoRA bundled for the generator, where there is one, is used when it answers from passages."""
    offline: bool = False
    """Never download; also set by the environment variable OPENBOOK_OFFLINE=1."""


class Endpoint(_Section):
    """An OpenAI-compatible server, used when models.generator is "endpoint"."""

    url: str = "http://localhost:11434/v1"
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; the key itself never stands in a file."""
    context: Annotated[int, Field(ge=256)] = 8192
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds without a byte before giving up."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests at once while a comparison runs."""


class Ingest(_Section):
    """How files become chunks, and what is refused."""

    chunk_tokens: Annotated[int, Field(ge=32, le=4096)] = 200
    """Of the embedder (docs/chunking.md); a chunk with its title and headings never exceeds the embedder's input."""
    overlap_tokens: Annotated[int, Field(ge=0)] = 30
    """Repeated from one chunk of a long section in the next; never more than half a chunk."""
    max_file_mb: Annotated[float, Field(gt=0)] = 200
    max_pages: Annotated[int, Field(gt=0)] = 5000
    max_unpacked_mb: Annotated[float, Field(gt=0)] = 1000
    """Total size an archive may unpack to."""
    max_nesting: Annotated[int, Field(ge=0, le=10)] = 3
    """Archives within archives, and attachments within mails."""
    ocr: bool = False
    """Read scanned PDF pages; needs the extra openbook[ocr]."""
    mass_delete_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A sync that would remove more than this share of a source (and at least 5 documents) is refused."""

    @model_validator(mode="after")
    def _overlap_fits(self) -> Ingest:
        if "overlap_tokens" in self.model_fields_set and self.overlap_tokens * 2 > self.chunk_tokens:
            raise ValueError("overlap_tokens may be at most half of chunk_tokens")
        return self


class LibrarySettings(_Section):
    """Where documents are kept. Empty URLs mean embedded, inside the workspace."""

    catalog_url: str = ""
    """SQLAlchemy URL; "" is SQLite in .openbook/library/catalog.db."""
    qdrant_url: str = ""
    """Qdrant server or cluster; "" is Qdrant Edge in .openbook/library/index. Needs openbook[server]."""
    qdrant_api_key_env: str = "QDRANT_API_KEY"
    keep_versions: Annotated[int, Field(ge=1)] = 5
    """Earlier versions stay readable for roll-back until this many newer ones exist."""


class Retrieve(_Section):
    """How passages are found."""

    k: Annotated[int, Field(ge=1, le=100)] = 5
    candidates: Annotated[int, Field(ge=1, le=1000)] = 50
    """Taken from each retriever before fusion."""
    fusion: Literal["rrf", "dbsf"] = "dbsf"
    dense_weight: Annotated[float, Field(ge=0)] = 1.0
    lexical_weight: Annotated[float, Field(ge=0)] = 1.0
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Hits whose texts are at least this similar (0-1) count as one; 1.0 collapses only equal texts."""
    rerank_depth: Annotated[int, Field(ge=1, le=100)] = 20

    @model_validator(mode="after")
    def _some_weight(self) -> Retrieve:
        if self.dense_weight == 0 and self.lexical_weight == 0:
            raise ValueError("dense_weight and lexical_weight may not both be 0")
        return self


class AnswerSettings(_Section):
    """How answers are written and checked."""

    passages: Annotated[int, Field(ge=1, le=50)] = 3
    hints: Annotated[int, Field(ge=0, le=10)] = 1
    """Sentences of the passages that seem closest to the question, repeated before it (docs/reading.md)."""
    order: Literal["best_last", "best_first"] = "best_last"
    """Where the best passage stands in the prompt: next to the question, or at the top. Models trained to read by
    `openbook finetune` and the bundled one expect "best_last"."""
    max_tokens: Annotated[int, Field(ge=1)] = 160
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: int = 0
    abstain_below: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Decline when the retrieval confidence (openbook.answer.abstain) is lower; 0 never declines."""
    overrule: Annotated[float, Field(ge=0, le=1)] = 0.9
    """When retrieval is at least this confident, a model's refusal gives way to the passages' own sentences, saying so;
    1 never overrules (docs/reading.md)."""
    fallback: bool = True
    """When less than half of the model's sentences are supported, answer with the passages' own, saying so."""
    rewrite: Literal["rules", "model"] = "rules"
    """How chat makes a follow-up question stand alone before retrieval."""
    instructions: str = ""
    """Added to the system prompt: tone, language, house rules."""


class Finetune(_Section):
    """How a model learns from examples; defaults as measured in docs/finetuning.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["lora", "full", "dpo"] = "lora"
    """dpo trains a LoRA on preference pairs; full trains every weight and suits small models only."""
    rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Size of the adapter: more can learn finer things, and takes more memory."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """LoRA scale is alpha / rank; None is 2 * rank."""
    targets: Literal["all", "attention", "mlp"] = "all"
    """Which linear layers get an adapter."""
    layers: Annotated[int, Field(ge=0)] = 0
    """Only the last n transformer layers; 0 is all of them."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    """How far each step moves the model: more learns faster and forgets more."""
    epochs: Annotated[float, Field(gt=0, le=100)] = 3.0
    """How often every example is read: more learns them better, in the end by heart."""
    batch: Annotated[int, Field(ge=1)] = 8
    """Examples per optimizer step."""
    micro_batch: Annotated[int, Field(ge=0)] = 0
    """Examples per forward pass; 0 chooses by memory. Gradients accumulate up to `batch`."""
    max_tokens: Annotated[int, Field(ge=16)] = 1024
    """Longer examples are left out and reported, never cut."""
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the steps; then cosine decay to a tenth."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest gradient norm."""
    seed: int = 0
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the examples held out when no validation file is given."""
    metric: str = "token_f1"
    """exact_match, token_f1, rouge_l, reading, json, loss, or module:function of a file in the workspace."""
    checks: Annotated[int, Field(ge=1)] = 4
    """Evaluations (and checkpoints) over the whole training."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many evaluations without a better metric; 0 never stops early."""
    scored: Annotated[int, Field(ge=1)] = 40
    """Validation examples that are answered and scored at each evaluation."""
    answer_tokens: Annotated[int, Field(ge=1)] = 160
    """Longest generated answer when scoring."""
    replay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of general conversations mixed in against forgetting."""
    kl: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the divergence from the untouched model on learned tokens."""
    dpo_beta: Annotated[float, Field(gt=0)] = 0.1
    probes: Annotated[int, Field(ge=0)] = 200
    """Questions of each probe of forgetting (at most 200 are shipped); 0 leaves them out."""
    own_probes: str = ""
    """A JSONL file with probes of your own (docs/forgetting.md), relative to the workspace or recipe; "" for none."""
    margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    """A probe of forgetting that falls by more blocks promotion."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    """0 uses every core."""
    hour_price: Annotated[float, Field(ge=0)] = 0
    """What an hour of this machine costs, in any currency; the estimate then has a cost."""
    memory_gb: Annotated[float, Field(ge=0)] = 0
    """Refuse to train above this; 0 is what the machine has free."""

    @field_validator("metric")
    @classmethod
    def _metric_known(cls, metric: str) -> str:
        if metric not in METRICS and not _FUNCTION.fullmatch(metric):
            raise ValueError(f"use one of {', '.join(METRICS)}, or module:function of a file in the workspace")
        return metric

    @model_validator(mode="after")
    def _agree(self) -> Finetune:
        if self.kl and self.method != "lora":
            why = {"full": "which keeps no untouched model to compare with", "dpo": "which has dpo_beta for that"}
            raise ValueError(f"kl = {self.kl} does not go with method {self.method!r}, {why[self.method]}; set kl to 0")
        if self.replay and self.method == "dpo":
            raise ValueError(
                f"replay = {self.replay} does not go with method 'dpo', which learns from pairs only; set replay to 0"
            )
        if self.micro_batch > self.batch:
            raise ValueError(
                f"micro_batch = {self.micro_batch} is more than batch = {self.batch}; set it to at most that, or to 0"
            )
        return self


class Reading(_Section):
    """What lessons a model that learns to read retrieved passages gets; defaults as measured in docs/reading.md."""

    target: Literal["quote", "answer", "quote+answer"] = "quote"
    """The reply to learn: the sentence that holds the answer, verbatim, the answer alone, or both."""
    refusal: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of the lessons whose passages do not hold the answer: first your unanswerable questions."""
    conflict: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the lessons whose passage says otherwise than the documents; the reply follows the passage."""
    style: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Share of the user's own example conversations, when some are given."""
    variants: Annotated[int, Field(ge=1, le=20)] = 3
    """How often each question is answered, over other passages each time."""
    distractors: Literal["hard", "random"] = "hard"
    """The passages beside the right one: those the retriever finds, or any."""
    questions: Annotated[int, Field(ge=1)] = 2000
    """At most so many questions are made from the library."""
    review: Annotated[int, Field(ge=0)] = 30
    """Questions shown to a person for accepting or rejecting."""
    groups: tuple[str, ...] = ()
    """Documents only these groups may see are learned from too; without it, only documents open to all."""


class Serve(_Section):
    """How `openbook serve` listens, whom it lets in, and what one caller may take (docs/serve.md)."""

    host: str = "127.0.0.1"
    """Beyond the loopback only with an API key or a login."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8421
    names: tuple[str, ...] = ()
    """Host names the server answers to, beside those of the loopback and `host`: "assistant.example.org"."""
    cors: tuple[str, ...] = ()
    """Origins of web pages elsewhere that may call the API: "https://intranet.example.org"."""
    folders: tuple[str, ...] = ()
    """Folders of this machine that may be synced over HTTP with a key; relative ones count from the workspace."""
    web: bool = False
    """Whether web pages may be synced over HTTP with a key; addresses of this network never are."""
    max_upload_mb: Annotated[float, Field(gt=0)] = 200
    """Of one request."""
    requests_per_minute: Annotated[int, Field(ge=0)] = 600
    """Of one caller; 0 is no limit."""
    concurrent: Annotated[int, Field(ge=1, le=256)] = 8
    """Answers written at once."""
    waiting: Annotated[int, Field(ge=0)] = 64
    """Questions that wait for their turn; more are told to come back (429)."""
    shutdown_seconds: Annotated[float, Field(ge=0)] = 20
    """Answers in flight may end within this when the server stops."""
    proxy_user_header: str = ""
    """A header in which a proxy in front names who is logged in ("X-Forwarded-User"); "" trusts none."""
    proxy_groups_header: str = ""
    """Groups of that user, separated by commas."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses such a proxy may call from."""
    login_scopes: tuple[str, ...] = ("ask", "search")
    """What people who log in through a proxy or OIDC may do."""
    oidc_issuer: str = ""
    """Address of an OpenID Connect provider; people then log in there. Needs openbook[login]."""
    oidc_client_id: str = ""
    oidc_client_secret_env: str = "OPENBOOK_OIDC_SECRET"
    oidc_groups_claim: str = "groups"
    traces: str = ""
    """Address of an OpenTelemetry collector ("http://localhost:4318"); "" sends none. Needs openbook[traces]."""
    keep_conversations: bool = True
    """Whether questions and answers are kept for their own asker's history and for feedback."""


class Settings(_Section):
    """The whole of openbook.toml."""

    format: Literal[1] = 1
    models: Models = Models()
    endpoint: Endpoint = Endpoint()
    ingest: Ingest = Ingest()
    library: LibrarySettings = LibrarySettings()
    retrieve: Retrieve = Retrieve()
    answer: AnswerSettings = AnswerSettings()
    finetune: Finetune = Finetune()
    reading: Reading = Reading()
    serve: Serve = Serve()


def load(path: Path) -> Settings:
    """Read and check a settings file.

    Raises SettingsError naming the key, its value and what is allowed.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist; make a workspace with: openbook init") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    return parse(raw, origin=str(path))


def parse(raw: dict[str, object], *, origin: str) -> Settings:
    """Check raw settings; origin is named in errors.

    >>> parse({"retrieve": {"k": 7}}, origin="example").retrieve.k
    7
    """
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            message = f"unknown setting {key!r}; remove it or mend the spelling"
        else:
            reason = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
            whole = isinstance(first["input"], dict)
            message = (
                f"[{key}] {reason}" if whole and key else f"setting {key or '(file)'} = {first['input']!r}: {reason}"
            )
        raise SettingsError(f"{origin}: {message}") from None
