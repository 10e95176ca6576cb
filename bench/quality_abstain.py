"""When to decline: how well retrieval's features tell answerable from unanswerable questions, and the fitted threshold.

Answerable and unanswerable questions of the handbook's dev split, and XQuAD: answerable; the same question with its
article hidden (by a search condition); with only its own paragraph hidden; and asked of the handbook. The confidence
function shipped in openbook.answer.abstain is measured beside its parts, and refitted by logistic regression.
The handbook's test split is reported at the shipped threshold and not used otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import handbook_cases, xquad
from bench.common import table, write_json
from bench.quality_workspaces import handbook_workspace, xquad_workspace
from bench.scoring import auc, wilson
from openbook import Workspace
from openbook.answer.abstain import confidence
from openbook.prose import content, sentences
from openbook.records import Condition, Hit, Scope
from openbook.seams import ANYONE

_GROUP_WEIGHTS = {
    "handbook dev": 1.0,
    "xquad": 0.7,
    "handbook dev near-miss": 0.5,
    "handbook dev off-corpus": 0.15,
    "handbook dev false-premise": 0.15,
    "xquad article hidden": 0.3,
    "xquad paragraph hidden": 0.25,
    "xquad asked of handbook": 0.15,
}
"""What a group weighs in the fit: real questions and near misses count most."""
_POSITIVE = ("handbook dev", "xquad")


@dataclass(frozen=True, slots=True)
class Features:
    """What the hits of one question tell."""

    shipped: float
    """openbook.answer.abstain.confidence."""
    cosine: float
    cover: float
    """Share of the question's content words in the best sentence of the first three hits."""
    cover_union: float
    """Likewise in the first three hits together."""
    bm25: float
    bm25_by_words: float
    """Best BM25 score over the root of the number of content words."""
    agreement: float
    """1 / dense rank + 1 / lexical rank of the best hit."""


def features(question: str, hits: Sequence[Hit]) -> Features:
    """The features of one search result."""
    asked = content(question)
    count = max(1, len(asked))
    texts = [hit.chunk.text for hit in hits[:3]]
    covers = [len(asked & content(text[span.start : span.end])) / count for text in texts for span in sentences(text)]
    bm25 = max((hit.lexical_score or 0.0 for hit in hits), default=0.0)
    first = hits[0] if hits else None
    return Features(
        shipped=confidence(question, hits),
        cosine=max((hit.dense_score for hit in hits if hit.dense_score is not None), default=0.0),
        cover=max(covers, default=0.0),
        cover_union=len(asked & set().union(*(content(text) for text in texts))) / count,
        bm25=bm25,
        bm25_by_words=bm25 / count**0.5,
        agreement=sum(1 / r for r in (first.dense_rank, first.lexical_rank) if r) if first else 0.0,
    )


def gather() -> dict[str, list[Features]]:
    """Features of every group of questions, with the hits `ask` would show."""
    groups: dict[str, list[Features]] = {}

    def add(group: str, workspace: Workspace, question: str, scope: Scope = ANYONE) -> None:
        hits = workspace.search_result(question, k=workspace.settings.answer.passages, scope=scope).hits
        groups.setdefault(group, []).append(features(question, hits))

    questions = xquad.questions()
    with handbook_workspace() as workspace:
        for case in handbook_cases.cases():
            add(f"handbook {case.split} {case.type}".strip(), workspace, case.question)
        for question in questions[::4]:
            add("xquad asked of handbook", workspace, question.text)
    with xquad_workspace() as workspace:
        for question in questions:
            add("xquad", workspace, question.text)
            for group, pattern in (
                ("article", f"xquad/{question.article}-*"),
                ("paragraph", f"xquad/{question.paragraph}"),
            ):
                hidden = Scope(where=(Condition("document", "!=", pattern),))
                add(f"xquad {group} hidden", workspace, question.text, hidden)
    return groups


def logistic(
    inputs: npt.NDArray[np.float64], labels: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Intercept and coefficients of an L2-regularised (0.01) logistic regression, by Newton's method."""
    inputs = np.column_stack([np.ones(len(inputs)), inputs])
    ridge = np.diag([0.0, *[0.01] * (inputs.shape[1] - 1)])
    beta = np.zeros(inputs.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-inputs @ beta))
        gradient = inputs.T @ (weights * (labels - chance)) - ridge @ beta
        curvature = (inputs * (weights * chance * (1 - chance))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature, gradient)
        beta += step
        if np.abs(step).max() < 1e-8:
            break
    return beta


def fit(groups: Mapping[str, Sequence[Features]], names: Sequence[str]) -> npt.NDArray[np.float64]:
    """The logistic regression over all groups, each weighted as a whole, both classes alike."""
    inputs, labels, weights = [], [], []
    for group, share in _GROUP_WEIGHTS.items():
        for one in groups[group]:
            inputs.append([getattr(one, name) for name in names])
            labels.append(float(group in _POSITIVE))
            weights.append(share / len(groups[group]))
    label, weight = np.array(labels), np.array(weights)
    for value in (0.0, 1.0):
        weight[label == value] *= len(label) / 2 / weight[label == value].sum()
    return logistic(np.array(inputs), label, weight)


def left_out(groups: Mapping[str, Sequence[Features]], names: Sequence[str]) -> tuple[list[float], list[float]]:
    """Scores of the handbook's dev questions (answerable, unanswerable), each from a fit without it."""
    scores: tuple[list[float], list[float]] = ([], [])
    for group in _GROUP_WEIGHTS:
        if group.startswith("handbook dev"):
            for place, one in enumerate(groups[group]):
                rest = {**groups, group: [*groups[group][:place], *groups[group][place + 1 :]]}
                beta = fit(rest, names)
                score = float(beta @ [1.0, *(getattr(one, name) for name in names)])
                scores[0 if group in _POSITIVE else 1].append(score)
    return scores


def run() -> None:
    """Measure, print, write bench/out/quality-abstain.json."""
    groups = gather()
    results = {"groups": {name: [_plain(one) for one in found] for name, found in groups.items()}}
    _print_auc(groups, results)
    _print_fits(groups, results)
    _print_thresholds(groups, results)
    print(f"\n{write_json('quality-abstain', results)}")


def _unanswerable(groups: Mapping[str, Sequence[Features]], split: str) -> list[Features]:
    return [one for name, found in groups.items() if name.startswith(f"handbook {split} ") for one in found]


def _print_auc(groups: Mapping[str, Sequence[Features]], results: dict[str, Any]) -> None:
    rows = []
    for name in Features.__dataclass_fields__:

        def of(found: Sequence[Features], name: str = name) -> list[float]:
            return [getattr(one, name) for one in found]

        rows.append(
            [
                name,
                auc(of(groups["handbook dev"]), of(_unanswerable(groups, "dev"))),
                *(
                    auc(of(groups["xquad"]), of(groups[against]))
                    for against in ("xquad article hidden", "xquad paragraph hidden", "xquad asked of handbook")
                ),
            ]
        )
    headers = ["AUC", "handbook dev", "XQuAD, article hidden", "XQuAD, paragraph hidden", "XQuAD asked of handbook"]
    print(table(headers, rows))
    results["auc"] = [dict(zip(headers, row, strict=True)) for row in rows]


def _print_fits(groups: Mapping[str, Sequence[Features]], results: dict[str, Any]) -> None:
    rows = []
    for names in (
        ("cosine",),
        ("cover",),
        ("cosine", "cover"),
        ("cosine", "cover", "bm25_by_words"),
        ("cosine", "cover", "agreement"),
    ):
        beta = fit(groups, names)
        rows.append([" + ".join(names), auc(*left_out(groups, names)), ", ".join(f"{value:.2f}" for value in beta)])
    print("\n" + table(["fit", "handbook dev AUC, leave-one-out", "intercept, coefficients"], rows))
    results["fits"] = rows


def _print_thresholds(groups: Mapping[str, Sequence[Features]], results: dict[str, Any]) -> None:
    from openbook.settings import AnswerSettings

    shipped = AnswerSettings().abstain_below
    rows = []
    for bar in sorted({0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, shipped}):

        def below(name: str, bar: float = bar) -> float:
            return float(np.mean([one.shipped < bar for one in groups[name]]))

        def split(name: str, bar: float = bar) -> list[float]:
            false = [one.shipped < bar for one in groups[f"handbook {name}"]]
            true = [one.shipped < bar for one in _unanswerable(groups, name)]
            return [float(np.mean(false)), float(np.mean(true)), sum(true) / max(1, sum(true) + sum(false))]

        hidden = (below("xquad"), below("xquad article hidden"), below("xquad paragraph hidden"))
        rows.append([f"{bar:g}" + (" (shipped)" if bar == shipped else ""), *split("dev"), *hidden])
        if bar == shipped:
            held_out = split("test")
    headers = [
        "decline below",
        "false refusal",
        "recall",
        "precision",
        "XQuAD false refusal",
        "article hidden",
        "paragraph hidden",
    ]
    print("\n" + table(headers, rows))
    test = [one.shipped < shipped for one in _unanswerable(groups, "test")]
    refused = [one.shipped < shipped for one in groups["handbook test"]]
    print(f"\nheld-out handbook test at {shipped}: false refusal {wilson(sum(refused), len(refused))}, ", end="")
    print(f"recall {wilson(sum(test), len(test))}, precision {held_out[2]:.2f}")
    results["thresholds"] = [dict(zip(headers, row, strict=True)) for row in rows]
    results["test"] = dict(zip(("false refusal", "recall", "precision"), held_out, strict=True))


def _plain(one: Features) -> dict[str, float]:
    return {name: getattr(one, name) for name in Features.__dataclass_fields__}
