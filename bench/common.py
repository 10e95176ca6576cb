"""What every bench needs: spreads, tables and a JSON file that says where its numbers come from.

Numbers in, text and a file under bench/out/ out; knows nothing of what is measured.
"""

from __future__ import annotations

import datetime
import json
import math
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from openbook import provenance
from openbook.files import write_atomic

OUT = Path(__file__).resolve().parent / "out"
T = TypeVar("T")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles, 95th percentile (nearest rank), extremes and n of some measurements.

    >>> spread([3.0, 1.0, 2.0])["median"]
    2.0
    """
    if not values:
        raise ValueError("no measurements")
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return {
        "n": len(ordered),
        "median": statistics.median(ordered),
        "p25": rank(0.25),
        "p75": rank(0.75),
        "p95": rank(0.95),
        "min": ordered[0],
        "max": ordered[-1],
    }


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """The function's result and its wall seconds."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def number(value: object) -> str:
    """A number with three significant digits, an integer in full; None as a dash; anything else as it is.

    >>> number(0.0123456), number(1234.5), number(None), number("n/a")
    ('0.0123', '1,234', '-', 'n/a')
    """
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is aligned left, the others right."""
    cells = [list(headers), *[[number(value) for value in row] for row in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headers))]

    def line(values: Sequence[str]) -> str:
        rest = [value.rjust(width) for value, width in zip(values[1:], widths[1:], strict=True)]
        return "| " + " | ".join([values[0].ljust(widths[0]), *rest]) + " |"

    rule = (
        "|"
        + "|".join("-" * (width + 2) if not at else "-" * (width + 1) + ":" for at, width in enumerate(widths))
        + "|"
    )
    return "\n".join([line(cells[0]), rule, *[line(row) for row in cells[1:]]])


def command() -> str:
    """How this process was started, as a person would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return shlex.join(["python", *(["-m", spec.name] if spec else sys.argv[:1]), *sys.argv[1:]])


def write_json(name: str, results: Any) -> Path:
    """Write bench/out/NAME.json with date, command and machine beside the results; returns its path."""
    path = OUT / f"{name}.json"
    content = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command(),
        "machine": provenance.machine(),
        "results": results,
    }
    write_atomic(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path
