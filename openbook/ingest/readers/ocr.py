"""Scanned pages read by RapidOCR, whose models come inside its wheel; the extra openbook[ocr] brings it."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from openbook import extras
from openbook.ingest.readers.parsed import one_line
from openbook.ingest.readers.pdf_layout import Line

if TYPE_CHECKING:
    import pypdfium2

_SCALE = 200 / 72
_MIN_SCORE = 0.5
_MAX_PIXELS = 40_000_000


def lines(page: pypdfium2.PdfPage) -> list[Line]:
    """The page's lines from top to bottom; each character's box is its share of the line's."""
    rapidocr = extras.need("rapidocr", extra="ocr", purpose="reading scanned pages")
    width, height = page.get_size()
    scale = min(_SCALE, (_MAX_PIXELS / max(width * height, 1)) ** 0.5)
    image = page.render(scale=scale).to_numpy()
    engine = rapidocr.RapidOCR(params={"Global.log_level": "error"})
    result = engine(image)
    if result.boxes is None or result.txts is None:
        return []
    found = [
        _line(one_line(text), [(float(x) / scale * 10, float(y) / scale * 10) for x, y in corners])
        for corners, text, score in zip(result.boxes, result.txts, result.scores, strict=True)
        if score >= _MIN_SCORE and one_line(text)
    ]
    return sorted(found, key=lambda line: (round((line.y0 + line.y1) / 2 / max(line.height, 1)), line.x0))


def _line(text: str, corners: list[tuple[float, float]]) -> Line:
    xs = [min(max(round(x), 0), 65535) for x, _ in corners]
    ys = [min(max(round(y), 0), 65535) for _, y in corners]
    x0, y0, x1, y1 = min(xs), min(ys), max(xs), max(ys)
    step = (x1 - x0) / len(text)
    boxes = array("H")
    for position in range(len(text)):
        boxes.extend((round(x0 + position * step), y0, round(x0 + (position + 1) * step), y1))
    return Line(text, boxes, x0, y0, x1, y1, y1 - y0)
