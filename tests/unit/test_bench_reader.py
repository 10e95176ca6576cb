"""The reading bench: its cases are what they claim to be, and its verdicts on hand-made texts."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import reader, reader_compare, reader_data, xquad
from bench.reader_cases import KINDS, REFUSED, SHOWN, Cases, Found, Item, Kind, cases, same_kind
from bench.reader_models import Kept, Reply
from bench.reader_run import chosen, held_out, product
from bench.reader_score import Row, cited, judge, mcnemar, pair, shares_table, shown, summary
from openbook.metrics import contains
from openbook.prompt import ABSTENTION
from openbook.records import Chunk, Hit
from openbook.retrieve.embed import FakeEmbedder

TEXTS = {p.name: p.text for p in xquad.paragraphs()}
RIGHT = "The museum opened in 1852, with free entry on three days."
WRONG = "The library has 40 rooms. Its roof is made of lead."


def found() -> list[Found]:
    """What a retriever of whole paragraphs that finds the answer second would find."""

    def hit(name: str) -> Hit:
        chunk = Chunk(f"xquad/{name}", 0, len(TEXTS[name]), TEXTS[name], title=name.removesuffix(".txt"))
        return Hit(chunk, 1.0, dense_score=0.9)

    def of(question: xquad.Question) -> Found:
        own = [name for name in TEXTS if name.startswith(question.article) and name != question.paragraph]
        others = [*own[:2], "a01-p01.txt", "a02-p02.txt"]
        return Found(question, hit(question.paragraph), 1, tuple(map(hit, others)))

    return [of(question) for question in xquad.held_out()]


@pytest.fixture(scope="module")
def made() -> Cases:
    return cases(found())


def item(kind: Kind = "answerable", *, right: tuple[int, ...] = (1,), true: tuple[str, ...] = ()) -> Item:
    hits = tuple(
        Hit(Chunk(name, 0, len(text), text, title=name), 1.0, dense_score=0.9)
        for name, text in (("museum", RIGHT), ("library", WRONG))
    )
    return Item("1", kind, "When did the museum open?", hits, ("1852",), right, "p1", true)


def judged(text: str, given: Item | None = None, *, arm: str = "reader") -> Row:
    given = given or item()
    answer = product(given, text, FakeEmbedder(dimensions=64))
    return judge(arm, given, Reply(text, 100, len(text.split()), cut=False), answer)


def test_no_held_out_article_is_trained_on() -> None:
    held, trained = xquad.held_out(), xquad.trained_on()
    assert (len(held), len(trained)) == (139, 493)
    assert not {one.article for one in held} & {one.article for one in trained}
    assert not {one.paragraph for one in held} & {one.paragraph for one in trained}


def test_every_training_question_has_its_quote_word_by_word_in_its_document() -> None:
    for question in xquad.trained_on():
        row = reader_data.question_row(question, TEXTS[question.paragraph])
        assert TEXTS[question.paragraph].count(row["quote"]) == 1
        assert row["answer"][0] in row["quote"]
        assert row["document"] == f"xquad/{question.paragraph}"


def test_a_question_whose_answer_is_elsewhere_is_refused() -> None:
    with pytest.raises(SystemExit, match="is not at its place"):
        reader_data.question_row(xquad.trained_on()[0], "Another text.")


def test_closed_conversations_show_no_document_and_answer_with_the_gold() -> None:
    for question in xquad.trained_on()[:50]:
        system, user, assistant = reader_data.closed_row(reader_data.question_row(question, TEXTS[question.paragraph]))[
            "messages"
        ]
        assert "passage" not in system["content"]
        assert user["content"] == question.text.strip()
        assert contains(assistant["content"], [question.answer])


def test_answerable_cases_hold_the_answer_where_they_say(made: Cases) -> None:
    for kind in ("answerable", "shuffled", "oracle"):
        some = made.of(kind)
        assert len(some) == 139
        for one in some:
            assert len(one.right) == 1
            assert contains(one.hits[one.right[0] - 1].chunk.text, one.gold)
            assert len(one.hits) == (1 if kind == "oracle" else SHOWN)


def test_the_answer_stands_at_its_own_rank_and_shuffling_moves_it(made: Cases) -> None:
    assert {one.right for one in made.of("answerable")} == {(2,)}
    assert {one.right for one in made.of("shuffled")} == {(1,), (2,), (3,)}


def test_unanswerable_cases_hold_the_answer_nowhere_and_the_rest_is_counted(made: Cases) -> None:
    for kind in REFUSED:
        some = made.of(kind)
        assert some
        assert len(some) + made.facts.get(f"left out, {kind}: a passage holds the answer's words", 0) == 139
        for one in some:
            assert one.right == ()
            assert len(one.hits) == (1 if kind == "near" else SHOWN)
            assert not any(contains(hit.chunk.text, one.gold) for hit in one.hits)


def test_far_passages_are_of_other_articles(made: Cases) -> None:
    for one in made.of("far"):
        assert not any(hit.chunk.document.startswith(f"xquad/{one.cluster[:3]}") for hit in one.hits)


def test_a_conflict_differs_from_its_case_in_the_answer_only(made: Cases) -> None:
    plain = {one.id: one for one in made.of("answerable")}
    some = made.of("conflict")
    assert len(some) >= 40
    for one in some:
        number = one.right[0] - 1
        before, after = plain[one.id].hits[number].chunk.text, one.hits[number].chunk.text
        assert one.right == plain[one.id].right
        assert after.replace(one.gold[0], one.true[0]) == before.replace(one.gold[0], one.true[0])
        assert contains(after, one.gold)
        assert not any(contains(hit.chunk.text, one.true) for hit in one.hits)
        assert same_kind(one.gold[0], one.true[0])
        assert one.hits[:number] == plain[one.id].hits[:number]


def test_the_same_seed_makes_the_same_cases_and_another_does_not(made: Cases) -> None:
    assert cases(found(), seed=0) == made
    assert cases(found(), seed=1) != made


def test_a_limit_takes_as_many_by_the_seed_and_keeps_their_order(made: Cases) -> None:
    limits: dict[Kind, int] = {"answerable": 10, "near": 3}
    some = chosen(made, limits, seed=3)
    assert [one.kind for one in some] == ["answerable"] * 10 + ["near"] * 3
    assert some == chosen(made, limits, seed=3) != chosen(made, limits, seed=4)
    assert set(some) < set(chosen(made, {"answerable": 20, "near": 4}, seed=3))
    order = [one.id for one in made.of("answerable")]
    assert [order.index(one.id) for one in some[:10]] == sorted(order.index(one.id) for one in some[:10])


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("1954", "1981", True),
        ("12%", "40%", True),
        ("68,511", "40,000", True),
        ("1954", "12%", False),
        ("1954", "12", False),
        ("Bryan Davies", "Ernst Haeckel", True),
        ("Bryan Davies", "1954", False),
        ("the original message", "reassembled data", False),
        ("Fresno", "West Fresno", False),
    ],
)
def test_values_are_exchanged_for_others_of_their_kind(one: str, other: str, alike: bool) -> None:
    assert same_kind(one, other) is alike


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It opened in 1852 [1].", (1,)),
        ("It opened [2]. It closed [1, 2] [2].", (2, 1)),
        ("It opened in [1852].", ()),
        ("It opened (1) in passage 1.", ()),
        ("", ()),
    ],
)
def test_only_numbers_in_brackets_are_citations(text: str, numbers: tuple[int, ...]) -> None:
    assert cited(text) == numbers


def test_a_right_answer_with_the_right_passage_counts_on_both_levels() -> None:
    row = judged("The museum opened in 1852 [1].")
    assert (row.says, row.cites_right, row.cites_only_right, row.refuses) == (True, True, True, False)
    assert (row.answer_says, row.answer_cites_right, row.answer_quotes, row.fell_back) == (True, True, True, False)


def test_the_product_mends_a_wrong_citation_and_the_model_gets_no_credit_for_it() -> None:
    row = judged("The museum opened in 1852 [2].")
    assert (row.says, row.cites_right) == (True, False)
    assert row.answer_cites_right


def test_naming_every_passage_is_no_right_citation_alone() -> None:
    row = judged("The museum opened in 1852 [1] [2].")
    assert row.cites_right
    assert not row.cites_only_right


def test_an_answer_without_marker_cites_nothing() -> None:
    row = judged("1852")
    assert row.says
    assert not row.cites_right


def test_a_passage_that_was_not_shown_is_never_right() -> None:
    assert not judged("The museum opened in 1852 [7].").cites_right


def test_a_refusal_is_no_answer_even_when_it_says_the_gold() -> None:
    row = judged(f"{ABSTENTION} It may be 1852 [1].")
    assert row.refuses
    assert not row.says


def test_what_is_answered_is_judged_after_sure_retrieval_overruled_a_refusal() -> None:
    row = judged(ABSTENTION)
    assert row.refuses
    assert not row.answer_refuses
    assert row.answer_says


def test_following_a_conflict_is_to_say_the_new_value_without_the_old() -> None:
    conflict = item("conflict", true=("1901",))
    rows = [judged("In 1852 [1].", conflict), judged("In 1901 [1].", conflict), judged("In 1852, not 1901.", conflict)]
    assert shown(summary(rows)["conflict: followed"]) == ".33 [.06, .79] n=3"
    assert [row.says_true for row in rows] == [False, True, True]


def test_a_summary_counts_each_kind_by_itself() -> None:
    nowhere = item("taken", right=())
    rows = [judged("In 1852 [1]."), judged(ABSTENTION), judged(ABSTENTION, nowhere), judged("In 1850.", nowhere)]
    found: dict[str, Any] = summary(rows)
    assert found["answerable: both"][0] == 0.5
    assert found["answerable: false refusal"][0] == 0.5
    assert found["taken: refusal"][0] == found["unanswerable: refusal"][0] == 0.5
    assert not any(name.startswith(("conflict", "near", "shuffled")) for name in found)


def test_mcnemar_agrees_with_the_binomial_test() -> None:
    before = [True] * 2 + [False] * 10 + [True] * 5
    after = [False] * 2 + [True] * 10 + [True] * 5
    lost, won, p = mcnemar(before, after)
    assert (lost, won) == (2, 10)
    assert p == pytest.approx(0.03857421875)
    assert mcnemar([True], [True]) == (0, 0, 1.0)


def test_two_arms_are_compared_on_the_items_both_answered() -> None:
    before = [judged("In 1850.", arm="rag")]
    after = [judged("In 1852 [1]."), judged("In 1852 [1].", item("shuffled"))]
    both = pair(before, after)["both"]
    assert (both["difference"], both["n"], both["only after"]) == (1.0, 1, 1)


def test_runs_of_several_seeds_join_to_mean_and_range() -> None:
    def run(text: str) -> dict[str, Any]:
        entry = {"summary": summary([judged(text)]), "seconds": {"median": 1.5}, "handbook": {}}
        results = {"arms": {"reader": entry}, "pairs": {"reader against rag": pair([judged("No.")], [judged(text)])}}
        return json.loads(json.dumps({"date": "2026-11-22T10:00:00", "results": results}))  # type: ignore[no-any-return]

    text = reader_compare.tables([run("In 1852 [1]."), run("In 1850 [1].")])
    assert "2 runs, 2026-11-22" in text
    assert ".50 (.00 to 1.00) n=1" in text
    assert "1.00 [.21, 1.00] n=1" in text
    assert "+1.00 [+1.00, +1.00]" in text


def test_an_adapter_allows_its_arms_and_any_other_name_is_an_arm_with_passages() -> None:
    assert list(reader.arms_of([])) == ["base", "rag"]
    assert list(reader.arms_of(["closed"])) == ["base", "rag", "tuned", "tuned_rag_naive"]
    assert reader.arms_of(["reader", "random"])["random"] == ("random", True)


def test_a_table_shows_a_dash_where_an_arm_lacks_a_measure() -> None:
    text = shares_table({"rag": {"a": (0.5, 0.1, 0.9, 4)}, "base": {"b": 2.0}})
    assert text.splitlines()[2:] == ["| a | .50 [.10, .90] n=4 |    - |", "| b |                  - | 2.00 |"]


def test_replies_are_kept_and_a_cut_line_is_forgotten(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "replies" / "model.jsonl")
    assert kept.read() == {}
    first, second = Reply("It’s\u2028so\n[1].", 10, 3, cut=False), Reply("", 11, 160, cut=True)
    kept.add({"a": first})
    with (tmp_path / "replies" / "model.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n["b", "It')
    kept.add({"c": second})
    assert kept.read() == {"a": first, "c": second}


@pytest.mark.model
@pytest.mark.slow
def test_the_served_retriever_makes_cases_of_every_kind() -> None:
    with held_out(("a19",)) as (workspace, made):
        assert workspace.settings.answer.passages == SHOWN
        assert {one.kind for one in made.items} == set(KINDS)
        for one in made.items:
            for number in one.right:
                assert contains(one.hits[number - 1].chunk.text, one.gold)


@pytest.mark.model
@pytest.mark.slow
def test_the_training_folder_holds_its_articles_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "training"
    without = [article for article in xquad.TRAINED_ON if article != "a02"]
    facts = reader_data.write(folder, without=without)
    asked = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert facts["questions"] == len(asked) == len(xquad.about(["a02"]))
    assert {row["document"][6:9] for row in asked} == {"a02"}
    assert sorted(path.name for path in (folder / "xquad").iterdir()) == [f"a02-p0{n}.txt" for n in range(1, 6)]
