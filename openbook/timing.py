"""A workspace's arms timed, each alone in a fresh process; joins openbook.compare.latency and the rooms.

`python -m openbook.timing` is that process: see openbook.compare.latency. Every arm there is the one of
openbook.assemble, asked as everywhere else.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.compare import latency
from openbook.compare.latency import LIMIT, Order
from openbook.errors import OpenbookError, UsageError
from openbook.records import Case, Message
from openbook.seams import Progress
from openbook.settings import STATE_DIR, Settings

if TYPE_CHECKING:
    from openbook.assemble import House

QUESTIONS = 20
"""Measured of each arm by default; p95 of fewer is the slowest answer, more or less."""


def measure(
    house: House,
    cases: Sequence[Case],
    arms: Mapping[str, str | None],
    *,
    questions: int = QUESTIONS,
    shots: Mapping[str, Sequence[Message]] | None = None,
    adapters: Sequence[str] = (),
    limit: float = LIMIT,
    progress: Progress | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """The section "latency" (see openbook.compare.latency).

    `arms` are the arms of records.Arm with their adapter, `shots` their few-shot examples; `adapters` are timed merged
    and unmerged. Questions are the answerable cases' first `questions` and one more to warm up. A library that is open
    in this process is copied, so that the timed process owns one.
    """
    asked = [case for case in cases if not (case.contexts or case.without)]
    # Like in use: answerable ones first, the others only when those are too few.
    asked = sorted(asked, key=lambda case: case.kind != "answerable")[: questions + 1]
    told = tuple((case.question, tuple((turn.role, turn.content) for turn in case.history)) for case in asked)
    with _root(house) as root:
        frame = Order(str(root), "tuned", settings=house.settings.model_dump(mode="json"))
        orders = [
            replace(
                frame,
                arm=arm,
                adapter=adapter,
                questions=told,
                shots=tuple((turn.role, turn.content) for turn in (shots or {}).get(arm, ())),
            )
            for arm, adapter in arms.items()
        ]
        layers = [replace(frame, adapter=ref, unmerged=True) for ref in adapters]
        return latency.measure([*orders, *layers], limit=limit, progress=progress, stopping=stopping)


def library_seconds(house: House, *, sample: int = 24, seed: int = 0) -> dict[str, float]:
    """Seconds that this machine takes to read and split, and to embed, the whole library: by a sample of it.

    "parse" (absent when no sampled file stands where it stood), "embed", "documents", "chunks", and how many of them
    were "sampled". Storing is left out, and so are a sync's worker processes: within a fifth of a sync (decision 0106).
    """
    from openbook.errors import ReadError
    from openbook.ingest.plan import Stored
    from openbook.ingest.readers import read
    from openbook.ingest.split import split

    infos, settings = house.library.documents(), house.settings.ingest
    found = {"documents": float(len(infos)), "chunks": float(sum(info.chunks for info in infos)), "sampled": 0.0}
    drawn = random.Random(seed).sample(infos, min(sample, len(infos)))
    stored, embedder = Stored(infos), house.embedder
    parsing = embedding = 0.0
    read_bytes = embedded = 0
    for info in drawn:
        path = Path(stored.key(info))
        began = time.perf_counter()
        with contextlib.suppress(ReadError):
            for document in read(path, name=info.name, limits=settings).documents[:1]:
                split(
                    document,
                    count=embedder.count,
                    max_tokens=embedder.max_tokens,
                    chunk_tokens=settings.chunk_tokens,
                    overlap_tokens=settings.overlap_tokens,
                )
                parsing += time.perf_counter() - began
                read_bytes += info.bytes
        texts = [chunk.indexed_text for _, chunk in house.library.chunks_of(info.name)]
        if texts:
            if not embedded:
                embedder.embed(texts[:2], kind="document")  # the first is slower than all others
            began = time.perf_counter()
            embedder.embed(texts, kind="document")
            embedding += time.perf_counter() - began
            embedded += len(texts)
    found["sampled"] = float(len(drawn))
    if read_bytes:
        found["parse"] = parsing * sum(info.bytes for info in infos) / read_bytes
    if embedded:
        found["embed"] = embedding * found["chunks"] / embedded
    return found


@contextlib.contextmanager
def _root(house: House) -> Iterator[Path]:
    """The workspace's folder, or while its library is open here a copy that another process may own.

    What a library has on disk is whole at every moment, so a copy between two commits is.
    """
    home = house.library_folder
    own = home == house.root / STATE_DIR / "library"
    if (own and house.open_library is None) or not home.is_dir():
        yield house.root
        return
    with tempfile.TemporaryDirectory(prefix="openbook-timing-") as name:
        state = Path(name) / STATE_DIR
        state.mkdir()
        try:
            shutil.copytree(home, state / "library", ignore=shutil.ignore_patterns("*.lock"))
        except (OSError, shutil.Error) as error:
            raise OpenbookError(f"the library could not be copied to time answers ({error}); free some disk") from None
        for other in (house.root / STATE_DIR).iterdir():
            if other.name != "library":
                (state / other.name).symlink_to(other, target_is_directory=other.is_dir())
        yield Path(name)


Say = Callable[[dict[str, Any]], None]


def _answers(say: Say, order: Order, began: float) -> None:
    """Ask one arm every question, one after the other."""
    from openbook.assemble import House

    if len(order.questions) < 2:
        raise UsageError(
            f"{order.title!r} was given {len(order.questions)} questions to be timed by; give at least two"
        )
    with contextlib.closing(House(Path(order.root), _settings(order))) as house:
        shots = [Message(role, text) for role, text in order.shots]  # type: ignore[arg-type]
        assistant = house.assistant(order.arm, adapter=order.adapter, shots=shots)  # type: ignore[arg-type]
        for number, (question, turns) in enumerate(order.questions):
            history = [Message(role, text) for role, text in turns]  # type: ignore[arg-type]
            task = history.pop(0).content if history and history[0].role == "system" else ""
            before = time.process_time()
            answer = assistant.ask(question, history=history, task=task)
            cpu = time.process_time() - before
            if not number:
                say({"load_seconds": time.perf_counter() - began})
                continue
            spent = answer.seconds
            steps = {step: getattr(spent, step) for step in ("retrieve", "prefill", "decode", "total")}
            say(
                {
                    "seconds": {**steps, "cpu": cpu},
                    "prompt_tokens": answer.prompt_tokens,
                    "answer_tokens": answer.answer_tokens,
                    "peak_mb": latency.peak_mb(),
                }
            )


def _layers(say: Say, order: Order) -> None:
    """An adapter in torch, its layers merged into the weights and beside them, in turn."""
    from openbook import provenance
    from openbook.assemble import House
    from openbook.extras import need
    from openbook.finetune import base, lora, machine
    from openbook.finetune.registry import check_base

    with contextlib.closing(House(Path(order.root), _settings(order))) as house:
        adapter, files = house.adapters.get(order.adapter), house.base_files()
    check_base(adapter, files.sha256, base_name=files.name)
    if not (adapter.folder / "adapter_config.json").is_file():
        raise OpenbookError(f"{adapter.ref} has whole weights instead of layers beside them: there is nothing to merge")
    for module in ("torch", "transformers", "peft"):
        need(module, extra="finetune", purpose="timing an adapter's layers unmerged")
    import torch

    here = machine.choose(house.settings.finetune)
    model = lora.with_adapter(base.folder_of(files), adapter.folder, here).eval()
    length = min(order.prompt_tokens, files.context - order.answer_tokens)
    numbers = torch.Generator().manual_seed(0)
    ids = torch.randint(10, model.config.vocab_size, (1, length), generator=numbers).to(here.device)
    rounds: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with torch.inference_mode():
        for number in range(order.rounds + 1):
            for merged in (True, False):
                if merged:
                    model.merge_adapter()
                spent = _spoken(model, ids, order.answer_tokens)
                if merged:
                    model.unmerge_adapter()
                if number:  # the first warms up
                    rounds[merged].append(spent)
    runtime = ", ".join(f"{name} {provenance.package_version(name)}" for name in ("torch", "peft"))
    told = {"prompt_tokens": length, "answer_tokens": order.answer_tokens, "rounds": order.rounds}
    found = latency.ratio(rounds[True], rounds[False], answer_tokens=order.answer_tokens)
    say({"adapter": {**found, **told, "runtime": f"{runtime}, {here.device}, {here.dtype}"}})


def _spoken(model: Any, ids: Any, tokens: int) -> tuple[float, float]:
    """Seconds of reading `ids`, and of one token after them."""
    began = time.perf_counter()
    out = model(input_ids=ids, use_cache=True)
    read = time.perf_counter()
    for _ in range(tokens):
        following = out.logits[:, -1:].argmax(-1)
        out = model(input_ids=following, past_key_values=out.past_key_values, use_cache=True)
    return read - began, (time.perf_counter() - read) / tokens


def _settings(order: Order) -> Settings:
    from openbook.settings import FILE_NAME, load

    return Settings.model_validate(order.settings) if order.settings else load(Path(order.root) / FILE_NAME)


def _end_with_parent() -> None:
    """End this process when its stdin ends, which its parent holds open."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """The process of one order."""
    began = time.perf_counter()
    # What libraries print is no measurement.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(what: dict[str, Any]) -> None:
        out.write(json.dumps(what) + "\n")
        out.flush()

    order = Order(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if order.unmerged:
            _layers(say, order)
        else:
            _answers(say, order, began)
        say({"done": True})
    except OpenbookError as error:
        say({"error": str(error)})


if __name__ == "__main__":
    main()
