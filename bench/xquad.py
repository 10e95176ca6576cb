"""XQuAD English articles 1-24 (bench/data/xquad, CC BY-SA 4.0) as paragraph files and questions.

File names are neutral (a03-p02.txt): the article's title would give the paragraph away.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).parent / "data" / "xquad" / "articles-1-24.json"


TRAINED_ON = tuple(f"a{number:02}" for number in range(1, 19))
HELD_OUT = tuple(f"a{number:02}" for number in range(19, 25))
"""The last six articles: no model or retriever of this repository is trained on them."""


class Paragraph(NamedTuple):
    """A paragraph and the file name it is written under."""

    name: str
    article: str
    text: str


class Question(NamedTuple):
    """A question, the file that answers it, and the answer's offsets in that file's text."""

    id: str
    text: str
    paragraph: str
    """The gold paragraph's file name."""
    article: str
    """Prefix of the file names of its article: "a03"."""
    answer: str
    start: int
    end: int


def paragraphs() -> list[Paragraph]:
    """All 120 paragraphs in reading order."""
    return [paragraph for paragraph, _ in _rows()]


def questions() -> list[Question]:
    """All 632 questions in reading order."""
    return [question for _, found in _rows() for question in found]


def held_out() -> list[Question]:
    """The 139 questions about articles 19-24, which are for measuring only."""
    return about(HELD_OUT)


def trained_on() -> list[Question]:
    """The 493 questions about articles 1-18."""
    return about(TRAINED_ON)


def about(articles: Collection[str]) -> list[Question]:
    """The questions about some articles, named "a01" to "a24"."""
    return [question for question in questions() if question.article in articles]


def write(folder: Path, *, articles: Collection[str] | None = None) -> Path:
    """Write one file per paragraph into a new folder; returns it. None is all articles."""
    folder.mkdir(parents=True)
    for paragraph in paragraphs():
        if articles is not None and paragraph.article not in articles:
            continue
        (folder / paragraph.name).write_text(paragraph.text, encoding="utf-8")
    return folder


def _rows() -> Iterator[tuple[Paragraph, list[Question]]]:
    for number, article in enumerate(json.loads(_FILE.read_text(encoding="utf-8"))["data"], start=1):
        label = f"a{number:02}"
        for place, raw in enumerate(article["paragraphs"], start=1):
            name = f"{label}-p{place:02}.txt"
            found = [
                Question(
                    id=one["id"],
                    text=one["question"],
                    paragraph=name,
                    article=label,
                    answer=(answer := one["answers"][0])["text"],
                    start=answer["answer_start"],
                    end=answer["answer_start"] + len(answer["text"]),
                )
                for one in raw["qas"]
            ]
            yield Paragraph(name, label, raw["context"]), found
