"""How many examples are enough: trains on nested subsets of a job's examples, scores each on the same held-out ones."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from openbook import metrics
from openbook.errors import ExamplesError, UsageError
from openbook.finetune import base, datasize, lora, machine, train
from openbook.finetune.job import Job
from openbook.finetune.live import EventLog
from openbook.finetune.run import Judge, Tools, chat_of, items_of, preflight
from openbook.records import Example, ModelFiles


def data_size(
    job: Job, files: ModelFiles, folder: Path, *, sizes: Sequence[int], seeds: Sequence[int], tools: Tools
) -> datasize.Curve:
    """The job's metric on its held-out examples after training on so many, with every seed; epochs are the job's.

    Nothing is registered. What a killed curve had measured is in the run folder and taken from there.
    Raises ExamplesError when the examples do not suffice or cannot be used, UsageError for lessons from the library.
    """
    if job.lessons:
        raise UsageError("a curve is about example conversations; leave out lessons from the library")
    flight, test = preflight(job, files, folder, tools=tools, estimate=False)
    if flight.errors:
        raise ExamplesError(f"{flight.errors[0]} (all of it: {folder / 'preflight.html'})")
    here, chat, source = machine.choose(job.settings), chat_of(files, tools), base.folder_of(files)
    machine.keep_pages()
    held = test or flight.kept_validation

    def measured(some: Sequence[Example], seed: int) -> datasize.Measured:
        settings = job.settings.model_copy(update={"seed": seed, "checks": 1})
        model = lora.prepare(source, settings, here)
        items = items_of(some, chat)
        judge = Judge(model, chat, job, held)
        with tempfile.TemporaryDirectory(dir=folder) as room, EventLog(Path(room)) as log:
            train.train(model, items, settings, folder=Path(room) / "checkpoints", log=log, check=_later_is_better())
        scores, _ = judge.scores()
        signed = [-score if judge.name == "loss" else score for score in scores]
        return datasize.Measured(*metrics.bootstrap(signed), items=tuple(signed))

    found = datasize.curve(
        sizes,
        measured,
        flight.kept,
        seeds=list(seeds),
        metric=job.settings.metric,
        progress=tools.progress,
        keep=folder / "datasize.runs.json",
    )
    (folder / "datasize.json").write_text(json.dumps(datasize.as_json(found), indent=1), encoding="utf-8")
    return found


def _later_is_better() -> Callable[[], train.Check]:
    """Keeps the last weights: choosing the best by the examples that are scored afterwards would flatter them."""
    count = itertools.count()
    return lambda: train.Check(0.0, float(next(count)), "step", 0, 0.0, 0.0, ())
