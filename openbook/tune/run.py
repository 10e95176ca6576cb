"""Cases, settings and rooms in, a report out: what is tried, in which order, and what each part is judged by.

Three verdicts, each on held-out questions and each once: how passages are found, how many are shown, when to decline; a
fourth, the order of passages, when answers may be generated. A verdict that adopts is the ground of the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from openbook import provenance, settings_file
from openbook.files import write_atomic
from openbook.metrics import contains
from openbook.records import Answer, Case, Hit
from openbook.seams import Progress
from openbook.settings import FILE_NAME, STATE_DIR, Settings
from openbook.tune import grid
from openbook.tune.cases import Asked, part
from openbook.tune.climb import Changes, Dimension, changed, climb, judge, nothing_better
from openbook.tune.measure import Measure, answering, declining, mean_length, ranking, showing
from openbook.tune.options import Options, Tools
from openbook.tune.report import Report, Try, Verdict, page, told
from openbook.tune.trials import Trials, split_of

_FEW = 5


def run(
    cases: Sequence[Case],
    present: Settings,
    tools: Tools,
    options: Options,
    *,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Tune on cases and judge once on the held-out part; changes nothing but a temporary folder.

    Raises OpenbookError when the cases are too few.
    """
    started = clock()
    parts = part(
        cases,
        tools.rooms.library.documents(),
        groups=options.groups,
        divide=lambda some: tools.divide(some, options.held, options.seed),
        asked=tools.asked,
        known=notes,
    )
    with TemporaryDirectory(prefix="openbook-tune-") as folder:
        trials = Trials(present, tools.rooms, Path(folder), progress=progress)
        try:
            work = _Work(present, trials, tools, options, progress, clock, started)
            if "search" in options.parts:
                work.search(parts.tune, parts.held)
            if "passages" in options.parts:
                work.passages(parts.tune, parts.held)
            if "decline" in options.parts:
                work.decline(
                    (*parts.tune, *(parts.tune_unanswerable or work.hidden(parts.tune))),
                    (*parts.held, *(parts.held_unanswerable or work.hidden(parts.held))),
                )
            if "order" in options.parts and options.answers and tools.answer:
                work.order(parts.tune, parts.held)
        finally:
            trials.close()
    at = datetime.now(UTC)
    return Report(
        id=at.strftime("%Y%m%d-%H%M%S"),
        at=at.isoformat(timespec="seconds"),
        questions={
            "to choose on": len(parts.tune),
            "held out": len(parts.held),
            "unanswerable to choose on": len(parts.tune_unanswerable),
            "unanswerable held out": len(parts.held_unanswerable),
        },
        level=work.level,
        verdicts=tuple(work.verdicts),
        tries=tuple(work.tries),
        present={key: value for verdict in work.verdicts for key, value in _present(present, verdict.changes)},
        changes=work.changes,
        written=False,
        notes=(*notes, *parts.notes, *work.all_notes()),
        library_version=tools.rooms.library.version(),
        options=asdict(options),
        seconds=clock() - started,
        machine=provenance.machine(),
    )


def keep(report: Report, root: Path, *, write: bool) -> Report:
    """Keep the report in .openbook/tune/ID and, with `write`, what it adopts in openbook.toml; returns it as kept.

    Raises SettingsError when openbook.toml cannot be changed; the report then says that nothing was written.
    """
    _write(report, root)
    if not (write and report.changes):
        return report
    why = f"tuned {report.at[:10]}, see {STATE_DIR}/tune/{report.id}/report.html"
    settings_file.change(root / FILE_NAME, report.changes, why=why)
    report = replace(report, written=True)
    _write(report, root)
    return report


def _write(report: Report, root: Path) -> None:
    folder = root / STATE_DIR / "tune" / report.id
    write_atomic(folder / "report.html", page(report))
    write_atomic(folder / "report.json", report.json())


class _Work:
    """A tuning under way: what is adopted so far, and what has been found."""

    def __init__(
        self,
        present: Settings,
        trials: Trials,
        tools: Tools,
        options: Options,
        progress: Progress | None,
        clock: Callable[[], float],
        started: float,
    ) -> None:
        self._present, self._current, self._trials = present, present, trials
        self._tools, self._options, self._progress, self._clock = tools, options, progress, clock
        self._deadline = None if options.minutes is None else started + 60 * options.minutes
        dimensions = {"search": 5 if options.reranker or present.models.reranker else 4}
        judged = {name for name in options.parts if name != "order" or (options.answers and tools.answer)}
        self.level = 1 - 0.05 / max(1, len(judged))
        self._done, self._total = 0, sum(options.tries * dimensions.get(name, 1) + 1 for name in judged)
        self.verdicts: list[Verdict] = []
        self.tries: list[Try] = []
        self.changes: dict[str, object] = {}
        self.notes: list[str] = []
        self._skipped: dict[str, None] = {}

    def search(self, tune: Sequence[Asked], held: Sequence[Asked]) -> None:
        """How passages are found: chunk size, overlap, fusion, weights, reranker."""
        hits = ranking(self._trials)
        text = ranking(self._trials, unit=mean_length(self._trials, self._present, tune))
        longest = self._tools.rooms.embedder.max_tokens
        rerankers = [name for name in dict.fromkeys((self._options.reranker, self._present.models.reranker)) if name]
        dimensions = [
            Dimension("chunk size", grid.sizes(longest), text),
            Dimension("overlap", grid.overlaps, text),
            Dimension("fusion", grid.fusions, hits),
            Dimension("weights", grid.weights, hits),
            *([Dimension("reranker", grid.rerankers(rerankers), hits)] if rerankers else []),
        ]

        def final(candidate: Settings) -> tuple[str, Measure]:
            same = split_of(candidate) == split_of(self._present)
            return ("MRR@10", hits) if same else ("MRR@10 by text read", text)

        self._group("search", dimensions, final, tune, held)

    def passages(self, tune: Sequence[Asked], held: Sequence[Asked]) -> None:
        """How many passages are shown."""
        measure = showing(self._trials, token_price=self._options.token_price)
        name = f"gold shown - {self._options.token_price:g} per 1,000 tokens"
        self._group("passages", [Dimension("passages", grid.passages, measure)], lambda _: (name, measure), tune, held)

    def decline(self, tune: Sequence[Asked], held: Sequence[Asked]) -> None:
        """When to decline."""
        few = min(sum(not one.answerable for one in some) for some in (tune, held))
        if few < _FEW:
            self.notes.append(f"when to decline was not tuned: {few} unanswerable questions in one part are too few")
            return
        measure = declining(self._trials, self._tools.confidence, wrong_cost=self._options.wrong_cost)
        sure = [self._tools.confidence(one.question, self._searched(one)) for one in tune]
        name = (
            "balanced accuracy"
            if self._options.wrong_cost == 1
            else f"wrong answers count {self._options.wrong_cost:g}"
        )
        thresholds = grid.thresholds(sure, self._options.tries - 1)
        self._group("decline", [Dimension("decline below", thresholds, measure)], lambda _: (name, measure), tune, held)

    def order(self, tune: Sequence[Asked], held: Sequence[Asked]) -> None:
        """In which order passages stand in the prompt, by what the language model makes of it."""
        answer, trials = self._tools.answer, self._trials
        assert answer is not None
        memory: dict[tuple[str, Asked], Answer] = {}

        def ask(settings: Settings, one: Asked) -> Answer:
            key = (settings.answer.order, one)
            if key not in memory:
                memory[key] = answer(settings, trials.searcher(settings), one.case, one.scope)
            return memory[key]

        measure = answering(ask)
        name = "answer holds gold and cites it"
        some = [_some(part, self._options.answers) for part in (tune, held)]
        self._group("order", [Dimension("order", grid.orders, measure)], lambda _: (name, measure), some[0], some[1])

    def hidden(self, asked: Sequence[Asked]) -> list[Asked]:
        """The same questions with their documents out of sight; those another document answers are left out."""
        twins = [one.hidden() for one in asked]
        kept = [one for one in twins if not any(contains(hit.chunk.text, one.case.gold) for hit in self._searched(one))]
        note = "no unanswerable questions were given: the questions were asked again with their documents out of sight"
        if note not in self.notes:
            self.notes.append(note)
        return kept

    def _searched(self, one: Asked) -> Sequence[Hit]:
        searcher = self._trials.searcher(self._current)
        return searcher.search(one.question, k=self._current.answer.passages, scope=one.scope).hits

    def _group(
        self,
        group: str,
        dimensions: Sequence[Dimension],
        final: Callable[[Settings], tuple[str, Measure]],
        tune: Sequence[Asked],
        held: Sequence[Asked],
    ) -> None:
        """Choose on one part, judge on the other, adopt what is significantly better."""
        until = self._done + self._options.tries * len(dimensions)
        found, log = climb(
            self._current, dimensions, tune, tries=self._options.tries, allowed=self._allowed, step=self._step
        )
        self._done = until
        self._step()
        self.tries += log
        candidate = changed(self._current, found)
        name, measure = final(candidate)
        if not found:
            self.verdicts.append(nothing_better(group, name, sum(bool(one.changes) for one in log)))
            return
        before, after = measure(self._current, held), measure(candidate, held)
        verdict = judge(
            group,
            name,
            found,
            before,
            after,
            held,
            level=self.level,
            saves=candidate.answer.passages < self._current.answer.passages,
        )
        self.verdicts.append(verdict)
        if verdict.adopted or self._options.force:
            self._adopt(found, forced=not verdict.adopted)

    def _adopt(self, changes: Changes, *, forced: bool) -> None:
        if forced:
            self.notes.append(f"{told(changes)} was taken by force, without a significant gain")
        self._current = changed(self._current, changes)
        self.changes.update(changes)

    def _allowed(self, name: str, settings: Settings) -> bool:
        if self._deadline is None:
            return True
        if self._clock() + self._trials.foresee(settings) <= self._deadline:
            return True
        self._skipped[name] = None
        return False

    def all_notes(self) -> list[str]:
        """What a person should know."""
        if not self._skipped:
            return self.notes
        values = ", ".join(self._skipped)
        return [*self.notes, f"{self._options.minutes:g} minutes did not suffice for every value of: {values}"]

    def _step(self, _: str = "") -> None:
        self._done += 1
        if self._progress:
            self._progress("try", min(self._done, self._total), self._total)


def _present(settings: Settings, changes: Changes) -> list[tuple[str, object]]:
    return [(key, getattr(getattr(settings, key.partition(".")[0]), key.partition(".")[2])) for key in changes]


def _some(asked: Sequence[Asked], count: int) -> list[Asked]:
    """Evenly picked, so that every document is heard."""
    return [asked[place * len(asked) // count] for place in range(count)] if count < len(asked) else list(asked)
