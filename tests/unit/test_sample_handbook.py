import zipfile
from pathlib import Path

import pytest

from openbook import sample
from openbook.errors import OpenbookError

ROOT = Path(sample.__file__).parent / "handbook"


def test_the_handbook_holds_39_markdown_files_and_its_licence() -> None:
    with sample.handbook() as folder:
        assert len(list(folder.rglob("*.md"))) == 39
        assert "CC0" in (folder / "LICENSE").read_text(encoding="utf-8")


def test_a_copy_is_writable_and_equals_the_original(tmp_path: Path) -> None:
    copy = sample.copy_handbook(tmp_path / "handbook")
    names = {path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()}
    assert {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()} == names
    assert all((copy / name).read_bytes() == (ROOT / name).read_bytes() for name in names)
    leave = copy / "Benefits and Perks" / "Vacation and Sick Leave.md"
    leave.write_text("changed", encoding="utf-8")
    assert leave.read_text(encoding="utf-8") == "changed"


def test_an_existing_folder_is_never_written_into(tmp_path: Path) -> None:
    with pytest.raises(OpenbookError, match="exists already"):
        sample.copy_handbook(tmp_path)


def test_a_copy_comes_out_of_a_zipped_package_too(tmp_path: Path) -> None:
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as package:
        for path in ROOT.rglob("*"):
            if path.is_file():
                package.write(path, f"handbook/{path.relative_to(ROOT).as_posix()}")
    copy = tmp_path / "copy"
    sample._copy(zipfile.Path(archive, "handbook/"), copy)
    assert len(list(copy.rglob("*.md"))) == 39
