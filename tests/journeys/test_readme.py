"""README code runs as written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from openbook import sample, settings

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.model
def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    sample.copy_handbook(tmp_path / "handbook")
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Vacation and Sick Leave" in done.stdout


@pytest.mark.model
def test_the_shell_of_the_readme_runs(tmp_path: Path) -> None:
    sample.copy_handbook(tmp_path / "handbook")
    code = blocks("sh")[2].replace("~/handbook", "../handbook")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    command = ["bash", "-ec", f"export PATH={path}\n{code}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "15 days" in done.stdout


def test_the_settings_of_the_readme_are_valid() -> None:
    import tomllib

    (text,) = blocks("toml")
    assert settings.parse(tomllib.loads(text), origin="README").models.generator == "qwen3-1.7b"


def test_the_first_two_blocks_are_the_demo_and_the_tests() -> None:
    first, second = blocks("sh")[:2]
    assert "openbook demo" in first
    assert "scripts/test" in second
