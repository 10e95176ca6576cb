"""What a comparison writes down: rows (one arm on one case) and the report made of them; JSON in and out.

A report holds nothing that cannot be computed again from rows.jsonl, cases.jsonl and the measured sections beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from openbook.errors import CompareError
from openbook.records import Answer

FORMAT = 1
"""Of rows, manifests and reports; another one is refused."""

FOUR = ("base", "rag", "tuned", "tuned+rag")
"""The arms that are compared with each other."""

DIAGNOSTICS: Mapping[str, str] = {
    "naive": "base, asked without examples",
    "oracle": "rag, shown the right passage",
    "tuned+oracle": "tuned+rag, shown the right passage",
    "closed+rag": "tuned without documents, then given passages",
    "bare": "rag without the bundled reader",
    "extractive": "the passages' best sentences, no model",
    "endpoint": "the endpoint's model, with passages",
    "endpoint-base": "the endpoint's model, without passages",
}
"""Arms that explain a result and win nothing: name -> what it is."""


Recommended = Literal[
    "collect more cases", "prompt only", "fix search first", "RAG", "fine-tune", "both", "larger model"
]
"""What advice can say."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric: what it says and which way is better."""

    label: str
    better: Literal["higher", "lower"]
    kind: Literal["share", "mean"]
    """share: 1.0 or 0.0 a case, Wilson interval; mean: in [0, 1] a case, bootstrap interval clustered by document."""
    told: str
    """One sentence for a person: what a 1.0 means."""


METRICS: Mapping[str, Measure] = {
    "answer_correct": Measure("answer correct", "higher", "share", "a gold answer stands in it, numbers exact"),
    "exact_match": Measure("exact match", "higher", "share", "the whole answer is a gold answer (SQuAD)"),
    "token_f1": Measure("token F1", "higher", "mean", "overlap in words with the closest gold answer (SQuAD)"),
    "contains_gold": Measure("contains gold", "higher", "share", "a gold answer stands in it as whole words"),
    "numbers": Measure("numbers right", "higher", "share", "every number, date and unit of a gold answer is in it"),
    "answer_and_citation": Measure("correct and cited", "higher", "share", "correct, and a gold passage is cited"),
    "citation_precision": Measure("citation precision", "higher", "mean", "share of citations on gold spans"),
    "citation_recall": Measure("citation recall", "higher", "share", "a gold span is cited"),
    "fabricated_citation": Measure(
        "fabricated citation", "lower", "share", "the model cited a passage that it was not shown"
    ),
    "quote_verbatim": Measure("quotes verbatim", "higher", "share", "every quote stands in the cited document"),
    "refusal": Measure("refused what no document answers", "higher", "share", "it declined, or denied a false premise"),
    "false_refusal": Measure("false refusal", "lower", "share", "it declined although a document answers"),
    "follows_document": Measure("follows the document", "higher", "share", "it says what the shown passage says"),
    "invention": Measure("invention", "lower", "mean", "share of its content in neither gold nor shown passages"),
    "invents": Measure("answers with invention", "lower", "share", "some of its numbers or names stand nowhere"),
    "stale": Measure("stale value", "lower", "share", "it says a value that no longer holds"),
    "format_valid": Measure("format kept", "higher", "share", "the reply keeps the team's format"),
    "behaviour": Measure("task score", "higher", "mean", "the team's own score of the reply against the reference"),
    "style": Measure("the team's voice", "higher", "mean", "how sure a classifier is that the team wrote it"),
    "greeting": Measure("greeting", "higher", "share", "it greets as the team does, or leaves it out as the team does"),
    "sign_off": Measure("sign-off", "higher", "share", "it signs off, or not, as the team does"),
    "length": Measure("length like the team's", "higher", "mean", "1 - |ln(words / reference's words)|, at least 0"),
    "consistency": Measure("consistent", "higher", "mean", "agreement of answers to paraphrases of one question"),
    "retrieved": Measure("gold passage shown", "higher", "share", "a gold passage was among those shown"),
    "judge": Measure("judge's score", "higher", "mean", "what the endpoint's model thinks of it; never primary"),
    "acceptable": Measure("acceptable", "higher", "share", "right for its kind: see docs/compare.md"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One arm on one case, with everything needed to see how it came about."""

    case: str
    """Case.id."""
    arm: str
    """One of FOUR or DIAGNOSTICS; with "#2", "#3" ... for further training seeds of that arm."""
    answer: Answer | None
    """None when it failed."""
    error: str = ""
    """Why there is no answer; such rows are asked again by the next run."""
    cpu_seconds: float = 0.0
    memory_mb: float = 0.0
    """Resident memory of the process right after the answer."""
    at: str = ""
    """ISO 8601, UTC."""
    identity: str = ""
    """Hash of what decided the answer: weights, settings, few-shot examples, library version."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """By name of METRICS; only those that apply to the case and the arm. Empty until scored."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured share or mean with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """Cases it rests on."""
    clusters: int = 0
    """Documents or conversations these are about."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two arms on the same cases by one metric."""

    a: str
    b: str
    metric: str
    n: int
    difference: float
    """b - a."""
    low: float
    """Its 95 % interval: paired bootstrap, clustered by document."""
    high: float
    p: float
    """Exact McNemar for shares, else sign-flips of whole clusters."""
    p_holm: float
    """Adjusted over all pairs of the four arms by this metric."""
    a_only: int
    """Cases right with a alone; 0 for means."""
    b_only: int
    verdict: Literal["a", "b", "no difference"]
    """Which is better (in the metric's own direction) after Holm; "no difference" means none detectable."""
    needed: int
    """Cases that would settle a gap of this size with 80 % power; 0 where it is settled or no number would."""
    sentence: str
    """For a person: "tuned+rag is 14 points above rag [5, 23], p = .004, n = 120"."""
    clusters: int = 0
    """Documents or conversations the cases are about; fewer than six settle nothing."""


@dataclass(frozen=True, slots=True)
class Power:
    """Smallest gap that n cases can show."""

    n: int
    disagreement: float
    """Share of cases on which two arms differ."""
    gap: float


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One arm over all cases."""

    name: str
    label: str
    """"RAG", "tuned (support@3)"."""
    role: Literal["four", "diagnostic", "seed"]
    model: str
    adapter: str
    """NAME@VERSION or ""."""
    answered: int
    failed: int
    metrics: Mapping[str, Figure]
    by_kind: Mapping[str, Mapping[str, Figure]]
    """Kind of case (for unanswerable "unanswerable: near-miss" ...) -> metric -> figure."""
    failures: Mapping[str, int]
    """Of answerable cases: "retrieved-right", "retrieved-wrong", "missed-right", "missed-wrong"."""
    seconds: Mapping[str, Mapping[str, float]]
    """"retrieve", "prefill", "decode", "total", "cpu" -> {"p50", "p95", "mean"}."""
    tokens: Mapping[str, float]
    """Means: "prompt", "answer"."""
    memory_mb: float
    spread: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """metric -> its value with each training seed, this arm first; () without further seeds."""
    cost: Mapping[str, float] = field(default_factory=dict)
    """"one_time", "update", "thousand_questions", "acceptable_answer", in the price sheet's currency."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One common saying about RAG or fine-tuning, held against this team's measurement."""

    topic: str
    """"updating", "hallucination" ..."""
    side: Literal["RAG", "fine-tuning", "both"]
    says: str
    verdict: Literal["holds", "does not hold", "not measured"]
    evidence: str
    """The numbers it rests on with n and interval, or what to run to measure it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the decision."""

    question: str
    answer: str
    """"yes", "no", "unknown"."""
    evidence: str
    """The measured number and interval it rests on."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One recommendation and what would change it."""

    recommend: Recommended
    sentence: str
    steps: tuple[Step, ...]
    would_change: tuple[str, ...]
    prior: bool = False
    """From answers to questions, not from a measurement."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that report.json holds and report.html shows."""

    id: str
    created: str
    title: str
    verdict: str
    """The answer in one sentence, with its numbers."""
    primary: str
    """Of METRICS; declared before anything ran."""
    bar: float
    """What the primary metric must reach to be good enough."""
    arms: tuple[ArmReport, ...]
    pairs: tuple[Pair, ...]
    power: tuple[Power, ...]
    cases: Mapping[str, Any]
    """{"n", "kinds": {kind: n}, "hash", "accepted": {...} or None, "leaks": [...], "warnings": [...], "documents"}."""
    retrieval: Mapping[str, Figure]
    """"recall@1", "recall@3", "recall@5", "recall@10", "mrr@10"; empty without gold spans."""
    sections: Mapping[str, Any]
    """Measured beside the rows: "freshness", "forgetting", "curve", "cost", "latency", "style", "judge", "tuning"
    (tries of prompts). What is missing is in `missing`."""
    missing: Mapping[str, str]
    """Section or arm -> why it was not measured and what to run."""
    claims: tuple[Claim, ...]
    advice: Advice | None
    notes: tuple[str, ...]
    manifest: Mapping[str, Any]
    """Hashes, versions, machine, commands, seconds of each part."""
    format: int = FORMAT


def row_line(row: Row) -> str:
    """A row as one line of rows.jsonl, without the line end. Raises CompareError for a score that is no number."""
    for name, score in row.scores.items():
        if not math.isfinite(score):
            raise CompareError(f"{name} of {row.arm!r} on case {row.case!r} is {score}; mend the metric")
    return _adapter(Row).dump_json(row).decode()  # type: ignore[no-any-return]


def read_row(line: str) -> Row:
    """The row of a line. Raises ValueError when it is none."""
    return _adapter(Row).validate_json(line)  # type: ignore[no-any-return]


def report_json(report: Report) -> str:
    """A report as the text of report.json."""
    return _adapter(Report).dump_json(report, indent=1).decode()  # type: ignore[no-any-return]


def read_report(text: str | bytes, *, origin: str) -> Report:
    """The report of a report.json; `origin` is named in errors. Raises CompareError, also for another format."""
    import json

    try:
        raw = json.loads(text)
        found = raw.get("format") if isinstance(raw, dict) else None
    except ValueError as error:
        raise CompareError(f"{origin} is no report ({error}); name a report.json of openbook compare") from None
    if found != FORMAT:
        raise CompareError(
            f"{origin} has the format {found!r} and this openbook reads {FORMAT}; make it again with: openbook compare"
        )
    try:
        return _adapter(Report).validate_python(raw)  # type: ignore[no-any-return]
    except ValueError as error:
        first = str(error).splitlines()
        raise CompareError(f"{origin} is no whole report ({' '.join(first[1:3])}); make it again") from None


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
