"""The command that changes the library over to another embedder: migrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openbook.cli.common import (
    err,
    example,
    json_option,
    opened,
    out,
    print_json,
    progress_bar,
    unserved,
    workspace_option,
)

if TYPE_CHECKING:
    from openbook.records import Migration


@click.command()
@click.option("--to", "embedder", metavar="NAME", help="The embedder; default: models.embedder of openbook.toml.")
@click.option(
    "--cases",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Questions (.jsonl, .csv) with their answers, to compare both embedders by.",
)
@click.option("--anyway", is_flag=True, help="Switch although the questions say that less is found.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and how long it takes; change nothing.")
@click.option("--roll-back", is_flag=True, help="Use the vectors of before the last migration again.")
@click.option("--drop-previous", is_flag=True, help="Delete the vectors kept for --roll-back.")
@workspace_option
@json_option
@example(
    "openbook migrate --to all-minilm-l6-v2-int8 --dry-run",
    "openbook migrate --to all-minilm-l6-v2-int8 --cases questions.jsonl",
    "openbook migrate --roll-back",
)
def migrate(
    embedder: str | None,
    cases: Path | None,
    anyway: bool,
    dry_run: bool,
    roll_back: bool,
    drop_previous: bool,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Change the library over to another embedder; searches go on meanwhile, and Ctrl-C keeps what was done."""
    from dataclasses import asdict

    from openbook.errors import UsageError
    from openbook.questions import read

    alone = [flag for flag, given in (("--roll-back", roll_back), ("--drop-previous", drop_previous)) if given]
    if len(alone) > 1 or (alone and (embedder is not None or cases or dry_run or anyway)):
        raise UsageError(f"{alone[0]} goes with no other option; run it alone")
    if not dry_run:
        unserved(workspace)  # a server never lets go of the library, and a migration waits for that
    if drop_previous:
        with opened(workspace) as ws:
            freed = ws.migration_drop_previous()
        if as_json:
            print_json({"freed_bytes": freed})
        else:
            out().print(f"freed {freed / 1e6:.1f} MB; openbook migrate --roll-back is not possible any more")
        return
    with progress_bar() as progress, opened(workspace, progress=progress) as ws:
        if roll_back:
            found = ws.migration_roll_back(progress=progress)
        else:
            asked = read([cases] if cases else [])
            for problem in asked.problems:
                err().print(problem, style="yellow", markup=False)
            found = ws.migrate(embedder=embedder, cases=asked, dry_run=dry_run, anyway=anyway, progress=progress)
    if as_json:
        print_json(asdict(found))
        return
    out().print(_text(found), end="", markup=False)
    for note in found.notes:
        err().print(note, style="yellow", markup=False)


def _text(found: Migration) -> str:
    if found.dry_run:
        return (
            f"{found.chunks} chunks would go from {found.source} to {found.target}: "
            f"about {found.seconds:,.0f} s at {found.chunks_per_second:,.0f} chunks/s\n"
        )
    if not found.switched:
        return ""
    lines = [f"the library uses {found.target} now, no longer {found.source}: {found.chunks} chunks"]
    if found.embedded:
        lines[0] += f", {found.embedded} embedded in {found.seconds:,.1f} s ({found.chunks_per_second:,.0f}/s)"
    for one in found.compared:
        if one.measure.startswith("overlap"):
            lines.append(f"{one.measure} of hits before and after: {one.after:.3f} on {one.n} texts of the library")
        else:
            lines.append(
                f"{one.measure}: {one.before:.3f} -> {one.after:.3f}, difference {one.difference:+.3f} "
                f"({one.low:+.3f} to {one.high:+.3f}, 95 %) on {one.n} questions"
            )
    lines.append("back: openbook migrate --roll-back; free the earlier vectors: openbook migrate --drop-previous")
    return "\n".join(lines) + "\n"
