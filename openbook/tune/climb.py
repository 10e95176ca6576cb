"""Settings, grids and a measure in; the best settings found one dimension at a time, and a verdict, out.

Every dimension gets the same number of tries. What is chosen here is judged elsewhere: on questions it never saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openbook.metrics import Paired, paired
from openbook.settings import Settings, parse
from openbook.tune.cases import Asked
from openbook.tune.measure import PER_QUESTION, Measure, Points
from openbook.tune.report import Try, Verdict, told

Changes = Mapping[str, object]
WORTH = 0.005
"""Smaller gains are not worth a change, however sure."""
_TOUCHED = 6
"""With fewer documents on which anything changes no p value falls below 0.05."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """Settings that are varied together, the others held."""

    name: str
    options: Callable[[Settings], Sequence[Changes]]
    """What to try given the settings chosen so far, the most promising first."""
    measure: Measure


def changed(settings: Settings, changes: Changes) -> Settings:
    """Settings with some values replaced; raises SettingsError where they may not be."""
    raw: dict[str, Any] = settings.model_dump(exclude_unset=True)
    for key, value in changes.items():
        section, _, name = key.partition(".")
        raw.setdefault(section, {})[name] = value
    return parse(raw, origin="tune")


def climb(
    present: Settings,
    dimensions: Sequence[Dimension],
    asked: Sequence[Asked],
    *,
    tries: int,
    allowed: Callable[[str, Settings], bool] = lambda _name, _settings: True,
    step: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, object], list[Try]]:
    """The changes that did best on these questions, and everything tried.

    A dimension moves only when its best value leads by at least WORTH and by one standard error (Breiman et al. 1984),
    so that noise costs nobody a new index. `allowed` may refuse a try (no time left); `step` is told of each.
    """
    clusters = [one.cluster for one in asked]
    current, found, log = present, dict[str, object](), list[Try]()
    for dimension in dimensions:
        base = dimension.measure(current, asked)
        step(dimension.name)
        log.append(_try(dimension.name, {}, base, base, clusters))
        here = len(log)
        spent, seen = 1, [current]
        for changes in dimension.options(current):
            candidate = changed(current, changes)
            if spent >= tries or candidate in seen:
                continue
            seen.append(candidate)
            spent += 1
            if allowed(dimension.name, candidate):
                log.append(_try(dimension.name, changes, base, dimension.measure(candidate, asked), clusters))
            step(dimension.name)
        best = max(range(here, len(log)), key=lambda place: log[place].gain.difference, default=None)
        if best is None or not _leads(log[best].gain):
            log[here - 1] = replace(log[here - 1], chosen=True)
            continue
        log[best] = replace(log[best], chosen=True)
        found.update(log[best].changes)
        current = changed(current, log[best].changes)
    return {key: value for key, value in found.items() if value != _value(present, key)}, log


def judge(
    group: str,
    metric: str,
    changes: Changes,
    before: Points,
    after: Points,
    asked: Sequence[Asked],
    *,
    level: float,
    saves: bool = False,
) -> Verdict:
    """The candidate against the present settings on held-out questions; adopted only when its gain is significant.

    saves: the gain is in cost, and what it may lose was perhaps not seen: when none of n documents shows a loss, up to
    3/n of them still may (Hanley and Lippman-Hand 1983), so the gain must be larger than that.
    """
    clusters = [one.cluster for one in asked]
    difference = paired(before.values, after.values, clusters, level=level)
    pairs = zip(before.values, after.values, clusters, strict=True)
    touched = len({cluster for old, new, cluster in pairs if old != new})
    unseen = 3 / max(1, difference.clusters) if saves else 0.0
    adopted = difference.low > unseen and difference.p <= 1 - level
    words = _words(changes, difference, adopted=adopted, unseen=unseen, touched=touched)
    return Verdict(
        group=group,
        metric=metric,
        changes=dict(changes),
        before=_mean(before.values),
        after=_mean(after.values),
        difference=difference,
        adopted=adopted,
        words=words + (_price(difference, before, after) if adopted else ""),
        shown_before=before.shown,
        shown_after=after.shown,
        costs_before=before.costs,
        costs_after=after.costs,
    )


def nothing_better(group: str, metric: str, tries: int) -> Verdict:
    """The verdict when no value led on the questions to choose on."""
    words = f"no significant gain: of {tries} values tried none did clearly better than the present settings"
    return Verdict(group, metric, {}, None, None, None, adopted=False, words=words)


def _words(changes: Changes, found: Paired, *, adopted: bool, unseen: float, touched: int) -> str:
    sure = f"p = {found.p:.3f}" if found.p >= 0.001 else "p < 0.001"
    gain = f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], {sure}"
    size = f"n = {found.n} questions about {found.clusters} documents"
    if adopted:
        return f"{told(changes)} is better on held-out questions: {gain}; {size}"
    if found.high < 0:
        why = f"{size} show that it is worse"
    elif touched < _TOUCHED:
        why = f"{size}, of which {touched} are touched by it, are too few to tell"
    elif found.low > 0 and unseen:
        why = f"{size} cannot rule out a loss of {unseen:.3f} that would outweigh what it saves"
    else:
        why = f"{size} can only show differences above about {(found.high - found.low) / 2:.3f}"
    return f"no significant gain from {told(changes)}: {gain}; {why}"


def _price(found: Paired, before: Points, after: Points) -> str:
    """What a gain of 0.01 costs, of what is counted per question."""
    more = {name: after.costs[name] - before.costs[name] for name in before.costs if name in after.costs}
    parts = [f"{more[name] / (100 * found.difference):+.1f} {name}" for name in PER_QUESTION if more.get(name)]
    return f"; each 0.01 costs {', '.join(parts)} a question" if parts else ""


def _try(name: str, changes: Changes, base: Points, points: Points, clusters: Sequence[str]) -> Try:
    gain = paired(base.values, points.values, clusters, draws=2000)
    return Try(name, dict(changes), _mean(points.values), gain, points.shown, points.costs)


def _leads(gain: Paired) -> bool:
    return gain.difference >= WORTH and gain.difference >= (gain.high - gain.low) / (2 * 1.96)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _value(settings: Settings, key: str) -> object:
    section, _, name = key.partition(".")
    return getattr(getattr(settings, section), name)
