from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbook import wire
from openbook.errors import UsageError
from openbook.records import Answer, DocumentInfo, SearchResult, SyncReport, Timings, VersionInfo
from openbook.retrieve.where import parse, written

AS_TOLD = st.floats(0, 1e6, allow_nan=False).map(lambda value: round(value, 6))
st.register_type_strategy(float, AS_TOLD)


def some(record: type[Any]) -> st.SearchStrategy[Any]:
    """Any values of a record's annotated types."""
    return st.from_type(record)


@settings(deadline=None)
@given(some(Answer), st.builds(Timings, AS_TOLD, AS_TOLD, AS_TOLD, AS_TOLD))
def test_an_answer_comes_back_from_json_as_it_was(answer: Answer, seconds: Timings) -> None:
    answer = replace(answer, seconds=seconds, written="")
    assert wire.answer_of(wire.answer_json(answer)) == answer


@settings(deadline=None)
@given(some(SearchResult))
def test_a_search_comes_back_from_json_as_it_was(result: SearchResult) -> None:
    assert wire.search_of(wire.search_json(result)) == result


@settings(deadline=None)
@given(some(SyncReport))
def test_a_sync_comes_back_from_json_as_it_was(report: SyncReport) -> None:
    report = replace(report, seconds=round(report.seconds, 3))
    assert wire.sync_of(wire.sync_json(report)) == report


@settings(deadline=None)
@given(some(DocumentInfo))
def test_a_document_comes_back_from_json_as_it_was(info: DocumentInfo) -> None:
    info = replace(info, container_hash="")
    assert wire.document_of(wire.document_json(info)) == info


@settings(deadline=None)
@given(some(VersionInfo))
def test_a_version_comes_back_from_json_as_it_was(info: VersionInfo) -> None:
    assert wire.version_of(wire.version_json(info)) == info


def test_only_what_is_told_nowhere_is_left_out() -> None:
    """Whoever adds a field to a record says here that it does not cross the wire, or makes it cross."""
    told = {"Answer": {"written"}, "DocumentInfo": {"container_hash"}}
    crossing = {
        Answer: {*"text abstained citations sentences hits prompt model adapter arm prompt_tokens".split()}
        | {"answer_tokens", "seconds", "library_version", "notes"},
        DocumentInfo: {*"name hash bytes pages chunks acl synced_at source format title author".split()}
        | {"created", "modified", "notes"},
    }
    for record, names in crossing.items():
        assert {one.name for one in fields(record)} == names | told[record.__name__]


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\"'"), max_size=20) | st.sampled_from(
    ["it's", 'a "b" c', "x and format=pdf", "a, b", "policies/*", " padded "]
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["document", "format", "title", "author"]), VALUES), max_size=4))
def test_a_filter_is_read_again_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    text = " and ".join(f"{field}={_marked(value)}" for field, value in pairs)
    conditions = parse(text)
    assert [one.value for one in conditions] == [value for _, value in pairs]
    assert parse(written(conditions)) == conditions


def test_a_value_with_both_quotes_cannot_be_written() -> None:
    (condition,) = parse("""title=it's"odd""")
    with pytest.raises(UsageError, match="both kinds of quotes"):
        written([condition])


def _marked(value: str) -> str:
    return f"'{value}'" if '"' in value else f'"{value}"'
