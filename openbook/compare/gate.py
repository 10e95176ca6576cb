"""Rules for continuous integration, and two reports in; sentences about what failed out. Knows no command line.

    answer_correct drops > 2pp            of the best of the four, now against the baseline's best
    rag: refusal drops > 5pp              of a named arm
    tuned+rag: p95 rises > 20%            seconds of an answer, relative to the baseline
    tuned+rag: decode p50 > 2             one step of it, in seconds, without a baseline
    answer_correct < 0.6                  an absolute bar; 60% says the same
    acceptable_answer rises > 10%         cost, in the price sheet's currency
    recall@5 < 90%                        search, which no arm changes

pp and points are differences of shares; % after drops or rises is relative to the baseline, else a share. A rule that
cannot be judged has failed: a gate that passes because nothing was measured is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from openbook.compare.schema import DIAGNOSTICS, FOUR, METRICS, ArmReport, Figure, Report
from openbook.errors import UsageError

STEPS = ("retrieve", "prefill", "decode", "total", "cpu")
COSTS = ("one_time", "update", "thousand_questions", "acceptable_answer")
SEARCH = ("recall@1", "recall@3", "recall@5", "recall@10", "mrr@10")
_VERBS: Mapping[str, Verb] = {
    "drops": "drops",
    "falls": "drops",
    "rises": "rises",
    "grows": "rises",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
EXAMPLE = "answer_correct drops > 2pp"

Unit = Literal["", "pp", "%"]
Verb = Literal["drops", "rises", "<", "<=", ">", ">="]

_RULE = re.compile(
    r"(?:(?P<arm>[\w+#.-]+)\s*:\s*)?"
    r"(?:(?P<step>[a-z]+)\s+)?(?P<metric>(?!(?:drops|falls|rises|grows)\b)[\w@]+)"
    r"(?:\s+(?P<verb>drops|falls|rises|grows)\s*(?:by\s*)?(?P<more>>=?|more than)|\s*(?P<sign><=|<|>=|>))"
    r"\s*(?P<limit>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>pp|points?|percent|%|s|seconds?|MB)?"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What must not be the case."""

    text: str
    """As it was written."""
    arm: str
    """"" is the best of the four by the report's primary metric."""
    step: str
    """Of STEPS for p50, p95 and seconds (their mean), else ""."""
    metric: str
    """Of METRICS, COSTS or SEARCH; "p50", "p95", "seconds" or "memory_mb"."""
    verb: Verb
    limit: float
    """In the metric's own unit, shares in [0, 1]; relative to the baseline with unit "%"."""
    unit: Unit
    at_limit: bool = False
    """With drops and rises: a change of exactly the limit fails too."""

    @property
    def relative(self) -> bool:
        """Whether it needs a report to compare with."""
        return self.verb in ("drops", "rises")


def parse(text: str) -> Rule:
    """The rule of a text like "answer_correct drops > 2pp"; UsageError says what of it is wrong.

    >>> rule = parse("tuned+rag: p95 rises > 20%")
    >>> rule.arm, rule.step, rule.metric, rule.verb, rule.limit, rule.unit
    ('tuned+rag', 'total', 'p95', 'rises', 0.2, '%')
    """
    found = _RULE.fullmatch(" ".join(text.split()))
    if found is None:
        raise UsageError(f"rule {text!r} is not understood; write it like {EXAMPLE!r} or 'rag: p95 > 2'")
    arm, metric, step = found["arm"] or "", found["metric"], found["step"] or ""
    if arm and arm.partition("#")[0] not in (*FOUR, *DIAGNOSTICS):
        raise UsageError(f"rule {text!r} names the arm {arm!r}; use one of {', '.join((*FOUR, *DIAGNOSTICS))}")
    timed = metric in ("p50", "p95", "seconds")
    known = (*METRICS, *COSTS, *SEARCH, "p50", "p95", "seconds", "memory_mb")
    if metric not in known:
        near = get_close_matches(metric, known, 3) or known
        raise UsageError(f"rule {text!r} names the metric {metric!r}; use {' or '.join(near)}")
    if step and (not timed or step not in STEPS):
        raise UsageError(f"rule {text!r} names the step {step!r}; before p50, p95 or seconds use {', '.join(STEPS)}")
    if arm and metric in SEARCH:
        raise UsageError(f"rule {text!r} names an arm, but {metric} is of the search all arms share; leave {arm!r} out")
    verb = _VERBS[found["verb"] or found["sign"]]
    limit, unit = _limit(text, float(found["limit"]), found["unit"] or "", metric, verb)
    at_limit = found["more"] == ">="
    return Rule(text.strip(), arm, step or ("total" if timed else ""), metric, verb, limit, unit, at_limit)


def judge(rules: Sequence[Rule], report: Report, against: Report | None) -> list[str]:
    """A sentence for each rule that failed, in their order; empty when all held.

    against: the baseline, needed by rules that drop or rise. Without an arm such a rule compares what the two reports
    would each ship: their best arms of the four.
    """
    return [sentence for rule in rules if (sentence := _judged(rule, report, against))]


def best(report: Report) -> ArmReport | None:
    """Of the four that have a figure of the primary metric, the one with the best; None without any."""
    measured = [arm for arm in report.arms if arm.role == "four" and report.primary in arm.metrics]
    lower = report.primary in METRICS and METRICS[report.primary].better == "lower"
    return max(measured, key=lambda arm: (-1 if lower else 1) * arm.metrics[report.primary].value, default=None)


def _judged(rule: Rule, report: Report, against: Report | None) -> str:
    now = _measured(rule, report)
    if isinstance(now, str):
        return f"{rule.text!r} cannot be judged: {now} in this report; measure it or drop the rule"
    if not rule.relative:
        return _against_bar(rule, now)
    if against is None:
        return f"{rule.text!r} cannot be judged: there is no report to compare with; name one with --against"
    here, there = report.cases.get("hash"), against.cases.get("hash")
    if here != there and rule.metric not in COSTS:
        return (
            f"{rule.text!r} cannot be judged: the baseline {against.id!r} answered other cases; make it again from the"
            " cases of this report"
        )
    before = _measured(rule, against)
    if isinstance(before, str):
        return (
            f"{rule.text!r} cannot be judged: {before} in the baseline {against.id!r}; make it again or drop the rule"
        )
    return _against_baseline(rule, now, before, report, against)


@dataclass(frozen=True, slots=True)
class _Value:
    name: str
    """ "answer_correct of 'rag'"."""
    value: float
    figure: Figure | None = None


def _against_bar(rule: Rule, now: _Value) -> str:
    failed = {
        "<": now.value < rule.limit,
        "<=": now.value <= rule.limit,
        ">": now.value > rule.limit,
        ">=": now.value >= rule.limit,
    }[rule.verb]
    sides = {"<": "below", "<=": "at or below", ">": "above", ">=": "at or above"}
    if not failed:
        return ""
    return f"{now.name} is {_told(rule, now)}, {sides[rule.verb]} the limit of {_number(rule, rule.limit)}"


def _against_baseline(rule: Rule, now: _Value, before: _Value, report: Report, against: Report) -> str:
    change = (now.value - before.value) * (1 if rule.verb == "rises" else -1)
    if rule.unit == "%" and before.value == 0:
        if change <= 0:
            return ""
        return f"{now.name} rose from 0 to {_told(rule, now)}, and {_allowed(rule)} of 0 is nothing"
    size = change / abs(before.value) if rule.unit == "%" else change
    if not (size >= rule.limit - 1e-12 if rule.at_limit else size > rule.limit + 1e-12):
        return ""
    verb = "rose" if rule.verb == "rises" else "dropped"
    by = f"{100 * size:.3g} %" if rule.unit == "%" else _difference(rule, change)
    was = "" if now.name == before.name else f" (the baseline's best is {before.name.rpartition(' of ')[2]})"
    text = (
        f"{now.name} {verb} by {by}, from {_number(rule, before.value)} to {_told(rule, now)}{was};"
        f" the rule allows {_allowed(rule)}"
    )
    if now.figure and before.figure and now.figure.low <= before.figure.high and before.figure.low <= now.figure.high:
        text += "; the two intervals overlap, so it may be chance"
    machines = report.manifest.get("machine"), against.manifest.get("machine")
    if rule.step and machines[0] != machines[1]:
        text += "; the two ran on different machines"
    return text


def _measured(rule: Rule, report: Report) -> _Value | str:
    """The value, or what is missing."""
    if rule.metric in SEARCH:
        found = report.retrieval.get(rule.metric)
        return _Value(rule.metric, found.value, found) if found else f"{rule.metric} was not measured"
    arm = next((arm for arm in report.arms if arm.name == rule.arm), None) if rule.arm else best(report)
    if arm is None:
        return f"there is no arm {rule.arm!r}" if rule.arm else f"none of the four has a figure of {report.primary}"
    if rule.metric in METRICS:
        figure = arm.metrics.get(rule.metric)
        if figure is None:
            return f"{rule.metric} of {arm.name!r} was not measured"
        return _Value(f"{rule.metric} of {arm.name!r}", figure.value, figure)
    if rule.step:
        value = arm.seconds.get(rule.step, {}).get("mean" if rule.metric == "seconds" else rule.metric)
        name = (
            f"{rule.metric} of {arm.name!r}" if rule.step == "total" else f"{rule.step} {rule.metric} of {arm.name!r}"
        )
    else:
        value = (arm.memory_mb or None) if rule.metric == "memory_mb" else arm.cost.get(rule.metric)
        name = f"{rule.metric} of {arm.name!r}"
    return f"{name} was not measured" if value is None else _Value(name, value)


def _limit(text: str, number: float, unit: str, metric: str, verb: str) -> tuple[float, Unit]:
    share = metric in METRICS or metric in SEARCH
    if unit in ("pp", "point", "points"):
        if not share:
            raise UsageError(f"rule {text!r} has points, but {metric} is no share; write a number or a percentage")
        if verb not in ("drops", "rises"):
            raise UsageError(f"rule {text!r} has points without drops or rises; write a bar as {number:g}%")
        if number >= 100:
            raise UsageError(f"rule {text!r} can never fail: no share moves by {number:g} points; write fewer")
        return number / 100, "pp"
    if unit in ("%", "percent"):
        if verb not in ("drops", "rises") and not share:
            raise UsageError(f"rule {text!r} has a percentage, but {metric} is no share; write a plain number")
        return _fits(text, number / 100, share and verb not in ("drops", "rises")), "%"
    timed = metric in ("p50", "p95", "seconds")
    if (unit.startswith("s") and not timed) or (unit == "MB" and metric != "memory_mb"):
        raise UsageError(f"rule {text!r} gives {metric} in {unit!r}; leave the unit out")
    return _fits(text, number, share), ""


def _fits(text: str, limit: float, share: bool) -> float:
    if share and limit > 1:
        raise UsageError(f"rule {text!r} has the limit {limit:g}, but shares go from 0 to 1; write {limit:g}%")
    return limit


def _told(rule: Rule, value: _Value) -> str:
    if value.figure is None:
        return _number(rule, value.value)
    figure = value.figure
    return f"{_number(rule, figure.value)} [{100 * figure.low:.0f}, {100 * figure.high:.0f}], n = {figure.n}"


def _number(rule: Rule, value: float) -> str:
    if rule.metric in METRICS or rule.metric in SEARCH:
        return f"{100 * value:.3g} %"
    return f"{value:.3g}{' s' if rule.step else ' MB' if rule.metric == 'memory_mb' else ''}"


def _difference(rule: Rule, value: float) -> str:
    if rule.metric in METRICS or rule.metric in SEARCH:
        return f"{100 * value:.3g} points"
    return _number(rule, value)


def _allowed(rule: Rule) -> str:
    limit = f"{100 * rule.limit:.3g} %" if rule.unit == "%" else _difference(rule, rule.limit)
    return f"less than {limit}" if rule.at_limit else f"at most {limit}"
