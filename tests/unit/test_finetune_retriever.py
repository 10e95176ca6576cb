"""The parts of a retriever's training: which passages are right or wrong, the loss, the figures, the folders."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from openbook.errors import ExamplesError, LibraryError, SettingsError, TrainingError, UsageError
from openbook.finetune.retriever import cross, measure, negatives, pairs, shelf, steps
from openbook.finetune.retriever.measure import Ranked
from openbook.finetune.retriever.pairs import Answers, Corpus, Question
from openbook.finetune.retriever.recipe import recipe
from openbook.finetune.retriever.swapped import Swapped
from openbook.finetune.retriever.tune import divide
from openbook.library import open_library
from openbook.records import Case, Change, Chunk, Document, Entry, Message, Scope, Span
from openbook.retrieve.embed import FakeEmbedder
from openbook.retrieve.search import HybridSearcher
from openbook.settings import LibrarySettings, Retrieve

LEAVE = "Everyone gets 15 vacation days a year."


def corpus(*texts: str, document: str = "d{}") -> Corpus:
    chunks = tuple(Chunk(document.format(number), 0, len(text), text) for number, text in enumerate(texts))
    return Corpus(tuple(range(len(texts))), chunks, 1)


def case(question: str, document: str = "d0", start: int = 0, end: int = 5, **more: object) -> Case:
    return Case(question, ("15",), (Span(document, start, end),), **more)  # type: ignore[arg-type]


# Which passages answer a question.


def test_the_chunk_that_holds_the_whole_span_is_right_and_its_twin_in_another_document_too() -> None:
    shelf_of = corpus(LEAVE, "Something else.", LEAVE)
    (question,), left_out = pairs.questions([case("How many days?")], shelf_of)
    assert question.right == (0, 2)
    assert left_out == {}


def test_a_span_across_two_chunks_belongs_to_the_one_that_holds_more_of_it() -> None:
    text = "0123456789"
    chunks = (Chunk("d0", 0, 4, text[:4]), Chunk("d0", 4, 10, text[4:]))
    (question,), _ = pairs.questions([case("Which?", start=3, end=8)], Corpus((7, 8), chunks, 1))
    assert question.right == (1,)


def test_a_question_asked_of_two_passages_is_answered_by_both() -> None:
    asked = [case("How many days?"), case("How many days?", document="d1")]
    (question,), left_out = pairs.questions(asked, corpus(LEAVE, "Elsewhere 10 days."))
    assert question.right == (0, 1)
    assert left_out == {"asked twice": 1}


def test_what_cannot_be_learned_from_is_counted_with_its_reason() -> None:
    asked = [
        case("How many days?"),
        case("how many  days?"),
        case("And you?", history=(Message("user", "Hello"),)),
        Case("Nothing?", kind="unanswerable"),
        Case("Where?", ("15",)),
        case("Which document?", document="gone.txt"),
        case("Past the end?", start=900, end=905),
    ]
    found, left_out = pairs.questions(asked, corpus(LEAVE))
    assert [one.text for one in found] == ["How many days?"]
    assert left_out == {
        "asked twice": 1,
        "needs the conversation before it": 1,
        "unanswerable": 1,
        "where its answer stands is unknown": 1,
        "its document is gone": 1,
        "no passage holds its answer": 1,
    }


def test_a_library_is_read_as_the_groups_may_see_it(tmp_path: Path) -> None:
    embedder = FakeEmbedder(dimensions=8)
    library = stored(tmp_path, embedder, {"open.txt": ("open", ("*",)), "secret.txt": ("secret", ("board",))})
    assert [chunk.document for chunk in pairs.read(library).chunks] == ["open.txt"]
    assert len(pairs.read(library, groups=["board"]).chunks) == 2
    library.close()


# Which passages must not count as wrong.


def test_a_passage_that_may_answer_too_is_not_taken_for_wrong() -> None:
    shelf_of = corpus(LEAVE, "You have fifteen days to appeal.", LEAVE.replace("a year", "per year"), "Cats sleep.")
    question = Question("How many days?", ("fifteen",), (0,), "d0")
    answers = Answers(shelf_of)
    assert [answers.doubt(question, place, strict=True) for place in range(4)] == [
        "the same passage",
        "holds the answer",
        "holds the answer",
        "",
    ]
    assert answers.doubt(Question("When?", (), (0,), "d0"), 2) == "nearly the same text"


def test_an_answer_that_stands_everywhere_tells_nothing_but_for_mined_passages() -> None:
    shelf_of = corpus(*[f"Paris is in France, part {number}: {'x' * number}." for number in range(40)])
    question = Question("Where?", ("France",), (0,), "d0")
    answers = Answers(shelf_of)
    assert answers.doubt(question, 30) == ""
    assert answers.doubt(question, 30, strict=True) == "holds the answer"


def test_mined_passages_leave_out_right_ones_and_those_about_as_near(tmp_path: Path) -> None:
    texts = ["red fox den", "red fox den cave", "red barn", "blue sea"]
    shelf_of = corpus(*texts)
    question = Question("red fox den", ("den",), (0,), "d0")
    near = Question("red fox den", (), (0,), "d0")
    embedder = FakeEmbedder(dimensions=256)
    answers = Answers(shelf_of)
    kept, dropped = negatives.mine(
        [question], shelf_of, find=lambda _: [0, 1, 2, 3], embedder=embedder, answers=answers
    )
    assert kept == [(2, 3)]
    assert dropped == {"holds the answer": 1}
    kept, dropped = negatives.mine(
        [near], shelf_of, find=lambda _: [1, 2, 3], embedder=embedder, answers=answers, margin=0.3
    )
    assert kept == [(3,)]
    assert dropped == {"about as near as the right one": 2}


# The figures.


def test_scores_equal_an_independent_implementation() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    for _ in range(50):
        right = random.random(10) < 0.3
        wanted = int(right.sum()) + int(random.integers(0, 3))
        if not wanted:
            continue
        ranked = Ranked(tuple(bool(one) for one in right), wanted)
        relevance = np.concatenate([right.astype(float), np.ones(wanted - int(right.sum()))])
        order = np.concatenate([np.arange(10, 0, -1), np.zeros(len(relevance) - 10)])
        assert ranked.score("ndcg@10") == pytest.approx(sklearn.ndcg_score([relevance], [order], k=10))
        first = np.flatnonzero(right)
        assert ranked.score("mrr@10") == (1 / (first[0] + 1) if len(first) else 0)
        assert ranked.score("recall@5") == float(right[:5].any())


def scored(gains: int, losses: int, same: int) -> dict[str, measure.Change]:
    good, bad = Ranked((True,), 1), Ranked((False, True), 1)
    before = [bad] * gains + [good] * losses + [good] * same
    after = [good] * gains + [bad] * losses + [good] * same
    return measure.compare(before, after, [str(number) for number in range(len(before))])


def test_only_a_gain_beyond_chance_is_called_one() -> None:
    assert measure.verdict(scored(20, 1, 20))[0]
    gained, said = measure.verdict(scored(3, 2, 30))
    assert not gained
    assert said.startswith("no significant gain: mrr@10 0.957 -> 0.971 (+0.014 [")


def test_a_fall_of_what_is_guarded_blocks_a_gain() -> None:
    up, deep, top = Ranked((True,), 1), Ranked((False,) * 5 + (True,), 1), Ranked((False,) * 4 + (True,), 1)
    before, after = [top] * 30 + [top] * 30, [up] * 30 + [deep] * 30
    gained, said = measure.verdict(measure.compare(before, after, [str(number) for number in range(60)]))
    assert not gained
    assert said.startswith("worse: recall@5 1.000 -> 0.500")


def test_the_table_names_every_search_and_score() -> None:
    text = measure.table({"dense alone": scored(1, 0, 9), "search as served": scored(0, 0, 9)})
    assert text.count("mrr@10") == 2
    assert json.dumps(measure.as_json(scored(1, 0, 9)))


# Splitting.


def test_too_few_questions_are_refused_with_what_is_needed() -> None:
    shelf_of = corpus(LEAVE, "Something else.", "A third.")
    with pytest.raises(ExamplesError, match=r"1 usable questions on 1 documents leave 1 to learn from and 0 on 0"):
        divide([case("How many days?")], shelf_of, recipe({}), lambda cases, *_: (cases, []))
    with pytest.raises(ExamplesError, match="1 left out: its document is gone"):
        divide([case("How many days?", document="gone")], shelf_of, recipe({}), lambda cases, *_: (cases, []))


def test_three_documents_are_too_few_to_measure_with() -> None:
    shelf_of = corpus(*[f"Text {number}" for number in range(3)])
    many = [case(f"Question {number}?", document=f"d{number % 3}") for number in range(90)]
    with pytest.raises(ExamplesError, match="60 to learn from and 30 on 1 documents to measure with"):
        divide(
            many,
            shelf_of,
            recipe({}),
            lambda cases, *_: (
                [one for one in cases if one.spans[0].document != "d0"],
                [one for one in cases if one.spans[0].document == "d0"],
            ),
        )


# Settings, folders, batches.


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="epochs = 0"):
        recipe({"epochs": 0})
    with pytest.raises(SettingsError, match="no setting 'epoch'"):
        recipe({"epoch": 3})


def test_folders_are_numbered_and_their_manifest_lists_the_files(tmp_path: Path) -> None:
    for number in (1, 2):
        with shelf.draft(tmp_path / "e", "tuned") as folder:
            (folder / "config.json").write_text("{}")
            place = shelf.publish(folder, "tuned", {"verdict": "gain"})
        assert place == tmp_path / "e" / "tuned" / str(number)
        assert shelf.read(place)["version"] == number
        assert list(shelf.read(place)["files"]) == ["config.json"]
    with pytest.raises(TrainingError, match="no trained retriever"):
        shelf.read(tmp_path)


def test_a_stopped_training_leaves_nothing_and_a_killed_one_is_swept(tmp_path: Path) -> None:
    def stopped() -> None:
        with shelf.draft(tmp_path, "tuned") as folder:
            (folder / "half").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [one.name for one in tmp_path.iterdir()] == [".lock"]
    (tmp_path / ".tuned.0123.part").mkdir()
    with shelf.draft(tmp_path, "tuned"):
        assert not (tmp_path / ".tuned.0123.part").exists()


def test_two_trainings_at_once_are_refused_and_odd_names_too(tmp_path: Path) -> None:
    refused: list[str] = []

    def second() -> None:
        try:
            with shelf.draft(tmp_path, "other"):
                pass
        except TrainingError as error:
            refused.append(str(error))

    with shelf.draft(tmp_path, "tuned"):
        other = threading.Thread(target=second)
        other.start()
        other.join()
    assert len(refused) == 1
    with pytest.raises(UsageError, match="is no name for a retriever"), shelf.draft(tmp_path, "../up"):
        pass


def test_batches_hold_every_question_once_and_never_one_alone() -> None:
    some = steps.batches(33, 8, seed=1, epoch=0)
    assert sorted(number for batch in some for number in batch) == list(range(33))
    assert [len(batch) for batch in some] == [8, 8, 8, 9]
    assert some != steps.batches(33, 8, seed=1, epoch=1)
    assert some == steps.batches(33, 8, seed=1, epoch=0)


def test_a_reranker_sees_a_wrong_passage_even_where_none_was_mined() -> None:
    texts = ["alpha", "beta", "gamma", "delta"]
    asked = [Question(text, (text,), (number,), f"d{number}") for number, text in enumerate(texts)]
    found = cross.made(asked, [(1,), (), (), ()], Answers(corpus(*texts)), negatives=1, seed=0, epoch=0)
    assert len(found) == 8
    assert (0, 0, 1.0) in found
    assert (0, 1, 0.0) in found
    assert all((row == place) == bool(label) for row, place, label in found)


# A library with other vectors.


def stored(folder: Path, embedder: FakeEmbedder, documents: dict[str, tuple[str, tuple[str, ...]]]):  # type: ignore[no-untyped-def]
    library = open_library(
        folder,
        settings=LibrarySettings(),
        embedder_fingerprint=embedder.fingerprint,
        dimensions=embedder.dimensions,
    )
    entries = []
    for name, (text, acl) in documents.items():
        chunks = [Chunk(name, 0, len(text), text)]
        vectors = embedder.embed([one.indexed_text for one in chunks], kind="document")
        entries.append(Entry(Document(name, text, "txt", name, len(text)), chunks, vectors, acl=acl))  # type: ignore[arg-type]
    library.commit(Change(put=entries))
    return library


def test_the_same_vectors_swapped_in_give_the_same_search(tmp_path: Path) -> None:
    embedder = FakeEmbedder(dimensions=32)
    words = "leave policy travel expense laptop desk remote office bonus health sick parent".split()
    texts = {f"{n}.txt": (" ".join(words[(n * k) % 12] for k in range(1, 6)), ("*",)) for n in range(20)}
    texts["secret.txt"] = ("leave policy travel", ("board",))
    library = stored(tmp_path, embedder, texts)
    shelf_of = pairs.read(library)
    swapped = Swapped(library, shelf_of, embedder.embed(shelf_of.texts(), kind="document"), old=embedder)
    scope = Scope(version=shelf_of.version)

    def names(one: object, question: str) -> Sequence[str]:
        searcher = HybridSearcher(one, embedder, Retrieve(candidates=10))  # type: ignore[arg-type]
        return [hit.chunk.document for hit in searcher.search(question, k=10, scope=scope).hits]

    for question in ("leave policy", "remote office desk", "sick parent travel"):
        assert names(swapped, question) == names(library, question)
        assert "secret.txt" not in names(swapped, question)
    wider = FakeEmbedder(dimensions=48)
    other = Swapped(library, shelf_of, wider.embed(shelf_of.texts(), kind="document"), old=embedder)
    found = other.candidates(wider.embed(["leave"], kind="query")[0].tolist(), "leave", scope=scope, limit=5)
    assert all(math.isclose(one.score, found.dense[0].score) or one.score < found.dense[0].score for one in found.dense)
    with pytest.raises(LibraryError, match="for searching only"):
        other.commit(Change())
    library.close()
