"""An EPUB e-book as Markdown: the chapters of its spine in reading order, metadata from its package file."""

from __future__ import annotations

import posixpath
import urllib.parse

from openbook.errors import ReadError
from openbook.ingest.readers import html, markdown
from openbook.ingest.readers.office import Package, attribute, child, every, local
from openbook.ingest.readers.parsed import Budget, Parsed, iso_of, one_line, trimmed
from openbook.ingest.readers.zipped import resolve


def read(data: bytes, budget: Budget) -> Parsed:
    """Chapters joined; e-books have no fixed pages. ReadError when the book is copy-protected or damaged."""
    book = Package(data, budget)
    container = book.xml("META-INF/container.xml")
    package_name = (
        next((attribute(node, "full-path") for node in every(container, "rootfile")), "")
        if container is not None
        else ""
    )
    package = book.xml(package_name)
    if package is None:
        raise ReadError("damaged e-book: its package file is missing")
    folder = posixpath.dirname(package_name)
    manifest = {attribute(item, "id"): item for item in every(package, "item")}
    chapters: list[str] = []
    missing = 0
    for reference in every(package, "itemref"):
        item = manifest.get(attribute(reference, "idref"))
        name = resolve(folder, urllib.parse.unquote(attribute(item, "href")))
        if item is None or name not in book.parts:
            missing += 1
        elif "html" in attribute(item, "media-type") and "nav" not in attribute(item, "properties").split():
            source, _ = html.decode(book.parts[name])
            if source.strip():
                chapters.append(markdown.from_html(html.parse(source)))
    body = trimmed("\n\n".join(chapters))
    if not body and "META-INF/encryption.xml" in book.parts:
        raise ReadError("encrypted; the e-book is copy-protected")
    meta = child(package, "metadata")
    found: dict[str, list[str]] = {}
    for node in meta if meta is not None else ():
        key = attribute(node, "property") or local(node)
        found.setdefault(key, []).append(one_line(node.text or ""))
    return Parsed(
        body,
        title=next(iter(found.get("title", [])), ""),
        author=", ".join(found.get("creator", [])),
        created=iso_of(next(iter(found.get("date", [])), "")),
        modified=iso_of(next(iter(found.get("dcterms:modified", [])), "")),
        notes=(f"{missing} chapters named in the book are missing from the file",) if missing else (),
    )
