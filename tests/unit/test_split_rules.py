"""What a chunk may hold: sections, tables, lists and code as people would cut them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from openbook.ingest.split import split
from openbook.records import Chunk, Document

PARAGRAPH = "Every full-time employee accrues paid vacation with each month of work. " * 3


def count(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def chunks_of(text: str, *, name: str = "leave.md", title: str = "", budget: int = 60) -> list[Chunk]:
    document = Document(name, text, "md", "", len(text), title=title)
    return split(document, count=count, max_tokens=256, chunk_tokens=budget)


def test_a_chunk_does_not_run_from_one_large_section_into_the_next() -> None:
    found = chunks_of(f"# Vacation\n\n{PARAGRAPH}\n\n# Sick leave\n\n{PARAGRAPH}")
    assert [chunk.heading for chunk in found] == [("Vacation",), ("Sick leave",)]


def test_a_large_budget_does_not_join_large_sections() -> None:
    found = chunks_of(f"# Vacation\n\n{PARAGRAPH}\n\n# Sick leave\n\n{PARAGRAPH}", budget=90)
    assert [chunk.heading for chunk in found] == [("Vacation",), ("Sick leave",)]


def test_tiny_sections_join_under_their_common_heading() -> None:
    found = chunks_of("# Leave\n\n## Bereavement\n\nThree days.\n\n## Jury\n\nAs needed.\n\n## Voting\n\nTwo hours.")
    assert [chunk.heading for chunk in found] == [("Leave",)]


def test_a_heading_without_text_goes_with_what_follows() -> None:
    found = chunks_of(f"# Leave\n\n## Vacation\n\n{PARAGRAPH * 2}")
    assert found[0].text.startswith("# Leave\n\n## Vacation\n\nEvery")
    assert {chunk.heading for chunk in found} == {("Leave", "Vacation")}


def test_a_heading_is_never_left_alone() -> None:
    sentence = "word " * 55
    found = chunks_of(f"# Vacation\n\n{sentence}\n\n{sentence}")
    assert found[0].text.startswith("# Vacation\n\nword")


def test_hashes_in_code_are_not_headings() -> None:
    found = chunks_of(f"# Setup\n\n```sh\n# Vacation\nrun me\n```\n\n    # Sick\n\n- # Jury\n\n{PARAGRAPH * 3}")
    assert {chunk.heading for chunk in found} == {("Setup",)}


def test_underlined_headings_count_and_their_markup_is_dropped() -> None:
    found = chunks_of(f"Paid **leave** & [rules](x.md)\n=====\n\n{PARAGRAPH}\n\n## A `b`\n\n{PARAGRAPH}", budget=80)
    assert [chunk.heading for chunk in found] == [("Paid leave & rules",), ("Paid leave & rules", "A b")]


def test_table_rows_stay_whole() -> None:
    rows = [f"| holiday {n} | the {n}. day of the month | paid for everyone |" for n in range(40)]
    text = "\n".join(["| name | when | pay |", "|---|---|---|", *rows])
    found = chunks_of(text)
    assert len(found) > 5
    assert all(line.startswith("|") and line.endswith("|") for chunk in found for line in chunk.text.splitlines())


def test_list_items_and_code_lines_stay_whole() -> None:
    items = "\n".join(f"- item {n} is about one thing and ends here." for n in range(40))
    code = "```python\n" + "\n".join(f"value_{n} = call(first, second, {n})" for n in range(40)) + "\n```"
    for chunk in chunks_of(items):
        assert all(line.startswith("- item") and line.endswith("here.") for line in chunk.text.splitlines())
    for chunk in chunks_of(code):
        assert all(line.endswith(")") for line in chunk.text.splitlines() if not line.startswith("```"))


def test_sentences_stay_whole_where_they_fit() -> None:
    assert all(chunk.text.endswith(".") for chunk in chunks_of(PARAGRAPH * 9))


@pytest.mark.parametrize(
    ("name", "title", "shown"),
    [
        ("policies/leave.policy.md", "", "leave.policy"),
        ("policies/leave.md", "Leave at  Clef", "Leave at Clef"),
        ("https://example.org/help/returns.html?x=1", "", "returns"),
        ("https://example.org", "", "https://example.org"),
    ],
)
def test_the_title_is_the_documents_or_its_file_name(name: str, title: str, shown: str) -> None:
    assert chunks_of("text", name=name, title=title)[0].title == shown


def test_title_and_headings_never_crowd_out_the_text() -> None:
    text = "".join(f"{'#' * level} {'very ' * 40}long {level}\n\n" for level in range(1, 7)) + PARAGRAPH * 9
    for chunk in chunks_of(text, title="word " * 500, budget=200):
        assert count([chunk.indexed_text])[0] <= 254
        assert len(chunk.title.split()) <= 32


def test_an_empty_document_has_no_chunks() -> None:
    assert chunks_of("") == chunks_of(" \n\n\t") == []


def test_ten_thousand_headings_or_a_line_without_spaces_take_seconds_not_hours() -> None:
    started = time.monotonic()
    assert len(chunks_of("# H\n\nx\n\n" * 10_000)) > 100
    assert len(chunks_of("漢字" * 100_000)) > 100
    assert len(chunks_of("x" * 1_000_000)) > 100
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("apostrophe", ["'", "’"])
def test_an_apostrophe_within_a_word_is_no_place_to_cut(apostrophe: str) -> None:
    sentence = f"The planet{apostrophe}s remaining forests and the company{apostrophe}s oldest halls. "
    found = chunks_of(sentence * 40, budget=33)
    assert len(found) > 5
    assert not [chunk.text for chunk in found if not chunk.text.endswith(".")]
