"""Scored rows, cases and measured sections in, a Report out. Knows no model and no file.

Rows may come in any order; of one arm and case the last counts. What an arm was not asked is absent, never 0.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

from openbook.compare import stats
from openbook.compare.schema import DIAGNOSTICS, FOUR, METRICS, ArmReport, Figure, Pair, Report, Row
from openbook.errors import CompareError
from openbook.records import Case

DEPTHS = (1, 3, 5, 10)
"""Of recall@k."""
CLEAN = "not seen in training"
"""Heading of all cases that training shared nothing with, where some did."""
STEPS = ("retrieve", "prefill", "decode", "total", "cpu")


def cluster(case: Case) -> str:
    """What a case is about: cases of one document, or of one thing asked in several ways, are not independent.

    >>> cluster(Case("?", id="q1"))
    'case q1'
    """
    documents = sorted({span.document for span in case.spans}) or list(case.without)
    return documents[0] if documents else f"case {case.same or case.id}"


def kind_of(case: Case) -> str:
    """Under which heading a case is shown.

    >>> kind_of(Case("?", kind="unanswerable", why="near-miss"))
    'unanswerable: near-miss'
    """
    return f"{case.kind}: {case.why}" if case.why else case.kind


def build(
    cases: Sequence[Case],
    rows: Iterable[Row],
    *,
    manifest: Mapping[str, Any],
    facts: Mapping[str, Any],
    sections: Mapping[str, Any],
    missing: Mapping[str, str],
    primary: str,
    bar: float,
    notes: Sequence[str] = (),
) -> Report:
    """The report without verdict, claims and advice, which read it.

    manifest needs "id", "created", "title" and "arms": name -> {"label", "role", "model", "adapter"}. sections may hold
    "retrieval": {case id: rank or None}, which becomes `retrieval`. Raises CompareError when no arm has a row.
    """
    known = {case.id: case for case in cases}
    by_arm: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.case in known:
            by_arm[row.arm][row.case] = row
    if not by_arm:
        raise CompareError("there are no rows to report; run: openbook compare")
    clusters = {case.id: cluster(case) for case in cases}
    told: Mapping[str, Mapping[str, str]] = manifest["arms"]
    leaked = {leak["case"] for leak in facts.get("leaks", ()) if leak["how"] != "shown"}
    arms = [_arm(name, by_arm[name], known, clusters, told.get(name, {}), leaked) for name in _ordered(by_arm)]
    arms = [replace(arm, spread=_spread(arm, arms)) if arm.role == "four" else arm for arm in arms]
    kinds = Counter(kind_of(case) for case in cases)
    return Report(
        id=manifest["id"],
        created=manifest["created"],
        title=manifest["title"],
        verdict="",
        primary=primary,
        bar=bar,
        arms=tuple(arms),
        pairs=tuple(_pairs(by_arm, clusters)),
        power=stats.power_table(_asked(by_arm, primary) or len(cases)),
        cases={
            **facts,
            "hash": manifest.get("cases", ""),
            "n": len(cases),
            "kinds": dict(kinds),
            "documents": len(set(clusters.values())),
        },
        retrieval=_retrieval(sections.get("retrieval", {}), clusters),
        sections={name: found for name, found in sections.items() if name != "retrieval"},
        missing=missing,
        claims=(),
        advice=None,
        notes=tuple(notes),
        manifest=manifest,
    )


def _ordered(names: Iterable[str]) -> list[str]:
    order = [*FOUR, *DIAGNOSTICS]

    def place(name: str) -> tuple[int, str]:
        arm = name.partition("#")[0]
        return (order.index(arm) if arm in order else len(order), name)

    return sorted(names, key=place)


def _arm(
    name: str,
    rows: Mapping[str, Row],
    cases: Mapping[str, Case],
    clusters: Mapping[str, str],
    told: Mapping[str, str],
    leaked: Collection[str],
) -> ArmReport:
    role: Literal["four", "diagnostic", "seed"] = "seed" if "#" in name else "four" if name in FOUR else "diagnostic"
    answers = {case: row.answer for case, row in rows.items() if row.answer is not None}
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for case, row in rows.items():
        by_kind[kind_of(cases[case])].append(row)
        if leaked and case not in leaked:
            by_kind[CLEAN].append(row)
    seconds: dict[str, list[float]] = {step: [] for step in STEPS}
    for case, answer in answers.items():
        for step in ("retrieve", "prefill", "decode", "total"):
            seconds[step].append(getattr(answer.seconds, step))
        seconds["cpu"].append(rows[case].cpu_seconds)
    asked = [answer for answer in answers.values() if answer.model]
    return ArmReport(
        name=name,
        label=told.get("label", name),
        role=role,
        model=told.get("model", ""),
        adapter=told.get("adapter", ""),
        answered=len(answers),
        failed=len(rows) - len(answers),
        metrics=_figures(rows.values(), clusters),
        by_kind={kind: _figures(some, clusters) for kind, some in sorted(by_kind.items())},
        failures=_failures(rows.values()),
        seconds={step: _spent(values) for step, values in seconds.items() if values},
        tokens={
            "prompt": fmean(one.prompt_tokens for one in asked) if asked else 0.0,
            "answer": fmean(one.answer_tokens for one in asked) if asked else 0.0,
        },
        memory_mb=max((row.memory_mb for row in rows.values()), default=0.0),
    )


def _figures(rows: Iterable[Row], clusters: Mapping[str, str]) -> dict[str, Figure]:
    values: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in rows:
        for name, score in row.scores.items():
            values[name].append((clusters[row.case], score))
    return {
        name: stats.figure([s for _, s in values[name]], [c for c, _ in values[name]], kind=METRICS[name].kind)
        for name in METRICS
        if name in values
    }


def _failures(rows: Iterable[Row]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for row in rows:
        if "retrieved" in row.scores and "answer_correct" in row.scores:
            shown = "retrieved" if row.scores["retrieved"] else "missed"
            found[f"{shown}-{'right' if row.scores['answer_correct'] else 'wrong'}"] += 1
    return {name: found[name] for name in ("retrieved-right", "retrieved-wrong", "missed-right", "missed-wrong")}


def _spent(values: Sequence[float]) -> dict[str, float]:
    import numpy as np

    p50, p95 = np.quantile(values, [0.5, 0.95])
    return {"p50": float(p50), "p95": float(p95), "mean": fmean(values)}


def _spread(arm: ArmReport, arms: Sequence[ArmReport]) -> dict[str, tuple[float, ...]]:
    seeds = [other for other in arms if other.role == "seed" and other.name.partition("#")[0] == arm.name]
    return {
        name: (figure.value, *(seed.metrics[name].value for seed in seeds if name in seed.metrics))
        for name, figure in arm.metrics.items()
        if seeds
    }


def _pairs(by_arm: Mapping[str, Mapping[str, Row]], clusters: Mapping[str, str]) -> list[Pair]:
    found = []
    present = [name for name in FOUR if name in by_arm]
    for metric in METRICS:
        scores = {
            name: {case: row.scores[metric] for case, row in by_arm[name].items() if metric in row.scores}
            for name in present
        }
        family = [
            stats.compare(a, b, metric, scores[a], scores[b], clusters)
            for a, b in combinations(present, 2)
            if scores[a].keys() & scores[b].keys()
        ]
        found += stats.holm(family)
    return found


def _asked(by_arm: Mapping[str, Mapping[str, Row]], metric: str) -> int:
    """Cases that the metric was scored on in the arm that has most of them."""
    return max(sum(metric in row.scores for row in rows.values()) for rows in by_arm.values())


def _retrieval(ranks: Mapping[str, int | None], clusters: Mapping[str, str]) -> dict[str, Figure]:
    known = {case: rank for case, rank in ranks.items() if case in clusters}
    if not known:
        return {}
    about = [clusters[case] for case in known]
    found = {
        f"recall@{depth}": stats.figure(
            [float(rank is not None and rank <= depth) for rank in known.values()], about, kind="share"
        )
        for depth in DEPTHS
    }
    found["mrr@10"] = stats.figure([1 / rank if rank else 0.0 for rank in known.values()], about, kind="mean")
    return found
