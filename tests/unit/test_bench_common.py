from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import common


def test_a_spread_holds_median_and_nearest_rank_percentiles() -> None:
    result = common.spread([float(value) for value in range(1, 101)])
    assert result["median"] == 50.5
    assert (result["p25"], result["p75"], result["p95"]) == (25, 75, 95)
    assert (result["n"], result["min"], result["max"]) == (100, 1, 100)


def test_a_spread_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no measurements"):
        common.spread([])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.00123, "0.00123"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (99.99, "100.0"),
        (1234.5, "1,234"),
        (None, "-"),
        ("x", "x"),
    ],
)
def test_numbers_are_shown_with_three_significant_digits(value: object, shown: str) -> None:
    assert common.number(value) == shown


def test_a_table_is_markdown_with_equal_line_lengths() -> None:
    lines = common.table(["side", "ms"], [["openbook", 1.5], ["a much longer name", None]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("|-")
    assert lines[1].endswith(":|")


def test_a_result_file_says_when_how_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "OUT", tmp_path)
    content = json.loads(common.write_json("example", {"a": 1}).read_text(encoding="utf-8"))
    assert content["results"] == {"a": 1}
    assert content["machine"]["cores"] >= 1
    assert content["date"].endswith("+00:00")
    assert content["command"].startswith("python")
