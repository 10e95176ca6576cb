"""The Python door: a workspace folder, and everything one does with it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from openbook.errors import LibraryError, OpenbookError, UsageError
from openbook.records import (
    PUBLIC,
    Answer,
    Arm,
    Case,
    Condition,
    Document,
    DocumentInfo,
    Message,
    Migration,
    Scope,
    SearchResult,
    SyncReport,
    VersionInfo,
)
from openbook.seams import Embedder, Progress
from openbook.settings import FILE_NAME, STATE_DIR, Settings, load

if TYPE_CHECKING:
    from openbook.answer.ask import AnswerStream
    from openbook.assemble import House, Prefer
    from openbook.compare.options import Options as Compared
    from openbook.compare.schema import Report as Comparison
    from openbook.finetune.job import Job
    from openbook.finetune.retriever.tune import Result as TunedRetriever
    from openbook.finetune.run import Result
    from openbook.ingest.sync import Given
    from openbook.questions.review import Ask
    from openbook.records import Hit
    from openbook.retrieve.explain import Explanation
    from openbook.tune import Options, Report

_TEMPLATE = """\
# Openbook workspace. Every setting has a default; `openbook doctor` shows what is in force.
format = 1

[models]
generator = "{generator}"
embedder = "{embedder}"
"""


class Workspace:
    """A folder with openbook.toml and its library.

    >>> with Workspace.init(tmp / "desk") as ws:  # doctest: +SKIP
    ...     ws.sync(["handbook/"])
    ...     print(ws.ask("How many vacation days?").text)
    """

    def __init__(
        self,
        root: Path,
        settings: Settings,
        *,
        progress: Progress | None = None,
        prefer: Prefer = "throughput",
        library: Path | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Use open or init."""
        self.root = root
        self.settings = settings
        self._progress = progress
        self._notice = notice
        self._prefer: Prefer = prefer
        self._library = library
        self._house: House | None = None
        self._builder: threading.Thread | None = None

    @classmethod
    def init(cls, path: str | Path, *, model: str | None = None, embedder: str | None = None) -> Self:
        """Make a workspace in a new or existing folder.

        Raises OpenbookError when the folder already is one or cannot be written.
        """
        root = Path(path).resolve()
        file = root / FILE_NAME
        if file.exists():
            raise OpenbookError(f"{str(root)!r} already is a workspace; open it, or remove its {FILE_NAME}")
        defaults = Settings()
        text = _TEMPLATE.format(
            generator=_toml(model or defaults.models.generator), embedder=_toml(embedder or defaults.models.embedder)
        )
        from openbook.files import write_atomic

        try:
            write_atomic(file, text)
        except OSError as error:
            raise OpenbookError(f"cannot make a workspace in {str(root)!r}: {error.strerror or error}") from None
        return cls.open(root)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        progress: Progress | None = None,
        prefer: Prefer = "throughput",
        library: Path | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Open the workspace at `path`. Raises SettingsError when there is none or its settings are wrong.

        `library` is the folder of a copy of its library, to be used instead of the library itself. `notice` gets
        sentences a person should read although nothing has to stop.
        """
        root = Path(path).resolve()
        return cls(root, load(root / FILE_NAME), progress=progress, prefer=prefer, library=library, notice=notice)

    @classmethod
    def find(cls, start: str | Path = ".") -> Path:
        """The nearest folder at or above `start` that is a workspace. Raises UsageError when there is none."""
        here = Path(start).resolve()
        for folder in (here, *here.parents):
            if (folder / FILE_NAME).is_file():
                return folder
        raise UsageError(f"no {FILE_NAME} in {str(here)!r} or above; make a workspace with: openbook init")

    @property
    def house(self) -> House:
        """The joined rooms (openbook.assemble), made on first use."""
        if self._house is None:
            self._house = self._fresh_house()
        return self._house

    def _fresh_house(self) -> House:
        from openbook.assemble import House

        return House(
            self.root,
            self.settings,
            progress=self._progress,
            prefer=self._prefer,
            library=self._library,
            notice=self._notice,
        )

    @property
    def state(self) -> Path:
        """Where Openbook keeps its own files."""
        return self.root / STATE_DIR

    def sync(
        self,
        targets: Sequence[str | Path],
        *,
        acl: Sequence[str] = (),
        dry_run: bool = False,
        allow_mass_delete: bool = False,
        progress: Progress | None = None,
        embedder: Embedder | None = None,
        public_only: bool = False,
        only: Sequence[Path] | None = None,
    ) -> SyncReport:
        """Bring files, folders, globs or web pages into the library; what is unchanged costs a hash.

        When chunk size or overlap have changed since the last sync, every document is split anew from its stored text.
        A large sync starts building a search graph in the background; see optimize(). `embedder` is another instance
        of the library's own, None is the one that questions are embedded with. With `public_only`, web pages come from
        the public network only, whatever they redirect to. With `only`, no page and nothing but these places inside the
        targets is looked at.

        Raises SourceVanished when most of a source is gone, LibraryBusy when another process owns the library.
        """
        from openbook.ingest.sync import sync

        report = sync(
            [str(target) for target in targets],
            library=self.house.library,
            embedder=embedder or self.house.embedder,
            settings=self.settings.ingest,
            acl=tuple(acl),
            dry_run=dry_run,
            allow_mass_delete=allow_mass_delete,
            progress=progress,
            public_only=public_only,
            only=only,
        )
        report = self._split_anew(report, progress)
        if not dry_run:
            self.tidy()
        return report

    def take(
        self,
        given: Sequence[Given],
        *,
        acl: Sequence[str] = (PUBLIC,),
        progress: Progress | None = None,
        embedder: Embedder | None = None,
    ) -> SyncReport:
        """Bring in files that were handed over, under the names they are given; see sync()."""
        from openbook.ingest.sync import take

        report = take(
            given,
            library=self.house.library,
            embedder=embedder or self.house.embedder,
            settings=self.settings.ingest,
            acl=tuple(sorted(set(acl))),
            progress=progress,
            note=f"upload {' '.join(one.name for one in given)}"[:200],
        )
        self.tidy()
        return report

    def watch(
        self, targets: Sequence[str | Path], *, acl: Sequence[str] = (), progress: Progress | None = None
    ) -> Iterator[SyncReport]:
        """Sync now and after every change on disk; ends with the process or KeyboardInterrupt."""
        from openbook.ingest.watch import watch

        for report in watch(
            [str(target) for target in targets],
            library=self.house.library,
            embedder=self.house.embedder,
            settings=self.settings.ingest,
            acl=tuple(acl),
            progress=progress,
        ):
            whole = self._split_anew(report, progress)
            self.tidy()
            yield whole

    def _split_anew(self, report: SyncReport, progress: Progress | None) -> SyncReport:
        from openbook.ingest.resplit import bring_along

        return bring_along(
            report,
            self.house.library_folder,
            library=self.house.library,
            embedder=self.house.embedder,
            settings=self.settings.ingest,
            progress=progress,
        )

    def optimize(self, *, timeout: float | None = None) -> bool:
        """Wait for the search graph that a sync builds in the background where it pays (from 10,000 new chunks on).

        False when `timeout` seconds did not suffice. Searches and syncs go on meanwhile. Close the workspace, or stop
        the process, and the old index stays.
        """
        builder = self._build()
        builder.join(timeout)
        return not builder.is_alive()

    def tidy(self) -> None:
        """Forget versions that are no longer kept, and begin to build the search graph where it pays."""
        self.house.library.sweep(keep=self.settings.library.keep_versions)
        self._build()

    def _build(self) -> threading.Thread:
        if self._builder is None or not self._builder.is_alive():
            library = self.house.library

            def build() -> None:
                with contextlib.suppress(LibraryError):  # closed meanwhile
                    library.optimize()

            self._builder = threading.Thread(target=build, name="openbook-optimize", daemon=True)
            self._builder.start()
        return self._builder

    def search(
        self,
        question: str,
        *,
        k: int | None = None,
        groups: Sequence[str] = (),
        where: str | Sequence[Condition] = (),
    ) -> tuple[Hit, ...]:
        """The best hits the groups may see; `where` as in "format=pdf and modified>=2024-01-01"."""
        return self.search_result(question, k=k, scope=_scope(groups, where)).hits

    def search_result(self, question: str, *, k: int | None = None, scope: Scope | None = None) -> SearchResult:
        """Search with timings and the library version read."""
        return self.house.searcher.search(question, k=k, scope=scope or Scope())

    def ask(
        self,
        question: str,
        *,
        arm: Arm = "rag",
        groups: Sequence[str] = (),
        where: str | Sequence[Condition] = (),
        history: Sequence[Message] = (),
        contexts: Sequence[str] | None = None,
        adapter: str | None = None,
    ) -> Answer:
        """Answer a question with checked citations. `contexts` are passages to answer from instead of searching.

        `adapter` (NAME or NAME@VERSION) goes with the arms tuned and tuned+rag; None takes the promoted one.
        """
        return self.stream(
            question, arm=arm, groups=groups, where=where, history=history, contexts=contexts, adapter=adapter
        ).answer

    def stream(
        self,
        question: str,
        *,
        arm: Arm = "rag",
        groups: Sequence[str] = (),
        where: str | Sequence[Condition] = (),
        history: Sequence[Message] = (),
        contexts: Sequence[str] | None = None,
        adapter: str | None = None,
    ) -> AnswerStream:
        """Like ask, piece by piece; `.answer` of the returned stream is the checked result."""
        return self.house.assistant(arm, adapter=adapter).stream(
            question, history=history, scope=_scope(groups, where), contexts=contexts
        )

    def explain(
        self,
        question: str,
        document: str,
        *,
        groups: Sequence[str] = (),
        where: str | Sequence[Condition] = (),
    ) -> Explanation:
        """Why each chunk of a document was or was not shown for a question."""
        from openbook.retrieve.explain import explain

        return explain(
            question,
            document,
            library=self.house.library,
            searcher=self.house.searcher,
            settings=self.settings.retrieve,
            passages=self.settings.answer.passages,
            scope=_scope(groups, where),
        )

    def finetune(
        self,
        data: Sequence[str | Path] = (),
        *,
        name: str = "",
        recipe: str | Path | None = None,
        validation: Sequence[str | Path] = (),
        test: Sequence[str | Path] = (),
        settings: Mapping[str, object] | None = None,
        mapping: Mapping[str, str] | None = None,
        from_library: bool = False,
        questions: Sequence[str | Path] = (),
        progress: Progress | None = None,
    ) -> Result:
        """Train an adapter on example conversations, measure it, check it and register it; needs openbook[finetune].

        With `from_library` it learns to read retrieved passages and to cite them, from questions made from the library
        and those given (`questions`, files); `data` is then the team's voice and may be empty. The adapter is
        `result.adapter`; ask it with arm="tuned", and one trained from the library with arm="tuned+rag".

        `settings` are those of [finetune], or of [reading] as {"reading.refusal": 0.3}; `mapping` names odd columns
        ({"question": "user"}). Raises ExamplesError, TrainingError or AdapterError.
        """
        from openbook.finetune.job import new_run
        from openbook.finetune.run import run

        job = self.job(
            data,
            name=name,
            recipe=recipe,
            validation=validation,
            test=test,
            settings=settings,
            mapping=mapping,
            from_library=from_library,
            questions=questions,
            progress=progress,
        )
        return run(
            job,
            self.house.base_files(),
            new_run(self.state / "runs", job),
            registry=self.house.adapters,
            tools=self.house.training_tools(progress=progress),
        )

    def job(
        self,
        data: Sequence[str | Path] = (),
        *,
        name: str = "",
        recipe: str | Path | None = None,
        validation: Sequence[str | Path] = (),
        test: Sequence[str | Path] = (),
        settings: Mapping[str, object] | None = None,
        mapping: Mapping[str, str] | None = None,
        from_library: bool = False,
        questions: Sequence[str | Path] = (),
        review: Ask | None = None,
        progress: Progress | None = None,
    ) -> Job:
        """What finetune() would train: settings of the workspace, the recipe and the call joined, and lessons made.

        `review` is asked about some of the questions before lessons are made from them.
        """
        from openbook.finetune.job import job_of

        job = job_of(
            name,
            [Path(one).resolve() for one in data],
            workspace=self.settings.finetune,
            root=self.root,
            model=self.settings.models.generator,
            recipe=Path(recipe) if recipe is not None else None,
            overrides=settings,
            mapping=mapping,
            validation=[Path(one).resolve() for one in validation],
            test=[Path(one).resolve() for one in test],
            reading=self.settings.reading,
            from_library=from_library,
            questions=[Path(one).resolve() for one in questions],
        )
        return job if job.reading is None else self._with_lessons(job, review, progress)

    def _with_lessons(self, job: Job, review: Ask | None, progress: Progress | None) -> Job:
        from openbook import lessons
        from openbook.extras import need
        from openbook.finetune.base import folder_of

        # What cannot be trained is said before a person has looked through questions.
        need("torch", extra="finetune", purpose="fine-tuning")
        folder_of(self.house.base_files(), progress=progress)
        open_before = self._house is not None and "library" in self._house.__dict__
        with contextlib.ExitStack() as stack:
            # A training takes hours; others may use the library meanwhile.
            house = self.house if open_before else stack.enter_context(contextlib.closing(self._fresh_house()))
            made = lessons.prepare(
                house, lessons.new_folder(self.state, job.name), job=job, review=review, progress=progress
            )
        return replace(job, lessons=made.files, library=made.facts)

    def tune(
        self,
        questions: Sequence[str | Path | Case] = (),
        *,
        from_library: bool = False,
        options: Options | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Report:
        """Choose chunk size, fusion, passages and the bar for declining on your own questions; see docs/tune.md.

        `questions` are files or cases, or made with `from_library`. What is significantly better on held-out questions
        is written into openbook.toml and into force here, unless `dry_run`; the report goes to .openbook/tune/ID. The
        next sync splits the documents anew when their chunk size has changed.
        Raises OpenbookError when there are too few questions.
        """
        from openbook.tune import Options, keep
        from openbook.tuning import tune

        report = tune(self.house, questions, from_library=from_library, options=options or Options(), progress=progress)
        report = keep(report, self.root, write=not dry_run)
        if report.written:
            self.close()
            self.settings = load(self.root / FILE_NAME)
        return report

    def compare(
        self, options: Compared | None = None, *, review: Ask | None = None, progress: Progress | None = None
    ) -> Comparison:
        """Ask the four arms the same frozen cases; the report says which serves. See docs/compare.md.

        The report, its rows and its page go to .openbook/reports/ID; a comparison that was stopped goes on when called
        with the same options. `review` is asked about some of the cases that are made from the library.
        Needs openbook[compare].
        Raises CompareError, UsageError.
        """
        from openbook import comparing
        from openbook.compare.options import Options

        return comparing.compare(self.house, options or Options(), review=review, progress=progress)

    def report(self, name: str = "", *, options: Compared | None = None) -> Comparison:
        """A comparison by its ID, "" for the newest; with `options`, drawn again from its rows with their prices.

        Raises CompareError when there is none.
        """
        from openbook import reporting

        return reporting.report(self.root, name) if options is None else reporting.again(self.house, options, name)

    def tune_retriever(
        self,
        kind: Literal["embedder", "reranker"] = "embedder",
        questions: Sequence[str | Path | Case] = (),
        *,
        from_library: bool = False,
        name: str = "tuned",
        base: str = "",
        settings: Mapping[str, object] | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> tuple[TunedRetriever, Migration | None]:
        """Train the embedder or a reranker on questions about the library; adopt it when it finds significantly more.

        `questions` are files or cases; see docs/retriever.md for `settings`. An adopted one is written into
        openbook.toml and is in force here; the library changes over to an embedder by a migration, which can be rolled
        back. `force` adopts without a gain. Needs openbook[finetune].
        Raises ExamplesError when there are too few questions, TrainingError.
        """
        from openbook import retriever, settings_file

        result = retriever.tune(
            self.house,
            kind,
            questions,
            from_library=from_library,
            name=name,
            base=base,
            settings=settings,
            progress=progress,
        )
        if not (result.gained or force):
            return result, None
        place = result.folder.relative_to(self.root).as_posix()
        # The library changes over first: stopped on the way, library and settings still name the old embedder.
        migration = self.migrate(embedder=place, progress=progress) if kind == "embedder" else None
        settings_file.change(self.root / FILE_NAME, {f"models.{kind}": place}, why=result.verdict)
        self.close()
        self.settings = load(self.root / FILE_NAME)
        return result, migration

    def migrate(
        self,
        *,
        embedder: str | None = None,
        cases: Sequence[Case] = (),
        dry_run: bool = False,
        anyway: bool = False,
        progress: Progress | None = None,
    ) -> Migration:
        """Change the library over to another embedder while searches and syncs go on, here and in other processes.

        `embedder` is a name or path as openbook.toml may hold; it is written there at the end. None is the one that
        stands there already. New vectors are made beside the old ones by a process of low priority, compared on
        `cases` (without: on texts of the library), and switched to in one step. The old ones are kept for roll-back.
        Stopped at any moment the library is as it was, and the next call goes on.

        Raises LibraryError when the cases say the new embedder finds significantly less (`anyway` switches all the
        same), when there is no library or no room on the disk; LibraryBusy when a migration is running; ModelError.
        """
        from openbook import migrating

        found = migrating.migrate(
            self.house, embedder=embedder, cases=cases, dry_run=dry_run, anyway=anyway, progress=progress
        )
        if not dry_run:
            self._write_embedder(found.target, f"migrated from {found.source}")
        return found

    def migration_roll_back(self, *, progress: Progress | None = None) -> Migration:
        """Use the vectors of before the last migration again; what was committed since is embedded for them first.

        Raises LibraryError when none are kept. Calling it twice ends where it began.
        """
        from openbook import migrating

        found = migrating.roll_back(self.house, progress=progress)
        self._write_embedder(found.target, f"rolled back from {found.source}")
        return found

    def migration_drop_previous(self) -> int:
        """Delete the vectors kept for roll-back; returns the bytes freed on this disk. Raises LibraryError."""
        from openbook import migrating

        return migrating.drop_previous(self.house)

    def _write_embedder(self, name: str, why: str) -> None:
        if name == self.settings.models.embedder:
            return
        from openbook.settings_file import change

        self.settings = change(self.root / FILE_NAME, {"models.embedder": name}, why=why)
        self.house.settings = self.settings

    def documents(self) -> list[DocumentInfo]:
        """Stored documents, sorted by name."""
        return self.house.library.documents()

    def document(self, name: str) -> Document:
        """One document with its text. Raises OpenbookError when there is none of that name."""
        found = self.house.library.document(name)
        if found is None:
            raise OpenbookError(f"no document {name!r} in the library; see: openbook documents")
        return found

    def versions(self) -> list[VersionInfo]:
        """Versions of the library that can be read and rolled back to, oldest first."""
        return self.house.library.versions()

    def roll_back(self, version: int) -> int:
        """Make the library what it was at a version, as a new version, which is returned. Raises LibraryError."""
        return self.house.library.roll_back(version)

    def close(self) -> None:
        """Release the library for other processes and free the models."""
        if self._house is not None:
            self._house.close()
            self._house = None
        if self._builder is not None:
            self._builder.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _scope(groups: Sequence[str], where: str | Sequence[Condition]) -> Scope:
    from openbook.retrieve.where import parse

    return Scope(tuple(groups), parse(where) if isinstance(where, str) else tuple(where))


def _toml(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
