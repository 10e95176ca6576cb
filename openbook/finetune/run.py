"""A job in, an adapter in the registry out: preflight, training, what it broke, merging, the gate, in that order.

Every step writes into the run folder, so a run that was killed goes on where it stood. Knows no command line and no
model store: the untouched model's files and the way to convert a merged one come from outside.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openbook import metrics, provenance
from openbook.errors import AdapterError, ExamplesError
from openbook.extras import need
from openbook.files import sha256_of, write_atomic
from openbook.finetune import (
    base,
    examples,
    forgetting,
    gate,
    lora,
    machine,
    merge,
    preflight_page,
    reading,
    replay,
    train,
)
from openbook.finetune import preflight as flights
from openbook.finetune.chat import Chat
from openbook.finetune.job import Job, finish
from openbook.finetune.live import Event, EventLog, Sample, history, read
from openbook.finetune.page import LivePage
from openbook.finetune.registry import Adapter, Registry
from openbook.finetune.served import ServedModel
from openbook.finetune.torchmodel import TorchSpeaker
from openbook.finetune.trained import TrainedModel
from openbook.prompt import defuse
from openbook.records import Example, Message, ModelFiles
from openbook.seams import Generator, Progress
from openbook.settings import Finetune

REPLAY_TOKENS = 120
"""Longest reply the untouched model gives to a replayed prompt; longer ones keep the written reply."""
_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run needs from other rooms."""

    convert: Callable[[Path, Path, str], ModelFiles]
    """(merged GGUF, folder, name) -> files that the generator loads."""
    generator: Callable[[ModelFiles], Generator]
    documents: Sequence[str] = ()
    """Names in the library, to tell facts that are better retrieved."""
    progress: Progress | None = None
    watchers: Callable[[Path], Sequence[Callable[[Event], None]]] = lambda _: ()
    """Given the run folder, who wants to see each event of the training."""
    stopping: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    run: str
    folder: Path
    adapter: Adapter | None
    """None when it was stopped from outside."""
    outcome: train.Outcome


def preflight(
    job: Job,
    files: ModelFiles,
    folder: Path,
    *,
    tools: Tools,
    estimate: bool = True,
    known: Mapping[str, Any] | None = None,
) -> tuple[flights.Preflight, tuple[Example, ...]]:
    """Check the examples, and with `estimate` how long training will take, unless that is `known`.

    Writes preflight.json, preflight.html, corrected.jsonl; returns the check with the test examples. Raises
    ExamplesError when nothing usable is there; other errors stand in it.
    """
    chat = chat_of(files, tools)
    loaded = examples.read(job.data, mapping=job.mapping) if job.data else examples.Loaded((), (), {}, 0)
    if job.validation:
        held = examples.read(job.validation, mapping=job.mapping).examples
    else:
        learned, held = examples.split(loaded.examples, job.settings.validation, seed=job.settings.seed)
        loaded = replace(loaded, examples=learned)
    lessons, lessons_held = (reading.read(path) for path in job.lessons) if job.lessons else ((), ())
    flight = flights.check(
        replace(loaded, examples=defused(loaded.examples)),
        defused(held),
        chat=chat,
        settings=job.settings,
        documents=tools.documents,
        lessons=lessons,
        lessons_held=lessons_held,
        progress=tools.progress,
    )
    if flight.lessons:
        own = flight.kept[: len(flight.kept) - flight.lessons]
        share = job.reading.style if job.reading is not None else 0.0
        mixed = reading.style(own, flight.lessons, share, seed=job.settings.seed)
        # What is scored and compared is the first few: of both kinds.
        held_out = list(flight.kept_validation)
        if held:
            random.Random(job.settings.seed).shuffle(held_out)
        flight = replace(flight, kept=(*mixed, *flight.kept[len(own) :]), kept_validation=tuple(held_out))
    if known is not None:
        flight = replace(flight, estimate=known)
    elif estimate and not flight.errors:
        here = machine.choose(job.settings)
        machine.keep_pages()
        model = lora.prepare(base.folder_of(files), job.settings, here)
        seen = train.probe(model, items_of(flight.kept, chat), job.settings, free_mb=here.free_mb)
        price = job.settings.hour_price
        cost = {"cost": round(seen.seconds / 3600 * price, 2)} if price else {}
        flight = replace(flight, estimate={**asdict(seen), **cost})
    write_atomic(folder / "preflight.json", json.dumps(flight.as_json(), ensure_ascii=False, indent=1))
    write_atomic(folder / "preflight.html", preflight_page.html(flight))
    write_atomic(folder / "corrected.jsonl", examples.corrected(flight.kept))
    test = examples.read(job.test, mapping=job.mapping).examples if job.test else ()
    return flight, defused(test)


def defused(some: Sequence[Example]) -> tuple[Example, ...]:
    """Examples as people wrote them, without what a chat template would take for its own."""
    return tuple(
        replace(
            one,
            messages=tuple(Message(turn.role, defuse(turn.content)) for turn in one.messages),
            rejected=None if one.rejected is None else defuse(one.rejected),
        )
        for one in some
    )


def run(job: Job, files: ModelFiles, folder: Path, *, registry: Registry, tools: Tools, resume: bool = False) -> Result:
    """Train, measure, merge, check and register; `folder` is the job's run folder.

    Raises ExamplesError, TrainingError, AdapterError (the gate refused); what was trained stays in the run folder.
    """
    started = time.perf_counter()
    with registry.reserve(job.name) as draft:
        known = _estimate(folder) if resume else None
        flight, test = preflight(job, files, folder, tools=tools, known=known)
        if flight.errors:
            raise ExamplesError(f"{flight.errors[0]} (all of it: {folder / 'preflight.html'})")
        here = machine.choose(job.settings)
        machine.keep_pages()
        chat, source = chat_of(files, tools), base.folder_of(files, progress=tools.progress)
        model = lora.prepare(source, job.settings, here)
        items = items_of(with_replay(flight.kept, model, chat, job.settings), chat)
        judge = Judge(model, chat, job, flight.kept_validation)
        outcome = _train(job, files, folder, model, items, judge, here, tools, flight)
        if outcome.interrupted:
            return Result(folder.name, folder, None, outcome)
        lora.save(model, draft.folder)
        manifest = {
            **_manifest(job, files, folder, flight, outcome, here),
            "metric": _scores(folder, judge, test),
            "forgetting": broken(model, chat, files, here, job, folder.parent.parent, tools.progress),
        }
        del model, judge
        report = _serve(job, files, source, draft.folder, chat, flight, tools)
        write_atomic(folder / "gate.json", json.dumps(report.as_json(), indent=1))
        if not report.passed:
            raise AdapterError(f"{report.failures[0]}; nothing was registered ({folder / 'gate.json'})")
        seconds = round(time.perf_counter() - started, 1)
        adapter = draft.publish({**manifest, "gate": report.as_json(), "seconds": seconds})
    finish(folder, {"adapter": adapter.ref, "metric": manifest["metric"], "seconds": seconds})
    return Result(folder.name, folder, adapter, outcome)


class Judge:
    """Scores the model on examples with the job's metric."""

    def __init__(self, model: Any, chat: Chat, job: Job, held: Sequence[Example]) -> None:
        self._model, self._chat, self._settings = model, chat, job.settings
        self._held = [example for example in held if example.messages[-1].role == "assistant"]
        self._items = items_of(held, chat)
        self.name = "preference" if job.settings.method == "dpo" else job.settings.metric
        plain = self.name in ("loss", "preference")
        self._metric = None if plain else metrics.load(self.name, job.functions)

    def __call__(self) -> train.Check:
        """The model as it stands, on the held-out examples."""
        sums = self._losses()
        loss = sum(total for total, _ in sums) / max(1, sum(count for _, count in sums))
        scores, samples = self.scores(self._settings.scored)
        mean, low, high = metrics.bootstrap(scores)
        if self.name == "loss":
            mean = loss
        return train.Check(loss, mean, self.name, len(scores), low, high, tuple(samples))

    def scores(self, at_most: int | None = None) -> tuple[list[float], list[Sample]]:
        """The score of each held-out example, and the first few generated replies."""
        if self.name == "loss":
            return [total / count for total, count in self._losses() if count], []
        if self.name == "preference":
            return self._preferences(), []
        return self.answered(self._held[:at_most])

    def _losses(self) -> list[tuple[float, int]]:
        speaker = TorchSpeaker(self._model, self._chat)
        return speaker.losses([one for item in self._items for one in item.sequences])

    def answered(self, held: Sequence[Example], *, adapter: bool = True) -> tuple[list[float], list[Sample]]:
        """Scores of generated replies, and the first few of them."""
        if self._metric is None:
            return [], []
        speaker = TorchSpeaker(self._model, self._chat, adapter=adapter)
        prompts = [example.messages[:-1] for example in held]
        replies = speaker.reply(prompts, self._settings.answer_tokens)
        references = [example.messages[-1].content for example in held]
        scores = [
            self._metric(reply, reference, prompt)
            for reply, reference, prompt in zip(replies, references, prompts, strict=True)
        ]
        samples = [
            Sample(prompt=prompt[-1].content if prompt else "", reference=reference, reply=reply, score=score)
            for prompt, reference, reply, score in zip(prompts, references, replies, scores, strict=True)
        ]
        return scores, samples[:_SAMPLES]

    def _preferences(self) -> list[float]:
        """1.0 where the model moved towards the preferred reply, against the untouched one."""
        speaker = TorchSpeaker(self._model, self._chat)
        untouched = TorchSpeaker(self._model, self._chat, adapter=False)
        gains = []
        for side in ("sequences", "rejected"):
            chosen = [getattr(item, side)[-1] for item in self._items]
            moved = zip(speaker.losses(chosen), untouched.losses(chosen), strict=True)
            gains.append([before - after for (after, _), (before, _) in moved])
        return [float(good > bad) for good, bad in zip(*gains, strict=True)]


def _train(
    job: Job,
    files: ModelFiles,
    folder: Path,
    model: Any,
    items: Sequence[train.Item],
    judge: Judge,
    here: machine.Machine,
    tools: Tools,
    flight: flights.Preflight,
) -> train.Outcome:
    with closing(LivePage(folder)) as page:
        log = EventLog(folder, watchers=[page, *tools.watchers(folder)])
        with closing(log):
            begun = any(event["kind"] == "start" for event in read(folder))
            if not begun:
                log.start(
                    run=folder.name,
                    name=job.name,
                    model=files.name,
                    examples=len(items),
                    validation=len(flight.kept_validation),
                    steps=len(train.steps_of(items, job.settings)),
                    epochs=job.settings.epochs,
                    settings=job.settings.model_dump(),
                    machine={**provenance.machine(), "device": here.device, "dtype": here.dtype},
                )
            return train.train(
                model,
                items,
                job.settings,
                folder=folder / "checkpoints",
                log=log,
                check=judge,
                stopping=tools.stopping,
                resume=begun,
                recompute=bool((flight.estimate or {}).get("recompute")),
            )


def _estimate(folder: Path) -> dict[str, Any] | None:
    """What an earlier preflight of this run estimated."""
    try:
        known = json.loads((folder / "preflight.json").read_text(encoding="utf-8")).get("estimate")
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def chat_of(files: ModelFiles, tools: Tools) -> Chat:
    """The chat that a model is trained with."""
    need("torch", extra="finetune", purpose="fine-tuning")
    return Chat.load(
        base.folder_of(files, progress=tools.progress),
        template=files.chat_template,
        stop_ids=files.eos_token_ids,
        context=files.context,
    )


def items_of(kept: Sequence[Example], chat: Chat) -> list[train.Item]:
    """Examples as token sequences; of a preference pair only the last reply is learned."""
    found = []
    for example in kept:
        *prompt, last = example.messages
        if example.rejected is None:
            found.append(train.Item(example.place, tuple(chat.sequences(example))))
        else:
            pair = chat.pair(prompt, last.content), chat.pair(prompt, example.rejected)
            found.append(train.Item(example.place, pair[:1], pair[1:]))
    return found


def with_replay(kept: Sequence[Example], model: Any, chat: Chat, settings: Finetune) -> list[Example]:
    """The examples and, mixed in, the settings' share of general conversations in the untouched model's words."""
    if not settings.replay:
        return list(kept)
    speaker = TorchSpeaker(model, chat, adapter=False)
    replies = speaker.reply(replay.prompts(), REPLAY_TOKENS)
    whole = [reply if len(chat.ids(reply)) < REPLAY_TOKENS - 1 else "" for reply in replies]
    return [*kept, *replay.replay(settings.replay, len(kept), settings.seed, replies=whole)]


def _scores(folder: Path, judge: Judge, test: Sequence[Example]) -> dict[str, Any]:
    """The task metric before and after: on the test examples, or else on the validation examples."""
    if test and judge.name not in ("loss", "preference"):
        before, _ = judge.answered(test, adapter=False)
        after, samples = judge.answered(test)
        mean, low, high = metrics.bootstrap(after)
        write_atomic(folder / "test.json", json.dumps({"before": before, "after": after, "samples": samples}))
        return {
            "name": judge.name,
            "before": metrics.bootstrap(before)[0],
            "after": mean,
            "interval": [low, high],
            "n": len(after),
            "on": "test",
        }
    checks = {event["step"]: event for event in history(read(folder)) if event["kind"] == "eval"}
    best = max(checks.values(), key=lambda event: -event["metric"] if judge.name == "loss" else event["metric"])
    return {
        "name": judge.name,
        "before": checks[0]["metric"] if 0 in checks else None,
        "after": best["metric"],
        "interval": [best["low"], best["high"]],
        "n": best["n"],
        "on": "validation",
    }


def broken(
    model: Any,
    chat: Chat,
    files: ModelFiles,
    here: machine.Machine,
    job: Job,
    state: Path,
    progress: Progress | None,
) -> dict[str, Any] | None:
    """Probes of the untouched and the tuned model; the untouched one's are kept for the next training."""
    settings = job.settings
    if not settings.probes:
        return None
    own = job.functions / settings.own_probes if settings.own_probes else None
    asked = f"{settings.probes}-{sha256_of(own)[:16]}" if own else str(settings.probes)
    kept = state / "probes" / f"{files.sha256[:16]}-{here.device}-{here.dtype}-{asked}.json"
    before = None
    if kept.is_file() and settings.method != "full":
        before = forgetting.Probes.read(json.loads(kept.read_text(encoding="utf-8")))
    if before is None:
        if settings.method == "full":
            untouched = TorchSpeaker(lora.load(base.folder_of(files), here), chat)
        else:
            untouched = TorchSpeaker(model, chat, adapter=False)
        before = forgetting.measure(untouched, own=own, limit=settings.probes, progress=progress)
        write_atomic(kept, json.dumps(before.as_json()))
    after = forgetting.measure(TorchSpeaker(model, chat), own=own, limit=settings.probes, progress=progress)
    return forgetting.compare(before, after, margin=settings.margin).as_json()


def _serve(
    job: Job, files: ModelFiles, source: Path, draft: Path, chat: Chat, flight: flights.Preflight, tools: Tools
) -> gate.GateReport:
    """Merge what was saved in `draft`, convert it into draft/served and compare both."""
    import torch

    assert files.original is not None
    full = job.settings.method == "full"
    served = draft / "served"
    served.mkdir()
    merged = served / "model.gguf"
    if full:
        merge.merge_weights_gguf(files.original, draft, merged, progress=tools.progress)
    else:
        merge.merge_gguf(files.original, draft, merged, progress=tools.progress)
    converted = tools.convert(merged, served, f"{files.name}+{job.name}")
    here = replace(machine.choose(job.settings), dtype="float32")
    model = lora.load(draft, here) if full else lora.with_adapter(source, draft, here)
    generator = tools.generator(converted)
    try:
        trained, replies = TrainedModel(model, chat), [*flight.kept_validation, *flight.kept]
        side = ServedModel(converted, generator.render)
        with torch.inference_mode():
            return gate.check(trained, side, [one.messages for one in replies], progress=tools.progress)
    finally:
        generator.close()


def _manifest(
    job: Job, files: ModelFiles, folder: Path, flight: flights.Preflight, outcome: train.Outcome, here: machine.Machine
) -> dict[str, Any]:
    steps = [event for event in history(read(folder)) if event["kind"] == "step"]
    used = Counter(Path(one.place.rpartition(":")[0]).name for one in flight.kept)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": {
            "name": files.name,
            "sha256": files.sha256,
            "architecture": files.architecture,
            "parameters": files.parameters,
            "license": files.licence,
        },
        "method": job.settings.method,
        "data": {
            "hash": examples.digest(flight.kept),
            "examples": len(flight.kept),
            "validation": len(flight.kept_validation),
            "files": [{"name": path.name, "sha256": sha256_of(path), "examples": used[path.name]} for path in job.data],
            "tokens": {key: sum(event[key] for event in steps) for key in ("real", "supervised")},
        },
        "settings": job.settings.model_dump(),
        "settings_origin": {key: job.origin.get(key, "default") for key in Finetune.model_fields},
        "seed": job.settings.seed,
        "code": {"openbook": provenance.version()}
        | {name: provenance.package_version(name) for name in ("torch", "peft", "transformers")},
        "machine": {**provenance.machine(), "device": here.device, "dtype": here.dtype},
        "training_seconds": round(outcome.seconds, 1),
        "steps": outcome.step,
        "best_step": outcome.best_step,
        "system": flight.system,
        "library": dict(job.library) or None,
        "parent": job.parent or None,
        "run": folder.name,
    }
