"""openbook.settings_file: settings change, everything else in the file stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook import settings_file
from openbook.errors import SettingsError
from openbook.settings import load

_FILE = """\
# Our desk.
format = 1

[models]
generator = "extractive"  # no model yet

# How many to show.
[retrieve]
k = 3 # asked for by Ann
fusion = 'rrf'
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "openbook.toml"
    file.write_text(_FILE)
    return file


def test_a_change_keeps_comments_order_and_other_values(path: Path) -> None:
    made = settings_file.change(path, {"retrieve.k": 5}, why="tuned 2026-11-22, .openbook/tune/1")
    assert made == load(path)
    assert path.read_text() == _FILE.replace(
        "k = 3 # asked for by Ann",
        "k = 5  # asked for by Ann; set by openbook: tuned 2026-11-22, .openbook/tune/1",
    )


def test_reasons_do_not_pile_up(path: Path) -> None:
    settings_file.change(path, {"retrieve.k": 5, "retrieve.fusion": "dbsf"}, why="first; with a semicolon")
    settings_file.change(path, {"retrieve.k": 6, "retrieve.fusion": "rrf"}, why="second")
    text = path.read_text()
    assert "first" not in text
    assert "k = 6  # asked for by Ann; set by openbook: second\n" in text
    assert 'fusion = "rrf"  # set by openbook: second\n' in text


def test_missing_sections_and_keys_are_added(path: Path) -> None:
    made = settings_file.change(
        path, {"answer.abstain_below": 0.5, "retrieve.lexical_weight": 2.0, "reading.groups": ("hr",)}, why="w"
    )
    assert (made.answer.abstain_below, made.retrieve.lexical_weight, made.reading.groups) == (0.5, 2.0, ("hr",))
    assert load(path) == made
    assert path.read_text().startswith(_FILE)


def test_none_takes_a_setting_out(path: Path) -> None:
    assert settings_file.change(path, {"retrieve.k": None, "answer.seed": None}, why="w").retrieve.k == 5
    assert "k = 3" not in path.read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retrieve.kk": 5}, "unknown setting 'retrieve.kk'"),
        ({"nowhere.k": 5}, "unknown setting 'nowhere'"),
        ({"retrieve.k.deep": 5}, "retrieve.k"),
        ({"retrieve.k": 0}, "retrieve.k = 0"),
        ({"ingest.chunk_tokens": 64, "ingest.overlap_tokens": 60}, "overlap_tokens may be at most half"),
    ],
)
def test_what_may_not_be_set_is_refused_and_the_file_stays(path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings_file.change(path, changes, why="w")
    assert path.read_text() == _FILE


def test_an_inline_table_keeps_its_line_whole(path: Path) -> None:
    path.write_text("retrieve = { k = 3, fusion = 'rrf' }\n[answer]\npassages = 2\n")
    made = settings_file.change(path, {"retrieve.k": 7}, why="w")
    assert (made.retrieve.k, made.retrieve.fusion, made.answer.passages) == (7, "rrf", 2)
    assert load(path) == made


def test_dotted_keys_are_changed_where_they_stand(path: Path) -> None:
    path.write_text("retrieve.k = 3\nretrieve.fusion = 'rrf'\nanswer.passages = 2\n")
    made = settings_file.change(path, {"retrieve.k": 7}, why="w")
    assert (made.retrieve.k, made.answer.passages) == (7, 2)
    assert load(path) == made


def test_a_file_with_windows_line_ends_keeps_them(path: Path) -> None:
    path.write_bytes(_FILE.replace("\n", "\r\n").encode())
    settings_file.change(path, {"retrieve.k": 5, "answer.passages": 2}, why="w")
    data = path.read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")
    assert load(path).answer.passages == 2


def test_a_missing_or_broken_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        settings_file.change(tmp_path / "openbook.toml", {"retrieve.k": 5}, why="w")
    (tmp_path / "openbook.toml").write_text("retrieve = [")
    with pytest.raises(SettingsError, match="cannot be read"):
        settings_file.change(tmp_path / "openbook.toml", {"retrieve.k": 5}, why="w")
