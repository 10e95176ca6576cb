"""A web page or HTML file: its main content as Markdown, without navigation, banners and hidden parts."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from openbook.errors import ReadError
from openbook.ingest.readers import markdown, text
from openbook.ingest.readers.parsed import Parsed, iso_of, one_line, trimmed

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
_JEKYLL = re.compile(r"\A\s*---\n.*?\n---\n", re.DOTALL)
_FURNITURE = ("navigation", "banner", "contentinfo", "search", "menu", "menubar", "alertdialog")
_KEPT_SHARE = 0.5
"""An extraction with less of the page's words than this has cut content, not boilerplate (docs/decisions/0032)."""
_SMALL_WORDS = 150
"""Pages this small are taken whole: the extractor's statistics need more."""
_TINY_WORDS = 50
_LINK_RUN = 10
"""This many bare links in a row that the extractor leaves out are a menu (Wikipedia's list of languages)."""
_FURNITURE_CLASS = re.compile(
    r"[ _-](?:breadcrumbs?|skip-?(?:nav|links?|to-content)|skipnav|cookie-?(?:banner|notice|consent))[ _-]", re.I
)
_LONGEST_TITLE = 200


def read(data: bytes, encoding: str = "") -> Parsed:
    """Main content, title, author and dates of an HTML page. `encoding` is what HTTP said, if anything."""
    source, notes = decode(data, encoding)
    root = parse(_JEKYLL.sub("", source, count=1))
    meta = _meta(root)
    body = root.find("body") if root.tag == "html" else root
    content = markdown.from_html(_main(body)) if body is not None else ""
    return Parsed(
        trimmed(content),
        title=_title(root, body, meta),
        author=one_line(meta.get("author", "") or meta.get("dc.creator", "") or meta.get("dcterms.creator", "")),
        created=_first_date(meta, "article:published_time", "datepublished", "dcterms.created", "dc.date", "date"),
        modified=_first_date(meta, "article:modified_time", "datemodified", "dcterms.modified", "last-modified"),
        notes=notes,
    )


def decode(data: bytes, encoding: str = "") -> tuple[str, tuple[str, ...]]:
    """By HTTP's word, else a byte order mark, the page's own meta tag, else as any text."""
    named = _META_CHARSET.search(data[:4096])
    for name in (encoding, named.group(1).decode("ascii") if named else ""):
        if name and not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
            try:
                return data.decode(name), ()
            except (LookupError, UnicodeDecodeError):
                continue
    return text.decode(data)


def parse(source: str) -> HtmlElement:
    """Parse HTML however broken; ReadError when nothing is left of it."""
    from lxml import etree
    from lxml import html as lxml_html

    # An XML declaration's encoding would contradict the text, which is decoded already.
    source = re.sub(r"\A\s*<\?xml[^>]*\?>", "", source.replace("\0", ""), count=1)
    source = re.sub("[\ud800-\udfff]", "\ufffd", source)
    parser = lxml_html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        root: HtmlElement | None = lxml_html.document_fromstring(source.encode(), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise ReadError(f"no HTML content ({error})") from None
    if root is None:
        raise ReadError("no HTML content")
    return root


def _main(body: HtmlElement) -> HtmlElement:
    """The element that holds the content: a landmark or the body, less furniture and boilerplate."""
    stripped = _without_furniture(body)
    size = _size(stripped)
    if size < _TINY_WORDS and size < _KEPT_SHARE * _size(body):
        return body  # furniture is all there is: a page of links
    if size < _SMALL_WORDS:
        return stripped
    for found in (body.xpath(".//main | .//*[@role='main']"), body.xpath(".//article")):
        shown = [element for element in found if not markdown.hidden(element)]
        if len(shown) == 1 and _size(shown[0]) >= _KEPT_SHARE * size:
            return _without_boilerplate(_without_furniture(shown[0], landmarks=False), edges=False)
    return _without_boilerplate(stripped, edges=True)


def _without_furniture(element: HtmlElement, *, landmarks: bool = True) -> HtmlElement:
    """A copy without navigation and, outside articles, page headers and footers that hold no heading of level 1."""
    kept = copy.deepcopy(element)
    kept.tail = None
    roles = " or ".join(f"@role='{role}'" for role in _FURNITURE)
    doomed = kept.xpath(f".//nav | .//button | .//*[{roles}]")
    doomed += [
        node for node in kept.iter() if _FURNITURE_CLASS.search(f" {node.get('class', '')} {node.get('id', '')} ")
    ]
    if landmarks:
        outside = "not(ancestor::main or ancestor::article or ancestor::blockquote)"
        doomed += kept.xpath(f".//footer[{outside}] | .//aside[{outside}] | .//header[{outside}][not(.//h1)]")
    for node in doomed:
        if node is not kept and node.getparent() is not None:
            node.drop_tree()
    return kept


def _without_boilerplate(body: HtmlElement, *, edges: bool) -> HtmlElement:
    """Remove blocks that trafilatura leaves out: long runs of bare links and, with `edges`, what surrounds the content.

    The extractor only votes. Its own output loses table cells, list items and captions (docs/decisions/0032).
    """
    import trafilatura

    found = trafilatura.bare_extraction(
        copy.deepcopy(body), include_tables=True, include_comments=True, favor_recall=True, with_metadata=False
    )
    content = getattr(found, "body", None)
    extracted = _words(" ".join(content.itertext())) if content is not None else []
    if len(extracted) < _KEPT_SHARE * _size(body):
        return body
    text_of = f" {' '.join(extracted)} "
    bag = frozenset(extracted)
    leaves = [(leaf, _words(leaf.text_content())) for leaf in _leaves(body)]
    leaves = [(leaf, words) for leaf, words in leaves if words]
    voted = [
        f" {' '.join(words)} " in text_of
        or (leaf.tag == "table" and sum(word in bag for word in words) > len(words) / 2)
        for leaf, words in leaves
    ]
    if not any(voted):
        return body
    first, last = voted.index(True), len(voted) - 1 - voted[::-1].index(True)
    linked = [not vote and _is_link(leaf) for (leaf, _), vote in zip(leaves, voted, strict=True)]
    for start, end in _runs(linked):
        if end - start >= _LINK_RUN:
            _drop(leaf for leaf, _ in leaves[start:end])
    if edges:
        outside = [*leaves[:first], *leaves[last + 1 :]]
        _drop(leaf for leaf, _ in outside if leaf.tag not in ("h1", "table") and leaf.getparent() is not None)
    return body


def _leaves(element: HtmlElement) -> Iterator[HtmlElement]:
    """Blocks without blocks inside, and whole tables, in reading order."""
    for child in element:
        if not isinstance(child.tag, str):
            continue
        if child.tag == "table" or not any(node.tag in markdown.BLOCK for node in child.iterdescendants()):
            yield child
        else:
            yield from _leaves(child)


def _is_link(leaf: HtmlElement) -> bool:
    linked = sum(len(_words(link.text_content())) for link in leaf.iter("a"))
    return linked >= 0.8 * len(_words(leaf.text_content()))


def _runs(flags: list[bool]) -> Iterator[tuple[int, int]]:
    position = 0
    for flag, group in itertools.groupby(flags):
        length = len(list(group))
        if flag:
            yield position, position + length
        position += length


def _drop(elements: Iterable[HtmlElement]) -> None:
    for element in elements:
        element.drop_tree()


def _words(source: str) -> list[str]:
    return re.findall(r"\w+", source)


def _size(element: HtmlElement) -> int:
    return len(_words(markdown.from_html(element)))


def _meta(root: HtmlElement) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in root.iter("meta"):
        key = tag.get("property") or tag.get("name") or tag.get("itemprop") or ""
        found.setdefault(key.lower(), tag.get("content", ""))
    return found


def _title(root: HtmlElement, body: HtmlElement | None, meta: dict[str, str]) -> str:
    headings = [one_line(node.text_content()) for node in body.iter("h1")] if body is not None else []
    headings = [heading for heading in headings if 0 < len(heading) <= _LONGEST_TITLE]
    tag = one_line(root.findtext(".//title") or "")
    return (headings[0] if len(headings) == 1 else "") or one_line(meta.get("og:title", "")) or tag


def _first_date(meta: dict[str, str], *keys: str) -> str:
    return next((date for key in keys if (date := iso_of(meta.get(key, "")))), "")
