"""Conditions, terms, and the index that is rebuilt while it is used."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from openbook.copying import _copy_folder
from openbook.library.conditions import facets
from openbook.library.edge import EdgeIndex
from openbook.library.index import DOC, Between, OneOf, Point, Terms, Where
from openbook.library.terms import Bm25
from openbook.records import Change, Condition, Document
from tests.contracts.library_data import entry, opened

DATES = [
    ("2024-02-29", "=", "2024", True),
    ("2024-12-31T23:59:59", "<=", "2024", True),
    ("2024-12-31T23:59:59", "<", "2024-12-31", False),
    ("2024-12-31", ">", "2024-11", True),
    ("2023-12-31T23:30:00-01:00", "=", "2024-01-01", True),
    ("20240229", "=", "2024-02-29", True),
    ("2024-06-01T10:00:00", "=", "2024-06-01T10:00:00Z", True),
    ("2024-06-01T10:00:00.900", "=", "2024-06-01T10:00:00", True),
    ("9999-12-31", ">=", "9999-12", True),
    ("9999-12-31", "=", "9999", True),
    ("0001-01-01", "<", "1900", True),
    ("1900-02-28", "=", "1900", True),
    ("Tuesday", ">=", "0001", False),
    ("", "!=", "2024", True),
]


def test_dates_are_periods(tmp_path: Path) -> None:
    library = opened(tmp_path)
    library.commit(Change(put=[entry(f"{at}.md", modified=stored) for at, (stored, _, _, _) in enumerate(DATES)]))
    for at, (stored, op, value, expected) in enumerate(DATES):
        condition = Condition("modified", op, value)  # type: ignore[arg-type]
        assert library.matches(condition, f"{at}.md") == expected, (stored, op, value)
    library.close()


def test_facets_leave_out_what_is_unknown_and_cut_essays() -> None:
    found = facets(Document("a", "", "PDF", "", 0, title="T" * 5_000, author=" ", created="2024", modified="soon"))
    assert found == {
        "format": "pdf",
        "title": "t" * 512,
        "author": None,
        "created": 1_704_067_200,
        "modified": None,
    }


def test_the_same_text_always_gives_the_same_terms() -> None:
    one, other = Bm25().document("Vacation days; vacations."), Bm25().document("Vacation days; vacations.")
    assert one == other
    assert sorted(one.indices) == sorted(Bm25().query("a vacation day").indices)
    assert one.indices == [520205939, 1253263062], "hashes of terms are stored: another hash needs another SCHEME"


@pytest.mark.parametrize(("text", "terms"), [("", 0), ("the of and !?", 0), ("\ud800 word", 1), ("日本語 word", 3)])
def test_terms_of_odd_texts(text: str, terms: int) -> None:
    assert len(Bm25().query(text).indices) == terms


def _points(first: int, count: int, doc: int, rng: np.random.Generator) -> list[Point]:
    vectors = rng.normal(size=(count, 8))
    return [
        Point(first + number, vectors[number].tolist(), Terms([7], [1.0]), {DOC: doc, "born": 1, "acl": ["*"]})
        for number in range(count)
    ]


def test_an_index_can_be_copied_while_it_is_rebuilt(tmp_path: Path) -> None:
    """A copy is of one moment: the shard that is in use then, whole, although another takes its place meanwhile."""
    rng = np.random.default_rng(3)
    index = EdgeIndex(tmp_path / "index", dimensions=8, create=True, worth=500)
    index.upsert(_points(0, 2_000, 0, rng))
    builder = threading.Thread(target=index.optimize)
    builder.start()
    while index._since_copy is None and builder.is_alive():
        time.sleep(0.001)
    with index.still():
        used = (tmp_path / "index" / "current").read_text(encoding="ascii")
        builder.join(1)  # whether it is done by then or not, it does not switch
        assert (tmp_path / "index" / "current").read_text(encoding="ascii") == used
        _copy_folder(tmp_path / "index", tmp_path / "room" / "copy", set())
    builder.join()
    index.upsert(_points(5_000, 1, 1, rng))
    index.close()
    assert [one.name for one in (tmp_path / "room" / "copy").glob("shard-*")] == [used]
    copy = EdgeIndex(tmp_path / "room" / "copy", dimensions=8, create=False)
    assert copy.count() == 2_000
    copy.close()


def test_an_index_is_rebuilt_while_it_is_searched_and_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    index = EdgeIndex(tmp_path, dimensions=8, create=True, worth=500)
    for start in range(0, 2_000, 500):
        index.upsert(_points(start, 500, start, rng))
    assert index.count() == 2_000
    built: list[bool] = []
    builder = threading.Thread(target=lambda: built.append(index.optimize()))
    builder.start()
    while index._since_copy is None and builder.is_alive():
        time.sleep(0.001)
    index.delete(Where(must=(OneOf(DOC, [0]),)))
    index.upsert(_points(10_000, 300, 9, rng))
    index.assign(Where(must=(OneOf(DOC, [500]),)), "died", 4)
    index.assign(Where(must=(OneOf(DOC, [9]),)), "died", 4)
    index.assign(Where(must=(OneOf(DOC, [9]),)), "died", None)
    index.upsert(_points(20_000, 1, 10, rng))
    index.delete(Where(must=(OneOf(DOC, [10]),)))
    before = index.search([1.0] * 8, Terms([7], [1.0]), Where(), 5_000, corpus=None)
    builder.join()
    assert built == [True]
    for again in (False, True):
        if again:
            index.close()
            index = EdgeIndex(tmp_path, dimensions=8, create=False, worth=500)
        assert index.count() == 1_800
        assert index.count(Where(must=(Between("died", at_least=0),))) == 500
        after = index.search([1.0] * 8, Terms([7], [1.0]), Where(), 5_000, corpus=None)
        assert {one.id: round(one.score, 5) for one in after[0]} == {one.id: round(one.score, 5) for one in before[0]}
        assert {one.id for one in after[1]} == {one.id for one in before[1]}
        assert len(list(tmp_path.glob("shard-*"))) == 1
        assert index.optimize() is False
    index.close()


def test_closing_gives_up_a_build(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    index = EdgeIndex(tmp_path, dimensions=8, create=True, worth=500)
    for start in range(0, 5_000, 500):
        index.upsert(_points(start, 500, start, rng))
    built: list[bool] = []
    builder = threading.Thread(target=lambda: built.append(index.optimize()))
    builder.start()
    while index._child is None and builder.is_alive():
        time.sleep(0.001)
    index.close()
    builder.join()
    assert built == [False]
    index = EdgeIndex(tmp_path, dimensions=8, create=False)
    assert index.count() == 5_000
    assert len(list(tmp_path.glob("shard-*"))) == 1
    index.close()
