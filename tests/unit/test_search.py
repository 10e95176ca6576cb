"""Hybrid search over a real embedded library: odd questions, duplicates, explanations."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.library import open_library
from openbook.records import Change, Chunk, Condition, Document, Entry, Scope
from openbook.retrieve.embed import FakeEmbedder
from openbook.retrieve.explain import explain
from openbook.retrieve.search import HybridSearcher, rerank
from openbook.seams import ANYONE, Library
from openbook.settings import LibrarySettings, Retrieve

EMBEDDER = FakeEmbedder(dimensions=256)
BLNS = json.loads((Path(__file__).parents[1] / "fixtures/hostile/blns.json").read_text(encoding="utf-8"))
TEXTS = {
    "a/leave.md": "Every employee gets 15 days of paid vacation.",
    "b/leave copy.md": "Every  employee gets 15 days of paid vacation.",
    "c/dogs.md": "Dogs are welcome in the office on Fridays.",
    "d/secret.md": "The board bonus for dogs is 4711 euros.",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    opened = open_library(
        tmp_path_factory.mktemp("library"),
        settings=LibrarySettings(),
        embedder_fingerprint=EMBEDDER.fingerprint,
        dimensions=EMBEDDER.dimensions,
    )
    entries = []
    for name, text in TEXTS.items():
        document = Document(name=name, text=text, format="md", hash=name, bytes=len(text))
        acl = ("board",) if "secret" in name else ("*",)
        chunk = Chunk(name, 0, len(text), text)
        entries.append(Entry(document, [chunk], EMBEDDER.embed([text], kind="document"), acl=acl))
    opened.commit(Change(put=entries))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def searcher(library: Library) -> HybridSearcher:
    return HybridSearcher(library, EMBEDDER, Retrieve())


@pytest.mark.parametrize("part", range(8))
def test_no_string_of_the_naughty_list_raises(searcher: HybridSearcher, part: int) -> None:
    for text in BLNS[part::8]:
        assert len(searcher.search(text, k=3).hits) <= 3


@pytest.mark.parametrize(
    "question",
    [
        '"quoted phrase" AND NOT (x OR y)',
        "vacation*~2^3 +must -not",
        "🦓" * 50,
        "dogs 🐕 office",
        "x" * 10_000,
        "\ud800 dogs",
        "vacation " * 2000,
        "\x00\x01dogs",
        "?",
        "",
    ],
)
def test_odd_syntax_is_only_text(searcher: HybridSearcher, question: str) -> None:
    searcher.search(question, k=3)


def test_near_duplicates_count_as_one_hit(searcher: HybridSearcher) -> None:
    found = [hit.chunk.document for hit in searcher.search("paid vacation days employee", k=3).hits]
    assert sum("leave" in name for name in found) == 1


def test_hits_say_where_each_retriever_had_them(searcher: HybridSearcher) -> None:
    best = searcher.search("dogs welcome office", k=1).hits[0]
    assert (best.chunk.document, best.dense_rank, best.lexical_rank) == ("c/dogs.md", 1, 1)
    assert best.dense_score is not None
    assert best.dense_score <= 1.0001


def test_a_search_sees_one_version_and_only_what_the_groups_may(searcher: HybridSearcher) -> None:
    outside = searcher.search("board bonus dogs", k=4)
    inside = searcher.search("board bonus dogs", k=4, scope=Scope(groups=("board",)))
    assert "d/secret.md" not in [hit.chunk.document for hit in outside.hits]
    assert inside.hits[0].chunk.document == "d/secret.md"


def test_explain_gives_every_reason(library: Library, searcher: HybridSearcher) -> None:
    def why(document: str, scope: Scope = ANYONE) -> tuple[str, list[str]]:
        found = explain(
            "paid vacation days employee",
            document,
            library=library,
            searcher=searcher,
            settings=Retrieve(),
            passages=1,
            scope=scope,
        )
        return found.reason, [one.reason for one in found.chunks]

    shown = searcher.search("paid vacation days employee", k=1).hits[0].chunk.document
    twin = "b/leave copy.md" if shown == "a/leave.md" else "a/leave.md"
    assert why(shown) == ("1 of its 1 chunks in the prompt", ["passage 1 of the prompt"])
    assert why(twin)[1] == [f"near duplicate of a passage from {shown!r}"]
    assert "the prompt takes 1" in why("c/dogs.md")[1][0]
    assert why("d/secret.md") == why("nowhere.md") == ("no such document for this caller", [])
    filtered = why("c/dogs.md", Scope(where=(Condition("format", "=", "pdf"),)))
    assert filtered == ("excluded by the filter 'format=pdf'", [])


def test_reranking_orders_by_the_rerankers_scores(searcher: HybridSearcher) -> None:
    class Shortest:
        name = "shortest"

        def score(self, question: str, texts: list[str]) -> list[float]:
            return [-float(len(text)) for text in texts]

    hits = searcher.search("dogs vacation", k=2).hits
    ordered = rerank("dogs vacation", hits, Shortest())
    assert [len(hit.chunk.text) for hit in ordered] == sorted(len(hit.chunk.text) for hit in hits)
    assert ordered[0].rerank_score == ordered[0].score
