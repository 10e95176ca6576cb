"""Saved runs of bench.reader in, one Markdown table per question of the docs out: mean and range over runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.common import table
from bench.reader_score import short

Runs = Sequence[Mapping[str, Any]]


def tables(runs: Runs) -> str:
    """Arms side by side. A cell is the mean over the runs that have the arm, their range when they differ, and n."""
    results = [run["results"] for run in runs]
    parts = [
        f"{len(runs)} runs, {', '.join(sorted({str(run['date'])[:10] for run in runs}))}",
        _joined(results, lambda entry: entry["summary"]),
        _joined(
            results, lambda entry: {f"seconds per answer, {name}": value for name, value in entry["seconds"].items()}
        ),
    ]
    for split in ("dev", "test"):
        part = _joined(results, lambda entry, split=split: entry.get("handbook", {}).get(split, {}))  # type: ignore[misc]
        parts += [f"handbook, {split}", part] if part else []
    parts += _pairs(results)
    return "\n\n".join(parts)


def _joined(results: Runs, of: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> str:
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        for arm, entry in result["arms"].items():
            if found := of(entry):
                columns.setdefault(arm, []).append(found)
    names = dict.fromkeys(name for some in columns.values() for one in some for name in one)
    rows = [[name, *(cell([one.get(name) for one in some]) for some in columns.values())] for name in names]
    return table(["", *(f"{arm} ({len(some)})" for arm, some in columns.items())], rows) if columns else ""


def cell(values: Sequence[Any]) -> object:
    """One measure over runs: shares as [share, low, high, n], or plain numbers.

    >>> cell([(0.5, 0.3, 0.7, 24), (0.6, 0.4, 0.8, 24)]), cell([(0.5, 0.3, 0.7, 24)])
    ('.55 (.50 to .60) n=24', '.50 [.30, .70] n=24')
    """
    values = [value for value in values if value is not None]
    if not values:
        return None
    if not isinstance(values[0], (list, tuple)):
        return statistics.mean(values)
    shares = [value[0] for value in values]
    n = "/".join(str(n) for n in dict.fromkeys(value[3] for value in values))
    if min(shares) == max(shares):
        low, high = values[0][1:3]
        return f"{short(shares[0])} [{short(low)}, {short(high)}] n={n}"
    return f"{short(statistics.mean(shares))} ({short(min(shares))} to {short(max(shares))}) n={n}"


def _pairs(results: Runs) -> list[str]:
    parts = []
    for name in dict.fromkeys(name for result in results for name in result["pairs"]):
        some = [result["pairs"][name] for result in results if name in result["pairs"]]
        rows = [
            [
                measure,
                *(
                    f"{one[measure]['difference']:+.2f} [{one[measure]['low']:+.2f}, {one[measure]['high']:+.2f}], "
                    f"p = {one[measure]['mcnemar p']:.1g}"
                    for one in some
                ),
            ]
            for measure in some[0]
        ]
        parts += [f"{name}, run by run", table(["", *(f"run {n}" for n in range(1, len(some) + 1))], rows)]
    return parts
