"""The command-line door."""


def main() -> None:
    """Run the command."""
    from openbook.cli.main import run

    run()
