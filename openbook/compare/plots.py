"""A report in, its plots out: SVG made by matplotlib whose colours are the page's CSS variables.

Drawn 390 units wide, so that two stand side by side on a screen and one still reads on a phone. Text stays text; no
style attribute is left, so a page needs no 'unsafe-inline'. Every plot carries its numbers as a table for those who
cannot see it. What a section does not hold is left out. Needs matplotlib (the extra `compare`), loaded on first use.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from openbook.compare import wording
from openbook.compare.schema import FOUR, METRICS, ArmReport, Figure, Report
from openbook.compare.wording import mapping
from openbook.extras import need

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

WIDTH = 390
"""Units of the viewBox, about the pixels a plot is shown at."""
QUALITY = (
    "answer_correct",
    "answer_and_citation",
    "behaviour",
    "refusal",
    "follows_document",
    "format_valid",
    "invents",
)
"""Metrics of the first plot, where they were measured; the primary one comes first."""

_INK, _MUTED, _LINE = "#000001", "#000002", "#000003"
_ARMS = {"base": "#000010", "rag": "#000011", "tuned": "#000012", "tuned+rag": "#000013"}
_OTHER = "#000014"
_PARTS = {"retrieve": "#000021", "prefill": "#000022", "decode": "#000023"}
_PANEL = "#000030"
_VARIABLES = {
    _INK: "ink",
    _MUTED: "muted",
    _LINE: "line",
    _ARMS["base"]: "base",
    _ARMS["rag"]: "rag",
    _ARMS["tuned"]: "tuned",
    _ARMS["tuned+rag"]: "both",
    _OTHER: "other",
    _PARTS["retrieve"]: "part1",
    _PARTS["prefill"]: "part2",
    _PARTS["decode"]: "part3",
    _PANEL: "panel",
}
"""Colours that stand for the page's variables until the SVG is written."""
_MARKERS = {"base": "o", "rag": "s", "tuned": "^", "tuned+rag": "D"}


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure of the page."""

    name: str
    title: str
    svg: str
    """Trusted markup; every text in it is escaped."""
    told: str
    """What it shows, in a sentence or two."""
    head: tuple[str, ...]
    """Of the table that says the same."""
    table: tuple[tuple[str, ...], ...]


class _Drawn(NamedTuple):
    title: str
    told: str
    head: tuple[str, ...]
    table: Sequence[tuple[str, ...]]
    height: int
    draw: Callable[[Axes], None]


@dataclass(slots=True)
class _Rows:
    """Points with intervals under headings, from top to bottom."""

    labels: list[tuple[float, str]] = field(default_factory=list)
    points: list[tuple[float, str, float, float, float, bool]] = field(default_factory=list)
    """(height, arm, value, low, high, filled)"""
    at: float = 0.0

    def add(self, label: str, points: Sequence[tuple[str, float, float, float, bool]]) -> None:
        start = self.at
        for arm, value, low, high, filled in points:
            self.points.append((self.at, arm, value, low, high, filled))
            self.at += 1
        self.labels.append(((start + self.at - 1) / 2, label))
        self.at += 0.9

    def draw(self, axes: Axes) -> None:
        for y, arm, value, low, high, filled in self.points:
            color = _color(arm)
            axes.plot([low, high], [y, y], color=color, linewidth=2, solid_capstyle="round", alpha=0.55)
            face = color if filled else _PANEL
            axes.plot([value], [y], _marker(arm), color=color, markerfacecolor=face, markersize=6, markeredgewidth=1.4)
        axes.set_yticks([y for y, _ in self.labels], [label for _, label in self.labels])
        axes.set_ylim(self.at - 0.6, -0.7)


def plots(report: Report) -> list[Plot]:
    """Those that the report holds numbers for, in the order of the page. Raises MissingExtra without matplotlib."""
    need("matplotlib", extra="compare", purpose="drawing the report's plots")
    makers = {
        "quality": quality,
        "cost": cost,
        "latency": latency,
        "freshness": freshness,
        "forgetting": forgetting,
        "curve": curve,
    }
    found = []
    for name, maker in makers.items():
        if drawn := maker(report):
            table = tuple(drawn.table)
            found.append(Plot(name, drawn.title, _svg(name, drawn), drawn.told, drawn.head, table))
    return found


def quality(report: Report) -> _Drawn | None:
    """What the four arms reach, with intervals."""
    arms = [arm for arm in report.arms if arm.role == "four"]
    names = [name for name in dict.fromkeys((report.primary, *QUALITY)) if any(name in arm.metrics for arm in arms)]
    if not names:
        return None
    rows, table = _Rows(), []
    for name in names:
        measured = [(arm, arm.metrics[name]) for arm in arms if name in arm.metrics]
        arrow = "" if METRICS[name].better == "higher" else " (lower is better)"
        rows.add(_wrap(METRICS[name].label + arrow), [(a.name, f.value, f.low, f.high, True) for a, f in measured])
        table += [
            (METRICS[name].label, wording.arm(a.name), *_told(f, METRICS[name].kind), str(f.n)) for a, f in measured
        ]

    def draw(axes: Axes) -> None:
        rows.draw(axes)
        _share_axis(axes)
        if report.primary == names[0] and report.bar:
            end = len([arm for arm in arms if names[0] in arm.metrics]) - 0.4
            axes.plot([report.bar] * 2, [-0.6, end], color=_INK, linewidth=1, linestyle=(0, (3, 2)))
            axes.annotate(
                f"bar {report.bar:.0%}",
                (report.bar, -0.6),
                (0, 2),
                textcoords="offset points",
                ha="center",
                color=_MUTED,
            )

    return _Drawn(
        "What the four arms reach",
        "Points are measured figures, lines their 95 % intervals. Whether two arms differ, the pairs below settle.",
        ("measure", "arm", "value", "95 % interval", "n"),
        table,
        int(70 + 16 * rows.at),
        draw,
    )


def cost(report: Report) -> _Drawn | None:
    """Total cost against questions a month, with where lines cross."""
    section = mapping(report.sections.get("cost"))
    volumes, totals, events = wording.cost_curve(section)
    lines = {
        arm: values for arm, values in totals.items() if arm in FOUR and len(values) == len(volumes) and any(values)
    }
    events = [(arm, volume) for arm, volume in events if arm in lines]
    if len(volumes) < 2 or not lines:
        return None
    currency = str(section.get("currency", ""))
    months = wording.number(float(mapping(section.get("use")).get("months", 12)))

    def draw(axes: Axes) -> None:
        for place, (arm, values) in enumerate(lines.items()):
            shown = [(x, y) for x, y in zip(volumes, values, strict=True) if x > 0 and y > 0]
            axes.plot(
                *zip(*shown, strict=True),
                color=_color(arm),
                linewidth=2,
                marker=_marker(arm),
                markersize=5,
                markevery=(place, 4),
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain_log(axes)
        within = [(arm, volume) for arm, volume in events if volumes[0] <= volume <= volumes[-1]]
        for place, (arm, volume) in enumerate(within):
            axes.axvline(volume, color=_color(arm), linewidth=1, linestyle=(0, (3, 2)))
            right = volume**2 > volumes[0] * volumes[-1]
            axes.annotate(  # above the lines, one below the other
                f"{wording.arm(arm)} from {wording.number(volume)}", (volume, 1),
                (0, 3 + 13 * place), xycoords=("data", "axes fraction"), textcoords="offset points", va="bottom",
                ha="right" if right else "left", color=_MUTED,
            )  # fmt: skip
        axes.set_xlabel("questions a month")
        axes.set_ylabel(f"{currency} in {months} months".strip())
        axes.grid(color=_LINE, linewidth=0.7)

    crossing = [f"{wording.arm(arm)} pays from {wording.number(volume)} questions a month" for arm, volume in events]
    table = [
        (wording.number(volume), *(wording.money(values[place], currency) for values in lines.values()))
        for place, volume in enumerate(volumes)
    ]
    return _Drawn(
        "Cost against volume",
        (". ".join(crossing) or "No arm begins to pay at some volume; why stands under Cost")
        + f". Both axes are logarithmic; {months} months.",
        ("questions a month", *(wording.arm(arm) for arm in lines)),
        table,
        300,
        draw,
    )


def latency(report: Report) -> _Drawn | None:
    """Where the time of an answer goes, and how slow the slow ones are."""
    split = wording.latencies(report)
    split = {arm: of for arm, of in split.items() if arm in FOUR}
    if not split:
        return None
    names = list(split)

    def draw(axes: Axes) -> None:
        left = [0.0] * len(names)
        for part, color in _PARTS.items():
            width = [split[arm].get(part, {}).get("p50", 0.0) for arm in names]
            axes.barh(range(len(names)), width, left=left, color=color, height=0.55, label=part, edgecolor=_PANEL)
            left = [a + b for a, b in zip(left, width, strict=True)]
        slow = [split[arm].get("total", {}).get("p95") for arm in names]
        known = [(x, y) for y, x in enumerate(slow) if x]
        if known:
            axes.plot(*zip(*known, strict=True), "|", color=_INK, markersize=16, markeredgewidth=2, label="total, p95")
        axes.set_yticks(range(len(names)), [wording.arm(arm) for arm in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, max([*left, *(x for x, _ in known), 1e-3]) * 1.06)
        axes.set_xlabel("seconds")
        axes.grid(axis="x", color=_LINE, linewidth=0.7)
        handles, labels = axes.get_legend_handles_labels()
        _legend(axes, [*handles[-3:], *handles[:-3]], [*labels[-3:], *labels[:-3]])

    head = ("arm", *(f"{part} p50" for part in _PARTS), "total p50", "total p95")
    table = [
        (
            wording.arm(arm),
            *(wording.seconds(of.get(part, {}).get("p50")) for part in (*_PARTS, "total")),
            wording.seconds(of.get("total", {}).get("p95")),
        )
        for arm, of in split.items()
    ]
    told = (
        "Bars are medians of searching, reading the prompt and writing; the stroke is the time 95 of 100 answers keep."
    )
    return _Drawn("Where the time goes", told, head, table, 110 + 38 * len(names), draw)


def freshness(report: Report) -> _Drawn | None:
    """After an edit: is the new value said, and the old one not any more."""
    arms = mapping(mapping(report.sections.get("freshness")).get("arms"))
    rows, table = _Rows(), []
    for name in sorted(arms, key=lambda arm: FOUR.index(arm) if arm in FOUR else len(FOUR)):
        rates = [(key, wording.rate(mapping(arms[name]).get(key))) for key in ("new_value_rate", "stale_value_rate")]
        known = [(key == "new_value_rate", rate) for key, rate in rates if rate is not None]
        if known:
            rows.add(wording.arm(name), [(name, r.value, r.low, r.high, new) for new, r in known])
            table += [
                (wording.arm(name), "new value" if new else "old value", *_told(r, "share"), str(r.n))
                for new, r in known
            ]
    if not table:
        return None

    def draw(axes: Axes) -> None:
        rows.draw(axes)
        _share_axis(axes)

    told = "After documents were edited. Filled: the new value is said. Hollow: the old one still is."
    head = ("arm", "says", "share of edits", "95 % interval", "n")
    return _Drawn("After an edit", told, head, table, int(60 + 17 * rows.at), draw)


def forgetting(report: Report) -> _Drawn | None:
    """What each training changed in what the model could do before."""
    section = mapping(report.sections.get("forgetting"))
    rows, table = _Rows(), []
    for place, (adapter, found) in enumerate(section.items()):
        arm = next((arm.name for arm in report.arms if arm.adapter == adapter and arm.role == "four"), "other")
        for probe, of in mapping(mapping(found).get("probes")).items():
            change = mapping(of)
            if change.get("kind") != "share" or not {"change", "low", "high"} <= change.keys():
                continue
            sign = -1.0 if change.get("better") == "lower" else 1.0
            low, high = sorted((sign * change["low"], sign * change["high"]))
            if not any(label == adapter for _, label in rows.labels):
                rows.labels.append((rows.at, adapter))
                rows.at += 1
            rows.labels.append((rows.at, probe.replace("_", " ")))
            rows.points.append((rows.at, arm, sign * change["change"], low, high, True))
            rows.at += 1
            table.append(
                (adapter, probe.replace("_", " "), f"{change.get('before', 0):.2f}", f"{change.get('after', 0):.2f}",
                 f"{change['change']:+.2f}", f"{change['low']:+.2f} to {change['high']:+.2f}",
                 str(change.get("verdict", "")))
            )  # fmt: skip
        if place < len(section) - 1:
            rows.at += 0.8
    if not table:
        return None

    def draw(axes: Axes) -> None:
        rows.draw(axes)
        axes.axvline(0, color=_MUTED, linewidth=1)
        reach = max(0.1, *(abs(end) for _, _, _, low, high, _ in rows.points for end in (low, high))) * 1.08
        axes.set_xlim(-reach, reach)
        axes.set_xlabel("worse   \N{LEFTWARDS ARROW}   change   \N{RIGHTWARDS ARROW}   better")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.2f}".replace("+0.00", "0"))
        axes.grid(axis="x", color=_LINE, linewidth=0.7)

    told = "What each training changed in abilities the model had before; right of the line is better."
    head = ("adapter", "ability", "before", "after", "change", "95 % interval", "verdict")
    return _Drawn("What training changed", told, head, table, int(70 + 20 * rows.at), draw)


def curve(report: Report) -> _Drawn | None:
    """How much more examples would help."""
    section = mapping(report.sections.get("curve"))
    points = [p for p in section.get("points", ()) if {"n", "value", "low", "high"} <= mapping(p).keys() and p["n"] > 0]
    if len(points) < 2:
        return None
    metric = str(section.get("metric", "score")).replace("_", " ")
    runs = [one for one in section.get("runs", ()) if {"n", "value"} <= mapping(one).keys()]

    def draw(axes: Axes) -> None:
        n = [p["n"] for p in points]
        axes.fill_between(
            n, [p["low"] for p in points], [p["high"] for p in points], color=_ARMS["tuned"], alpha=0.16, linewidth=0
        )
        axes.plot(n, [p["value"] for p in points], color=_ARMS["tuned"], linewidth=2, marker="^", markersize=6)
        axes.plot([r["n"] for r in runs], [r["value"] for r in runs], "o", color=_MUTED, markersize=3)
        axes.set_xscale("log")
        axes.set_xticks(n, [wording.number(size) for size in n])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("training examples")
        axes.set_ylabel(metric)
        axes.grid(axis="y", color=_LINE, linewidth=0.7)

    table = [(wording.number(p["n"]), f"{p['value']:.2f}", f"{p['low']:.2f} to {p['high']:.2f}") for p in points]
    told = str(section.get("sentence") or "Dots are single trainings, the band is the 95 % interval.")
    return _Drawn("How many examples are enough", told, ("examples", metric, "95 % interval"), table, 270, draw)


def _svg(name: str, drawn: _Drawn) -> str:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Sheet

    look: dict[Any, Any] = {
        "svg.fonttype": "none",
        "text.parse_math": False,
        "svg.hashsalt": name, "font.size": 10, "axes.edgecolor": _LINE, "text.color": _INK,
        "axes.labelcolor": _MUTED, "xtick.color": _MUTED, "ytick.color": _INK, "axes.titlecolor": _INK,
        "axes.unicode_minus": True,
    }  # fmt: skip
    with mpl.rc_context(look):
        sheet = Sheet(figsize=(WIDTH / 72, drawn.height / 72), dpi=72, layout="constrained", facecolor="none")
        FigureCanvasSVG(sheet)
        axes = sheet.add_subplot(1, 1, 1, facecolor="none")
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        drawn.draw(axes)
        buffer = io.StringIO()
        sheet.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _mended(buffer.getvalue(), name, drawn)


def _mended(source: str, name: str, drawn: _Drawn) -> str:
    """matplotlib's SVG for use inside a page: variables for colours, attributes for styles, ids of its own."""
    root = ElementTree.fromstring(source)
    used = set(re.findall(r"#([\w-]+)", source))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        for declared in attributes.pop("style", "").split(";"):
            key, _, value = (part.strip() for part in declared.partition(":"))
            if key == "font":
                size = re.search(r"([\d.]+)px", value)
                attributes["font-size"] = size[1] if size else "10"
            elif key and key not in ("font-family", "stroke-linejoin"):
                attributes[key] = value
        if attributes.get("id") not in used:
            attributes.pop("id", None)
        for key, value in attributes.items():
            value = f"{name}-{value}" if key == "id" else re.sub(r"(?<=#)(?=[A-Za-z]\w)(?!0000)", f"{name}-", value)
            attributes[key] = re.sub(r"#0000\d\d", lambda found: f"var(--{_VARIABLES[found[0]]})", value)
        element.attrib.clear()
        element.attrib.update(attributes)
    root.attrib.clear()
    root.attrib.update(
        {
            "class": "plot",
            "viewBox": f"0 0 {WIDTH} {drawn.height}",
            "role": "img",
            "aria-label": f"{drawn.title}. {drawn.told}",
        }
    )
    return ElementTree.tostring(root, encoding="unicode")


def _share_axis(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100 %"])
    axes.grid(axis="x", color=_LINE, linewidth=0.7)


def _plain_log(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: wording.number(value))
        low, high = axis.get_view_interval()
        short = high < 100 * low  # too few powers of ten to read a value by
        axis.set_minor_formatter(_twos_and_fives if short else lambda *_: "")
    axes.tick_params(which="minor", length=0)


def _twos_and_fives(value: float, _: object) -> str:
    return wording.number(value) if f"{value:e}"[0] in "25" else ""


def _legend(axes: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    axes.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(labels), frameon=False, borderaxespad=0.2,
        handlelength=1.1, handletextpad=0.5, columnspacing=1.2, labelcolor=_MUTED,
    )  # fmt: skip


def _told(figure: Figure, kind: str) -> tuple[str, str]:
    return wording.value(figure.value, kind), wording.interval(figure, kind)


def _wrap(label: str, width: int = 18) -> str:
    lines = [""]
    for word in label.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _color(arm: str) -> str:
    return _ARMS.get(arm, _OTHER)


def _marker(arm: str) -> str:
    return _MARKERS.get(arm, "o")


def legend(arms: Sequence[ArmReport]) -> list[tuple[str, str]]:
    """(variable of the colour, label) of the four arms that took part."""
    return [(_VARIABLES[_ARMS[arm.name]], wording.arm(arm.name)) for arm in arms if arm.name in _ARMS]
