"""A PDF and boxes in, one page as a PNG with the boxes highlighted out.

pdfium runs in a child process with limits, as it does when documents are read: a file it crashes or loops on costs one
picture, not the server. Knows no document and no caller.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import threading
from array import array
from collections.abc import Sequence

from openbook.serve.errors import Refused

SECONDS = 20
MEMORY = 2 << 30
"""Bytes of memory the child may take, where the system can hold it to that."""
AT_ONCE = 2
COLOUR = (255, 226, 102)
"""Multiplied with the page, so that what is printed stays as dark as it was."""
_PIXELS = 12_000_000
_slots = threading.BoundedSemaphore(AT_ONCE)

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in tenths of a point from the top left of the page as it is shown."""


def boxes(stored: bytes, start: int, end: int) -> list[Box]:
    """The boxes of the characters start to end (records.Document.boxes), joined along each line.

    >>> boxes(array("H", [10, 5, 20, 15, 20, 5, 30, 15, 0, 0, 0, 0, 10, 25, 20, 35]).tobytes(), 0, 4)
    [(10, 5, 30, 15), (10, 25, 20, 35)]
    """
    values = array("H", stored[8 * start : 8 * max(start, end)])
    if sys.byteorder == "big":
        values.byteswap()
    found: list[Box] = []
    for at in range(0, len(values) - 3, 4):
        x0, y0, x1, y1 = values[at : at + 4]
        if x1 <= x0 or y1 <= y0:
            continue
        last = found[-1] if found else None
        height = y1 - y0
        if last and abs(last[1] - y0) + abs(last[3] - y1) < height // 2 and -height < x0 - last[2] < height:
            found[-1] = (min(last[0], x0), min(last[1], y0), max(last[2], x1), max(last[3], y1))
        else:
            found.append((x0, y0, x1, y1))
    return found


def draw(pdf: bytes, page: int, marked: Sequence[Box], *, width: int) -> bytes:
    """A PNG of a 1-based page, `width` pixels wide at most. Raises Refused 404 when it cannot be, 503 when busy."""
    if not _slots.acquire(timeout=SECONDS):
        raise Refused(503, "too many pages are being drawn; try again", code="busy", headers={"Retry-After": "2"})
    try:
        head = json.dumps({"page": page, "boxes": marked, "width": width}).encode()
        done = subprocess.run(
            [sys.executable, "-m", "openbook.serve.drawing"],
            input=struct.pack("<I", len(head)) + head + pdf,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _undrawable(page) from None
    finally:
        _slots.release()
    if done.returncode != 0 or not done.stdout.startswith(b"\x89PNG"):
        raise _undrawable(page)
    return done.stdout


def _undrawable(page: int) -> Refused:
    return Refused(404, f"page {page} of this file cannot be drawn; read its text", code="no_such_page", param="page")


def _render(pdf: bytes, page: int, marked: Sequence[Box], width: int) -> bytes:
    import pypdfium2
    from PIL import Image, ImageChops, ImageDraw

    shown = pypdfium2.PdfDocument(pdf)[page - 1]
    wide, high = shown.get_size()
    scale = min(width / max(wide, 1), (_PIXELS / max(wide * high, 1)) ** 0.5)
    picture = shown.render(scale=scale).to_pil().convert("RGB")
    paint = Image.new("RGB", picture.size, "white")
    brush = ImageDraw.Draw(paint)
    for x0, y0, x1, y1 in marked:
        left, top = max(0, round(x0 * scale / 10) - 1), max(0, round(y0 * scale / 10))
        right, bottom = round(x1 * scale / 10), round(y1 * scale / 10) - 1
        if right >= left and bottom >= top:
            brush.rectangle((left, top, right, bottom), fill=COLOUR)
    written = io.BytesIO()
    ImageChops.multiply(picture, paint).save(written, "PNG")
    return written.getvalue()


def _child() -> None:
    """Read an order from standard input and write the picture to standard output."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    except ImportError:  # Windows has no such limits
        pass
    given = sys.stdin.buffer.read()
    size = struct.unpack_from("<I", given)[0]
    order = json.loads(given[4 : 4 + size])
    marked = [(one[0], one[1], one[2], one[3]) for one in order["boxes"]]
    sys.stdout.buffer.write(_render(given[4 + size :], order["page"], marked, order["width"]))


if __name__ == "__main__":
    _child()
