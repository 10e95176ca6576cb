"""Scanned pages read by RapidOCR, whose models come inside its wheel; the extra openbook[ocr] brings it."""

from __future__ import annotations

from array import array
from statistics import median_low
from typing import TYPE_CHECKING, Any

from openbook import extras
from openbook.ingest.readers.parsed import one_line
from openbook.ingest.readers.pdf_lines import Line, plain_bullet, rows_of

if TYPE_CHECKING:
    import pypdfium2

_SCALE = 200 / 72
_MIN_SCORE = 0.5
_NOISE = 1.5
"""Boxes found in an image differ in height by this much within one size of type."""
_MAX_PIXELS = 40_000_000


def engine() -> Any:
    """A recogniser with its models loaded, about a second's work; raises MissingExtra without openbook[ocr]."""
    rapidocr = extras.need("rapidocr", extra="ocr", purpose="reading scanned pages")
    return rapidocr.RapidOCR(params={"Global.log_level": "error"})


def lines(page: pypdfium2.PdfPage, recogniser: Any) -> list[Line]:
    """The page's lines from top to bottom; each character's box is its share of the line's."""
    width, height = page.get_size()
    scale = min(_SCALE, (_MAX_PIXELS / max(width * height, 1)) ** 0.5)
    image = page.render(scale=scale).to_numpy()
    result = recogniser(image)
    if result.boxes is None or result.txts is None:
        return []
    found = [
        _line(plain_bullet(one_line(text)), [(float(x) / scale * 10, float(y) / scale * 10) for x, y in corners])
        for corners, text, score in zip(result.boxes, result.txts, result.scores, strict=True)
        if score >= _MIN_SCORE and one_line(text)
    ]
    usual = median_low([line.height for line in found]) if found else 0
    for line in found:
        if line.height < _NOISE * usual:
            line.height = usual
    return rows_of(_read_order(found))


def _read_order(found: list[Line]) -> list[Line]:
    """From top to bottom, and in a row from left to right; a row is what its first line's middle goes through."""
    rows: list[list[Line]] = []
    for line in sorted(found, key=lambda line: line.y0 + line.y1):
        middle = (line.y0 + line.y1) / 2
        if rows and middle < rows[-1][0].y1 - 0.2 * rows[-1][0].height:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.x0)]


def _line(text: str, corners: list[tuple[float, float]]) -> Line:
    xs = [min(max(round(x), 0), 65535) for x, _ in corners]
    ys = [min(max(round(y), 0), 65535) for _, y in corners]
    x0, y0, x1, y1 = min(xs), min(ys), max(xs), max(ys)
    step = (x1 - x0) / len(text)
    boxes = array("H")
    for position in range(len(text)):
        boxes.extend((round(x0 + position * step), y0, round(x0 + (position + 1) * step), y1))
    return Line(text, boxes, x0, y0, x1, y1, y1 - y0, cells=((0, len(text), x0, x1),))
