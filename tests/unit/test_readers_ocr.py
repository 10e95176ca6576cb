"""Scanned pages through the extra openbook[ocr]."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from openbook.errors import MissingExtra
from openbook.ingest import readers
from openbook.settings import Ingest

SCAN = Path(__file__).parents[1] / "fixtures/documents/markitdown/MEDRPT-2024-PAT-3847_medical_report_scan.pdf"
INSTALLED = importlib.util.find_spec("rapidocr") is not None


@pytest.mark.skipif(INSTALLED, reason="openbook[ocr] is installed")
def test_asking_for_ocr_without_the_extra_names_the_pip_line() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'openbook\[ocr\]'"):
        readers.read(SCAN, name=SCAN.name, limits=Ingest(ocr=True))


def test_ocr_is_not_needed_for_pages_with_text() -> None:
    path = SCAN.with_name("movie-theater-booking-2024.pdf")
    assert "STARLIGHT" in readers.read(path, name=path.name, limits=Ingest(ocr=True)).documents[0].text


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(not INSTALLED, reason="openbook[ocr] is not installed")
def test_a_scan_is_read_with_boxes_and_a_warning() -> None:
    document = readers.read(SCAN, name=SCAN.name, limits=Ingest(ocr=True)).documents[0]
    assert "Jonathan Michael Harrison" in document.text
    assert "| Blood Pressure | 142/88 mmHg | 120/80 mmHg | ELEVATED |" in document.text
    assert document.boxes is not None
    assert len(document.boxes) == 8 * len(document.text)
    assert document.notes == ("pages 1-3 read by OCR; expect misread characters",)
