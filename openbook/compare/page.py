"""A report with its cases and rows in, one HTML page out that needs nothing else: no network, no script to be read.

The template report.html.j2 lays out what is prepared here; jinja2 escapes every text, and a policy by hashes lets only
the page's own style sheet and its one script in. Needs jinja2 and matplotlib (the extra `compare`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from openbook.compare import failures, plots, wording
from openbook.compare.schema import METRICS, ArmReport, Claim, Figure, Pair, Report, Row
from openbook.compare.wording import mapping
from openbook.extras import need
from openbook.records import Case

MAIN = (
    "answer_correct", "answer_and_citation", "refusal", "false_refusal", "follows_document", "invents", "stale",
    "behaviour", "format_valid", "style", "consistency", "acceptable",
)  # fmt: skip
"""Metrics of the first table; all others stand below it, folded."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Answers": ("answer_correct", "exact_match", "token_f1", "contains_gold", "numbers", "consistency", "acceptable"),
    "Evidence": (
        "retrieved", "answer_and_citation", "citation_precision", "citation_recall", "fabricated_citation",
        "quote_verbatim", "follows_document",
    ),
    "Honesty": ("refusal", "false_refusal", "invention", "invents", "stale"),
    "Behaviour": ("behaviour", "format_valid", "style", "greeting", "sign_off", "length"),
    "Opinion": ("judge",),
}  # fmt: skip
PARTS = ("parse", "embed", "label", "train", "evaluate")
"""Of what an arm costs once."""
TOLD_ELSEWHERE = frozenset({"commands", "command", "arms", "asked", "missing", "notes", "id", "title", "created"})
"""Of a manifest."""
CSS = {"base": "base", "rag": "rag", "tuned": "tuned", "tuned+rag": "both"}
"""Arm -> class of its colour."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm by one measure, ready to print."""

    css: str
    value: str = wording.NONE
    interval: str = ""
    note: str = ""
    best: bool = False
    figure: Figure | None = None
    """Of shares and means: drawn as a small bar."""


@dataclass(frozen=True, slots=True)
class Line:
    """One measure over several arms."""

    name: str
    """Of METRICS; "" for time and money."""
    label: str
    told: str
    cells: tuple[Cell, ...]


def html(report: Report, cases: Sequence[Case], rows: Sequence[Row]) -> str:
    """The whole page. Raises MissingExtra without jinja2 or matplotlib.

    Texts in the browser of failures are cut; 100 cases of 8 arms make about a megabyte.
    """
    jinja2 = need("jinja2", extra="compare", purpose="writing the report's page")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.filters |= {
        "arm": wording.arm, "p": wording.p_value, "points": wording.points, "seconds": wording.seconds,
        "number": wording.number, "tied": wording.tied, "css": lambda name: CSS.get(name, "other"),
    }  # fmt: skip
    style, script = _part("report.css"), _part("report.js")
    shown = failures.browse(cases, rows)
    return str(
        environment.from_string(_part("report.html.j2")).render(
            report=report,
            style=jinja2.utils.markupsafe.Markup(style),
            script=jinja2.utils.markupsafe.Markup(script),
            style_hash=_digest(style),
            script_hash=_digest(script),
            plots=[(plot, jinja2.utils.markupsafe.Markup(plot.svg)) for plot in plots.plots(report)],
            legend=plots.legend(report.arms),
            groups=failures.GROUPS,
            shown=shown,
            metrics=METRICS,
            **view(report, cases, shown),
        )
    )


def view(report: Report, cases: Sequence[Case], shown: Sequence[failures.Shown]) -> dict[str, Any]:
    """What the template prints, by name."""
    four = [arm for arm in report.arms if arm.role == "four"]
    primary = METRICS.get(report.primary)
    return {
        "four": four,
        "others": [arm for arm in report.arms if arm.role != "four"],
        "told_arms": {arm.name: wording.explained(arm.name) for arm in report.arms},
        "primary_label": primary.label if primary else report.primary,
        "headline": [(arm, _cell(report, arm, report.primary)) for arm in four] if primary else [],
        "main": [*_lines(report, four, dict.fromkeys((report.primary, *MAIN))), *_spent(report, four)],
        "all_lines": {title: found for title, names in GROUPS.items() if (found := _lines(report, report.arms, names))},
        "kinds": _kinds(report, four),
        "matrix": _failures(four),
        "claims": _claims(report.claims),
        "claim_counts": Counter(claim.verdict for claim in report.claims),
        "pairs": _pairs(report),
        "power": _power(report),
        "retrieval": [
            (name, wording.value(f.value, "mean" if "mrr" in name else "share"),
             wording.interval(f, "mean" if "mrr" in name else "share"), f.n)
            for name, f in report.retrieval.items()
        ],
        "case_facts": _case_facts(report),
        "cost": _cost(report),
        "unmerged": _unmerged(report),
        "edits": _edits(report),
        "fresh_arms": _fresh_arms(report),
        "fresh_notes": _texts(report, "freshness"),
        "tuning_notes": _texts(report, "tuning"),
        "tries": _tries(report),
        "style_facts": _facts(mapping(report.sections.get("style"))),
        "judge_facts": _facts(mapping(report.sections.get("judge"))),
        "commands": _commands(report.manifest),
        "manifest": _facts({name: of for name, of in report.manifest.items() if name not in TOLD_ELSEWHERE}),
        "browser": {
            "arms": list(dict.fromkeys(one.arm for case in shown for one in case.said)),
            "kinds": dict(Counter(case.kind for case in shown)),
            "left": len({case.id for case in cases}) - len(shown),
            "groups": {case.id: json.dumps(case.groups) for case in shown},
        },
    }  # fmt: skip


def _lines(report: Report, arms: Sequence[ArmReport], names: Sequence[str] | Mapping[str, None]) -> list[Line]:
    return [
        Line(
            name,
            METRICS[name].label,
            METRICS[name].told + ("" if METRICS[name].better == "higher" else "; lower is better"),
            tuple(_cell(report, arm, name) for arm in arms),
        )
        for name in names
        if name in METRICS and any(name in arm.metrics for arm in arms)
    ]


def _cell(report: Report, arm: ArmReport, name: str) -> Cell:
    css = CSS.get(arm.name, "other")
    figure = arm.metrics.get(name)
    if figure is None:
        return Cell(css)
    kind = METRICS[name].kind
    seeds = arm.spread.get(name, ())
    note = f"seeds {', '.join(wording.value(one, kind) for one in seeds)}" if len(seeds) > 1 else ""
    return Cell(
        css,
        wording.value(figure.value, kind),
        wording.interval(figure, kind),
        note,
        _unbeaten(report, arm.name, name),
        figure,
    )


def _unbeaten(report: Report, arm: str, metric: str) -> bool:
    """Whether the arm was found better than another one and no arm was found better than it."""
    won = lost = False
    for pair in report.pairs:
        if pair.metric == metric and arm in (pair.a, pair.b) and pair.verdict != "no difference":
            mine = "a" if pair.a == arm else "b"
            won, lost = won or pair.verdict == mine, lost or pair.verdict != mine
    return won and not lost


def _spent(report: Report, arms: Sequence[ArmReport]) -> Iterator[Line]:
    """Time, memory and money of each arm."""
    times = wording.latencies(report)
    if any(arm.name in times for arm in arms):
        cells = []
        for arm in arms:
            total = times.get(arm.name, {}).get("total", {})
            slow = f"p95 {wording.seconds(total['p95'])}" if "p95" in total else ""
            cells.append(Cell(CSS.get(arm.name, "other"), wording.seconds(total.get("p50")), note=slow))
        yield Line("", "time of an answer", "median, wall time on this machine", tuple(cells))
    alone = mapping(mapping(report.sections.get("latency")).get("arms"))
    peaks = [mapping(alone.get(arm.name)).get("peak_mb") for arm in arms]
    told = "peak, each arm in a process of its own"
    if not any(peaks):
        peaks, told = [arm.memory_mb for arm in arms], "of the one process that asked all arms, so much the same"
    if any(peaks):
        memory = [
            Cell(CSS.get(arm.name, "other"), f"{peak:,.0f}\N{NO-BREAK SPACE}MB" if peak else wording.NONE)
            for arm, peak in zip(arms, peaks, strict=True)
        ]
        yield Line("", "memory", told, tuple(memory))
    currency = str(mapping(report.sections.get("cost")).get("currency", ""))
    priced = mapping(mapping(report.sections.get("cost")).get("arms"))
    for name, label in (
        ("thousand_questions", "cost of 1,000 questions"),
        ("acceptable_answer", "cost of an acceptable answer"),
    ):
        found = [mapping(priced.get(arm.name)).get(name, arm.cost.get(name)) for arm in arms]
        if any(one is not None for one in found):
            cells = [
                Cell(CSS.get(arm.name, "other"), wording.money(one, "")) for arm, one in zip(arms, found, strict=True)
            ]
            yield Line("", f"{label}, {currency}" if currency else label, "by the price sheet below", tuple(cells))


def _kinds(report: Report, arms: Sequence[ArmReport]) -> list[tuple[str, int, list[Cell]]]:
    """Kind of case, how many, and the share each arm did acceptably."""
    counts = mapping(report.cases.get("kinds"))
    names = sorted({kind for arm in arms for kind in arm.by_kind})
    found = []
    for kind in names:
        cells, n = [], 0
        for arm in arms:
            figure = mapping(arm.by_kind.get(kind)).get("acceptable")
            css = CSS.get(arm.name, "other")
            cells.append(
                Cell(css, wording.value(figure.value, "share"), wording.interval(figure, "share"), figure=figure)
                if figure
                else Cell(css)
            )
            n = max(n, figure.n if figure else 0)
        if n:
            found.append((kind, int(counts.get(kind, n)), cells))
    return found


def _failures(arms: Sequence[ArmReport]) -> list[tuple[str, str, list[tuple[ArmReport, int]]]]:
    """The four ways an answer and its passage can go, with counts of arms that search."""
    searching = [arm for arm in arms if any(arm.failures.values())]
    names = ("retrieved-right", "retrieved-wrong", "missed-right", "missed-wrong")
    return (
        [(n, failures.GROUPS[n], [(arm, arm.failures.get(n, 0)) for arm in searching]) for n in names]
        if searching
        else []
    )


def _claims(claims: Sequence[Claim]) -> list[tuple[str, list[Claim]]]:
    """By topic, in the order they come."""
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        found.setdefault(claim.topic, []).append(claim)
    return list(found.items())


def _pairs(report: Report) -> list[tuple[str, str, list[Pair]]]:
    """Metric, label and its pairs, the primary metric first; of metrics without any difference none but the primary."""
    by_metric: dict[str, list[Pair]] = {}
    for pair in report.pairs:
        by_metric.setdefault(pair.metric, []).append(pair)
    order = sorted(
        by_metric, key=lambda name: (name != report.primary, list(METRICS).index(name) if name in METRICS else 99)
    )
    return [(name, METRICS[name].label if name in METRICS else name, by_metric[name]) for name in order]


def _power(report: Report) -> tuple[list[int], list[tuple[float, list[float | None]]]]:
    """Numbers of cases, and for each share of disagreement the smallest gap they show."""
    sizes = sorted({one.n for one in report.power})
    gaps = {(one.disagreement, one.n): one.gap for one in report.power}
    return sizes, [(d, [gaps.get((d, n)) for n in sizes]) for d in sorted({one.disagreement for one in report.power})]


def _case_facts(report: Report) -> dict[str, Any]:
    accepted = mapping(report.cases.get("accepted"))
    return {
        "n": report.cases.get("n"),
        "documents": report.cases.get("documents"),
        "hash": str(report.cases.get("hash", "")),
        "kinds": dict(mapping(report.cases.get("kinds"))),
        "accepted": _facts(accepted),
        "leaks": [
            _facts(one) if isinstance(one, Mapping) else [("leak", str(one))] for one in report.cases.get("leaks") or ()
        ],
        "warnings": [str(one) for one in report.cases.get("warnings") or ()],
    }


def _cost(report: Report) -> dict[str, Any] | None:
    section = mapping(report.sections.get("cost"))
    if not section:
        return None
    currency = str(section.get("currency", ""))
    arms = []
    for name, found in mapping(section.get("arms")).items():
        once = mapping(mapping(found).get("one_time"))
        even = mapping(mapping(section.get("break_even")).get(name))
        low, high = (mapping(found).get(f"acceptable_answer_{end}") for end in ("low", "high"))
        known = low is not None and high is not None
        arms.append(
            {
                "name": name,
                "parts": [wording.money(once.get(part), currency) for part in PARTS],
                "total": wording.money(once.get("total"), currency),
                "each_update": wording.money(mapping(mapping(found).get("update")).get("total"), currency),
                "how": str(mapping(mapping(found).get("update")).get("how", "")),
                "thousand": wording.money(mapping(found).get("thousand_questions"), currency),
                "acceptable": wording.money(mapping(found).get("acceptable_answer"), currency),
                "settled": wording.money(mapping(found).get("settled_question"), currency),
                "range": f"{wording.money(low, '')}\N{EN DASH}{wording.money(high, '')}" if known else "",
                "unmeasured": ", ".join(map(str, mapping(found).get("unmeasured") or ())),
                "even": str(even.get("sentence") or ""),
            }
        )
    sensitivity = [
        (
            str(mapping(one).get("input", "")).replace("_", " "),
            [_swing(mapping(value)) for value in mapping(one).get("values", ())],
        )
        for one in section.get("sensitivity") or ()
    ]
    return {
        "currency": currency,
        "arms": arms,
        "prices": [dict(mapping(one)) for one in section.get("prices") or () if mapping(one)],
        "use": _facts(mapping(section.get("use"))),
        "sensitivity": sensitivity,
        "factors": [factor for factor, _ in sensitivity[0][1]] if sensitivity else [],
        "notes": [str(one) for one in section.get("notes") or ()],
    }


def _swing(value: Mapping[str, Any]) -> tuple[str, str]:
    cheapest = value.get("cheapest_settled")
    return f"\N{MULTIPLICATION SIGN}{value.get('factor', 1):g}", wording.arm(
        str(cheapest)
    ) if cheapest else wording.NONE


def _unmerged(report: Report) -> list[tuple[str, str]]:
    adapters = mapping(mapping(report.sections.get("latency")).get("adapters"))
    ratios = {ref: mapping(mapping(found).get("ratio")).get("answer") for ref, found in adapters.items()}
    return [(str(ref), f"{ratio:.2f}") for ref, ratio in ratios.items() if isinstance(ratio, int | float)]


def _edits(report: Report) -> list[dict[str, Any]]:
    """What was edited and which arms knew of it."""
    section = mapping(report.sections.get("freshness"))
    said: dict[str, list[Mapping[str, Any]]] = {}
    for one in section.get("answers") or ():
        said.setdefault(str(mapping(one).get("edit", "")), []).append(mapping(one))
    found = []
    for edit in section.get("edits") or ():
        answers = said.get(str(mapping(edit).get("id", "")), [])
        plain = {name: str(mapping(edit).get(name) or "") for name in ("kind", "document", "question", "old", "new")}
        knew, stale = (
            [wording.arm(str(one.get("arm", ""))) for one in answers if one.get(name)] for name in ("new", "stale")
        )
        found.append({**plain, "trained": bool(mapping(edit).get("trained")), "knew": knew, "stale": stale})
    return found


def _fresh_arms(report: Report) -> list[dict[str, str]]:
    """What it took each arm until the right answer came, and why it never came."""
    arms = mapping(mapping(report.sections.get("freshness")).get("arms"))
    return [
        {
            "name": str(name),
            "seconds": wording.seconds(mapping(mapping(of).get("seconds")).get("median")),
            "cpu": wording.seconds(mapping(mapping(of).get("cpu_seconds")).get("median")),
            "steps": "; ".join(map(str, mapping(of).get("steps") or ())),
            "never": str(mapping(of).get("never") or ""),
        }
        for name, of in arms.items()
    ]


def _tries(report: Report) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Arm and its tries, as shots.Try holds them."""
    section = report.sections.get("tuning")
    tries = mapping(section).get("tries", section)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in tries if isinstance(tries, Sequence) and not isinstance(tries, str) else ():
        if {"arm", "name", "score"} <= mapping(one).keys():
            found.setdefault(str(one["arm"]), []).append(one)
    return list(found.items())


def _texts(report: Report, section: str) -> list[str]:
    """A section's notes."""
    notes = mapping(report.sections.get(section)).get("notes")
    return [str(note) for note in notes] if isinstance(notes, Sequence) and not isinstance(notes, str) else []


def _commands(manifest: Mapping[str, Any]) -> list[str]:
    commands = manifest.get("commands") or ([manifest["command"]] if manifest.get("command") else [])
    return list(dict.fromkeys(map(str, commands))) if isinstance(commands, Sequence) else [str(commands)]


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Plain data as (name, text), nested names joined."""
    facts: list[tuple[str, str]] = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            facts += [(f"{name} {inner}", text) for inner, text in _facts(value)]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            facts.append((str(name), ", ".join(map(str, value))))
        elif value is not None and value != "":
            facts.append((str(name), f"{value:.4g}" if isinstance(value, float) else str(value)))
    return facts


def _part(name: str) -> str:
    return resources.files("openbook.compare").joinpath(name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
