"""What a comparison measures beside its rows: retrieval, voices, freshness, latency, forgetting, a judge.

Each part lands in sections/NAME.json as soon as it is known.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.compare.options import Options
from openbook.errors import CompareError, OpenbookError
from openbook.files import write_atomic
from openbook.metrics import rank
from openbook.records import Case, Message, Sampling
from openbook.seams import Progress
from openbook.settings import STATE_DIR

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.compare.cases import Frozen
    from openbook.compare.schema import Row
    from openbook.compare.shots import Chosen
    from openbook.compare.store import Store
    from openbook.compare.trial import Contender

_STYLE = 60
"""Prompts of the training conversations that the base model answers, to tell its voice from the team's."""
_DEPTH = 10
"""Hits among which the gold passage is sought, for recall@k."""


@dataclass(slots=True)
class Work:
    """One comparison under way."""

    house: House
    options: Options
    folder: Path
    progress: Progress | None
    manifest: dict[str, Any]
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the part's wall seconds in the manifest, over all runs of this comparison."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = self.manifest["seconds"]
            spent[part] = round(spent.get(part, 0.0) + time.perf_counter() - started, 2)
            self.write()

    def write(self) -> None:
        """Keep the manifest, with everything a person should know so far."""
        self.manifest |= {"missing": self.missing, "notes": list(dict.fromkeys(self.notes))}
        write_atomic(self.folder / "manifest.json", json.dumps(self.manifest, ensure_ascii=False, indent=1))

    def section(self, name: str, measure: Callable[[], Any], *, of: object = None) -> Any:
        """What `measure` gives, kept on disk; measured again only when what it was measured `of` has changed.

        The workspace's serving settings, library version and adapters always count. A failure becomes a reason in
        `missing`, and is measured again by the next run.
        """
        file, key = self.folder / "sections" / f"{name}.json", self._key(of)
        kept = self.manifest["sections"]
        if file.is_file() and kept.get(name) == key:
            return json.loads(file.read_text(encoding="utf-8"))
        try:
            with self.timed(name):
                found = measure()
        except OpenbookError as error:
            self.missing[name] = str(error)
            file.unlink(missing_ok=True)  # what is there was measured of something else
            return None
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, json.dumps(found, ensure_ascii=False))
        kept[name] = key
        self.write()
        return found

    def _key(self, of: object) -> str:
        house, options = self.house, self.options
        facts = [house.serving(), house.library.version(), house.settings.answer.model_dump()]
        decides = [*facts, house.settings.models.generator, options.tuned, options.both, of]
        return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:16]


def measure(work: Work, frozen: Frozen, found: Sequence[Contender], chosen: Chosen | None, store: Store) -> None:
    """Everything that is measured beside the rows."""
    from openbook import timing

    house, options = work.house, work.options
    refs = (*options.tuned, *options.both)
    work.section("retrieval", partial(_ranks, house, frozen.cases, work.progress))
    work.section("library", partial(timing.library_seconds, house, seed=options.seed))
    work.section("forgetting", partial(_forgetting, house, refs))
    work.section("curve", partial(_curve, house))
    if "style" in options.skip:
        work.missing["style"] = "left out (--skip style)"
    else:
        work.section("voices", partial(_voices, work, found))
    if "freshness" in options.skip:
        work.missing["freshness"] = "left out (--skip freshness)"
    else:
        work.section("freshness", partial(_freshness, work, frozen, chosen))
    if "latency" in options.skip:
        work.missing["latency"] = "left out (--skip latency)"
    else:
        work.section("latency", partial(_latency, work, frozen, found, chosen))
    if options.judge:
        work.section("judge", partial(_judged, work, frozen, store), of=_labels(options))
    else:
        work.missing["judge"] = "no judge was asked; it would not decide anything (--judge, with an [endpoint])"


def _voices(work: Work, found: Sequence[Contender]) -> dict[str, list[str]]:
    """Replies of the team and of the base model to the same prompts: what the style classifier learns from."""
    from openbook.compare import shots
    from openbook.finetune import examples

    options = work.options
    base = next((one for name in ("naive", "base") for one in found if one.name == name), None)
    if not options.examples or base is None:
        raise CompareError("no voice was learned: name training conversations with --examples, and ask the arm base")
    every = examples.read(options.examples).examples
    _, asked = shots.held_out(every, most=_STYLE, share=1.0, seed=options.seed)
    replies = []
    for done, case in enumerate(asked):
        if work.progress is not None:
            work.progress("voice", done, len(asked))
        replies.append(base.ask(case).text)
    if work.progress is not None:
        work.progress("voice", len(asked), len(asked))
    return {"team": [case.gold[0] for case in asked], "base": replies}


def _freshness(work: Work, frozen: Frozen, chosen: Chosen | None) -> dict[str, Any]:
    """Edited facts, with every row in fresh/rows.jsonl."""
    from openbook import contenders as arms
    from openbook import freshening
    from openbook.compare.schema import FOUR
    from openbook.compare.store import Store

    house, options = work.house, work.options
    asked: list[Case] = []
    refs = dict.fromkeys((*options.tuned[:1], *options.both[:1]))
    learned = {house.adapters.get(ref).ref: freshening.learned_cases(house, ref) for ref in refs}

    def over(copy: House) -> list[Contender]:
        wanted = [arm for arm in FOUR if arm in options.wanted()]
        shown = chosen.shots if chosen is not None else {}
        return arms.contenders(copy, tuned=options.tuned[:1], both=options.both[:1], shots=shown, arms=wanted)[0]

    with contextlib.closing(Store(work.folder / "fresh")) as store:

        def keep(case: Case, row: Row) -> None:
            asked.append(case)
            store.append(row)

        found = freshening.run(
            house,
            over,
            edits=options.edits,
            trained_cases=[case for some in learned.values() for case in some],
            cases=[case for case in frozen.cases if case.kind == "answerable"],
            seed=options.seed,
            retrain=freshening.retraining(house, options.tuned[0]) if options.retrain and options.tuned else None,
            on_row=keep,
            progress=work.progress,
        )
    lines = (json.dumps(asdict(case), ensure_ascii=False) for case in dict.fromkeys(asked))
    write_atomic(work.folder / "fresh" / "cases.jsonl", "".join(f"{line}\n" for line in lines))
    return {**found, "learned": {ref: len(some) for ref, some in learned.items()}}


def _latency(work: Work, frozen: Frozen, found: Sequence[Contender], chosen: Chosen | None) -> dict[str, Any]:
    from openbook import timing

    here = [one for one in found if one.role == "four" and not one.server]
    return timing.measure(
        work.house,
        frozen.cases,
        {one.name: one.adapter if one.name.startswith("tuned") else None for one in here},
        shots=chosen.shots if chosen is not None else None,
        adapters=[one.adapter for one in here if one.name == "tuned"],
        progress=work.progress,
    )


def _labels(options: Options) -> str:
    return options.labels.read_text(encoding="utf-8") if options.labels is not None else ""


def _judged(work: Work, frozen: Frozen, store: Store) -> dict[str, Any]:
    """What the endpoint's model says of the four arms' answers; labels.jsonl is for a person to check it by."""
    from openbook.answer.generators.endpoint import EndpointGenerator
    from openbook.compare import judge
    from openbook.compare.schema import FOUR

    settings, options = work.house.settings.endpoint, work.options
    if not settings.model:
        raise CompareError("there is no model to judge; set url and model in [endpoint]")
    model = EndpointGenerator(settings)

    def ask(turns: list[Message]) -> str:
        return "".join(piece for piece in model.stream(turns, Sampling()) if isinstance(piece, str))

    rows = store.rows({name: told["identity"] for name, told in work.manifest["arms"].items() if name in FOUR})
    before = work.folder / "sections" / "judge.json"
    kept = json.loads(before.read_text(encoding="utf-8"))["scores"] if before.is_file() else []
    with contextlib.closing(model):
        scores, facts = judge.run(
            frozen.cases,
            rows,
            ask,
            options.labels,
            model=settings.model,
            seed=options.seed,
            known={(case, arm): score for case, arm, score in kept},
            progress=work.progress,
        )
    if options.labels is None:
        write_atomic(work.folder / "labels.jsonl", judge.sheet(frozen.cases, rows, seed=options.seed))
    return {**facts, "scores": [[case, arm, score] for (case, arm), score in scores.items()]}


def _ranks(house: House, cases: Sequence[Case], progress: Progress | None) -> dict[str, int | None]:
    """Case -> rank of the first hit that holds a gold span, None when none of the first ten does."""
    from openbook.answer.followup import standalone
    from openbook.contenders import scope_of

    found: dict[str, int | None] = {}
    some = [case for case in cases if case.spans and not case.contexts]
    for done, case in enumerate(some):
        if progress is not None:
            progress("search", done, len(some))
        turns = [turn for turn in case.history if turn.role != "system"]
        hits = house.searcher.search(standalone(case.question, turns), k=_DEPTH, scope=scope_of(case)).hits
        found[case.id] = rank(hits, case)
    if progress is not None and some:
        progress("search", len(some), len(some))
    return found


def _forgetting(house: House, refs: Sequence[str]) -> dict[str, Any]:
    """Adapter -> what its training broke, as its manifest says."""
    found = {}
    for ref in dict.fromkeys(refs):
        adapter = house.adapters.get(ref)
        if adapter.manifest.get("forgetting"):
            found[adapter.ref] = adapter.manifest["forgetting"]
    if not found:
        raise CompareError(
            "no adapter here was probed for forgetting; train with finetune.probes above 0"
            if refs
            else "there is no adapter; train one with: openbook finetune EXAMPLES --name NAME"
        )
    return found


def _curve(house: House) -> Any:
    """The newest data-size curve that was trained in this workspace."""
    for file in sorted((house.root / STATE_DIR / "runs").glob("*/datasize.json"), reverse=True):
        return {"run": file.parent.name, **json.loads(file.read_text(encoding="utf-8"))}
    raise CompareError("no data-size curve was trained; train one with: openbook finetune EXAMPLES --curve 10,30,100")
