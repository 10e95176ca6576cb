"""What child processes do: check examples, train, compare. An order as plain data in, a result as plain data out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.errors import OpenbookError
from openbook.files import write_atomic
from openbook.serve.jobs import Stopped
from openbook.serve.workers import Line

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.compare.options import Options
    from openbook.finetune.registry import Adapter

Task = Callable[[Mapping[str, Any], Line], dict[str, Any]]


def train(order: Mapping[str, Any], line: Line) -> dict[str, Any]:
    """Train the run of order["run"], or go on with it; order["documents"] are names in the library.

    Raises Stopped when it was asked to stop: the run's folder holds what it goes on from.
    """
    from openbook.finetune import job as jobs
    from openbook.finetune import run as runs

    folder = Path(order["run"])
    with closing(_house(order)) as house:
        if (done := finished(house, folder)) is not None:
            return result(done)
        tools = house.training_tools(
            progress=line.progress,
            watchers=lambda _: [line.say],
            stopping=line.stopping,
            documents=order["documents"],
        )
        made = runs.run(
            jobs.open_run(folder),
            house.base_files(),
            folder,
            registry=house.adapters,
            tools=tools,
            resume=(folder / "preflight.json").is_file(),
        )
    if made.adapter is None:
        raise Stopped
    return result(made.adapter)


def preflight(order: Mapping[str, Any], line: Line) -> dict[str, Any]:
    """Check the examples of the run of order["run"], and estimate what training would take."""
    from openbook.finetune import job as jobs
    from openbook.finetune import run as runs

    folder = Path(order["run"])
    with closing(_house(order)) as house:
        tools = house.training_tools(progress=line.progress, stopping=line.stopping, documents=order["documents"])
        flight, _ = runs.preflight(jobs.open_run(folder), house.base_files(), folder, tools=tools)
    jobs.finish(folder, {"preflight": True})
    return {"run": folder.name, **flight.as_json()}


def compare(order: Mapping[str, Any], line: Line) -> dict[str, Any]:
    """Compare in order["root"], a copy of the workspace; see comparisons.py."""
    from openbook import comparing

    with closing(_house(order, prefer="throughput")) as house:
        report = comparing.compare(house, options_of(order["options"]), progress=line.progress)
    told = {"report": report.id, "verdict": report.verdict, "missing": dict(report.missing)}
    # A server that dies now must not compare again.
    write_atomic(Path(order["done"]), json.dumps(told))
    return told


def options_of(plain: Mapping[str, Any]) -> Options:
    """Options of a comparison from plain data, whose files are paths as text."""
    from openbook.compare.options import Options

    files = {"cases", "conversations", "examples", "trained_on"}
    single = {"contract", "prices", "labels"}
    known = {field.name for field in fields(Options)}
    values: dict[str, Any] = {}
    for name, value in plain.items():
        if name not in known:
            raise OpenbookError(f"a comparison has no option {name!r}")
        if name in files:
            values[name] = tuple(Path(one) for one in value)
        elif name in single:
            values[name] = Path(value) if value else None
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return Options(**values)


def finished(house: House, folder: Path) -> Adapter | None:
    """The adapter that a run gave already, though nobody may have heard of it."""
    return next((one for one in house.adapters.list() if one.manifest.get("run") == folder.name), None)


def result(adapter: Adapter) -> dict[str, Any]:
    """What came of a training."""
    told = adapter.manifest
    kept = {name: told.get(name) for name in ("metric", "forgetting", "gate", "seconds", "data")}
    return {"adapter": adapter.ref, "run": told.get("run", ""), **kept, "obstacles": list(adapter.obstacles)}


def _house(order: Mapping[str, Any], **options: Any) -> House:
    from openbook.assemble import House
    from openbook.settings import Settings

    return House(Path(order["root"]), Settings.model_validate(order["settings"]), **options)


TASKS: Mapping[str, Task] = {"train": train, "preflight": preflight, "compare": compare}
