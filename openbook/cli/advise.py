"""openbook advise: one recommendation, from a comparison or from answers to questions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openbook.cli.common import err, example, json_option, out, print_json, workspace_option

if TYPE_CHECKING:
    from openbook.compare.schema import Advice, Report


@click.command()
@click.argument("report", required=False, metavar="[REPORT]")
@click.option("--ask", is_flag=True, help="Answer questions instead, even if there is a report.")
@click.option(
    "--answer",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="Answer a question here (repeatable): facts, citations, examples, volume, latency, private, tone, wrong.",
)
@workspace_option
@json_option
@example(
    "openbook advise",
    "openbook advise --answer facts=weekly --answer citations=yes",
    "openbook advise baseline/report.json --json",
    "openbook advise --ask",
)
def advise(report: str | None, ask: bool, given: tuple[str, ...], workspace: Path | None, as_json: bool) -> None:
    """Say which of the four to ship, and what it rests on.

    REPORT is a report.json, a folder that holds one, or the ID of a comparison; default: the newest of the workspace.
    Without any, at most eight questions are asked, and the advice is a prior, not a measurement.
    """
    from openbook.compare import prior
    from openbook.errors import UsageError

    if ask and report is not None:
        raise UsageError(f"--ask takes no report, but {report!r} is given; leave one of the two out")
    answers = prior.parse(given)
    found = None if ask else _report(report, workspace)
    if found is None:
        answers = _asked(answers)
        advice = prior.advise(answers)
    else:
        from openbook.compare.advise import advise as from_report

        advice = from_report(found, answers=answers)
    if as_json:
        print_json(_json(advice, found, answers))
        return
    _show(advice)
    if found is not None:
        err().print(f"from the comparison {found.id} of {found.created[:10]}", style="dim", markup=False)


def _report(named: str | None, workspace: Path | None) -> Report | None:
    """The report that is meant; None when none is named and there is none."""
    from openbook import reporting
    from openbook.compare.schema import read_report
    from openbook.errors import CompareError, UsageError
    from openbook.settings import STATE_DIR
    from openbook.workspace import Workspace

    if named is not None and (Path(named).exists() or Path(named).suffix == ".json"):
        file = Path(named) / "report.json" if Path(named).is_dir() else Path(named)
        if not file.is_file():
            raise CompareError(f"there is no report {str(file)!r}; make one with: openbook compare")
        return read_report(file.read_bytes(), origin=str(file))
    try:
        root = workspace if workspace is not None else Workspace.find()
    except UsageError:
        if named is not None:
            raise
        return None
    if named is None and not any((root / STATE_DIR / "reports").glob("*/report.json")):
        return None
    return reporting.report(root, named or "")


def _asked(answers: dict[str, str]) -> dict[str, str]:
    """The answers, with those that a person gives now; where nobody can be asked the rest stays unknown."""
    from openbook.compare.prior import QUESTIONS, answer
    from openbook.errors import UsageError

    if not sys.stdin.isatty():
        if not answers:
            raise UsageError(
                "there is no report and nobody to ask; run openbook compare, or answer here: "
                "openbook advise --answer facts=weekly"
            )
        return answers
    for question in QUESTIONS:
        while question.key not in answers:
            click.echo(question.text, err=True)
            told = f"{question.key} ({'/'.join(question.choices) or 'a number'}; Enter: unknown)"
            given = click.prompt(told, default="", show_default=False, err=True)
            if not given.strip():
                break
            try:
                answers[question.key] = answer(question, given)
            except UsageError as error:
                click.echo(str(error), err=True)
    return answers


def _show(advice: Advice) -> None:
    out().print(f"{advice.sentence}\n\nWhat that rests on:", markup=False)
    for number, step in enumerate(advice.steps, start=1):
        out().print(f"{number}. {step.question} {step.answer.upper()}", markup=False)
        out().print(f"   {step.evidence}", style="dim", markup=False)
    out().print("\nWhat would change it:", markup=False)
    for change in advice.would_change:
        out().print(f"- {change}", markup=False)


def _json(advice: Advice, report: Report | None, answers: dict[str, str]) -> dict[str, Any]:
    from dataclasses import asdict

    return {"report": report.id if report is not None else None, **asdict(advice), "answers": answers}
