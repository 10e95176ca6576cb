"""JSON and JSON Lines as readable lines `key.path: value`; knows no schema."""

from __future__ import annotations

import json
from collections.abc import Iterator

from openbook.errors import ReadError
from openbook.ingest.readers import text
from openbook.ingest.readers.parsed import Parsed, trimmed


def read(data: bytes) -> Parsed:
    """A JSON value; objects of a list become blocks of their own. Several values in a row are read as JSON Lines."""
    source, notes = text.decode(data)
    try:
        value = json.loads(source)
    except ValueError as error:
        if len(source.strip().split("\n")) > 1 and source.lstrip()[:1] in ("{", "["):
            try:
                return read_lines(data)
            except ReadError:
                pass
        raise ReadError(f"not valid JSON ({error})") from None
    except RecursionError:
        raise ReadError("not valid JSON (nested too deeply)") from None
    return Parsed(_rendered([value]), title=_title(value), notes=notes)


def read_lines(data: bytes) -> Parsed:
    """One JSON value a line; ReadError names the first line that is none."""
    source, notes = text.decode(data)
    values: list[object] = []
    for number, line in enumerate(source.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise ReadError(f"line {number} is not valid JSON ({error})") from None
    return Parsed(_rendered(values), notes=notes)


def _rendered(values: list[object]) -> str:
    try:
        return trimmed("\n\n".join("\n".join(_lines(value, "")) for value in values))
    except RecursionError:
        raise ReadError("not valid JSON (nested too deeply)") from None


def _lines(value: object, path: str) -> Iterator[str]:
    """One line a value; a list of plain values on one line; an empty line before each object of a list."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _lines(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for position, item in enumerate(value):
            if position and isinstance(item, dict):
                yield ""
            yield from _lines(item, f"{path}[{position}]" if path else "")
    else:
        shown = ", ".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)
        yield f"{path}: {shown}" if path else shown


def _scalar(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _title(value: object) -> str:
    found = value.get("title") or value.get("name") if isinstance(value, dict) else ""
    return " ".join(found.split()) if isinstance(found, str) and len(found) <= 200 else ""
