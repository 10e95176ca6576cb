"""Whatever cases say, frozen ones are read back as they were, and are no leak of a training that says nothing."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.compare.cases import freeze, leaks, read_frozen, sealed
from openbook.errors import CompareError
from openbook.records import Case, Message

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
some = st.lists(words, max_size=3).map(tuple)
cases = st.builds(
    Case,
    question=words,
    gold=st.lists(words, min_size=1, max_size=3).map(tuple),
    kind=st.sampled_from(["answerable", "conflict", "behaviour", "late", "general"]),
    history=st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), words), max_size=2).map(
        tuple
    ),
    stale=some,
    contexts=some,
    without=some,
)


@given(st.lists(cases, min_size=1, max_size=5, unique_by=repr))
def test_frozen_cases_are_read_back_as_they_were(made: list[Case]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frozen = freeze(made, folder, facts={"n": len(made)})
        assert sealed(folder)
        assert read_frozen(folder) == frozen == freeze(made, folder, facts={})
        assert [case.question for case in frozen.cases] == [case.question for case in made]
        assert len({case.id for case in frozen.cases}) == len(made)
        assert leaks(frozen.cases, []) == []


@given(words)
def test_what_is_no_text_is_refused_in_a_sentence(question: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        with pytest.raises(CompareError, match="half of a surrogate pair"):
            freeze([Case(f"{question}\ud800", ("x",))], Path(name), facts={})
        assert not sealed(Path(name))
