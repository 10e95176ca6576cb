"""The chunks, vectors and questions every side gets: real text from this repository, the same at every run.

Real chunks are windows of 40-150 words that begin at every sentence of the 120 XQuAD paragraphs and of the
handbook sample. Beyond them, for the large sizes, chunks are made of sentences drawn from one document; their vector
is made of their sentences' vectors and of a topic twenty of them share, for the price of embedding the sentences
once. No side knows which is which.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
Vectors = npt.NDArray[np.float32]
_PER_TOPIC, _TOPIC_NOISE, _CHUNK_NOISE = 20, 0.3, 0.15
"""Chunks of a made document; lengths of the noise beside unit vectors (docs/decisions/0066)."""
_LONGEST = 1000
"""Characters of a sentence."""
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Made:
    """A made chunk: which sentences it holds."""

    sentences: tuple[int, ...]
    """Positions in the list of all sentences."""
    text: str


def documents() -> list[str]:
    """The texts chunks are cut from: XQuAD paragraphs and the handbook's files."""
    xquad = _xquad()
    handbook = sorted((ROOT / "openbook" / "sample" / "handbook").rglob("*.md"))
    return [
        *(paragraph["context"] for article in xquad for paragraph in article["paragraphs"]),
        *(_LINK.sub(r"\1", path.read_text(encoding="utf-8")) for path in handbook),
    ]


def questions() -> list[str]:
    """The XQuAD questions, in a fixed shuffled order."""
    paragraphs = [paragraph for article in _xquad() for paragraph in article["paragraphs"]]
    found: list[str] = [entry["question"] for paragraph in paragraphs for entry in paragraph["qas"]]
    random.Random(7).shuffle(found)
    return found


def _xquad() -> list[dict[str, Any]]:
    content = json.loads((ROOT / "bench" / "data" / "xquad" / "articles-1-24.json").read_text(encoding="utf-8"))
    return list(content["data"])


def sentences(text: str) -> list[str]:
    """Sentences and lines of a text, good enough to cut windows at; table rules and addresses left out."""
    pieces = (" ".join(piece.split()) for piece in re.split(r"(?<=[.!?])\s+|\n+", text))
    return [piece for piece in pieces if 2 < len(piece) <= _LONGEST and _is_prose(piece)]


def _is_prose(text: str) -> bool:
    return sum(character.isalpha() for character in text) >= 0.6 * len(text) and max(map(len, text.split())) <= 40


def real_chunks(count: int) -> list[str]:
    """Up to `count` distinct windows of the documents, shuffled."""
    draw = random.Random(11)
    windows = dict.fromkeys(window for words in (150, 110, 70, 40) for window in _windows(words))
    chunks = list(windows)
    draw.shuffle(chunks)
    return chunks[:count]


def _windows(words: int) -> Iterator[str]:
    for document in documents():
        pieces = sentences(document)
        for start in range(len(pieces)):
            end, size = start, 0
            while end < len(pieces) and (end == start or size + len(pieces[end].split()) <= words):
                size += len(pieces[end].split())
                end += 1
            if size >= 20:
                yield " ".join(pieces[start:end])


def all_sentences() -> list[str]:
    """Every distinct sentence of the documents."""
    return list(dict.fromkeys(piece for document in documents() for piece in sentences(document)))


def made_chunks(count: int) -> list[Made]:
    """`count` distinct chunks of 2-6 sentences, each drawn from one document, 30-150 words."""
    draw = random.Random(13)
    place = {sentence: at for at, sentence in enumerate(all_sentences())}
    groups = [group for document in documents() if len(group := sentences(document)) >= 4]
    weights = [len(group) for group in groups]
    made: dict[str, Made] = {}
    while len(made) < count:
        (group,) = draw.choices(groups, weights)
        picked = draw.sample(group, min(len(group), draw.randint(2, 6)))
        text = " ".join(picked)
        if 30 <= len(text.split()) <= 150:
            made[text] = Made(tuple(place[sentence] for sentence in picked), text)
    return list(made.values())


def made_vectors(made: Sequence[Made], sentence_vectors: Vectors) -> Vectors:
    """Unit vectors of made chunks, [len(made), dimensions], from the vectors of all sentences.

    Each run of _PER_TOPIC chunks is one made document with a topic of its own (the mean of three sentences from
    anywhere, plus noise), added to the mean of the chunk's own sentences: without topics, hundreds of chunks of each
    real document would crowd one spot, at twice the local dimension real text has.
    """
    draw = np.random.default_rng(17)
    count, width = len(made), sentence_vectors.shape[1]

    def noise(rows: int, length: float) -> Vectors:
        return draw.standard_normal((rows, width), dtype=np.float32) * np.float32(length / np.sqrt(width))

    topics = -(-count // _PER_TOPIC)
    topic = _unit(sentence_vectors[draw.integers(0, len(sentence_vectors), (topics, 3))].mean(axis=1))
    topic += noise(topics, _TOPIC_NOISE)
    means = np.array([sentence_vectors[list(chunk.sentences)].mean(axis=0) for chunk in made])
    return _unit(_unit(means) + topic[np.arange(count) // _PER_TOPIC] + noise(count, _CHUNK_NOISE))


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def exact(vectors: Vectors, queries: Vectors, k: int) -> list[list[int]]:
    """The k nearest rows by cosine for every query: the truth recall is measured against."""
    return [[int(at) for at in np.argsort(-(vectors @ query), kind="stable")[:k]] for query in queries]


def recall(found: Sequence[Sequence[int]], truth: Sequence[Sequence[int]]) -> float:
    """Mean share of the true neighbours that were found."""
    return sum(len(set(a) & set(b)) / len(b) for a, b in zip(found, truth, strict=True)) / len(truth)
