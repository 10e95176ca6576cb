"""Measured figures in, Markdown out: tables, ratios and how they stand to the aims. Pure: no file, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from bench.common import number, table

OURS = "openbook"
FLOPS_PER_TOKEN = 6 * 12 * 384**2 * 2
"""MiniLM-L6: six layers of 12 x 384^2 weights, a multiply and an add each."""
AIMS = {"ingest": 2.5, "query": 2.0, "search": 5.0}
"""Openbook against the fastest peer: times as many chunks/s, times as short p50."""


def render(results: Mapping[str, Any]) -> str:
    """All tables of a run as Markdown."""
    return "\n\n".join(part for part in _parts(results) if part)


def _parts(results: Mapping[str, Any]) -> Iterable[str]:
    if "ingest" in results:
        yield "### Ingest: texts to searchable\n\n" + _ingest(results)
    for size, sides in sorted(results.get("query", {}).items(), key=lambda item: int(item[0])):
        yield f"### Hybrid query over {int(size):,} chunks\n\n" + _query(sides)
    if verdicts := aims(results):
        headers = ["aim", "wanted", "measured", "met"]
        yield "### Openbook against the fastest peer\n\n" + table(headers, verdicts)
    if "tune" in results:
        yield "### How the peers were set\n\n" + _tuning(results["tune"])
    if "versions" in results:
        yield "Versions: " + "; ".join(
            f"{name} ({', '.join(f'{package} {version}' for package, version in found.items())})"
            for name, found in results["versions"].items()
        )


def _ingest(results: Mapping[str, Any]) -> str:
    headers = ["side", "runs", "chunks/s", "lowest", "highest", "embedding alone/s", "peak MB", "grown MB"]
    if limit := _limit(results):
        headers.append("of matrix limit")
    rows = []
    for name, runs in results["ingest"].items():
        rates = [run["chunks_per_second"] for run in runs.values()]
        alone = _middle(runs, "embed_per_second")
        row = [name, len(rates), median(rates), min(rates), max(rates), alone]
        row += [_middle(runs, "peak_mb"), _middle(runs, "grown_mb")]
        rows.append([*row, f"{alone / limit:.0%}"] if limit else row)
    note = ""
    if synced := [run["sync"] for run in results["ingest"].get(OURS, {}).values() if "sync" in run]:
        rate = median(run["chunks"] / run["seconds"] for run in synced)
        note = f"\n\nThe same text as {synced[0]['files']} files through `openbook sync`: {number(rate)} chunks/s."
    if limit:
        tokens, rate = results["tokens_per_chunk"], results["roofline"]["bfloat16"]
        note += (
            f"\n\nMatrix limit: {number(rate)} GFLOP/s measured in bfloat16 over {number(tokens)} tokens a chunk at "
            f"{number(FLOPS_PER_TOKEN / 1e6)} MFLOP a token (weights only) = {number(limit)} chunks/s."
        )
    return table(headers, rows) + note


def _query(sides: Mapping[str, Any]) -> str:
    headers = [
        "side",
        "query p50 ms",
        "p95",
        "search alone p50 ms",
        "p95",
        "dense p50 ms",
        "dense recall@10",
        "load s",
        "peak MB",
    ]
    rows = [
        [
            name,
            *(1000 * side["query"][key] for key in ("median", "p95")),
            *(1000 * side["search"][key] for key in ("median", "p95")),
            1000 * side["dense"]["median"],
            f"{side['dense_recall']:.3f}",
            side["load_seconds"],
            side["peak_mb"],
        ]
        for name, side in sides.items()
    ]
    return table(headers, rows)


def _tuning(tuned: Mapping[str, Any]) -> str:
    headers = ["peer", "precision", "batch", "embedding/s", "one question ms", "taken for"]
    rows: list[list[object]] = []
    for name, found in tuned.items():
        for trial in found["trials"]:
            setting = {key: trial[key] for key in ("dtype", "batch")}
            uses = ", ".join(use for use in ("ingest", "query") if found[use] == setting)
            figures = [trial["embed_per_second"], 1000 * trial["one_seconds"]]
            rows.append([name, trial["dtype"], trial["batch"], *figures, uses or "-"])
    return table(headers, rows)


def aims(results: Mapping[str, Any]) -> list[list[object]]:
    """Rows (aim, wanted, measured, met) of Openbook against the fastest peer, for everything that was measured."""
    rows: list[list[object]] = []
    if OURS not in results.get("versions", {OURS: None}):
        return rows
    ingest = {name: _middle(runs, "chunks_per_second") for name, runs in results.get("ingest", {}).items()}
    if peers := [rate for name, rate in ingest.items() if name != OURS]:
        rows.append(_row("ingest, chunks/s", AIMS["ingest"], ingest[OURS] / max(peers)))
    for size, sides in sorted(results.get("query", {}).items(), key=lambda item: int(item[0])):
        for kind in ("query", "search"):
            times = {name: side[kind]["median"] for name, side in sides.items()}
            if peers := [seconds for name, seconds in times.items() if name != OURS]:
                rows.append(_row(f"{kind} p50 at {int(size):,}", AIMS[kind], min(peers) / times[OURS]))
        found = sides[OURS]["dense_recall"]
        met = "yes" if found >= 0.98 else "no"
        rows.append([f"dense recall@10 at {int(size):,}", ">= 0.98", f"{found:.3f}", met])
    return rows


def _row(name: str, wanted: float, ratio: float) -> list[object]:
    return [name, f"{wanted:.1f} x", f"{ratio:.2f} x", "yes" if ratio >= wanted else "no"]


def _middle(runs: Mapping[str, Mapping[str, float]], key: str) -> float:
    return median(run[key] for run in runs.values())


def _limit(results: Mapping[str, Any]) -> float | None:
    if "roofline" not in results or "tokens_per_chunk" not in results:
        return None
    rate: float = results["roofline"]["bfloat16"] * 1e9 / FLOPS_PER_TOKEN / results["tokens_per_chunk"]
    return rate
