"""Answers and rows for tests of scores."""

from __future__ import annotations

from collections.abc import Sequence

from openbook.compare.schema import Row
from openbook.prompt import ABSTENTION
from openbook.records import Answer, Arm, Chunk, Citation, Hit, Timings


def hit(text: str, document: str = "d.md", start: int = 0) -> Hit:
    return Hit(Chunk(document, start, start + len(text), text), score=1.0)


def cites(one: Hit, quote: str, sentence: int = 0) -> Citation:
    at = one.chunk.start + one.chunk.text.index(quote)
    return Citation(one.chunk.document, None, at, at + len(quote), quote, sentence)


def answer(
    text: str,
    *,
    arm: Arm = "rag",
    hits: Sequence[Hit] = (),
    citations: Sequence[Citation] = (),
    written: str | None = None,
) -> Answer:
    refused = text == ABSTENTION
    return Answer(
        text=text,
        abstained=refused,
        citations=tuple(citations),
        sentences=(),
        hits=tuple(hits),
        prompt="",
        model="m",
        adapter=None,
        arm=arm,
        prompt_tokens=10,
        answer_tokens=5,
        seconds=Timings(0.0, 0.0, 0.0, 0.0),
        library_version=1,
        written=text if written is None else written,
    )


def row(case: str, said: Answer | str | None, arm: str = "rag") -> Row:
    if isinstance(said, str):
        said = answer(said, arm="base" if arm == "base" else "rag")
    return Row(case, arm, said)
