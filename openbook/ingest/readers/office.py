"""What Word, PowerPoint and Excel files share: parts, relations, core properties, charts. Knows no single format."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from openbook.errors import ReadError
from openbook.ingest.readers import markdown, zipped
from openbook.ingest.readers.parsed import Budget, iso_of, one_line

if TYPE_CHECKING:
    from lxml.etree import _Element

_PREFIXES = {
    "wordprocessingml/main": "w",
    "officeDocument/math": "m",
    "officeDocument/2006/math": "m",
    "drawingml/main": "a",
    "drawingml/2006/main": "a",
    "wordprocessingml/2006/main": "w",
    "drawingml/chart": "c",
    "drawingml/2006/chart": "c",
    "markup-compatibility/2006": "mc",
    "officeDocument/relationships": "r",
    "officeDocument/2006/relationships": "r",
    "wordprocessingDrawing": "wp",
    "wordprocessingShape": "wps",
    "schemas-microsoft-com:vml": "v",
    "drawingml/2006/diagram": "dgm",
    "drawingml/diagram": "dgm",
    "spreadsheetml/main": "s",
    "spreadsheetml/2006/main": "s",
}
"""Ends of namespaces, alike in transitional and strict files."""


class Properties(NamedTuple):
    """What an Office file says about itself."""

    title: str
    author: str
    created: str
    modified: str


class Package:
    """An Office file's parts with their relations; ReadError when they unpack to more than the budget."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        self.parts = zipped.parts(data, budget)

    def xml(self, name: str) -> _Element | None:
        """A part's root, or None when it is missing; ReadError when it is no XML."""
        from lxml import etree

        if name not in self.parts:
            return None
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, remove_comments=True)
        try:
            return etree.fromstring(self.parts[name], parser)
        except (etree.XMLSyntaxError, ValueError) as error:
            raise ReadError(f"damaged: {name} is no XML ({error})") from None

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """Relation id -> (kind, part name) of a part ("" is the whole file); outside targets are left out."""
        folder, file = posixpath.split(name)
        root = self.xml(posixpath.join(folder, "_rels", f"{file}.rels"))
        return {
            relation.get("Id", ""): (
                relation.get("Type", "").rsplit("/", 1)[-1],
                zipped.resolve(folder, relation.get("Target", "")),
            )
            for relation in (root if root is not None else ())
            if relation.get("TargetMode") != "External"
        }

    def main_part(self) -> str:
        """The part the whole file is about."""
        for kind, target in self.relations("").values():
            if kind == "officeDocument" and target in self.parts:
                return target
        raise ReadError("damaged: the main part is missing")

    def properties(self) -> Properties:
        """The core properties; "" where unset."""
        name = next(
            (part for kind, part in self.relations("").values() if kind == "core-properties"), "docProps/core.xml"
        )
        root = self.xml(name)
        found = {local(node): node.text or "" for node in (root if root is not None else ())}
        return Properties(
            title=one_line(found.get("title", "")),
            author=one_line(found.get("creator", "")),
            created=iso_of(found.get("created", "")),
            modified=iso_of(found.get("modified", "")),
        )


def local(node: _Element) -> str:
    """An element's name without its namespace; "" for comments."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def tag(node: _Element) -> str:
    """An element's name with its usual prefix, alike for strict and transitional files: "w:p", "a:t"."""
    if not isinstance(node.tag, str):
        return ""
    space, _, name = node.tag.rpartition("}")
    for end, prefix in _PREFIXES.items():
        if space.endswith(end):
            return f"{prefix}:{name}"
    return name


def attribute(node: _Element | None, name: str) -> str:
    """An attribute by local name; "" when missing."""
    if node is None:
        return ""
    return next((str(value) for key, value in node.attrib.items() if str(key).rpartition("}")[2] == name), "")


def child(node: _Element | None, *path: str) -> _Element | None:
    """The first descendant along local names."""
    for name in path:
        node = next((item for item in node if local(item) == name), None) if node is not None else None
    return node


def every(node: _Element, name: str) -> Iterator[_Element]:
    """All descendants of one local name, in document order."""
    return (item for item in node.iter() if local(item) == name)


def chart(root: _Element) -> str:
    """A chart part's title and its numbers as a table: categories down, series across."""
    title = child(root, "chart", "title")
    heading = one_line("".join(node.text or "" for node in every(title, "t"))) if title is not None else ""
    names: list[str] = []
    columns: list[Mapping[int, str]] = []
    categories: dict[int, str] = {}
    for series in every(root, "ser"):
        names.append(" ".join(_points(child(series, "tx")).values()))
        columns.append(_points(child(series, "val")) or _points(child(series, "yVal")))
        categories = categories or _points(child(series, "cat")) or _points(child(series, "xVal"))
    rows = [["", *names]]
    for position in sorted({key for column in (*columns, categories) for key in column}):
        rows.append([categories.get(position, ""), *(column.get(position, "") for column in columns)])
    return "\n\n".join(part for part in (heading, markdown.table(rows)) if part)


def _points(node: _Element | None) -> dict[int, str]:
    """Cached values by position; of several category levels the innermost."""
    found: dict[int, str] = {}
    for point in every(node, "pt") if node is not None else ():
        position = attribute(point, "idx")
        if position.isascii() and position.isdigit():
            found.setdefault(int(position), (getattr(child(point, "v"), "text", "") or "").strip())
    if not found and node is not None:
        name = getattr(child(node, "v"), "text", "") or ""
        found = {0: name} if name else {}
    return found
