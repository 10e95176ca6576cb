"""Scores of rows, and what an arm cannot win by: shuffled gold, dumps, citing passage 1, citing all, refusing all."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean

import pytest

from openbook.compare.schema import Row
from openbook.compare.score import score, score_all
from openbook.compare.style import StyleModel
from openbook.prompt import ABSTENTION
from openbook.records import Case, Span
from tests.compare_answers import answer, cites, hit, row

LEAVE = "New parents get 18 weeks of leave. It starts at birth."
TRIPS = "Meals abroad are paid with 62 euros a day."
CASE = Case("How long is parental leave?", gold=("18 weeks",), spans=(Span("d.md", 16, 24),), id="q")


def test_a_right_answer_that_cites_its_passage_has_every_score() -> None:
    shown = hit(LEAVE)
    said = answer("You get 18 weeks [1].", hits=[shown], citations=[cites(shown, LEAVE[:34])])
    found = score(CASE, Row("q", "rag", said))
    for name in "answer_correct answer_and_citation citation_precision citation_recall retrieved acceptable".split():
        assert found[name] == 1.0, name
    for name in "false_refusal fabricated_citation invention invents".split():
        assert found[name] == 0.0, name
    assert found["quote_verbatim"] == found["numbers"] == 1.0


def test_arms_without_passages_have_no_score_of_citations() -> None:
    found = score(CASE, row("q", "18 weeks [1].", "base"))
    assert not {name for name in found if "cit" in name or name in ("retrieved", "quote_verbatim")}
    assert found["answer_correct"] == found["exact_match"] == 1.0


def test_a_failed_row_has_no_scores_and_an_empty_answer_is_wrong() -> None:
    assert score(CASE, Row("q", "rag", None, error="dead")) == {}
    found = score(CASE, row("q", ""))
    assert (found["answer_correct"], found["false_refusal"], found["invention"]) == (0.0, 0.0, 0.0)


def test_a_citation_of_a_passage_not_shown_is_fabricated_also_when_the_check_took_it_out() -> None:
    said = answer("18 weeks.", hits=[hit(LEAVE)], written="18 weeks [1][4].")
    assert score(CASE, Row("q", "rag", said))["fabricated_citation"] == 1.0
    copied = answer("As told.[37]", hits=[hit("As told.[37] And so on.")])
    assert score(CASE, Row("q", "rag", copied))["fabricated_citation"] == 0.0


def test_a_quotation_that_no_passage_holds_is_not_verbatim() -> None:
    shown = hit(LEAVE)
    for quoted, found in (("new  parents get 18 weeks", 1.0), ("new parents receive 18 weeks", 0.0)):
        assert score(CASE, Row("q", "rag", answer(f"It says “{quoted}”.", hits=[shown])))["quote_verbatim"] == found


def test_an_unanswerable_question_wants_a_refusal_that_says_no_stale_value() -> None:
    gone = Case("How much?", kind="unanswerable", why="superseded", stale=("40 euros",), id="u")
    assert score(gone, row("u", ABSTENTION))["refusal"] == 1.0
    assert score(gone, row("u", "It is €40."))["stale"] == 1.0
    assert score(gone, row("u", "I can't find this in the documents, it was 40 euros."))["acceptable"] == 0.0


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("I'm sorry for any confusion, but as a chatbot I'm not equipped to provide information about leave.", True),
        ("I am unable to answer that.", True),
        ("As an AI language model, I am designed to assist with general topics.", True),
        ("I'm sorry to hear that! You get 18 weeks.", False),
        ("It serves as a chatbot for new parents, who get 18 weeks.", False),
    ],
)
def test_a_refusal_in_a_models_own_stock_phrase_is_one(said: str, refused: bool) -> None:
    assert score(CASE, row("q", said, "base"))["false_refusal"] == refused


def test_setting_a_false_premise_right_counts_like_declining_and_passing_over_it_does_not() -> None:
    premise = Case("Why did the flood of 1576 take 69,000 homes?", kind="unanswerable", why="false-premise", id="u")
    shown = [hit("The flood of 1576 took 50,000 homes and 12 bridges.")]
    said = {
        "It took 50,000 homes, not 69,000 [1].": 1.0,
        "That is incorrect: the passages say 50,000 homes [1].": 1.0,
        "It took 50,000 homes [1].": 0.0,
        "It took 69,000 homes because 12 bridges did not hold.": 0.0,
        "It did not take 69,000 homes but 70,000.": 0.0,
        "It took 69,000 homes.": 0.0,
    }
    assert {text: score(premise, Row("u", "rag", answer(text, hits=shown)))["refusal"] for text in said} == said
    near = replace(premise, why="near-miss")
    assert score(near, Row("u", "rag", answer(next(iter(said)), hits=shown)))["refusal"] == 0.0


def test_the_marks_of_a_list_are_no_numbers() -> None:
    steps = "\n".join(f"{at}. Do step {'abcdefghij'[at]}." for at in range(1, 9))
    assert score(CASE, row("q", f"{steps}\n9. Wait 18 weeks."))["answer_correct"] == 1.0
    assert score(CASE, row("q", "17. Ask.\n18. Wait some weeks."))["numbers"] == 0.0


def test_a_conflict_is_followed_by_the_new_value_alone() -> None:
    conflict = replace(CASE, kind="conflict", gold=("20 weeks",), stale=("18 weeks",), contexts=("20 weeks of leave",))
    said = ["20 weeks.", "18 weeks.", "20 weeks, formerly 18 weeks.", ABSTENTION]
    assert [score(conflict, row("q", text))["follows_document"] for text in said] == [1.0, 0.0, 0.0, 0.0]
    assert "answer_correct" not in score(conflict, row("q", said[0]))


def test_a_stale_value_inside_the_gold_answer_does_not_count() -> None:
    case = replace(CASE, gold=("18 weeks",), stale=("weeks",))
    assert score(case, row("q", "18 weeks."))["stale"] == 0.0
    longer = replace(CASE, gold=("18 weeks",), stale=("18 weeks at half pay",))
    assert score(longer, row("q", "18 weeks at half pay."))["answer_correct"] == 0.0


def test_made_up_numbers_and_names_are_found_and_those_shown_are_not() -> None:
    shown = [hit(LEAVE)]
    made_up = score(CASE, Row("q", "rag", answer("You get 18 weeks. Write to Zelda within 40 days.", hits=shown)))
    assert made_up["invents"] == 1.0
    assert 0.4 < made_up["invention"] < 0.9
    assert score(CASE, Row("q", "rag", answer("1. Leave starts at birth.\n2. 18 weeks", hits=shown)))["invents"] == 0.0
    copied = answer('It says: <passage number="7" source="d.md">New parents get 18 weeks.', hits=shown)
    assert score(CASE, Row("q", "rag", copied))["invents"] == 0.0


def test_a_number_is_right_only_in_its_own_order_of_magnitude() -> None:
    case = replace(CASE, gold=("62 euros",))
    assert [score(case, row("q", text))["numbers"] for text in ("€62", "62 million euros", "€62k")] == [1.0, 0.0, 0.0]


def test_a_passage_quoted_with_its_link_invents_nothing() -> None:
    text = "Besides the [Holiday List](https://git.example/Benefits%20and%20Perks/List.md), there are 15 days."
    assert score(CASE, Row("q", "rag", answer(text, hits=[hit(text)])))["invents"] == 0.0


def test_what_a_refusal_adds_of_its_own_is_an_invention() -> None:
    shown = [hit(LEAVE)]
    for said, made_up in (
        ("The documents do not mention this. In general it is 45 days.", 1.0),
        ("I can't find this in the documents. New parents get 18 weeks, though.", 0.0),
        ("I'm sorry, but I'm not able to answer that for Zelda in 1999.", 0.0),
    ):
        found = score(CASE, Row("q", "rag", answer(said, hits=shown)))
        assert (found["false_refusal"], found["invents"], found["invention"]) == (1.0, made_up, 0.0), said


def test_behaviour_is_acceptable_when_its_task_score_reaches_the_bar() -> None:
    case = Case("Hi", gold=("Hello dear",), kind="behaviour", id="b")
    for value, wanted in ((0.5, 1.0), (0.49, 0.0)):
        found = score(case, row("b", "Hello [1]"), task=lambda *_, value=value: value)
        assert (found["behaviour"], found["acceptable"]) == (value, wanted)
    assert "acceptable" not in score(case, row("b", "Hello"))


def test_a_classifier_that_cannot_tell_the_team_scores_no_voice() -> None:
    case = Case("Hi", gold=("Hello dear",), kind="behaviour", id="b")
    for auc, scored in ((0.95, True), (0.6, False)):
        voice = StyleModel(auc, 40, lambda _: 0.9)
        assert ("style" in score_all([case], [row("b", "Hello")], style=voice)[0].scores) == scored


def test_paraphrases_agree_when_both_are_right_or_both_refuse() -> None:
    cases = [replace(CASE, id=name, same="leave") for name in "abc"]
    rows = [
        row("a", "18 weeks."),
        row("b", "It is eighteen weeks."),
        row("c", ABSTENTION),
        row("a", "18 weeks", "base"),
    ]
    scored = score_all(cases, rows)
    assert [one.scores.get("consistency") for one in scored] == [0.5, 0.5, 0.0, None]


def test_rows_keep_their_order_and_unknown_cases_are_left_out() -> None:
    rows = [row("q", "no", "rag"), row("gone", "x"), row("q", "18 weeks", "base")]
    assert [(one.arm, one.scores["answer_correct"]) for one in score_all([CASE], rows)] == [("rag", 0.0), ("base", 1.0)]


def library(n: int = 120) -> list[tuple[Case, list[str]]]:
    """Cases over passages of about 150 words with one fact each, the gold one anywhere among four shown."""
    chance = random.Random(3)
    words = "policy colleague request office manager travel training contract review meeting support".split()
    facts = [f"The limit of rule {chr(97 + at % 26)}{at} is {101 + 7 * at} euros." for at in range(n)]
    filler = [" ".join(chance.choices(words, k=35)).capitalize() + "." for _ in range(n)]
    texts = [f"{one} {fact} {one} {one} {one}" for one, fact in zip(filler, facts, strict=True)]
    made = []
    for at, text in enumerate(texts):
        value = f"{101 + 7 * at} euros"
        start = text.index(value)
        case = Case(f"What is the limit of rule {chr(97 + at % 26)}{at}?", gold=(value,), id=str(at))
        others = [texts[other] for other in chance.sample([one for one in range(n) if one != at], 3)]
        place = chance.randrange(4)
        shown = [*others[:place], text, *others[place:]]
        made.append((replace(case, spans=(Span(f"{place}", start, start + len(value)),)), shown))
    return made


def mean(name: str, reply: str, cited: str) -> float:
    """The mean score of an arm that replies and cites by one trick."""
    found = []
    for case, shown in library():
        hits = [hit(text, str(at)) for at, text in enumerate(shown)]
        place = int(case.spans[0].document)
        said = {
            "gold": f"It is {case.gold[0]}.",
            "dump one": shown[place],
            "dump all": "\n".join(shown),
            "first": hits[0].chunk.text.split(". ")[1] + ".",
            "list": "It is " + " or ".join(f"{101 + 7 * at} euros" for at in range(120)) + ".",
            "refuse": ABSTENTION,
        }[reply]
        sentence = {at: one.chunk.text.split(". ")[1] for at, one in enumerate(hits)}
        ats = {"right": [place], "first": [0], "all": range(4), "none": []}[cited]
        citations = [cites(hits[at], sentence[at]) for at in ats]
        found.append(score(case, Row(case.id, "rag", answer(said, hits=hits, citations=citations)))[name])
    return fmean(found)


def test_an_honest_arm_scores_one_and_no_trick_comes_near() -> None:
    assert mean("answer_and_citation", "gold", "right") == 1.0
    for reply in ("dump one", "dump all", "list", "refuse"):
        assert mean("answer_correct", reply, "right") == 0.0, reply
        assert mean("answer_and_citation", reply, "all") == 0.0, reply


def test_an_arm_that_always_cites_passage_1_has_what_chance_gives() -> None:
    assert mean("citation_recall", "gold", "first") == pytest.approx(0.25, abs=0.1)
    assert mean("answer_and_citation", "gold", "first") == pytest.approx(0.25, abs=0.1)
    assert mean("answer_correct", "first", "first") == pytest.approx(0.25, abs=0.1)


def test_citing_every_passage_or_none_does_not_count_as_citing() -> None:
    assert mean("answer_and_citation", "gold", "all") == 0.0
    assert mean("citation_precision", "gold", "all") == pytest.approx(0.25)
    assert mean("citation_precision", "gold", "none") == mean("answer_and_citation", "gold", "none") == 0.0


def test_shuffled_gold_answers_score_near_zero() -> None:
    chance = random.Random(1)
    cases = [case for case, _ in library()]
    golds = [case.gold for case in cases]
    chance.shuffle(golds)
    right, shuffled = [], []
    for case, gold in zip(cases, golds, strict=True):
        said = row(case.id, f"It is {case.gold[0]}.")
        right.append(score(case, said)["answer_correct"])
        shuffled.append(score(replace(case, gold=gold), said)["answer_correct"])
    assert fmean(right) == 1.0
    assert fmean(shuffled) <= 0.02
