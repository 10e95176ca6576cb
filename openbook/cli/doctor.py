"""`openbook doctor`: what works here, what is weak, how to change it."""

from __future__ import annotations

from pathlib import Path

import click

from openbook.cli.common import example, json_option, out, print_json, workspace_option

_COLOURS = {"ok": "green", "weak": "yellow", "broken": "red"}


@click.command()
@workspace_option
@json_option
@example("openbook doctor")
def doctor(workspace: Path | None, as_json: bool) -> None:
    """Check models, library, disk, processor, endpoint and versions; exits 1 when something is broken."""
    from dataclasses import asdict

    from openbook.doctor import examine
    from openbook.errors import UsageError
    from openbook.settings import FILE_NAME, Settings, load
    from openbook.workspace import Workspace

    try:
        root: Path | None = workspace.resolve() if workspace is not None else Workspace.find()
    except UsageError:
        root = None
    findings = examine(root, load(root / FILE_NAME) if root is not None else Settings())
    if as_json:
        print_json([asdict(one) for one in findings])
    else:
        console = out()
        if root is None:
            console.print("no workspace here: showing the defaults (make one with: openbook init)", style="dim")
        for one in findings:
            console.print(f"{one.level:<6}", style=_COLOURS[one.level], end=" ")
            console.print(f"{one.topic}: {one.says}", markup=False)
            if one.todo:
                console.print(f"       -> {one.todo}", markup=False)
    if any(one.level == "broken" for one in findings):
        raise click.exceptions.Exit(1)
