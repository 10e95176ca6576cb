"""What importing and --help may not do."""

import subprocess
import sys

import pytest

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
)


@pytest.mark.parametrize(
    "code",
    ["import openbook", "import sys; sys.argv = ['openbook', '--help']\nimport openbook.cli\nopenbook.cli.main()"],
    ids=["import", "help"],
)
def test_neither_a_model_nor_a_heavy_package_is_loaded(code: str) -> None:
    script = f"import atexit, sys\natexit.register(lambda: print([m for m in {HEAVY!r} if m in sys.modules]))\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_the_public_surface_is_what_all_says() -> None:
    import openbook

    assert all(getattr(openbook, name) is not None for name in openbook.__all__)
    with pytest.raises(AttributeError):
        _ = openbook.nothing
