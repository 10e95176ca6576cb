"""What a comparison is known by, and when a part of it is measured again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from openbook import reporting
from openbook.compare.options import Options
from openbook.compare.schema import DIAGNOSTICS, FOUR
from openbook.errors import CompareError, UsageError
from openbook.sections import Work
from openbook.settings import Settings


class Desk:
    """As much of a house as a section's key reads."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.at = 1
        self.library = SimpleNamespace(version=lambda: self.at)

    def serving(self) -> dict[str, object]:
        return {"embedder": "e"}


def work(folder: Path, desk: Desk, **changes: Any) -> Work:
    options = replace(Options(), **changes)
    return Work(cast(Any, desk), options, folder, None, {"seconds": {}, "sections": {}})


def test_a_part_is_measured_once_and_its_seconds_are_kept(tmp_path: Path) -> None:
    told: list[int] = []
    one = work(tmp_path, Desk())
    assert one.section("part", lambda: told.append(1) or {"found": 1}) == {"found": 1}
    later = Work(one.house, one.options, tmp_path, None, json.loads((tmp_path / "manifest.json").read_text()))
    assert later.section("part", lambda: told.append(1)) == {"found": 1}
    assert told == [1]
    assert later.manifest["seconds"]["part"] >= 0


@pytest.mark.parametrize("what", ["library", "adapters", "settings", "its own"])
def test_a_part_is_measured_again_when_what_it_rests_on_has_changed(tmp_path: Path, what: str) -> None:
    desk = Desk()
    one = work(tmp_path, desk)
    one.section("part", lambda: "before")
    if what == "library":
        desk.at = 2
    elif what == "adapters":
        one.options = replace(one.options, tuned=("tone@2",))
    elif what == "settings":
        desk.settings = Settings.model_validate({"answer": {"passages": 5}})
    assert one.section("part", lambda: "after", of="new" if what == "its own" else None) == "after"


def test_a_part_that_cannot_be_measured_is_missing_with_its_reason_and_tried_again(tmp_path: Path) -> None:
    def fails() -> None:
        raise CompareError("no adapter")

    one = work(tmp_path, Desk())
    assert one.section("part", fails) is None
    assert one.missing == {"part": "no adapter"}
    assert json.loads((tmp_path / "manifest.json").read_text())["seconds"]["part"] >= 0
    assert one.section("part", lambda: "there") == "there"
    one.options = replace(one.options, tuned=("tone@2",))
    assert one.section("part", fails) is None
    assert not (tmp_path / "sections" / "part.json").exists()


def test_notes_are_on_disk_at_once_and_said_once(tmp_path: Path) -> None:
    one = work(tmp_path, Desk())
    one.notes += ["leaks were not looked for", "leaks were not looked for"]
    one.write()
    assert json.loads((tmp_path / "manifest.json").read_text())["notes"] == ["leaks were not looked for"]


def test_what_decides_is_part_of_what_a_comparison_is_known_by(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text("{}")
    one = Options(cases=(cases,))
    assert one.asked() == Options(cases=(cases,), bar=0.5).asked()
    assert one.asked() != Options(cases=(cases,), primary="token_f1").asked()
    assert one.asked() != Options(cases=(cases,), tuned=("tone@2",)).asked()
    before = one.asked()
    cases.write_text("{} ")
    assert one.asked() != before


def test_the_four_and_what_explains_them_are_asked_unless_told_otherwise() -> None:
    assert Options().wanted() == (*FOUR, *DIAGNOSTICS)
    assert Options(skip=("diagnostics",)).wanted() == FOUR
    assert Options(arms=("rag",)).wanted() == ("rag",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(arms=("shouted",)), "'shouted' does not exist"),
        (Options(primary="beauty"), "'beauty' does not exist"),
        (Options(primary="judge"), "decide"),
        (Options(labels=Path("labels.jsonl")), "--judge"),
    ],
)
def test_options_that_cannot_be_meant_are_one_sentence(options: Options, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        reporting.check(options)


def test_drawing_again_refuses_what_it_would_ignore_and_what_is_not_there(tmp_path: Path) -> None:
    house = cast(Any, SimpleNamespace(root=tmp_path))
    with pytest.raises(UsageError, match="--trained-on"):
        reporting.again(house, Options(trained_on=(Path("x"),)), "id")
    with pytest.raises(CompareError, match="no finished comparison 'id'"):
        reporting.again(house, Options(), "id")
    with pytest.raises(CompareError, match="no finished comparison"):
        reporting.report(tmp_path)
