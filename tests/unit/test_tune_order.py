"""answer.order: where the best passage stands in the prompt."""

from __future__ import annotations

from openbook.prompt import messages
from openbook.records import Chunk, Hit

HITS = [Hit(Chunk(f"{name}.md", 0, len(name), name), score=1.0) for name in ("best", "middle", "worst")]


def test_the_best_passage_can_stand_first_under_its_own_number() -> None:
    text = messages("Who?", HITS, order="best_first")[1].content
    assert text.index('number="1"') < text.index("best\n") < text.index("middle\n") < text.index("worst\n")


def test_without_a_word_the_best_passage_stands_last() -> None:
    assert messages("Who?", HITS) == messages("Who?", HITS, order="best_last")
    text = messages("Who?", HITS)[1].content
    assert text.index("worst\n") < text.index("middle\n") < text.index("best\n")
