"""Chunks and a generator in, questions the model wrote out, each checked like the others. Knows no provider.

The answer must stand verbatim in the chunk. What a model babbles is read leniently, counted and left out; a model that
keeps failing is not asked further.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from openbook.errors import OpenbookError
from openbook.questions import filters
from openbook.questions.draft import Draft, Made
from openbook.questions.locate import find
from openbook.questions.shelf import Shelf
from openbook.records import Chunk, Document, Message, Sampling
from openbook.seams import Generator, Progress

SHARE = 0.5
"""At most this share of the questions comes from the model."""
_EACH = 2
"""Questions asked for per chunk."""
_PATIENCE = 5
"""Failed replies in a row after which the model is not asked further."""
_SHORTEST = 200
"""Characters of a chunk worth asking about."""
_TOKENS = 300
_SYSTEM = (
    "You write quiz questions about a company's documents. Someone who has not seen the text must understand each "
    'question: name what it is about, never say "the text", "the passage" or "this document". The answer is a short '
    "phrase copied word for word from the text. Use other words in the question than the text does. "
    'Reply with JSON lines only, like {"question": "...", "answer": "..."}'
)
_PAIR = re.compile(
    r"(?:^|\n)\W*(?:\d+[.)]\s*)?(?:question|q)\W{0,4}\d*\W{0,4}[:.]\W*(?P<question>[^\n]{5,300}?)\W*\n+"
    r"\W*(?:answer|a)\W{0,4}\d*\W{0,4}[:.][ \t*]*(?P<answer>[^\n]{1,300})",
    re.IGNORECASE,
)


def asked(
    shelf: Shelf,
    generator: Generator,
    limit: int,
    seed: int,
    rejected: Counter[str],
    progress: Progress | None = None,
) -> tuple[list[Made], list[str]]:
    """(questions that passed every check, notes); chunks are taken in turn from each document, as the seed draws."""
    made: list[Made] = []
    failures = asks = 0
    wanted = max(1, int(SHARE * limit))
    for document, chunk, chunks in _chunks(shelf, seed):
        if len(made) >= wanted:
            break
        if progress is not None:
            progress("endpoint", len(made), wanted)
        asks += 1
        reply, trouble = _reply(generator, chunk)
        pairs = parse(reply) if not trouble else []
        if not pairs:
            rejected["endpoint: " + ("no reply" if trouble else "reply without a question")] += 1
            failures += 1
            if failures >= _PATIENCE:
                reason = trouble or "its replies hold no question with an answer"
                return made, [f"{generator.name!r} was asked about {asks} passages and then no more: {reason}"]
            continue
        failures = 0
        for question, answer in pairs[: 2 * _EACH]:
            one = _made(question, answer, document, chunk, chunks, rejected)
            if one is not None:
                made.append(one)
    return made[:wanted], []


def parse(reply: str) -> list[tuple[str, str]]:
    """(question, answer) pairs of a reply: JSON lines, a JSON array, or lines "Question: ... Answer: ...".

    >>> parse('Sure!\\n{"question": "Who pays?", "answer": "Clef"}')
    [('Who pays?', 'Clef')]
    """
    found: list[tuple[str, str]] = []
    decoder = json.JSONDecoder()
    at = reply.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found += _pairs(value)
        at = reply.find("{", end)
    if not found:
        found = [(match["question"].strip(' *"'), match["answer"].strip(' *"')) for match in _PAIR.finditer(reply)]
    return [(_line(question), answer.strip()) for question, answer in found if question.strip() and answer.strip()]


def _pairs(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        fields = {str(name).strip().lower(): inner for name, inner in value.items()}
        question, answer = fields.get("question", fields.get("q")), fields.get("answer", fields.get("a"))
        if isinstance(question, str) and isinstance(answer, str | int | float):
            yield question, str(answer)
        for inner in value.values():
            if isinstance(inner, list):
                for one in inner:
                    yield from _pairs(one)


def _line(question: str) -> str:
    text = " ".join(question.split())
    return text if text.endswith("?") else f"{text.rstrip('.:;')}?"


def _reply(generator: Generator, chunk: Chunk) -> tuple[str, str]:
    """(text, why there is none)."""
    messages = [Message("system", _SYSTEM), Message("user", f"Text:\n{chunk.text}\n\nWrite {_EACH} questions.")]
    try:
        stream = generator.stream(messages, Sampling(max_tokens=_TOKENS))
        return "".join(piece for piece in stream if isinstance(piece, str)), ""
    except OpenbookError as error:
        return "", str(error)
    except Exception as error:  # noqa: BLE001  a generator is anyone's; its failure never stops the build
        return "", f"{type(error).__name__}: {error}"


def _made(
    question: str, answer: str, document: Document, chunk: Chunk, chunks: Sequence[Chunk], rejected: Counter[str]
) -> Made | None:
    place = find(answer, chunk.text) or find(answer.rstrip("."), chunk.text)
    if place is None:
        rejected["endpoint: the answer is not in the passage"] += 1
        return None
    span = chunk.start + place[0], chunk.start + place[1]
    draft = Draft(question, *span, source=(chunk.start, chunk.end), form="endpoint")
    case = filters.case(draft, document, chunks, rejected)
    return Made(case, draft) if case is not None else None


def _chunks(shelf: Shelf, seed: int) -> Iterator[tuple[Document, Chunk, list[Chunk]]]:
    """Every chunk worth asking about: one of each document, then another of each."""
    names = [info.name for info in shelf.infos]
    drawn = random.Random(seed)
    drawn.shuffle(names)
    orders: dict[str, list[int]] = {}
    turn = 0
    while names:
        left = []
        for name in names:
            document, chunks = shelf.document(name), shelf.chunks(name)
            if name not in orders:
                orders[name] = [at for at, chunk in enumerate(chunks) if len(chunk.text) >= _SHORTEST]
                random.Random(f"{seed} {name}").shuffle(orders[name])
            if document is not None and turn < len(orders[name]):
                left.append(name)
                yield document, chunks[orders[name][turn]], chunks
        names, turn = left, turn + 1
