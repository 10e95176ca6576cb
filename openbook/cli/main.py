"""The command group: which commands there are, and how errors end a run (1 failed, 2 wrong usage, 130 stopped)."""

from __future__ import annotations

import sys

import click

from openbook.cli import (
    adapters,
    advise,
    compare,
    demo,
    doctor,
    finetune,
    keys,
    library,
    migrate,
    models,
    questions,
    serve,
    tune,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="openbook")
def openbook() -> None:
    """Turn your own documents into an assistant that cites its sources.

    \b
    Example:
      openbook init desk && cd desk
      openbook sync ~/handbook
      openbook ask "How many vacation days do we get?"
    """


for command in (
    library.init,
    demo.demo,
    library.sync,
    library.documents,
    library.versions,
    library.rollback,
    library.backup,
    library.restore,
    migrate.migrate,
    questions.search,
    questions.ask,
    questions.chat,
    questions.explain,
    finetune.finetune,
    adapters.adapters,
    tune.tune,
    compare.compare,
    advise.advise,
    models.models,
    doctor.doctor,
    serve.serve,
    keys.keys,
    serve.mcp,
):
    openbook.add_command(command)


def run() -> None:
    """Run the command line and exit."""
    from openbook.errors import OpenbookError, UsageError

    try:
        code = openbook.main(standalone_mode=False)
    except click.exceptions.Abort:
        _say("stopped")
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        _say("stopped")
        code = 130
    except UsageError as error:
        _say(f"openbook: {error}")
        code = 2
    except OpenbookError as error:
        _say(f"openbook: {error}")
        code = 1
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except OSError as error:
        _say(f"openbook: {error.filename or 'the system'}: {error.strerror or error}")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _say(sentence: str) -> None:
    click.echo(" ".join(sentence.split()), err=True)
