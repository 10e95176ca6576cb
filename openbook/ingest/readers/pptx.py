"""A PowerPoint file as Markdown: one page a slide, its title as heading, tables, charts, diagrams and speaker notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openbook.errors import ReadError
from openbook.ingest.readers import markdown
from openbook.ingest.readers.office import Package, attribute, chart, child, every, local
from openbook.ingest.readers.parsed import Budget, Parsed, first_heading, join_pages

if TYPE_CHECKING:
    from lxml.etree import _Element

_FURNITURE = frozenset({"dt", "ftr", "sldNum", "hdr", "sldImg"})
_TITLES = frozenset({"title", "ctrTitle"})


def read(data: bytes, budget: Budget, max_pages: int) -> Parsed:
    """Text and core properties of a .pptx file; hidden slides are read too and named in the notes."""
    package = Package(data, budget)
    main = package.main_part()
    root = package.xml(main)
    relations = package.relations(main)
    listed = child(root, "sldIdLst")
    slides = [relations.get(_relation_id(item), ("", ""))[1] for item in (listed if listed is not None else ())]
    if len(slides) > max_pages:
        raise ReadError(f"{len(slides)} slides; at most {max_pages} are read, raise ingest.max_pages to read it")
    parts: list[tuple[int, str]] = []
    hidden: list[int] = []
    for number, name in enumerate(slides, start=1):
        slide = package.xml(name)
        parts.append((number, _slide(package, name, slide) if slide is not None else ""))
        if attribute(slide, "show") in ("0", "false"):
            hidden.append(number)
    text, pages = join_pages(parts)
    notes = [f"slide {number} is hidden in the presentation" for number in hidden]
    if any(name.startswith("ppt/comments/") for name in package.parts):
        notes.append("reviewer comments left out")
    title, author, created, modified = package.properties()
    title = "" if title == "PowerPoint Presentation" else title
    return Parsed(text, title or first_heading(text), author, created, modified, pages=pages, notes=tuple(notes))


def _slide(package: Package, name: str, root: _Element) -> str:
    relations = package.relations(name)
    tree = child(root, "cSld", "spTree")
    titles: list[str] = []
    blocks = _shapes(package, relations, tree, titles) if tree is not None else []
    heading = " ".join(" ".join(titles).split())
    notes = next((target for kind, target in relations.values() if kind == "notesSlide"), "")
    notes_tree = child(package.xml(notes), "cSld", "spTree") if notes else None
    spoken = [
        text
        for shape in (every(notes_tree, "sp") if notes_tree is not None else ())
        if _placeholder(shape) not in _FURNITURE and (text := _text(shape))
    ]
    return "\n\n".join(
        [*([f"# {heading}"] if heading else []), *blocks, *(["Notes: " + "\n\n".join(spoken)] if spoken else [])]
    )


def _shapes(package: Package, relations: dict[str, tuple[str, str]], tree: _Element, titles: list[str]) -> list[str]:
    found: list[str] = []
    for shape in tree:
        kind = local(shape)
        if kind == "sp":
            place = _placeholder(shape)
            text = _text(shape, listed=place in ("body", "obj", "idx"))
            if place in _TITLES and not titles:
                titles.append(text)
            elif place not in _FURNITURE and text:
                found.append(text)
        elif kind == "grpSp":
            found.extend(_shapes(package, relations, shape, titles))
        elif kind == "AlternateContent":
            found.extend(_shapes(package, relations, next(iter(shape), shape), titles))
        elif kind == "graphicFrame":
            found.extend(_graphic(package, relations, shape))
    return found


def _graphic(package: Package, relations: dict[str, tuple[str, str]], frame: _Element) -> list[str]:
    tables = [_table(node) for node in every(frame, "tbl")]
    charts = [
        chart(root)
        for node in every(frame, "chart")
        if (root := package.xml(relations.get(_relation_id(node), ("", ""))[1])) is not None
    ]
    diagrams: list[str] = []
    for node in every(frame, "relIds"):
        root = package.xml(relations.get(attribute(node, "dm"), ("", ""))[1])
        points = [_paragraphs(point) for point in every(root, "pt")] if root is not None else []
        diagrams.append("\n".join(f"- {' '.join(lines)}" for lines in points if lines))
    return [text for text in (*tables, *charts, *diagrams) if text]


def _table(node: _Element) -> str:
    grid: list[list[str]] = []
    for row in (item for item in node if local(item) == "tr"):
        line: list[str] = []
        for cell in (item for item in row if local(item) == "tc"):
            text = " ".join(_paragraphs(cell))
            if attribute(cell, "hMerge") in ("1", "true") and line:
                text = line[-1]
            elif attribute(cell, "vMerge") in ("1", "true") and grid and len(line) < len(grid[-1]):
                text = grid[-1][len(line)]
            line.append(text)
        grid.append(line)
    return markdown.table(grid) if max((len(line) for line in grid), default=0) > 1 else "\n\n".join(map("".join, grid))


def _text(shape: _Element, *, listed: bool = False) -> str:
    """A shape's paragraphs; bullets by their own mark, or in a list placeholder of several paragraphs."""
    body = next((item for item in shape if local(item) == "txBody"), None)
    paragraphs = [item for item in (body if body is not None else ()) if local(item) == "p"]
    bulleted = listed and sum(bool(_line(item)) for item in paragraphs) > 1
    lines: list[str] = []
    counts: dict[int, int] = {}
    was_item = False
    for paragraph in paragraphs:
        text = _line(paragraph)
        if not text:
            continue
        properties = child(paragraph, "pPr")
        marks = {local(item) for item in (properties if properties is not None else ())}
        written = attribute(properties, "lvl")
        level = min(int(written), 8) if written.isascii() and written.isdigit() and len(written) < 3 else 0
        numbered = "buAutoNum" in marks
        item = numbered or "buChar" in marks or (bulleted and "buNone" not in marks)
        counts = {key: value for key, value in counts.items() if key < level or (key == level and numbered)}
        counts[level] = counts.get(level, 0) + numbered
        mark = f"{counts[level]}. " if numbered else "- " if item else ""
        if lines and item != was_item:
            lines.append("")
        lines.append("   " * level * item + mark + text)
        was_item = item
    return "\n".join(lines)


def _paragraphs(node: _Element) -> list[str]:
    return [text for paragraph in every(node, "p") if (text := _line(paragraph))]


def _line(paragraph: _Element) -> str:
    parts = [
        "\n" if local(node) == "br" else node.text or "" for node in paragraph.iter() if local(node) in ("t", "br")
    ]
    return "\n".join(" ".join(line.split()) for line in "".join(parts).split("\n")).strip()


def _placeholder(shape: _Element) -> str:
    """The kind of placeholder a shape fills; "" for free shapes, "idx" for one without a kind of its own."""
    place = child(shape, "nvSpPr", "nvPr", "ph")
    return "" if place is None else attribute(place, "type") or "idx"


def _relation_id(node: _Element) -> str:
    """The r:id of an element that may have a plain id as well."""
    return next((str(value) for key, value in node.attrib.items() if str(key).endswith("relationships}id")), "")
