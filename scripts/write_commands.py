"""Writes docs/commands.md from the commands' own --help; run it after changing a command."""

from collections.abc import Iterator
from pathlib import Path

import click

from openbook.cli.main import openbook

TARGET = Path(__file__).parents[1] / "docs" / "commands.md"


def helps(command: click.Command, name: str) -> Iterator[str]:
    """The help of a command and of those below it."""
    context = click.Context(command, info_name=name, max_content_width=110, terminal_width=110)
    yield f"## {name}\n\n```\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from helps(command.commands[child], f"{name} {child}")


def page() -> str:
    """The whole page."""
    head = "# Commands\n\nWritten by `python scripts/write_commands.py` from `--help`; CI checks that they agree.\n"
    return "\n".join([head, *helps(openbook, "openbook")])


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
