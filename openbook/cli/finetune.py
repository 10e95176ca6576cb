"""The command finetune: check examples, train an adapter, find out how many examples are enough."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from openbook.cli.common import Bars, copied, err, example, json_option, out, print_json, progress_bar, workspace_option
from openbook.errors import ExamplesError, UsageError

if TYPE_CHECKING:
    from openbook.finetune.job import Job
    from openbook.finetune.preflight import Preflight
    from openbook.finetune.run import Result
    from openbook.questions.review import Ask, Key
    from openbook.records import Case
    from openbook.seams import Progress
    from openbook.workspace import Workspace

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("data", nargs=-1, type=_FILE)
@click.option("--name", default="", help="Name of the adapter.")
@click.option("--from-library", is_flag=True, help="Learn to read and cite passages, from questions on the library.")
@click.option("--examples", multiple=True, type=_FILE, metavar="FILE", help="The same as DATA.")
@click.option(
    "--questions", multiple=True, type=_FILE, metavar="FILE", help="Questions of your own for --from-library."
)
@click.option(
    "--retriever",
    type=click.Choice(["embedder", "reranker"]),
    help="Train what finds passages instead, on --questions or --from-library; adopt it when it is better.",
)
@click.option("--base", default="", metavar="MODEL", help="The model --retriever starts from; default: the one in use.")
@click.option("--force", is_flag=True, help="Adopt what --retriever trained even without a significant gain.")
@click.option("--reviewed", type=_FILE, metavar="FILE", help="Take decisions from an edited review.jsonl, ask nothing.")
@click.option("--no-review", is_flag=True, help="Do not show questions made from the library for accepting.")
@click.option("--preflight", "only_check", is_flag=True, help="Check the examples, estimate time and memory.")
@click.option("--recipe", type=_FILE, metavar="FILE", help="A recipe.toml: data, settings, name.")
@click.option("--resume", is_flag=True, help="Go on with the newest unfinished training (of --name).")
@click.option("--validation", multiple=True, type=_FILE, help="Held-out examples; default: a share of DATA.")
@click.option("--test", multiple=True, type=_FILE, help="Examples for the before and after, never seen in training.")
@click.option("--map", "columns", multiple=True, metavar="COLUMN=ROLE", help="What an odd column is: question=user.")
@click.option(
    "--set", "values", multiple=True, metavar="KEY=VALUE", help="Of [finetune], or [reading]: reading.refusal=.3"
)
@click.option("--curve", metavar="SIZES", help="Train on so many examples each and plot the metric: 10,30,100.")
@click.option(
    "--seeds", default=3, show_default=True, type=click.IntRange(1, 20), help="Trainings per size of --curve."
)
@workspace_option
@json_option
@example(
    "openbook finetune replies.jsonl --name tone --preflight",
    "openbook finetune replies.jsonl --name tone --set epochs=5",
    "openbook finetune --resume",
    "openbook finetune --from-library --examples chats.jsonl --name support",
    "openbook finetune --retriever embedder --questions faq.jsonl --from-library",
    "openbook finetune replies.jsonl --name tone --curve 10,30,100",
)
def finetune(
    data: tuple[Path, ...],
    name: str,
    from_library: bool,
    examples: tuple[Path, ...],
    questions: tuple[Path, ...],
    retriever: Literal["embedder", "reranker"] | None,
    base: str,
    force: bool,
    reviewed: Path | None,
    no_review: bool,
    only_check: bool,
    recipe: Path | None,
    resume: bool,
    validation: tuple[Path, ...],
    test: tuple[Path, ...],
    columns: tuple[str, ...],
    values: tuple[str, ...],
    curve: str | None,
    seeds: int,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Train an adapter on the example conversations in DATA (chat JSONL, CSV and other common formats).

    With --from-library it learns to answer from retrieved passages and to cite them; DATA then gives the voice.
    """
    if retriever:
        _not_with_retriever(data, examples, recipe, resume, only_check, curve, validation, test, columns, reviewed)
        from openbook.cli.retriever import tune

        tune(
            retriever,
            questions=questions,
            from_library=from_library,
            name=name,
            base=base,
            settings=dict(_setting(value) for value in values),
            force=force,
            workspace=workspace,
            as_json=as_json,
        )
        return
    if base or force:
        raise UsageError("--base and --force go with --retriever")
    if reviewed and (no_review or not from_library):
        raise UsageError("--reviewed goes with --from-library, and not with --no-review")
    from openbook.finetune import job as jobs
    from openbook.finetune import run as runs
    from openbook.questions.review import recorded

    sizes = _sizes(curve) if curve else ()
    if sizes and from_library:
        raise UsageError("--curve is about example conversations; leave out --from-library")
    with copied(workspace) as ws, progress_bar() as progress:
        where = ws.state / "runs"
        if resume:
            if any((data, examples, questions, from_library, recipe, values, validation, test, columns)):
                raise UsageError("--resume goes on with what was begun; give no data and no settings, only --name")
            folder = jobs.unfinished(where, name)
            job = jobs.open_run(folder)
        else:
            job = ws.job(
                (*data, *examples),
                name=name or ("check" if only_check else ""),
                recipe=recipe,
                validation=validation,
                test=test,
                settings=dict(_setting(value) for value in values),
                mapping=dict(_pair(column, "--map") for column in columns),
                from_library=from_library,
                questions=questions,
                review=recorded(reviewed) if reviewed else None if no_review or as_json else _reviewing(progress),
                progress=progress,
            )
            if job.lessons and not as_json:
                _show_lessons(job)
            folder = jobs.new_run(where, job)
        files = ws.house.base_files()
        with _stopping() as stopping:
            tools = ws.house.training_tools(progress=_or_stop(progress, stopping), watchers=_bar, stopping=stopping)
            if only_check:
                flight, _ = runs.preflight(job, files, folder, tools=tools)
                jobs.finish(folder, {"preflight": True})
                _show_check(flight, folder, as_json)
                return
            if sizes:
                _curve(ws, job, folder, sizes, range(seeds), tools, as_json)
                return
            try:
                result = runs.run(job, files, folder, registry=ws.house.adapters, tools=tools, resume=resume)
            except KeyboardInterrupt:
                err().print("go on with: openbook finetune --resume")
                raise
    _show_result(result, as_json)


def _not_with_retriever(*given: object) -> None:
    if any(given):
        raise UsageError(
            "--retriever learns from --questions FILE or --from-library; leave out DATA, --examples, --validation, "
            "--test, --map, --recipe, --resume, --preflight and --curve"
        )


def _show_check(flight: Preflight, folder: Path, as_json: bool) -> None:
    if as_json:
        print_json({**flight.as_json(), "folder": str(folder)})
    else:
        from openbook.finetune.preflight_page import table

        out().print(table(flight))
        err().print(f"all of it: {folder / 'preflight.html'}", markup=False)
    if flight.errors:
        raise ExamplesError(flight.errors[0])


def _show_result(result: Result, as_json: bool) -> None:
    adapter = result.adapter
    if adapter is None:
        if as_json:
            print_json({"adapter": None, "run": result.run, "step": result.outcome.step, "stopped": True})
        err().print(f"stopped after step {result.outcome.step}; go on with: openbook finetune --resume")
        raise SystemExit(130)
    manifest = adapter.manifest
    if as_json:
        print_json(
            {
                "adapter": adapter.ref,
                "folder": str(adapter.folder),
                "run": result.run,
                "metric": manifest["metric"],
                "forgetting": manifest["forgetting"],
                "gate": manifest["gate"],
                "seconds": manifest["seconds"],
                "obstacles": list(adapter.obstacles),
            }
        )
        return
    from openbook.cli.adapters import summary

    out().print(summary(adapter))
    for obstacle in adapter.obstacles:
        err().print(f"not to be promoted as it is: {obstacle}", markup=False)
    arm = "tuned+rag" if manifest.get("library") else "tuned"
    err().print(f"ask it: openbook ask QUESTION --arm {arm} --adapter {adapter.ref}")


def _reviewing(progress: Bars) -> Ask | None:
    """Asks in the terminal, if there is one."""
    from openbook.questions.review import terminal

    progress.stop()
    ask = terminal()
    if ask is None:
        return None

    def paused(case: Case, number: int, of: int) -> Key:
        progress.stop()
        return ask(case, number, of)

    return paused


def _show_lessons(job: Job) -> None:
    """What was made from the library, on stderr."""
    facts: Mapping[str, Any] = job.library
    asked, made = facts["questions"], facts["lessons"]
    origins = ", ".join(f"{count} {origin}" for origin, count in sorted(asked["by_origin"].items()))
    err().print(f"{asked['used']} questions on {facts['documents']} documents ({origins})")
    err().print(f"lessons: {', '.join(f'{count} {kind}' for kind, count in made.items() if count)}", markup=False)
    err().print(f"  in {job.lessons[0].parent}", markup=False)
    for reason, count in sorted({**asked["rejected"], **asked["left_out"]}.items(), key=lambda one: -one[1])[:5]:
        err().print(f"  left out {count}: {reason}", markup=False)
    for note in facts["notes"]:
        err().print(f"note: {note}", markup=False)


def _curve(
    ws: Workspace, job: Job, folder: Path, sizes: Sequence[int], seeds: Sequence[int], tools: Any, as_json: bool
) -> None:
    from openbook.finetune import datasize, subsets
    from openbook.finetune.job import finish

    found = subsets.data_size(job, ws.house.base_files(), folder, sizes=sizes, seeds=seeds, tools=tools)
    datasize.png(found, folder / "datasize.png")
    (folder / "datasize.html").write_text(datasize.html(found, name=job.name), encoding="utf-8")
    (folder / "datasize.json").write_text(json.dumps(datasize.as_json(found)), encoding="utf-8")
    finish(folder, {"curve": True})
    if as_json:
        print_json({**datasize.as_json(found), "folder": str(folder)})
        return
    out().print(datasize.table(found))
    err().print(f"plot: {folder / 'datasize.png'}", markup=False)


def _bar(folder: Path) -> Sequence[Callable[[dict[str, Any]], None]]:
    from openbook.finetune.bar import Bar

    return [Bar(folder, console=err())]


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks the training to stop after this step; the second stops at once."""
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        sys.stderr.write("stopping soon, nothing is lost; press Ctrl-C again to stop at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _or_stop(progress: Progress, stopping: Callable[[], bool]) -> Progress:
    """Between steps a training looks whether to stop; everything before and after it stops where it reports."""

    def report(step: str, done: int, total: int) -> None:
        if stopping():
            raise KeyboardInterrupt
        progress(step, done, total)

    return report


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"--curve {text!r} is no list of sizes; write for example --curve 10,30,100") from None


def _setting(text: str) -> tuple[str, object]:
    key, value = _pair(text, "--set")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _pair(text: str, option: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise UsageError(f"{option} {text!r} is not understood; write {option} NAME=VALUE")
    return key.strip(), value.strip()
