"""How well passages are found: each retriever alone, both fusions, weights and list lengths, on one set of candidates.

XQuAD counts a question as found at the rank of its paragraph's file; the handbook (dev questions) at the rank of the
first chunk that overlaps a gold span. Intervals: bootstrap, 10,000 draws, whole articles (or questions) resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench import handbook_cases, xquad
from bench.common import table, write_json
from bench.quality_workspaces import GoldSpans, handbook_workspace, overlaps, xquad_workspace
from bench.scoring import bootstrap
from openbook import Workspace
from openbook.records import Candidates
from openbook.retrieve.fuse import fuse
from openbook.seams import ANYONE

_DEPTH = 100
Method = Literal["rrf", "dbsf"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to order the candidates."""

    name: str
    method: Method = "rrf"
    dense: float = 1.0
    lexical: float = 1.0
    candidates: int = 50


def _both(method: Method, *, candidates: int = 50, weights: Sequence[float] = (1.0,)) -> list[Setting]:
    return [Setting(f"{method} 1 : {weight:g}, {candidates}", method, 1.0, weight, candidates) for weight in weights]


_WEIGHTS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
SETTINGS = (
    Setting("dense alone", lexical=0.0),
    Setting("lexical alone", dense=0.0),
    *_both("rrf", weights=_WEIGHTS),
    *_both("rrf", candidates=20),
    *_both("rrf", candidates=100),
    *_both("dbsf", weights=_WEIGHTS),
    *_both("dbsf", candidates=20),
    *_both("dbsf", candidates=30),
    *_both("dbsf", candidates=100),
)
"""Named by method, dense weight : lexical weight, and the length of each retriever's list."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question's candidates and which of them are right."""

    found: Candidates
    labels: dict[int, str]
    """What counts as one result: the document on XQuAD, the chunk itself on the handbook."""
    gold: frozenset[str]
    cluster: str


def rank(asked: Asked, setting: Setting) -> float:
    """1-based rank of the first right result among distinct results; infinity when it is not found."""
    cut = setting.candidates
    found = Candidates(asked.found.dense[:cut], asked.found.lexical[:cut], asked.found.version)
    ordered = fuse(found, method=setting.method, dense_weight=setting.dense, lexical_weight=setting.lexical)
    seen = dict.fromkeys(asked.labels[one.id] for one in ordered if one.id in asked.labels)
    return next((float(place) for place, label in enumerate(seen, start=1) if label in asked.gold), float("inf"))


def ask_xquad(workspace: Workspace, questions: Sequence[xquad.Question]) -> list[Asked]:
    """Candidates of XQuAD questions."""
    asked = []
    for question in questions:
        found = _candidates(workspace, question.text)
        chunks = workspace.house.library.chunks([one.id for one in (*found.dense, *found.lexical)])
        labels = {number: chunk.document for number, chunk in chunks.items()}
        asked.append(Asked(found, labels, frozenset({f"xquad/{question.paragraph}"}), question.article))
    return asked


def ask_handbook(workspace: Workspace, *, split: str = "dev") -> list[Asked]:
    """Candidates of the handbook's answerable questions of one split."""
    spans = GoldSpans(workspace)
    asked = []
    for case in handbook_cases.cases():
        if case.kind == "answerable" and case.split == split:
            found = _candidates(workspace, case.question)
            chunks = workspace.house.library.chunks([one.id for one in (*found.dense, *found.lexical)])
            gold = spans.of(case)
            right = frozenset(
                str(number)
                for number, chunk in chunks.items()
                if any(chunk.document == d and chunk.start < end and start < chunk.end for d, start, end in gold)
            )
            asked.append(Asked(found, {number: str(number) for number in chunks}, right, case.id))
    return asked


def shipped_xquad(workspace: Workspace, questions: Sequence[xquad.Question], *, k: int = 10) -> list[float]:
    """Ranks through the public search with the workspace's own settings."""
    ranks = []
    for question in questions:
        names = dict.fromkeys(hit.chunk.document for hit in workspace.search(question.text, k=k))
        place = list(names).index(f"xquad/{question.paragraph}") + 1 if f"xquad/{question.paragraph}" in names else None
        ranks.append(float("inf") if place is None else float(place))
    return ranks


def shipped_handbook(workspace: Workspace, *, split: str = "dev", k: int = 10) -> list[float]:
    """Likewise for the handbook."""
    spans = GoldSpans(workspace)
    ranks = []
    for case in handbook_cases.cases():
        if case.kind == "answerable" and case.split == split:
            gold = spans.of(case)
            hits = workspace.search(case.question, k=k)
            ranks.append(next((float(n) for n, hit in enumerate(hits, start=1) if overlaps(hit, gold)), float("inf")))
    return ranks


def measures(ranks: Sequence[float], clusters: Sequence[str]) -> dict[str, Any]:
    """Recall at 1, 3, 5, 10 and MRR, the latter and recall@5 with intervals."""
    values = np.asarray(ranks)
    return {
        **{f"recall@{k}": float(np.mean(values <= k)) for k in (1, 3, 5, 10)},
        "mrr": float(np.mean(1 / values)),
        "recall@5 interval": bootstrap((values <= 5).astype(float), clusters)[1:3],
        "mrr interval": bootstrap(1 / values, clusters)[1:3],
        "n": len(ranks),
    }


def run() -> None:
    """Measure, print two tables, write bench/out/quality-retrieval.json."""
    results: dict[str, Any] = {}
    questions = xquad.questions()
    with xquad_workspace() as workspace:
        asked = ask_xquad(workspace, questions)
        shipped = shipped_xquad(workspace, questions)
        shown = workspace.settings.retrieve.model_dump()
    results["xquad"] = _compare(asked, shipped)
    with handbook_workspace() as workspace:
        asked = ask_handbook(workspace)
        shipped = shipped_handbook(workspace)
    results["handbook dev"] = _compare(asked, shipped)
    results["shipped settings"] = shown
    for name, rows in results.items():
        if name != "shipped settings":
            print(f"\n{name}, n = {rows[0]['n']} (shipped: {shown['fusion']}, {shown['candidates']} candidates)\n")
            print(_table(rows))
    print(f"\n{write_json('quality-retrieval', results)}")


def _candidates(workspace: Workspace, question: str) -> Candidates:
    return workspace.house.searcher.candidates(question, scope=ANYONE, limit=_DEPTH)[0]


def _compare(asked: Sequence[Asked], shipped: Sequence[float]) -> list[dict[str, Any]]:
    clusters = [one.cluster for one in asked]
    base = np.asarray(shipped)
    rows = [{"setting": "shipped, through search()", **measures(shipped, clusters)}]
    for setting in SETTINGS:
        ranks = [rank(one, setting) for one in asked]
        difference = bootstrap(1 / np.asarray(ranks) - 1 / base, clusters)
        rows.append({"setting": setting.name, **measures(ranks, clusters), "mrr minus shipped": difference[:3]})
    return rows


def _table(rows: Sequence[dict[str, Any]]) -> str:
    def cells(row: dict[str, Any]) -> list[object]:
        low, high = row["mrr interval"]
        difference = row.get("mrr minus shipped")
        return [
            row["setting"],
            *(f"{row[f'recall@{k}']:.3f}" for k in (1, 3, 5, 10)),
            f"{row['mrr']:.3f} [{low:.3f}, {high:.3f}]",
            "" if difference is None else f"{difference[0]:+.4f} [{difference[1]:+.4f}, {difference[2]:+.4f}]",
        ]

    headers = ["ordering", "recall@1", "recall@3", "recall@5", "recall@10", "MRR", "MRR - shipped (paired)"]
    return table(headers, [cells(row) for row in rows])
