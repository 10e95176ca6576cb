"""Files that cannot be read are refused in one plain sentence, and limits hold whatever headers claim."""

from __future__ import annotations

import email.message
import io
import json
import os
import pickle
import time
import zipfile
from pathlib import Path

import pytest

from openbook.errors import ReadError
from openbook.ingest import readers
from openbook.settings import Ingest

DOCUMENTS = Path(__file__).parents[1] / "fixtures" / "documents"
LIMITS = Ingest()


def refusal(data: bytes, name: str, limits: Ingest = LIMITS) -> str:
    with pytest.raises(ReadError) as caught:
        readers.read_bytes(data, name=name, limits=limits)
    return str(caught.value)


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize("data", [b"", b"  \n\t\r\n", b"\xef\xbb\xbf", b"\0\0\0"])
@pytest.mark.parametrize("name", ["a.txt", "a.pdf", "a.docx", "a.unknown"])
def test_an_empty_file_is_refused_as_empty(data: bytes, name: str) -> None:
    assert refusal(data, name) == "the file is empty"


def test_unknown_binary_data_is_refused_whatever_its_name() -> None:
    data = (DOCUMENTS / "markitdown" / "random.bin").read_bytes()
    assert refusal(data, "random.bin") == "not a supported format (unknown binary data)"
    assert refusal(data, "random.txt") == "not a supported format (unknown binary data)"
    assert refusal(data, "random.docx") == "damaged: the content is not that of a docx file"


def test_known_foreign_formats_are_named() -> None:
    assert refusal(b"\x89PNG\r\n\x1a\n", "scan.pdf") == "not a supported format (PNG image)"
    assert "RTF" in refusal(b"{\\rtf1 hello}", "letter.doc")


def test_content_decides_the_format_before_the_name_does() -> None:
    pdf = (DOCUMENTS / "markitdown" / "movie-theater-booking-2024.pdf").read_bytes()
    assert readers.read_bytes(pdf, name="booking.txt", limits=LIMITS).documents[0].format == "pdf"
    page = b"<!DOCTYPE html><html><body><p>Hello there</p></body></html>"
    document = readers.read_bytes(page, name="page.txt", limits=LIMITS).documents[0]
    assert (document.format, document.text) == ("html", "Hello there")


def test_an_encrypted_office_file_says_so() -> None:
    data = (DOCUMENTS / "made" / "encrypted.docx").read_bytes()
    assert refusal(data, "plan.docx") == "encrypted; remove the password and try again"


def test_an_encrypted_pdf_says_so() -> None:
    key = "<" + "41" * 32 + ">"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>>",
        f"<</Filter/Standard/V 1/R 2/O {key}/U {key}/P -4>>",
    ]
    body = "%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj{content}endobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer<</Size 5/Root 1 0 R/Encrypt 4 0 R/ID[<41><41>]>>\nstartxref\n{len(body)}\n%%EOF"
    data = f"{body}xref\n0 5\n0000000000 65535 f \n{table}{trailer}".encode()
    assert refusal(data, "plan.pdf") == "encrypted; remove the password and try again"


def test_a_truncated_pdf_is_refused_as_damaged() -> None:
    data = (DOCUMENTS / "docling/pdf/multi_page.pdf").read_bytes()[:3000]
    assert refusal(data, "a.pdf").startswith("damaged PDF (")


@pytest.mark.parametrize("name", ["docling/docx/lorem_ipsum.docx", "markitdown/test.xlsx", "markitdown/test.epub"])
def test_a_truncated_archive_is_refused_as_damaged(name: str) -> None:
    data = (DOCUMENTS / name).read_bytes()
    assert refusal(data[: len(data) // 2], name).startswith("damaged")


def test_too_many_pages_slides_or_sheets_name_the_setting() -> None:
    limits = Ingest(max_pages=1)
    for name, word in (
        ("docling/pdf/multi_page.pdf", "5 pages"),
        ("docling/pptx/powerpoint_sample.pptx", "3 slides"),
        ("markitdown/test.xlsx", "2 sheets"),
    ):
        message = refusal((DOCUMENTS / name).read_bytes(), name, limits)
        assert word in message
        assert "ingest.max_pages" in message


def test_a_two_gigabyte_file_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    path.touch()
    os.truncate(path, 2 << 30)
    started = time.perf_counter()
    with pytest.raises(ReadError, match=r"2147 MB is over the limit of 200 MB; raise ingest\.max_file_mb to read it"):
        readers.read(path, name="huge.txt", limits=LIMITS)
    assert time.perf_counter() - started < 0.5


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.txt"):
        with pytest.raises(ReadError, match="not a regular file"):
            readers.read(path, name="x", limits=LIMITS)


def test_a_zip_bomb_stops_at_the_limit_and_what_came_before_is_kept() -> None:
    data = zipped(**{"a.txt": b"good text", "b.txt": b"0" * 30_000_000, "c.txt": b"never reached"})
    assert len(data) < 100_000
    outcome = readers.read_bytes(data, name="bomb.zip", limits=Ingest(max_unpacked_mb=5))
    assert [document.name for document in outcome.documents] == ["bomb.zip!/a.txt"]
    assert [failure.path for failure in outcome.failures] == ["bomb.zip!/b.txt"]
    assert "ingest.max_unpacked_mb" in outcome.failures[0].reason


def test_what_nested_archives_unpack_to_is_counted_together() -> None:
    inner = zipped(**{"a.txt": b"0 " * 2_000_000})
    data = zipped(**{f"{number}.zip": inner for number in range(5)})
    outcome = readers.read_bytes(data, name="outer.zip", limits=Ingest(max_unpacked_mb=10))
    assert len(outcome.documents) == 2
    assert "ingest.max_unpacked_mb" in outcome.failures[0].reason


def test_an_office_file_that_unpacks_to_too_much_is_refused_before_it_is_parsed() -> None:
    source = zipfile.ZipFile(DOCUMENTS / "docling/docx/lorem_ipsum.docx")
    parts = {name: source.read(name) for name in source.namelist()}
    parts["word/document.xml"] += b" " * 20_000_000
    assert "ingest.max_unpacked_mb" in refusal(zipped(**parts), "a.docx", Ingest(max_unpacked_mb=5))


def test_xml_entities_are_refused_in_office_files() -> None:
    source = zipfile.ZipFile(DOCUMENTS / "docling/docx/lorem_ipsum.docx")
    parts = {name: source.read(name) for name in source.namelist()}
    parts["word/document.xml"] = (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
    )
    assert "entity declarations" in refusal(zipped(**parts), "a.docx")


def test_entities_in_a_web_page_are_not_expanded() -> None:
    data = b'<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]><html><body><p>Look: &x;</p></body></html>'
    assert "root:" not in readers.read_bytes(data, name="a.html", limits=LIMITS).documents[0].text


def test_archives_nested_too_deeply_are_reported_with_the_setting() -> None:
    data = zipped(**{"deep.txt": b"text"})
    for level in range(3):
        data = zipped(**{f"{level}.zip": data})
    assert len(readers.read_bytes(data, name="a.zip", limits=Ingest(max_nesting=4)).documents) == 1
    outcome = readers.read_bytes(data, name="a.zip", limits=Ingest(max_nesting=3))
    assert outcome.documents == ()
    assert "ingest.max_nesting" in outcome.failures[0].reason


def test_an_encrypted_archive_member_is_reported_and_the_rest_is_read() -> None:
    data = bytearray(zipped(**{"a.txt": b"secret", "b.txt": b"open"}))
    data[6] |= 1  # the flag of the first local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and of its directory entry
    outcome = readers.read_bytes(bytes(data), name="x.zip", limits=LIMITS)
    assert [document.text for document in outcome.documents] == ["open"]
    assert outcome.failures[0].reason.startswith("encrypted archive member")


def test_two_members_of_one_name_keep_apart() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.txt", "two")
    outcome = readers.read_bytes(stream.getvalue(), name="x.zip", limits=LIMITS)
    assert [document.name for document in outcome.documents] == ["x.zip!/a.txt", "x.zip!/a (2).txt"]


def test_a_mail_within_a_mail_is_read_down_to_the_limit() -> None:
    message = email.message.EmailMessage()
    message["Subject"] = "innermost"
    message.set_content("text")
    for level in range(3):
        outer = email.message.EmailMessage()
        outer["Subject"] = f"level {level}"
        outer.set_content("see attached")
        outer.add_attachment(message)
        message = outer
    outcome = readers.read_bytes(message.as_bytes(), name="m.eml", limits=Ingest(max_nesting=2))
    assert [document.title for document in outcome.documents] == ["level 2", "level 1", "level 0"]
    assert "ingest.max_nesting" in outcome.failures[0].reason


def test_a_sheet_with_one_far_off_cell_is_read_without_filling_the_gap() -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "here", "there"
    stream = io.BytesIO()
    book.save(stream)
    document = readers.read_bytes(stream.getvalue(), name="a.xlsx", limits=LIMITS).documents[0]
    assert "here" in document.text
    assert "there" in document.text


def test_broken_json_names_the_place() -> None:
    assert "line 1" in refusal(b'{"a": ', "a.json")
    assert refusal(b'{"a": 1}\nnot json', "a.jsonl").startswith("line 2 is not valid JSON")
    assert "nested too deeply" in refusal(b"[" * 100_000, "a.json")


def test_errors_survive_the_way_back_from_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(ReadError("the file is empty")))  # noqa: S301 - our own bytes
    assert str(error) == "the file is empty"


def test_only_known_extensions_are_supported() -> None:
    assert {".pdf", ".docx", ".md", ".html", ".eml", ".msg", ".epub", ".ipynb", ".zip"} <= set(readers.formats())
    assert readers.is_supported(Path("A/B.PDF"))
    assert not readers.is_supported("photo.jpg")
    assert not readers.is_supported("Makefile")


def test_a_notebook_named_json_is_read_as_a_notebook() -> None:
    book = {"nbformat": 4, "cells": [{"cell_type": "markdown", "source": ["# Title"]}], "metadata": {}}
    document = readers.read_bytes(json.dumps(book).encode(), name="book.json", limits=LIMITS).documents[0]
    assert (document.format, document.title) == ("ipynb", "Title")
