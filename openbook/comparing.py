"""A workspace in, a comparison of its arms out: joins the rooms for openbook compare.

Everything that costs time lands on disk as soon as it is known, so that the same call goes on where it was stopped:
cases.jsonl (frozen before anything is asked), rows.jsonl, sections/NAME.json. The report is computed from these.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook import provenance
from openbook.assemble import ENDPOINT, EXTRACTIVE
from openbook.compare.options import Options
from openbook.errors import CompareError, OpenbookError, UsageError
from openbook.extras import need
from openbook.files import write_atomic
from openbook.metrics import rank
from openbook.records import Case, Example, Message, Sampling
from openbook.seams import Progress
from openbook.settings import STATE_DIR

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.compare.cases import Frozen
    from openbook.compare.schema import Report, Row
    from openbook.compare.shots import Chosen
    from openbook.compare.store import Store
    from openbook.compare.trial import Contender
    from openbook.questions.review import Ask

MADE = 60
"""Cases made from the library when none are given."""
_STYLE = 60
"""Prompts of the training conversations that the base model answers, to tell its voice from the team's."""
_DEV = 12
"""Training conversations held out to choose few-shot examples by: four arms try four sets on each."""
_DEPTH = 10
"""Hits among which the gold passage is sought, for recall@k."""


@dataclass(slots=True)
class _Work:
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
        write_atomic(self.folder / "manifest.json", json.dumps(self.manifest, ensure_ascii=False, indent=1))

    def section(self, name: str, measure: Callable[[], Any]) -> Any:
        """What `measure` gives, kept on disk; measured once. A failure becomes a reason in `missing`."""
        file = self.folder / "sections" / f"{name}.json"
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
        try:
            with self.timed(name):
                found = measure()
        except OpenbookError as error:
            self.missing[name] = str(error)
            return None
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, json.dumps(found, ensure_ascii=False))
        return found


def compare(
    house: House,
    options: Options,
    *,
    review: Ask | None = None,
    progress: Progress | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Report:
    """Freeze the cases, ask every arm, measure what lies beside, write the report into .openbook/reports/ID.

    Goes on with an unfinished comparison of the same options. Raises CompareError, UsageError, EndpointError.
    """
    for package in ("jinja2", "matplotlib", "sklearn", "scipy", "statsmodels"):
        need(package, extra="compare", purpose="comparing")
    from openbook import contenders as arms
    from openbook import reporting
    from openbook.compare import trial
    from openbook.compare.store import Store
    from openbook.ingest.resplit import refuse_stale

    _check(options)
    refuse_stale(house.root / STATE_DIR / "library", house.settings.ingest)
    options = _with_adapters(house, options)
    work = _begun(house, options, progress)
    with contextlib.closing(Store(work.folder)) as store:
        store.claim()
        frozen = _frozen(work, review)
        work.manifest |= {
            "cases": frozen.hash,
            "primary": options.primary or _primary(frozen.cases),
            "bar": options.bar,
            "tuned": options.tuned,
            "both": options.both,
            "task": options.task,
            "contract": _within(house.root, options.contract),
            "library": house.serving(),
        }
        work.write()
        chosen = _shots(work)
        found, missing = arms.contenders(
            house,
            tuned=options.tuned,
            both=options.both,
            shots=chosen.shots if chosen is not None else {},
            arms=_wanted(options),
        )
        _refuse_missing(options, missing)
        work.missing |= missing
        work.manifest["arms"] = {one.name: _told(one) for one in found}
        work.write()
        with work.timed("ask"):
            done = trial.run(frozen.cases, found, store, progress=progress, stopping=stopping)
        if done.stopped:
            raise KeyboardInterrupt
        work.missing |= done.missing
        work.notes += done.notes
        _beside(work, frozen, found, chosen, store)
        work.manifest |= {"missing": work.missing, "notes": work.notes}
        work.write()
        made = reporting.write(house, options, work.folder, store)
        work.manifest["finished"] = _now()
        work.write()
        return made


def _check(options: Options) -> None:
    from openbook.compare.schema import DIAGNOSTICS, FOUR, METRICS

    unknown = [name for name in options.arms if name not in (*FOUR, *DIAGNOSTICS)]
    if unknown:
        raise UsageError(f"arm {unknown[0]!r} does not exist; use some of {', '.join((*FOUR, *DIAGNOSTICS))}")
    if options.primary and options.primary not in METRICS:
        raise UsageError(f"metric {options.primary!r} does not exist; use one of {', '.join(METRICS)}")
    if options.primary == "judge":
        raise UsageError("a judge agrees too badly with people to decide; choose another --primary")
    if options.labels and not options.judge:
        raise UsageError("--labels check a judge; add --judge")


def _wanted(options: Options) -> list[str]:
    from openbook.compare.schema import DIAGNOSTICS, FOUR

    if options.arms:
        return list(options.arms)
    return [*FOUR] if "diagnostics" in options.skip else [*FOUR, *DIAGNOSTICS]


def _with_adapters(house: House, options: Options) -> Options:
    from openbook import contenders as arms

    local = house.settings.models.generator not in (ENDPOINT, EXTRACTIVE)
    tuned, both = arms.defaults(house.adapters, base_sha256=house.base_files().sha256) if local else ((), ())
    return replace(options, tuned=options.tuned or tuned, both=options.both or both)


def _begun(house: House, options: Options, progress: Progress | None) -> _Work:
    """The folder of an unfinished comparison of the same options, or a new one."""
    home, asked = house.root / STATE_DIR / "reports", options.asked()
    command = shlex.join(["openbook", *sys.argv[1:]]) if Path(sys.argv[0]).name == "openbook" else "Workspace.compare"
    for folder in sorted(home.glob("*/"), reverse=True):
        file = folder / "manifest.json"
        if file.is_file():
            manifest = json.loads(file.read_text(encoding="utf-8"))
            if not manifest.get("finished") and manifest.get("asked") == asked:
                manifest["commands"].append(command)
                work = _Work(house, options, folder, progress, manifest)
                work.notes.append(f"went on with the comparison {folder.name}, which had been stopped")
                return work
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    manifest = {
        "id": name,
        "created": _now(),
        "title": options.title or house.root.name,
        "asked": asked,
        "commands": [command],
        "code": {"openbook": provenance.version()}
        | {one: provenance.package_version(one) for one in ("openvino", "openvino-genai", "qdrant-edge-py", "scipy")},
        "machine": provenance.machine(),
        "seconds": {},
        "arms": {},
    }
    (home / name).mkdir(parents=True)
    return _Work(house, options, home / name, progress, manifest)


def _frozen(work: _Work, review: Ask | None) -> Frozen:
    from openbook import casebook
    from openbook.compare import cases

    if cases.sealed(work.folder):
        return cases.read_frozen(work.folder)
    house, options = work.house, work.options
    training = _training(house, (*options.tuned, *options.both), options, work.notes)
    learned = [one for one in (_library_of(house, ref) for ref in options.both) if one]
    made = options.made if options.made is not None else 0 if options.cases or options.conversations else MADE
    with work.timed("cases"):
        found, facts = casebook.prepare(
            house,
            files=options.cases,
            conversations=options.conversations,
            made=made,
            kinds=set(options.kinds) or None,
            training=training,
            trained_documents={one.document for one in training if one.document},
            trained_version=min(learned) if learned else None,
            seed=options.seed,
            review=review,
            progress=work.progress,
            pages=work.folder / "review",
        )
        return cases.freeze(found, work.folder, facts=facts, texts=partial(_text_of, house))


def _text_of(house: House, name: str) -> str | None:
    document = house.library.document(name)
    return document.text if document is not None else None


def _training(house: House, refs: Sequence[str], options: Options, notes: list[str]) -> list[Example]:
    """Everything that adapters learned from, and the conversations given for few-shot examples."""
    from openbook.finetune import examples

    files = (*options.examples, *options.trained_on)
    found: list[Example] = list(examples.read(files).examples) if files else []
    for ref in dict.fromkeys(refs):
        run = str(house.adapters.get(ref).manifest.get("run", ""))
        file = house.root / STATE_DIR / "runs" / run / "corrected.jsonl"
        if run and file.is_file():
            found += examples.read([file]).examples
        elif not options.trained_on:
            notes.append(
                f"what {ref} was trained on is not in this workspace, so leaks were not looked for; "
                "name it with: --trained-on FILE"
            )
    return found


def _library_of(house: House, ref: str) -> int | None:
    learned = house.adapters.get(ref).manifest.get("library")
    return int(learned["version"]) if learned else None


def _shots(work: _Work) -> Chosen | None:
    """The few-shot examples of each arm, chosen from the training conversations with equally many tries."""
    from openbook import contenders as arms
    from openbook import reporting
    from openbook.compare import shots
    from openbook.compare.schema import FOUR
    from openbook.finetune import examples

    house, options = work.house, work.options
    if not options.examples or "shots" in options.skip:
        work.missing["tuning"] = "no prompt was tuned: name training conversations with --examples"
        return None

    def choose() -> dict[str, Any]:
        shown, dev = shots.held_out(examples.read(options.examples).examples, most=_DEV, seed=options.seed)
        possible, _ = arms.contenders(
            house,
            tuned=options.tuned,
            both=options.both,
            shots={},
            arms=[arm for arm in FOUR if arm in _wanted(options)],
        )
        task = reporting.task(house, options)
        found = shots.choose(
            shown,
            dev,
            arms.ask_with(house, tuned=options.tuned, both=options.both),
            lambda case, answer: task(answer.text, case.gold[0], case.history),
            arms=[one.name for one in possible if one.role == "four"],
            seed=options.seed,
            progress=work.progress,
        )
        return shots.section(found)

    found = work.section("tuning", choose)
    return shots.from_section(found) if found is not None else None


def _refuse_missing(options: Options, missing: Mapping[str, str]) -> None:
    """An arm that was asked for by name and cannot be had is an error; else it stands in the report as missing."""
    for name in options.arms:
        if name in missing:
            raise CompareError(missing[name])


def _told(one: Contender) -> dict[str, str]:
    return {name: getattr(one, name) for name in ("label", "role", "model", "adapter", "identity")}


def _beside(work: _Work, frozen: Frozen, found: Sequence[Contender], chosen: Chosen | None, store: Store) -> None:
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
        work.section("judge", partial(_judged, work, frozen, store))
    else:
        work.missing["judge"] = "no judge was asked; it would not decide anything (--judge, with an [endpoint])"


def _voices(work: _Work, found: Sequence[Contender]) -> dict[str, list[str]]:
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


def _freshness(work: _Work, frozen: Frozen, chosen: Chosen | None) -> dict[str, Any]:
    """Edited facts, with every row in fresh/rows.jsonl."""
    from openbook import contenders as arms
    from openbook import freshening
    from openbook.compare.schema import FOUR
    from openbook.compare.store import Store

    house, options = work.house, work.options
    asked: list[Case] = []
    learned = dict.fromkeys((*options.tuned[:1], *options.both[:1]))

    def over(copy: House) -> list[Contender]:
        wanted = [arm for arm in FOUR if arm in _wanted(options)]
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
            trained_cases=[case for ref in learned for case in freshening.learned_cases(house, ref)],
            cases=[case for case in frozen.cases if case.kind == "answerable"],
            seed=options.seed,
            retrain=freshening.retraining(house, options.tuned[0]) if options.retrain and options.tuned else None,
            on_row=keep,
            progress=work.progress,
        )
    lines = (json.dumps(asdict(case), ensure_ascii=False) for case in dict.fromkeys(asked))
    write_atomic(work.folder / "fresh" / "cases.jsonl", "".join(f"{line}\n" for line in lines))
    return found


def _latency(work: _Work, frozen: Frozen, found: Sequence[Contender], chosen: Chosen | None) -> dict[str, Any]:
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


def _judged(work: _Work, frozen: Frozen, store: Store) -> dict[str, Any]:
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

    known = {name: told["identity"] for name, told in work.manifest["arms"].items() if name in FOUR}
    rows = store.rows(known)
    with contextlib.closing(model):
        scores, facts = judge.run(
            frozen.cases,
            rows,
            ask,
            options.labels,
            model=settings.model,
            seed=options.seed,
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


def _primary(cases: Sequence[Case]) -> str:
    """answer_correct where most cases have an answer to find, else how well the task is done."""
    tasks = sum(case.kind == "behaviour" for case in cases)
    questions = sum(case.kind in ("answerable", "late", "general") for case in cases)
    return "behaviour" if tasks > questions else "answer_correct"


def _within(root: Path, path: Path | None) -> str:
    """A file as seen from the workspace, where it lies in it; "" for none."""
    if path is None:
        return ""
    whole = path.resolve()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(whole)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
