"""What every Library does, whatever it is made of."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openbook.errors import EmbedderMismatch, LibraryBusy, LibraryError, UsageError
from openbook.records import Change, Condition, Scope
from openbook.seams import Library
from tests.contracts.library_data import DIMENSIONS, SERVER, ask, entry, found, opened, vector

pytest.importorskip("qdrant_client", reason="pip install 'openbook[server]'")
BACKENDS = [
    "edge",
    "client",
    pytest.param("server", marks=[pytest.mark.server, pytest.mark.skipif(not SERVER, reason="no Qdrant server given")]),
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def library(backend: str, tmp_path: Path) -> Iterator[Library]:
    made = opened(tmp_path, backend)
    yield made
    made.close()


def names(library: Library, version: int | None = None) -> list[str]:
    return [one.name for one in library.documents(version=version)]


def test_a_new_library_is_empty_and_answers_everything(library: Library) -> None:
    assert isinstance(library, Library)
    assert library.version() == 0
    assert library.documents() == []
    assert library.document("a.md") is None
    assert library.chunks_of("a.md") == []
    assert dict(library.chunks([1, 2])) == {}
    candidates = ask(library, "anything")
    assert (candidates.dense, candidates.lexical, candidates.version) == ((), (), 0)
    assert not library.matches(Condition("format", "=", "md"), "a.md")
    assert library.optimize() is False


def test_a_document_comes_back_exactly_as_it_was_put(library: Library, backend: str, tmp_path: Path) -> None:
    given = entry(
        "Übung/日本 😀.pdf",
        "Zero\x00byte, lone \ud800 surrogate",
        "e\u0301 ligature ﬁ \U0001f468\u200d\U0001f469\u200d\U0001f467",
        acl=("hr", "legal"),
        title='A "title"',
        author="Ánn O'Neill",
        created="2024-05-01",
        modified="2024-06-01T10:00:00+02:00",
        boxes=bytes(range(256)) * 8,
    )
    assert library.commit(Change(put=[given])) == 1
    library.close()
    library = opened(tmp_path, backend, create=False)
    try:
        assert library.document(given.document.name) == given.document
        stored = library.chunks_of(given.document.name)
        assert [chunk for _, chunk in stored] == list(given.chunks)
        assert dict(library.chunks([id_ for id_, _ in stored])) == dict(stored)
        info = library.documents()[0]
        assert (info.name, info.acl, info.source, info.pages, info.chunks) == (
            given.document.name,
            ("hr", "legal"),
            "src",
            2,
            2,
        )
        for field in ("hash", "bytes", "format", "title", "author", "created", "modified", "notes", "container_hash"):
            assert getattr(info, field) == getattr(given.document, field)
        assert info.synced_at.endswith("+00:00")
    finally:
        library.close()


def test_candidates_are_ranked_by_cosine_and_by_bm25(library: Library) -> None:
    texts = ["vacation days per year", "vacation requests go to the manager", "printers stand in room nine"]
    library.commit(Change(put=[entry(f"{number}.md", text) for number, text in enumerate(texts)]))
    question = vector("vacation days")
    candidates = library.candidates(question, "vacation days", scope=Scope(), limit=10)
    by_id = {id_: chunk for number in range(3) for id_, chunk in library.chunks_of(f"{number}.md")}
    exact = {id_: float(vector(chunk.indexed_text) @ question) for id_, chunk in by_id.items()}
    assert [one.id for one in candidates.dense] == sorted(exact, key=lambda id_: -exact[id_])
    assert [one.score for one in candidates.dense] == pytest.approx(sorted(exact.values(), reverse=True), abs=1e-5)
    assert [by_id[one.id].document for one in candidates.lexical] == ["0.md", "1.md"]
    assert candidates.lexical[0].score > candidates.lexical[1].score > 0
    assert len(ask(library, "vacation days", limit=1).dense) == 1


def test_titles_and_headings_are_searched_too(library: Library) -> None:
    library.commit(Change(put=[entry("a.md", "Fifteen a year.", title="Parental leave"), entry("b.md", "Nothing.")]))
    assert [one.id for one in ask(library, "parental leave").lexical] == [library.chunks_of("a.md")[0][0]]


def test_equal_scores_stand_in_the_order_of_ids(library: Library) -> None:
    library.commit(Change(put=[entry(f"{number:03}.md", "the same words again") for number in range(90)]))
    ids = [id_ for number in range(90) for id_, _ in library.chunks_of(f"{number:03}.md")]
    candidates = ask(library, "same words", limit=20)
    assert [one.id for one in candidates.lexical] == ids[:20]
    assert candidates == ask(library, "same words", limit=20)


def test_a_replaced_document_is_never_found_again_in_the_new_version(library: Library) -> None:
    library.commit(Change(put=[entry("a.md", "old wording alpha", "kept beta"), entry("b.md", "other")]))
    assert library.commit(Change(put=[entry("a.md", "new wording gamma")])) == 2
    assert len(library.chunks_of("a.md")) == 1
    texts = {chunk.text for chunk in library.chunks([one.id for one in ask(library, "wording alpha").dense]).values()}
    assert texts == {"new wording gamma", "other"}
    assert ask(library, "alpha").lexical == ()


def test_an_older_version_reads_as_it_was(library: Library) -> None:
    first = entry("a.md", "old wording alpha")
    library.commit(Change(put=[first, entry("b.md", "other")]))
    before = ask(library, "wording alpha")
    library.commit(Change(put=[entry("a.md", "new wording")], remove=["b.md"]))
    old = ask(library, "wording alpha", Scope(version=1))
    assert old == before
    assert names(library, 1) == ["a.md", "b.md"]
    assert library.document("a.md", version=1) == first.document
    assert [chunk.text for _, chunk in library.chunks_of("a.md", version=1)] == ["old wording alpha"]
    assert names(library) == ["a.md"]
    assert ask(library, "wording", Scope(version=0)).dense == ()


def test_a_version_that_is_not_there_is_refused(library: Library) -> None:
    for version in (-1, 1):
        with pytest.raises(LibraryError, match=f"version {version} cannot be read"):
            library.documents(version=version)
        with pytest.raises(LibraryError, match=f"version {version} cannot be read"):
            ask(library, "x", Scope(version=version))


def test_removed_documents_are_gone_at_once(library: Library) -> None:
    library.commit(Change(put=[entry("a.md", "alpha"), entry("b.md", "alpha")]))
    library.commit(Change(remove=["a.md"]))
    assert found(library, "alpha") == {"b.md"}
    assert library.document("a.md") is None


def test_a_rename_keeps_the_chunks_and_changes_the_name(library: Library) -> None:
    library.commit(Change(put=[entry("a.md", "alpha")]))
    ids = [id_ for id_, _ in library.chunks_of("a.md")]
    library.commit(Change(rename=[("a.md", "sub/b.md")]))
    assert [id_ for id_, _ in library.chunks_of("sub/b.md")] == ids
    assert library.chunks(ids)[ids[0]].document == "sub/b.md"
    assert library.chunks_of("sub/b.md")[0][1].document == "sub/b.md"
    assert names(library) == ["sub/b.md"]
    assert names(library, 1) == ["a.md"]
    assert found(library, "alpha", Scope(where=(Condition("document", "=", "sub/*"),))) == {"sub/b.md"}
    assert found(library, "alpha", Scope(where=(Condition("document", "=", "a.md"),))) == set()


def test_names_can_be_swapped_and_reused_in_one_change(library: Library) -> None:
    library.commit(Change(put=[entry("a.md", "alpha"), entry("b.md", "beta"), entry("c.md", "gamma")]))
    library.commit(Change(put=[entry("d.md", "delta")], rename=[("a.md", "b.md"), ("b.md", "a.md")], remove=["c.md"]))
    texts = {name: library.chunks_of(name)[0][1].text for name in names(library)}
    assert texts == {"a.md": "beta", "b.md": "alpha", "d.md": "delta"}
    library.commit(Change(put=[entry("a.md", "new")], rename=[("a.md", "e.md")]))
    assert library.chunks_of("e.md")[0][1].text == "beta"
    assert library.chunks_of("a.md")[0][1].text == "new"


def test_a_document_without_chunks_is_kept(library: Library) -> None:
    library.commit(Change(put=[entry("empty.md")]))
    assert [(one.name, one.chunks) for one in library.documents()] == [("empty.md", 0)]
    library.commit(Change(rename=[("empty.md", "e.md")]))
    assert library.chunks_of("e.md") == []


def test_an_empty_change_makes_no_version(library: Library) -> None:
    assert library.commit(Change()) == 0
    assert [one.version for one in library.versions()] == [0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(remove=["x.md"]), "no document 'x.md'"),
        (Change(rename=[("x.md", "y.md")]), "no document 'x.md'"),
        (Change(rename=[("a.md", "b.md")]), "'b.md': that name is taken"),
        (Change(put=[entry("n.md", "1"), entry("n.md", "2")]), "'n.md' twice"),
        (Change(put=[entry("n.md", "1")], rename=[("a.md", "n.md")]), "'n.md' twice"),
        (Change(rename=[("a.md", "n.md")], remove=["a.md"]), "'a.md' twice"),
        (Change(put=[dataclasses.replace(entry("n.md", "1"), vectors=np.ones((1, 3), np.float32))]), "shape"),
        (Change(put=[dataclasses.replace(entry("n.md", "1"), vectors=np.full((1, DIMENSIONS), np.nan))]), "finite"),
        (Change(put=[entry("n\ud800.md", "1")]), "not valid Unicode"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_whole(
    backend: str, tmp_path: Path, change: Change, words: str
) -> None:
    library = opened(tmp_path, backend)
    try:
        library.commit(Change(put=[entry("a.md", "alpha"), entry("b.md", "beta")]))
        with pytest.raises(LibraryError, match=words):
            library.commit(change)
        assert library.version() == 1
        assert found(library, "alpha beta 1") == {"a.md", "b.md"}
    finally:
        library.close()


def test_access_labels_are_denied_by_default(library: Library) -> None:
    library.commit(
        Change(
            put=[
                entry("open.md", "salary bands"),
                entry("hr.md", "salary list", acl=("hr", "board")),
                entry("legal.md", "salary law", acl=("legal",)),
                entry("nobody.md", "salary secret", acl=()),
            ]
        )
    )
    assert found(library, "salary") == {"open.md"}
    assert found(library, "salary", Scope(groups=("hr",))) == {"open.md", "hr.md"}
    assert found(library, "salary", Scope(groups=("board", "legal", "x"))) == {"open.md", "hr.md", "legal.md"}
    assert found(library, "salary", Scope(groups=("",))) == {"open.md"}


def test_access_is_part_of_the_search_and_not_applied_after_it(library: Library) -> None:
    hidden = [entry(f"{number}.md", "vacation vacation days", acl=("hr",)) for number in range(60)]
    library.commit(Change(put=[*hidden, entry("open.md", "days off in May")]))
    candidates = ask(library, "vacation days", limit=5)
    mine = [id_ for id_, _ in library.chunks_of("open.md")]
    assert [one.id for one in candidates.dense] == mine
    assert [one.id for one in candidates.lexical] == mine


WHERE = [
    (("document", "=", "policies/*"), {"policies/leave.md", "policies/old/pay.PDF"}),
    (("document", "!=", "policies/*"), {"notes.md", "x[1].md"}),
    (("document", "=", "x[1].md"), {"x[1].md"}),
    (("document", "=", "nothing"), set()),
    (("document", "!=", "nothing"), {"policies/leave.md", "policies/old/pay.PDF", "notes.md", "x[1].md"}),
    (("format", "=", "pdf"), {"policies/old/pay.PDF"}),
    (("format", "!=", "pdf"), {"policies/leave.md", "notes.md", "x[1].md"}),
    (("title", "=", "leave POLICY"), {"policies/leave.md"}),
    (("author", "=", "Ánn"), {"policies/leave.md", "notes.md"}),
    (("author", "!=", "Ánn"), {"policies/old/pay.PDF", "x[1].md"}),
    (("created", ">=", "2024"), {"policies/leave.md", "notes.md"}),
    (("created", "<", "2024"), {"policies/old/pay.PDF"}),
    (("created", ">", "2024-03-01"), {"notes.md"}),
    (("created", "<=", "2024-03-01"), {"policies/leave.md", "policies/old/pay.PDF"}),
    (("created", "=", "2024-03"), {"policies/leave.md"}),
    (("created", "!=", "2024"), {"policies/old/pay.PDF", "x[1].md"}),
    (("modified", ">", "2020"), set()),
]


@pytest.fixture(scope="module", params=BACKENDS)
def shelf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = opened(tmp_path_factory.mktemp("shelf"), str(request.param))
    made.commit(
        Change(
            put=[
                entry(
                    "policies/leave.md", "word one", title="Leave policy", author="Ánn", created="2024-03-01T23:59:59Z"
                ),
                entry("policies/old/pay.PDF", "word two", created="2019-12-31"),
                entry("notes.md", "word three", author="ánn", created="2024-12-31"),
                entry("x[1].md", "word four", created="in spring"),
            ]
        )
    )
    yield made
    made.close()


@pytest.mark.parametrize(("condition", "expected"), WHERE)
def test_conditions_limit_the_search_and_matches_agrees(
    shelf: Library, condition: tuple[str, str, str], expected: set[str]
) -> None:
    where = Condition(*condition)  # type: ignore[arg-type]
    assert found(shelf, "word", Scope(where=(where,))) == expected
    assert {one.name for one in shelf.documents() if shelf.matches(where, one.name)} == expected


def test_conditions_are_joined_by_and(shelf: Library) -> None:
    where = (Condition("format", "=", "md"), Condition("created", ">=", "2024"), Condition("document", "!=", "notes*"))
    assert found(shelf, "word", Scope(where=where)) == {"policies/leave.md"}


@pytest.mark.parametrize("condition", [("created", ">", "soon"), ("title", ">", "a"), ("modified", "=", "2024-13-01")])
def test_a_condition_that_cannot_be_read_is_the_callers_error(shelf: Library, condition: tuple[str, str, str]) -> None:
    with pytest.raises(UsageError, match=condition[0]):
        ask(shelf, "word", Scope(where=(Condition(*condition),)))  # type: ignore[arg-type]


ODD = [
    "",
    " ",
    '"',
    "'; DROP TABLE documents;--",
    'field:"x" AND (a OR NOT b) +c -d ~e^2 *f? [g TO h] {i} \\ / |',
    "😀👨‍👩‍👧 word",
    "word " * 2_000,
    "x" * 10_000,
    " ".join(f"w{number}" for number in range(1_500)),
    "\x00\x01\u202e\ufeff word",
    "\ud800 word",
    "年次有給休暇",
    "the of and",
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_no_question_raises(shelf: Library, text: str) -> None:
    candidates = ask(shelf, text)
    assert len(candidates.dense) == 4
    assert len(candidates.lexical) == (4 if "word" in text else 0)


def test_a_question_of_the_wrong_size_or_without_limit(shelf: Library) -> None:
    with pytest.raises(LibraryError, match="3 dimensions"):
        shelf.candidates([1.0, 0.0, 0.0], "word", scope=Scope(), limit=3)
    assert ask(shelf, "word", limit=0).dense == ()
    assert len(shelf.candidates([0.0] * DIMENSIONS, "word", scope=Scope(), limit=3).dense) == 3


def test_words_without_spaces_between_them_are_found(library: Library) -> None:
    library.commit(Change(put=[entry("ja.md", "年次有給休暇は二十日です"), entry("en.md", "Résumés are kept")]))
    assert [one.id for one in ask(library, "休暇は何日ですか").lexical] == [library.chunks_of("ja.md")[0][0]]
    assert [one.id for one in ask(library, "resume").lexical] == [library.chunks_of("en.md")[0][0]]


def test_roll_back_makes_a_new_version_equal_to_the_old(library: Library) -> None:
    library.commit(
        Change(
            put=[
                entry("kept.md", "kept alpha"),
                entry("changed.md", "old alpha", acl=("hr",)),
                entry("removed.md", "removed alpha"),
                entry("moved.md", "moved alpha"),
                entry("empty.md"),
            ]
        )
    )
    before, documents = ask(library, "old alpha", Scope(("hr",))), library.documents()
    texts = {id_: chunk for one in documents for id_, chunk in library.chunks_of(one.name)}
    library.commit(
        Change(
            put=[
                entry("changed.md", "new alpha"),
                entry("moved.md", "another alpha"),
                entry("added.md", "added alpha"),
            ],
            rename=[("moved.md", "elsewhere.md")],
            remove=["removed.md", "empty.md"],
        )
    )
    assert library.roll_back(1) == 3
    assert [dataclasses.replace(one, synced_at="") for one in library.documents()] == [
        dataclasses.replace(one, synced_at="") for one in documents
    ]
    after = ask(library, "old alpha", Scope(("hr",)))
    assert [library.chunks([one.id])[one.id] for one in after.dense] == [texts[one.id] for one in before.dense]
    assert [one.score for one in after.dense] == pytest.approx([one.score for one in before.dense], abs=2e-6)
    assert {library.chunks([one.id])[one.id].text for one in after.lexical} == {
        texts[one.id].text for one in before.lexical
    }
    assert names(library, 2) == ["added.md", "changed.md", "elsewhere.md", "kept.md", "moved.md"]
    library.roll_back(2)
    assert names(library) == names(library, 2)
    library.roll_back(0)
    assert library.documents() == []


def test_sweep_forgets_old_versions_and_nothing_else(library: Library) -> None:
    for number in range(4):
        library.commit(Change(put=[entry("a.md", f"text {number} alpha", f"more {number}")]), note=f"n{number}")
    library.commit(Change(rename=[("a.md", "b.md")]))
    assert [one.version for one in library.versions()] == [0, 1, 2, 3, 4, 5]
    assert library.sweep(keep=6) == 0
    assert library.sweep(keep=3) == 4
    kept = library.versions()
    assert [(one.version, one.documents, one.chunks, one.note) for one in kept] == [
        (3, 1, 2, "n2"),
        (4, 1, 2, "n3"),
        (5, 1, 2, ""),
    ]
    assert found(library, "alpha", Scope(version=3)) != set()
    with pytest.raises(LibraryError, match="version 2 cannot be read"):
        library.documents(version=2)
    assert library.sweep(keep=1) == 2
    assert [chunk.text for _, chunk in library.chunks_of("b.md")] == ["text 3 alpha", "more 3"]
    assert len(ask(library, "alpha").dense) == 2


def test_ids_of_swept_chunks_are_missing_and_never_given_again(library: Library) -> None:
    library.commit(Change(put=[entry("a.md", "one")]))
    old = library.chunks_of("a.md")[0][0]
    library.commit(Change(remove=["a.md"]))
    library.sweep(keep=1)
    assert dict(library.chunks([old])) == {}
    library.commit(Change(put=[entry("a.md", "two")]))
    assert library.chunks_of("a.md")[0][0] != old


def test_everything_is_there_after_opening_again(backend: str, tmp_path: Path) -> None:
    library = opened(tmp_path, backend)
    library.commit(Change(put=[entry("a.md", "alpha"), entry("b.md", "beta")]))
    library.commit(Change(put=[entry("a.md", "new alpha")]))
    before = ask(library, "alpha"), ask(library, "alpha", Scope(version=1)), library.versions()
    library.close()
    library = opened(tmp_path, backend, create=False)
    assert (ask(library, "alpha"), ask(library, "alpha", Scope(version=1)), library.versions()) == before
    library.close()


def test_a_closed_library_says_so(backend: str, tmp_path: Path) -> None:
    library = opened(tmp_path, backend)
    library.close()
    library.close()
    for call in (library.version, library.documents, library.versions, library.optimize, lambda: library.chunks([1])):
        with pytest.raises(LibraryError, match="closed"):
            call()  # type: ignore[operator]
    with pytest.raises(LibraryError, match="closed"):
        library.commit(Change(remove=["a"]))


def test_a_second_owner_is_turned_away_with_the_first_ones_number(
    library: Library, backend: str, tmp_path: Path
) -> None:
    with pytest.raises(LibraryBusy, match="in use by this very process"):
        opened(tmp_path, backend)


def test_another_embedder_is_refused_with_what_to_do(backend: str, tmp_path: Path) -> None:
    opened(tmp_path, backend).close()
    with pytest.raises(EmbedderMismatch, match=r"'test/1'.*'other/2'.*set models.embedder back"):
        opened(tmp_path, backend, fingerprint="other/2")
    opened(tmp_path, backend).close()


def test_a_missing_library_is_not_made_unasked(backend: str, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="openbook sync"):
        opened(tmp_path / "none", backend, create=False)
    assert not (tmp_path / "none").exists()


def test_searches_beside_commits_each_see_one_whole_version(library: Library) -> None:
    """Every version holds the same number in all ten documents; a search that mixes versions sees two numbers."""
    library.commit(Change(put=[entry(f"{name}.md", "number 0 alpha") for name in range(10)]))
    stop, wrong = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            candidates = ask(library, "number alpha")
            for scored in (candidates.dense, candidates.lexical):
                texts = [chunk.text for chunk in library.chunks([one.id for one in scored]).values()]
                if texts != [f"number {candidates.version - 1} alpha"] * 10:
                    wrong.append((candidates.version, texts))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 13):
        library.commit(Change(put=[entry(f"{name}.md", f"number {number} alpha") for name in range(10)]))
        assert found(library, f"number {number}") == {f"{name}.md" for name in range(10)}
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
