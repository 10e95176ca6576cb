"""`openbook demo`: the main job on the bundled handbook, start to end, in a temporary workspace."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openbook.cli.common import example, json_option, out, print_json, progress_bar
from openbook.prompt import ABSTENTION

if TYPE_CHECKING:
    from openbook.records import Answer
    from openbook.workspace import Workspace

QUESTION = "What is our company leave policy?"
UNANSWERABLE = "How much of my gym membership gets reimbursed?"
DOCUMENT = "handbook/Benefits and Perks/New Parent Leave.md"
OLD = "12 weeks of paid leave"
NEW = "20 weeks of paid leave"


@click.command()
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Keep the workspace in DIR."
)
@json_option
@example("openbook demo", "openbook demo --keep handbook-desk")
def demo(keep: Path | None, as_json: bool) -> None:
    """Sync a sample handbook, ask, edit it, ask again: the main job in a minute, in a temporary workspace."""
    with _folder(keep) as folder:
        shown = _Shown(quiet=as_json)
        _run(folder, shown)
        if as_json:
            print_json({"workspace": str(folder) if keep else None, "seconds": shown.seconds, "answers": shown.answers})
            return
        from openbook.cli.show import table

        rows = [(step, f"{seconds:.2f}") for step, seconds in shown.seconds.items()]
        out().print(table("Timings", ("step", "seconds"), rows, right=(1,)))
        if keep:
            out().print(f'The workspace stays in {folder}. Next: cd {folder} && openbook ask "..."', markup=False)
        else:
            out().print(
                "Next, with your own documents: openbook init desk && cd desk && openbook sync FOLDER", markup=False
            )


def _run(folder: Path, shown: _Shown) -> None:
    from openbook import sample
    from openbook.assemble import reader_of, with_reader
    from openbook.models import fetch
    from openbook.settings import Settings
    from openbook.workspace import Workspace

    defaults = Settings().models
    reader = reader_of(Settings())
    sample.copy_handbook(folder / "handbook")
    shown.heading(f"1. Models: {defaults.generator} writes, {defaults.embedder} searches")
    with progress_bar() as progress:
        for name in (defaults.embedder, defaults.generator):
            with shown.timed(f"download and convert {name}"):
                if reader is not None and name == reader.name:
                    with_reader(reader, progress=progress)
                else:
                    fetch.pull(name, progress=progress)
    with Workspace.init(folder) as ws:
        shown.heading("2. Sync the handbook (39 Markdown files, CC0)")
        with shown.timed("first sync"), progress_bar() as progress:
            report = ws.sync([folder / "handbook"], progress=progress)
        shown.line(f"{report.added} documents, {report.chunks} chunks")
        with shown.timed("load the language model"):
            ws.house.generator(reads=True)
        shown.heading("3. Ask")
        _ask(ws, QUESTION, "first answer", shown)
        shown.heading("4. Ask what the handbook does not say")
        _ask(ws, UNANSWERABLE, "declined answer", shown)
        shown.heading("5. Edit the leave policy, sync, ask again")
        document = folder / DOCUMENT
        text = document.read_text(encoding="utf-8")
        document.write_text(text.replace(OLD, NEW), encoding="utf-8")
        shown.line(f"- {OLD}")
        shown.line(f"+ {NEW}")
        with shown.timed("sync after the edit"):
            report = ws.sync([folder / "handbook"])
        shown.line(f"{report.changed} changed, {report.unchanged} unchanged")
        _ask(ws, QUESTION, "answer after the edit", shown)


def _ask(ws: Workspace, question: str, step: str, shown: _Shown) -> None:
    shown.line(f"? {question}")
    started = time.perf_counter()
    stream = ws.stream(question)
    first: float | None = None
    for piece in stream:
        if first is None:
            first = time.perf_counter() - started
            shown.piece("" if piece == ABSTENTION else "the model writes: ")
        shown.piece("" if piece == ABSTENTION else piece)
    shown.answer(step, stream.answer)
    if not stream.answer.abstained and first is not None:
        shown.seconds[f"{step}: to the first token"] = round(first, 3)
    shown.seconds[f"{step}: whole"] = round(stream.answer.seconds.total, 3)


class _Shown:
    """What a person sees, and the timings."""

    def __init__(self, *, quiet: bool) -> None:
        self.seconds: dict[str, float] = {}
        self.answers: list[dict[str, object]] = []
        self._quiet = quiet
        self._console = out()

    def heading(self, text: str) -> None:
        if not self._quiet:
            self._console.print(f"\n{text}", style="bold", markup=False)

    def line(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, markup=False)

    def piece(self, text: str) -> None:
        if not self._quiet:
            click.secho(text, dim=True, nl=False)

    def answer(self, step: str, answer: Answer) -> None:
        from openbook.cli.show import answer_text, sources_text
        from openbook.wire import answer_json

        self.answers.append({"step": step, **answer_json(answer)})
        if self._quiet:
            return
        self._console.print("" if answer.abstained else "\nchecked answer: ", answer_text(answer), sep="")
        if answer.abstained:
            self._console.print("(declined: no passage was good enough)", style="dim")
        self._console.print(sources_text(answer), end="")
        for note in answer.notes:
            self._console.print(f"note: {note}", style="dim", markup=False)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[step] = round(time.perf_counter() - started, 3)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="openbook-demo-") as name:
        yield Path(name).resolve()
