"""A workspace in, how soon each arm follows an edited fact out: edits in a copy of the library, questions before and
after; the section "freshness" of a report (openbook.compare.freshness.section).

Only the copy changes. It lies in a temporary folder, and is gone at the end however that comes about.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from openbook.assemble import House
from openbook.compare import edits as editing
from openbook.compare import freshness
from openbook.compare.edits import Edit, Fact
from openbook.compare.freshness import ArmFacts, Try
from openbook.compare.schema import Row
from openbook.errors import CompareError, OpenbookError
from openbook.records import PUBLIC, Answer, Case, Change, Example, Message
from openbook.seams import Generator, Progress
from openbook.settings import STATE_DIR, Finetune

if TYPE_CHECKING:
    from openbook.compare.trial import Contender
    from openbook.finetune.registry import Adapter, Registry

Retrain = Callable[["Copy", Sequence[Edit]], "Retrained"]
"""Given the copy and what was edited there: train again; raises OpenbookError when it cannot."""

RETRAINED = "retrained"
"""The arm that was trained again on what was edited."""
SYNC = ("save the file", "openbook sync FOLDER")
TRAIN = ("write examples of the new fact", "openbook finetune", "openbook compare", "openbook adapters promote")
_MADE = 200
"""Questions made from the library to choose facts from, where the given ones do not suffice."""
_TIDY = ("lock", "owner", "part")
"""Ends of names in a library's folder that belong to a process, not to the library."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """What came of training again."""

    adapter: str
    """NAME@VERSION in the copy's registry."""
    kept: int
    """The adapter's own examples that were learned again."""
    left_out: int
    """Of these, taught what an edit had changed."""
    examples: int
    """New ones, of the edits."""
    held: int
    """Held out to choose the best weights by."""


class Copy(House):
    """A house over a copy of another's library, with that one's models and adapters."""

    def __init__(self, house: House, root: Path) -> None:
        super().__init__(root, house.settings, notice=house.notice)
        self._lender = house
        self._registry = house.adapters
        self._own: set[str] = set()
        self._embedder_name = house._embedder_name
        self.__dict__ |= {name: getattr(house, name) for name in ("embedder", "reranker", "reader")}

    @property
    def adapters(self) -> Registry:
        """The lender's adapters, read only; after `adopt` those trained here."""
        return self._registry

    def adopt(self, registry: Registry) -> None:
        """From here on, answer with adapters trained in the copy."""
        self._registry = registry
        self._own = {one.ref for one in registry.list()}

    def _start(self, key: str, load: Callable[[], Generator]) -> Future[Generator]:
        return super()._start(key, load) if key in self._own else self._lender._start(key, load)

    def _files(self, name: str, kind: Any) -> Any:
        return self._lender._files(name, kind)


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
    with _copied(house) as copy:
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


def learned_cases(house: House, ref: str) -> list[Case]:
    """The questions that the lessons of an adapter were made from, without those held out; () when it had none."""
    from openbook.finetune import reading

    folders = [path.parent for path in _lessons_of(house, house.adapters.get(ref))]
    found: list[Case] = []
    for folder in dict.fromkeys(folders):
        try:
            lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
            apart = {one.document for one in reading.read(folder / "held.jsonl")}
        except OSError:
            continue
        every = (_case(json.loads(line)) for line in lines)
        found += [one for one in every if one.spans and not any(span.document in apart for span in one.spans)]
    return found


def retraining(house: House, ref: str, *, overrides: dict[str, Any] | None = None, seed: int = 0) -> Retrain:
    """Trains the adapter `ref` again, as its manifest says, on its own examples and those of the edits.

    Its own that teach what was edited are left out, as a team would do. `overrides` are settings of [finetune]; probes
    of forgetting are left out unless they name some. Needs openbook[finetune]. What is trained goes into the copy.
    """
    adapter = house.adapters.get(ref)

    def train(copy: Copy, edits: Sequence[Edit]) -> Retrained:
        from openbook.finetune import examples
        from openbook.finetune.job import Job, new_run
        from openbook.finetune.registry import Registry
        from openbook.finetune.run import run as train_job

        own = _own_examples(house, adapter)
        new = editing.lessons(edits, system=adapter.system or "")
        kept = [one for one in own if not editing.outdated(one, edits)]
        settings = Finetune.model_validate({**adapter.manifest["settings"], "probes": 0, **(overrides or {})})
        learned, held = examples.split(kept, settings.validation, seed=seed) if len(kept) > 1 else (tuple(kept), ())
        # Held out are its own examples: each edit is to be learned in every wording.
        held = held or tuple(new[:: len(new) // len(edits)])
        folder = copy.root / STATE_DIR
        data, validation = folder / "fresh.jsonl", folder / "fresh-held.jsonl"
        data.write_text(examples.corrected([*learned, *new]), encoding="utf-8")
        validation.write_text(examples.corrected(held), encoding="utf-8")
        job = Job(
            name=f"{adapter.name[:50]}-fresh",
            data=(data,),
            validation=(validation,),
            test=(),
            settings=settings,
            origin={},
            functions=house.root,
            model=copy.settings.models.generator,
            parent=adapter.ref,
        )
        registry = Registry(folder / "adapters")
        made = train_job(
            job,
            copy.base_files(),
            new_run(folder / "runs", job),
            registry=registry,
            tools=copy.training_tools(),
        ).adapter
        if made is None:
            raise CompareError(f"training {adapter.ref} again on the edits was stopped")
        copy.adopt(registry)
        return Retrained(made.ref, len(learned), len(own) - len(kept), len(new), len(held))

    return train


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


@contextmanager
def _copied(house: House) -> Iterator[Copy]:
    """The house over a copy of its library in a temporary folder, which is gone afterwards."""
    from openbook.library.migration import at_rest
    from openbook.library.owner import Ownership

    settings = house.settings.library
    if settings.catalog_url or settings.qdrant_url:
        raise CompareError(
            "this library is kept on servers and cannot be copied to be edited; measure how fresh answers are in a "
            "workspace whose library is its own"
        )
    source = house.root / STATE_DIR / "library"
    if not (source / "catalog.db").exists():
        raise CompareError(f"there is no library in {str(house.root)!r} yet; make one with: openbook sync FOLDER")
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openbook-fresh-"))).resolve()
        with ExitStack() as held:
            if house.open_library is None:
                held.callback(Ownership(source, brief=True).release)
            left_out = held.enter_context(at_rest(source, settings=settings))
            _copy_folder(source, root / STATE_DIR / "library", left_out)
        copy = Copy(house, root)
        # Before the folder goes: it is the copy's process that has its files open.
        stack.callback(copy.close)
        yield copy


def _copy_folder(source: Path, target: Path, left_out: set[str]) -> None:
    def ignored(folder: str, names: list[str]) -> set[str]:
        top = left_out if Path(folder) == source else set()
        return {name for name in names if name in top or name.split(".")[-1] in _TIDY}

    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    free = shutil.disk_usage(target.parents[1]).free
    if free < size:
        raise CompareError(
            f"the library has {size // 2**20} MB and the temporary folder {free // 2**20} MB free, too little for a "
            "copy; set TMPDIR to a folder with more room"
        )
    shutil.copytree(source, target, ignore=ignored)


def _lessons_of(house: House, adapter: Adapter) -> list[Path]:
    run = house.root / STATE_DIR / "runs" / str(adapter.manifest.get("run", "")) / "run.json"
    try:
        return [Path(one) for one in json.loads(run.read_text(encoding="utf-8"))["lessons"]]
    except (OSError, ValueError, KeyError):
        return []


def _own_examples(house: House, adapter: Adapter) -> list[Example]:
    """What the adapter learned, as its run wrote it down. Raises CompareError when that is gone."""
    from openbook.finetune import examples

    path = house.root / STATE_DIR / "runs" / str(adapter.manifest.get("run", "")) / "corrected.jsonl"
    if not path.is_file():
        raise CompareError(
            f"the examples of {adapter.ref} are not in this workspace any more ({path.parent.name!r} is gone from its "
            "runs); train it again to measure how it follows edits"
        )
    return list(examples.read([path]).examples)


def _case(raw: dict[str, Any]) -> Case:
    """A case as openbook.lessons writes it down."""
    from openbook.records import Span

    return Case(
        question=raw["question"],
        gold=tuple(raw["gold"]),
        spans=tuple(Span(**one) for one in raw["spans"]),
        kind=raw["kind"],
        history=tuple(Message(**turn) for turn in raw["history"]),
    )


__all__ = ["RETRAINED", "Copy", "Fact", "Retrain", "Retrained", "learned_cases", "retraining", "run"]
