"""docs/commands.md is what --help says."""

import runpy
from pathlib import Path

import click

from openbook.cli.main import openbook

ROOT = Path(__file__).parents[2]


def test_the_page_agrees_with_the_commands() -> None:
    written = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(ROOT / "scripts/write_commands.py"))["page"]()


def test_every_command_shows_an_example() -> None:
    def each(command: click.Command) -> list[click.Command]:
        below = command.commands.values() if isinstance(command, click.Group) else ()
        return [command, *(found for child in below for found in each(child))]

    for command in each(openbook):
        assert "Example:" in (command.help or ""), command.name
