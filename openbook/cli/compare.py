"""openbook compare: which of the four ways serves, measured on the team's own data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from openbook.cli.common import copied, err, example, json_option, out, print_json, progress_bar, workspace_option
from openbook.records import CaseKind

if TYPE_CHECKING:
    from openbook.compare.schema import ArmReport, Figure, Report

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PARTS = ("diagnostics", "freshness", "latency", "style", "shots")


@click.command()
@click.option("--cases", multiple=True, type=_FILE, metavar="FILE", help="Questions with answers (.jsonl, .csv).")
@click.option("--conversations", multiple=True, type=_FILE, metavar="FILE", help="Held-out example conversations.")
@click.option(
    "--examples",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="Training conversations: few-shot examples of the base model, and the voice to tell apart.",
)
@click.option(
    "--made", type=click.IntRange(0), metavar="N", help="Cases made from the library; default: 60 without FILEs."
)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(get_args(CaseKind)), help="Only these kinds.")
@click.option("--no-review", is_flag=True, help="Do not show made cases for accepting.")
@click.option("--arm", "arms", multiple=True, metavar="ARM", help="Only these arms; see docs/compare.md.")
@click.option("--tuned", metavar="ADAPTERS", help="Of the arm tuned: NAME[@VERSION],... of further seeds.")
@click.option("--both", metavar="ADAPTERS", help="Of the arm tuned+rag, likewise.")
@click.option("--primary", default="", metavar="METRIC", help="What decides; default: answer_correct, or behaviour.")
@click.option("--bar", type=click.FloatRange(0, 1), help="Good enough, by the primary metric; default: 0.7.")
@click.option("--contract", type=_FILE, metavar="FILE", help="Format of replies: a JSON schema or a regex.")
@click.option("--task", default="", metavar="METRIC", help="Scores replies of conversations; default: token_f1.")
@click.option("--prices", type=_FILE, metavar="FILE", help="A price sheet (.toml); see docs/compare.md.")
@click.option(
    "--trained-on",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="What else adapters learned from.",
)
@click.option("--edits", type=click.IntRange(1), default=10, show_default=True, help="Facts to edit for freshness.")
@click.option("--retrain", is_flag=True, help="Train anew after the edits, to measure how a tuned model catches up.")
@click.option("--judge", is_flag=True, help="Also let the [endpoint] model judge; never decides.")
@click.option("--labels", type=_FILE, metavar="FILE", help="Your own judgements of answers, to check the judge by.")
@click.option("--skip", multiple=True, type=click.Choice(_PARTS), help="Leave a part out.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which cases are made.")
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    metavar="REPORT",
    help="An earlier report.",
)
@click.option("--fail-if", "rules", multiple=True, metavar="RULE", help='Exit 1 if so: "answer_correct drops > 2pp".')
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append to it, and plot.",
)
@click.option("--again", metavar="ID", help="Draw this report again from its rows, asking nothing.")
@workspace_option
@json_option
@example(
    "openbook compare",
    "openbook compare --cases questions.jsonl --examples train.jsonl --conversations held_out.jsonl",
    "openbook compare --tuned tone@1,tone@2,tone@3 --both support --prices prices.toml",
    'openbook compare --cases questions.jsonl --against baseline/report.json --fail-if "answer_correct drops > 2pp"',
)
def compare(
    cases: tuple[Path, ...],
    conversations: tuple[Path, ...],
    examples: tuple[Path, ...],
    made: int | None,
    kinds: tuple[CaseKind, ...],
    no_review: bool,
    arms: tuple[str, ...],
    tuned: str | None,
    both: str | None,
    primary: str,
    bar: float | None,
    trained_on: tuple[Path, ...],
    contract: Path | None,
    task: str,
    prices: Path | None,
    edits: int,
    retrain: bool,
    judge: bool,
    labels: Path | None,
    skip: tuple[str, ...],
    seed: int,
    against: Path | None,
    rules: tuple[str, ...],
    history: Path | None,
    again: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Ask base, rag, tuned and tuned+rag the same cases and say which to ship, with intervals and costs.

    Without FILEs, cases are made from the library's documents. An interrupted comparison goes on where it was when
    the same command is given again.
    """
    from openbook.compare import gate
    from openbook.compare import history as past
    from openbook.compare.options import Options

    parsed = [gate.parse(rule) for rule in rules]
    baseline = _report(against) if against is not None else None
    if parsed and baseline is None and any(rule.relative for rule in parsed):
        raise click.UsageError("a rule with drops or rises needs a report to compare with: --against REPORT")
    options = Options(
        cases=cases,
        conversations=conversations,
        examples=examples,
        made=made,
        kinds=kinds,
        arms=arms,
        tuned=_refs(tuned),
        both=_refs(both),
        primary=primary,
        bar=bar,
        trained_on=trained_on,
        contract=contract,
        task=task,
        prices=prices,
        edits=edits,
        retrain=retrain,
        judge=judge,
        labels=labels,
        skip=skip,
        seed=seed,
    )
    with (
        progress_bar() as progress,
        copied(workspace, progress=progress, prefer="throughput") as ws,
    ):
        ask = None if no_review or as_json or again is not None else _asking(progress)
        report = (
            ws.report(again, options=options)
            if again is not None
            else ws.compare(options, review=ask, progress=progress)
        )
        folder = ws.state / "reports" / report.id
    if history is not None:
        past.append(history, report)
        past.plot(history, history.with_suffix(".png"))
    failed = gate.judge(parsed, report, baseline)
    _show(report, folder, failed, as_json)
    if failed:
        raise SystemExit(1)


def _refs(text: str | None) -> tuple[str, ...]:
    return tuple(one.strip() for one in (text or "").split(",") if one.strip())


def _report(path: Path) -> Report:
    from openbook.compare.schema import read_report

    file = path / "report.json" if path.is_dir() else path
    return read_report(file.read_bytes(), origin=str(file))


def _asking(progress: Any) -> Any:
    from openbook.questions.review import terminal

    ask = terminal()

    def asked(case: Any, number: int, of: int) -> Any:
        progress.stop()
        return ask(case, number, of) if ask is not None else "quit"

    return asked if ask is not None else None


def _show(report: Report, folder: Path, failed: Sequence[str], as_json: bool) -> None:
    from openbook.cli.show import table
    from openbook.compare.schema import METRICS, report_json

    if as_json:
        import json

        print_json({**json.loads(report_json(report)), "folder": str(folder), "failed": list(failed)})
        return
    four = [arm for arm in report.arms if arm.role == "four"]
    shown = dict.fromkeys((report.primary, *_ROWS))
    rows = [
        (METRICS[name].label, *(_figure(arm.metrics.get(name)) for arm in four))
        for name in shown
        if any(name in arm.metrics for arm in four)
    ]
    rows.append(("seconds, median", *(_seconds(arm) for arm in four)))
    heads = ["%, with 95 % interval", *(arm.name for arm in four)]
    out().print(table("", heads, rows, right=tuple(range(1, len(heads)))))
    out().print(report.verdict, markup=False)
    for sentence in failed:
        err().print(f"failed: {sentence}", style="red", markup=False)
    for name, why in report.missing.items():
        err().print(f"not measured: {name}: {why}", style="dim", markup=False)
    for note in (*report.cases.get("warnings", ()), *report.notes):
        err().print(f"note: {note}", style="dim", markup=False)
    err().print(f"report: {folder / 'report.html'}", style="dim", markup=False)


_ROWS = (
    "answer_correct",
    "answer_and_citation",
    "refusal",
    "false_refusal",
    "invents",
    "behaviour",
    "format_valid",
    "style",
    "acceptable",
)


def _figure(figure: Figure | None) -> str:
    return f"{figure.value:.0%} [{figure.low:.0%}, {figure.high:.0%}]".replace("%", "") if figure is not None else ""


def _seconds(arm: ArmReport) -> str:
    return f"{arm.seconds['total']['p50']:.2f}" if "total" in arm.seconds else ""
