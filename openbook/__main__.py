"""`python -m openbook` is the command."""

from openbook.cli import main

if __name__ == "__main__":
    main()
