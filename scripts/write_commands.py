"""Prints docs/commands.md from the commands' own --help."""

from collections.abc import Iterator

import click

from openbook.cli.main import openbook


def helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[str]:
    """The help of a command and of those below it, as a terminal of 110 columns shows it."""
    context = click.Context(command, parent, name, **{**command.context_settings, "terminal_width": 110})
    yield f"## {context.command_path}\n\n```\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from helps(command.commands[child], child, context)


def page() -> str:
    """The whole page."""
    head = "Written by `python scripts/write_commands.py > docs/commands.md` from `--help`; CI checks that they agree."
    return "\n".join(["# Commands\n", f"{head}\n", *helps(openbook, "openbook")])


if __name__ == "__main__":
    print(page(), end="")
