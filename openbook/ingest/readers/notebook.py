"""A Jupyter notebook as Markdown: text cells as they are, code fenced, text outputs cut short."""

from __future__ import annotations

import json

from openbook.errors import ReadError
from openbook.ingest.readers import markdown, text
from openbook.ingest.readers.parsed import Parsed, first_heading, one_line, trimmed

MAX_OUTPUT = 2000
"""Characters of one output kept: logs and data dumps drown the prose."""


def read(data: bytes) -> Parsed:
    """Cells in order; title and authors from the notebook's metadata."""
    source, notes = text.decode(data)
    try:
        book = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"not a notebook ({error})") from None
    if not isinstance(book, dict) or not isinstance(book.get("cells"), list):
        raise ReadError("not a notebook of format 4 (it has no cells)")
    meta = _dict(book.get("metadata"))
    language = str(_dict(meta.get("kernelspec")).get("language") or _dict(meta.get("language_info")).get("name") or "")
    blocks: list[str] = []
    for cell in map(_dict, book["cells"]):
        source = _joined(cell.get("source"))
        if cell.get("cell_type") == "code":
            blocks.extend([markdown.fence(source, language)] if source.strip() else [])
            outputs = cell.get("outputs")
            shown = [_output(_dict(output)) for output in (outputs if isinstance(outputs, list) else [])]
            blocks.extend(markdown.fence(output, "output") for output in shown if output.strip())
        elif source.strip():
            blocks.append(source)
    body = trimmed("\n\n".join(blocks))
    authors = meta.get("authors")
    names = [str(_dict(author).get("name", "")) for author in (authors if isinstance(authors, list) else [])]
    return Parsed(
        body,
        title=one_line(str(meta.get("title") or "")) or first_heading(body),
        author=one_line(", ".join(filter(None, names))),
        notes=notes,
    )


def _output(output: dict[str, object]) -> str:
    data = _dict(output.get("data"))
    found = _joined(output.get("text")) or _joined(data.get("text/markdown")) or _joined(data.get("text/plain"))
    if output.get("output_type") == "error":
        found = f"{output.get('ename', '')}: {output.get('evalue', '')}"
    return found if len(found) <= MAX_OUTPUT else f"{found[:MAX_OUTPUT]} [...]"


def _joined(value: object) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else ""


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
