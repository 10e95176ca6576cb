"""What importing and --help may not do."""

import subprocess
import sys
from pathlib import Path

import pytest

from openbook.workspace import Workspace

HEAVY = (
    "torch",
    "openvino",
    "openvino_genai",
    "qdrant_edge",
    "numpy",
    "openai",
    "pydantic",
    "sqlalchemy",
    "rich",
    "lxml",
    "fastapi",
    "starlette",
    "uvicorn",
    "argon2",
    "mcp",
    "jinja2",
    "prometheus_client",
)
OF_EXTRAS = ("argon2", "authlib", "fastapi", "jinja2", "mcp", "opentelemetry", "prometheus_client", "uvicorn")
"""What `pip install openbook` leaves out of what serves."""


@pytest.mark.parametrize(
    "code",
    ["import openbook", "import sys; sys.argv = ['openbook', '--help']\nimport openbook.cli\nopenbook.cli.main()"],
    ids=["import", "help"],
)
def test_neither_a_model_nor_a_heavy_package_is_loaded(code: str) -> None:
    script = f"import atexit, sys\natexit.register(lambda: print([m for m in {HEAVY!r} if m in sys.modules]))\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [("serve",), ("mcp",), ("keys", "list"), ("keys", "create", "desk"), ("keys", "revoke", "0")],
    ids=lambda words: " ".join(words),
)
def test_a_command_whose_extra_is_missing_names_it_in_one_sentence(words: tuple[str, ...], tmp_path: Path) -> None:
    Workspace.init(tmp_path / "desk").close()
    script = (
        f"import sys\nsys.modules |= dict.fromkeys({OF_EXTRAS!r})\n"
        f"sys.argv = {['openbook', *words, '--workspace', str(tmp_path / 'desk')]!r}\n"
        "import openbook.cli\nopenbook.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert said.endswith("pip install 'openbook[serve]'")


def test_the_public_surface_is_what_all_says() -> None:
    import openbook

    assert all(getattr(openbook, name) is not None for name in openbook.__all__)
    with pytest.raises(AttributeError):
        _ = openbook.nothing
