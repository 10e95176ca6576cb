"""Every fixture document is read, with its words, pages, boxes and metadata."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from bench.readers import expected, score
from openbook.ingest import readers
from openbook.records import Document
from openbook.settings import Ingest

DOCUMENTS = Path(__file__).parents[1] / "fixtures" / "documents"
LIMITS = Ingest()
FILES = [
    path
    for path in sorted(DOCUMENTS.rglob("*"))
    if path.is_file()
    and not {"groundtruth", "expected_outputs", "made"} & set(path.parts)
    and not path.name.startswith(("LICENSE", "README"))
    and path.suffix != ".bin"
]
WEAK_RECALL = {
    "docx_checkboxes.docx": 0.85,  # the reference writes a ticked box as [x], we keep the sign
    "drawingml.docx": 0.9,
    "equations.docx": 0.8,  # LaTeX command names
    "table_with_equations.docx": 0.75,
    "omml_func_log.docx": 0.9,
    "formatting.html": 0.9,  # "H 2 O" there, "H2O" here
    "html_rich_table_cells.html": 0.95,
    "wiki_duck.html": 0.85,  # navigation and category links
    "right_to_left_02.pdf": 0.9,
    "2305.03393v1-pg9.pdf": 0.96,
    "table_mislabeled_as_picture.pdf": 0.95,
    "powerpoint_comments.pptx": 0.55,  # reviewers' comments
    "pptx_chart.pptx": 0.85,
    "xlsx_01.xlsx": 0.65,  # charts repeat the sheet's numbers there
    "xlsx_02_sample_sales_data.xlsm": 0.7,  # "00:00:00" behind dates
    "xlsx_03_chartsheet.xlsx": 0.5,
    "xlsx_07_gap_tolerance_.xlsx": 0.8,  # merged cells repeated across columns
    "xlsx_comments.xlsx": 0.75,
    "docx_rich_cells.docx": 0.97,
    "test.pdf": 0.97,
}


def only(name: str) -> Document:
    path = DOCUMENTS / name
    return readers.read(path, name=path.name, limits=LIMITS).documents[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_fixture_keeps_the_words_of_its_reference(path: Path) -> None:
    outcome = readers.read(path, name=path.name, limits=LIMITS)
    document = outcome.documents[0]
    assert document.name == path.name
    assert document.bytes == path.stat().st_size
    reference = expected(path)
    if reference is not None:
        recall, _ = score(reference.read_text(encoding="utf-8"), document.text)
        assert recall >= WEAK_RECALL.get(path.name, 0.98)


def test_pdf_text_carries_page_numbers_and_four_box_values_per_character() -> None:
    document = only("docling/pdf/multi_page.pdf")
    assert [page.number for page in document.pages] == [1, 2, 3, 4, 5]
    assert document.boxes is not None
    assert len(document.boxes) == 8 * len(document.text)
    at = document.text.index("Christopher Latham Sholes")
    boxes = [struct.unpack_from("<4H", document.boxes, 8 * index) for index in range(at, at + len("Christopher"))]
    assert all(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in boxes)
    assert len({y0 for _, y0, _, _ in boxes}) == 1
    assert [box[0] for box in boxes] == sorted(box[0] for box in boxes)
    assert max(y1 for *_, y1 in boxes) < 8000


def test_characters_put_into_pdf_text_have_empty_boxes() -> None:
    document = only("docling/pdf/multi_page.pdf")
    assert document.text.startswith("# The Evolution")
    assert document.boxes is not None
    assert document.boxes[:16] == bytes(16)
    assert document.boxes[16:24] != bytes(8)


def test_pdf_paragraphs_lose_their_line_breaks_and_hyphens() -> None:
    text = only("docling/pdf/2305.03393v1-pg9.pdf").text
    assert "the PubTabNet data set to perform HPO, since it includes a highly diverse set of tables." in text
    assert "Effects of reducing" in text
    assert "## 5.1 Hyper Parameter Optimization\n" in text


def test_pdf_tables_become_pipe_tables_with_empty_cells_kept() -> None:
    text = only("markitdown/SPARSE-2024-INV-1234_borderless_table.pdf").text
    assert "| Product Code | Location | Expected | Actual | Variance | Status |\n| --- |" in text
    assert "| SKU-4563 | D-22 | | 156 | | CRITICAL |" in text


def test_right_to_left_text_comes_in_reading_order_with_its_ligatures_put_right() -> None:
    assert "تحسين الإنتاجية وحل المشكلات" in only("docling/pdf/right_to_left_01.pdf").text


def test_scanned_pages_are_named_in_the_notes() -> None:
    document = only("markitdown/MEDRPT-2024-PAT-3847_medical_report_scan.pdf")
    assert document.text == ""
    assert any("pages 1-3 without text" in note and "ingest.ocr" in note for note in document.notes)
    assert [page.number for page in document.pages] == [1, 2, 3]


def test_word_lists_show_the_numbers_readers_see() -> None:
    text = only("docling/docx/docx_lists.docx").text
    assert "1. ORCHARD MAP AND GARDEN NOTES\n   - 1.1 Morning Walk" in text
    assert "## 1.2. Section 1.2" in only("docling/docx/unit_test_headers_numbered.docx").text


def test_word_formulas_charts_and_text_boxes_are_kept() -> None:
    assert "a^2+b^2=c^2" in only("docling/docx/equations.docx").text
    assert "| Category 1 | 4.3 | 2.4 | 2 |" in only("docling/docx/drawingml.docx").text
    assert "Suggested Reportable Symptoms" in only("docling/docx/textbox.docx").text


def test_slides_are_pages_with_their_title_as_heading_and_notes() -> None:
    document = only("docling/pptx/powerpoint_sample.pptx")
    assert [page.number for page in document.pages] == [1, 2, 3]
    second = document.text[document.pages[1].start : document.pages[1].end]
    assert second.startswith("# Second slide title\n")
    assert second.endswith("Notes: Some notes on the second slide.")


def test_sheets_are_pages_with_formula_values_and_whole_numbers() -> None:
    document = only("markitdown/test.xlsx")
    assert len(document.pages) == 2
    assert document.text.startswith("## Sheet1\n\n- Alpha: 89; Beta: 82; Gamma: 100; Delta: 12\n")
    assert only("markitdown/test.xls").text == document.text


def test_metadata_comes_from_the_file() -> None:
    word = only("docling/docx/docx_checkboxes.docx")
    assert (word.author, word.created) == ("Cesar Berrospi Ramis", "2026-04-22T09:18:00Z")
    book = only("markitdown/test.epub")
    assert (book.title, book.author) == ("Test EPUB Document", "Test Author")


def test_mail_headers_are_text_and_attachments_are_documents_of_their_own() -> None:
    path = DOCUMENTS / "docling/email/eml_with_attachment.eml"
    outcome = readers.read(path, name="inbox/mail.eml", limits=LIMITS)
    assert [document.name for document in outcome.documents] == ["inbox/mail.eml", "inbox/mail.eml!/test.txt"]
    mail, attachment = outcome.documents
    assert mail.text.startswith("From: Alice Example <alice@example.com>\nTo: Bob Example")
    assert mail.title == "Email with Attachment"
    assert attachment.text.startswith("This is a test attachment file.")


def test_outlook_attachments_that_cannot_be_read_are_reported_and_do_not_stop_the_rest() -> None:
    path = DOCUMENTS / "docling/email/msg_with_attachment.msg"
    outcome = readers.read(path, name="mail.msg", limits=LIMITS)
    assert [document.name for document in outcome.documents] == ["mail.msg", "mail.msg!/test.txt"]
    assert [failure.path for failure in outcome.failures] == ["mail.msg!/report.pdf"]
    assert "damaged PDF" in outcome.failures[0].reason


def test_an_encoded_sender_name_is_shown_as_text() -> None:
    assert only("markitdown/test_outlook_msg.msg").author.startswith("M. C. Kurtulu")


@pytest.mark.parametrize("path", sorted((DOCUMENTS / "job-descriptions").glob("*.html")), ids=lambda path: path.stem)
def test_job_pages_lose_the_site_around_the_posting_and_keep_the_posting(path: Path) -> None:
    document = readers.read(path, name=path.name, limits=LIMITS).documents[0]
    for furniture in (
        "An official website of the United States government",
        "Skip to main content",
        "Secure .gov websites use HTTPS",
        "Sign up for job alerts",
        "Reading a federal job posting",
    ):
        assert furniture not in document.text
    assert "salary" in document.text.lower()
    assert "# " in document.text
    assert len(document.text) > 5000
    assert document.title


def test_a_job_pages_whole_posting_survives_even_without_landmarks() -> None:
    source = (DOCUMENTS / "job-descriptions" / "coe-director.html").read_text(encoding="utf-8")
    soup = source
    for name in ("main", "header", "footer", "nav", "section", "article", "aside"):
        soup = soup.replace(f"<{name}", "<div").replace(f"</{name}>", "</div>")
    landmarks = readers.read_bytes(source.encode(), name="a.html", limits=LIMITS).documents[0].text
    without = readers.read_bytes(soup.replace('role="', 'data-role="').encode(), name="a.html", limits=LIMITS)
    recall, precision = score(landmarks, without.documents[0].text)
    assert recall >= 0.97
    assert precision >= 0.97


def test_an_archive_gives_its_members_and_reports_those_that_fail(tmp_path: Path) -> None:
    path = tmp_path / "box.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes/leave.md", "# Leave\n\nFive days.")
        archive.writestr("photo.jpg", b"\xff\xd8\xff\xe0rest")
        archive.writestr("../../etc/passwd.txt", "text")
        archive.writestr("__MACOSX/notes/._leave.md", "junk")
    outcome = readers.read(path, name="box.zip", limits=LIMITS)
    assert [document.name for document in outcome.documents] == ["box.zip!/notes/leave.md", "box.zip!/etc/passwd.txt"]
    assert [(failure.path, failure.reason) for failure in outcome.failures] == [
        ("box.zip!/photo.jpg", "not a supported format (JPEG image)")
    ]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_boxes_of_a_turned_page_lie_on_the_page_as_it_is_shown(turn: int) -> None:
    import pypdfium2

    path = DOCUMENTS / "docling/pdf/2305.03393v1-pg9.pdf"
    source = pypdfium2.PdfDocument(path)
    width, height = (round(10 * side) for side in source[0].get_size())
    source[0].set_rotation(turn)
    stream = io.BytesIO()
    source.save(stream)
    source.close()
    turned = readers.read_bytes(stream.getvalue(), name="a.pdf", limits=LIMITS).documents[0]
    x0, y0, x1, y1 = box_of("Optimized", only("docling/pdf/2305.03393v1-pg9.pdf"))
    expected_box = {
        90: (height - y1, x0, height - y0, x1),
        180: (width - x1, height - y1, width - x0, height - y0),
        270: (y0, width - x1, y1, width - x0),
    }[turn]
    assert box_of("Optimized", turned) == pytest.approx(expected_box, abs=1)


def box_of(word: str, document: Document) -> tuple[int, ...]:
    """The box of a word's first letter."""
    assert document.boxes is not None
    return struct.unpack_from("<4H", document.boxes, 8 * document.text.index(word))
