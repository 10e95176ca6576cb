"""Reports in, one line each in a file that grows; that file in, a picture of how the arms went out.

A line holds what is worth watching over months: every arm's metrics with intervals, seconds and costs, and the hash of
the cases, since figures of other cases do not go on a curve. Needs matplotlib (the extra `compare`) for the picture.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.compare.schema import FOUR, METRICS, Report
from openbook.errors import CompareError
from openbook.extras import need
from openbook.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT = 1

_LOOKS = {
    "base": ("#6b7280", "o", ":"),
    "rag": ("#0072B2", "s", "-"),
    "tuned": ("#D55E00", "^", "--"),
    "tuned+rag": ("#009E73", "D", "-."),
}
"""Okabe-Ito colours, told apart by marker and line as well."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One report as the history remembers it."""

    id: str
    created: str
    title: str
    primary: str
    cases: str
    """Hash of the frozen cases."""
    arms: Mapping[str, Mapping[str, Any]]
    """Arm -> {"label", "metrics": {name: [value, low, high, n]}, "p50", "p95" (seconds or None), "cost"}."""


def append(file: Path, report: Report) -> bool:
    """Add the report as the file's last line, in place of an earlier line of the same id; whether it was new.

    The file appears whole. Raises CompareError when the file holds something else.

    A report made again from the same rows keeps its id and so its place.
    """
    known = read(file) if file.exists() else []
    entry = _entry(report)
    new = all(earlier.id != entry.id for earlier in known)
    entries = [*known, entry] if new else [entry if earlier.id == entry.id else earlier for earlier in known]
    write_atomic(file, "".join(_line(one) for one in entries))
    return new


def read(file: Path) -> list[Entry]:
    """The entries of a history, oldest first. Raises CompareError naming the line that is none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CompareError(f"history {str(file)!r} cannot be read ({error}); name another file") from None
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            if raw.pop("format") != FORMAT:
                raise ValueError(f"it is not of format {FORMAT}")
            entries.append(Entry(**raw))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CompareError(
                f"line {number} of {str(file)!r} is no line of a history ({error}); name another file or mend it"
            ) from None
    return entries


def plot(file: Path, out: Path, *, metric: str = "") -> Path:
    """Draw one metric of the four arms over the reports of a history, with intervals, as PNG or SVG by the suffix.

    metric: "" is the newest report's primary one. Lines stop where the cases changed: figures before and after are of
    other questions. Raises CompareError for an empty history or a metric it does not hold.
    """
    entries = read(file)
    if not entries:
        raise CompareError(f"history {str(file)!r} is empty; add a report with: openbook compare --history {file.name}")
    metric = metric or entries[-1].primary
    if not any(metric in arm["metrics"] for entry in entries for arm in entry.arms.values()):
        raise CompareError(f"no report of {str(file)!r} has the metric {metric!r}; name one of its metrics")
    need("matplotlib", extra="compare", purpose="drawing a history")
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind = out.suffix.lower().lstrip(".") or "png"
    if kind not in ("png", "svg", "pdf"):
        raise CompareError(f"{str(out)!r} is no picture; end its name in .png, .svg or .pdf")
    # names and times in the file would make the same history another file
    with rc_context({"svg.hashsalt": "openbook", "svg.fonttype": "none"}):
        sheet = Figure(figsize=(max(7.0, min(16.0, 3 + 0.5 * len(entries))), 4.2), dpi=120, layout="constrained")
        FigureCanvasAgg(sheet)
        axes = sheet.add_subplot()
        _draw(axes, entries, metric)
        stream = io.BytesIO()
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        sheet.savefig(stream, format=kind, metadata=dated)
    write_atomic(out, stream.getvalue())
    return out


def _draw(axes: Axes, entries: Sequence[Entry], metric: str) -> None:
    measure = METRICS.get(metric)
    changes = [at for at in range(1, len(entries)) if entries[at].cases != entries[at - 1].cases]
    bounds = [0, *changes, len(entries)]
    names = [name for name in FOUR if any(metric in entry.arms.get(name, {}).get("metrics", {}) for entry in entries)]
    for place, name in enumerate(names):
        colour, marker, line = _LOOKS[name]
        beside = 0.06 * (place - (len(names) - 1) / 2)
        label: str | None = name
        for start, end in pairwise(bounds):
            points = [
                (at + beside, entries[at].arms[name]["metrics"][metric])
                for at in range(start, end)
                if metric in entries[at].arms.get(name, {}).get("metrics", {})
            ]
            if not points:
                continue
            values = [100 * figure[0] for _, figure in points]
            below = [100 * (figure[0] - figure[1]) for _, figure in points]
            above = [100 * (figure[2] - figure[0]) for _, figure in points]
            axes.errorbar(
                [at for at, _ in points],
                values,
                yerr=[[max(0.0, size) for size in below], [max(0.0, size) for size in above]],
                color=colour,
                marker=marker,
                markersize=5,
                linestyle=line,
                linewidth=1.6,
                elinewidth=1,
                capsize=2,
                label=label,
            )
            label = None
    for number, at in enumerate(changes):
        axes.axvline(at - 0.5, color="#9ca3af", linewidth=1, linestyle=(0, (2, 3)))
        if not number:
            axes.annotate(
                "other cases", (at - 0.5, 1), xycoords=("data", "axes fraction"), xytext=(4, -11),
                textcoords="offset points", fontsize=8, color="#6b7280",
            )  # fmt: skip
    every = max(1, -(-len(entries) // 12))
    shown = range(0, len(entries), every)
    axes.set_xticks(list(shown), [entries[at].created[:10] or entries[at].id[:10] for at in shown], fontsize=8)
    axes.set_xlim(-0.5, len(entries) - 0.5)
    axes.set_ylim(0, 102)
    axes.set_ylabel("%")
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    better = f" ({measure.better} is better)" if measure else ""
    axes.set_title(f"{measure.label if measure else metric}{better}, with 95 % intervals", fontsize=11, loc="left")
    axes.legend(frameon=False, fontsize=9, ncols=4, loc="upper left", bbox_to_anchor=(0, -0.1))


def _entry(report: Report) -> Entry:
    return Entry(
        id=report.id,
        created=report.created,
        title=report.title,
        primary=report.primary,
        cases=str(report.cases.get("hash", "")),
        arms={
            arm.name: {
                "label": arm.label,
                "metrics": {
                    name: [round(figure.value, 6), round(figure.low, 6), round(figure.high, 6), figure.n]
                    for name, figure in arm.metrics.items()
                },
                "p50": arm.seconds.get("total", {}).get("p50"),
                "p95": arm.seconds.get("total", {}).get("p95"),
                "cost": dict(arm.cost),
            }
            for arm in report.arms
        },
    )


def _line(entry: Entry) -> str:
    raw = {"format": FORMAT, **{name: getattr(entry, name) for name in Entry.__slots__}}
    return json.dumps(raw, ensure_ascii=False) + "\n"
