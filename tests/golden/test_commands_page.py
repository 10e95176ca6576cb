"""docs/commands.md is what --help says."""

import subprocess
import sys
from pathlib import Path

import click

from openbook.cli.main import openbook

ROOT = Path(__file__).parents[2]


def test_the_page_agrees_with_the_commands() -> None:
    # A process of its own: click keeps the help option of whoever called a command first.
    order = [sys.executable, str(ROOT / "scripts/write_commands.py")]
    shown = subprocess.run(order, check=True, capture_output=True, encoding="utf-8", timeout=60).stdout
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == shown


def test_every_command_shows_an_example() -> None:
    def each(command: click.Command) -> list[click.Command]:
        below = command.commands.values() if isinstance(command, click.Group) else ()
        return [command, *(found for child in below for found in each(child))]

    for command in each(openbook):
        assert "Example:" in (command.help or ""), command.name
