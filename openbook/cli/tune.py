"""The command that chooses settings on the user's own questions: tune."""

from __future__ import annotations

from pathlib import Path

import click

from openbook.cli.common import (
    copied,
    err,
    example,
    group_option,
    json_option,
    out,
    print_json,
    progress_bar,
    take_up_settings,
    workspace_option,
)

_PARTS = ("search", "passages", "decline", "order")


@click.command()
@click.argument("questions", nargs=-1, type=click.Path(dir_okay=False, path_type=Path), metavar="[QUESTIONS.jsonl]...")
@click.option("--from-library", is_flag=True, help="Make questions from the documents.")
@click.option("--only", "parts", multiple=True, type=click.Choice(_PARTS), help="Tune only this part (repeatable).")
@click.option("--tries", type=click.IntRange(2, 50), default=7, show_default=True, help="Values per setting.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Begin no new try after so long.")
@click.option("--reranker", default="", metavar="NAME", help="Also try this reranker; see: openbook models list")
@click.option(
    "--answers",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Also tune the order of passages, by N answers each.",
)
@click.option(
    "--token-price",
    type=click.FloatRange(0),
    default=0.05,
    show_default=True,
    help="Share of questions that 1,000 more tokens of passages must help.",
)
@click.option(
    "--wrong-cost",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="How much worse a wrong answer is than declining.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which documents are held out.")
@click.option("--dry-run", is_flag=True, help="Say what would be changed; change nothing.")
@click.option("--force", is_flag=True, help="Take the best values even without a significant gain.")
@group_option
@workspace_option
@json_option
@example(
    "openbook tune questions.jsonl --dry-run",
    "openbook tune --from-library --only search",
    "openbook tune questions.csv --wrong-cost 5 --only decline",
)
def tune(
    questions: tuple[Path, ...],
    from_library: bool,
    parts: tuple[str, ...],
    tries: int,
    minutes: float | None,
    reranker: str,
    answers: int,
    token_price: float,
    wrong_cost: float,
    seed: int,
    dry_run: bool,
    force: bool,
    groups: tuple[str, ...],
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Choose settings on your own QUESTIONS; only a significant gain on held-out ones is written to openbook.toml."""
    import json

    from openbook.cli.show import table
    from openbook.errors import UsageError
    from openbook.tune import Options
    from openbook.tune.report import VERDICT_COLUMNS, details, headline, verdict_rows

    if "order" in parts and not answers:
        raise UsageError("the order of passages is tuned by answers; add --answers 40")
    options = Options(
        parts=parts or _PARTS,
        tries=tries,
        seed=seed,
        minutes=minutes,
        token_price=token_price,
        wrong_cost=wrong_cost,
        reranker=reranker,
        answers=answers,
        groups=groups,
        force=force,
    )
    with progress_bar() as progress, copied(workspace, progress=progress, prefer="throughput") as ws:
        report = ws.tune(questions, from_library=from_library, options=options, dry_run=dry_run, progress=progress)
        folder = ws.state / "tune" / report.id
        waiting = take_up_settings(ws.root) if report.written else ""
    if as_json:
        print_json(json.loads(report.json()))
        return
    rows = [row[:-2] + row[-1:] for row in verdict_rows(report)]
    columns = [*VERDICT_COLUMNS[:-2], VERDICT_COLUMNS[-1]]
    out().print(table("", columns, rows, right=(3, 4)))
    for verdict in report.verdicts:
        out().print(f"{verdict.group}: {verdict.words}", markup=False)
        if told := details(verdict):
            out().print(f"  {told}", style="dim", markup=False)
    out().print(headline(report), markup=False)
    if report.written and any(key.startswith("ingest.") for key in report.changes):
        out().print("next: openbook sync YOUR FOLDERS, which splits every document anew", markup=False)
    for note in report.notes:
        err().print(f"note: {note}", style="dim", markup=False)
    if waiting:
        err().print(f"note: {waiting}", style="dim", markup=False)
    err().print(f"report: {folder / 'report.html'}", style="dim", markup=False)
