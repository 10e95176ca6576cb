"""A workspace in, a comparison of its arms out: joins the rooms for openbook compare.

Everything that costs time lands on disk as soon as it is known, so that the same call goes on where it was stopped:
cases.jsonl (frozen before anything is asked), rows.jsonl row by row, sections/NAME.json part by part. The report is
computed from these.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook import provenance
from openbook.assemble import ENDPOINT, EXTRACTIVE
from openbook.compare.options import BAR, Options
from openbook.errors import CompareError
from openbook.extras import need
from openbook.records import Case, Example
from openbook.seams import Progress
from openbook.sections import Work
from openbook.settings import STATE_DIR

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.compare.cases import Frozen
    from openbook.compare.schema import Report
    from openbook.compare.shots import Chosen
    from openbook.compare.trial import Contender
    from openbook.questions.review import Ask

MADE = 60
"""Cases made from the library when none are given."""
_DEV = 12
"""Training conversations held out to choose few-shot examples by: four arms try four sets on each."""


def compare(house: House, options: Options, *, review: Ask | None = None, progress: Progress | None = None) -> Report:
    """Freeze the cases, ask every arm, measure what lies beside, write the report into .openbook/reports/ID.

    Goes on with an unfinished comparison of the same options: what was stopped, or where an arm failed.
    Raises CompareError, UsageError, AdapterError, EndpointError.
    """
    for package in ("jinja2", "matplotlib", "sklearn", "scipy", "statsmodels"):
        need(package, extra="compare", purpose="comparing")
    from openbook import contenders as arms
    from openbook import reporting, sections
    from openbook.compare import trial
    from openbook.compare.store import Store
    from openbook.ingest.resplit import refuse_stale

    reporting.check(options)
    refuse_stale(house.library_folder, house.settings.ingest)
    options = _with_adapters(house, options)
    work = _begun(house, options, progress)
    with contextlib.closing(Store(work.folder)) as store:
        store.claim()
        frozen = _frozen(work, review)
        _declare(work, frozen)
        chosen = _shots(work)
        found, missing = arms.contenders(
            house,
            tuned=options.tuned,
            both=options.both,
            shots=chosen.shots if chosen is not None else {},
            groups=options.groups,
            arms=options.wanted(),
        )
        _refuse_missing(options, missing)
        work.missing |= missing
        work.manifest["arms"] = {one.name: _told(one) for one in found}
        work.write()
        with work.timed("ask"):
            done = trial.run(frozen.cases, found, store, progress=progress)
        work.missing |= done.missing
        work.notes += done.notes
        sections.measure(work, frozen, found, chosen, store)
        work.write()
        made = reporting.write(house, options, work.folder, store)
        if not done.failed:  # else the same command asks what failed again
            work.manifest["finished"] = _now()
            work.write()
        return made


def _with_adapters(house: House, options: Options) -> Options:
    """The options with the adapters that are compared, each of which exists. Raises AdapterError."""
    from openbook import contenders as arms

    local = house.settings.models.generator not in (ENDPOINT, EXTRACTIVE)
    tuned, both = arms.defaults(house.adapters, base_sha256=house.base_files().sha256) if local else ((), ())
    options = replace(options, tuned=options.tuned or tuned, both=options.both or both)
    for ref in (*options.tuned, *options.both):
        house.adapters.get(ref)
    return options


def _declare(work: Work, frozen: Frozen) -> None:
    """Write down, before anything is asked, what decides and what the report will rest on."""
    house, options, manifest = work.house, work.options, work.manifest
    library = house.library.version()
    first = manifest.setdefault("library", {"version": library, **house.serving()})["version"]
    if first != library:
        work.notes.append(f"the cases were frozen at version {first} of the library, which is now at {library}")
    manifest |= {
        "cases": frozen.hash,
        "primary": options.primary or _primary(frozen.cases),
        "bar": BAR if options.bar is None else options.bar,
        "seed": options.seed,
        "task": options.task,
        "contract": _within(house.root, options.contract),
        "prices": _within(house.root, options.prices),
        "trainings": {
            arm: [_training_facts(house, ref) for ref in refs]
            for arm, refs in (("tuned", options.tuned), ("tuned+rag", options.both))
        },
    }
    work.write()


def _training_facts(house: House, ref: str) -> dict[str, Any]:
    """What a training's price rests on."""
    told = house.adapters.get(ref).manifest
    library = told.get("library") or {}
    facts = {name: told.get(name) for name in ("seconds", "training_seconds", "data", "seed")}
    return {"adapter": ref, **facts, "library": {"review": library.get("review")} if library else None}


def _begun(house: House, options: Options, progress: Progress | None) -> Work:
    """The folder of an unfinished comparison of the same options (for a judge also a finished one), or a new one."""
    home, asked = house.root / STATE_DIR / "reports", options.asked()
    command = shlex.join(["openbook", *sys.argv[1:]]) if Path(sys.argv[0]).name == "openbook" else "Workspace.compare"
    for folder in sorted(home.glob("*/"), reverse=True):
        manifest = _manifest(folder)
        if manifest.get("asked") == asked and (options.judge or not manifest.get("finished")):
            manifest["commands"].append(command)
            notes = [*manifest.get("notes", ()), f"went on with the comparison {folder.name}, begun before"]
            return Work(house, options, folder, progress, manifest, notes=notes)
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
        "sections": {},
    }
    (home / name).mkdir(parents=True)
    return Work(house, options, home / name, progress, manifest)


def _manifest(folder: Path) -> dict[str, Any]:
    """What a folder's manifest says; {} where there is none that can be read."""
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _frozen(work: Work, review: Ask | None) -> Frozen:
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
            groups=options.groups,
            pages=work.folder / "review",
        )
        if not found and facts["warnings"]:
            raise CompareError(f"there is no case to compare on: {facts['warnings'][0]}")
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


def _shots(work: Work) -> Chosen | None:
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
            groups=options.groups,
            arms=[arm for arm in FOUR if arm in options.wanted()],
        )
        task = reporting.task(house, options)
        found = shots.choose(
            shown,
            dev,
            arms.ask_with(house, tuned=options.tuned, both=options.both, groups=options.groups),
            lambda case, answer: task(answer.text, case.gold[0], case.history),
            arms=[one.name for one in possible if one.role == "four"],
            seed=options.seed,
            progress=work.progress,
        )
        return shots.section(found)

    found = work.section("tuning", choose, of=options.task)
    return shots.from_section(found) if found is not None else None


def _refuse_missing(options: Options, missing: Mapping[str, str]) -> None:
    """An arm that was asked for by name and cannot be had is an error; else it stands in the report as missing."""
    for name in options.arms:
        if name in missing:
            raise CompareError(missing[name])


def _told(one: Contender) -> dict[str, str]:
    return {name: getattr(one, name) for name in ("label", "role", "model", "adapter", "identity")}


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
