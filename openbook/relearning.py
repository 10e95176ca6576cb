"""An adapter and edits of facts in: which of them it had learned, and the adapter trained again on them out.

What is trained goes into a copy of the workspace (openbook.copying), never into the workspace itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.compare import edits as editing
from openbook.compare.edits import Edit
from openbook.copying import Copy
from openbook.errors import CompareError
from openbook.metrics import evened
from openbook.records import Case, Example, Message, Span
from openbook.settings import STATE_DIR, Finetune

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.finetune.registry import Adapter

Retrain = Callable[[Copy, Sequence[Edit]], "Retrained"]
"""Given the copy and what was edited there: train again; raises OpenbookError when it cannot."""

_QUESTION = 400
"""Characters of a training conversation's question; longer ones are tasks on a text of their own."""


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


def learned_cases(house: House, ref: str) -> list[Case]:
    """Questions whose answers stand in what an adapter learned, located in the house's library; [] when there are none.

    Those that its lessons were made from, without those held out; else its own conversations of one question, where
    the reply says a number, a date or an amount that a document says too.
    """
    from openbook.finetune import reading

    adapter = house.adapters.get(ref)
    found: list[Case] = []
    for folder in dict.fromkeys(path.parent for path in _lessons_of(house, adapter)):
        try:
            lines = (folder / "questions.jsonl").read_text(encoding="utf-8").split("\n")
            apart = {one.document for one in reading.read(folder / "held.jsonl")}
        except OSError:
            continue
        every = (_case(json.loads(line)) for line in lines if line)
        found += [one for one in every if one.spans and not any(span.document in apart for span in one.spans)]
    return found or _told_cases(house, adapter)


def _told_cases(house: House, adapter: Adapter) -> list[Case]:
    from openbook.questions import locate
    from openbook.questions.facts import facts

    try:
        own = _own_examples(house, adapter)
    except CompareError:
        return []
    asked: list[Case] = []
    for example in own:
        turns = [turn for turn in example.messages if turn.role != "system"]
        if [turn.role for turn in turns] == ["user", "assistant"] and len(turns[0].content) <= _QUESTION:
            question, reply = turns[0].content, turns[1].content
            values = dict.fromkeys(reply[one.start : one.end] for one in facts(reply) if one.kind != "name")
            asked += [Case(question, (value,)) for value in values if len(evened(value)) > 1]
    located = locate(asked, house.library)[0] if asked else []
    return list({case.question: case for case in located if len(case.spans) == 1}.values())


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
    return Case(
        question=raw["question"],
        gold=tuple(raw["gold"]),
        spans=tuple(Span(**one) for one in raw["spans"]),
        kind=raw["kind"],
        history=tuple(Message(**turn) for turn in raw["history"]),
    )
