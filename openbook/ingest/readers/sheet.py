"""An Excel file as Markdown: one page a sheet, one line a row, formulas by their values."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta

from openbook.errors import ReadError
from openbook.ingest.readers import markdown
from openbook.ingest.readers.office import Package, attribute, every, local
from openbook.ingest.readers.parsed import Budget, Parsed, iso, join_pages, one_line
from openbook.records import Page

_MAX_GRID = 5_000_000
"""Cells of a sheet's bounding box up to which calamine, which fills the box, may read it: about 200 MB."""
_REFERENCE = re.compile(rb"""\sr\s*=\s*["']([A-Z]{0,3})(\d{1,7})["']""")
"""The place of a cell (`r="B7"`) or of a row (`r="7"`)."""


def read(data: bytes, budget: Budget, max_pages: int) -> Parsed:
    """Text and core properties of an .xlsx or .xlsm file; hidden sheets are read too and named in the notes."""
    package = Package(data, budget)
    sheets = _read_sheets(data, sparse=_is_sparse(package), max_pages=max_pages)
    text, pages, notes = _rendered(sheets, _comments(package))
    return Parsed(text, *package.properties(), pages=pages, notes=notes)


def read_old(data: bytes, max_pages: int) -> Parsed:
    """Text and properties of an Excel 97-2003 .xls file."""
    import olefile

    text, pages, notes = _rendered(_read_sheets(data, sparse=False, max_pages=max_pages))
    with olefile.OleFileIO(io.BytesIO(data)) as ole:
        meta = ole.get_metadata()
        title, author = (_decoded(value, meta.codepage) for value in (meta.title, meta.author))
        created, modified = (
            iso(value if isinstance(value, datetime) else None) for value in (meta.create_time, meta.last_saved_time)
        )
    return Parsed(text, pages=pages, notes=notes, title=title, author=author, created=created, modified=modified)


def _decoded(value: object, codepage: object) -> str:
    if not isinstance(value, bytes):
        return ""
    try:
        return one_line(value.decode({65001: "utf-8", 10000: "mac_roman"}.get(int(str(codepage)), f"cp{codepage}")))
    except (LookupError, ValueError):
        return one_line(value.decode("cp1252", "replace"))


Sheet = tuple[str, bool, Iterable[Sequence[object]]]
"""Name, whether it is hidden, rows."""


def _read_sheets(data: bytes, *, sparse: bool, max_pages: int) -> Iterator[Sheet]:
    """Sheets by calamine, 14 times faster; by openpyxl where a far-off cell makes calamine ask for terabytes."""
    if sparse:
        import openpyxl

        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        _check_count(len(book.worksheets), max_pages)
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # else every empty row is filled up to the sheet's stated width
            yield sheet.title, sheet.sheet_state != "visible", sheet.iter_rows(values_only=True)
        return
    import python_calamine as calamine

    try:
        workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        shown = [
            (position, meta)
            for position, meta in enumerate(workbook.sheets_metadata)
            if meta.typ == calamine.SheetTypeEnum.WorkSheet
        ]
        _check_count(len(shown), max_pages)
        for position, meta in shown:
            sheet = workbook.get_sheet_by_index(position)
            rows = _filled_down(sheet.iter_rows(), sheet.merged_cell_ranges or ())
            yield meta.name, meta.visible != calamine.SheetVisibleEnum.Visible, rows
    except calamine.PasswordError:
        raise ReadError("encrypted; remove the password and try again") from None
    except BaseException as error:
        # A panic in Rust code arrives as a BaseException of pyo3's own.
        if type(error).__name__ == "PanicException":
            raise ReadError(f"damaged workbook ({error})") from None
        raise


def _filled_down(
    rows: Iterable[Sequence[object]], merged: Iterable[tuple[tuple[int, int], tuple[int, int]]]
) -> Iterator[Sequence[object]]:
    """Rows with the value of a cell merged over several rows repeated in each, so that every row can stand alone."""
    tall = {(top, left): bottom for (top, left), (bottom, _) in merged if bottom > top}
    running: dict[int, tuple[int, object]] = {}
    for number, row in enumerate(rows):
        cells = list(row)
        for column, value in enumerate(cells):
            if (number, column) in tall:
                running[column] = (tall[number, column], value)
            elif column in running and number <= running[column][0] and value in ("", None):
                cells[column] = running[column][1]
        yield cells


def _check_count(count: int, max_pages: int) -> None:
    if count > max_pages:
        raise ReadError(f"{count} sheets; at most {max_pages} are read, raise ingest.max_pages to read it")


def _is_sparse(package: Package) -> bool:
    """Whether any sheet's used cells span more than calamine should be asked to fill."""
    for content in package.parts.values():
        if b"sheetData" not in content:
            continue
        columns: set[bytes] = set()
        top = bottom = 0
        for match in _REFERENCE.finditer(content):
            row = int(match[2])
            top, bottom = min(top or row, row), max(bottom, row)
            columns.add(match[1])
        indexes = [_column(letters) for letters in columns]
        if indexes and (bottom - top + 1) * (max(indexes) - min(indexes) + 1) > _MAX_GRID:
            return True
    return False


def _column(letters: bytes) -> int:
    index = 0
    for letter in letters:
        index = index * 26 + letter - 64
    return index


def _rendered(sheets: Iterable[Sheet], comments: str = "") -> tuple[str, tuple[Page, ...], tuple[str, ...]]:
    parts: list[tuple[int, str]] = []
    notes: list[str] = []
    for number, (name, hidden, rows) in enumerate(sheets, start=1):
        blocks = list(_blocks(rows))
        parts.append((number, "\n\n".join([f"## {one_line(name)}", *blocks]) if blocks else ""))
        if hidden and blocks:
            notes.append(f"sheet {name!r} is hidden in the workbook")
    if parts and comments:
        parts[-1] = (parts[-1][0], f"{parts[-1][1]}\n\n{comments}")
    text, pages = join_pages(parts)
    return text, pages, tuple(notes)


def _blocks(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Runs of rows between empty rows: a table, with single-cell rows above it as its caption.

    Columns that are empty in the whole run are left out; rows get column names where there are any.
    """
    block: list[list[str]] = []
    for row in rows:
        cells = [_shown(value) for value in row]
        if any(cells):
            block.append(cells)
        elif block:
            yield from _block(block)
            block = []
    if block:
        yield from _block(block)


def _block(rows: list[list[str]]) -> Iterator[str]:
    start = 0
    while start < len(rows) and sum(map(bool, rows[start])) == 1:
        yield next(filter(None, rows[start]))
        start += 1
    if start < len(rows):
        width = max(map(len, rows))
        used = [column for column in range(width) if any(column < len(row) and row[column] for row in rows[start:])]
        yield markdown.records([[row[column] if column < len(row) else "" for column in used] for row in rows[start:]])


def _shown(value: object) -> str:
    """A cell as people see it: whole numbers without a point, dates as ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.replace(microsecond=0).isoformat(" ")
    if isinstance(value, date | time | timedelta | bool | int):
        return str(value)
    return str(value).strip()


def _comments(package: Package) -> str:
    """Cell comments and threaded replies as a list: people put explanations there."""
    people = {
        attribute(person, "id"): attribute(person, "displayName")
        for name in package.parts
        if name.startswith("xl/persons/") and (root := package.xml(name)) is not None
        for person in every(root, "person")
    }
    lines: list[str] = []
    for name in sorted(package.parts):
        threaded = "/threadedComments/" in name
        if name.endswith(".rels") or not (threaded or re.search(r"/comments\d*\.xml$", name)):
            continue
        root = package.xml(name)
        if root is None:
            continue
        authors = [author.text or "" for author in every(root, "author")]
        for comment in every(root, "threadedComment" if threaded else "comment"):
            text = one_line("".join(node.text or "" for node in comment.iter() if local(node) in ("t", "text")))
            index = attribute(comment, "authorId")
            author = people.get(attribute(comment, "personId"), "")
            if not threaded and index.isascii() and index.isdigit() and int(index[:6]) < len(authors):
                author = authors[int(index[:6])]
            if text and not author.startswith("tc="):  # "tc=" marks the plain copy Excel keeps of a threaded comment
                lines.append(
                    f"- Comment on {attribute(comment, 'ref')}" + (f" by {author}" if author else "") + f": {text}"
                )
    return "\n".join(lines)
