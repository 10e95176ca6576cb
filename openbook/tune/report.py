"""What a tuning tried and found, as data, a page and lines for the terminal. Pure: no file is read or written."""

from __future__ import annotations

import html as escaping
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from openbook.metrics import Paired


@dataclass(frozen=True, slots=True)
class Try:
    """One choice of settings, measured on the part to choose on."""

    dimension: str
    changes: Mapping[str, object]
    """Against the settings in force when it was tried; empty for those themselves."""
    score: float
    gain: Paired
    """Against those."""
    shown: Mapping[str, float]
    costs: Mapping[str, float]
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A candidate against the present settings on the held-out part, measured once."""

    group: str
    metric: str
    changes: Mapping[str, object]
    """Empty when nothing tried was better."""
    before: float | None
    after: float | None
    difference: Paired | None
    """None when there was no candidate to judge."""
    adopted: bool
    words: str
    """The sentence for a person."""
    shown_before: Mapping[str, float] = field(default_factory=dict)
    shown_after: Mapping[str, float] = field(default_factory=dict)
    costs_before: Mapping[str, float] = field(default_factory=dict)
    costs_after: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole tuning."""

    id: str
    at: str
    """ISO 8601, UTC."""
    questions: Mapping[str, int]
    """How many of each kind in each part."""
    level: float
    """Of each verdict's interval: 0.95 shared out among the verdicts."""
    verdicts: tuple[Verdict, ...]
    tries: tuple[Try, ...]
    present: Mapping[str, object]
    changes: Mapping[str, object]
    """What is adopted."""
    written: bool
    notes: tuple[str, ...]
    library_version: int
    options: Mapping[str, object]
    """How the tuning went: tries, seed, prices and the rest of tune.Options."""
    seconds: float
    machine: Mapping[str, object]

    def json(self) -> str:
        """The whole report."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, default=str) + "\n"


def headline(report: Report) -> str:
    """What came of it, in a sentence."""
    if not report.changes:
        return "no significant gain: the settings stay as they are"
    listed = told(report.changes)
    return f"changed: {listed}" if report.written else f"would change: {listed}"


def told(changes: Mapping[str, object]) -> str:
    """Settings as a person writes them.

    >>> told({"retrieve.k": 5, "retrieve.fusion": "rrf"})
    "retrieve.k = 5, retrieve.fusion = 'rrf'"
    """
    return ", ".join(f"{key} = {value!r}" for key, value in changes.items()) or "as now"


def verdict_rows(report: Report) -> list[tuple[str, ...]]:
    """A row per verdict: what, candidate, metric, before, after, difference, what else changed, decision."""
    return [
        (
            one.group,
            told(one.changes),
            one.metric,
            "" if one.before is None else f"{one.before:.3f}",
            "" if one.after is None else f"{one.after:.3f}",
            interval(one.difference),
            details(one),
            "adopted" if one.adopted else "kept as now",
        )
        for one in report.verdicts
    ]


def details(verdict: Verdict) -> str:
    """What else changed between before and after: "recall@5 0.950 -> 0.970, ms 8 -> 9"."""
    both = (costs(verdict.shown_before, verdict.shown_after), costs(verdict.costs_before, verdict.costs_after))
    return ", ".join(part for part in both if part)


VERDICT_COLUMNS = ("what", "candidate", "measure", "before", "after", "difference", "figures", "decision")
TRY_COLUMNS = ("what", "tried", "score", "against present", "figures", "costs", "")


def try_rows(report: Report) -> list[tuple[str, ...]]:
    """A row per try."""
    return [
        (
            one.dimension,
            told(one.changes),
            f"{one.score:.3f}",
            interval(one.gain) if one.changes else "",
            figures(one.shown),
            figures(one.costs),
            "chosen" if one.chosen else "",
        )
        for one in report.tries
    ]


def interval(found: Paired | None) -> str:
    """A difference with its interval.

    >>> interval(Paired(0.1, 0.02, 0.2, 0.01, 40, 12))
    '+0.100 [+0.020, +0.200]'
    """
    return "" if found is None else f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def figures(values: Mapping[str, float]) -> str:
    """Named figures in a line."""
    return ", ".join(f"{name} {_number(value)}" for name, value in values.items())


def costs(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Named costs, before and after."""
    return ", ".join(
        f"{name} {_number(before[name])} -> {_number(value)}" for name, value in after.items() if name in before
    )


def page(report: Report) -> str:
    """One self-contained HTML page; every text from data is escaped."""
    escape = escaping.escape
    said = "".join(f"<li>{escape(one.group)}: {escape(one.words)}</li>" for one in report.verdicts)
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    counts = ", ".join(f"{name}: {count}" for name, count in report.questions.items())
    return "".join(
        (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Tuning ',
            escape(report.id),
            "</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;"
            "color:CanvasText;background:Canvas;color-scheme:light dark}table{border-collapse:collapse;width:100%}"
            "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884;vertical-align:top;font-size:14px}"
            ".wide{overflow-x:auto}</style>",
            f"<h1>Tuning {escape(report.id)}</h1><p><strong>{escape(headline(report))}</strong></p><ul>{said}</ul>",
            f"<p>{escape(counts)}. Intervals are {report.level:.1%}, by whole documents; each candidate was judged "
            "once on questions it was not chosen on.</p>",
            "<h2>Judged on held-out questions</h2>",
            _table(VERDICT_COLUMNS, verdict_rows(report)),
            "<h2>Tried on the other questions</h2>",
            _table(TRY_COLUMNS, try_rows(report)),
            f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "",
            f"<p>{escape(report.at)}, library version {report.library_version}, seed {report.options['seed']}, "
            f"{report.seconds:.0f} s on {escape(str(report.machine.get('cpu', '')))}, "
            f"{escape(str(report.machine.get('cores', '')))} cores.</p></html>\n",
        )
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escaping.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escaping.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"
