"""A PDF page as a picture, with the characters of a span highlighted where they are printed."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from openbook.ingest.readers import read
from openbook.records import Document
from openbook.serve import drawing
from openbook.serve.errors import Refused
from openbook.settings import Ingest

PDF = Path(__file__).parents[1] / "fixtures" / "documents" / "markitdown" / "test.pdf"
PHRASE = "Large language models (LLMs)"


@pytest.fixture(scope="module")
def document() -> Document:
    return read(PDF, name=PDF.name, limits=Ingest()).documents[0]


def pixels(picture: bytes) -> npt.NDArray[np.int16]:
    """A PNG as its red, green and blue, read by another library than wrote it."""
    import io

    import matplotlib.image

    return (matplotlib.image.imread(io.BytesIO(picture), format="png")[:, :, :3] * 255).round().astype(np.int16)


def draw(document: Document, start: int, end: int, *, page: int = 1) -> npt.NDArray[np.int16]:
    boxes = drawing.boxes(document.boxes or b"", start, end)
    return pixels(drawing.draw(PDF.read_bytes(), page, boxes, width=900))


def test_exactly_the_printed_span_is_highlighted(document: Document) -> None:
    start = document.text.index(PHRASE)
    plain, marked = draw(document, 0, 0), draw(document, start, start + len(PHRASE))
    assert plain.shape == marked.shape
    assert plain.shape[1] in (899, 900, 901)
    changed = np.argwhere((plain != marked).any(axis=2))
    scale = plain.shape[1] / 612
    box = np.frombuffer(document.boxes or b"", dtype="<u2").reshape(-1, 4)[start : start + len(PHRASE)] * scale / 10
    box = box[box[:, 2] > 0]
    assert abs(changed[:, 0].min() - box[:, 1].min()) < 3
    assert abs(changed[:, 0].max() - box[:, 3].max()) < 3
    assert abs(changed[:, 1].min() - box[:, 0].min()) < 3
    assert abs(changed[:, 1].max() - box[:, 2].max()) < 3


def test_print_stays_as_dark_as_it_was_under_the_highlight(document: Document) -> None:
    start = document.text.index(PHRASE)
    plain, marked = draw(document, 0, 0), draw(document, start, start + len(PHRASE))
    white, black = (plain == 255).all(axis=2), (plain < 40).all(axis=2)
    touched = (plain != marked).any(axis=2)
    assert (marked[white & touched] == drawing.COLOUR).all()
    assert (marked[black] <= plain[black]).all()


def test_boxes_of_a_line_become_one_and_of_two_lines_two() -> None:
    letters = [(x, y, x + 10, y + 12) for y in (0, 20) for x in (0, 10, 20)]
    stored = array("H", [value for one in letters for value in one]).tobytes()
    assert drawing.boxes(stored, 0, 6) == [(0, 0, 30, 12), (0, 20, 30, 32)]
    assert drawing.boxes(stored, 4, 4) == []
    assert drawing.boxes(stored, 5, 900) == [(20, 20, 30, 32)]
    assert drawing.boxes(b"", 0, 10) == []


@pytest.mark.parametrize("damaged", [b"", b"%PDF-1.7 no more", PDF.read_bytes()[:900]])
def test_a_damaged_file_is_a_page_that_cannot_be_drawn(damaged: bytes) -> None:
    with pytest.raises(Refused, match="cannot be drawn") as refused:
        drawing.draw(damaged, 1, [], width=300)
    assert refused.value.status == 404


def test_a_page_beyond_the_last_cannot_be_drawn() -> None:
    with pytest.raises(Refused, match="page 99 of this file"):
        drawing.draw(PDF.read_bytes(), 99, [], width=300)
