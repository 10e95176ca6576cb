"""Text in, BM25 terms out; the same for every index, so that embedded and server libraries rank alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from openbook.library.index import Terms

if TYPE_CHECKING:
    import qdrant_edge

SCHEME = "bm25-english-1"
"""Stored in the catalog: terms of different schemes cannot be compared."""

# Scripts written without spaces (Thai, Lao, Myanmar, Khmer, kana, Han): split by dictionary instead of at white space.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
)


class Bm25:
    """Stemmed, accent-folded, stop words dropped. Thread-safe.

    >>> bm25 = Bm25()
    >>> bm25.query("vacation days").indices == bm25.query("Vacations, day!").indices
    True
    """

    def __init__(self) -> None:
        import qdrant_edge as edge

        self._spaced = edge.Bm25(edge.Bm25Config(ascii_folding=True))
        self._unspaced = edge.Bm25(edge.Bm25Config(ascii_folding=True, tokenizer=edge.TokenizerType.Multilingual))

    def document(self, text: str) -> Terms:
        """Terms weighted by frequency and length (k 1.2, b 0.75, mean length 256)."""
        found = self._model(text).embed_document(_encodable(text))
        return Terms(found.indices, found.values)

    def query(self, text: str) -> Terms:
        """Each distinct term with weight 1; empty for a text of stop words and punctuation."""
        found = self._model(text).embed_query(_encodable(text))
        return Terms(found.indices, found.values)

    def _model(self, text: str) -> qdrant_edge.Bm25:
        return self._unspaced if _UNSPACED.search(text) else self._spaced


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
