"""Whatever is asked or answered: a citation's quote is the document's text at its offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openbook.answer import cite, extractive
from openbook.ingest.split import split
from openbook.records import Document, Hit

if TYPE_CHECKING:
    from openbook.seams import Progress, Vectors


class LetterCounts:
    """A shipped-fake embedder: letter frequencies as unit vectors."""

    fingerprint = "letters"
    dimensions = 27
    max_tokens = 256

    def embed(self, texts: Sequence[str], *, kind: str, progress: Progress | None = None) -> Vectors:
        counts = np.array([[1.0, *(text.lower().count(chr(97 + n)) for n in range(26))] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


_WORDS = st.sampled_from(
    (
        *"Leave is 15 days. Ünïcode naïve 🙂 e.g. Dr. No not 1,000 $5k | a | b | **bold** - # Title [1]".split(),
        *("word\u00a0word", "\n", "\n\n", "\r\n"),
    )
)
_TEXTS = st.lists(st.one_of(_WORDS, st.text(max_size=12)), min_size=1, max_size=60).map(" ".join)


def _hits(text: str) -> tuple[Document, list[Hit]]:
    document = Document("a.md", text, "md", "", len(text))
    embedder = LetterCounts()
    chunks = split(document, count=embedder.count, max_tokens=256, chunk_tokens=12)
    return document, [Hit(chunk, score=0.0) for chunk in chunks]


@given(_TEXTS, st.data())
def test_citations_of_a_written_answer_point_into_the_document(text: str, data: st.DataObject) -> None:
    document, hits = _hits(text)
    start = data.draw(st.integers(0, max(0, len(text) - 1)))
    stolen = text[start : start + data.draw(st.integers(1, 80))]
    answer = data.draw(st.sampled_from((stolen, f"{stolen} [1].", f"It says {stolen} [2]. And {stolen}", text)))
    for citation in cite.check(answer, hits, question="What is leave?").citations:
        assert citation.quote == document.text[citation.start : citation.end]
        assert citation.quote.strip()


@given(_TEXTS, st.text(max_size=40))
def test_citations_of_extracted_sentences_point_into_the_document(text: str, question: str) -> None:
    document, hits = _hits(text)
    checked = extractive.extract(question, hits, LetterCounts())
    for citation in checked.citations:
        assert citation.quote == document.text[citation.start : citation.end]
        assert 0 <= citation.sentence < len(checked.sentences)
