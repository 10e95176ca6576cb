"""A kept answer as someone reads it later, when some of what it rested on is not theirs to see any more."""

from __future__ import annotations

from typing import Any

from openbook.serve.history import WITHHELD, seen

SALARY, TRAVEL = "Salaries.md", "Travel.md"


def answer(cited: list[str], hits: list[str], *, sentences: int, abstained: bool = False) -> dict[str, Any]:
    return {
        "answer": "What was said.",
        "abstained": abstained,
        "citations": [{"document": name, "sentence": index} for index, name in enumerate(cited)],
        "sentences": [{"text": "Said.", "supported": index < len(cited)} for index in range(sentences)],
        "hits": [{"document": name} for name in hits],
        "prompt": "Passages of Salaries.md ...",
        "notes": ["about Salaries.md"],
    }


def test_an_answer_is_whole_while_everything_it_rests_on_is_visible() -> None:
    kept = answer([SALARY], [SALARY, TRAVEL], sentences=1)
    assert seen(kept, {SALARY, TRAVEL}) == (kept, False)


def test_an_answer_that_cites_a_hidden_document_is_withheld() -> None:
    shown, withheld = seen(answer([SALARY, TRAVEL], [SALARY, TRAVEL], sentences=2), {TRAVEL})
    assert withheld
    assert shown["answer"] == WITHHELD
    assert SALARY not in str(shown)


def test_a_sentence_without_citation_may_come_from_a_hidden_passage() -> None:
    assert seen(answer([TRAVEL], [SALARY, TRAVEL], sentences=2), {TRAVEL})[1]


def test_a_text_wholly_supported_by_visible_documents_stays_without_its_passages() -> None:
    shown, withheld = seen(answer([TRAVEL], [SALARY, TRAVEL], sentences=1), {TRAVEL})
    assert (withheld, shown["answer"], shown["hits"], shown["prompt"]) == (False, "What was said.", [], "")
    assert shown["citations"] == [{"document": TRAVEL, "sentence": 0}]
    assert SALARY not in str(shown)


def test_a_refusal_stays_without_the_passages_it_looked_at() -> None:
    shown, withheld = seen(answer([], [SALARY], sentences=0, abstained=True), set())
    assert (withheld, shown["answer"]) == (False, "What was said.")
    assert SALARY not in str(shown)
