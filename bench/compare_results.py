"""What comparisons took and found: minutes, seconds an answer, memory from first to last row, the four arms' figures.

python -m bench.compare_results docs/results/*      folders with manifest.json, report.json and rows.jsonl (or .gz)
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bench.common import table
from openbook.compare.schema import FOUR, read_report


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a comparison, packed or not."""
    packed = folder / "rows.jsonl.gz"
    text = gzip.decompress(packed.read_bytes()).decode() if packed.exists() else (folder / "rows.jsonl").read_text()
    yield from map(json.loads, text.splitlines())


def took(folder: Path) -> list[object]:
    """One line of the table of what it took."""
    manifest = json.loads((folder / "manifest.json").read_text())
    answered = [row for row in rows(folder) if row["answer"] is not None]
    by_arm = {arm: [row for row in answered if row["arm"] == arm] for arm in FOUR}
    means = [fmean(row["answer"]["seconds"]["total"] for row in some) for some in by_arm.values() if some]
    four = sorted((row for some in by_arm.values() for row in some), key=lambda row: row["at"])
    early, late = four[len(four) // 4 : len(four) // 2], four[-len(four) // 4 :]
    return [
        folder.name,
        len({row["case"] for row in answered}),
        len({row["arm"] for row in answered}),
        len(answered),
        round(manifest["seconds"]["ask"] / 60, 1),
        round(sum(manifest["seconds"].values()) / 60, 1),
        round(100 * sum(means) / 60, 1),
        round(median(row["memory_mb"] for row in early)),
        round(median(row["memory_mb"] for row in late)),
    ]


def found(folder: Path) -> list[list[object]]:
    """The primary figure and the acceptable answers of each arm."""
    report = read_report((folder / "report.json").read_bytes(), origin=str(folder))
    lines = []
    for arm in report.arms:
        cells: list[object] = [folder.name, arm.label]
        for metric in (report.primary, "refusal", "invents", "acceptable"):
            figure = arm.metrics.get(metric)
            cells.append(f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}] n {figure.n}" if figure else "")
        lines.append(cells)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    folders = [folder for folder in parser.parse_args().folders if (folder / "report.json").is_file()]
    heads = [
        "",
        "cases",
        "arms",
        "rows",
        "min asking",
        "min in all",
        "min 100 cases x 4",
        "MB 2nd quarter",
        "MB last quarter",
    ]
    print(table(heads, [took(folder) for folder in folders]))
    heads = ["", "arm", "primary", "refusal", "invents", "acceptable"]
    print(table(heads, [line for folder in folders for line in found(folder)]))


if __name__ == "__main__":
    main()
