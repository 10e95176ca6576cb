"""A language of two dialects and a tiny embedder that knows neither: questions share no word with what answers them.

Documents are written in one dialect, questions in the other, letter by letter; what is learned from some documents
holds for others.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from openbook.records import Case, Span
from tests.tiny_models import write_bert

ASKED, WRITTEN = "abcdefghijkl", "mnopqrstuvwx"
SAYS = dict(zip(ASKED, WRITTEN, strict=True))


def documents() -> dict[str, str]:
    """66 documents of two words each by name."""
    return {f"{one}{two}.txt": f"{SAYS[one]} {SAYS[two]}" for one, two in combinations(ASKED, 2)}


def cases() -> list[Case]:
    """Two questions on each document."""
    found = []
    for name, text in documents().items():
        one, two = name[0], name[1]
        found += [Case(f"{a} {b}", (text,), (Span(name, 0, len(text)),)) for a, b in ((one, two), (two, one))]
    return found


def write(folder: Path) -> Path:
    """The documents as files whose names tell nothing, and beside them (`../model`) an embedder with random weights."""
    folder.mkdir(parents=True)
    for number, text in enumerate(documents().values()):
        (folder / f"{number}.txt").write_text(text)
    write_bert(folder.parent / "model")
    return folder
