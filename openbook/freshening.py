"""A workspace in, how soon each arm follows an edited fact out: edits in a copy of the library, questions before and
after; the section "freshness" of a report (openbook.compare.freshness.section).

Only the copy changes. It lies in a temporary folder, and is gone at the end however that comes about.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from openbook.assemble import House
from openbook.compare import edits as editing
from openbook.compare import freshness
from openbook.compare.edits import Edit
from openbook.compare.freshness import ArmFacts, Try
from openbook.compare.schema import Row
from openbook.copying import Copy, copied
from openbook.errors import CompareError, OpenbookError
from openbook.records import PUBLIC, Answer, Case, Change
from openbook.relearning import Retrain, learned_cases, retraining
from openbook.seams import Progress

if TYPE_CHECKING:
    from openbook.compare.trial import Contender

__all__ = ["RETRAINED", "Retrain", "learned_cases", "retraining", "run"]

RETRAINED = "retrained"
"""The arm that was trained again on what was edited."""
SYNC = ("save the file", "openbook sync FOLDER")
TRAIN = ("write examples of the new fact", "openbook finetune", "openbook compare", "openbook adapters promote")
_MADE = 200
"""Questions made from the library to choose facts from, where the given ones do not suffice."""


def run(
    house: House,
    contenders_of: Callable[[House], list[Contender]],
    *,
    edits: int = 10,
    trained_cases: Sequence[Case] = (),
    cases: Sequence[Case] = (),
    seed: int = 0,
    retrain: Retrain | None = None,
    on_row: Callable[[Case, Row], None] = lambda _, __: None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Edit facts in a copy of the house's library and ask every arm before and after; see freshness.section.

    `contenders_of` makes the arms over the copy; asked are the four and those behind a server. Edited are facts of
    `trained_cases` (they stand in what an adapter learned) and, in equal parts, of `cases` and of questions made from
    the library; only documents open to everyone. `on_row` gets each case as asked after its edit (kind "fresh"; gold ()
    where the fact was deleted), and each arm's row with the scores "answer_correct" or "refusal", and "stale". With
    `retrain` (see `retraining`) an adapter is trained again on all edits and asked too.

    Raises CompareError when nothing can be edited or the library lies on a server, LibraryBusy while another process
    has it.
    """
    started = time.perf_counter()
    with copied(house) as copy:
        trial = _Trial(copy, contenders_of(copy), on_row)
        planned = trial.plan(edits, trained_cases, cases, seed)
        for done, edit in enumerate(planned):
            if progress:
                progress("freshness", done, len(planned))
            trial.carry_out(edit)
        if progress:
            progress("freshness", len(planned), len(planned))
        if retrain is not None:
            trial.train(retrain)
        trial.close()
    return freshness.section(replace(trial.outcome(), seconds=time.perf_counter() - started))


class _Trial:
    """The edits of one copy being carried out, and the tally of the answers."""

    def __init__(self, copy: Copy, contenders: Sequence[Contender], on_row: Callable[[Case, Row], None]) -> None:
        self._copy, self._on_row = copy, on_row
        self._contenders = [one for one in contenders if one.role == "four" or one.server]
        self._folder = copy.root / "edited"
        self._edits: list[Edit] = []
        self._asked: dict[str, Case] = {}
        self._original: dict[str, str] = {}
        """Text of each document that is edited, as it was."""
        self._tries: list[Try] = []
        self._arms: dict[str, ArmFacts] = {}
        self._sync: dict[str, tuple[float, float]] = {}
        self._notes: list[str] = []
        self._retrained: dict[str, Any] | None = None

    def plan(self, n: int, trained: Sequence[Case], given: Sequence[Case], seed: int) -> list[Edit]:
        """Choose the edits, and put their documents where they can be edited as files."""
        from openbook import questions

        chance = random.Random(seed)
        library = self._copy.library
        open_to_all = {one.name for one in library.documents() if PUBLIC in one.acl}
        texts: dict[str, str | None] = {}

        def text_of(name: str) -> str | None:
            if name not in texts:
                document = library.document(name) if name in open_to_all else None
                texts[name] = document.text if document is not None else None
            return texts[name]

        learned = editing.facts(trained, text_of, chance=chance, trained=True)
        there = {(fact.document, fact.sentence) for fact in learned}
        made = questions.build(
            library,
            settings=self._copy.settings.reading.model_copy(update={"questions": _MADE, "groups": ()}),
            seed=seed,
        ).cases
        others = [
            fact
            for some in (given, made)
            for fact in editing.facts(some, text_of, chance=chance)
            if (fact.document, fact.sentence) not in there
        ]
        self._edits = editing.plan(learned, others, n, chance=chance)
        if not self._edits:
            raise CompareError(
                "no fact of the library can be edited: none of its questions asks for one value in one sentence; "
                "give cases of your own with such answers (numbers, dates, names) and their documents"
            )
        if len(self._edits) < n:
            self._notes.append(f"{len(self._edits)} facts could be edited, {n} were wanted")
        if trained and not learned:
            self._notes.append("no fact of the training data could be edited: none is one value in one open document")
        self._lay_out(text_of)
        return self._edits

    def _lay_out(self, text_of: Callable[[str], str | None]) -> None:
        """The documents as files of a folder of their own, in the library instead of what they were."""
        library = self._copy.library
        for edit in self._edits:
            name = edit.fact.document
            self._original.setdefault(name, text_of(name) or "")
        for name, text in self._original.items():
            before = text
            for edit in self._of(name):
                before = editing.prepared(edit, before)
            path = self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(before, encoding="utf-8")
        library.commit(Change(remove=list(self._original)), note="documents that are edited")
        self._bring()

    def carry_out(self, edit: Edit) -> None:
        """Ask, edit, sync, ask again."""
        from openbook.ingest.sources import key_of

        name = edit.fact.document
        asked = edit.case()
        before = {one.name: self._ask(one, asked) for one in self._contenders}
        path = self._path(name)
        title = PurePosixPath(name).stem
        suffix, text = editing.written(edit, path.read_text(encoding="utf-8"), self._original[name], title)
        started, cpu = time.perf_counter(), _cpu()
        path = path.with_name(f"{path.stem}{suffix}{path.suffix}")
        path.write_text(text, encoding="utf-8")
        self._bring()
        self._sync[edit.id] = time.perf_counter() - started, _cpu() - cpu
        # Its key in the library ends as its path does.
        end = key_of(path.relative_to(self._folder))
        stored = next((one.name for one in self._copy.library.documents() if one.name.endswith(end)), "")
        document = self._copy.library.document(stored) if stored else None
        self._asked[edit.id] = edit.case(document.text if document is not None else "", stored)
        for one in self._contenders:
            first = before[one.name]
            # What reads no document answers as before; it need not be asked again.
            self._note(one, edit, first, self._ask(one, asked) if _retrieves(first) else first)

    def train(self, retrain: Retrain) -> None:
        """Train again on every edit, and ask what came of it."""
        started, cpu = time.perf_counter(), _cpu()
        try:
            made = retrain(self._copy, self._edits)
        except OpenbookError as error:
            self._retrained = {"failed": str(error)}
            self._notes.append(f"training again on the edits failed: {error}")
            return
        seconds, cpu_seconds = time.perf_counter() - started, _cpu() - cpu
        assistant = self._copy.assistant("tuned", adapter=made.adapter)
        self._arms[RETRAINED] = ArmFacts(
            "tuned, trained again on the edits", False, TRAIN, price_seconds=round(seconds, 1)
        )
        for edit in self._edits:
            last = next((one for one in self._tries if one.edit == edit.id and one.arm == "tuned"), None)
            given = _timed(partial(assistant.ask, edit.fact.question))
            answer = given.answer
            text = answer.text if answer is not None else ""
            new, stale = freshness.said(edit, text, abstained=answer is not None and answer.abstained)
            self._tries.append(
                Try(
                    edit=edit.id,
                    arm=RETRAINED,
                    before=last.after if last else "",
                    after=text,
                    knew=last.knew if last else False,
                    new=new,
                    stale=stale,
                    seconds=seconds + given.seconds if new else None,
                    cpu_seconds=cpu_seconds + given.cpu if new else None,
                    never="" if new else given.error or "it was trained on the new value and does not say it",
                )
            )
            self._row(edit, RETRAINED, made.adapter, given, new=new, stale=stale)
        self._retrained = {
            "arm": RETRAINED,
            "adapter": made.adapter,
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "examples": made.examples,
            "kept": made.kept,
            "left_out": made.left_out,
            "held": made.held,
        }

    def close(self) -> None:
        """Let go of what the contenders hold."""
        for one in self._contenders:
            one.close()

    def outcome(self) -> freshness.Outcome:
        """All that was measured."""
        return freshness.Outcome(self._edits, self._tries, self._arms, self._sync, self._retrained, self._notes)

    def _of(self, name: str) -> Iterator[Edit]:
        return (edit for edit in self._edits if edit.fact.document == name)

    def _path(self, name: str) -> Path:
        """The file of a document: its text is Markdown, whatever it was read from."""
        inside = PurePosixPath(name.replace(":", "_").lstrip("/"))
        plain = [part for part in inside.parts if part not in ("..", ".")]
        path = self._folder.joinpath(*plain)
        return path if path.suffix in (".md", ".txt") else path.with_name(f"{path.name}.md")

    def _bring(self) -> None:
        from openbook.ingest.sync import sync

        report = sync(
            [str(self._folder)],
            library=self._copy.library,
            embedder=self._copy.embedder,
            settings=self._copy.settings.ingest,
            acl=(PUBLIC,),
        )
        for failure in report.failed:
            raise CompareError(f"an edited document cannot be read again: {failure.path}: {failure.reason}")

    def _ask(self, one: Contender, case: Case) -> _Given:
        return _timed(partial(one.ask, case))

    def _note(self, one: Contender, edit: Edit, before: _Given, after: _Given) -> None:
        reads = _retrieves(after) or _retrieves(before)
        answer = after.answer
        text = answer.text if answer is not None else ""
        new, stale = freshness.said(edit, text, abstained=answer is not None and answer.abstained)
        arm = self._arms.get(one.name)
        if arm is None or (reads and not arm.retrieves):
            arm = self._arms[one.name] = self._about(one, reads)
        if answer is None:
            new, never = False, after.error
        else:
            never = arm.never or freshness.why_not(edit, answer)
        reached = new and reads
        wall, cpu = self._sync[edit.id]
        self._tries.append(
            Try(
                edit=edit.id,
                arm=one.name,
                before=before.text,
                after=text,
                knew=freshness.knew(edit, before.text),
                new=new,
                stale=stale,
                seconds=wall + after.seconds if reached else None,
                cpu_seconds=cpu + after.cpu if reached else None,
                never=never,
            )
        )
        self._row(edit, one.name, one.identity, after, new=new, stale=stale)

    def _about(self, one: Contender, reads: bool) -> ArmFacts:
        if reads:
            return ArmFacts(one.label, True, SYNC)
        if not one.adapter:
            return ArmFacts(
                one.label, False, (), "it reads no document and is not trained: no edit of a document reaches it"
            )
        seconds = self._copy.adapters.get(one.adapter).manifest.get("seconds")
        took = f", which took {seconds:.0f} s the last time" if seconds else ""
        never = f"its weights hold what they learned: an edit reaches it by training again{took}"
        return ArmFacts(one.label, False, TRAIN, never, float(seconds) if seconds else None)

    def _row(self, edit: Edit, arm: str, identity: str, given: _Given, *, new: bool, stale: bool) -> None:
        correct = "answer_correct" if edit.gold else "refusal"
        scores = {correct: float(new), "stale": float(stale)} if given.answer is not None else {}
        self._on_row(
            self._asked[edit.id],
            Row(
                case=edit.id,
                arm=arm,
                answer=given.answer,
                error=given.error,
                cpu_seconds=given.cpu,
                at=datetime.now(UTC).isoformat(timespec="seconds"),
                identity=hashlib.sha256(f"{identity}\0{edit.id}\0{edit.fact.changed}".encode()).hexdigest(),
                scores=scores,
            ),
        )


@dataclass(frozen=True, slots=True)
class _Given:
    """An answer, or why there is none, and what it took."""

    answer: Answer | None
    error: str
    seconds: float
    cpu: float

    @property
    def text(self) -> str:
        return self.answer.text if self.answer is not None else ""


def _timed(ask: Callable[[], Answer]) -> _Given:
    started, cpu = time.perf_counter(), _cpu()
    answer, error = None, ""
    try:
        answer = ask()
    except OpenbookError as failure:
        error = str(failure) or type(failure).__name__
    return _Given(answer, error, time.perf_counter() - started, _cpu() - cpu)


def _retrieves(given: _Given) -> bool:
    """Whether the answer rests on a library: only those name a version of it."""
    return given.answer is not None and given.answer.library_version > 0


def _cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
