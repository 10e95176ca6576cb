"""A library, the user's questions and what was trained on in; the cases of a comparison and how they came about out.

Joins questions, conversations and the leakage check; decides which documents cases may be made from.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.questions.review import Ask
    from openbook.records import Case, Example
    from openbook.seams import Progress


def prepare(
    house: House,
    *,
    files: Sequence[Path],
    conversations: Sequence[Path] = (),
    made: int = 0,
    kinds: Collection[str] | None = None,
    training: Sequence[Example] = (),
    trained_documents: Collection[str] = (),
    trained_version: int | None = None,
    seed: int = 0,
    review: Ask | None = None,
    progress: Progress | None = None,
) -> tuple[list[Case], dict[str, Any]]:
    """Cases of the user's files, so far."""
    from openbook import questions as asking
    from openbook.compare.cases import leaks

    read = asking.read(files)
    cases, notes = asking.locate(read, house.library)
    facts = {
        "accepted": None,
        "leaks": leaks(cases, training),
        "warnings": [*read.problems, *notes],
        "kinds": {},
        "documents": 0,
        "rejected": {},
    }
    return cases, facts
