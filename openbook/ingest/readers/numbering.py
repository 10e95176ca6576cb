"""Word's styles and list definitions: which paragraphs are headings, and what number a list item shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from openbook.ingest.readers.office import attribute, child, local

if TYPE_CHECKING:
    from lxml.etree import _Element

ListPlace = tuple[str, int]
"""(list id, level from 0); list id "" for a paragraph outside lists."""

_MAX_CHAIN = 20
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"))
_ROMAN_LOW = ((9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


class Styles:
    """Paragraph styles by id, with what they inherit."""

    def __init__(self, root: _Element | None) -> None:
        nodes = (node for node in (root if root is not None else ()) if local(node) == "style")
        self._nodes = {attribute(node, "styleId"): node for node in nodes}

    def name(self, style: str) -> str:
        """The style's own name, in English for Word's built-in styles whatever the interface language."""
        return attribute(child(self._nodes.get(style), "name"), "val")

    def heading_level(self, style: str, properties: _Element | None) -> int:
        """1-6 for headings and titles, 0 for other paragraphs."""
        outline = attribute(child(properties, "outlineLvl"), "val")
        for node in self._chain(style):
            name = attribute(child(node, "name"), "val").lower()
            if match := re.fullmatch(r"heading (\d+)", name):
                return min(max(int(match[1]), 1), 6)
            if name == "title":
                return 1
            outline = outline or attribute(child(node, "pPr", "outlineLvl"), "val")
        return min(int(outline) + 1, 6) if outline.isascii() and outline.isdigit() and int(outline[:4]) < 9 else 0

    def list_of(self, style: str, properties: _Element | None) -> ListPlace:
        """The list a paragraph is in, by itself or by its style."""
        place, level = "", ""
        for node in (properties, *(child(item, "pPr") for item in self._chain(style))):
            marks = child(node, "numPr")
            place = place or attribute(child(marks, "numId"), "val")
            level = level or attribute(child(marks, "ilvl"), "val")
        return (
            "" if place == "0" else place,
            min(int(level), 8) if level.isascii() and level.isdigit() and len(level) < 4 else 0,
        )

    def _chain(self, style: str) -> list[_Element]:
        found: list[_Element] = []
        node = self._nodes.get(style)
        while node is not None and len(found) < _MAX_CHAIN:
            found.append(node)
            node = self._nodes.get(attribute(child(node, "basedOn"), "val"))
        return found


class Numbering:
    """List definitions and the counters of one document, advanced item by item."""

    def __init__(self, root: _Element | None) -> None:
        children = list(root) if root is not None else []
        abstract = {attribute(node, "abstractNumId"): node for node in children if local(node) == "abstractNum"}
        self._abstract: dict[str, str] = {}
        self._levels: dict[str, dict[int, _Element]] = {}
        self._starts: dict[tuple[str, int], int] = {}
        for node in (node for node in children if local(node) == "num"):
            number, base = attribute(node, "numId"), attribute(child(node, "abstractNumId"), "val")
            self._levels[number] = _levels(abstract.get(base))
            overridden = False
            for override in (item for item in node if local(item) == "lvlOverride"):
                self._levels[number].update(_levels(override))
                start = attribute(child(override, "startOverride"), "val")
                if start.isascii() and start.isdigit():
                    self._starts[number, _whole(attribute(override, "ilvl"))] = _whole(start)
                    overridden = True
            # Lists of one definition go on counting in each other unless they restart.
            self._abstract[number] = number if overridden else f"abstract {base}"
        self._counts: dict[str, dict[int, int]] = {}
        self._open: list[int] = []
        self._last = ""

    def label(self, place: ListPlace) -> tuple[str, int]:
        """What the next item at this place shows ("-" for bullets, "" outside lists) and how deep it is nested."""
        number, level = place
        if not number or number not in self._levels:
            self._open, self._last = [], ""
            return "", 0
        if number != self._last:
            self._open = [item for item in self._open if item < level] if level else []
            self._last = number
        self._open = [item for item in self._open if item < level] + [level]
        counts = self._counts.setdefault(self._abstract[number], {})
        for deeper in [item for item in counts if item > level]:
            del counts[deeper]
        counts[level] = counts[level] + 1 if level in counts else self._start(number, level)
        depth = len(self._open) - 1
        return self._rendered(number, level, counts), depth

    def _start(self, number: str, level: int) -> int:
        written = attribute(child(self._levels[number].get(level), "start"), "val")
        return self._starts.get((number, level), _whole(written) if written else 1)

    def _rendered(self, number: str, level: int, counts: dict[int, int]) -> str:
        levels = self._levels[number]
        if attribute(child(levels.get(level), "numFmt"), "val") in ("bullet", "none", ""):
            return "-"

        def shown(match: re.Match[str]) -> str:
            index = int(match[1]) - 1
            style = attribute(child(levels.get(index), "numFmt"), "val")
            return _numeral(counts.get(index, self._start(number, index)), style)

        pattern = attribute(child(levels.get(level), "lvlText"), "val")
        return " ".join(re.sub(r"%([1-9])", shown, pattern).split()) or "-"


def _levels(node: _Element | None) -> dict[int, _Element]:
    found = (item for item in (node if node is not None else ()) if local(item) == "lvl")
    return {_whole(attribute(item, "ilvl")): item for item in found}


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


def _numeral(value: int, style: str) -> str:
    if style in ("lowerLetter", "upperLetter") and value > 0:
        letter = chr(ord("a") + (value - 1) % 26) * min(1 + (value - 1) // 26, 8)
        return letter.upper() if style == "upperLetter" else letter
    if style in ("lowerRoman", "upperRoman") and 0 < value < 4000:
        text, rest = "", value
        for size, sign in (*_ROMAN, *_ROMAN_LOW):
            text, rest = text + sign * (rest // size), rest % size
        return text.upper() if style == "upperRoman" else text
    return str(value)
