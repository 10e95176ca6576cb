"""reStructuredText as Markdown: headings, code, links and roles rewritten; tables and directives stay readable."""

from __future__ import annotations

import re

from openbook.ingest.readers import markdown, text
from openbook.ingest.readers.parsed import Parsed, clean, first_heading, iso_of, one_line, trimmed

_ADORNMENT = re.compile(r"([=\-`:.'\"~^_*+#<>])\1+\s*\Z")
_CODE = re.compile(r"\s*\.\. (?:code-block|code|sourcecode|highlight|literalinclude|parsed-literal)::\s*(\S*)")
_DIRECTIVE = re.compile(r"(\s*)\.\. (?:\|[^|]*\| )?([\w:-]+)::\s*(.*)")
_TARGET = re.compile(r"\s*\.\. (?:_[^:]*:|__:?)")
_COMMENT = re.compile(r"\s*\.\.(?:\s|\Z)")
_NOTE = re.compile(r"\s*\.\. \[([^\]]+)\]\s*")
_LINK = re.compile(r"`([^`<]*?)\s*<[^`>]*>`__?")
_ROLE = re.compile(r":[\w:+.-]+:`(?:[~!])?([^`<]*?)(?:\s*<[^`>]*>)?`")
_REFERENCE = re.compile(r"`([^`]+)`__?")
_FIELD = re.compile(r"\A:([A-Za-z-]+):\s*(.*)")


def read(data: bytes) -> Parsed:
    """Text with `#` headings by the order adornments appear in; comments and link targets are left out."""
    source, notes = text.decode(data)
    lines = clean(source).expandtabs(8).split("\n")
    fields: dict[str, str] = {}
    done: list[str] = []
    levels: list[tuple[str, bool]] = []
    position = 0
    while position < len(lines):
        line = lines[position]
        if heading := _heading(lines, position):
            title, style, position = heading
            levels += [style] if style not in levels else []
            done += ["", f"{'#' * min(levels.index(style) + 1, 6)} {_inline(title)}", ""]
            continue
        position += 1
        if code := _CODE.match(line):
            body, position = _indented(lines, position, _indent(line))
            done += [markdown.fence(_without_options(body), code[1]), ""]
        elif _TARGET.match(line):
            continue
        elif note := _NOTE.match(line):
            done.append(f"[^{note[1]}]: {_inline(line[note.end() :])}")
        elif directive := _DIRECTIVE.match(line):
            if directive[2] not in ("image", "contents", "toctree", "include", "raw", "index"):
                label = f"{directive[1]}{directive[2].capitalize()}:"
                done.append(f"{label} {_inline(directive[3])}".rstrip())
        elif _COMMENT.match(line):
            _, position = _indented(lines, position, _indent(line))
        elif line.rstrip().endswith("::"):
            done += [_inline(re.sub(r"\s*::\s*\Z", ":", line)) if line.strip() != "::" else "", ""]
            body, position = _indented(lines, position, _indent(line))
            done += [markdown.fence(body), ""] if body.strip() else []
        else:
            if (field := _FIELD.match(line)) and len(done) < 30:
                fields.setdefault(field[1].lower(), field[2])
            done.append(_inline(line))
    body = trimmed("\n".join(done))
    return Parsed(
        body,
        title=first_heading(body),
        author=one_line(fields.get("author", "") or fields.get("authors", "")),
        created=iso_of(fields.get("date", "")),
        notes=notes,
    )


def _heading(lines: list[str], position: int) -> tuple[str, tuple[str, bool], int] | None:
    """(title, adornment style, next line) when a section title starts here."""
    following = [*lines[position : position + 3], "", ""]
    first, second, third = (line.rstrip() for line in following[:3])
    if _ADORNMENT.match(first) and second.strip() and third == first and len(first) >= len(second.strip()):
        return second.strip(), (first[0], True), position + 3
    blank_before = position == 0 or not lines[position - 1].strip()
    starts = bool(first) and not first[0].isspace() and not _ADORNMENT.match(first)
    if blank_before and starts and _ADORNMENT.match(second) and len(second) >= min(len(first), 4):
        return first, (second[0], False), position + 2
    return None


def _indented(lines: list[str], position: int, indent: int) -> tuple[str, int]:
    """The block indented deeper than `indent`, without its own indentation, and the line after it."""
    end = position
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > indent):
        end += 1
    block = lines[position:end]
    margin = min((_indent(line) for line in block if line.strip()), default=0)
    return "\n".join(line[margin:].rstrip() for line in block), end


def _without_options(body: str) -> str:
    lines = body.lstrip("\n").split("\n")
    while lines and re.match(r":[\w-]+:", lines[0]):
        lines.pop(0)
    return "\n".join(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _inline(line: str) -> str:
    line = _ROLE.sub(r"\1", _LINK.sub(r"\1", line))
    return _REFERENCE.sub(r"\1", line).replace("\\ ", "")
