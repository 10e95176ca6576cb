"""How a text is cut into pieces changes nothing about what is shown."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from openbook.answer.generators.pieces import Detokenizer, StopStrings

few_letters = st.text(alphabet="ab\n", max_size=30)


def cut(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(at % (len(text) + 1) for at in cuts)})
    return [text[start:end] for start, end in itertools.pairwise(places)]


def shown(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stop = StopStrings(stops)
    text = "".join([stop.push(piece) for piece in pieces])
    return text + stop.flush(), stop.stopped


@given(few_letters, st.lists(st.text(alphabet="ab\n", min_size=1, max_size=5), max_size=4), st.lists(st.integers(0)))
def test_stop_strings_do_not_depend_on_the_cuts(text: str, stops: list[str], cuts: list[int]) -> None:
    assert shown(cut(text, cuts), stops) == shown([text], stops)


@given(few_letters, st.lists(st.text(alphabet="ab\n", min_size=1, max_size=5), max_size=4), st.lists(st.integers(0)))
def test_what_is_shown_is_the_text_up_to_a_stop_string(text: str, stops: list[str], cuts: list[int]) -> None:
    out, stopped = shown(cut(text, cuts), stops)
    assert stopped == any(stop in text for stop in stops)
    assert text.startswith(out)
    assert not any(stop in out for stop in stops)
    assert (out == text) == (not stopped)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=30), st.data())
def test_bytes_in_any_portions_come_out_as_the_text(text: str, data: st.DataObject) -> None:
    detokenizer = Detokenizer(lambda tokens: bytes(tokens).decode("utf-8", "replace"))
    left = list(text.encode())
    pieces = []
    while left:
        portion = data.draw(st.integers(1, len(left)))
        pieces.append(detokenizer.push(left[:portion]))
        left = left[portion:]
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) + detokenizer.flush() == text
