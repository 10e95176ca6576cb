"""Whatever the text, chunks hold exact spans, lose nothing and fit the embedder."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.ingest.split import split
from openbook.records import Document, Page

MARKS = [
    "# ",
    "## ",
    "###### ",
    "- ",
    "  * ",
    "1. ",
    "> ",
    "| a | b |",
    "|---|---|",
    "```",
    "~~~py",
    "    ",
    "\t",
    "---",
    "===",
]
SPACES = ["\n", "\n\n", "\r\n", "\r", " ", "\u2028", "\u00a0", "\x0b", "\x1c", "\x85", "\u3000"]
WORDS = [
    "leave",
    "Twenty days.",
    "e\u0301" * 3,
    "漢字",
    "👩‍👩‍👧",
    "a" * 70,
    "<b>",
    "[x](y)",
    "\x00",
    "ไทย",
    "ß.",
    "&amp;",
    "*",
    "\ufeff",
]
pieces = st.one_of(st.sampled_from(MARKS), st.sampled_from(SPACES), st.sampled_from(WORDS), st.text(max_size=6))
markdown = st.lists(pieces, max_size=120).map("".join)


def count(texts: Sequence[str]) -> list[int]:
    """Like WordPiece: runs of up to four letters, and every other character."""
    return [sum(-(-len(word) // 4) for word in text.split()) for text in texts]


def document(text: str, title: str = "", pages: tuple[Page, ...] = ()) -> Document:
    return Document("folder/notes.md", text, "md", "", len(text), title=title, pages=pages)


@settings(max_examples=400, deadline=None)
@given(markdown, st.integers(1, 40), st.data(), st.text(max_size=60))
def test_chunks_are_exact_lose_nothing_and_fit(text: str, budget: int, data: st.DataObject, title: str) -> None:
    overlap = data.draw(st.integers(0, budget // 2))
    chunks = split(document(text, title), count=count, max_tokens=64, chunk_tokens=budget, overlap_tokens=overlap)
    covered = bytearray(len(text))
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip()
        covered[chunk.start : chunk.end] = b"\1" * len(chunk.text)
        assert count([chunk.indexed_text])[0] + 2 <= 64 or len(chunk.text) == 1
    lost = [text[i] for i, seen in enumerate(covered) if not seen and not text[i].isspace()]
    assert not lost
    assert [c.start for c in chunks] == sorted({c.start for c in chunks})
    if not overlap:
        assert all(one.end <= other.start for one, other in itertools.pairwise(chunks))
    again = split(document(text, title), count=count, max_tokens=64, chunk_tokens=budget, overlap_tokens=overlap)
    assert chunks == again


@given(st.lists(st.text("ab \n", max_size=50), min_size=1, max_size=8))
def test_a_chunk_knows_the_page_it_starts_on(texts: list[str]) -> None:
    pages, offset = [], 0
    for number, text in enumerate(texts, 1):
        pages.append(Page(number, offset, offset + len(text)))
        offset += len(text)
    for chunk in split(document("".join(texts), pages=tuple(pages)), count=count, max_tokens=64, chunk_tokens=4):
        assert any(page.number == chunk.page and page.start <= chunk.start < page.end for page in pages)
