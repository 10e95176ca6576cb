"""The values that travel between rooms: small, frozen, standard library only.

One record per stage; a later stage makes its own record instead of growing an earlier one.
All text offsets count Unicode code points, start inclusive, end exclusive.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PUBLIC = "*"
"""The access label of a document anyone may see."""

Arm = Literal["base", "rag", "tuned", "tuned+rag", "extractive"]
"""How a question is answered: which model, with or without retrieved text."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page (PDF), slide (PPTX) or sheet (XLSX) as a span of its document's text."""

    number: int
    """1-based."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file or web page as text, with provenance; what a reader returns."""

    name: str
    """Stable identity within the library: path relative to its source with `/`, or a URL."""
    text: str
    """Markdown-flavoured plain text: `#` headings, `-` lists, `|` tables, fenced code."""
    format: str
    """Lower-case format name: "pdf", "md", ..."""
    hash: str
    """sha256 hex of the file's bytes."""
    bytes: int
    """Size of the file."""
    title: str = ""
    """Title found in the document; "" when none was found."""
    author: str = ""
    created: str = ""
    """ISO 8601 date or date-time from the file's own metadata; "" when unknown."""
    modified: str = ""
    pages: tuple[Page, ...] = ()
    """Empty for formats without pages."""
    boxes: builtins.bytes | None = field(default=None, repr=False)
    """PDF only: per code point of `text` four little-endian uint16 x0, y0, x1, y1 in tenths of a point,
    origin at the page's top left; zeros where no glyph stands behind the character."""
    notes: tuple[str, ...] = ()
    """What a person should know: "page 3 holds an image without text", "encoding guessed: cp1252"."""
    container_hash: str = ""
    """sha256 hex of the outermost file, for a document found inside another (zip member, mail attachment)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document: `document.text[start:end] == text`."""

    document: str
    start: int
    end: int
    text: str
    page: int | None = None
    """1-based page on which the chunk starts; None for formats without pages."""
    heading: tuple[str, ...] = ()
    """Titles of the sections the chunk lies in, outermost first."""
    title: str = ""
    """The document's title, or its file name without extension."""

    @property
    def indexed_text(self) -> str:
        """What is embedded and full-text indexed: title and heading path, a blank line, then the text."""
        path = dict.fromkeys(part for part in (self.title, *self.heading) if part)
        return f"{' > '.join(path)}\n\n{self.text}" if path else self.text


@dataclass(frozen=True, slots=True)
class Condition:
    """One metadata condition of a search; several are joined by "and"."""

    field: Literal["document", "format", "title", "author", "created", "modified"]
    op: Literal["=", "!=", ">=", "<=", ">", "<"]
    """For `document`, = and != accept shell patterns (`policies/*.md`). Order comparisons are for dates only."""
    value: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search may see."""

    groups: tuple[str, ...] = ()
    """The caller's groups. Labels "*" are visible to all, others only to their groups."""
    where: tuple[Condition, ...] = ()
    version: int | None = None
    """Library version to read; None is the newest committed."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk's identity with one retriever's score, best first in any sequence."""

    id: int
    score: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the retrievers found under one snapshot of the library."""

    dense: tuple[Scored, ...]
    """By cosine similarity in [-1, 1]."""
    lexical: tuple[Scored, ...]
    """By BM25 score, >= 0."""
    version: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk found for a question, with its ranks (1-based; None: not found by that retriever) and scores."""

    chunk: Chunk
    score: float
    """The fused or reranked score the list is sorted by; comparable within one result only."""
    dense_rank: int | None = None
    dense_score: float | None = None
    lexical_rank: int | None = None
    lexical_score: float | None = None
    rerank_score: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first, and what finding them took."""

    hits: tuple[Hit, ...]
    version: int
    seconds: Mapping[str, float]
    """Wall seconds by step: "embed", "search", "rerank"."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """A training conversation; its assistant turns are what a model learns."""

    messages: tuple[Message, ...]
    """Ends with an assistant turn; with `rejected`, that turn is the preferred reply."""
    rejected: str | None = None
    """Preference pairs only: the worse last reply."""
    place: str = ""
    """Where it stands: "replies.jsonl:12"."""
    conversation: str = ""
    """Examples with the same one are parts of one conversation; "" when unknown."""
    document: str = ""
    """The document it was made from; "" when unknown."""
    last_only: bool = False
    """Only the last turn is learned; earlier replies are part of the prompt."""


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a document's text."""

    document: str
    start: int
    end: int

    def overlaps(self, chunk: Chunk) -> bool:
        """Whether the chunk holds at least one character of it."""
        return self.document == chunk.document and self.start < chunk.end and chunk.start < self.end


CaseKind = Literal["answerable", "unanswerable", "conflict", "behaviour", "fresh", "late", "general"]
"""What a case asks for: an answer from the documents; a refusal; what a passage says against what is known; the team's
way of replying; a fact that was edited; a document added after training; what a model should still know."""

WhyNot = Literal["", "off-corpus", "near-miss", "false-premise", "superseded"]
"""Why no document answers: another topic altogether; an entity or attribute that no document speaks of; something
presupposed that the documents deny; a passage that has been withdrawn."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question and what a right answer is; what training is made from and what measuring asks."""

    question: str
    gold: tuple[str, ...] = ()
    """Any of them in an answer makes it right, the best wording first; empty for unanswerable questions."""
    spans: tuple[Span, ...] = ()
    """Where documents hold a gold text, each enough by itself."""
    kind: CaseKind = "answerable"
    origin: Literal["given", "heading", "sentence", "endpoint"] = "given"
    """Given by the user, or made from a heading, by rule from a sentence, by a model behind an endpoint."""
    history: tuple[Message, ...] = ()
    """Earlier turns, for a question that needs them; a system turn first, where the task has one."""
    id: str = ""
    why: WhyNot = ""
    """Of unanswerable ones."""
    stale: tuple[str, ...] = ()
    """What an answer must not say: values of before, or of training data."""
    contexts: tuple[str, ...] = ()
    """Passages to answer from instead of searching (conflict)."""
    without: tuple[str, ...] = ()
    """Documents taken out of sight while it is asked."""
    same: str = ""
    """Questions with the same one ask for the same thing in other words; "" has none."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How text is generated. Temperature 0 is greedy."""

    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    json_schema: str = ""
    """The text must be JSON of this schema; "" is free text."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished generation."""

    text: str
    prompt_tokens: int
    answer_tokens: int
    prefill_seconds: float
    """From the call to the first token."""
    decode_seconds: float
    """From the first token to the last."""
    finish: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Citation:
    """A verified span of a document that supports one sentence of an answer."""

    document: str
    page: int | None
    start: int
    end: int
    quote: str
    """Equals the document's text[start:end]."""
    sentence: int
    """0-based index into the answer's sentences."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an answer and whether a cited chunk supports it."""

    text: str
    supported: bool


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall seconds of one answer."""

    retrieve: float
    prefill: float
    decode: float
    total: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Text with verified citations, and everything needed to see how it came about."""

    text: str
    abstained: bool
    citations: tuple[Citation, ...]
    sentences: tuple[Sentence, ...]
    hits: tuple[Hit, ...]
    """The passages shown to the model, best first; `[n]` in the text is hits[n - 1]."""
    prompt: str
    """The exact text given to the model; "" when no model was asked."""
    model: str
    """What wrote the text; "" when no model was asked."""
    adapter: str | None
    """NAME@VERSION of the adapter that wrote it, "reader (bundled)", or None."""
    arm: Arm
    """The arm that was asked for."""
    prompt_tokens: int
    answer_tokens: int
    seconds: Timings
    library_version: int
    notes: tuple[str, ...] = ()
    """What a person should know: "the model's answer had no support; showing the best supporting sentences"."""
    written: str = ""
    """What the model wrote, before its citations were checked; "" when no model was asked."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document to store: its text, its chunks, their vectors and who may see it."""

    document: Document
    chunks: Sequence[Chunk]
    vectors: Sequence[Sequence[float]]
    """One per chunk: a numpy float32 array [len(chunks), dimensions], unit length."""
    acl: tuple[str, ...] = (PUBLIC,)
    source: str = ""
    """The source root the document was found under, so that a later sync of it can notice removals."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit does to the library; all of it becomes visible at once."""

    put: Sequence[Entry] = ()
    """Added or replaced documents."""
    rename: Sequence[tuple[str, str]] = ()
    """(old name, new name) of documents whose content did not change."""
    remove: Sequence[str] = ()
    embedder: str = ""
    """Fingerprint of what made the vectors; "" is what the library uses. A library that changed over to another
    embedder meanwhile embeds the chunks anew."""


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A stored document without its text."""

    name: str
    hash: str
    bytes: int
    pages: int | None
    chunks: int
    acl: tuple[str, ...]
    synced_at: str
    """ISO 8601, UTC."""
    source: str
    format: str
    title: str
    author: str
    created: str
    modified: str
    notes: tuple[str, ...]
    container_hash: str = ""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One committed state of the library."""

    version: int
    committed_at: str
    documents: int
    chunks: int
    note: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of retrieval with the embedder of before and the other, question by question."""

    measure: str
    """"recall@5", "mrr@10" (of the given cases), or "overlap@10" (same hits for texts of the library itself)."""
    before: float
    after: float
    difference: float
    """after - before, with its 95 % interval over resampled questions."""
    low: float
    high: float
    n: int
    """Questions."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A library's change to another embedder, done or (dry_run) foreseen."""

    source: str
    """The embedder of before, as openbook.toml names it; its fingerprint when no name is known."""
    target: str
    chunks: int
    """Chunks of all kept versions, each with a vector of the target."""
    embedded: int
    """Those embedded now; the others were left by an earlier, interrupted migration, or by one rolled back."""
    seconds: float
    """Wall seconds of embedding; with dry_run an estimate."""
    chunks_per_second: float
    """0.0 when nothing was embedded."""
    compared: tuple[Compared, ...] = ()
    library_version: int = 0
    switched: bool = False
    """The library uses the target now."""
    notes: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class SyncFailure:
    """A file that could not be taken in, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did, or with dry_run would do."""

    added: int
    changed: int
    renamed: int
    removed: int
    unchanged: int
    failed: tuple[SyncFailure, ...]
    chunks: int
    """Chunks written."""
    seconds: float
    library_version: int
    duplicates: tuple[tuple[str, str], ...] = ()
    """(document, earlier document with the same bytes)."""
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names by kind: "added", "changed", "renamed" (as "old -> new"), "removed"."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this disk, verified and converted: all a generator, embedder or reranker needs to load it."""

    name: str
    """Catalogue name, or the path the user gave."""
    kind: Literal["generator", "embedder", "reranker"]
    folder: Path
    """Holds `model` and, beside it, openvino_tokenizer.xml (generator) or tokenizer.json (embedder, reranker)."""
    model: Path
    """The OpenVINO graph. An embedder's gives unit vectors [batch, dimensions], a reranker's logits [batch, 1]."""
    sha256: str
    """Identity of the weights: hash of the file they came in, before conversion."""
    context: int
    """Longest input in tokens, special tokens included; for a generator prompt and answer together."""
    cache_dir: Path
    """Where OpenVINO may keep its compiled blobs; need not exist yet."""
    original: Path | None = None
    """The weights as they came (a GGUF), for merging and training; None when not kept."""
    transformers: Path | None = None
    """Generator only: the folder of config.json, safetensors and tokenizer.json the model came in; None for a GGUF."""
    architecture: str = ""
    """Generator only: "llama", "qwen2", "qwen3"; "" when the files do not tell."""
    chat_template: str | None = None
    """Generator only: the model's own Jinja template; None when it has none."""
    bos_token: str = ""
    eos_token: str = ""
    eos_token_ids: tuple[int, ...] = ()
    """Every token that ends an answer."""
    dimensions: int = 0
    """Embedder only: length of a vector."""
    pooling: Literal["mean", "cls", ""] = ""
    """Embedder only: how the graph makes one vector of many; "" when it came pooled."""
    query_prefix: str = ""
    document_prefix: str = ""
    licence: str = ""
    """SPDX identifier; "" for the user's own files."""
    parameters: int = 0
    """Number of weights; 0 when unknown."""
