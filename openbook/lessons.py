"""A library in, lessons in reading out: joins questions, the serving retriever and openbook.finetune.reading.

What the lessons were made from is written down, so that serving can tell when the retriever has changed since.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from openbook.answer.cite import check
from openbook.answer.extractive import Ranker, hints
from openbook.answer.followup import standalone
from openbook.errors import ExamplesError
from openbook.files import write_atomic
from openbook.finetune import examples as conversations
from openbook.finetune import reading
from openbook.finetune.reading import Source, Unanswerable
from openbook.metrics import contains
from openbook.prompt import Hint, defuse, messages
from openbook.records import Case, Chunk, Example, Hit, Message, Scope
from openbook.seams import Progress
from openbook.settings import Reading, Settings

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.finetune.job import Job
    from openbook.questions.review import Ask
    from openbook.seams import Generator, Library, Searcher

TRAIN, HELD = "train.jsonl", "held.jsonl"
FEW = 8
"""Fewer questions than this teach nothing but themselves."""
_BESIDE = 5
"""Hits sought beyond those shown: distractors that vary from lesson to lesson."""
_SUPPORTED = 0.5
"""Share of a reply's sentences that the passages must bear out for the reply to be learned with them."""

_Asked = TypeVar("_Asked", Source, Unanswerable)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Lessons on disk, and what they were made from."""

    folder: Path
    facts: Mapping[str, Any]
    """For the adapter's manifest: library version, what serves, counts, review."""

    @property
    def files(self) -> tuple[Path, Path]:
        """To learn from, and held out."""
        return self.folder / TRAIN, self.folder / HELD


def prepare(
    house: House,
    folder: Path,
    *,
    job: Job,
    review: Ask | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Make the job's lessons from the house's library into `folder`, which is made.

    Raises ExamplesError when the library gives too few questions, OpenbookError when it waits to be split anew.
    """
    from openbook import questions as asking
    from openbook.ingest.resplit import refuse_stale
    from openbook.questions.review import write as reviewed_page

    refuse_stale(house.library_folder, house.settings.ingest)
    library, searcher, settings = house.library, house.searcher, house.settings
    read, seed = job.reading or settings.reading, job.settings.seed
    given = asking.read(job.questions) if job.questions else []
    built = asking.build(library, given=given, generator=_teacher(house), settings=read, seed=seed, progress=progress)
    folder.mkdir(parents=True)
    reviewed = asking.review(built.cases, read.review, seed, ask=review)
    reviewed_page(reviewed, folder)
    kept = reviewed.kept(built.cases)
    # One version throughout, and nothing that the groups of this training may not see.
    scope = Scope(read.groups, version=built.version)
    found, left_out = sources(
        [case for case in kept if case.kind != "unanswerable"],
        library=library,
        searcher=searcher,
        shown=settings.answer.passages,
        scope=scope,
        progress=progress,
    )
    if len(found) < FEW:
        raise ExamplesError(
            f"the library's {built.read} documents gave {len(found)} questions and {FEW} are the least to learn "
            f"from{_language(built.foreign)}{_why(built.rejected)}; add documents with facts in them, or questions of "
            "your own with --questions"
        )
    away = asking.split(kept, job.settings.validation, seed=seed, twins=built.twins)[1]
    train, held = _parted(found, away)
    asked = unanswerable(kept, searcher=searcher, shown=settings.answer.passages, scope=scope)
    declined, declined_held = _parted(asked, away)
    render = _Serving(settings, Ranker(house.embedder))
    lessons = render.lessons(train, read, declined, seed=seed, progress=progress)
    tests = render.lessons(held, read.model_copy(update={"variants": 1}), declined_held, seed=seed)
    apart = {span.document for one in held for span in one.case.spans}
    voiced = in_voice(_conversations(job), searcher=searcher, render=render, scope=scope, apart=apart)
    reading.write(folder / TRAIN, [*lessons.examples, *voiced])
    reading.write(folder / HELD, tests.examples)
    _write_questions(folder / "questions.jsonl", kept)
    facts = {
        "version": built.version,
        "documents": built.documents,
        "serving": house.serving(),
        "reading": read.model_dump(),
        "questions": {
            "used": len(found),
            "by_origin": dict(Counter(one.case.origin for one in found)),
            "rejected": dict(built.rejected),
            "left_out": dict(left_out),
            "unanswerable": len(asked),
        },
        "review": reviewed.facts(),
        "lessons": {**lessons.counts, "voice": len(voiced)},
        "held": dict(tests.counts),
        "notes": [*built.notes, *_moved(built.version, library.version())],
    }
    write_atomic(folder / "lessons.json", json.dumps(facts, ensure_ascii=False, indent=1))
    return Prepared(folder, facts)


def new_folder(state: Path, name: str) -> Path:
    """Where the lessons of one training go."""
    return state / "lessons" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}-{uuid.uuid4().hex[:6]}"


def sources(
    cases: Sequence[Case],
    *,
    library: Library,
    searcher: Searcher,
    shown: int,
    scope: Scope,
    progress: Progress | None = None,
) -> tuple[list[Source], Mapping[str, int]]:
    """Each question with the passage that holds its answer and what is found for it; and why others were left out.

    Passages are those of the scope's version; the cases' spans must be too.
    """
    chunks: dict[str, list[Chunk]] = {}
    found: list[Source] = []
    left_out: Counter[str] = Counter()
    for done, case in enumerate(cases):
        if progress and done % 50 == 0:
            progress("passages", done, len(cases))
        place = _holding(case, library, scope.version, chunks)
        if place is None:
            left_out["no passage holds the answer"] += 1
            continue
        asked = standalone(case.question, case.history)
        hits = searcher.search(asked, k=shown + _BESIDE, scope=scope).hits
        found.append(Source(case, Hit(place[0], score=0.0), place[2], place[1], hits))
    if progress:
        progress("passages", len(cases), len(cases))
    return found, left_out


def unanswerable(cases: Sequence[Case], *, searcher: Searcher, shown: int, scope: Scope) -> list[Unanswerable]:
    """The questions that the user says no document answers, with what is found for each."""
    return [
        Unanswerable(
            case, searcher.search(standalone(case.question, case.history), k=shown + _BESIDE, scope=scope).hits
        )
        for case in cases
        if case.kind == "unanswerable"
    ]


class _Serving:
    """Prompts as serving makes them."""

    def __init__(self, settings: Settings, ranker: Ranker) -> None:
        self.settings, self._ranker = settings, ranker

    def hints(self, case: Case, hits: Sequence[Hit]) -> Sequence[Hint]:
        asked = standalone(case.question, case.history)
        return hints(asked, hits, self._ranker, most=self.settings.answer.hints)

    def lessons(
        self,
        some: Sequence[Source],
        read: Reading,
        declined: Sequence[Unanswerable] = (),
        *,
        seed: int,
        progress: Progress | None = None,
    ) -> reading.Lessons:
        answer = self.settings.answer
        return reading.build(
            some,
            unanswerable=declined,
            settings=read,
            shown=answer.passages,
            hints=self.hints,
            instructions=answer.instructions,
            order=answer.order,
            seed=seed,
            progress=progress,
        )

    def prompt(self, case: Case, hits: Sequence[Hit]) -> list[Message]:
        answer = self.settings.answer
        return messages(
            case.question,
            hits,
            history=case.history,
            instructions=answer.instructions,
            order=answer.order,
            hints=self.hints(case, hits),
        )


def in_voice(
    examples: Sequence[Example], *, searcher: Searcher, render: _Serving, scope: Scope, apart: Collection[str] = ()
) -> list[Example]:
    """The user's own conversations as answers from passages, where what is found bears out what was replied.

    What is borne out by a document held out (`apart`) is left out.
    """
    lessons = []
    for example in examples:
        turns = [turn for turn in example.messages if turn.role != "system"]
        if len(turns) < 2 or turns[-2].role != "user":
            continue
        *history, asked, reply = turns
        searched = standalone(asked.content, history)
        hits = searcher.search(searched, k=render.settings.answer.passages, scope=scope).hits
        checked = check(reply.content, hits, question=asked.content)
        supported = sum(one.supported for one in checked.sentences)
        cited = [one.document for one in checked.citations]
        if supported and supported >= _SUPPORTED * len(checked.sentences) and not any(one in apart for one in cited):
            case = Case(asked.content, history=tuple(history))
            made = (*render.prompt(case, hits), Message("assistant", defuse(checked.text)))
            lessons.append(Example(made, place=f"voice:{example.place}", document=cited[0], last_only=True))
    return lessons


def _holding(
    case: Case, library: Library, version: int | None, chunks: dict[str, list[Chunk]]
) -> tuple[Chunk, int, str] | None:
    """The passage that holds an answer of the case, where it starts in it, and its words."""
    for span in case.spans:
        if span.document not in chunks:
            chunks[span.document] = [chunk for _, chunk in library.chunks_of(span.document, version=version)]
        for chunk in chunks[span.document]:
            if chunk.start <= span.start and span.end <= chunk.end:
                start = span.start - chunk.start
                answer = chunk.text[start : span.end - chunk.start]
                if answer.strip() and (not case.gold or contains(answer, case.gold)):
                    return chunk, start, answer
    return None


def _teacher(house: House) -> Generator | None:
    """A configured endpoint writes questions too; the model that is trained is too small for it."""
    from openbook.answer.generators.endpoint import EndpointGenerator

    return EndpointGenerator(house.settings.endpoint) if house.settings.endpoint.model else None


def _parted(found: Sequence[_Asked], held: Sequence[Case]) -> tuple[list[_Asked], list[_Asked]]:
    keys = {id(case) for case in held}
    apart = [one for one in found if id(one.case) in keys]
    return [one for one in found if id(one.case) not in keys], apart


def _conversations(job: Job) -> tuple[Example, ...]:
    """Those that are learned: what the training will hold out must not come back as a lesson."""
    if not job.data:
        return ()
    every = conversations.read(job.data, mapping=job.mapping).examples
    if job.validation:
        return every
    return conversations.split(every, job.settings.validation, seed=job.settings.seed)[0]


def _language(foreign: int) -> str:
    return f": documents not in English ({foreign}) give only tables, FAQ lines and blanks" if foreign else ""


def _why(rejected: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items(), key=lambda one: -one[1])[:3])
    return f" (left out: {reasons})" if reasons else ""


def _moved(version: int, newest: int) -> list[str]:
    if newest == version:
        return []
    return [f"the library moved from version {version} to {newest} while the lessons were made; they are of {version}"]


def _write_questions(path: Path, cases: Sequence[Case]) -> None:
    lines = (json.dumps(asdict(case), ensure_ascii=False) for case in cases)
    write_atomic(path, "".join(f"{line}\n" for line in lines))
