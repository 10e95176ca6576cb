"""Price sheets: what may stand in them, and where every number of one comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.compare.prices import UNITS, Prices, load
from openbook.errors import UsageError


def sheet(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_default_has_a_unit_and_a_source() -> None:
    rows = Prices().rows()
    assert [row["name"] for row in rows] == list(UNITS)
    assert all(row["unit"] and row["source"] for row in rows)


def test_a_default_from_a_public_source_is_dated() -> None:
    for row in Prices().rows():
        assert bool(row["date"]) == ("https://" in row["source"]), row


def test_the_sheet_says_which_numbers_are_the_users_own(tmp_path: Path) -> None:
    path = sheet(tmp_path, 'machine_hour = 0.2\nsource = "our invoice"\ndate = 2026-10-01\n')
    rows = {row["name"]: row for row in load(path).rows()}
    assert (rows["machine_hour"]["value"], rows["machine_hour"]["source"]) == (0.2, "our invoice")
    assert rows["machine_hour"]["date"] == "2026-10-01"
    assert rows["training_hour"]["source"] == "our invoice"  # follows machine_hour
    assert "our invoice" not in rows["labour_hour"]["source"]


def test_without_a_source_the_file_is_the_source(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in load(sheet(tmp_path, "labour_hour = 60\n")).rows()}
    assert rows["labour_hour"]["source"] == "prices.toml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("machine_hours = 1\n", ["'machine_hours'", "did you mean 'machine_hour'?"]),
        ("labour_hour = -1\n", ["labour_hour", "-1", "not below 0"]),
        ('labour_hour = "60"\n', ["labour_hour", "'60'"]),
        ("labour_hour = true\n", ["labour_hour", "True"]),
        ("labour_hour = nan\n", ["labour_hour", "nan"]),
        ("months = 0\n", ["months", "how many months"]),
        ("retrain_share = 2\n", ["retrain_share", "share from 0 to 1"]),
        ('currency = ""\n', ["currency"]),
        ('currency = "EUR"\nmachine_hour = 0.1\n', ["'EUR'", "labour_hour", "USD"]),
        ("own = [1]\n", ["'own'"]),
        ("[machine]\nhour = 1\n", ["'machine'"]),
        ("machine_hour = \n", ["prices.toml", "no TOML"]),
    ],
)
def test_a_sheet_that_is_wrong_is_refused_in_one_sentence(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load(sheet(tmp_path, text))
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert "\n" not in said


def test_a_sheet_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml.*No such file"):
        load(tmp_path / "nowhere.toml")
