"""Reports, scored rows and what lies beside them in; what each arm took out. Knows no price.

Seconds are wall seconds of one machine. What was not measured is None, never 0: see openbook.compare.cost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from openbook.compare.schema import FOUR, ArmReport, Row

COSTED = (*FOUR, "extractive", "endpoint", "endpoint-base")
"""Arms that could be shipped; the other diagnostics have no price."""
SEARCHING = frozenset({"rag", "tuned+rag", "extractive", "endpoint"})


@dataclass(frozen=True, slots=True)
class Spent:
    """What one arm was measured to take. Seconds are wall seconds of one machine; None is not measured."""

    arm: str
    question_seconds: float | None
    """Mean of a question on the machine of the sheet; of an endpoint's arm only the search."""
    prompt_tokens: float = 0.0
    """Mean a question; has a price only at an endpoint, as has answer_tokens."""
    answer_tokens: float = 0.0
    endpoint: bool = False
    searches: bool = False
    """Has a library: parsed and embedded once, and again where documents change."""
    parse_seconds: float | None = 0.0
    embed_seconds: float | None = 0.0
    trained: bool = False
    train_seconds: float | None = 0.0
    """Of one training with its checks, merging and gate."""
    labelled: int = 0
    """Examples that people wrote, held-out ones included."""
    reviewed: int = 0
    """Made examples that people accepted or rejected."""
    evaluate_seconds: float = 0.0
    """Of asking the arm all cases."""
    update_seconds: float | None = None
    """Of taking in one change of a document, where it searches; None takes one document's share of the library."""
    documents: int = 0
    """In the library."""
    questions: int = 0
    """Cases that acceptable, wrong and refused rest on."""
    acceptable: float = 0.0
    """Share of cases; with wrong and refused it makes 1."""
    acceptable_low: float = 0.0
    acceptable_high: float = 1.0
    wrong: float = 0.0
    refused: float = 0.0
    """Declined or failed, where it should not have."""
    quality: float | None = None
    """Of the primary metric."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything about a comparison that has a price."""

    arms: tuple[Spent, ...]
    cases_written: int = 0
    """Cases that people wrote."""
    cases_reviewed: int = 0
    """Made cases that people accepted or rejected."""
    bar: float | None = None
    """What `quality` must reach; None asks nothing."""


def measured(
    arms: Sequence[ArmReport],
    rows: Iterable[Row],
    *,
    primary: str,
    bar: float | None,
    trainings: Mapping[str, Sequence[Mapping[str, Any]]],
    library: Mapping[str, float],
    updates: Mapping[str, float],
    cases_written: int,
    cases_reviewed: int = 0,
    endpoints: Collection[str] = ("endpoint", "endpoint-base"),
) -> Measured:
    """Collect what was measured: reports and scored rows of all arms, and what lies beside them.

    `trainings` are the adapters' manifests by arm, one for each seed that was trained. `library` has "parse", "embed"
    (seconds) and "documents"; {} is not measured. `updates` are machine seconds of one edit by arm. `endpoints` are the
    arms whose model is paid by tokens: all of them where the workspace's own model is an endpoint's.
    """
    by_arm: dict[str, list[Row]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(row)
    spent = []
    for arm in arms:
        if arm.name not in COSTED:
            continue
        answered = [row.answer for row in by_arm.get(arm.name, ()) if row.answer is not None]
        searches, remote, tuned = arm.name in SEARCHING, arm.name in endpoints, arm.name.startswith("tuned")
        paid = [one.seconds.retrieve if remote else one.seconds.total for one in answered]
        acceptable, wrong, refused, count = outcomes(by_arm.get(arm.name, ()))
        figure, quality = arm.metrics.get("acceptable"), arm.metrics.get(primary)
        spent.append(
            Spent(
                arm.name,
                fmean(paid) if paid else None,
                prompt_tokens=fmean(one.prompt_tokens for one in answered) if answered else 0.0,
                answer_tokens=fmean(one.answer_tokens for one in answered) if answered else 0.0,
                endpoint=remote,
                searches=searches,
                parse_seconds=library.get("parse") if searches else 0.0,
                embed_seconds=library.get("embed") if searches else 0.0,
                documents=int(library.get("documents", 0)),
                evaluate_seconds=sum(one.seconds.total for one in answered),
                update_seconds=updates.get(arm.name) if searches else None,
                questions=count,
                acceptable=acceptable,
                acceptable_low=figure.low if figure else 0.0,
                acceptable_high=figure.high if figure else 1.0,
                wrong=wrong,
                refused=refused,
                quality=quality.value if quality else None,
                trained=tuned,
            )
        )
        if tuned:
            spent[-1] = _with_training(spent[-1], trainings.get(arm.name, ()))
    return Measured(tuple(spent), cases_written, cases_reviewed, bar)


def outcomes(rows: Iterable[Row]) -> tuple[float, float, float, int]:
    """Shares of acceptable, wrong and refused (or failed) of the rows that were scored or failed, and how many."""
    counts = {"acceptable": 0, "wrong": 0, "refused": 0}
    for row in rows:
        if row.answer is None:
            counts["refused"] += 1
        elif "acceptable" in row.scores:
            missed = "refused" if row.answer.abstained else "wrong"
            counts["acceptable" if row.scores["acceptable"] else missed] += 1
    n = sum(counts.values())
    acceptable, wrong, refused = (count / n if n else 0.0 for count in counts.values())
    return acceptable, wrong, refused, n


def _with_training(spent: Spent, manifests: Sequence[Mapping[str, Any]]) -> Spent:
    """With the first adapter's examples and the mean seconds of all."""
    seconds = [one.get("seconds", one.get("training_seconds")) for one in manifests]
    known = [float(one) for one in seconds if isinstance(one, int | float)]
    data: Mapping[str, Any] = manifests[0].get("data", {}) if manifests else {}
    library: Mapping[str, Any] = (manifests[0].get("library") or {}) if manifests else {}
    written = sum(int(one.get("examples", 0)) for one in data.get("files", ()))
    # Held-out examples of an adapter that learned from the library are lessons, which nobody wrote.
    held = int(data.get("validation", 0)) if written and not library else 0
    review = library.get("review") or {}
    return replace(
        spent,
        train_seconds=fmean(known) if known else None,
        labelled=written + held,
        reviewed=int(review.get("accepted", 0)) + len(review.get("rejected", ())),
    )
