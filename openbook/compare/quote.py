"""Figures, pairs and sections of a report in, words with n and intervals out, for sentences that people read.

Knows nothing about what follows from a number. Everything is optional: what is missing or is no number gives None.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openbook.compare import wording
from openbook.compare.schema import METRICS, ArmReport, Figure, Pair, Report
from openbook.compare.stats import FEWEST, HOPELESS, about

NOTHING = 0.05
"""A gain surely below this counts as none."""
SMALL = 1_000_000_000
"""Parameters below which a model tests how the parts work together, not who wins in production."""
NAMES: Mapping[str, str] = wording.ARMS
"""The four as sentences call them."""
_SIZE = re.compile(r"(?<![\w.])(\d{1,6}(?:\.\d{1,3})?)\s?([mb])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Gain:
    """What `arm` gains over `over`, turned so that more is better whatever the metric's direction."""

    arm: str
    over: str
    metric: str
    value: float
    low: float
    high: float
    better: bool
    """Detectably, after Holm."""
    worse: bool
    n: int
    p: float
    """After Holm."""
    needed: int
    told: bool = True
    """Whether there are documents enough to tell anything: see stats.FEWEST."""

    @property
    def nothing(self) -> bool:
        """Whether it is surely no gain worth having."""
        return self.worse or (self.told and self.high < NOTHING)

    def __str__(self) -> str:
        gap, spread = difference(self.value, self.low, self.high, self.metric)
        mine, other = NAMES.get(self.arm, self.arm), NAMES.get(self.over, self.over)
        if self.better or self.worse:
            how = "better" if self.better else "worse"
            return f"{mine} is {gap} {how} than {other} {spread}, {probability(self.p)}, n = {self.n}"
        told = f"no detectable difference between {mine} and {other} at n = {self.n} {spread}"
        if not self.told:
            return f"{told}: too few documents to tell"
        alone = f", {probability(self.p)}" if self.low > 0 or self.high < 0 else ""
        return f"{told}{alone}{self.settle}"

    @property
    def settle(self) -> str:
        """How many cases would settle it, as the table of pairs says it."""
        if self.needed <= self.n:
            return ""
        if self.needed > HOPELESS:
            return f"; more than {HOPELESS:,} questions would be needed to settle it"
        return f"; about {about(self.needed):,} questions would settle it"


def arm(report: Report, name: str) -> ArmReport | None:
    """The arm of that name if it answered anything."""
    return next((one for one in report.arms if one.name == name and one.answered > 0), None)


def figure(report: Report, name: str, metric: str, kind: str = "") -> Figure | None:
    """What an arm measured, over all cases or those of a kind; None when nothing did or it is no number."""
    found = arm(report, name)
    if found is None:
        return None
    value = (found.by_kind.get(kind, {}) if kind else found.metrics).get(metric)
    return value if value is not None and sound(value) else None


def sound(value: Figure) -> bool:
    """Whether it rests on cases and all of it is finite."""
    return value.n > 0 and all(map(math.isfinite, (value.value, value.low, value.high)))


def gain(report: Report, name: str, over: str, metric: str) -> Gain | None:
    """What `name` gains over `over`; None when the two were not compared."""
    for pair in report.pairs:
        if pair.metric == metric and {pair.a, pair.b} == {name, over} and pair.n > 0 and _finite(pair):
            return _turned(pair, name)
    return None


def _finite(pair: Pair) -> bool:
    return all(map(math.isfinite, (pair.difference, pair.low, pair.high, pair.p_holm)))


def _turned(pair: Pair, name: str) -> Gain:
    forward = (pair.b == name) == (pair.metric not in METRICS or METRICS[pair.metric].better == "higher")
    value, low, high = pair.difference, pair.low, pair.high
    if not forward:
        value, low, high = -value, -high, -low
    winner = {"a": pair.a, "b": pair.b}.get(pair.verdict, "")
    over = pair.a if pair.b == name else pair.b
    return Gain(
        name,
        over,
        pair.metric,
        value,
        low,
        high,
        winner == name,
        winner == over,
        pair.n,
        pair.p_holm,
        pair.needed,
        told=pair.clusters == 0 or pair.clusters >= FEWEST,
    )


def said(value: Figure, metric: str) -> str:
    """A figure in words.

    >>> said(Figure(0.5625, 0.42, 0.68, 53), "answer_correct")
    '56 % [42, 68], n = 53'
    >>> said(Figure(0.5625, 0.42, 0.68, 53), "style")
    '0.56 [0.42, 0.68], n = 53'
    """
    return f"{short(value, metric)}, n = {value.n}"


def short(value: Figure, metric: str) -> str:
    """The same without n."""
    if is_share(metric):
        return f"{percent(value.value)} % [{percent(value.low)}, {percent(value.high)}]"
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def difference(value: float, low: float, high: float, metric: str) -> tuple[str, str]:
    """The size of a gap and its interval in words.

    >>> difference(-0.24, -0.4, -0.08, "answer_correct")
    ('24 points', '[-40, -8]')
    """
    if is_share(metric):
        size = percent(abs(value))
        return f"{size} point{'' if size == '1' else 's'}", f"[{percent(low)}, {percent(high)}]"
    return f"{abs(value):.2f}", f"[{low:.2f}, {high:.2f}]".replace("-0.00", "0.00")


def is_share(metric: str) -> bool:
    """Whether it is counted, and told in per cent."""
    return metric not in METRICS or METRICS[metric].kind == "share"


def percent(share: float) -> str:
    """A share as whole per cent, without a minus before 0.

    >>> percent(-0.001), percent(0.565)
    ('0', '56')
    """
    return f"{share * 100:.0f}".replace("-0", "0") if abs(share) < 0.005 else f"{share * 100:.0f}"


def probability(p: float) -> str:
    """
    >>> probability(0.0001), probability(0.0312)
    ('p < .001', 'p = .031')
    """
    told = wording.p_value(p)
    return f"p {told}" if told.startswith("<") else f"p = {told}"


def number(value: Any) -> float | None:
    """A finite number of a section, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def dig(section: Any, *keys: str) -> Any:
    """What lies under the keys, or None when a mapping on the way is none or lacks the key."""
    for key in keys:
        if not isinstance(section, Mapping) or key not in section:
            return None
        section = section[key]
    return section


def rate(raw: Any) -> Figure | None:
    """The {"value", "low", "high", "n"} of a section."""
    found = [number(dig(raw, key)) for key in ("value", "low", "high", "n")]
    if any(one is None for one in found):
        return None
    value, low, high, n = (one for one in found if one is not None)
    figured = Figure(value, low, high, int(n))
    return figured if sound(figured) else None


def parameters(model: str) -> int | None:
    """How many a model's name says it has.

    >>> parameters("smollm2-135m-instruct"), parameters("Qwen2.5-1.5B"), parameters("gpt-4o")
    (135000000, 1500000000, None)
    """
    found = _SIZE.search(model.replace("-", " ").replace("_", " ").replace("/", " "))
    if found is None:
        return None
    return round(float(found[1]) * {"m": 1_000_000, "b": 1_000_000_000}[found[2].lower()])


def caution(report: Report) -> str:
    """A sentence for runs of a small model: they test the mechanics; "" for others."""
    sizes = [size for one in report.arms if one.role == "four" if (size := parameters(one.model)) is not None]
    if not sizes or max(sizes) >= SMALL:
        return ""
    return (
        f"The model has {max(sizes) // 1_000_000} million parameters: such a run tests the mechanics, not which arm "
        "wins in production with a larger model."
    )


def goal(bar: float, metric: str) -> str:
    """A bar in words.

    >>> goal(0.7, "answer_correct"), goal(0.7, "style")
    ('70 %', '0.70')
    """
    return f"{percent(bar)} %" if is_share(metric) else f"{bar:.2f}"


def upper(text: str) -> str:
    """The same, as the beginning of a sentence."""
    return text[:1].upper() + text[1:]
