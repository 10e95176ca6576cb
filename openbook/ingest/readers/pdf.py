"""A PDF's characters with their boxes, page by page; layout into paragraphs is next door in pdf_layout.

Boxes are pdfium's loose ones (the font's full height), so that one line of type gives one even row of boxes.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from openbook.errors import ReadError
from openbook.ingest.readers import ocr, pdf_layout, pdf_lines
from openbook.ingest.readers.parsed import Parsed, clean, iso, one_line, ranges
from openbook.ingest.readers.pdf_lines import BOLD_END, HYPHEN, LINE_END, Box, Glyph

if TYPE_CHECKING:
    import pypdfium2

_PASSWORD = 4
_SECURITY = 5
_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:(Z)|([+-])(\d\d)'?(\d\d)?)?")
_BOLD = re.compile(rb"bold|black|heavy|demi|medi$|BX\d", re.IGNORECASE)
_LARGEST = 65535
_EMPTY_TITLES = frozenset(
    {"(anonymous)", "untitled", "(unspecified)", "powerpoint presentation", "anonymous", "unspecified"}
)


def read(data: bytes, *, max_pages: int, use_ocr: bool) -> Parsed:
    """Text in reading order with page spans and boxes; pages without text are named in the notes, or read by OCR."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", 0) in (_PASSWORD, _SECURITY):
            raise ReadError("encrypted; remove the password and try again") from None
        raise ReadError(f"damaged PDF ({error})") from None
    try:
        return _read(document, max_pages, use_ocr)
    finally:
        document.close()


def _read(document: pypdfium2.PdfDocument, max_pages: int, use_ocr: bool) -> Parsed:
    import pypdfium2

    count = len(document)
    if count > max_pages:
        raise ReadError(f"{count} pages; at most {max_pages} are read, raise ingest.max_pages to read it")
    pages: list[list[pdf_lines.Line]] = []
    textless: list[int] = []
    broken: list[int] = []
    recognised: list[int] = []
    recogniser: Any = None
    for number in range(1, count + 1):
        lines: list[pdf_lines.Line] = []
        try:
            page = document[number - 1]
        except pypdfium2.PdfiumError as error:
            broken.append(number)
            pages.append(lines)
            if count == 1:
                raise ReadError(f"damaged PDF ({error})") from None
            continue
        try:
            lines = pdf_lines.lines(_glyphs(page))
            if not lines and _holds_objects(page):
                if use_ocr:
                    recogniser = recogniser or ocr.engine()
                    lines = ocr.lines(page, recogniser)
                (recognised if lines else textless).append(number)
        finally:
            page.close()
        pages.append(lines)
    laid = pdf_layout.compose(pages)
    meta = document.get_metadata_dict()
    title = one_line(meta.get("Title", ""))
    author = one_line(meta.get("Author", ""))
    return Parsed(
        laid.text,
        title="" if title.lower() in _EMPTY_TITLES else title,
        author="" if author.lower() in _EMPTY_TITLES else author,
        created=_date(meta.get("CreationDate", "")),
        modified=_date(meta.get("ModDate", "")),
        pages=laid.pages,
        boxes=laid.boxes,
        notes=tuple(_notes(textless, broken, recognised, use_ocr)),
    )


def _notes(textless: list[int], broken: list[int], recognised: list[int], use_ocr: bool) -> Iterator[str]:
    if textless:
        hint = "OCR found none either" if use_ocr else "set ingest.ocr = true to read scans"
        yield f"{_pages(textless)} without text (scanned or drawn); {hint}"
    if recognised:
        yield f"{_pages(recognised)} read by OCR; expect misread characters"
    if broken:
        yield f"{_pages(broken)} damaged and left out"


def _pages(numbers: list[int]) -> str:
    return f"page{'s'[: len(numbers) > 1]} {ranges(numbers)}"


def _glyphs(page: pypdfium2.PdfPage) -> list[Glyph]:
    """The page's characters in the order of its content, boxes in tenths of a point from the top left as shown."""
    import pypdfium2.raw as pdfium

    textpage = page.get_textpage()
    try:
        raw: Any = textpage.raw
        place, bold = _placer(page), _bold_test(raw)
        rect = pdfium.FS_RECTF()
        reference = ctypes.byref(rect)
        get_box, is_hyphen = pdfium.FPDFText_GetLooseCharBox, pdfium.FPDFText_IsHyphen
        found: list[Glyph] = []
        cleaned: dict[int, str] = {0x0A: LINE_END, 0x0D: "", 0x02: HYPHEN, 0xFFFE: HYPHEN}
        first = last = -1
        for index, code in _codes(raw, textpage.count_chars()):
            if code not in cleaned:
                cleaned[code] = clean(chr(code)) if 0 < code < 0x110000 else ""
            char = cleaned[code]
            if code == 0x2D and is_hyphen(raw, index) == 1:
                char = HYPHEN
            elif code == 0x0A:
                char = BOLD_END if first >= 0 and bold(first) and bold(last) else LINE_END
                first = -1
            if not char:
                continue
            if not char.isspace():
                first, last = (index if first < 0 else first), index
            found.append((char, *place(rect)) if get_box(raw, index, reference) else (char, 0, 0, 0, 0))
        return found
    finally:
        textpage.close()


def _codes(raw: Any, count: int) -> Iterator[tuple[int, int]]:
    """Index and code point of each character; where pdfium gives UTF-16, a pair's index is its second half's."""
    import pypdfium2.raw as pdfium

    get, high = pdfium.FPDFText_GetUnicode, 0
    for index in range(count):
        code = get(raw, index)
        if 0xD800 <= code < 0xDC00:
            high = code
        elif 0xDC00 <= code < 0xE000:
            yield index, 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00) if high else 0xFFFD
            high = 0
        else:
            yield index, code


def _bold_test(raw: Any) -> Callable[[int], bool]:
    """Whether a character's font is a bold one by its name; weights are often missing from the file."""
    import pypdfium2.raw as pdfium

    buffer = ctypes.create_string_buffer(128)
    flags = ctypes.c_int()

    def bold(index: int) -> bool:
        pdfium.FPDFText_GetFontInfo(raw, index, buffer, len(buffer), ctypes.byref(flags))
        return bool(_BOLD.search(buffer.value))

    return bold


def _placer(page: pypdfium2.PdfPage) -> Callable[[Any], Box]:
    """A function from pdfium's page coordinates to tenths of a point from the top left of the page as it is shown."""
    left, bottom, right, top = page.get_bbox()
    width, height = right - left, top - bottom
    turn = page.get_rotation()

    def place(rect: Any) -> Box:
        x0, x1, y0, y1 = rect.left - left, rect.right - left, rect.bottom - bottom, rect.top - bottom
        if turn == 90:
            x0, y0, x1, y1 = y0, x0, y1, x1
        elif turn == 180:
            x0, y0, x1, y1 = width - x1, y0, width - x0, y1
        elif turn == 270:
            x0, y0, x1, y1 = height - y1, width - x1, height - y0, width - x0
        else:
            y0, y1 = height - y1, height - y0
        try:
            box = (int(x0 * 10 + 0.5), int(y0 * 10 + 0.5), int(x1 * 10 + 0.5), int(y1 * 10 + 0.5))
        except (ValueError, OverflowError):  # not a number, or infinite
            return 0, 0, 0, 0
        if min(box) < 0 or max(box) > _LARGEST:
            box = (_within(box[0]), _within(box[1]), _within(box[2]), _within(box[3]))
        return box

    return place


def _within(value: int) -> int:
    return min(max(value, 0), _LARGEST)


def _holds_objects(page: pypdfium2.PdfPage) -> bool:
    """Whether anything is drawn on the page: an empty page is not a scan."""
    return next(iter(page.get_objects(max_depth=2)), None) is not None


def _date(text: str) -> str:
    match = _DATE.match(text.strip())
    if not match:
        return ""
    year, month, day, hour, minute, second, _, sign, offset_hours, offset_minutes = match.groups()
    shift = timedelta(hours=int(offset_hours or 0), minutes=int(offset_minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        zone = timezone(shift) if match[7] or sign else None
        return iso(
            datetime(
                int(year),
                int(month or 1),
                int(day or 1),
                int(hour or 0),
                int(minute or 0),
                int(second or 0),
                tzinfo=zone,
            )
        )
    except ValueError:
        return ""
