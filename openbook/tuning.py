"""A workspace's house and the user's questions in, a tuning report out: joins questions, retrieval, answering and tune.

Knows every room it joins and decides nothing itself; what is tried and what counts stands in openbook.tune.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from openbook.assemble import EXTRACTIVE, House
from openbook.errors import SettingsError, UsageError
from openbook.records import Answer, Case, Chunk, Document, Scope
from openbook.settings import Ingest, LibrarySettings, Settings

if TYPE_CHECKING:
    from openbook.seams import Library, Progress, Reranker, Searcher
    from openbook.tune import Options, Report, Tools


def tune(
    house: House,
    questions: Sequence[str | Path | Case] = (),
    *,
    from_library: bool = False,
    options: Options,
    progress: Progress | None = None,
) -> Report:
    """Tune on questions (files, or cases with or without spans), on ones made from the library, or on both.

    Changes nothing; see tune.keep. Raises UsageError without questions, ExamplesError for a file that cannot be read,
    OpenbookError for too few that can be measured, or when the library waits for a sync to split it anew.
    """
    from openbook import questions as asking
    from openbook.ingest.resplit import refuse_stale
    from openbook.tune import run

    if not questions and not from_library:
        raise UsageError("tuning needs questions: name a file of them, or make some with --from-library")
    refuse_stale(house.library_folder, house.settings.ingest)
    library = house.library
    read = asking.read([one for one in questions if not isinstance(one, Case)])
    notes = list(read.problems)
    cases, said = asking.locate(
        [*read, *(one for one in questions if isinstance(one, Case))], library, groups=options.groups
    )
    notes += said
    twins: tuple[tuple[str, ...], ...] = ()
    if from_library:
        reading = house.settings.reading.model_copy(update={"groups": options.groups})
        built = asking.build(library, settings=reading, seed=options.seed, progress=progress)
        cases, twins = [*cases, *built.cases], built.twins
        notes += built.notes

    def divide(some: Sequence[Case], held: float, seed: int) -> tuple[list[Case], list[Case]]:
        return asking.split(some, held, seed=seed, twins=twins)

    tools = replace(_tools(house, needs_model=bool(options.answers)), divide=divide)
    return run(cases, house.settings, tools, options, notes=notes, progress=progress)


def _tools(house: House, *, needs_model: bool) -> Tools:
    from openbook.answer.abstain import confidence
    from openbook.answer.followup import standalone
    from openbook.questions import split
    from openbook.retrieve.search import HybridSearcher
    from openbook.tune import Tools
    from openbook.tune.trials import Rooms

    if needs_model and house.settings.models.generator == EXTRACTIVE:
        raise SettingsError("models.generator is 'extractive': no model writes answers, so --answers cannot be used")
    rooms = Rooms(
        library=house.library,
        embedder=house.embedder,
        split=partial(_split, house),
        store=partial(_store, house),
        searcher=lambda library, embedder, settings, reranker: HybridSearcher(
            library, embedder, settings, reranker=reranker
        ),
        reranker=partial(_reranker, house),
    )
    return Tools(
        rooms=rooms,
        confidence=confidence,
        asked=lambda case: standalone(case.question, case.history),
        divide=lambda cases, held, seed: split(cases, held, seed=seed),
        answer=partial(_answer, house) if needs_model else None,
    )


def _split(house: House, document: Document, ingest: Ingest) -> list[Chunk]:
    from openbook.ingest.split import split

    return split(
        document,
        count=house.embedder.count,
        max_tokens=house.embedder.max_tokens,
        chunk_tokens=ingest.chunk_tokens,
        overlap_tokens=ingest.overlap_tokens,
    )


def _store(house: House, folder: Path) -> Library:
    from openbook.library import open_library

    return open_library(
        folder,
        settings=LibrarySettings(),
        embedder_fingerprint=house.embedder.fingerprint,
        dimensions=house.embedder.dimensions,
    )


def _reranker(house: House, name: str) -> Reranker:
    if name == house.settings.models.reranker and house.reranker is not None:
        return house.reranker
    from openbook.retrieve.rerank import OpenVINOReranker

    return OpenVINOReranker(house.model_files(name, "reranker"))


def _answer(house: House, settings: Settings, searcher: Searcher, case: Case, scope: Scope) -> Answer:
    """As the arm rag answers, but never declining before the model is asked: order is what is measured."""
    from openbook.answer.ask import Assistant
    from openbook.answer.extractive import Ranker

    assistant = Assistant(
        arm="rag",
        settings=settings.answer.model_copy(update={"abstain_below": 0.0}),
        library_version=house.library.version,
        searcher=searcher,
        ranker=Ranker(house.embedder),
        generator=partial(house.generator, reads=True),
    )
    return assistant.ask(case.question, history=case.history, scope=scope)
