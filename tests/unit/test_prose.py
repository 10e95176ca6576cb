"""Words and sentences."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from openbook.prose import content, sentences, words


def test_numbers_in_words_equal_digits() -> None:
    assert content("fifteen days") == content("15 days")
    assert content("1,000 policies") == content("1000 policy")
    assert content("2.50") == content("2.5")


def test_contractions_count_as_negations() -> None:
    assert [word.negation for word in words("employees can't, cannot and don’t")] == [False, True, True, False, True]


def test_web_addresses_hold_no_words() -> None:
    assert content("see [list](https://example.org/Benefits%20and%20Perks) now") == content("see list now")


def test_sentences_cross_hard_wrapped_lines_but_not_items_rows_or_headings() -> None:
    text = "# Title\nA hard wrapped\nsentence. Another.\n- item one\n- item two\n| a b | c |\n"
    assert [text[span.start : span.end] for span in sentences(text)] == [
        "Title",
        "A hard wrapped\nsentence.",
        "Another.",
        "item one",
        "item two",
        "| a b | c |",
    ]


@given(st.text(max_size=300))
def test_sentence_spans_are_ordered_inside_the_text_and_lose_no_letter(text: str) -> None:
    spans = sentences(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    kept = {index for span in spans for index in range(span.start, span.end)}
    lost = [char for index, char in enumerate(text) if index not in kept and char.isalpha()]
    assert not lost


@given(st.text(max_size=300))
def test_word_offsets_point_into_the_text(text: str) -> None:
    for word in words(text):
        assert 0 <= word.start < word.end <= len(text)
        assert word.key
