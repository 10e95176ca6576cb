"""The assistant over a real embedded library, with a scripted model."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from openbook.answer.ask import EMPTY_NOTE, FALLBACK_NOTE, OVERRULED_NOTE, Assistant, fit
from openbook.answer.extractive import Ranker
from openbook.answer.generators.fake import ScriptedGenerator
from openbook.errors import PromptTooLong
from openbook.library import open_library
from openbook.prompt import ABSTENTION
from openbook.records import Answer, Arm, Change, Chunk, Document, Entry, Hit, Message, Sampling, Scope
from openbook.retrieve.embed import FakeEmbedder
from openbook.retrieve.search import HybridSearcher
from openbook.seams import Library
from openbook.settings import AnswerSettings, LibrarySettings, Retrieve

EMBEDDER = FakeEmbedder(dimensions=256)
SURE = AnswerSettings(abstain_below=0.0)
TEXTS = {
    "leave.md": "# Leave\n\nEvery employee gets 15 days of paid vacation. Unused vacation days expire in March.",
    "dogs.md": "# Dogs\n\nDogs are welcome in the office on Fridays. Cats must stay at home.",
    "travel.md": "# Travel\n\nThe travel desk books every flight. Train tickets need no approval.",
    "board.md": "# Bonus\n\nThe secret board bonus is 4711 euros.",
}


def entry(name: str, text: str, acl: tuple[str, ...] = ("*",)) -> Entry:
    document = Document(name=name, text=text, format="md", hash=name, bytes=len(text))
    chunk = Chunk(name, 0, len(text), text, heading=(text[2 : text.index("\n")],))
    return Entry(document, [chunk], EMBEDDER.embed([chunk.indexed_text], kind="document"), acl=acl)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    opened = open_library(
        tmp_path / "library",
        settings=LibrarySettings(),
        embedder_fingerprint=EMBEDDER.fingerprint,
        dimensions=EMBEDDER.dimensions,
    )
    yield opened
    opened.close()


@pytest.fixture
def filled(library: Library) -> Library:
    entries = [entry(name, text, ("board",) if name == "board.md" else ("*",)) for name, text in TEXTS.items()]
    library.commit(Change(put=entries))
    return library


def assistant(
    library: Library,
    says: str | Callable[[Sequence[Message]], str] = "",
    *,
    arm: Arm = "rag",
    settings: AnswerSettings = SURE,
    context: int = 8192,
) -> Assistant:
    script = says if callable(says) else (lambda _: says)
    return Assistant(
        arm=arm,
        settings=settings,
        library_version=library.version,
        searcher=HybridSearcher(library, EMBEDDER, Retrieve()),
        ranker=Ranker(EMBEDDER),
        generator=lambda: ScriptedGenerator(script, context=context),
    )


def quotes_hold(answer: Answer, library: Library) -> bool:
    texts = {one.document: library.document(one.document) for one in answer.citations}
    return all(
        found is not None and found.text[one.start : one.end] == one.quote
        for one in answer.citations
        for found in [texts[one.document]]
    )


def test_a_supported_answer_is_cited_and_the_prompt_is_kept(filled: Library) -> None:
    answer = assistant(filled, "Employees get 15 days of paid vacation [1].").ask("How many vacation days?")
    assert answer.text == "Employees get 15 days of paid vacation [1]."
    assert answer.citations[0].document == "leave.md"
    assert quotes_hold(answer, filled)
    assert "How many vacation days?" in answer.prompt
    assert not answer.abstained
    assert answer.seconds.total > 0


def test_pieces_come_as_the_model_writes_and_the_answer_follows(filled: Library) -> None:
    stream = assistant(filled, "Dogs are welcome on Fridays.").stream("Are dogs welcome in the office?")
    assert "".join(stream) == "Dogs are welcome on Fridays."
    assert stream.answer.citations[0].document == "dogs.md"


def test_an_unsupported_answer_gives_way_to_the_documents_own_sentences(filled: Library) -> None:
    answer = assistant(filled, "You get 99 days of vacation.").ask("How many paid vacation days?")
    assert "15 days of paid vacation" in answer.text
    assert FALLBACK_NOTE in answer.notes
    assert all(sentence.supported for sentence in answer.sentences)
    assert quotes_hold(answer, filled)


def test_without_fallback_the_unsupported_sentence_stays_and_is_marked(filled: Library) -> None:
    settings = AnswerSettings(abstain_below=0.0, fallback=False)
    answer = assistant(filled, "You get 99 days of vacation.", settings=settings).ask("How many vacation days?")
    assert [sentence.supported for sentence in answer.sentences] == [False]
    assert answer.citations == ()


def test_an_empty_answer_of_the_model_falls_back_too(filled: Library) -> None:
    assert "15 days" in assistant(filled, "").ask("How many paid vacation days?").text


def test_a_refusal_of_the_model_becomes_the_fixed_words(filled: Library) -> None:
    trusting = SURE.model_copy(update={"overrule": 1.0})
    answer = assistant(filled, "The passages do not mention parking.", settings=trusting).ask("How many vacation days?")
    assert (answer.text, answer.abstained, answer.citations) == (ABSTENTION, True, ())


def test_unsure_retrieval_declines_without_asking_the_model(filled: Library) -> None:
    def never(_: Sequence[Message]) -> str:
        raise AssertionError("the model was asked")

    settings = AnswerSettings(abstain_below=0.99)
    answer = assistant(filled, never, settings=settings).ask("Quarterly zebra forecast?")
    assert (answer.text, answer.abstained, answer.prompt) == (ABSTENTION, True, "")


def test_an_empty_library_says_what_to_do(library: Library) -> None:
    answer = assistant(library, "never").ask("How many vacation days?")
    assert answer.abstained
    assert EMPTY_NOTE in answer.notes


def test_a_document_the_caller_may_not_see_never_reaches_the_prompt(filled: Library) -> None:
    seen: list[str] = []

    def spy(messages: Sequence[Message]) -> str:
        seen.append(messages[-1].content)
        return "The secret board bonus is 4711 euros."

    outsider = assistant(filled, spy).ask("What is the secret board bonus?")
    assert "4711" not in seen[0]
    assert "4711" not in outsider.text
    insider = assistant(filled, spy).ask("What is the secret board bonus?", scope=Scope(groups=("board",)))
    assert insider.citations[0].document == "board.md"


def test_given_contexts_are_answered_from_without_searching(filled: Library) -> None:
    answer = assistant(filled, "Lunch is free.").ask("Is lunch free?", contexts=["Lunch is free on Mondays.", "x"])
    assert answer.citations[0].document == "contexts/1"
    assert [hit.chunk.document for hit in answer.hits] == ["contexts/1", "contexts/2"]


def test_the_base_arm_reads_no_documents_and_claims_no_support(filled: Library) -> None:
    answer = assistant(filled, "You get 15 days of paid vacation.", arm="base").ask("How many vacation days?")
    assert answer.hits == ()
    assert "passage" not in answer.prompt
    assert [sentence.supported for sentence in answer.sentences] == [False]


def test_the_extractive_arm_needs_no_model(filled: Library) -> None:
    answer = assistant(filled, arm="extractive").ask("Are dogs welcome in the office?")
    assert answer.text.startswith("Dogs are welcome in the office on Fridays.")
    assert (answer.model, answer.prompt, answer.prompt_tokens) == ("extractive", "", 0)
    assert quotes_hold(answer, filled)


def test_a_follow_up_is_searched_with_the_question_before_it(filled: Library) -> None:
    talk = [Message("user", "Are dogs welcome in the office?"), Message("assistant", "On Fridays.")]
    answer = assistant(filled, arm="extractive").ask("And cats?", history=talk)
    assert answer.hits[0].chunk.document == "dogs.md"


def test_a_short_question_that_begins_anew_is_searched_alone(filled: Library) -> None:
    talk = [Message("user", "How many days of paid vacation does every employee get?"), Message("assistant", "15.")]
    answer = assistant(filled, arm="extractive").ask("Who books flights?", history=talk)
    assert answer.citations[0].quote == "The travel desk books every flight."
    assert answer.hits[0].chunk.document == "travel.md"


def hits(count: int, words: int) -> list[Hit]:
    return [Hit(Chunk(f"{n}.md", 0, 5 * words, "word " * words), 1.0) for n in range(count)]


def test_follow_ups_are_rewritten_by_the_rewriter_and_answered_by_the_generator(filled: Library) -> None:
    asked: list[str] = []

    def rewrites(messages: Sequence[Message]) -> str:
        asked.append(messages[-1].content)
        return "Are dogs welcome in the office?"

    helper = Assistant(
        arm="rag",
        settings=SURE.model_copy(update={"rewrite": "model"}),
        library_version=filled.version,
        searcher=HybridSearcher(filled, EMBEDDER, Retrieve()),
        ranker=Ranker(EMBEDDER),
        generator=lambda: ScriptedGenerator(lambda _: "Dogs are welcome in the office on Fridays [1]."),
        rewriter=lambda: ScriptedGenerator(rewrites),
        adapter="reader (bundled)",
    )
    history = [Message("user", "Are cats welcome?"), Message("assistant", "No.")]
    answer = helper.ask("And dogs?", history=history)
    assert len(asked) == 1
    assert answer.hits[0].chunk.document == "dogs.md"
    assert answer.text.startswith("Dogs are welcome")
    assert answer.adapter == "reader (bundled)"
    helper.ask("Are dogs welcome?")
    assert len(asked) == 1


def test_an_answer_no_model_was_asked_for_names_no_adapter(filled: Library) -> None:
    helper = Assistant(
        arm="tuned+rag",
        settings=AnswerSettings(abstain_below=1.0),
        library_version=filled.version,
        searcher=HybridSearcher(filled, EMBEDDER, Retrieve()),
        generator=lambda: ScriptedGenerator(lambda _: "Never asked."),
        adapter="voice@1",
    )
    answer = helper.ask("What do the tides weigh?")
    assert (answer.abstained, answer.model, answer.adapter) == (True, "", None)


def test_a_prompt_too_long_drops_the_lowest_ranked_passages_first() -> None:
    model = ScriptedGenerator(lambda _: "", context=500)
    _, shown = fit("Who pays?", hits(5, 100), model, Sampling(max_tokens=50))
    assert 1 <= len(shown) < 5
    assert [hit.chunk.document for hit in shown] == [f"{n}.md" for n in range(len(shown))]


def test_old_turns_go_before_passages() -> None:
    model = ScriptedGenerator(lambda _: "", context=500)
    history = [Message("user", "old " * 200), Message("assistant", "older " * 200)]
    messages, shown = fit("Who pays?", hits(1, 100), model, Sampling(max_tokens=50), history=history)
    assert len(messages) == 2
    assert len(shown) == 1


def test_a_question_that_alone_is_too_long_is_refused() -> None:
    model = ScriptedGenerator(lambda _: "", context=500)
    with pytest.raises(PromptTooLong, match=r"500 tokens .* the question of 2400 characters"):
        fit("why " * 600, hits(2, 10), model, Sampling(max_tokens=50))


def test_a_prompt_too_long_for_another_reason_than_the_question_says_so() -> None:
    model = ScriptedGenerator(lambda _: "", context=500)
    with pytest.raises(PromptTooLong, match=r"the best passage of .*ingest.chunk_tokens"):
        fit("Who pays?", hits(2, 1000), model, Sampling(max_tokens=50))
    with pytest.raises(PromptTooLong, match=r"answer.instructions of 2400 characters; shorten it"):
        fit("Who pays?", hits(2, 10), model, Sampling(max_tokens=50), instructions="Bee " * 600)


def test_left_out_passages_are_told(filled: Library) -> None:
    answer = assistant(filled, "Dogs are welcome on Fridays.", context=270).ask("Are dogs welcome in the office?")
    assert any("left out" in note for note in answer.notes)


def test_the_sentences_closest_to_the_question_stand_before_it_best_last() -> None:
    passages = ["Cats sleep. Vacation is fifteen days a year.", "Vacation must be asked for. Dogs bark."]
    seen: list[str] = []

    def say(turns: Sequence[Message]) -> str:
        seen.append(turns[-1].content)
        return "Vacation is fifteen days a year [1]."

    for hints in (2, 0):
        settings = AnswerSettings(hints=hints)
        made = Assistant(
            arm="rag",
            settings=settings,
            library_version=lambda: 1,
            searcher=None,
            ranker=Ranker(EMBEDDER),
            generator=lambda: ScriptedGenerator(say),
        )
        made.ask("How many days a year is vacation?", contexts=passages)
    helped = seen[0].partition("Closest sentences in the passages:\n")[2].partition("\n\nQuestion: ")[0].splitlines()
    assert len(helped) == 2
    assert helped[-1] == "[1] Vacation is fifteen days a year."
    assert "Closest sentences" not in seen[1]


def test_a_refusal_gives_way_to_the_passages_where_retrieval_is_sure(filled: Library) -> None:
    asked = "How many days of paid vacation do employees get?"
    sure = assistant(filled, ABSTENTION, settings=AnswerSettings(abstain_below=0, overrule=0.0)).ask(asked)
    assert not sure.abstained
    assert "15 days of paid vacation" in sure.text
    assert sure.notes == (OVERRULED_NOTE,)
    assert quotes_hold(sure, filled)
    never = assistant(filled, ABSTENTION, settings=AnswerSettings(abstain_below=0, overrule=1.0)).ask(asked)
    assert never.abstained
    assert never.text == ABSTENTION
