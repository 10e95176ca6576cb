"""A run's curves as one PNG: loss, task metric with intervals, learning rate, tokens per second.

Events in, a picture out. Needs matplotlib (the extra `finetune`), loaded on first use.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.extras import need
from openbook.files import write_atomic
from openbook.finetune.live import Event, history

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8a8f98"
"""Of the Okabe-Ito palette: told apart with every common colour blindness; line styles differ as well."""
SIZE = (1200, 800)
"""Pixels of the picture."""


def png(events: Sequence[Event], path: Path) -> None:
    """Draw what the events hold so far; the file appears whole.

    Raises MissingExtra without matplotlib.
    """
    known = history(events)
    steps = [event for event in known if event["kind"] == "step"]
    checks = [event for event in known if event["kind"] == "eval"]
    figure = sheet(SIZE)
    loss, metric, speed, lr = (figure.add_subplot(2, 2, place) for place in (1, 2, 3, 4))
    _loss(loss, steps, checks)
    _metric(metric, checks)
    _speed(speed, steps)
    _dress(lr, "Learning rate")
    lr.plot(*_xy(steps, "lr"), color=BLUE)
    lr.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3), useMathText=True)
    if steps:
        for axes in (loss, metric, speed, lr):
            end = max(event["step"] for event in (*steps, *checks))
            axes.set_xlim(-0.02 * end, 1.03 * end)
    start = next((event for event in known if event["kind"] == "start"), None)
    if start is not None:
        figure.suptitle(f"{start['name']} · {start['model']}", fontsize=12, fontweight="bold", x=0.01, ha="left")
    save(figure, path)


def sheet(size: tuple[int, int]) -> Figure:
    """An empty figure of size pixels, drawn without a screen and without matplotlib's global state."""
    need("matplotlib", extra="finetune", purpose="drawing curves")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def _loss(axes: Axes, steps: Sequence[Event], checks: Sequence[Event]) -> None:
    _dress(axes, "Loss")
    x, y = _xy(steps, "loss")
    axes.plot(x, y, color=BLUE, alpha=0.3, linewidth=1)
    axes.plot(x, _gaps(smooth(y)), color=BLUE, label="training (smoothed)")
    axes.plot(*_xy(checks, "loss"), color=VERMILLION, linestyle="--", marker="o", markersize=5, label="validation")
    if x or checks:
        axes.legend(frameon=False)


def _metric(axes: Axes, checks: Sequence[Event]) -> None:
    scored = [event for event in checks if event["metric"] is not None]
    title = f"{plain(scored[-1]['name'])} (n = {scored[-1]['n']}, 95 % interval)" if scored else "Task metric"
    _dress(axes, title)
    x, y = _xy(scored, "metric")
    axes.plot(x, y, color=GREEN, marker="o", markersize=5)
    ranged = [event for event in scored if event["low"] is not None and event["high"] is not None]
    axes.vlines(
        [event["step"] for event in ranged],
        [event["low"] for event in ranged],
        [event["high"] for event in ranged],
        color=GREEN,
        alpha=0.5,
        linewidth=3,
    )


def _speed(axes: Axes, steps: Sequence[Event]) -> None:
    _dress(axes, "Tokens per second")
    timed = [event for event in steps if event["seconds"]]
    x = [event["step"] for event in timed]
    looks = (
        ("padded", "computed", GREY, ":"),
        ("real", "real", BLUE, "-"),
        ("supervised", "learned", VERMILLION, "--"),
    )
    for name, label, color, line in looks:
        y = _gaps(smooth([event[name] / event["seconds"] for event in timed]))
        axes.plot(x, y, color=color, linestyle=line, label=label)
    axes.set_ylim(bottom=0)
    if x:
        axes.legend(frameon=False)


def _dress(axes: Axes, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("step", color="#555555")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors="#555555")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _xy(events: Sequence[Event], field: str) -> tuple[list[int], list[Any]]:
    known = [event for event in events if event[field] is not None]
    return [event["step"] for event in known], [event[field] for event in known]


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def smooth(values: Sequence[float | None]) -> list[float | None]:
    """Mean of each value with its neighbours (a thirtieth of all to either side, 15 at most), so without lag.

    None (a value that was not finite) stays None and is left out of the means.

    >>> smooth([1.0, 4.0, None, 1.0])
    [2.5, 2.5, None, 1.0]
    """
    reach = min(max(len(values) // 30, 1), 15)
    totals, counts = [0.0], [0]
    for value in values:
        totals.append(totals[-1] + (value or 0.0))
        counts.append(counts[-1] + (value is not None))
    means: list[float | None] = []
    for place, value in enumerate(values):
        low, high = max(place - reach, 0), min(place + reach + 1, len(values))
        means.append(None if value is None else (totals[high] - totals[low]) / (counts[high] - counts[low]))
    return means


def plain(metric: str) -> str:
    """A metric's name as a person reads it.

    >>> plain("token_f1"), plain("json"), plain("checks:house_style")
    ('token F1', 'valid JSON', 'house style')
    """
    known = {"token_f1": "token F1", "rouge_l": "ROUGE-L", "json": "valid JSON", "exact_match": "exact match"}
    return known.get(metric, metric.rsplit(":", 1)[-1].replace("_", " "))
