"""What of a report decides its advice, looked up once: whether the bar is met, search finds, training adds or harms.

A report and what the user said in; judgements out, each from figures with intervals and from pairs after Holm. Bears
that any figure, pair or section is missing. Knows nothing of recommendations or sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from openbook.compare import quote
from openbook.compare.quote import Gain, dig, number, said
from openbook.compare.schema import FOUR, METRICS, Figure, Report
from openbook.compare.style import TELLS

FEW, WANTED = 30, 100
"""Below FEW cases an interval is at least 17 points wide on each side; WANTED show a gap of some 15 points."""
RECALL = 0.8
"""Share of questions whose passage must be shown before an answer's faults are the model's."""
HARM = 0.05
"""What training may cost in refusals or citations."""
SEARCH_COSTS = 0.1
"""What the right passage must add over the found ones for search to be what holds answers back."""
SEEDS = 3
"""Trainings from which on their spread says something."""
BEHAVIOUR = ("behaviour", "format_valid", "style")
"""What training is for, in the order in which they decide."""
_OFTEN = ("daily", "weekly", "monthly")
_CITED = ("answer_and_citation", "citation_recall")


@dataclass(frozen=True, slots=True)
class Voice:
    """What was found about behaviour."""

    state: Literal["no", "closed", "open", "untried", "unknown"]
    """closed: training closes a gap; open: it was tried and does not; untried: there is a gap and no tuned arm."""
    metric: str = ""
    told: str = "format and voice were not measured"
    gains: tuple[Gain, ...] = ()
    """Over base, of the trained arms that close the gap."""


@dataclass(frozen=True, slots=True)
class Pays:
    """When tuned costs less than RAG: always, from or until so many questions a month, never."""

    verdict: Literal["always", "from", "until", "never", "unknown"]
    questions: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """What the steps need of a report, looked up once."""

    report: Report
    answers: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def metric(self) -> str:
        """What answers from documents are judged by."""
        primary = self.report.primary
        fits = primary in METRICS and primary not in BEHAVIOUR and primary not in ("style", "judge")
        if fits and any(self.of(name, primary) for name in FOUR):
            return primary
        return "answer_correct"

    @cached_property
    def bar(self) -> float | None:
        """What `metric` must reach; None when the declared bar is about another metric."""
        bar = number(self.report.bar)
        return bar if bar and self.metric == self.report.primary else None

    @cached_property
    def knowledge(self) -> bool:
        """Whether any question is to be answered from documents."""
        return any(self.of(name, self.metric) for name in FOUR)

    @cached_property
    def asked(self) -> int:
        """Cases that the deciding metric was measured on."""
        metrics = (self.metric,) if self.knowledge else BEHAVIOUR
        return max((one.n for name in FOUR for m in metrics if (one := self.of(name, m))), default=0)

    def of(self, name: str, metric: str = "") -> Figure | None:
        """A figure of an arm, of the deciding metric if none is named."""
        return quote.figure(self.report, name, metric or self.metric)

    def gain(self, name: str, over: str, metric: str = "") -> Gain | None:
        """What an arm gains over another."""
        return quote.gain(self.report, name, over, metric or self.metric)

    def meets(self, value: Figure | None) -> bool:
        """Whether it reaches the bar; its interval may still reach below."""
        if value is None or self.bar is None:
            return False
        return value.value <= self.bar if self._lower else value.value >= self.bar

    def surely_meets(self, value: Figure | None) -> bool:
        """Whether its whole interval does."""
        if value is None or self.bar is None:
            return False
        return value.high <= self.bar if self._lower else value.low >= self.bar

    def surely_misses(self, value: Figure | None) -> bool:
        """Whether its whole interval lies on the other side."""
        if value is None or self.bar is None:
            return False
        return value.low > self.bar if self._lower else value.high < self.bar

    def more(self, value: Figure, than: Figure) -> float:
        """How much better one is than the other."""
        gap = value.value - than.value
        return -gap if self._lower else gap

    @property
    def _lower(self) -> bool:
        return METRICS[self.metric].better == "lower"

    @cached_property
    def prompt_is_enough(self) -> bool:
        """base reaches the bar, surely or with no arm detectably above it, and nothing forbids answers by heart."""
        base = self.of("base")
        if not self.meets(base) or self.told_to_follow:
            return False
        above = (self.gain(name, "base") for name in FOUR if name != "base")
        return self.surely_meets(base) or not any(one.better for one in above if one)

    @cached_property
    def told_to_follow(self) -> bool:
        """The user said that facts change, or that answers must cite."""
        return self.answers.get("facts") in _OFTEN or self.answers.get("citations") == "yes"

    @cached_property
    def updates(self) -> float | None:
        """Edits a month that the cost was reckoned with."""
        return number(dig(self.report.sections.get("cost"), "use", "updates_month"))

    @cached_property
    def weights_alone_forbidden(self) -> bool:
        """An arm without documents must not be shipped for questions that documents answer."""
        if "facts" in self.answers:
            return self.told_to_follow
        return self.told_to_follow or (self.updates or 0) >= 1

    @cached_property
    def shown(self) -> tuple[str, Figure] | None:
        """How often the gold passage was found: as shown to the model, else by rank."""
        if value := self.of("rag", "retrieved"):
            return "a right passage was shown", value
        for name in ("recall@5", "recall@3", "recall@10", "recall@1"):
            value = self.report.retrieval.get(name)
            if value is not None and quote.sound(value):
                return name, value
        return None

    @cached_property
    def oracle(self) -> tuple[str, Figure] | None:
        """The best answer to the right passage, of the model as it is or trained."""
        found = [(name, value) for name in ("oracle", "tuned+oracle") if (value := self.of(name))]
        return max(found, key=lambda one: self.more(one[1], found[0][1]), default=None)

    @cached_property
    def harms(self) -> tuple[str, ...]:
        """What training costs RAG, beyond the margin."""
        found = []
        for metric in ("refusal", *_CITED):
            trained, plain = self.of("tuned+rag", metric), self.of("rag", metric)
            if trained and plain and plain.value - trained.value > HARM + 1e-9:
                label = METRICS[metric].label
                found.append(f"{label} falls from {said(plain, metric)} to {said(trained, metric)}")
        return tuple(found)

    @cached_property
    def seeds(self) -> tuple[float, ...]:
        """What trainings of tuned + RAG with different seeds reached; () when there was one only."""
        arm = quote.arm(self.report, "tuned+rag")
        return tuple(one for raw in arm.spread.get(self.metric, ()) if (one := number(raw)) is not None) if arm else ()

    @cached_property
    def training_adds(self) -> bool:
        """tuned + RAG is detectably better than RAG by the deciding metric or in behaviour, and harms nothing.

        By the deciding metric every seed's training must be above RAG: a single one can be luck.
        """
        gain, plain = self.gain("tuned+rag", "rag"), self.of("rag")
        if self.harms or (gain is not None and gain.worse):
            return False
        if gain is not None and gain.better and plain is not None:
            return all(one < plain.value if self._lower else one > plain.value for one in self.seeds)
        kept = gain is None or gain.value >= -HARM
        return kept and any(one.better for m in BEHAVIOUR if (one := self.gain("tuned+rag", "rag", m)))

    @cached_property
    def best(self) -> str:
        """The better of the two arms with documents."""
        return "tuned+rag" if self.training_adds or self.of("rag") is None else "rag"

    @cached_property
    def search_limits(self) -> bool:
        """Wrong answers come from passages that were not found rather than from the model."""
        own = self.of("tuned+oracle" if self.best == "tuned+rag" else "oracle")
        value = self.of(self.best)
        if value is None:
            return False
        if own is not None and self.more(own, value) >= SEARCH_COSTS and self.meets(own):
            return True
        missed = self.shown is not None and self.shown[1].value < RECALL
        return missed and (own is None or self.more(own, value) >= HARM)

    @cached_property
    def oracle_gap(self) -> float:
        """What the right passage adds to the best arm with documents; 0.0 when unknown."""
        value = self.of(self.best)
        return self.more(self.oracle[1], value) if self.oracle and value else 0.0

    @cached_property
    def pays(self) -> Pays:
        """When tuned costs less than RAG."""
        pairs = dig(self.report.sections.get("cost"), "pairs")
        for one in pairs if isinstance(pairs, list | tuple) else ():
            if dig(one, "arm") == "tuned" and dig(one, "against") == "rag":
                verdict, reason = dig(one, "verdict"), dig(one, "reason")
                if verdict in ("always", "from", "until", "never"):
                    told = reason if isinstance(reason, str) else ""
                    return Pays(verdict, number(dig(one, "questions")), told)
        return Pays("unknown")

    @cached_property
    def cheaper(self) -> bool:
        """Whether tuned costs less than RAG at the volume there is."""
        if self.pays.verdict == "always":
            return True
        if self.volume is None or self.pays.questions is None:
            return False
        if self.pays.verdict == "from":
            return self.volume >= self.pays.questions
        return self.pays.verdict == "until" and self.volume <= self.pays.questions

    @cached_property
    def volume(self) -> float | None:
        """Questions a month, as the user said or as the costs are reckoned."""
        told = self.answers.get("volume")
        return (
            float(told) if told is not None else number(dig(self.report.sections.get("cost"), "use", "questions_month"))
        )

    @cached_property
    def voice(self) -> Voice:
        """Whether format or voice is wanting, and whether training closes that."""
        seen: list[Voice] = []
        for metric in sorted(BEHAVIOUR, key=lambda one: one != self.report.primary):
            if metric == "style":
                auc = number(dig(self.report.sections.get("style"), "auc"))
                if auc is not None and auc < TELLS:
                    continue
            if one := self._gap(metric):
                seen.append(one)
        order = ("closed", "open", "untried", "no", "unknown")
        return min(seen, key=lambda one: order.index(one.state)) if seen else Voice("unknown")

    def _gap(self, metric: str) -> Voice | None:
        base = self.of("base", metric)
        if base is None:
            return None
        label = METRICS[metric].label
        told = f"{label}: base {said(base, metric)}"
        bar = number(self.report.bar) if metric == self.report.primary else None
        if bar and base.value >= bar:
            return Voice("no", metric, f"{told}, which reaches the bar of {quote.goal(bar, metric)}")
        gains = [one for name in ("tuned", "tuned+rag") if (one := self.gain(name, "base", metric))]
        closing = tuple(one for one in gains if one.better)
        if closing:
            told = f"{told}; {'; '.join(map(str, closing))}"
            best = max((own.value for gain in closing if (own := self.of(gain.arm, metric))), default=None)
            if bar and best is not None and best < bar:
                told += f"; the best reaches {quote.goal(best, metric)}, the bar is {quote.goal(bar, metric)}"
            return Voice("closed", metric, told, closing)
        if gains:
            told = f"{told}; {'; '.join(map(str, gains))}"
            return Voice("open" if bar else "no", metric, told)
        if bar:
            told += f", below the bar of {quote.goal(bar, metric)}; a tuned arm was not measured"
            return Voice("untried", metric, told)
        return Voice("unknown", metric, f"{told}; a tuned arm was not measured")
