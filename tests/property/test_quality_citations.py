"""Whatever is asked or answered: a citation's quote is the document's text at its offsets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.answer import cite, extractive
from openbook.errors import ReadError
from openbook.ingest.readers import read
from openbook.ingest.split import split
from openbook.prose import sentences
from openbook.records import Document, Hit
from openbook.settings import Ingest

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


def _hits(document: Document, *, chunk_tokens: int) -> list[Hit]:
    chunks = split(document, count=LetterCounts().count, max_tokens=256, chunk_tokens=chunk_tokens)
    return [Hit(chunk, score=0.0) for chunk in chunks]


def _document(text: str) -> Document:
    return Document("a.md", text, "md", "", len(text))


@settings(deadline=None)
@given(_TEXTS, st.data())
def test_citations_of_a_written_answer_point_into_the_document(text: str, data: st.DataObject) -> None:
    document = _document(text)
    hits = _hits(document, chunk_tokens=12)
    start = data.draw(st.integers(0, max(0, len(text) - 1)))
    stolen = text[start : start + data.draw(st.integers(1, 80))]
    answer = data.draw(st.sampled_from((stolen, f"{stolen} [1].", f"It says {stolen} [2]. And {stolen}", text)))
    for citation in cite.check(answer, hits, question="What is leave?").citations:
        assert citation.quote == document.text[citation.start : citation.end]
        assert citation.quote.strip()


@settings(deadline=None)
@given(_TEXTS, st.text(max_size=40))
def test_citations_of_extracted_sentences_point_into_the_document(text: str, question: str) -> None:
    document = _document(text)
    hits = _hits(document, chunk_tokens=12)
    checked = extractive.extract(question, hits, extractive.Ranker(LetterCounts()))
    for citation in checked.citations:
        assert citation.quote == document.text[citation.start : citation.end]
        assert 0 <= citation.sentence < len(checked.sentences)


FIXTURES = Path(__file__).parent.parent / "fixtures" / "documents"
FORMATS = ("csv", "docx", "eml", "epub", "html", "ipynb", "json", "jsonl", "md", "msg", "pdf", "pptx", "xls", "xlsx")


@cache
def _fixtures() -> dict[str, list[Document]]:
    """Up to four readable documents of each format; broken ones are other tests' subject."""
    found: dict[str, list[Document]] = {}
    for path in sorted(FIXTURES.rglob("*")):
        kind = path.suffix.lstrip(".").lower()
        if path.is_file() and kind in FORMATS and len(found.setdefault(kind, [])) < 4 and path.stat().st_size < 500_000:
            try:
                documents = read(path, name=path.name, limits=Ingest()).documents
            except ReadError:
                continue
            found[kind].extend(document for document in documents if document.text.strip())
    return found


@pytest.mark.parametrize("kind", FORMATS)
def test_citations_point_into_real_documents_of_every_format(kind: str) -> None:
    documents = _fixtures().get(kind, [])
    assert documents, f"no readable {kind} file among the fixtures"
    cited = 0
    for document in documents:
        hits = _hits(document, chunk_tokens=60)[:40]
        spans = sentences(document.text)
        for span in spans[:: max(1, len(spans) // 8)][:8]:
            asked = document.text[span.start : span.end][:300]
            said = cite.check(f"{asked} [1]. It goes on: {asked}", hits).citations
            taken = extractive.extract(asked, hits[:3], extractive.Ranker(LetterCounts())).citations
            for citation in (*said, *taken):
                assert citation.document == document.name
                assert citation.quote == document.text[citation.start : citation.end]
                cited += 1
    assert cited
