"""Whatever comes in: a Document that keeps its promises, or a ReadError; nothing else."""

from __future__ import annotations

import io
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbook.errors import ReadError
from openbook.ingest import readers
from openbook.ingest.readers import pdf_layout, pdf_lines
from openbook.records import Document
from openbook.settings import Ingest

DOCUMENTS = Path(__file__).parents[1] / "fixtures" / "documents"
LIMITS = Ingest(max_unpacked_mb=20, max_file_mb=5)
TEXT_FORMATS = ("a.txt", "a.md", "a.rst", "a.html", "a.csv", "a.tsv", "a.json", "a.jsonl", "a.eml", "a.ipynb")
SAMPLES = (
    "docling/docx/docx_lists.docx",
    "docling/docx/textbox.docx",
    "docling/pptx/powerpoint_sample.pptx",
    "docling/xlsx/xlsx_comments.xlsx",
    "docling/html/html_rich_table_cells.html",
    "docling/email/eml_with_attachment.eml",
    "docling/email/msg_simple.msg",
    "docling/pdf/multi_page.pdf",
    "markitdown/test.epub",
    "markitdown/test_notebook.ipynb",
    "markitdown/test_mskanji.csv",
)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(document: Document) -> None:
    text = document.text
    text.encode("utf-8")  # no lone surrogates
    assert "\r" not in text
    assert not any(char < " " and char not in "\n\t" for char in text)
    assert len(document.hash) == 64
    if document.boxes is not None:
        assert len(document.boxes) == 8 * len(text)
    for page in document.pages:
        assert 0 <= page.start <= page.end <= len(text)
    for first, second in pairwise(document.pages):
        assert first.end <= second.start
        assert first.number < second.number
    for field in (document.title, document.author, document.created, document.modified):
        assert "\n" not in field
        field.encode("utf-8")
    assert text.strip() or "no text found" in document.notes


def read_or_refuse(data: bytes, name: str) -> None:
    try:
        outcome = readers.read_bytes(data, name=name, limits=LIMITS)
    except ReadError as error:
        reason = str(error)
    else:
        reason = "".join(failure.reason for failure in outcome.failures)
        for document in outcome.documents:
            check(document)
    assert "\n" not in reason


@QUICK
@given(st.binary(max_size=2000), st.sampled_from([f"a{extension}" for extension in readers.formats()] + ["a", "a.bin"]))
def test_random_bytes_under_any_name_are_read_or_refused(data: bytes, name: str) -> None:
    read_or_refuse(data, name)


@QUICK
@given(
    st.sampled_from(
        [b"%PDF-1.7\n", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"<html>", b"From: a\n\n", b"[{"]
    ),
    st.binary(max_size=2000),
)
def test_random_bytes_behind_a_true_signature_are_read_or_refused(signature: bytes, rest: bytes) -> None:
    read_or_refuse(signature + rest, "a.bin")


@QUICK
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), st.sampled_from(TEXT_FORMATS))
def test_any_text_in_any_text_format_is_read_or_refused(text: str, name: str) -> None:
    read_or_refuse(text.encode(), name)


MARKUP = st.sampled_from(
    "<table>;<tr>;<td colspan=3 rowspan=99>;</td>;<ul>;<li>;</ul>;<pre>;<h2>;<dl><dt>;<dd>;<p hidden>;<br>;text;| bar;"
    "\x00;&#xd800;<main>;</main>;<nav>;<blockquote>;<math>".split(";")
)


@QUICK
@given(st.lists(MARKUP, max_size=60))
def test_tangled_html_is_read_or_refused(pieces: list[str]) -> None:
    read_or_refuse(" ".join(pieces).encode(), "a.html")


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_damaged_copy_of_a_good_file_is_read_or_refused(sample: str) -> None:
    data = (DOCUMENTS / sample).read_bytes()

    @settings(max_examples=15, deadline=None)
    @given(st.data())
    def damage(draw: st.DataObject) -> None:
        at = draw.draw(st.integers(0, len(data) - 1))
        length = draw.draw(st.integers(0, 200))
        patch = draw.draw(st.binary(max_size=20))
        read_or_refuse(data[:at] + patch + data[at + length :], sample)

    damage()


@pytest.mark.parametrize(
    ("sample", "part"),
    [
        ("docling/docx/docx_lists.docx", "word/document.xml"),
        ("docling/docx/docx_lists.docx", "word/numbering.xml"),
        ("docling/pptx/powerpoint_sample.pptx", "ppt/slides/slide1.xml"),
        ("docling/xlsx/xlsx_comments.xlsx", "xl/sharedStrings.xml"),
        ("markitdown/test.epub", "META-INF/container.xml"),
    ],
)
def test_damage_inside_a_packed_part_is_read_or_refused(sample: str, part: str) -> None:
    with zipfile.ZipFile(DOCUMENTS / sample) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}

    @settings(max_examples=15, deadline=None)
    @given(st.data())
    def damage(draw: st.DataObject) -> None:
        content = parts[part]
        at = draw.draw(st.integers(0, len(content) - 1))
        patch = draw.draw(st.sampled_from([b"", b"<", b'"', b"</w:p>", b"9999999999", b"\0", b"-1", b"<w:p>"]))
        changed = content[:at] + patch + content[at + draw.draw(st.integers(0, 40)) :]
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, original in parts.items():
                archive.writestr(name, changed if name == part else original)
        read_or_refuse(stream.getvalue(), sample)

    damage()


GLYPH = st.tuples(
    st.sampled_from([*"ab1. -•|#", "\n", "\v", "\ufffe", "ل", "أ", "日"]),
    st.integers(0, 6000),
    st.integers(0, 8000),
    st.integers(0, 300),
    st.integers(0, 300),
)


@QUICK
@given(st.lists(st.lists(GLYPH, max_size=60), max_size=4))
def test_any_glyphs_give_text_with_a_box_per_character_and_all_of_its_ink(
    raw: list[list[tuple[str, int, int, int, int]]],
) -> None:
    pages = [[(char, x, y, x + width, y + height) for char, x, y, width, height in page] for page in raw]
    layout = pdf_layout.compose([pdf_lines.lines(page) for page in pages])
    assert len(layout.boxes) == 8 * len(layout.text)
    assert [page.number for page in layout.pages] == list(range(1, len(pages) + 1))
    for page, glyphs in zip(layout.pages, pages, strict=True):
        text = layout.text[page.start : page.end]
        for char in "ab1日":
            assert text.count(char) == sum(glyph[0] == char for glyph in glyphs)
