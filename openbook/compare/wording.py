"""Measured numbers in, short texts for people out; and the parts of a report's sections that several readers need.

Sections are plain data that other versions wrote: whatever is missing or of another shape gives "", None or {}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from openbook.compare.schema import DIAGNOSTICS, Figure, Report

ARMS = {"base": "base", "rag": "RAG", "tuned": "tuned", "tuned+rag": "tuned + RAG"}
"""What the four are called."""
NONE = "\N{EN DASH}"
"""Where nothing was measured."""


def arm(name: str) -> str:
    """An arm's name for people.

    >>> arm("tuned+rag#2"), arm("oracle")
    ('tuned + RAG, seed 2', 'oracle')
    """
    plain, _, seed = name.partition("#")
    return f"{ARMS.get(plain, plain)}, seed {seed}" if seed else ARMS.get(plain, plain)


def explained(name: str) -> str:
    """What a diagnostic arm is; "" for others."""
    return DIAGNOSTICS.get(name, "")


def value(number: float, kind: str) -> str:
    """A share as percent, a mean with two decimals; never rounded to 0 or 100 % when it is neither.

    >>> value(0.8, "share"), value(0.001, "share"), value(0.472, "mean")
    ('80\\xa0%', '<1\\xa0%', '0.47')
    """
    if kind != "share":
        return f"{number:.2f}"
    if 0 < number < 0.005:
        return "<1\N{NO-BREAK SPACE}%"
    if 0.995 <= number < 1:
        return ">99\N{NO-BREAK SPACE}%"
    return f"{100 * number:.0f}\N{NO-BREAK SPACE}%"


def interval(figure: Figure, kind: str) -> str:
    """Its 95 % interval, percent without the sign.

    >>> interval(Figure(0.8, 0.69, 0.88, 66), "share")
    '69–88'
    """
    if kind == "share":
        return f"{100 * figure.low:.0f}\N{EN DASH}{100 * figure.high:.0f}"
    return f"{figure.low:.2f}\N{EN DASH}{figure.high:.2f}"


def points(difference: float) -> str:
    """A difference of shares or means in points.

    >>> points(0.24), points(-0.004)
    ('+24', '0')
    """
    rounded = round(100 * difference)
    return f"{rounded:+d}".replace("-", "\N{MINUS SIGN}") if rounded else "0"


def p_value(p: float) -> str:
    """Without a leading zero, as journals print it.

    >>> p_value(0.0042), p_value(0.00001), p_value(1.0)
    ('.004', '< .001', '1')
    """
    if p < 0.001:
        return "< .001"
    return "1" if p >= 0.9995 else f"{p:.3f}".removeprefix("0")


def seconds(spent: float | None) -> str:
    """Wall time with as many digits as it deserves.

    >>> seconds(0.021), seconds(1.5), seconds(702), seconds(None)
    ('21\\xa0ms', '1.50\\xa0s', '11.7\\xa0min', '–')
    """
    if spent is None or not math.isfinite(spent):
        return NONE
    if spent == 0:
        return "0\N{NO-BREAK SPACE}s"
    if spent < 0.1:
        return f"{1000 * spent:.2g}\N{NO-BREAK SPACE}ms"
    if spent < 90:
        return f"{spent:.3g}\N{NO-BREAK SPACE}s" if spent >= 10 else f"{spent:.2f}\N{NO-BREAK SPACE}s"
    return f"{spent / 60:.1f}\N{NO-BREAK SPACE}min" if spent < 5400 else f"{spent / 3600:.1f}\N{NO-BREAK SPACE}h"


def number(count: float) -> str:
    """With thousands separated, three digits below 1.

    >>> number(5167), number(0.012), number(1e6)
    ('5,167', '0.012', '1,000,000')
    """
    if count == 0 or not math.isfinite(count):
        return f"{count:g}"
    if abs(count) >= 100 or float(count).is_integer():
        return f"{count:,.0f}"
    return f"{count:.3g}"


def money(amount: float | None, currency: str) -> str:
    """An amount of the price sheet's currency.

    >>> money(0.00006, "EUR"), money(96.0, "EUR"), money(1250.4, "")
    ('EUR\\xa00.00006', 'EUR\\xa096.00', '1,250')
    """
    if amount is None or not math.isfinite(amount):
        return NONE
    if amount == 0:
        text = "0"
    elif abs(amount) >= 1000:
        text = f"{amount:,.0f}"
    elif abs(amount) >= 0.1:
        text = f"{amount:.2f}"
    else:
        text = f"{amount:.{1 - math.floor(math.log10(abs(amount)))}f}".rstrip("0")
    return f"{currency}\N{NO-BREAK SPACE}{text}".strip()


def tied(sentence: str) -> str:
    """A sentence whose numbers do not part from their units at the end of a line.

    >>> tied("80 % [69, 88], p = .005").count("\\xa0")
    4
    """
    return re.sub(
        r"(?<=\d) (?=%)|(?<=[pn]) (?=[=<] )|(?<=[=<]) (?=[\d.])|(?<=\d,) (?=\d+\])", "\N{NO-BREAK SPACE}", sentence
    )


def rate(found: object) -> Figure | None:
    """A section's {"value", "low", "high", "n"}."""
    if not isinstance(found, Mapping) or not {"value", "low", "high"} <= found.keys():
        return None
    return Figure(float(found["value"]), float(found["low"]), float(found["high"]), int(found.get("n", 0)))


def cost_curve(section: Mapping[str, Any]) -> tuple[list[float], dict[str, list[float]], list[tuple[str, float]]]:
    """Questions a month, totals by arm, and where an arm begins to pay: (arm, questions a month)."""
    curve = mapping(mapping(section.get("curve")).get("questions"))
    volumes = [float(one) for one in curve.get("x", ())]
    totals = {str(name): [float(one) for one in values] for name, values in mapping(curve.get("arms")).items()}
    events = []
    for name, found in mapping(section.get("break_even")).items():
        volume = mapping(found).get("questions")
        if isinstance(volume, int | float) and not isinstance(volume, bool) and volume > 0:
            events.append((str(name), float(volume)))
    return volumes, totals, events


def mapping(found: object) -> Mapping[str, Any]:
    """The mapping, or {} for anything else."""
    return found if isinstance(found, Mapping) else {}


def latencies(report: Report) -> dict[str, dict[str, dict[str, float]]]:
    """Arm -> step -> {"p50", "p95"}: of the latency section, else as the rows' answers took."""
    section = report.sections.get("latency")
    arms = section.get("arms") if isinstance(section, Mapping) else None
    found: dict[str, dict[str, dict[str, float]]] = {}
    for one in report.arms:
        measured = arms.get(one.name) if isinstance(arms, Mapping) else None
        steps = measured if isinstance(measured, Mapping) else one.seconds
        split = {
            step: {key: float(spent[key]) for key in ("p50", "p95") if key in spent}
            for step, spent in steps.items()
            if isinstance(spent, Mapping)
        }
        if split.get("total"):
            found[one.name] = split
    return found
