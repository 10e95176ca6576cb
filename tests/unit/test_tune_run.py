"""openbook.tune on small real libraries where it is known which settings are better, and where none are."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from openbook.answer.abstain import confidence
from openbook.errors import OpenbookError, SettingsError, UsageError
from openbook.ingest.split import split
from openbook.library import open_library
from openbook.records import Answer, Case, Change, Chunk, Citation, Document, Entry, Scope, Span, Timings
from openbook.retrieve.embed import FakeEmbedder
from openbook.retrieve.search import HybridSearcher
from openbook.seams import Library, Searcher
from openbook.settings import Ingest, LibrarySettings, Settings, load
from openbook.tune import Options, Report, Tools, keep, run
from openbook.tune.climb import changed
from openbook.tune.report import headline, page
from openbook.tune.trials import Rooms, Trials

EMBEDDER = FakeEmbedder(dimensions=64)
COMMON = "please tell me the state of this order and when it will arrive at our place in the city".split()


def split_by(document: Document, ingest: Ingest) -> list[Chunk]:
    return split(
        document,
        count=EMBEDDER.count,
        max_tokens=EMBEDDER.max_tokens,
        chunk_tokens=ingest.chunk_tokens,
        overlap_tokens=ingest.overlap_tokens,
    )


def store(folder: Path) -> Library:
    return open_library(
        folder,
        settings=LibrarySettings(),
        embedder_fingerprint=EMBEDDER.fingerprint,
        dimensions=EMBEDDER.dimensions,
    )


def halves(cases: Sequence[Case], held: float, seed: int) -> tuple[list[Case], list[Case]]:
    """By document, which the number in a case's id stands for."""
    order = sorted({case.id.split(".")[0] for case in cases})
    random.Random(seed).shuffle(order)
    away = set(order[: round(held * len(order))])
    return [one for one in cases if one.id.split(".")[0] not in away], [
        one for one in cases if one.id.split(".")[0] in away
    ]


@contextmanager
def tools(folder: Path, texts: dict[str, str], *, acl: tuple[str, ...] = ("*",)) -> Iterator[Tools]:
    library = store(folder)
    entries = []
    for name, text in texts.items():
        document = Document(name, text, "md", name, len(text))
        chunks = split_by(document, Ingest())
        vectors = EMBEDDER.embed([chunk.indexed_text for chunk in chunks], kind="document")
        entries.append(Entry(document, chunks, vectors, acl))  # type: ignore[arg-type]
    library.commit(Change(put=entries))
    rooms = Rooms(
        library=library,
        embedder=EMBEDDER,
        split=split_by,
        store=store,
        searcher=lambda one, embedder, settings, reranker: HybridSearcher(one, embedder, settings, reranker=reranker),
        reranker=lambda name: pytest.fail(f"no reranker {name!r} was asked for"),
    )
    yield Tools(rooms, confidence, lambda case: case.question, halves)
    library.close()


def orders(count: int) -> tuple[dict[str, str], list[Case]]:
    """Documents told apart by a code alone: words find them, meaning (a sum of words) is drowned by the others."""
    draw = random.Random(7)
    texts, cases = {}, []
    for number in range(count):
        words = [*draw.sample(COMMON, 6), *(f"w{draw.randrange(400)}" for _ in range(40)), f"code{number}"]
        draw.shuffle(words)
        texts[f"orders/{number}.md"] = " ".join(words)
        start = texts[f"orders/{number}.md"].index(f"code{number}")
        span = Span(f"orders/{number}.md", start, start + len(f"code{number}"))
        asked = f"{' '.join(COMMON)} code{number}"
        cases.append(Case(asked, (f"code{number}",), (span,), id=f"{number}.a"))
    return texts, cases


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Report:
    texts, cases = orders(60)
    with tools(tmp_path_factory.mktemp("orders") / "library", texts) as made:
        return run(cases, Settings(), made, Options(parts=("search", "passages", "decline"), tries=4))


def test_a_known_better_setting_is_found_and_holds_on_unseen_documents(found: Report) -> None:
    verdict = found.verdicts[0]
    assert verdict.adopted
    assert verdict.difference is not None
    assert verdict.difference.low > 0
    weights = [found.changes.get(f"retrieve.{one}_weight", 1.0) for one in ("dense", "lexical")]
    assert weights[1] > weights[0], "words tell these documents apart"
    assert "is better on held-out questions" in verdict.words


def test_every_dimension_gets_the_same_number_of_tries_at_most(found: Report) -> None:
    names = [one.dimension for one in found.tries]
    assert set(names) == {"chunk size", "overlap", "fusion", "weights", "passages", "decline below"}
    assert max(map(names.count, names)) == 4
    assert sum(one.chosen for one in found.tries) == len(set(names))


def test_each_try_says_what_it_costs(found: Report) -> None:
    sizes = [one for one in found.tries if one.dimension == "chunk size" and one.changes]
    assert all({"passage tokens", "ms", "chunks", "seconds to make"} <= one.costs.keys() for one in sizes)


def test_without_unanswerable_questions_documents_are_hidden(found: Report) -> None:
    assert any("out of sight" in note for note in found.notes)
    assert found.questions["unanswerable held out"] == 0
    assert [one.group for one in found.verdicts] == ["search", "passages", "decline"]


def test_the_interval_is_shared_out_among_the_verdicts(found: Report) -> None:
    assert found.level == pytest.approx(1 - 0.05 / 3)


def test_the_report_is_kept_and_the_settings_say_where(found: Report, tmp_path: Path) -> None:
    (tmp_path / "openbook.toml").write_text("# ours\n[retrieve]\nk = 4 # Ann\n")
    kept = keep(found, tmp_path, write=True)
    folder = tmp_path / ".openbook/tune" / found.id
    text = (tmp_path / "openbook.toml").read_text()
    assert text.startswith("# ours\n[retrieve]\nk = 4 # Ann\n")
    assert f".openbook/tune/{found.id}/report.html" in text
    assert load(tmp_path / "openbook.toml").retrieve.lexical_weight == found.changes["retrieve.lexical_weight"]
    assert json.loads((folder / "report.json").read_text())["verdicts"][0]["adopted"] is True
    assert json.loads((folder / "report.json").read_text())["options"]["tries"] == 4
    assert (headline(found)[:12], headline(kept)[:8]) == ("would change", "changed:")
    assert headline(kept).split()[1] in (folder / "report.html").read_text()
    assert "Judged on held-out questions" in (folder / "report.html").read_text()


def test_a_settings_file_that_cannot_be_changed_leaves_a_report_that_says_so(found: Report, tmp_path: Path) -> None:
    (tmp_path / "openbook.toml").write_text("[retrieve]\nwrong = 1\n")
    with pytest.raises(SettingsError, match="wrong"):
        keep(found, tmp_path, write=True)
    assert json.loads((tmp_path / ".openbook/tune" / found.id / "report.json").read_text())["written"] is False


def test_a_dry_run_leaves_the_settings(found: Report, tmp_path: Path) -> None:
    (tmp_path / "openbook.toml").write_text("")
    keep(found, tmp_path, write=False)
    assert (tmp_path / "openbook.toml").read_text() == ""


def test_a_page_defuses_what_comes_from_documents(found: Report) -> None:
    assert "<script>" not in page(replace(found, notes=("<script>alert(1)</script>",)))


def nothing(count: int, seed: int) -> tuple[dict[str, str], list[Case]]:
    """Questions whose gold document is drawn by lot: no setting can be better."""
    draw = random.Random(seed)
    words = [f"w{number}" for number in range(80)]
    texts = {f"d/{number}.md": " ".join(draw.choices(words, k=30)) for number in range(count)}
    cases = []
    for number in range(2 * count):
        name = f"d/{number % count}.md"
        span = Span(name, 0, len(texts[name]))
        cases.append(Case(" ".join(draw.choices(words, k=6)), ("x",), (span,), id=f"{number % count}.{number}"))
    return texts, cases


def test_where_nothing_is_better_nothing_is_changed(tmp_path: Path) -> None:
    texts, cases = nothing(24, 0)
    with tools(tmp_path / "library", texts) as made:
        report = run(cases, Settings(), made, Options(parts=("search", "passages"), tries=2))
    assert not report.changes
    assert headline(report) == "no significant gain: the settings stay as they are"
    assert all("no significant gain" in one.words for one in report.verdicts)


def test_by_force_the_best_is_taken_and_the_report_says_so(tmp_path: Path) -> None:
    texts, cases = nothing(24, 4)
    with tools(tmp_path / "library", texts) as made:
        calm, forced = (
            run(cases, Settings(), made, Options(parts=("passages",), token_price=1.0, force=force))
            for force in (False, True)
        )
    assert calm.verdicts[0].changes
    assert not calm.verdicts[0].adopted
    assert (calm.changes, forced.changes) == ({}, calm.verdicts[0].changes)
    assert any("by force" in note for note in forced.notes)


def test_a_searcher_with_memory_finds_what_a_plain_one_finds(tmp_path: Path) -> None:
    texts, cases = orders(20)
    with tools(tmp_path / "library", texts) as made:
        trials = Trials(Settings(), made.rooms, tmp_path / "trials")
        settings = changed(Settings(), {"retrieve.lexical_weight": 2.0, "retrieve.fusion": "rrf"})
        plain = HybridSearcher(made.rooms.library, EMBEDDER, settings.retrieve)
        for _ in range(2):
            for case in cases[:5]:
                assert trials.searcher(settings).search(case.question).hits == plain.search(case.question).hits


def test_fewer_passages_need_many_documents_that_lose_nothing(tmp_path: Path) -> None:
    texts, cases = nothing(24, 5)
    with tools(tmp_path / "library", texts) as made:
        report = run(cases, Settings(), made, Options(parts=("passages",), token_price=1.0))
    assert report.verdicts[0].changes == {"answer.passages": 2}
    assert not report.changes
    assert "cannot rule out a loss" in report.verdicts[0].words


class Knowing:
    """A reranker that sees whether a text holds the question's code."""

    name = "knowing"

    def score(self, question: str, texts: Sequence[str]) -> list[float]:
        return [float(question.split()[-1] in text.split()) for text in texts]


def test_a_better_reranker_is_switched_on_and_its_cost_said(tmp_path: Path) -> None:
    texts, cases = orders(40)
    with tools(tmp_path / "library", texts) as made:
        rooms = replace(made.rooms, reranker=lambda _: Knowing())
        options = Options(parts=("search",), tries=2, reranker="knowing")
        present = changed(Settings(), {"retrieve.lexical_weight": 0.0})
        report = run(cases, present, replace(made, rooms=rooms), options)
    assert report.changes["models.reranker"] == "knowing"
    assert "ms a question" in report.verdicts[0].words


def test_the_order_of_passages_is_judged_by_answers(tmp_path: Path) -> None:
    texts, cases = orders(40)

    def answer(settings: Settings, searcher: Searcher, case: Case, scope: Scope) -> Answer:
        hits = searcher.search(case.question, k=10, scope=scope).hits
        right = next((hit.chunk for hit in hits if case.gold[0] in hit.chunk.text.split()), hits[0].chunk)
        cited = (Citation(right.document, None, right.start, right.end, right.text, 0),)
        text = case.gold[0] if settings.answer.order == "best_first" else "I do not know."
        return Answer(
            text, False, cited, (), hits, "", "fake", None, "rag", 9, 1, Timings(0.0, 0.0, 0.0, 0.1), 1
        )  # fmt: skip

    with tools(tmp_path / "library", texts) as made:
        present = changed(Settings(), {"retrieve.dense_weight": 0.0})
        report = run(cases, present, replace(made, answer=answer), Options(parts=("order",), answers=15))
    assert report.changes == {"answer.order": "best_first"}
    assert report.verdicts[0].costs_after == pytest.approx({"prompt tokens": 9.0, "seconds": 0.1})
    assert report.verdicts[0].difference is not None
    assert report.verdicts[0].difference.n == 15


def test_no_time_means_no_tries_and_the_report_says_so(tmp_path: Path) -> None:
    texts, cases = orders(40)
    ticks = iter(range(0, 10**6, 60))
    with tools(tmp_path / "library", texts) as made:
        report = run(cases, Settings(), made, Options(parts=("search",), minutes=1.0), clock=lambda: float(next(ticks)))
    assert not report.changes
    assert any("did not suffice" in note for note in report.notes)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tools, list[Case]]]:
    texts, cases = orders(24)
    with tools(tmp_path_factory.mktemp("few") / "library", texts) as made:
        yield made, cases


@pytest.mark.parametrize("parts", [("passages",), ("search", "decline", "order")])
def test_progress_ends_at_its_total(few: tuple[Tools, list[Case]], parts: tuple[str, ...]) -> None:
    steps: list[tuple[int, int]] = []

    def progress(step: str, done: int, total: int) -> None:
        if step == "try":
            steps.append((done, total))

    run(few[1], Settings(), few[0], Options(parts=parts, tries=2), progress=progress)
    assert steps[-1] == ((3, 3) if len(parts) == 1 else (12, 12))


@pytest.mark.parametrize(
    ("mend", "said"),
    [
        (lambda cases: [], "not enough data: 0 questions"),
        (lambda cases: cases[:19], "19 questions"),
        (lambda cases: [replace(case, spans=()) for case in cases], "found in no document"),
        (lambda cases: [replace(case, spans=(Span("gone.md", 0, 3),)) for case in cases], "that are gone"),
        (lambda cases: cases[:1] * 40, "stand there twice"),
        (lambda cases: [replace(case, id="1.a") for case in cases], "about more documents"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    few: tuple[Tools, list[Case]], mend: Callable[[list[Case]], list[Case]], said: str
) -> None:
    with pytest.raises(OpenbookError, match=said):
        run(mend(few[1]), Settings(), few[0], Options())


def test_documents_the_groups_may_not_see_are_not_measured(tmp_path: Path) -> None:
    texts, cases = orders(24)
    with tools(tmp_path / "library", texts, acl=("hr",)) as made:
        with pytest.raises(OpenbookError, match="--group"):
            run(cases, Settings(), made, Options())
        report = run(cases, Settings(), made, Options(parts=("passages",), groups=("hr",)))
    assert report.questions["to choose on"] == 12


@pytest.mark.parametrize("wrong", [{"parts": ()}, {"parts": ("all",)}, {"tries": 1}, {"held": 1.0}, {"wrong_cost": 0}])
def test_options_that_contradict_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Options(**wrong)  # type: ignore[arg-type]
