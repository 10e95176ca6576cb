"""Encodings, Markdown, reStructuredText, tables and structured text, on small hand-made inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.ingest import readers
from openbook.records import Document
from openbook.settings import Ingest

DOCUMENTS = Path(__file__).parents[1] / "fixtures" / "documents"


def read(source: str | bytes, name: str) -> Document:
    data = source.encode() if isinstance(source, str) else source
    return readers.read_bytes(data, name=name, limits=Ingest()).documents[0]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Café crème, déjà vu. Les congés payés sont posés avant l'été.", "latin-1"),
        ("Die Größe der Straße: „schön“ – 5 €.", "cp1252"),
        ("Pracownik ma prawo do urlopu wypoczynkowego, jeżeli złożył wniosek na czas.", "cp1250"),
        ("Сотрудник имеет право на ежегодный отпуск продолжительностью двадцать восемь дней.", "cp1251"),
        ("社員は年次休暇を取得できます。これは日本語のテキストです。", "cp932"),
        ("员工每年享有带薪休假。这是一个中文文本测试。", "gb18030"),
        ("Any text: naïve 日本", "utf-16"),
        ("Any text: naïve 日本", "utf-8-sig"),
        ("plain ascii in two bytes", "utf-16-le"),
        ("plain ascii in two bytes", "utf-16-be"),
        ("Any text: naïve 日本", "utf-32"),
    ],
)
def test_text_in_common_encodings_is_decoded(text: str, encoding: str) -> None:
    assert read(text.encode(encoding), "a.txt").text == text


def test_a_guessed_encoding_is_noted() -> None:
    document = readers.read(DOCUMENTS / "markitdown/test_mskanji.csv", name="a.csv", limits=Ingest()).documents[0]
    assert "- 名前: 佐藤太郎; 年齢: 30; 住所: 東京" in document.text
    assert document.notes == ("encoding guessed: cp932",)


def test_one_bad_byte_in_long_utf8_does_not_change_the_encoding() -> None:
    document = read(("größer " * 400).encode() + b"\xff" + b" end", "a.txt")
    assert document.text.startswith("größer")
    assert "replaced" in document.notes[0]


def test_line_ends_control_characters_and_odd_spaces_are_tidied() -> None:
    assert read("a\r\nb\rc\0d\x07\u00ade\u00a0f  \n\n\n\n\ng\n", "a.txt").text == "a\nb\ncde f\n\ng"


def test_markdown_is_kept_as_it_is_but_for_front_matter() -> None:
    source = '---\ntitle: "Leave policy"\nauthor: HR\ndate: 2024-05-01\n---\n\n# Leave\n\n* five   days\n'
    document = read(source, "a.md")
    assert document.text == "# Leave\n\n* five   days"
    assert (document.title, document.author, document.created) == ("Leave policy", "HR", "2024-05-01")


def test_the_first_heading_outside_code_is_the_title() -> None:
    assert read("```\n# not this\n```\n\n## This one ##\n", "a.md").title == "This one"


def test_restructured_text_gets_markdown_headings_and_code() -> None:
    source = """=====
Guide
=====

:Author: Ann

Install
-------

Use :ref:`the docs <docs>` or `our site <https://example.org>`_::

    pip install thing

.. note:: Mind the ``gap``.

.. a comment
   over two lines

Deep
~~~~

.. code-block:: python
   :linenos:

   print("hi")
"""
    document = read(source, "a.rst")
    assert (document.title, document.author) == ("Guide", "Ann")
    assert document.text == (
        "# Guide\n\n:Author: Ann\n\n## Install\n\nUse the docs or our site:\n\n```\npip install thing\n```\n\n"
        'Note: Mind the ``gap``.\n\n### Deep\n\n```python\nprint("hi")\n```'
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_table_is_found(delimiter: str) -> None:
    source = "\n".join(delimiter.join(row) for row in [("Day", "Open"), ("Mon", "9-5"), ("Tue", "10-4")])
    assert read(source, "a.csv").text == "- Day: Mon; Open: 9-5\n- Day: Tue; Open: 10-4"


def test_rows_without_named_columns_stay_a_pipe_table() -> None:
    assert read("1,2\n3,4\n", "a.csv").text == "| 1 | 2 |\n| --- | --- |\n| 3 | 4 |"
    assert read("a,a\n3,4\n", "a.csv").text == "| a | a |\n| --- | --- |\n| 3 | 4 |"


def test_quoted_cells_may_hold_delimiters_line_breaks_and_bars() -> None:
    assert read('a,b\n"x, y","one\ntwo | three"\n', "a.csv").text == "- a: x, y; b: one two | three"


def test_json_becomes_lines_with_key_paths() -> None:
    source = '{"name": "Shop", "open": {"mon": true}, "tags": ["a", 2], "staff": [{"id": 1}, {"id": 2}]}'
    document = read(source, "a.json")
    assert document.title == "Shop"
    assert document.text == "name: Shop\nopen.mon: true\ntags: a, 2\nstaff[0].id: 1\n\nstaff[1].id: 2"


def test_json_lines_become_blocks() -> None:
    assert read('{"q": "Why?"}\n\n{"q": "How?"}\n', "a.jsonl").text == "q: Why?\n\nq: How?"


def test_json_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    assert read('{"a": "x\\ud800y"}', "a.json").text == "a: x\ufffdy"


def test_hidden_elements_scripts_and_styles_are_left_out_of_pages() -> None:
    source = """<html><head><title>T | Site</title><style>p{}</style></head><body><script>x()</script>
    <p>Seen</p><p hidden>not</p><div style="display: none">nor this</div><p aria-hidden="true">nor that</p></body>"""
    document = read(source, "a.html")
    assert (document.text, document.title) == ("Seen", "T | Site")


def test_html_structure_becomes_markdown() -> None:
    source = """<h1>Pay</h1><ol start=3><li>one<ul><li>nested</li></ul></li><li>two</li></ol>
    <table><tr><th>A</th><th colspan=2>B</th></tr><tr><td rowspan=2>x</td><td>1</td><td>2</td></tr>
    <tr><td>3</td><td>4</td></tr></table><pre>code
  kept</pre><blockquote>said</blockquote><dl><dt>Term</dt><dd>meaning</dd></dl>"""
    assert read(source, "a.html").text == (
        "# Pay\n\n3. one\n   - nested\n4. two\n\n"
        "| A | B | B |\n| --- | --- | --- |\n| x | 1 | 2 |\n| x | 3 | 4 |\n\n"
        "```\ncode\n  kept\n```\n\n> said\n\n- Term: meaning"
    )


def test_a_pages_dates_and_author_come_from_its_meta_tags() -> None:
    source = """<html><head><meta name=author content="Ann Lee">
    <meta property="article:published_time" content="2024-02-03T04:05:06+01:00"></head><body>Text</body></html>"""
    document = read(source, "a.html")
    assert (document.author, document.created) == ("Ann Lee", "2024-02-03T03:05:06Z")


def test_a_pages_own_charset_is_believed() -> None:
    source = '<html><head><meta charset="windows-1251"></head><body><p>Отпуск</p></body></html>'
    assert read(source.encode("cp1251"), "a.html").text == "Отпуск"


def test_a_pdf_stored_in_a_zip_is_read_out_of_it() -> None:
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.write(next(iter(sorted(DOCUMENTS.rglob("*.pdf")))), "paper.pdf")
    found = readers.read_bytes(packed.getvalue(), name="all.zip", limits=Ingest()).documents
    assert [(one.name, one.format) for one in found] == [("all.zip!/paper.pdf", "pdf")]
