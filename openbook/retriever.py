"""A workspace's rooms and questions in, a tuned embedder or reranker out, adopted when it gained.

Joins openbook.questions, the serving retriever, the models and openbook.finetune.retriever.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.errors import ExamplesError, UsageError
from openbook.records import Case, ModelFiles
from openbook.settings import STATE_DIR

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.finetune.retriever.recipe import Kind
    from openbook.finetune.retriever.tune import Result, Tools
    from openbook.seams import Embedder, Library, Progress, Reranker, Searcher

_FOLDERS = {"embedder": "embedders", "reranker": "rerankers"}


def tune(
    house: House,
    kind: Kind,
    questions: Sequence[str | Path | Case],
    *,
    from_library: bool = False,
    name: str = "tuned",
    base: str = "",
    settings: Mapping[str, object] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Train on the workspace's library and publish in .openbook; what serves is not changed. See finetune.retriever.

    Raises ExamplesError without enough questions, UsageError for a reranker without a model to start from.
    """
    from openbook.finetune.retriever.recipe import recipe as checked
    from openbook.finetune.retriever.tune import Serving
    from openbook.finetune.retriever.tune import tune as train

    recipe = checked(settings or {})
    models = house.settings.models
    start = base or (models.embedder if kind == "embedder" else models.reranker)
    if not start:
        raise UsageError(
            "a reranker is trained further from one: set models.reranker (see: openbook models list), or name one with "
            "--base"
        )
    files = house.model_files(start, kind)
    cases, about = gather(house, questions, from_library=from_library, seed=recipe.seed, progress=progress)
    serving = Serving(house.library, house.embedder, house.reranker, files, house.settings.reading.groups)
    return train(
        kind,
        cases,
        serving,
        recipe,
        name=name,
        root=house.root / STATE_DIR / _FOLDERS[kind],
        tools=tools(house, progress, twins=about["twins"]),
        about=about,
    )


def gather(
    house: House,
    questions: Sequence[str | Path | Case],
    *,
    from_library: bool,
    seed: int,
    progress: Progress | None,
) -> tuple[list[Case], dict[str, Any]]:
    """The questions given and made, with their places in the documents; and an account of them."""
    from openbook import questions as room

    groups = house.settings.reading.groups
    read = room.read([one for one in questions if not isinstance(one, Case)])
    given = [*read, *(one for one in questions if isinstance(one, Case))]
    notes = list(read.problems)
    if from_library:
        built = room.build(house.library, given=given, settings=house.settings.reading, seed=seed, progress=progress)
        cases = list(built.cases)
        about: dict[str, Any] = {"rejected": dict(built.rejected), "twins": [list(one) for one in built.twins]}
        notes += built.notes
    elif given:
        cases, said = room.locate(given, house.library, groups=groups)
        about, notes = {"twins": _twins(cases, house.library)}, [*notes, *said]
    else:
        raise ExamplesError("there are no questions; give a file with --questions, or add --from-library")
    origins: dict[str, int] = {}
    for case in cases:
        origins[case.origin] = origins.get(case.origin, 0) + 1
    return cases, {**about, "origins": origins, "question_notes": notes}


def _twins(cases: Sequence[Case], library: Library) -> list[list[str]]:
    """Groups of documents the cases are about that hold largely the same text."""
    from openbook.questions import divide

    names = dict.fromkeys(span.document for case in cases for span in case.spans)
    texts = {name: found.text for name in names if (found := library.document(name)) is not None}
    return [list(one) for one in divide.twins({name: divide.sketch(text) for name, text in texts.items()})]


def tools(house: House, progress: Progress | None, *, twins: Sequence[Sequence[str]] = ()) -> Tools:
    """What training needs of the other rooms; `twins` are documents of the same text, kept on one side of the split."""
    from openbook import questions as room
    from openbook.assemble import offline, placed
    from openbook.finetune.retriever.tune import Tools
    from openbook.models import originals
    from openbook.retrieve.embed import OpenVINOEmbedder
    from openbook.retrieve.rerank import OpenVINOReranker
    from openbook.retrieve.search import HybridSearcher

    def searcher(library: Library, embedder: Embedder, reranker: Reranker | None) -> Searcher:
        return HybridSearcher(library, embedder, house.settings.retrieve, reranker=reranker)

    return Tools(
        weights=lambda name: originals.weights(
            placed(name, house.root), offline=offline(house.settings), progress=progress
        ),
        trial=trial,
        embedder=OpenVINOEmbedder,
        reranker=OpenVINOReranker,
        searcher=searcher,
        split=lambda cases, share, seed: room.split(cases, share, seed=seed, twins=twins),
        progress=progress,
    )


@contextlib.contextmanager
def trial(folder: Path, kind: Kind) -> Iterator[ModelFiles]:
    """The served form of a folder that will get another name: what conversion left in the cache goes again."""
    from openbook.models import fetch

    files = fetch.ensure(str(folder))
    assert files.kind == kind
    try:
        yield files
    finally:
        shutil.rmtree(files.folder, ignore_errors=True)
