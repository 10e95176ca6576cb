"""A document in, chunks with exact offsets out; knows tokens only through a counting function, no model and no store.

Two steps. Headings cut the text into sections, and sections too small to stand alone join their neighbours.
A section over the budget goes to `semantic-text-splitter`, which prefers block, line, sentence and word ends, in
that order, so list items, table rows and code lines stay whole wherever one fits.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, pairwise, takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from openbook.records import Chunk, Document

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

Count = Callable[[Sequence[str]], list[int]]
"""Tokens of each text, without special tokens: an Embedder's `count`."""

TINY = 0.25
"""A section below this share of the budget may join a neighbour (docs/chunking.md)."""
RESERVE = 8
"""Tokens left for what an embedder adds to a text: [CLS], [SEP], a prefix like "passage: "."""
PREFIX_SHARE = 0.25
"""At most this share of the embedder's input may go to title and headings."""

_MAYBE_HEADING = re.compile(r"^ {0,3}(?:#{1,6}(?:[ \t]|$)|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
_LINE_END = re.compile(r"\r\n?|\n")
_INLINE_MARKUP = re.compile(r"[*_`\[\]<>&\\!~]")
_WORD = re.compile(
    r"[\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff]|[^\W\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff]{1,16}|[^\w\s]"
)
_APOSTROPHE = re.compile(r"(?<=[^\W_])'(?=[^\W_])")
_LETTER_LIKE = "\u02bc"
"""The apostrophe as a letter: within a word it is one, and the engine cuts at the other as it does at markup."""
_SHOWN = frozenset({"text", "code_inline", "image"})
_MAX_HEADING = 300
_WINDOW = 10
"""Chunks' worth of text given to the engine at a time: it is quadratic in a long unbroken text."""


def split(
    document: Document, *, count: Count, max_tokens: int, chunk_tokens: int = 200, overlap_tokens: int = 30
) -> list[Chunk]:
    """Split a document into chunks of at most `chunk_tokens` tokens, in reading order.

    count, max_tokens: the embedder's. A chunk's `indexed_text` with special tokens stays within max_tokens; title
    and headings that would take more than a quarter of it are shortened.
    overlap_tokens: how much of a long section's chunk is repeated in the next; sections never overlap.
    Every non-space character lies in a chunk, and `document.text[chunk.start:chunk.end] == chunk.text`.

    >>> words = lambda texts: [len(text.split()) for text in texts]
    >>> text = "# Leave\\n\\nTwenty days a year.\\n\\n# Pay\\n\\nMonthly, by bank transfer."
    >>> found = split(Document("hr.md", text, "md", "", len(text)), count=words, max_tokens=99, chunk_tokens=9)
    >>> [(chunk.start, chunk.end, chunk.heading, chunk.title) for chunk in found]
    [(0, 28, ('Leave',), 'hr'), (30, 63, ('Pay',), 'hr')]
    """
    text, size = document.text, _Sizes(count)
    prefix_room = int(max_tokens * PREFIX_SHARE)
    title = _shorten(document.title or _stem(document.name), prefix_room // 2, size)
    pages = [page.start for page in document.pages]
    chunks: list[Chunk] = []
    for section in _join(_sections(text), text, chunk_tokens, size):
        heading = _fit(section.path, title, prefix_room, size)
        frame = Chunk(document.name, 0, 0, "", heading=heading, title=title)
        budget = max(1, min(chunk_tokens, max_tokens - RESERVE - size(frame.indexed_text)))
        for start, end in _spans(text, section, budget, min(overlap_tokens, budget // 2), size):
            page = document.pages[max(0, bisect_right(pages, start) - 1)].number if pages else None
            chunks.append(replace(frame, start=start, end=end, text=text[start:end], page=page))
    return chunks


@dataclass(frozen=True, slots=True)
class _Section:
    """Text from a heading to the next, `text[start:end]`; `body` is where the text below the heading begins."""

    start: int
    body: int
    end: int
    level: int
    path: tuple[str, ...]


class _Sizes:
    """Tokens of any piece of text, each different word counted once: a sum over words, never below the true count.

    Embedders' tokenizers part words before anything else, so words add up; the splitter asks for overlapping
    pieces some six times, and tokenizing anew each time costs ten times the splitting itself.
    """

    def __init__(self, count: Count) -> None:
        self._count = count
        self._words: dict[str, int] = {}
        self._parts: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        words = text.split()
        try:
            return sum(map(self._words.__getitem__, words))
        except KeyError:
            self._learn({word for word in words if word not in self._words})
            return sum(map(self._words.__getitem__, words))

    def _learn(self, words: set[str]) -> None:
        parts = {word: _WORD.findall(word) for word in words}
        new = list({part for found in parts.values() for part in found if part not in self._parts})
        if new:
            self._parts.update(zip(new, (max(1, number) for number in self._count(new)), strict=True))
        for word, found in parts.items():
            self._words[word] = sum(map(self._parts.__getitem__, found))


def _sections(text: str) -> list[_Section]:
    """The text cut at its headings (outside code, lists and quotes), whatever their level."""
    heads = _headings(text) if _MAYBE_HEADING.search(text) else []
    bounds = [*(start for start, *_ in heads), len(text)]
    sections = [_Section(0, 0, bounds[0], 0, ())] if bounds[0] else []
    path: list[tuple[int, str]] = []
    for (start, body, level, title), end in zip(heads, bounds[1:], strict=True):
        path = [item for item in path if item[0] < level] + [(level, title)]
        sections.append(_Section(start, body, end, level, tuple(name for _, name in path)))
    return sections


def _headings(text: str) -> list[tuple[int, int, int, str]]:
    """(start, start of what follows, level, title) of each heading."""
    parser, inline = _parsers()
    lines = [0, *(match.end() for match in _LINE_END.finditer(text)), len(text)]
    tokens = parser.parse(text)
    found = []
    for token, inside in pairwise(tokens):
        if token.type != "heading_open" or token.level or token.map is None:
            continue
        title = " ".join(inside.content.split())
        if not title or "\n" in inside.content or len(title) > _MAX_HEADING:
            continue
        if _INLINE_MARKUP.search(title):
            spans = inline.parseInline(title)[0].children or []
            title = "".join(span.content for span in spans if span.type in _SHOWN).strip() or title
        found.append((lines[token.map[0]], lines[token.map[1]], int(token.tag[1]), title))
    return found


@cache
def _parsers() -> tuple[MarkdownIt, MarkdownIt]:
    """One for the blocks of a text and one for the words of a heading; making them takes longer than most texts."""
    from markdown_it import MarkdownIt

    blocks = MarkdownIt("commonmark").disable("reference")
    blocks.core.ruler.disable(["inline", "text_join"])
    return blocks, MarkdownIt("commonmark")


def _join(sections: Sequence[_Section], text: str, budget: int, size: _Sizes) -> Iterator[_Section]:
    """Join neighbours that fit the budget together and of which one is tiny or lies inside the other.

    A heading with nothing below it always goes with what follows.
    """
    group, used = None, 0
    for section in sections:
        tokens = size(text[section.start : section.end])
        if group is None:
            group, used = section, tokens
            continue
        inside = section.level > group.level
        if used + tokens <= budget and (inside or min(used, tokens) < TINY * budget):
            path = group.path if inside else _common(group.path, section.path)
            group = replace(group, end=section.end, level=min(group.level, section.level), path=path)
            used += tokens
        elif not text[group.body : group.end].strip():
            group, used = replace(section, start=group.start), used + tokens
        else:
            yield group
            group, used = section, tokens
    if group is not None:
        yield group


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(left for left, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _spans(text: str, section: _Section, budget: int, overlap: int, size: _Sizes) -> Iterator[tuple[int, int]]:
    """Spans of at most `budget` tokens that cover a section; a heading stays with the text below it."""
    from semantic_text_splitter import MarkdownSplitter

    whole = text[section.start : section.end]
    tokens = size(whole)
    if tokens <= budget:
        if whole.strip():
            start = section.start + len(whole) - len(whole.lstrip())
            yield start, start + len(whole.strip())
        return
    head = size(text[section.start : section.body])
    # With half the budget gone to headings they are split like text.
    start, room = (section.body, budget - head) if head <= budget // 2 else (section.start, budget)

    def measured(piece: str) -> int:
        return size(piece.replace(_LETTER_LIKE, "'"))

    first, reach = True, 1 + _WINDOW * budget * len(whole) // tokens
    while start < section.end:
        window = text[start : min(section.end, start + reach)]
        engine = MarkdownSplitter.from_callback(measured, room, overlap=min(overlap, room - 1))
        # Python takes four control characters for white space that the engine does not.
        found = engine.chunk_indices(_APOSTROPHE.sub(_LETTER_LIKE, window))
        pieces = [(offset, piece) for offset, piece in found if piece.strip()]
        final = start + len(window) == section.end
        keep = 1 if first else len(pieces) if final else max(1, len(pieces) - 1)
        for offset, piece in pieces[:keep]:
            yield section.start if first else start + offset, start + offset + len(piece)
            first, room = False, budget
        start += pieces[keep][0] if keep < len(pieces) else len(window)


def _stem(name: str) -> str:
    """The file name without extension, of a path or URL."""
    path = urlsplit(name).path if "://" in name else name
    return PurePosixPath(path).stem or name


def _fit(path: tuple[str, ...], title: str, room: int, size: _Sizes) -> tuple[str, ...]:
    """The heading path, its parts shortened and its outermost dropped until title and path take at most `room`."""
    path = tuple(_shorten(part, room // 3, size) for part in path)
    sizes = [size(f"> {part}") for part in path]
    left = room - size(title)
    kept = sum(1 for total in accumulate(reversed(sizes)) if total <= left)
    return path[len(path) - kept :]


def _shorten(text: str, room: int, size: _Sizes) -> str:
    text = " ".join(text.split())
    if size(text) <= room:
        return text
    while text and size(text) >= room:
        text = text[: len(text) * 3 // 4]
    return f"{text.rstrip()}…"
