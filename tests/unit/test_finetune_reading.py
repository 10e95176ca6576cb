"""Lessons in reading: what is shown, what is to be said, and in which shares."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from openbook import prompt
from openbook.errors import TrainingError
from openbook.finetune import reading
from openbook.finetune.reading import Source, Unanswerable
from openbook.records import Case, Chunk, Example, Hit, Message, Span
from openbook.settings import Reading

TOWNS = "Aba Bolo Cres Dorn Elm Fara Gand Hove Ilo Jura Kent Lund".split()


def hit(name: str, text: str) -> Hit:
    return Hit(Chunk(document=name, start=0, end=len(text), text=text, title=name), score=0.0)


def world(*, per_town: int = 3) -> list[Source]:
    """Twelve passages about towns; the questions about one find it first and its neighbours next."""
    facts = [("people", 100), ("bridges", 10), ("schools", 40)][:per_town]
    texts = {
        town: " ".join(f"{town} has {base + number} {what}." for what, base in facts)
        for number, town in enumerate(TOWNS)
    }
    hits = {town: hit(f"{town}.md", text) for town, text in texts.items()}
    found = []
    for number, town in enumerate(TOWNS):
        near = [hits[TOWNS[(number + step) % len(TOWNS)]] for step in range(6)]
        for what, base in facts:
            answer = str(base + number)
            start = texts[town].index(f" {answer} ") + 1
            case = Case(
                f"How many {what} does {town} have?",
                gold=(answer,),
                spans=(Span(f"{town}.md", start, start + len(answer)),),
                id=f"{town}-{what}",
            )
            found.append(Source(case, hits[town], answer, start, tuple(near)))
    return found


def kinds(lessons: reading.Lessons) -> Counter[str]:
    return Counter(one.place.partition(":")[0] for one in lessons.examples)


def numbers_shown(example: Example) -> dict[int, str]:
    """Passage text by its number."""
    asked = example.messages[-2].content.partition("\n\nQuestion: ")[0]
    found = {}
    for part in asked.split("</passage>"):
        if 'number="' in part:
            head, _, text = part.partition(">\n")
            found[int(head.split('number="')[1].split('"')[0])] = text.strip()
    return found


def test_every_question_is_answered_as_often_as_the_setting_says() -> None:
    sources = world()
    made = reading.build(sources, settings=Reading(variants=2, conflict=0), shown=3)
    answered = Counter(one.place for one in made.examples if one.place.startswith("answer:"))
    assert answered == {f"answer:{source.case.id}": 2 for source in sources}
    assert made.counts["answer"] == kinds(made)["answer"]


def test_an_answer_quotes_the_passage_it_cites_word_by_word() -> None:
    for one in reading.build(world(), settings=Reading(), shown=3).examples:
        reply = one.messages[-1].content
        if reply == prompt.ABSTENTION:
            continue
        quote, _, rest = reply.partition(" [")
        assert quote in numbers_shown(one)[int(rest.partition("]")[0])]
        assert reply.endswith("].")


def test_a_refused_question_finds_its_answer_in_no_passage_shown() -> None:
    golds = {f"refusal:{source.case.id}": source for source in world()}
    refused = [one for one in reading.build(world(), settings=Reading(), shown=3).examples if one.place in golds]
    assert refused
    for one in refused:
        assert one.messages[-1].content == prompt.ABSTENTION
        shown = numbers_shown(one).values()
        assert golds[one.place].gold.chunk.text not in shown


def test_the_share_of_refusals_is_as_set_and_each_refused_question_is_also_answered() -> None:
    made = reading.build(world(), settings=Reading(refusal=0.25, conflict=0), shown=3)
    refused = {one.place.partition(":")[2] for one in made.examples if one.place.startswith("refusal")}
    answered = {one.place.partition(":")[2] for one in made.examples if one.place.startswith("answer")}
    assert kinds(made)["refusal"] / len(made.examples) == pytest.approx(0.25, abs=0.02)
    assert refused <= answered


def test_prompts_are_those_of_answering() -> None:
    one = reading.build(world(), settings=Reading(conflict=0, refusal=0), shown=3, instructions="Be kind.").examples[0]
    shown = numbers_shown(one)
    hits = [hit(f"{text.split()[0]}.md", text) for _, text in sorted(shown.items())]
    question = one.messages[-2].content.rpartition("Question: ")[2]
    assert list(one.messages[:-1]) == prompt.messages(question, hits, instructions="Be kind.")


def test_questions_share_passages_so_that_training_reads_those_once() -> None:
    made = reading.build(world(), settings=Reading(variants=1, conflict=0), shown=3)
    over = Counter(one.messages[-2].content.rpartition("Question: ")[0] for one in made.examples)
    assert len(made.examples) / len(over) > 2


def test_the_right_passage_stands_anywhere() -> None:
    made = reading.build(world(), settings=Reading(variants=4, conflict=0, refusal=0), shown=3)
    cited = Counter(one.messages[-1].content[-3] for one in made.examples if len(numbers_shown(one)) == 3)
    assert set(cited) == {"1", "2", "3"}
    assert min(cited.values()) > sum(cited.values()) / 5


def test_a_conflict_shows_another_value_than_the_documents_and_follows_it() -> None:
    made = reading.build(world(), settings=Reading(conflict=0.2), shown=3)
    conflicts = [one for one in made.examples if one.place.startswith("conflict:")]
    assert len(conflicts) == made.counts["conflict"] > 0
    truth = {f"conflict:{source.case.id}": source.answer for source in world()}
    for one in conflicts:
        assert f" {truth[one.place]} " not in one.messages[-1].content
        assert one.messages[-1].content.partition(" [")[0] in " ".join(numbers_shown(one).values())


@pytest.mark.parametrize(("target", "reply"), [("answer", "100 [1]."), ("quote+answer", "Answer: 100 [1].")])
def test_other_targets(target: str, reply: str) -> None:
    settings = Reading.model_validate({"target": target, "variants": 1, "conflict": 0, "refusal": 0})
    made = reading.build(world()[:1], settings=settings, shown=1)
    assert made.examples[0].messages[-1].content.endswith(reply)


def test_random_distractors_come_from_further_away() -> None:
    near = {"Aba", "Bolo", "Cres", "Dorn", "Elm", "Fara"}
    far = {}
    for kind in ("hard", "random"):
        settings = Reading.model_validate({"distractors": kind, "conflict": 0, "refusal": 0, "variants": 6})
        some = [one for one in reading.build(world(), settings=settings, shown=3).examples if ":Aba-" in one.place]
        beside = [text.split()[0] for one in some for text in numbers_shown(one).values() if "Aba" not in text]
        far[kind] = sum(town not in near for town in beside) / len(beside)
    assert far["hard"] < 0.25 < far["random"]


def test_the_same_seed_makes_the_same_lessons() -> None:
    one, same, other = (reading.build(world(), settings=Reading(), shown=3, seed=seed) for seed in (1, 1, 2))
    assert one.examples == same.examples
    assert one.examples != other.examples


def test_most_prompts_repeat_the_closest_sentences_and_some_do_not() -> None:
    made = reading.build(
        world(), settings=Reading(), shown=3, hints=lambda case, _: [prompt.Hint(1, f"Closest to {case.question}")]
    )
    shown = [one for one in made.examples if numbers_shown(one)]
    helped = [one for one in shown if "Closest to " in one.messages[-2].content]
    assert 0.6 < len(helped) / len(shown) < 0.8


def test_earlier_turns_stand_before_the_question() -> None:
    source = world()[0]
    talk = (Message("user", "Tell me about Aba."), Message("assistant", "It is a town."))
    asked = Case("How many people?", source.case.gold, source.case.spans, history=talk)
    made = reading.build([Source(asked, source.gold, "100", source.start, ())], settings=Reading(variants=1), shown=2)
    assert [turn.role for turn in made.examples[0].messages] == ["system", "user", "assistant", "user", "assistant"]
    assert made.examples[0].last_only


def test_of_a_very_long_sentence_only_the_answer_is_learned() -> None:
    text = f"The town {'very ' * 100}old has 77 people."
    start = text.index("77")
    source = Source(Case("How many?", ("77",), (Span("a", start, start + 2),)), hit("a", text), "77", start, ())
    made = reading.build([source], settings=Reading(variants=1), shown=1)
    assert made.examples[0].messages[-1].content == "77 [1]."


def test_style_conversations_fill_their_share_and_none_is_lost() -> None:
    chats = [Example((Message("user", str(number)), Message("assistant", "Hi!"))) for number in range(10)]
    assert len(reading.style(chats, 90, 0.25)) == 30
    assert {one.messages[0].content for one in reading.style(chats, 10, 0.1)} == {str(number) for number in range(10)}
    assert reading.style([], 100, 0.5) == []


def test_lessons_come_back_from_their_file(tmp_path: Path) -> None:
    made = reading.build(world(), settings=Reading(), shown=3).examples
    reading.write(tmp_path / "lessons.jsonl", made)
    assert reading.read(tmp_path / "lessons.jsonl") == made


def test_a_damaged_file_of_lessons_is_named(tmp_path: Path) -> None:
    (tmp_path / "lessons.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"lessons\.jsonl"):
        reading.read(tmp_path / "lessons.jsonl")


def test_a_control_token_in_a_document_is_broken_in_the_reply_as_in_the_passage() -> None:
    text = "The mark <|im_end|> closes 12 turns."
    gold, start = hit("marks.md", text), text.index("12")
    sources = [Source(Case("How many turns?", gold=("12",), id="m"), gold, "12", start, ())]
    for one in reading.build(sources, settings=Reading(conflict=0, refusal=0), shown=1).examples:
        assert one.messages[-1].content == "The mark < |im_end|> closes 12 turns [1]."
        assert "The mark < |im_end|> closes 12 turns." in numbers_shown(one)[1]


def test_lessons_with_rare_line_ends_are_read_back(tmp_path: Path) -> None:
    lesson = Example(
        (Message("user", "a\u2028b\x85c\x0bd"), Message("assistant", "e")),
        place="answer:x",
        document="d",
        last_only=True,
    )
    reading.write(tmp_path / "train.jsonl", [lesson, lesson])
    assert reading.read(tmp_path / "train.jsonl") == (lesson, lesson)


def unanswerable(count: int) -> list[Unanswerable]:
    found = tuple(world()[0].found)
    return [Unanswerable(Case(f"Who is mayor {n}?", kind="unanswerable", id=f"mayor{n}"), found) for n in range(count)]


def test_unanswerable_questions_are_refused_over_what_is_found_for_them_within_the_share() -> None:
    settings = Reading(refusal=0.25, conflict=0, variants=2)
    made = reading.build(world(), unanswerable=unanswerable(3), settings=settings, shown=3)
    mayors = [one for one in made.examples if "mayor" in one.place]
    assert Counter(one.place for one in mayors) == {f"refusal:mayor{n}": 2 for n in range(3)}
    assert made.counts["refusal"] == kinds(made)["refusal"]
    assert made.counts["refusal"] / len(made.examples) == pytest.approx(0.25, abs=0.02)
    near = {found.chunk.text for found in world()[0].found}
    for one in mayors:
        assert one.messages[-1].content == prompt.ABSTENTION
        assert len(numbers_shown(one)) == 3
        assert set(numbers_shown(one).values()) <= near


def test_more_unanswerable_questions_than_the_share_take_turns() -> None:
    settings = Reading(refusal=0.25, conflict=0, variants=2)
    made = reading.build(world(), unanswerable=unanswerable(20), settings=settings, shown=3)
    mayors = Counter(one.place for one in made.examples if "mayor" in one.place)
    assert len(mayors) == 20
    assert set(mayors.values()) == {1, 2}
    assert made.counts["refusal"] / len(made.examples) == pytest.approx(0.25, abs=0.02)
    none = Reading(refusal=0, conflict=0)
    assert "refusal" not in reading.build(world(), unanswerable=unanswerable(2), settings=none, shown=3).counts
